//! Whether a version is affected, by the evaluation algorithm of the [OSV schema].
//!
//! A version is affected when it is listed, or in one of the ranges. In a range the last event that the version has
//! reached decides: `introduced` and `fixed` are reached by the version itself, `last_affected` by those after it.
//! Where there are limits, a version also has to be before one of them. Of events at one version the later in the
//! record decides, and `last_affected` after all others, so that a range can be one version.
//!
//! What cannot be compared is not guessed: [`Verdict::Undecided`] carries the reason. Two cases need no comparison: a
//! listed version is found by its text, and a range that begins at `0` and has no other event holds everything.
//!
//! [OSV schema]: https://ossf.github.io/osv-schema/#evaluation

use std::cell::OnceCell;

use serde::{Deserialize, Serialize};

use crate::ecosystem::Family;
use crate::osv::Event;
use crate::version::{Scheme, Version, VersionError};

/// Versions between events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Whether it is by Semantic Versioning where the ecosystem has other rules.
    pub is_semver: bool,
    /// Where it begins and ends, in any sequence.
    pub events: Vec<Event>,
}

/// A version that is installed, parsed when it is needed.
#[derive(Debug)]
pub struct Installed<'a> {
    /// As the package manager writes it.
    pub text: &'a str,
    scheme: Scheme,
    own: OnceCell<Result<Version, VersionError>>,
    semver: OnceCell<Result<Version, VersionError>>,
}

impl<'a> Installed<'a> {
    /// A version of a package of this family.
    pub fn new(family: Family, text: &'a str) -> Self {
        Self { text, scheme: family.scheme(), own: OnceCell::new(), semver: OnceCell::new() }
    }

    /// By the rules of its ecosystem.
    pub(crate) fn version(&self) -> Result<&Version, VersionError> {
        self.own.get_or_init(|| Version::parse(self.scheme, self.text)).as_ref().map_err(Clone::clone)
    }

    fn semver(&self) -> Result<&Version, VersionError> {
        self.semver.get_or_init(|| Version::parse(Scheme::Semver, self.text)).as_ref().map_err(Clone::clone)
    }
}

/// What an advisory says of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is not affected.
    Unaffected,
    /// It is affected.
    Affected,
    /// It, or what it would be compared with, is no version.
    Undecided(VersionError),
}

/// Whether a list or one of the ranges holds the version.
pub(crate) fn evaluate(ranges: &[Range], versions: &[String], installed: &Installed<'_>) -> Verdict {
    if versions.iter().any(|it| it == installed.text) {
        return Verdict::Affected;
    }
    let mut doubt = None;
    for range in ranges {
        match range.contains(installed) {
            Ok(true) => return Verdict::Affected,
            Ok(false) => {}
            Err(error) => doubt = Some(error),
        }
    }
    // Versions of other spelling may be the same. Those listed that cannot be compared are only equal to themselves.
    if !versions.is_empty() {
        match installed.version() {
            Ok(version) => {
                let is_same = |it: &String| Version::parse(installed.scheme, it).is_ok_and(|it| it == *version);
                if versions.iter().any(is_same) {
                    return Verdict::Affected;
                }
            }
            Err(error) => doubt = Some(error),
        }
    }
    doubt.map_or(Verdict::Unaffected, Verdict::Undecided)
}

impl Range {
    /// Whether the version is in it.
    ///
    /// # Errors
    /// When the version or an event's is none by the rules of the range.
    pub fn contains(&self, installed: &Installed<'_>) -> Result<bool, VersionError> {
        let is_beginning = |it: &Event| matches!(it, Event::Introduced(version) if version == "0");
        if self.events.iter().all(is_beginning) {
            return Ok(!self.events.is_empty());
        }
        let is_semver = self.is_semver && !installed.scheme.is_semver();
        let version = if is_semver { installed.semver()? } else { installed.version()? };
        let parse = |text: &str| Version::parse(version.scheme(), text);
        // None is before all versions.
        let mut last: Option<((Option<Version>, bool), bool)> = None;
        let (mut has_limit, mut is_before_limit) = (false, false);
        for event in &self.events {
            let (place, is_affected) = match event {
                Event::Introduced(text) if text == "0" => ((None, false), true),
                Event::Introduced(text) => ((Some(parse(text)?), false), true),
                Event::Fixed(text) => ((Some(parse(text)?), false), false),
                Event::LastAffected(text) => ((Some(parse(text)?), true), false),
                Event::Limit(text) => {
                    has_limit = true;
                    is_before_limit |= text == "*" || *version < parse(text)?;
                    continue;
                }
            };
            let is_reached = match &place {
                (None, _) => true,
                (Some(at), false) => version >= at,
                (Some(at), true) => version > at,
            };
            if is_reached && last.as_ref().is_none_or(|(before, _)| place >= *before) {
                last = Some((place, is_affected));
            }
        }
        Ok(last.is_some_and(|(_, is_affected)| is_affected) && (!has_limit || is_before_limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        let (kind, version) = text.split_at(1);
        let version = version.to_owned();
        match kind {
            "i" => Event::Introduced(version),
            "f" => Event::Fixed(version),
            "a" => Event::LastAffected(version),
            _ => Event::Limit(version),
        }
    }

    fn range(events: &str) -> Range {
        Range { is_semver: true, events: events.split(' ').map(event).collect() }
    }

    #[test]
    fn the_last_event_that_is_reached_decides() {
        let cases = [
            ("i0", "0.0.0 99.0.0 1.0.0-a", ""),
            ("i0 f1.2.0", "0.0.0 1.1.9 1.2.0-rc.1", "1.2.0 2.0.0"),
            ("f1.2.0 i1.0.0", "1.0.0 1.1.0", "0.9.0 1.0.0-rc.1 1.2.0"),
            ("i1.0.0 a1.2.0", "1.0.0 1.2.0 1.2.0+x", "1.2.1 0.9.0"),
            ("a1.2.0 i1.2.0", "1.2.0", "1.1.9 1.2.1"),
            ("f3.1.0 i0 i3.0.0 f1.5.0", "0.1.0 1.4.9 3.0.0 3.0.9", "1.5.0 2.9.0 3.1.0"),
            ("i1.0.0 f1.0.0", "", "0.9.0 1.0.0 1.1.0"),
            ("i0 f1.0.0 i1.0.0 f2.0.0", "0.9.0 1.0.0 1.9.0", "2.0.0"),
            ("i0 l2.0.0", "1.9.0 2.0.0-rc.1", "2.0.0 3.0.0"),
            ("i0 l2.0.0 l3.0.0", "2.5.0", "3.0.0"),
            ("i0 f4.0.0 l2.0.0 l*", "3.0.0", "4.0.0"),
            ("i1.0.0", "1.0.0 9.0.0", "0.9.0"),
        ];
        for (events, affected, unaffected) in cases {
            let check = |versions: &str, expected: bool| {
                for version in versions.split(' ').filter(|it| !it.is_empty()) {
                    let installed = Installed::new(Family::CratesIo, version);
                    assert_eq!(range(events).contains(&installed), Ok(expected), "{events}: {version}");
                    let mut turned = range(events);
                    turned.events.sort_by_key(|it| !matches!(it, Event::LastAffected(_)));
                    assert_eq!(turned.contains(&installed), Ok(expected), "{events}: {version}, in another sequence");
                }
            };
            check(affected, true);
            check(unaffected, false);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_not_decided() {
        let installed = Installed::new(Family::Packagist, "dev-main");
        let versions = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let until = Range { is_semver: false, ..range("i0 f1.0") };
        assert!(
            matches!(evaluate(std::slice::from_ref(&until), &[], &installed), Verdict::Undecided(error) if error.text == "dev-main")
        );
        assert_eq!(
            evaluate(std::slice::from_ref(&until), &versions(&["dev-main"]), &installed),
            Verdict::Affected,
            "it is listed"
        );
        assert_eq!(evaluate(&[range("i0")], &[], &installed), Verdict::Affected, "all are affected");
        assert!(matches!(evaluate(&[], &versions(&["1.0"]), &installed), Verdict::Undecided(_)));
        assert_eq!(evaluate(&[], &[], &installed), Verdict::Unaffected);
        let broken = Range { is_semver: false, ..range("i0 fmain") };
        let installed = Installed::new(Family::Packagist, "1.0");
        assert!(
            matches!(evaluate(std::slice::from_ref(&broken), &[], &installed), Verdict::Undecided(error) if error.text == "main")
        );
        assert_eq!(evaluate(&[broken, range("i0")], &[], &installed), Verdict::Affected, "another range is clear");
        assert_eq!(evaluate(&[], &versions(&["main", "v1.0.0"]), &installed), Verdict::Affected, "another spelling");
    }

    #[test]
    fn a_semver_range_is_by_semver_in_every_ecosystem() {
        let fixed = range("i0 f1.0.0");
        // To Maven `-jre` is after the release.
        assert_eq!(fixed.contains(&Installed::new(Family::Maven, "1.0.0-jre")), Ok(true));
        let fixed = Range { is_semver: false, ..fixed };
        assert_eq!(fixed.contains(&Installed::new(Family::Maven, "1.0.0-jre")), Ok(false));
        assert_eq!(range("i0 f1.0.0").contains(&Installed::new(Family::Go, "v0.9.0")), Ok(true), "Go writes a v");
    }
}
