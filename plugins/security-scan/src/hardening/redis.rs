//! Configurations of Redis and what descends from it, in the granted folders.

use upkeep_plugin::Severity;

use self::settings::{Settings, parse};
use super::files::Opened;
use super::machine::Machine;
use super::{Check, Hit, Look};

mod settings;

/// Whether a file of this name is one.
pub(super) fn is_config(name: &str) -> bool {
    let start = ["redis", "valkey", "keydb"].iter().any(|it| name.starts_with(it));
    start && name.ends_with(".conf")
}

fn each(machine: &Machine<'_>, is_wrong: impl Fn(Settings) -> bool) -> Look {
    let wrong = machine.files()?.redis.iter().filter(|Opened { text, .. }| is_wrong(parse(text)));
    Ok(wrong
        .map(|file| Hit { place: Some(file.place()), ..Hit::of(file.object.clone(), file.object.clone()) })
        .collect())
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "redis-without-password",
        severity: Severity::Critical,
        title: "Redis answers other machines without a password",
        reason: "Who reaches it reads and writes everything, and can have it write files of their choice.",
        remedy: "Set `requirepass` to a long random text (`openssl rand -base64 32`) and `bind 127.0.0.1 -::1`, then `systemctl \
                 restart redis-server`, and give the applications the password.",
        look: |machine| each(machine, |it| !it.has_password && it.is_remote),
    },
    Check {
        id: "redis-local-without-password",
        severity: Severity::Low,
        title: "Redis answers this machine without a password",
        reason: "Any user of the machine, and any application that can be made to send requests, has all of its data.",
        remedy: "Set `requirepass`, or `port 0` with `unixsocket` and `unixsocketperm 770` for the group of the application.",
        look: |machine| each(machine, |it| !it.has_password && !it.is_remote),
    },
];

#[cfg(test)]
mod tests {
    use super::is_config;

    #[test]
    fn names_of_configurations() {
        assert!(is_config("redis.conf") && is_config("redis-6379.conf") && !is_config("redis.conf.bak"));
    }
}
