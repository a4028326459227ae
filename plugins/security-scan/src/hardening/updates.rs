//! Security updates of the distribution.

use upkeep_plugin::Severity;

use super::{Check, Hit};

const DAY_MS: i64 = 86_400_000;
/// Lists that are older say little of what is pending.
const STALE_DAYS: i64 = 7;
/// Names that one finding lists.
const NAMED: usize = 12;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "updates-pending",
        severity: Severity::High,
        title: "security updates are pending",
        reason: "What they mend is public, and so is the way to use it. The lists of apt that are on this machine were \
                 compared with what is installed; nothing was fetched.",
        remedy: "`apt update && apt upgrade`, and restart what used the old files: `needrestart -r a`, or the machine.",
        look: |machine| {
            let updates = machine.updates()?;
            if updates.suites.is_empty() {
                return Err("apt has no list of a suite for security; see `updates-no-security-suite`".to_owned());
            }
            let names: Vec<_> =
                updates.pending.iter().take(NAMED).map(|it| format!("{} {}", it.name, it.candidate)).collect();
            let more = updates.pending.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let told = || Hit::one(format!("{} ({}{more})", updates.pending.len(), names.join(", ")));
            Ok(if updates.pending.is_empty() { Vec::new() } else { vec![told()] })
        },
    },
    Check {
        id: "updates-no-security-suite",
        severity: Severity::High,
        title: "apt knows no suite for security",
        reason: "Without it this machine never hears of security updates; `apt upgrade` says that all is well.",
        remedy: "Add the line for your release to /etc/apt/sources.list, such as `deb http://security.debian.org/debian-security \
                 bookworm-security main`, then `apt update`.",
        look: |machine| {
            let is_without = machine.updates()?.suites.is_empty();
            Ok(if is_without { vec![Hit::one("no list of a suite named *-security")] } else { Vec::new() })
        },
    },
    Check {
        id: "updates-stale-lists",
        severity: Severity::Medium,
        title: "the lists of packages are old",
        reason: "Updates that came since are not known here, so that none of them is told or installed.",
        remedy: "`apt update`; to have it done daily, `apt install unattended-upgrades`.",
        look: |machine| {
            let fetched = machine.updates()?.fetched.ok_or("apt has fetched no lists yet")?;
            let days = machine.now_ms.saturating_sub(fetched) / DAY_MS;
            Ok(if days > STALE_DAYS {
                vec![Hit::one(format!("fetched more than {STALE_DAYS} days ago"))]
            } else {
                Vec::new()
            })
        },
    },
    Check {
        id: "updates-not-automatic",
        severity: Severity::Low,
        title: "security updates are not installed by themselves",
        reason: "Between an update and the day on which somebody finds time for it, the hole is open.",
        remedy: "`apt install unattended-upgrades && dpkg-reconfigure -plow unattended-upgrades`; by default it installs what is \
                 for security, and nothing else.",
        look: |machine| {
            let is_on = machine.updates()?.unattended;
            Ok(if is_on { Vec::new() } else { vec![Hit::one("unattended-upgrades is missing or off")] })
        },
    },
    Check {
        id: "updates-reboot",
        severity: Severity::Medium,
        title: "updates wait for a restart of the machine",
        reason: "The mended kernel or library is on the disk; what runs is still the old one.",
        remedy: "Restart the machine at a quiet hour: `systemctl reboot`; /run/reboot-required.pkgs says for which packages.",
        look: |machine| {
            let is_required = machine.updates()?.reboot_required;
            Ok(if is_required { vec![Hit::one("/run/reboot-required is there")] } else { Vec::new() })
        },
    },
];
