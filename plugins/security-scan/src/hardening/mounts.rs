//! How filesystems are mounted.

use upkeep_plugin::Severity;

use super::machine::Machine;
use super::{Check, Hit, Look};

/// What of `wanted` the mount at `path` is without. A path that is no mount of its own has the options of what it lies in,
/// and that is told as well.
fn without(machine: &Machine<'_>, path: &str, wanted: &[&str]) -> Look {
    let mounts = machine.mounts()?;
    let Some(mount) = mounts.iter().find(|mount| mount.path == path) else {
        return Ok(vec![Hit::one(format!("{path} is no filesystem of its own"))]);
    };
    let missing: Vec<_> =
        wanted.iter().filter(|it| !mount.options.iter().any(|option| option == **it)).copied().collect();
    Ok(if missing.is_empty() { Vec::new() } else { vec![Hit::one(format!("{path} lacks {}", missing.join(", ")))] })
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "mount-tmp",
        severity: Severity::Low,
        title: "set-uid programs and devices work in /tmp",
        reason: "Everybody may write there: what a service was tricked into writing should not gain rights by it.",
        remedy: "`systemctl enable --now tmp.mount` makes it a filesystem of its own with `nosuid,nodev`; a line for /tmp in \
                 /etc/fstab needs these options added.",
        look: |machine| without(machine, "/tmp", &["nosuid", "nodev"]),
    },
    Check {
        id: "mount-shared-memory",
        severity: Severity::Low,
        title: "programs can be started from /dev/shm",
        reason: "It is writable for all, in memory only, and so the favourite place of intruders' programs.",
        remedy: "Add `tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec 0 0` to /etc/fstab, then `mount -o remount /dev/shm`.",
        look: |machine| without(machine, "/dev/shm", &["nosuid", "nodev", "noexec"]),
    },
    Check {
        id: "mount-proc",
        severity: Severity::Info,
        title: "everybody sees the processes of everybody",
        reason: "Command lines hold passwords more often than they should. systemd-logind and some monitoring need to see them.",
        remedy: "Add `proc /proc proc rw,nosuid,nodev,noexec,hidepid=2 0 0` to /etc/fstab, then `mount -o remount /proc`; or \
                 `ProtectProc=invisible` in the units of services.",
        look: |machine| {
            let proc = machine.mounts()?.iter().find(|mount| mount.path == "/proc").ok_or("there is no /proc")?;
            let hides = |option: &String| option.strip_prefix("hidepid=").is_some_and(|it| !["0", "off"].contains(&it));
            Ok(if proc.options.iter().any(hides) { Vec::new() } else { vec![Hit::one("/proc lacks hidepid")] })
        },
    },
];
