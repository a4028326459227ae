//! A part of what a piece says, as bytes under a key: what is stored, and merged one by one.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::calendar::Day;
use crate::chart::Chart;
use crate::codec::Damaged;
#[cfg(doc)]
use crate::funnel::Attempts;
use crate::funnel::Steps;
use crate::ranking::{Hits, Page, Ranking, Usage};
use crate::retention::Users;
use crate::session::OpenSessions;
use crate::traffic::{Figures, Traffic};
use crate::visitor::{PARTITIONS, Partition, Seen};

/// What a section is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// [`Traffic`] of the hour that begins at an instant: `hour/1764400800`.
    Hour(i64),
    /// [`Traffic`] of a day: `day/20421`.
    Day(Day),
    /// A ranking of a day: `chart/20421/pages`.
    Chart(Day, Chart),
    /// [`OpenSessions`] of a partition: `sessions/07`.
    Sessions(Partition),
    /// [`Seen`] in a period and a partition: `seen/20393/07`.
    Seen(Day, Partition),
    /// [`Visitors`](crate::visitor::Visitors) of a period and a partition: `visitors/20393/07`.
    Visitors(Day, Partition),
    /// Events of a day, as a [`Ranking`] of [`Usage`]: `events/20421`.
    Events(Day),
    /// [`Users`] of a partition: `users/07`.
    Users(Partition),
    /// [`Attempts`] at a funnel, of a partition: `attempts/1/07`.
    Attempts(u32, Partition),
    /// [`Steps`] of a funnel on a day: `steps/1/20421`.
    Steps(u32, Day),
}

impl Key {
    /// Whether sections under both can be merged.
    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Hour(_) | Self::Day(_), Self::Hour(_) | Self::Day(_)) => true,
            (Self::Chart(_, a), Self::Chart(_, b)) => a == b,
            (Self::Events(_), Self::Events(_)) => true,
            (Self::Steps(a, _), Self::Steps(b, _)) => a == b,
            _ => self == other,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hour(start) => write!(f, "hour/{start}"),
            Self::Day(day) => write!(f, "day/{}", day.0),
            Self::Chart(day, chart) => write!(f, "chart/{}/{}", day.0, chart.name()),
            Self::Sessions(partition) => write!(f, "sessions/{partition:02}"),
            Self::Seen(period, partition) => write!(f, "seen/{}/{partition:02}", period.0),
            Self::Visitors(period, partition) => write!(f, "visitors/{}/{partition:02}", period.0),
            Self::Events(day) => write!(f, "events/{}", day.0),
            Self::Users(partition) => write!(f, "users/{partition:02}"),
            Self::Attempts(funnel, partition) => write!(f, "attempts/{funnel}/{partition:02}"),
            Self::Steps(funnel, day) => write!(f, "steps/{funnel}/{}", day.0),
        }
    }
}

/// A text that is no key of a section.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no key of a section")]
pub struct UnknownKey(String);

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let day = |it: &str| it.parse().ok().map(Day);
        let partition = |it: &str| it.parse().ok().filter(|it| *it < PARTITIONS);
        let parts: Vec<_> = text.split('/').collect();
        let key = match parts[..] {
            ["hour", start] => start.parse().ok().map(Self::Hour),
            ["day", it] => day(it).map(Self::Day),
            ["chart", it, name] => {
                let chart = Chart::ALL.into_iter().find(|it| it.name() == name);
                day(it).zip(chart).map(|(day, chart)| Self::Chart(day, chart))
            }
            ["sessions", it] => partition(it).map(Self::Sessions),
            ["seen", period, it] => day(period).zip(partition(it)).map(|(period, it)| Self::Seen(period, it)),
            ["visitors", period, it] => day(period).zip(partition(it)).map(|(period, it)| Self::Visitors(period, it)),
            ["events", it] => day(it).map(Self::Events),
            ["users", it] => partition(it).map(Self::Users),
            ["attempts", funnel, it] => {
                funnel.parse().ok().zip(partition(it)).map(|(funnel, it)| Self::Attempts(funnel, it))
            }
            ["steps", funnel, it] => funnel.parse().ok().zip(day(it)).map(|(funnel, it)| Self::Steps(funnel, it)),
            _ => None,
        };
        key.ok_or_else(|| UnknownKey(text.to_owned()))
    }
}

/// A part of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is of.
    pub key: Key,
    /// What it says, encoded.
    pub bytes: Vec<u8>,
}

impl Section {
    /// Takes in what another section of the same kind says.
    pub fn merge(&mut self, other: &Self) -> Result<(), Damaged> {
        let merged = Self::merged([std::mem::replace(self, Self { key: self.key, bytes: Vec::new() }), other.clone()])?;
        if let Some(merged) = merged {
            *self = merged;
        }
        Ok(())
    }

    /// Sections of the same kind as one, under the key of the first. Visitors and attempts are none of them: the first take in
    /// who was seen with [`Visitors::admit`](crate::visitor::Visitors::admit), and [`Attempts::merge`] needs a calendar.
    pub fn merged(sections: impl IntoIterator<Item = Self>) -> Result<Option<Self>, Damaged> {
        let mut sections = sections.into_iter().peekable();
        let Some(key) = sections.peek().map(|it| it.key) else { return Ok(None) };
        let all = sections.map(|it| match it.key.is_like(key) {
            true => Ok(it.bytes),
            false => Err(Damaged::Invalid("sections of different kinds cannot be merged")),
        });
        let bytes = match key {
            Key::Hour(_) | Key::Day(_) => one(all, Traffic::decode, Traffic::merge)?.encode(),
            Key::Chart(_, Chart::Pages) => one(all, Ranking::<Page>::decode, Ranking::merge)?.encode(),
            Key::Chart(..) => one(all, Ranking::<Hits>::decode, Ranking::merge)?.encode(),
            Key::Sessions(_) => {
                let all: Vec<_> = all.map(|it| OpenSessions::decode(&it?)).collect::<Result<_, _>>()?;
                let mut merged = OpenSessions::new();
                merged.merge(&all);
                merged.encode()
            }
            Key::Seen(..) => {
                let all: Vec<_> = all.map(|it| Seen::decode(&it?)).collect::<Result<_, _>>()?;
                let mut merged = Seen::default();
                merged.merge(&all);
                merged.encode()
            }
            Key::Events(_) => one(all, Ranking::<Usage>::decode, Ranking::merge)?.encode(),
            Key::Users(_) => {
                let all: Vec<_> = all.map(|it| Users::decode(&it?)).collect::<Result<_, _>>()?;
                let mut merged = Users::default();
                merged.merge(&all);
                merged.encode()
            }
            Key::Steps(..) => one(all, Steps::decode, Steps::merge)?.encode(),
            Key::Visitors(..) | Key::Attempts(..) => return Err(Damaged::Invalid("these sections cannot be merged")),
        };
        Ok(Some(Self { key, bytes }))
    }

    /// Of an hour or a day, plain figures.
    pub fn figures(&self) -> Result<Option<Figures>, Damaged> {
        match self.key {
            Key::Hour(_) | Key::Day(_) => Traffic::decode(&self.bytes).map(|it| Some(it.figures())),
            _ => Ok(None),
        }
    }
}

/// All of them in one.
fn one<T: Default>(
    all: impl Iterator<Item = Result<Vec<u8>, Damaged>>,
    decode: impl Fn(&[u8]) -> Result<T, Damaged>,
    merge: impl Fn(&mut T, &T),
) -> Result<T, Damaged> {
    let mut into: Option<T> = None;
    for bytes in all {
        let next = decode(&bytes?)?;
        match &mut into {
            Some(into) => merge(into, &next),
            None => into = Some(next),
        }
    }
    Ok(into.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_texts() {
        let day = Day(-3);
        let mut keys =
            vec![Key::Hour(-5), Key::Day(day), Key::Sessions(7), Key::Seen(day, 0), Key::Visitors(Day(20_393), 63)];
        keys.extend([Key::Events(day), Key::Users(9), Key::Attempts(7, 63), Key::Steps(u32::MAX, day)]);
        keys.extend(Chart::ALL.map(|it| Key::Chart(day, it)));
        for key in keys {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        assert_eq!(Key::Visitors(Day(20_393), 7).to_string(), "visitors/20393/07");
        for text in ["", "hour", "hour/x", "chart/1/none", "sessions/64", "seen/1", "day/1/2"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
