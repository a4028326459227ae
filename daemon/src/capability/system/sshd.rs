//! Settings of the SSH server: as it tells them itself, else as sshd_config(5) is read.

use std::fs;
use std::path::{Path, PathBuf};

use super::program;
use crate::abi::system as abi;

const PROGRAM: &str = "usr/sbin/sshd";
const CONFIG: &str = "etc/ssh/sshd_config";
/// Files that include each other are read to this depth, as by the server.
const DEEPEST: usize = 16;

/// What OpenSSH does where nothing is said. Its algorithms are not here: they change from version to version.
const DEFAULTS: [(&str, &str); 19] = [
    ("port", "22"),
    ("permitrootlogin", "prohibit-password"),
    ("pubkeyauthentication", "yes"),
    ("passwordauthentication", "yes"),
    ("kbdinteractiveauthentication", "yes"),
    ("permitemptypasswords", "no"),
    ("hostbasedauthentication", "no"),
    ("ignorerhosts", "yes"),
    ("strictmodes", "yes"),
    ("usepam", "no"),
    ("maxauthtries", "6"),
    ("logingracetime", "120"),
    ("clientaliveinterval", "0"),
    ("x11forwarding", "no"),
    ("allowagentforwarding", "yes"),
    ("allowtcpforwarding", "yes"),
    ("gatewayports", "no"),
    ("permituserenvironment", "no"),
    ("loglevel", "INFO"),
];

/// Settings that add up instead of the first one counting.
const REPEATED: [&str; 6] = ["port", "listenaddress", "hostkey", "acceptenv", "allowusers", "denyusers"];

pub(super) fn sshd(root: &Path) -> Result<Option<abi::Sshd>, String> {
    let (server, config) = (root.join(PROGRAM), root.join(CONFIG));
    // A configuration without a server lets nobody in.
    if !server.exists() {
        return Ok(None);
    }
    let mut read = Config::default();
    if config.exists() {
        read.file(root, &config, 0)?;
    }
    // It answers root only, and not before it was started once.
    let told = program::output(&server, &["-T"]).ok().filter(|_| rustix::process::geteuid().is_root());
    let effective = told.is_some();
    let settings = told.map_or_else(|| read.with_defaults(), |told| parse(&told));
    Ok(Some(abi::Sshd { effective, settings, blocks: read.blocks }))
}

/// What `sshd -T` prints: one setting a line.
pub(super) fn parse(text: &str) -> Vec<abi::Setting> {
    text.lines().filter_map(|line| setting(line.split_once(' ')?)).collect()
}

fn setting((key, value): (&str, &str)) -> Option<abi::Setting> {
    let value = value.trim().trim_matches('"');
    (!key.is_empty() && !value.is_empty()).then(|| abi::Setting { name: key.to_lowercase(), value: value.to_owned() })
}

/// A configuration as it is read.
#[derive(Debug, Default)]
pub(super) struct Config {
    settings: Vec<abi::Setting>,
    blocks: Vec<abi::MatchBlock>,
    /// Whether what comes now belongs to the last of the blocks.
    within: bool,
}

impl Config {
    fn file(&mut self, root: &Path, path: &Path, depth: usize) -> Result<(), String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        self.text(root, &text, depth)
    }

    pub(super) fn text(&mut self, root: &Path, text: &str, depth: usize) -> Result<(), String> {
        for line in text.lines() {
            let line = line.trim();
            // A keyword ends with a space or an equals sign.
            let Some((key, value)) = line.split_once(|it: char| it.is_whitespace() || it == '=') else { continue };
            let value = value.trim_start_matches(|it: char| it.is_whitespace() || it == '=').trim();
            match key.to_lowercase().as_str() {
                comment if comment.starts_with('#') => {}
                "include" if depth < DEEPEST => {
                    // A block that begins in an included file ends with it.
                    let within = self.within;
                    for included in value.split_whitespace().flat_map(|pattern| included(root, pattern)) {
                        self.file(root, &included, depth + 1)?;
                        self.within = within;
                    }
                }
                "match" => {
                    let condition = value.to_owned();
                    self.within = !condition.eq_ignore_ascii_case("all");
                    if self.within {
                        self.blocks.push(abi::MatchBlock { condition, settings: Vec::new() });
                    }
                }
                key => self.set(key, value),
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) {
        let into = match self.blocks.last_mut() {
            Some(block) if self.within => &mut block.settings,
            _ => &mut self.settings,
        };
        if let Some(new) = setting((key, value))
            && (REPEATED.contains(&new.name.as_str()) || !into.iter().any(|it| it.name == new.name))
        {
            into.push(new);
        }
    }

    pub(super) fn with_defaults(&self) -> Vec<abi::Setting> {
        let mut settings = self.settings.clone();
        for default in DEFAULTS {
            if !settings.iter().any(|it| it.name == default.0) {
                settings.extend(setting(default));
            }
        }
        settings
    }
}

/// The files that a pattern of `Include` names, in their order. Only the name of a file may hold wildcards.
fn included(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let pattern = pattern.trim_matches('"');
    let path = match pattern.strip_prefix('/') {
        Some(absolute) => root.join(absolute),
        None => root.join("etc/ssh").join(pattern),
    };
    let (Some(folder), Some(names)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let listing = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_meant = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| is_like(names, name));
    let mut paths: Vec<_> = listing.filter(is_meant).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

pub(super) fn is_like(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place of a part leaves most to those behind it.
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(settings: &'a [abi::Setting], key: &str) -> Vec<&'a str> {
        settings.iter().filter(|it| it.name == key).map(|it| it.value.as_str()).collect()
    }

    #[test]
    fn the_first_setting_counts_and_blocks_stand_apart() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(sshd(root.path()).unwrap().map(|it| it.effective), None);
        for (path, text) in [
            (PROGRAM, ""),
            (
                CONFIG,
                "# Port 2222\nInclude /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin yes\nX11Forwarding=yes\nPort 22\nPort 2200\n\n\
                 Match User deploy\n  PasswordAuthentication no\nMatch all\nMaxAuthTries 3\n",
            ),
            (
                "etc/ssh/sshd_config.d/10-site.conf",
                "PermitRootLogin no\nMatch Group sftp\n ForceCommand internal-sftp\n",
            ),
            ("etc/ssh/sshd_config.d/20-late.conf", "permitrootlogin yes\nBanner \"/etc/issue\"\n"),
            ("etc/ssh/sshd_config.d/note.txt", "PermitEmptyPasswords yes\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = sshd(root.path()).unwrap().unwrap();
        assert!(!found.effective);
        for (key, values) in [
            ("permitrootlogin", &["no"][..]),
            ("x11forwarding", &["yes"]),
            ("port", &["22", "2200"]),
            ("maxauthtries", &["3"]),
            ("banner", &["/etc/issue"]),
            ("permitemptypasswords", &["no"]),
            ("passwordauthentication", &["yes"]),
            ("ciphers", &[]),
        ] {
            assert_eq!(of(&found.settings, key), values, "{key}");
        }
        let blocks: Vec<_> = found.blocks.iter().map(|it| (it.condition.as_str(), it.settings.len())).collect();
        assert_eq!(blocks, [("Group sftp", 1), ("User deploy", 1)]);
    }

    #[test]
    fn what_the_server_tells() {
        let found = parse("port 22\nusepam yes\nsubsystem sftp /usr/lib/openssh/sftp-server\nbroken\n");
        assert_eq!(of(&found, "subsystem"), ["sftp /usr/lib/openssh/sftp-server"]);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_line_without_a_key_sets_nothing() {
        let mut config = Config::default();
        config.text(Path::new("/"), "= no\n", 0).unwrap();
        assert_eq!(config.settings.len() + parse(" no\n").len(), 0);
    }

    #[test]
    fn names_with_wildcards() {
        for (pattern, name, is) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.txt", false),
            ("a*b*", "axbx", true),
            ("a", "ab", false),
            ("*", "é", true),
            ("a*a", "a", false),
            ("*a*b", "ab-a", false),
            ("*a*b", "ab-ab", true),
        ] {
            assert_eq!(is_like(pattern, name), is, "{pattern} {name}");
        }
        // Not every way to part the name is tried.
        assert!(!is_like(&format!("{}b", "*a".repeat(100)), &"a".repeat(255)));
    }
}
