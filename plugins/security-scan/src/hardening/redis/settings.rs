//! What a configuration of Redis says of who may come in.

/// What matters of a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) has_password: bool,
    /// Whether others than this machine get an answer.
    pub(crate) is_remote: bool,
}

pub(crate) fn parse(text: &str) -> Settings {
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
    }
}
