//! Settings of the kernel, the mounts of the machine, and whether packets are filtered.

use std::path::Path;

use super::{facts, program, text};
use crate::abi::system as abi;

/// What is told of /proc/sys.
const SETTINGS: [&str; 35] = [
    "fs.protected_fifos",
    "fs.protected_hardlinks",
    "fs.protected_regular",
    "fs.protected_symlinks",
    "fs.suid_dumpable",
    "kernel.core_pattern",
    "kernel.core_uses_pid",
    "kernel.dmesg_restrict",
    "kernel.kexec_load_disabled",
    "kernel.kptr_restrict",
    "kernel.perf_event_paranoid",
    "kernel.randomize_va_space",
    "kernel.sysrq",
    "kernel.unprivileged_bpf_disabled",
    "kernel.unprivileged_userns_clone",
    "kernel.yama.ptrace_scope",
    "net.core.bpf_jit_harden",
    "net.ipv4.conf.all.accept_redirects",
    "net.ipv4.conf.all.accept_source_route",
    "net.ipv4.conf.all.log_martians",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.secure_redirects",
    "net.ipv4.conf.all.send_redirects",
    "net.ipv4.conf.default.accept_redirects",
    "net.ipv4.conf.default.accept_source_route",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.conf.default.send_redirects",
    "net.ipv4.icmp_echo_ignore_broadcasts",
    "net.ipv4.icmp_ignore_bogus_error_responses",
    "net.ipv4.ip_forward",
    "net.ipv4.tcp_syncookies",
    "net.ipv6.conf.all.accept_redirects",
    "net.ipv6.conf.all.accept_source_route",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.default.accept_redirects",
];

pub(super) fn kernel(root: &Path) -> Result<abi::Kernel, String> {
    let read = |name: &str| {
        let value = text(root, &format!("proc/sys/{}", name.replace('.', "/"))).ok()?;
        Some(abi::Setting { name: name.to_owned(), value: value.trim().to_owned() })
    };
    let settings: Vec<_> = SETTINGS.iter().filter_map(|name| read(name)).collect();
    if settings.is_empty() {
        return Err(format!("{}: no setting of the kernel is readable", root.join("proc/sys").display()));
    }
    Ok(abi::Kernel { settings, mounts: mounts(root), packet_filter: packet_filter(root) })
}

/// The mounts that the first process sees: upkeep's own may be those of its sandbox.
fn mounts(root: &Path) -> Option<Vec<abi::Mount>> {
    text(root, "proc/1/mounts").ok().map(|text| facts::mounts_with_options(&text))
}

fn packet_filter(root: &Path) -> Option<bool> {
    // The tables of the older iptables, which nft does not list. The files are only there once it was used.
    let tables = TABLES.iter().filter(|path| root.join(path).exists()).map(|path| text(root, path));
    let tables: Vec<_> = tables.collect();
    if tables.iter().flatten().any(|text| !text.trim().is_empty()) {
        return Some(true);
    }
    // iptables of today writes into nftables; nft, which knows all of them, need not be there.
    let first = |places: [&str; 2]| places.map(|place| root.join(place)).into_iter().find(|path| path.exists());
    let asked = match (first(NFT), first(IPTABLES)) {
        (Some(nft), _) => program::output(&nft, &["list", "ruleset"]).ok().map(|rules| filters(&rules)),
        (None, Some(iptables)) => program::output(&iptables, &[]).ok().map(|rules| has_rules(&rules)),
        (None, None) => Some(false),
    };
    asked.filter(|found| *found || tables.iter().all(Result::is_ok))
}

const TABLES: [&str; 2] = ["proc/net/ip_tables_names", "proc/net/ip6_tables_names"];
const NFT: [&str; 2] = ["usr/sbin/nft", "sbin/nft"];
const IPTABLES: [&str; 2] = ["usr/sbin/iptables-save", "sbin/iptables-save"];

/// Whether iptables-save tells a rule, or a policy that drops.
fn has_rules(saved: &str) -> bool {
    saved.lines().any(|line| line.starts_with("-A ") || line.starts_with(':') && line.contains(" DROP "))
}

/// Whether a chain of nftables hangs where packets pass.
fn filters(rules: &str) -> bool {
    rules.lines().any(|line| line.trim_start().starts_with("type filter hook"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn settings_that_are_there() {
        let root = tempfile::tempdir().unwrap();
        assert!(kernel(root.path()).unwrap_err().contains("proc/sys"));
        for (path, text) in [
            ("proc/sys/kernel/kptr_restrict", "1\n"),
            ("proc/sys/net/ipv4/conf/all/rp_filter", "2\n"),
            ("proc/1/mounts", "tmpfs /tmp tmpfs rw,nosuid,nodev 0 0\n"),
            ("proc/net/ip_tables_names", "\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = kernel(root.path()).unwrap();
        let settings: Vec<_> = found.settings.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(settings, [("kernel.kptr_restrict", "1"), ("net.ipv4.conf.all.rp_filter", "2")]);
        assert_eq!(found.mounts.unwrap()[0].options, ["rw", "nosuid", "nodev"]);
        assert_eq!(found.packet_filter, Some(false));
        fs::write(root.path().join("proc/net/ip_tables_names"), "filter\n").unwrap();
        assert_eq!(kernel(root.path()).unwrap().packet_filter, Some(true));
    }

    #[test]
    fn chains_of_nftables() {
        assert!(filters(
            "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n"
        ));
        assert!(!filters("table inet filter {\n\tset blocked {\n\t\ttype ipv4_addr\n\t}\n}\n"));
        assert!(!filters(""));
        assert!(has_rules("*filter\n:INPUT DROP [0:0]\nCOMMIT\n") && has_rules("*filter\n-A INPUT -i lo -j ACCEPT\n"));
        assert!(!has_rules("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"));
    }
}
