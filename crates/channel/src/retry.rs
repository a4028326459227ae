//! When something is tried again: later each time, never all at once, and not forever.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::{DAY, MINUTE, SECOND};

/// How something is tried again. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The wait behind the first try; each that follows is twice as long.
    pub first: i64,
    /// The longest wait.
    pub longest: i64,
    /// Tries altogether, the first one included.
    pub tries: u32,
    /// Tries of a message that has another channel behind this one: it need not wait for as long. No more than `tries`.
    pub before_next: u32,
    /// How long it is tried, from the first try on.
    pub within: i64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: 5 * SECOND, longest: 30 * MINUTE, tries: 20, before_next: 8, within: DAY }
    }
}

impl Retry {
    /// The wait behind this try, counted from 1. Between half and all of what it doubled to: `random`, of which all values are
    /// equally likely, spreads what failed together. At least what the provider `asked` for.
    pub fn wait(&self, tried: u32, asked: Option<i64>, random: u64) -> i64 {
        let longest = self.longest.max(1);
        let doubled = 1_i64.checked_shl(tried.saturating_sub(1)).filter(|it| *it > 0).unwrap_or(i64::MAX);
        let full = self.first.max(1).saturating_mul(doubled).clamp(1, longest);
        let half = full / 2;
        // The remainder's bias is below 2^-20 for waits of a day, which nobody notices.
        let spread = i64::try_from(random % u64::try_from(full - half + 1).unwrap_or(1)).unwrap_or(0);
        let wait = half + spread;
        match asked.filter(|it| *it > 0) {
            // Spread too, behind the moment at which all others come back as well.
            Some(asked) => wait.max(asked.saturating_add(spread.min(asked / 10))),
            None => wait,
        }
    }

    /// How a message is tried again that has another channel behind this one.
    #[must_use]
    pub fn before_next(self) -> Self {
        Self { tries: self.tries.min(self.before_next.max(1)), ..self }
    }

    /// When to try again after this try, the first having been at `begun`; nothing if it was the last.
    pub fn next(&self, tried: u32, asked: Option<i64>, begun: i64, now: i64, random: u64) -> Option<i64> {
        let at = now.saturating_add(self.wait(tried, asked, random));
        (tried < self.tries && now < begun.saturating_add(self.within)).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::moment::HOUR;

    #[test]
    fn doubles_up_to_the_longest() {
        let retry = Retry::default();
        let longest: Vec<i64> = (1..=12).map(|it| retry.wait(it, None, u64::MAX) / SECOND).collect();
        assert!(longest.iter().all(|it| *it <= 1800), "{longest:?}");
        let shortest: Vec<i64> = (1..=11).map(|it| retry.wait(it, None, 0)).collect();
        assert_eq!(shortest, [2500, 5000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 900_000, 900_000]);
    }

    #[test]
    fn ends() {
        let retry = Retry { tries: 3, within: HOUR, ..Retry::default() };
        assert!(retry.next(2, None, 0, 0, 0).is_some());
        assert_eq!(retry.next(3, None, 0, 0, 0), None);
        assert_eq!(retry.next(1, None, 0, HOUR, 0), None, "it was tried for long enough");
        assert!(retry.next(1, Some(2 * HOUR), 0, 0, 0).unwrap() >= 2 * HOUR, "a provider that asks for longer gets it");
    }

    #[test]
    fn ends_earlier_where_another_channel_follows() {
        let retry = Retry::default().before_next();
        let waited: i64 = (1..8).map(|it| retry.wait(it, None, u64::MAX)).sum();
        assert!((5 * MINUTE..=11 * MINUTE).contains(&waited), "{waited}");
        assert!(retry.next(7, None, 0, 0, 0).is_some());
        assert_eq!(retry.next(8, None, 0, 0, 0), None);
        assert_eq!(Retry { tries: 3, ..Retry::default() }.before_next().tries, 3);
        assert_eq!(Retry { before_next: 0, ..Retry::default() }.before_next().tries, 1);
    }

    proptest! {
        #[test]
        fn is_bounded(first in any::<i64>(), longest in any::<i64>(), tried in any::<u32>(), random in any::<u64>()) {
            let wait = Retry { first, longest, ..Retry::default() }.wait(tried, None, random);
            let full = first.max(1).saturating_mul(1_i64.checked_shl(tried.saturating_sub(1)).filter(|it| *it > 0).unwrap_or(i64::MAX));
            let full = full.min(longest.max(1));
            prop_assert!(full / 2 <= wait && wait <= full, "{wait} of {full}");
        }

        #[test]
        fn waits_at_least_as_asked(tried in 1_u32..40, asked in 0_i64..DAY, random in any::<u64>()) {
            let wait = Retry::default().wait(tried, Some(asked), random);
            prop_assert!(wait >= asked && wait <= (asked + asked / 10).max(30 * MINUTE));
        }

        #[test]
        fn spreads(tried in 1_u32..40) {
            let waits: std::collections::BTreeSet<i64> =
                (0..100_u64).map(|it| Retry::default().wait(tried, None, it.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
            prop_assert!(waits.len() > 80, "{}", waits.len());
        }
    }
}
