//! Configurations of Redis and what descends from it, in the granted folders.

use upkeep_plugin::Severity;

use super::files::Opened;
use super::machine::Machine;
use super::{Check, Hit, Look};

/// Whether a file of this name is one.
pub(super) fn is_config(name: &str) -> bool {
    let start = ["redis", "valkey", "keydb"].iter().any(|it| name.starts_with(it));
    start && name.ends_with(".conf")
}

/// What matters of a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Settings {
    has_password: bool,
    /// Whether others than this machine get an answer.
    is_remote: bool,
}

fn parse(text: &str) -> Settings {
    let mut has_password = false;
    let (mut bound, mut is_protected, mut listens) = (None, true, true);
    for line in text.lines() {
        let mut words = line.split_whitespace().map(|word| word.trim_matches('"'));
        let (key, values) = (words.next().unwrap_or_default().to_lowercase(), words.collect::<Vec<_>>());
        match key.as_str() {
            "requirepass" => has_password = values.first().is_some_and(|it| !it.is_empty()),
            "aclfile" => has_password = true,
            // `user default on >password ...`
            "user" => has_password |= values.iter().any(|it| it.starts_with(['>', '#']) || *it == "off"),
            "protected-mode" => is_protected = values != ["no"],
            "port" => listens = values != ["0"],
            "bind" => {
                let is_here = |it: &&str| {
                    ["127.", "::1", "localhost"].iter().any(|own| it.trim_start_matches('-').starts_with(own))
                };
                bound = Some(!values.iter().all(is_here));
            }
            _ => {}
        }
    }
    // Protected, and without both addresses and a password, it only answers this machine.
    let is_remote = bound.unwrap_or(!is_protected || has_password);
    Settings { has_password, is_remote: is_remote && listens }
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
    use super::*;

    #[test]
    fn what_a_configuration_lets_in() {
        for (text, has_password, is_remote) in [
            ("", false, false),
            ("protected-mode no\n", false, true),
            ("bind 0.0.0.0\n", false, true),
            ("bind 127.0.0.1 -::1\n", false, false),
            ("BIND 127.0.0.1 10.0.0.1\nrequirepass secret\n", true, true),
            ("# requirepass secret\nrequirepass \"\"\n", false, false),
            ("bind *\nport 0\n", false, false),
            ("user default on >secret ~* +@all\n", true, true),
        ] {
            assert_eq!(parse(text), Settings { has_password, is_remote }, "{text}");
        }
        assert!(is_config("redis.conf") && is_config("redis-6379.conf") && !is_config("redis.conf.bak"));
    }
}
