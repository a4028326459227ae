//! Pending security updates, by the lists that apt has fetched. Nothing is fetched here, and nothing asked of apt but to
//! unpack its lists.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use upkeep_advisory::version::Scheme;

use super::{facts, program, text};
use crate::abi::system as abi;

const LISTS: &str = "var/lib/apt/lists";
/// What changes whenever lists are fetched, even if they are as before.
const FETCHED: [&str; 3] = ["var/lib/apt/periodic/update-success-stamp", "var/lib/apt/lists/partial", LISTS];

pub(super) fn updates(root: &Path) -> Result<abi::Updates, String> {
    if !root.join(LISTS).exists() {
        return Err("apt (/var/lib/apt/lists) keeps no lists here: updates are those of apt".to_owned());
    }
    let installed = facts::dpkg(&text(root, "var/lib/dpkg/status")?);
    let lists = security_lists(root)?;
    let mut pending = BTreeMap::new();
    for (suite, path) in &lists {
        compare(&installed, suite, &unpacked(root, path)?, &mut pending);
    }
    let mut suites: Vec<_> = lists.into_iter().map(|(suite, _)| suite).collect();
    suites.dedup();
    let modified = |path: &&str| fs::metadata(root.join(path)).and_then(|it| it.modified()).ok();
    let fetched = FETCHED.iter().filter_map(modified).max().filter(|_| !suites.is_empty());
    let since = fetched.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(abi::Updates {
        pending: pending.into_values().collect(),
        suites,
        fetched: since.and_then(|since| i64::try_from(since.as_millis()).ok()),
        unattended: root.join("usr/bin/unattended-upgrade").exists() && is_on(&apt_settings(root)),
        reboot_required: ["run/reboot-required", "var/run/reboot-required"].iter().any(|path| root.join(path).exists()),
    })
}

/// Lists of packages in suites for security, sorted by suite.
fn security_lists(root: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let folder = root.join(LISTS);
    let listing = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut lists: Vec<_> = listing
        .flatten()
        .filter_map(|entry| Some((security_suite(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    lists.sort();
    Ok(lists)
}

/// `bookworm-security` of `deb.example.org_debian-security_dists_bookworm-security_main_binary-amd64_Packages`, packed or not.
pub(super) fn security_suite(name: &str) -> Option<String> {
    let (_, rest) = name.split_once("_dists_")?;
    let (suite, rest) = rest.split_once('_')?;
    let is_list = rest.rsplit('_').next()?.split('.').next() == Some("Packages");
    (is_list && suite.ends_with("-security")).then(|| suite.to_owned())
}

fn unpacked(root: &Path, path: &Path) -> Result<String, String> {
    if path.extension().is_none_or(|it| !["gz", "lz4", "xz", "zst", "bz2", "lzma"].iter().any(|known| it == *known)) {
        return fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| format!("{}: {error}", path.display()));
    }
    let helper = root.join("usr/lib/apt/apt-helper");
    program::output(&helper, &["cat-file", path.to_str().ok_or("a list of apt has no name in UTF-8")?])
}

/// Adds what `list` has newer than installed. The newest of several candidates stays.
pub(super) fn compare(
    installed: &[abi::Package],
    suite: &str,
    list: &str,
    pending: &mut BTreeMap<(String, String), abi::Update>,
) {
    let versions: HashMap<_, _> =
        installed.iter().map(|it| ((it.name.as_str(), it.architecture.as_str()), it.version.as_str())).collect();
    for paragraph in list.split("\n\n") {
        let field =
            |key: &str| paragraph.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()));
        let (Some(name), Some(architecture), Some(candidate)) =
            (field("Package"), field("Architecture"), field("Version"))
        else {
            continue;
        };
        let Some(&version) = versions.get(&(name, architecture)) else { continue };
        let key = (name.to_owned(), architecture.to_owned());
        let known = pending.get(&key).map_or(version, |it: &abi::Update| it.candidate.as_str());
        if is_newer(candidate, known) {
            let own = str::to_owned;
            let (name, installed, candidate) = (own(name), own(version), own(candidate));
            pending.insert(key, abi::Update { name, installed, candidate, suite: own(suite) });
        }
    }
}

fn is_newer(one: &str, other: &str) -> bool {
    Scheme::Debian.compare(one, other).is_ok_and(Ordering::is_gt)
}

/// The settings of apt in the order in which it reads them.
fn apt_settings(root: &Path) -> String {
    let listing = fs::read_dir(root.join("etc/apt/apt.conf.d")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = listing.map(|entry| entry.path()).collect();
    paths.sort();
    paths.push(root.join("etc/apt/apt.conf"));
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect::<Vec<_>>().join("\n")
}

/// Whether the last `APT::Periodic::Unattended-Upgrade` is no zero: it is the number of days between upgrades.
pub(super) fn is_on(settings: &str) -> bool {
    let last = settings.lines().rev().find_map(|line| line.trim().strip_prefix("APT::Periodic::Unattended-Upgrade"));
    last.is_some_and(|rest| !["0", ""].contains(&rest.trim().trim_end_matches(';').trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "lists/deb.example.org_debian-security_dists_bookworm-security_main_binary-amd64_Packages";

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn package(name: &str, version: &str) -> String {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    }

    #[test]
    fn what_is_newer_in_a_suite_for_security() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert!(updates(root).unwrap_err().contains("apt"));
        let status = [("openssl", "3.0.15-1"), ("bash", "5.2-2+b1"), ("curl", "1:7.88")]
            .map(|(name, version)| package(name, version));
        put(root, "var/lib/dpkg/status", &status.concat());
        let list = [
            ("openssl", "3.0.15-1+deb12u1"),
            ("openssl", "3.0.15-1+deb12u2"),
            ("bash", "5.2-2"),
            ("nginx", "9"),
            ("curl", "8.0"),
        ];
        put(root, &format!("var/lib/apt/{LIST}"), &list.map(|(name, version)| package(name, version)).concat());
        put(root, &format!("var/lib/apt/{}", LIST.replace("bookworm-security", "bookworm")), &package("bash", "9"));
        let found = updates(root).unwrap();
        let pending: Vec<_> = found.pending.iter().map(|it| (it.name.as_str(), it.candidate.as_str())).collect();
        assert_eq!(pending, [("openssl", "3.0.15-1+deb12u2")], "an epoch counts more than a number");
        assert_eq!((found.suites, found.reboot_required), (vec!["bookworm-security".to_owned()], false));
        assert!(found.fetched.is_some() && !found.unattended);
        put(root, "run/reboot-required", "");
        put(root, "usr/bin/unattended-upgrade", "");
        put(root, "etc/apt/apt.conf.d/20auto-upgrades", "APT::Periodic::Unattended-Upgrade \"1\";\n");
        let found = updates(root).unwrap();
        assert!(found.reboot_required && found.unattended);
    }

    #[test]
    fn names_of_lists() {
        for (name, suite) in [
            (
                "deb.example.org_debian-security_dists_bookworm-security_main_binary-amd64_Packages.lz4",
                Some("bookworm-security"),
            ),
            ("archive.example.com_ubuntu_dists_noble-security_universe_binary-amd64_Packages", Some("noble-security")),
            ("deb.example.org_debian_dists_bookworm_main_binary-amd64_Packages", None),
            ("deb.example.org_debian-security_dists_bookworm-security_InRelease", None),
            ("lock", None),
        ] {
            assert_eq!(security_suite(name).as_deref(), suite, "{name}");
        }
    }

    #[test]
    fn settings_of_apt() {
        assert!(is_on("APT::Periodic::Update-Package-Lists \"1\";\n  APT::Periodic::Unattended-Upgrade \"1\";\n"));
        assert!(!is_on("APT::Periodic::Unattended-Upgrade \"1\";\nAPT::Periodic::Unattended-Upgrade \"0\";\n"));
        assert!(!is_on("// APT::Periodic::Unattended-Upgrade \"1\";\n"));
        assert!(!is_on(""));
    }
}
