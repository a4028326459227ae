//! Texts of the kernel, of systemd, of package managers and of administrators: any of them is read, whatever is in it.
//!
//! The first byte chooses the text.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/capability/system"]
#[expect(dead_code, reason = "the daemon's modules, of which the target uses what reads texts")]
mod system {
    use std::collections::BTreeMap;
    use std::path::Path;

    use crate::abi::system::Transport;

    mod accounts;
    mod facts;
    mod services;
    mod sockets;
    mod sshd;
    mod updates;

    // The same file once more: `accounts` keeps it to itself.
    #[path = "accounts"]
    mod rules {
        mod sudoers;

        pub(super) fn read(text: &str) {
            for rule in sudoers::parse(text) {
                assert!(!rule.who.is_empty());
            }
        }
    }

    /// There are no programs.
    mod program {
        pub(super) fn output(_: &std::path::Path, _: &[&str]) -> Result<String, String> {
            Err("none".to_owned())
        }
    }

    /// There are no files.
    fn text(_: &Path, path: &str) -> Result<String, String> {
        Err(path.to_owned())
    }

    fn release(text: &str) {
        for key in ["ID", "VERSION_ID", "PRETTY_NAME"] {
            facts::release_field(text, key);
        }
    }

    fn kernel(text: &str) {
        facts::uptime(text);
        facts::load(text);
        facts::memory(text);
    }

    fn mounts(text: &str) {
        let all = facts::mounts_with_options(text);
        assert!(facts::mounts(text).iter().all(|it| all.iter().any(|other| other.path == it.path)));
    }

    fn listening(text: &str) {
        for transport in [Transport::Tcp, Transport::Udp] {
            for (socket, _) in facts::listening(text, transport) {
                assert!(socket.address.parse::<std::net::IpAddr>().is_ok());
            }
        }
    }

    fn unit(text: &str) {
        sockets::unit(text);
    }

    fn dpkg(text: &str) {
        let (installed, mut pending) = (facts::dpkg(text), BTreeMap::new());
        updates::compare(&installed, "stable-security", text, &mut pending);
        assert!(pending.values().all(|it| it.installed != it.candidate));
    }

    fn apk(text: &str) {
        facts::apk(text);
    }

    fn apt(text: &str) {
        text.lines().filter_map(updates::security_suite).for_each(|it| assert!(it.ends_with("-security")));
        updates::is_on(text);
    }

    fn systemctl(text: &str) {
        services::parse(text);
        services::user(text, text);
    }

    /// passwd, shadow and group, with a line of dashes between them.
    fn accounts_of(text: &str) {
        let mut texts = text.splitn(3, "\n---\n");
        let passwd = texts.next().unwrap_or_default();
        let (shadow, groups) = (texts.next(), texts.next().unwrap_or_default());
        let accounts = accounts::parse(passwd, shadow, groups, 20_000);
        assert!(accounts.len() <= passwd.lines().count());
    }

    fn sshd_config(text: &str) {
        let mut config = sshd::Config::default();
        // At this depth no other file is included.
        assert_eq!(config.text(Path::new("/"), text, usize::MAX), Ok(()));
        assert!(config.with_defaults().iter().all(|it| !it.name.is_empty() && !it.value.is_empty()));
    }

    fn sshd_told(text: &str) {
        sshd::parse(text);
    }

    /// A pattern of an `Include`, and the name of a file.
    fn wildcards(text: &str) {
        let (pattern, name) = text.split_once('\n').unwrap_or((text, ""));
        let is_like = sshd::is_like(pattern, name);
        assert!(pattern.contains('*') || is_like == (pattern == name));
        assert!(!is_like || sshd::is_like(&format!("{pattern}*"), name) && sshd::is_like(&format!("*{pattern}"), name));
    }

    pub(super) const READERS: [fn(&str); 14] = [
        release,
        kernel,
        mounts,
        listening,
        unit,
        dpkg,
        apk,
        apt,
        systemctl,
        accounts_of,
        rules::read,
        sshd_config,
        sshd_told,
        wildcards,
    ];
}

mod abi {
    pub(crate) use upkeep_plugin::system;
}

mod clock {
    pub(crate) fn now() -> (i64,) {
        (0,)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [which, text @ ..] = bytes else { return };
    let read = system::READERS[usize::from(*which) % system::READERS.len()];
    read(&String::from_utf8_lossy(text));
});
