//! Settings of the kernel.

use upkeep_plugin::Severity;

use super::{Check, Hit};

/// How settings are made to last.
macro_rules! set {
    ($setting:literal) => {
        concat!("Write `", $setting, "` into /etc/sysctl.d/60-hardening.conf, then `sysctl --system`.")
    };
    ($first:literal, $($setting:literal),+) => {
        concat!(
            "Write `", $first, "`", $(", `", $setting, "`",)+
            " into /etc/sysctl.d/60-hardening.conf, a line each, then `sysctl --system`."
        )
    };
}

fn is_off(value: &str) -> bool {
    value == "0"
}

fn is_on(value: &str) -> bool {
    value == "1"
}

fn is_not_off(value: &str) -> bool {
    value != "0"
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kernel-address-randomisation",
        severity: Severity::High,
        title: "addresses of programs are not random",
        reason: "A bug in any service is far easier to use when its code and heap lie where everybody expects them.",
        remedy: set!("kernel.randomize_va_space = 2"),
        look: |machine| machine.sysctl("kernel.randomize_va_space", |value| value == "2"),
    },
    Check {
        id: "kernel-pointers",
        severity: Severity::Low,
        title: "the kernel shows its addresses",
        reason: "Ordinary users read from /proc where the kernel's code lies, which attacks on it need first.",
        remedy: set!("kernel.kptr_restrict = 1"),
        look: |machine| machine.sysctl("kernel.kptr_restrict", is_not_off),
    },
    Check {
        id: "kernel-log",
        severity: Severity::Low,
        title: "everybody may read the kernel's log",
        reason: "It holds addresses, names of devices and what crashed.",
        remedy: set!("kernel.dmesg_restrict = 1"),
        look: |machine| machine.sysctl("kernel.dmesg_restrict", is_on),
    },
    Check {
        id: "kernel-ptrace",
        severity: Severity::Medium,
        title: "processes may read the memory of others of the same user",
        reason: "One service that is taken over then hands out the keys and passwords of all others that run as its user.",
        remedy: set!("kernel.yama.ptrace_scope = 1"),
        look: |machine| machine.sysctl("kernel.yama.ptrace_scope", is_not_off),
    },
    Check {
        id: "kernel-suid-dumps",
        severity: Severity::Medium,
        title: "set-uid programs leave core dumps that their callers may read",
        reason: "A crash of `sudo` or `passwd` writes what root had in memory where the caller can read it.",
        remedy: set!("fs.suid_dumpable = 0"),
        look: |machine| machine.sysctl("fs.suid_dumpable", |value| value != "1"),
    },
    Check {
        id: "kernel-protected-links",
        severity: Severity::Medium,
        title: "links in shared folders are followed",
        reason: "A link in /tmp makes a program of root write to, or give away, a file that its maker could not touch.",
        remedy: set!("fs.protected_hardlinks = 1", "fs.protected_symlinks = 1"),
        look: |machine| machine.sysctls(&["fs.protected_hardlinks", "fs.protected_symlinks"], is_on),
    },
    Check {
        id: "kernel-protected-files",
        severity: Severity::Low,
        title: "files and pipes of others in shared folders are opened for writing",
        reason: "A program that means to make a file in /tmp writes into one that somebody laid there for it.",
        remedy: set!("fs.protected_fifos = 1", "fs.protected_regular = 2"),
        look: |machine| machine.sysctls(&["fs.protected_fifos", "fs.protected_regular"], is_not_off),
    },
    Check {
        id: "kernel-unprivileged-bpf",
        severity: Severity::Medium,
        title: "everybody may load BPF programs",
        reason: "The verifier that keeps them harmless has had one hole after another, each of them a way to root.",
        remedy: set!("kernel.unprivileged_bpf_disabled = 1"),
        look: |machine| machine.sysctl("kernel.unprivileged_bpf_disabled", is_not_off),
    },
    Check {
        id: "kernel-perf-events",
        severity: Severity::Low,
        title: "everybody may measure the kernel",
        reason: "Performance counters tell of what other processes do, and their code is large and often attacked.",
        remedy: set!("kernel.perf_event_paranoid = 2"),
        look: |machine| {
            let is_enough = |value: &str| value.parse::<i32>().is_ok_and(|level| level >= 2);
            machine.sysctl("kernel.perf_event_paranoid", is_enough)
        },
    },
    Check {
        id: "kernel-core-pattern",
        severity: Severity::Low,
        title: "core dumps go into a folder that everybody may write to",
        reason: "They hold passwords and keys of the service that crashed, under a name that can be guessed.",
        remedy: "Install systemd-coredump, or write `kernel.core_pattern = |/bin/false` into /etc/sysctl.d/60-hardening.conf.",
        look: |machine| {
            machine.sysctl("kernel.core_pattern", |value| {
                !["/tmp", "/var/tmp", "/dev/shm"].iter().any(|folder| value.starts_with(folder))
            })
        },
    },
    Check {
        id: "kernel-syn-cookies",
        severity: Severity::Medium,
        title: "the server can be kept busy with half-open connections",
        reason: "Without SYN cookies a single sender fills the queue of connections, and nobody else gets through.",
        remedy: set!("net.ipv4.tcp_syncookies = 1"),
        look: |machine| machine.sysctl("net.ipv4.tcp_syncookies", is_not_off),
    },
    Check {
        id: "kernel-reverse-path",
        severity: Severity::Low,
        title: "packets with forged senders are taken",
        reason: "The kernel does not ask whether an answer would go out where the packet came in. The larger of the two \
                 settings, for all interfaces and for new ones, counts.",
        remedy: set!("net.ipv4.conf.all.rp_filter = 1"),
        look: |machine| {
            let all = machine.sysctl("net.ipv4.conf.all.rp_filter", is_not_off)?;
            let new = machine.sysctl("net.ipv4.conf.default.rp_filter", is_not_off)?;
            Ok(if new.is_empty() { Vec::new() } else { all })
        },
    },
    Check {
        id: "kernel-accept-redirects",
        severity: Severity::Low,
        title: "neighbours may change the routes",
        reason: "A machine in the same network sends an ICMP redirect and has the traffic go through itself.",
        remedy: set!(
            "net.ipv4.conf.all.accept_redirects = 0",
            "net.ipv4.conf.default.accept_redirects = 0",
            "net.ipv6.conf.all.accept_redirects = 0",
            "net.ipv6.conf.default.accept_redirects = 0"
        ),
        look: |machine| {
            let names = [
                "net.ipv4.conf.all.accept_redirects",
                "net.ipv4.conf.default.accept_redirects",
                "net.ipv6.conf.all.accept_redirects",
                "net.ipv6.conf.default.accept_redirects",
            ];
            machine.sysctls(&names, is_off)
        },
    },
    Check {
        id: "kernel-send-redirects",
        severity: Severity::Low,
        title: "the server tells others to change their routes",
        reason: "Only a router has reason to; elsewhere it helps whoever wants to mislead neighbours.",
        remedy: set!("net.ipv4.conf.all.send_redirects = 0", "net.ipv4.conf.default.send_redirects = 0"),
        look: |machine| {
            machine.sysctls(&["net.ipv4.conf.all.send_redirects", "net.ipv4.conf.default.send_redirects"], is_off)
        },
    },
    Check {
        id: "kernel-source-route",
        severity: Severity::Medium,
        title: "senders may choose the route of packets",
        reason: "With it they reach addresses behind the server that are not meant to be reached from outside.",
        remedy: set!("net.ipv4.conf.all.accept_source_route = 0", "net.ipv4.conf.default.accept_source_route = 0"),
        look: |machine| {
            let names = [
                "net.ipv4.conf.all.accept_source_route",
                "net.ipv4.conf.default.accept_source_route",
                "net.ipv6.conf.all.accept_source_route",
            ];
            // For IPv6 a negative number is off as well.
            machine.sysctls(&names, |value| value.parse::<i32>().is_ok_and(|it| it <= 0))
        },
    },
    Check {
        id: "kernel-forwarding",
        severity: Severity::Info,
        title: "the server forwards packets",
        reason: "Right for a router or a host of containers; on any other server it joins networks that should be apart.",
        remedy: "If nothing here needs it (no Docker, no VPN): write `net.ipv4.ip_forward = 0` into \
                 /etc/sysctl.d/60-hardening.conf, then `sysctl --system`.",
        look: |machine| machine.sysctls(&["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"], is_off),
    },
    Check {
        id: "firewall-absent",
        severity: Severity::Info,
        title: "no packet filter is at work",
        reason: "Whatever begins to listen is reachable at once. A firewall of the provider may stand before the machine, \
                 which cannot be seen from here.",
        remedy: "Allow what is meant to be reached and drop the rest: `apt install ufw && ufw allow ssh && ufw allow \
                 http && ufw allow https && ufw enable`.",
        look: |machine| {
            let is_filtered = machine.packet_filter()?;
            Ok(if is_filtered { Vec::new() } else { vec![Hit::one("nftables and iptables hold no rules")] })
        },
    },
];
