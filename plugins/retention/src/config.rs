//! `[config]`: what the operator writes, and what the policy makes of it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use upkeep_plugin::repository::Amount;
use upkeep_plugin::{Error, Result};

use crate::policy::{Count, GroupBy, Keep, Snapshot, Span};

/// Which snapshots go, and what becomes of their data.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// The repository, as in `[grant.repository.NAME]`.
    pub(crate) repository: String,
    /// The tasks whose snapshots are looked at; by default those of all tasks of upkeep. Other snapshots stay, and use
    /// up no count.
    #[serde(default)]
    pub(crate) tasks: Vec<String>,
    /// Tags of snapshots that other programs made and that are looked at too.
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Only snapshots of these hosts; by default of all.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// The rules count for each group by itself.
    #[serde(default = "host_and_paths")]
    pub(crate) group_by: Vec<By>,
    /// A run that would remove more than this share of a group removes nothing of it.
    #[serde(default = "half")]
    pub(crate) max_removals: Percent,
    /// What is kept. Left out, no snapshot is removed.
    #[serde(default)]
    pub(crate) keep: Option<KeepSettings>,
    /// How data that no snapshot needs is removed. Left out, none is.
    #[serde(default)]
    pub(crate) prune: Option<PruneSettings>,
}

/// What snapshots of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// The host.
    Host,
    /// What was saved.
    Paths,
    /// The tags.
    Tags,
}

fn host_and_paths() -> Vec<By> {
    vec![By::Host, By::Paths]
}

fn half() -> Percent {
    Percent(50)
}

/// Rules; a snapshot that one of them keeps is kept. They decide as those of `restic forget`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct KeepSettings {
    /// So many of the newest.
    last: Option<Number>,
    /// The newest of each of the last so many hours that have a snapshot.
    hourly: Option<Number>,
    /// The newest of each of the last so many days that have a snapshot.
    daily: Option<Number>,
    /// The newest of each of the last so many weeks that have a snapshot.
    weekly: Option<Number>,
    /// The newest of each of the last so many months that have a snapshot.
    monthly: Option<Number>,
    /// The newest of each of the last so many years that have a snapshot.
    yearly: Option<Number>,
    /// All that are younger than this span: years, months, days, hours. It counts back from the newest snapshot.
    within: Option<Within>,
    /// The newest of each hour in this span.
    within_hourly: Option<Within>,
    /// The newest of each day in this span.
    within_daily: Option<Within>,
    /// The newest of each week in this span.
    within_weekly: Option<Within>,
    /// The newest of each month in this span.
    within_monthly: Option<Within>,
    /// The newest of each year in this span.
    within_yearly: Option<Within>,
    /// All with one of these tags; `a,b` stands for both at once.
    tags: Vec<String>,
}

/// How data is removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PruneSettings {
    /// Data that no snapshot needs and that may stay: a share of the repository, a size, or `unlimited`.
    max_unused: Bound,
    /// Data that may be written anew in one run, to get rid of such data in packs that are partly needed.
    max_repack: Bound,
    /// How long data stays after it was found to be unneeded, for the sake of other programs that write to the repository
    /// and take no lock: `23h`, `7d`, or `0h` to remove it at once.
    grace: Grace,
}

impl Default for PruneSettings {
    fn default() -> Self {
        let percent = |percent| Bound(Amount::Percent(percent));
        Self { max_unused: percent(5), max_repack: percent(10), grace: Grace(23 * 3_600) }
    }
}

impl PruneSettings {
    pub(crate) fn options(&self) -> upkeep_plugin::repository::PruneOptions {
        let (max_unused, max_repack) = (self.max_unused.0, self.max_repack.0);
        upkeep_plugin::repository::PruneOptions { max_unused, max_repack, grace_seconds: self.grace.0 }
    }
}

impl Retention {
    /// Refuses what makes no sense.
    pub(crate) fn keep(&self) -> Result<Option<Keep>> {
        let Some(settings) = &self.keep else {
            return match self.prune {
                Some(_) => Ok(None),
                None => Err(Error::config(
                    "there is nothing to do; add `[config.keep]` with `daily = 7` or the like, or `[config.prune]`",
                )),
            };
        };
        let keep = settings.policy();
        if !keep.has_time_rule() {
            return Err(Error::config(
                "the rules under [config.keep] would keep nothing, or only what has a tag; add `last = 1` at least",
            ));
        }
        Ok(Some(keep))
    }

    pub(crate) fn group_by(&self) -> GroupBy {
        let has = |by| self.group_by.contains(&by);
        GroupBy { host: has(By::Host), paths: has(By::Paths), tags: has(By::Tags) }
    }

    /// Whether the rules look at a snapshot.
    pub(crate) fn concerns(&self, snapshot: &Snapshot) -> bool {
        let is_named = snapshot.tags.iter().any(|tag| {
            self.tags.contains(tag)
                || tag.strip_prefix("upkeep:").is_some_and(|task| {
                    (self.tasks.is_empty() && self.tags.is_empty()) || self.tasks.iter().any(|it| it == task)
                })
        });
        is_named && (self.hosts.is_empty() || self.hosts.contains(&snapshot.host))
    }
}

impl KeepSettings {
    fn policy(&self) -> Keep {
        let count = |number: &Option<Number>| number.map_or(Count::None, |it| it.0);
        let span = |within: &Option<Within>| within.map(|it| it.0);
        Keep {
            last: count(&self.last),
            hourly: count(&self.hourly),
            daily: count(&self.daily),
            weekly: count(&self.weekly),
            monthly: count(&self.monthly),
            yearly: count(&self.yearly),
            within: span(&self.within),
            within_hourly: span(&self.within_hourly),
            within_daily: span(&self.within_daily),
            within_weekly: span(&self.within_weekly),
            within_monthly: span(&self.within_monthly),
            within_yearly: span(&self.within_yearly),
            tags: self.tags.iter().map(|tags| tags.split(',').map(|tag| tag.trim().to_owned()).collect()).collect(),
        }
    }
}

/// A number, or all: `7`, `"unlimited"`, `-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
struct Number(Count);

/// As it may be written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Word(String),
}

impl TryFrom<Written> for Number {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        let wrong = |it: &dyn std::fmt::Display| format!("`{it}` is no count; write a number, or \"unlimited\"");
        match written {
            Written::Number(-1) => Ok(Self(Count::Unlimited)),
            Written::Number(number) => u32::try_from(number).map(|it| Self(Count::Of(it))).map_err(|_| wrong(&number)),
            Written::Word(word) if word == "unlimited" => Ok(Self(Count::Unlimited)),
            Written::Word(word) => Err(wrong(&word)),
        }
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": -1, "maximum": u32::MAX }, { "const": "unlimited" }] })
    }
}

/// Declares a setting that is written as a string of a form.
macro_rules! written {
    ($(#[$doc:meta])* $name:ident($of:ty), $parse:expr, $pattern:literal, $examples:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
        #[serde(try_from = "String")]
        pub(crate) struct $name(pub(crate) $of);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> std::result::Result<Self, String> {
                $parse(&text).map(Self)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": $examples })
            }
        }
    };
}

written!(
    /// A span of the calendar.
    Within(Span), str::parse::<Span>, r"^\s*([0-9]+[ymdh])+\s*$", ["30d", "1y6m", "36h"]
);
written!(
    /// A share.
    Percent(u32), percent, r"^\s*([0-9]|[1-9][0-9]|100)\s*%\s*$", ["50 %", "100 %"]
);
written!(
    /// A bound on an amount of data.
    Bound(Amount), bound, r"^\s*(unlimited|[0-9]+\s*(%|[kKMGT]?i?B))\s*$", ["5 %", "10 GiB", "unlimited"]
);
written!(
    /// A time that data stays, in seconds.
    Grace(u64), grace, r"^\s*([0-9]+[dh])+\s*$", ["23h", "7d", "0h"]
);

fn percent(text: &str) -> std::result::Result<u32, String> {
    let number = text.trim().strip_suffix('%').and_then(|it| it.trim().parse().ok());
    number.filter(|it| *it <= 100).ok_or_else(|| format!("`{text}` is no share; write it as `50 %`"))
}

fn bound(text: &str) -> std::result::Result<Amount, String> {
    let wrong = || format!("`{text}` is no bound; write it as `5 %`, `10 GiB` or `unlimited`");
    let trimmed = text.trim();
    if trimmed == "unlimited" {
        return Ok(Amount::Unlimited);
    }
    if trimmed.ends_with('%') {
        return percent(trimmed).ok().filter(|it| *it < 100).map(Amount::Percent).ok_or_else(wrong);
    }
    let (number, unit) = trimmed.split_at(trimmed.find(|it: char| !it.is_ascii_digit()).ok_or_else(wrong)?);
    let unit = unit.trim().to_ascii_lowercase();
    let base: u64 = if unit.ends_with("ib") { 1024 } else { 1000 };
    let power = ["", "k", "m", "g", "t"].iter().position(|it| *it == unit.trim_end_matches('b').trim_end_matches('i'));
    let factor = power.filter(|_| unit.ends_with('b')).map(|it| base.pow(it as u32));
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.map(Amount::Bytes).ok_or_else(wrong)
}

fn grace(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("`{text}` is no time; write it in days and hours, such as `23h` or `7d`");
    if text.trim() == "0h" {
        return Ok(0);
    }
    match text.parse().map_err(|_| wrong())? {
        Span { years: 0, months: 0, days, hours } => Ok((u64::from(days) * 24 + u64::from(hours)) * 3_600),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        assert_eq!(bound("5 %"), Ok(Amount::Percent(5)));
        assert_eq!(bound("10 GiB"), Ok(Amount::Bytes(10 << 30)));
        assert_eq!(bound("3MB"), Ok(Amount::Bytes(3_000_000)));
        assert_eq!(bound("7 B"), Ok(Amount::Bytes(7)));
        assert_eq!(bound("unlimited"), Ok(Amount::Unlimited));
        for wrong in ["", "5", "100 %", "-1 B", "5 XB", "% 5"] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
        assert_eq!((grace("23h"), grace("1d2h"), grace("0h")), (Ok(82_800), Ok(93_600), Ok(0)));
        assert!(grace("1m").is_err() && grace("1y").is_err() && grace("").is_err());
        assert_eq!((percent("50 %"), percent("0%")), (Ok(50), Ok(0)));
        assert!(percent("101 %").is_err() && percent("50").is_err());
        let read = |text: &str| serde_json::from_str::<Number>(text).map(|it| it.0);
        assert_eq!(read("7").unwrap(), Count::Of(7));
        assert_eq!((read("-1").unwrap(), read("\"unlimited\"").unwrap()), (Count::Unlimited, Count::Unlimited));
        assert!(read("-2").is_err() && read("\"all\"").is_err() && read("1.5").is_err());
    }

    #[test]
    fn keeping_nothing_is_refused() {
        let keep = |more: &str| {
            let config = format!(r#"{{ "repository": "main"{more} }}"#);
            serde_json::from_str::<Retention>(&config).unwrap().keep().map_err(|error| error.to_string())
        };
        assert!(keep("").unwrap_err().contains("nothing to do"));
        assert!(keep(r#", "prune": {}"#).unwrap().is_none());
        for nothing in [r#", "keep": {}"#, r#", "keep": { "daily": 0 }"#, r#", "keep": { "tags": ["a"] }"#] {
            assert!(keep(nothing).unwrap_err().contains("`last = 1`"), "{nothing}");
        }
        let some = keep(r#", "keep": { "last": 3, "within": "1y6m", "tags": ["a, b"] }"#).unwrap().unwrap();
        assert_eq!((some.last, some.tags), (Count::Of(3), vec![vec!["a".to_owned(), "b".to_owned()]]));
    }

    #[test]
    fn only_what_is_named_is_looked_at() {
        let concerns = |more: &str, host: &str, tags: &[&str]| {
            let config = format!(r#"{{ "repository": "main"{more} }}"#);
            serde_json::from_str::<Retention>(&config).unwrap().concerns(&Snapshot {
                id: String::new(),
                time: 0,
                utc_offset: 0,
                host: host.to_owned(),
                paths: vec![],
                tags: tags.iter().map(|it| (*it).to_owned()).collect(),
            })
        };
        assert!(concerns("", "a", &["upkeep:app"]) && !concerns("", "a", &["nightly"]) && !concerns("", "a", &[]));
        let tasks = r#", "tasks": ["app"], "hosts": ["a"]"#;
        assert!(concerns(tasks, "a", &["upkeep:app"]) && !concerns(tasks, "a", &["upkeep:web"]));
        assert!(!concerns(tasks, "b", &["upkeep:app"]));
        let tags = r#", "tags": ["nightly"]"#;
        assert!(concerns(tags, "a", &["nightly"]) && !concerns(tags, "a", &["upkeep:app"]));
    }
}
