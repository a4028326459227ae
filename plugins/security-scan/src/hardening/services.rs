//! Services of systemd: as whom they run, and what holds them back.

use upkeep_plugin::Severity;
use upkeep_plugin::system::Service;

use super::machine::Machine;
use super::{Check, Hit, Look};

/// Processes that need nothing of what root may do. Not among them: nginx, Apache and php-fpm, which start as root to
/// hand their work to others.
const ORDINARY: [&str; 25] = [
    "beam.smp",
    "bun",
    "deno",
    "dotnet",
    "etcd",
    "gunicorn",
    "java",
    "keydb-server",
    "mariadbd",
    "memcached",
    "mongod",
    "mysqld",
    "nats-server",
    "next-server",
    "node",
    "php",
    "postgres",
    "prometheus",
    "puma",
    "redis-server",
    "ruby",
    "uvicorn",
    "uwsgi",
    "valkey-server",
    "vector",
];

/// As above, in units of this machine's own: those of distributions in these languages tend the system.
const SCRIPTS: [&str; 2] = ["perl", "python"];

const CLOCKS: [&str; 8] = ["systemd-timesyncd", "chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "phc2sys"];

/// Whether somebody of this machine wrote the unit.
fn is_own(service: &Service) -> bool {
    service.path.starts_with("/etc/systemd/system/")
}

fn is_ordinary(service: &Service) -> bool {
    // `python3.11`.
    let name = service.process.trim_end_matches(|it: char| it.is_ascii_digit() || it == '.');
    ORDINARY.contains(&name) || SCRIPTS.contains(&name) && is_own(service)
}

fn each(machine: &Machine<'_>, is_wrong: impl Fn(&Service) -> bool, seen: impl Fn(&Service) -> String) -> Look {
    let running = machine.services()?.iter().filter(|service| !service.process.is_empty());
    Ok(running.filter(|service| is_wrong(service)).map(|it| Hit::of(it.name.clone(), seen(it))).collect())
}

fn told(service: &Service) -> String {
    format!("{} ({})", service.name, service.process)
}

fn is_root(machine: &Machine<'_>, service: &Service) -> bool {
    service.user == "root" && !machine.config.root_services.contains(&service.name)
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "service-root",
        severity: Severity::High,
        title: "a service runs as root that need not",
        reason: "A bug in it, or in one of its libraries, gives away the whole machine.",
        remedy: "`systemctl edit NAME` with `[Service]`, `User=` a user of its own (`useradd --system NAME`), then give that user \
                 its data and `systemctl restart NAME`. A service that has to be root goes into \
                 `config.hardening.root_services`.",
        look: |machine| each(machine, |it| is_root(machine, it) && is_ordinary(it), told),
    },
    Check {
        id: "service-own-root",
        severity: Severity::Medium,
        title: "a service of this machine's own runs as root",
        reason: "Its unit is in /etc/systemd/system and names no user. Ports below 1024 are no reason: a socket unit or \
                 `AmbientCapabilities=CAP_NET_BIND_SERVICE` does it.",
        remedy: "`systemctl edit NAME` with `[Service]`, `User=` a user of its own, or `DynamicUser=yes`, then `systemctl restart \
                 NAME`. A service that has to be root goes into `config.hardening.root_services`.",
        look: |machine| each(machine, |it| is_root(machine, it) && is_own(it) && !is_ordinary(it), told),
    },
    Check {
        id: "service-new-privileges",
        severity: Severity::Low,
        title: "a service may gain rights that it was not given",
        reason: "Without `NoNewPrivileges`, what breaks into it can go on to set-uid programs such as sudo.",
        remedy: "`systemctl edit NAME` with `[Service]`, `NoNewPrivileges=yes`, then `systemctl restart NAME`.",
        look: |machine| each(machine, |it| (is_own(it) || is_ordinary(it)) && !it.no_new_privileges, told),
    },
    Check {
        id: "service-writes-system",
        severity: Severity::Low,
        title: "a service may write to the system's folders",
        reason: "Without `ProtectSystem`, files in /usr and /etc are as safe as this service is.",
        remedy: "`systemctl edit NAME` with `[Service]`, `ProtectSystem=full` (or `strict`, with `ReadWritePaths=` for its data), \
                 then `systemctl restart NAME`.",
        look: |machine| {
            let is_open = |it: &Service| ["", "no"].contains(&it.protect_system.as_str());
            each(machine, |it| (is_own(it) || is_ordinary(it)) && is_open(it), told)
        },
    },
    Check {
        id: "service-failed",
        severity: Severity::Info,
        title: "a service has failed",
        reason: "When it is one that guards the machine (a firewall, updates, logs), nobody guards it now.",
        remedy: "`systemctl status NAME` tells why; `systemctl reset-failed NAME` when it is no matter.",
        look: |machine| {
            let failed = machine.services()?.iter().filter(|it| it.state == "failed");
            Ok(failed.map(|it| Hit::of(it.name.clone(), it.name.clone())).collect())
        },
    },
    Check {
        id: "time-sync-absent",
        severity: Severity::Low,
        title: "nothing keeps the clock right",
        reason: "Certificates, one-time passwords and logs are worth as much as the clock is.",
        remedy: "`apt install systemd-timesyncd && timedatectl set-ntp true`; `timedatectl` tells whether it works.",
        look: |machine| {
            let is_kept = |it: &Service| it.state == "active" && CLOCKS.contains(&it.name.as_str());
            let is_fine = machine.services()?.iter().any(is_kept);
            Ok(if is_fine { Vec::new() } else { vec![Hit::one("no service for it is active")] })
        },
    },
];
