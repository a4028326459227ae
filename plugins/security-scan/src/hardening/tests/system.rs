use upkeep_plugin::system::Update;

use super::Case;
use super::stage::{NOW_MS, Stage};

const DAY_MS: i64 = 86_400_000;

fn release(stage: &mut Stage, version: &str) {
    if let Some(os) = stage.facts.os.as_mut() {
        version.clone_into(&mut os.version);
    }
}

fn pending(stage: &mut Stage) {
    let own = str::to_owned;
    let (name, installed) = (own("openssl"), own("3.0.15-1"));
    stage.updates().pending.push(Update {
        name,
        installed,
        candidate: own("3.0.17-1"),
        suite: own("bookworm-security"),
    });
}

pub(super) const CASES: &[Case] = &[
    (
        "kernel-address-randomisation",
        |it| it.sysctl("kernel.randomize_va_space", "1"),
        |it| it.sysctl("kernel.randomize_va_space", "2"),
    ),
    ("kernel-pointers", |it| it.sysctl("kernel.kptr_restrict", "0"), |it| it.sysctl("kernel.kptr_restrict", "2")),
    ("kernel-log", |it| it.sysctl("kernel.dmesg_restrict", "0"), |it| it.sysctl("kernel.dmesg_restrict", "1")),
    ("kernel-ptrace", |it| it.sysctl("kernel.yama.ptrace_scope", "0"), |it| it.sysctl("kernel.yama.ptrace_scope", "3")),
    ("kernel-suid-dumps", |it| it.sysctl("fs.suid_dumpable", "1"), |it| it.sysctl("fs.suid_dumpable", "2")),
    (
        "kernel-protected-links",
        |it| it.sysctl("fs.protected_symlinks", "0"),
        |it| it.sysctl("fs.protected_symlinks", "1"),
    ),
    ("kernel-protected-files", |it| it.sysctl("fs.protected_fifos", "0"), |it| it.sysctl("fs.protected_fifos", "2")),
    (
        "kernel-unprivileged-bpf",
        |it| it.sysctl("kernel.unprivileged_bpf_disabled", "0"),
        |it| it.sysctl("kernel.unprivileged_bpf_disabled", "1"),
    ),
    (
        "kernel-perf-events",
        |it| it.sysctl("kernel.perf_event_paranoid", "1"),
        |it| it.sysctl("kernel.perf_event_paranoid", "2"),
    ),
    (
        "kernel-core-pattern",
        |it| it.sysctl("kernel.core_pattern", "/tmp/core.%e"),
        |it| it.sysctl("kernel.core_pattern", "core"),
    ),
    (
        "kernel-syn-cookies",
        |it| it.sysctl("net.ipv4.tcp_syncookies", "0"),
        |it| it.sysctl("net.ipv4.tcp_syncookies", "2"),
    ),
    (
        "kernel-reverse-path",
        |it| {
            it.sysctl("net.ipv4.conf.all.rp_filter", "0");
            it.sysctl("net.ipv4.conf.default.rp_filter", "0");
        },
        |it| it.sysctl("net.ipv4.conf.all.rp_filter", "0"),
    ),
    (
        "kernel-accept-redirects",
        |it| it.sysctl("net.ipv6.conf.default.accept_redirects", "1"),
        |it| it.sysctl("net.ipv4.conf.all.secure_redirects", "1"),
    ),
    (
        "kernel-send-redirects",
        |it| it.sysctl("net.ipv4.conf.all.send_redirects", "1"),
        |it| it.sysctl("net.ipv4.conf.all.send_redirects", "0"),
    ),
    (
        "kernel-source-route",
        |it| it.sysctl("net.ipv4.conf.default.accept_source_route", "1"),
        |it| it.sysctl("net.ipv6.conf.all.accept_source_route", "-1"),
    ),
    ("kernel-forwarding", |it| it.sysctl("net.ipv4.ip_forward", "1"), |it| it.sysctl("net.ipv4.ip_forward", "0")),
    ("firewall-absent", |it| it.kernel().packet_filter = Some(false), |it| it.kernel().packet_filter = Some(true)),
    ("mount-tmp", |it| it.unmount("/tmp"), |it| it.mount("/tmp", "rw,nodev,nosuid,noexec")),
    (
        "mount-shared-memory",
        |it| it.mount("/dev/shm", "rw,nosuid,nodev"),
        |it| it.mount("/dev/shm", "rw,noexec,nosuid,nodev"),
    ),
    ("mount-proc", |it| it.mount("/proc", "rw,hidepid=0"), |it| it.mount("/proc", "rw,hidepid=2")),
    ("updates-pending", pending, |it| it.updates().unattended = false),
    ("updates-no-security-suite", |it| it.updates().suites.clear(), pending),
    (
        "updates-stale-lists",
        |it| it.updates().fetched = Some(NOW_MS - 9 * DAY_MS),
        |it| it.updates().fetched = Some(NOW_MS - 7 * DAY_MS),
    ),
    ("updates-not-automatic", |it| it.updates().unattended = false, pending),
    ("updates-reboot", |it| it.updates().reboot_required = true, pending),
    ("release-end-of-life", |it| release(it, "10"), |it| release(it, "13")),
];
