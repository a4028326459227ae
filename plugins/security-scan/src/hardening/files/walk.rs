//! One walk through each granted folder.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use upkeep_plugin::files::{Entry, Kind, Root};
use upkeep_plugin::{HostResult, Place};

use super::name::{self, Class};
use crate::hardening::certificates::{self, Known};
use crate::hardening::{Hit, RootSettings, redis};

/// Larger files are no key, certificate or configuration.
const LARGEST: u64 = 256 << 10;
/// Paths that could not be read, told one by one.
const PROBLEMS: usize = 20;

/// What was seen in all folders.
#[derive(Debug, Default)]
pub(in crate::hardening) struct Seen {
    /// By the identifier of the check.
    pub(super) hits: BTreeMap<&'static str, Vec<Hit>>,
    /// By root and number of the user: how many entries are theirs, and the first.
    pub(super) owners: BTreeMap<(String, u32), (u64, String)>,
    pub(in crate::hardening) certificates: Vec<(Opened, Known)>,
    pub(in crate::hardening) redis: Vec<Opened>,
    /// `ROOT/PATH` that could not be looked at.
    pub(in crate::hardening) unseen: Vec<String>,
    /// Those that look like certificates and could not be read as one.
    pub(in crate::hardening) broken: Vec<String>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hardening) struct Opened {
    /// `ROOT/PATH`.
    pub(in crate::hardening) object: String,
    pub(in crate::hardening) text: String,
}

impl Opened {
    pub(in crate::hardening) fn place(&self) -> Place {
        Place { path: self.object.clone(), line: None }
    }
}

/// An entry with what its place says of it.
struct Item<'a> {
    entry: &'a Entry,
    /// `ROOT/PATH`.
    object: String,
    class: Option<Class>,
    /// Whether everybody comes as far as this.
    is_open: bool,
    is_in_web: bool,
}

impl Item<'_> {
    fn is_file(&self) -> bool {
        self.entry.kind == Kind::File
    }

    fn has(&self, bits: u32) -> bool {
        self.entry.mode & bits != 0
    }

    fn is_readable(&self) -> bool {
        self.is_file() && self.is_open && self.has(0o004)
    }

    /// What the mode and the name alone make it guilty of.
    fn guilt(&self) -> Vec<&'static str> {
        let is_folder = self.entry.kind == Kind::Directory;
        let told = |class: fn(Class) -> Option<&'static str>| self.class.and_then(class);
        let found = [
            (Some("file-world-writable"), self.is_file() && self.is_open && self.has(0o002)),
            (Some("folder-world-writable"), is_folder && self.is_open && self.has(0o002) && !self.has(0o1000)),
            (Some("file-set-uid"), self.is_file() && self.has(0o4000)),
            // Without the right to run it, the bit means a lock.
            (Some("file-set-gid"), self.is_file() && self.has(0o2000) && self.has(0o010)),
            (told(Class::readable), self.is_readable()),
            (told(Class::in_web), self.is_in_web),
            (told(Class::writable), self.has(0o022)),
        ];
        found.into_iter().filter(|(_, is_so)| *is_so).filter_map(|(id, _)| id).collect()
    }

    fn hit(&self) -> Hit {
        let place = Some(Place { path: self.object.clone(), line: None });
        Hit { place, ..Hit::of(self.object.clone(), format!("{} ({:04o})", self.object, self.entry.mode & 0o7777)) }
    }
}

impl Seen {
    /// Adds what a folder holds.
    pub(super) fn walk(&mut self, settings: &RootSettings) -> HostResult<()> {
        let root = Root::open(&settings.root)?;
        let top = root.stat("")?;
        let mut reach = Reach::new(&top);
        let mut entries = root.walk().entries()?;
        for entry in entries.by_ref() {
            let entry = &entry?;
            let item = Item {
                entry,
                object: format!("{}/{}", settings.root, entry.path),
                class: name::class(&entry.path, entry.kind == Kind::Directory),
                is_open: reach.enter(entry),
                is_in_web: settings.web.as_deref().is_some_and(|web| is_beneath(web, &entry.path)),
            };
            for id in item.guilt() {
                self.hits.entry(id).or_default().push(item.hit());
            }
            if entry.uid != top.uid && entry.uid != 0 && entry.kind != Kind::Link {
                let first = || (0, entry.path.clone());
                self.owners.entry((settings.root.clone(), entry.uid)).or_insert_with(first).0 += 1;
            }
            if item.is_file() && entry.id.size <= LARGEST {
                self.open(&root, &item);
            }
        }
        let problems = entries.problems();
        match problems.len() {
            ..=PROBLEMS => {
                let paths = problems.iter().map(|it| it.split_once(": ").map_or(it.as_str(), |(path, _)| path));
                self.unseen.extend(paths.map(|path| format!("{}/{path}", settings.root)));
            }
            _ => self.unseen.push(format!("{}/", settings.root)),
        }
        Ok(())
    }

    /// Reads what may be a key, a certificate or a configuration.
    fn open(&mut self, root: &Root, item: &Item<'_>) {
        let name = item.entry.path.rsplit('/').next().unwrap_or_default();
        let (is_certificate, is_redis) = (certificates::is_named_so(name), redis::is_config(name));
        if item.class != Some(Class::Key) && !is_certificate && !is_redis {
            return;
        }
        let mut bytes = Vec::new();
        let read = root.read(&item.entry.path).map(|reader| reader.take(LARGEST).read_to_end(&mut bytes));
        if !matches!(read, Ok(Ok(_))) {
            self.unseen.push(item.object.clone());
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        if item.class == Some(Class::Key) && holds_key(&text) {
            for (id, is_so) in [("private-key-readable", item.is_readable()), ("private-key-in-web", item.is_in_web)] {
                if is_so {
                    self.hits.entry(id).or_default().push(item.hit());
                }
            }
        }
        if is_redis {
            self.redis.push(Opened { object: item.object.clone(), text: text.into_owned() });
        }
        if is_certificate {
            let opened = Opened { object: item.object.clone(), text: String::new() };
            match certificates::read(&bytes) {
                Ok(known) => self.certificates.extend(known.map(|known| (opened, known))),
                Err(_) => self.broken.push(opened.object),
            }
        }
    }
}

/// Whether a text is a private key that no passphrase protects.
fn holds_key(text: &str) -> bool {
    // How a key in OpenSSH's own format begins, in base64, when it names no cipher.
    const BARE: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    match text.contains("BEGIN OPENSSH PRIVATE KEY-----") {
        true => text.contains(BARE),
        false => text.contains("PRIVATE KEY-----") && !text.contains("ENCRYPTED"),
    }
}

/// Which folders everybody may enter: what lies in others cannot be reached, whatever its own mode is.
struct Reach {
    closed: HashSet<String>,
}

impl Reach {
    fn new(top: &Entry) -> Self {
        let closed = if top.mode & 0o001 == 0 { HashSet::from([String::new()]) } else { HashSet::new() };
        Self { closed }
    }

    /// Whether everybody comes as far as this entry, the folder above it having been asked about before.
    fn enter(&mut self, entry: &Entry) -> bool {
        let above = entry.path.rsplit_once('/').map_or("", |(above, _)| above);
        let is_open = !self.closed.contains(above);
        if entry.kind == Kind::Directory && (!is_open || entry.mode & 0o001 == 0) {
            self.closed.insert(entry.path.clone());
        }
        is_open
    }
}

fn is_beneath(folder: &str, path: &str) -> bool {
    let folder = folder.trim_matches('/');
    ["", "."].contains(&folder)
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_a_passphrase_are_left_alone() {
        let openssh = |start: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{start}AAAA\n");
        assert!(holds_key(&openssh("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU")));
        assert!(!holds_key(&openssh("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHI")));
        assert!(holds_key("-----BEGIN RSA PRIVATE KEY-----\n"));
        assert!(!holds_key("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"));
        assert!(!holds_key("-----BEGIN CERTIFICATE-----\n"));
    }

    #[test]
    fn folders_of_the_web_server() {
        assert!(is_beneath("public/", "public/a") && is_beneath(".", "a") && is_beneath("a/b", "a/b"));
        assert!(!is_beneath("public", "public-not/a"));
    }
}
