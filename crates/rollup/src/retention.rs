//! Which users come back: of each user the first day and on which of the 31 days after it the user was here, exactly.
//!
//! Two records of a user become one with the earlier first day; nothing within the 31 days after that one is lost, so any order
//! of merging gives the same. What is stored, and what a piece says, are of the same kind. It says more the longer the key of
//! the hash stays the same: with a new key, all users are new.

use std::collections::BTreeMap;

use crate::calendar::Day;
use crate::codec::{Damaged, Reader, VERSION, put_int, put_uint};
use crate::visitor::read;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct User {
    user: u64,
    first: Day,
    /// Bit `n` is set if the user was here `n + 1` days after the first day.
    after: u32,
}

impl User {
    /// Bits of days after another first day, which is not later.
    fn after(&self, first: Day) -> u32 {
        let later = i64::from(self.first.0) - i64::from(first.0);
        match u32::try_from(later) {
            Ok(0) => self.after,
            Ok(later) => self.after.checked_shl(later).unwrap_or(0) | 1u32.checked_shl(later - 1).unwrap_or(0),
            Err(_) => 0,
        }
    }

    fn join(&mut self, other: &Self) {
        let first = self.first.min(other.first);
        self.after = (self.after(first) | other.after(first)) & DAYS;
        self.first = first;
    }
}

/// The bits of 31 days.
const DAYS: u32 = u32::MAX >> 1;

/// Users of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(Vec<User>);

/// Users with the same first day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cohort {
    /// How many there are.
    pub users: u64,
    /// How many of them were here one day later, two days later, and so on up to 31.
    pub after: [u64; 31],
}

impl Cohort {
    /// How many were here so many days after their first one; none beyond 31.
    pub fn retained(&self, days: usize) -> Option<u64> {
        if days == 0 { Some(self.users) } else { self.after.get(days - 1).copied() }
    }
}

impl Users {
    /// Of users and days in any order.
    pub(crate) fn of(days: Vec<(u64, Day)>) -> Self {
        let mut this = Self(days.into_iter().map(|(user, first)| User { user, first, after: 0 }).collect());
        this.join();
        this
    }

    fn join(&mut self) {
        self.0.sort_by_key(|it| it.user);
        self.0.dedup_by(|next, user| {
            let same = user.user == next.user;
            if same {
                user.join(next);
            }
            same
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in others of the same partition.
    pub fn merge(&mut self, others: &[Self]) {
        others.iter().for_each(|it| self.0.extend_from_slice(&it.0));
        self.join();
    }

    /// Counts them by their first day.
    pub fn cohorts(&self, cohorts: &mut BTreeMap<Day, Cohort>) {
        for user in &self.0 {
            let cohort = cohorts.entry(user.first).or_default();
            cohort.users += 1;
            let mut bits = user.after & DAYS;
            while bits != 0 {
                cohort.after[bits.trailing_zeros() as usize] += 1;
                bits &= bits - 1;
            }
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let base = self.0.iter().map(|it| it.first).min().unwrap_or(Day(0));
        put_int(&mut out, base.0.into());
        put_uint(&mut out, self.0.len() as u64);
        let mut before = 0;
        for it in &self.0 {
            put_uint(&mut out, it.user - before);
            put_uint(&mut out, (i64::from(it.first.0) - i64::from(base.0)) as u64);
            put_uint(&mut out, it.after.into());
            before = it.user;
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let mut all: Vec<User> = Vec::new();
        read(&mut reader, |user, first, reader| {
            if all.last().is_some_and(|it| it.user == user) {
                return Err(Damaged::Invalid("a user comes twice"));
            }
            let after =
                reader.narrow().ok().filter(|it| *it <= DAYS).ok_or(Damaged::Invalid("a day is out of range"))?;
            all.push(User { user, first, after });
            Ok(())
        })?;
        reader.end()?;
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn cohorts_are_as_counted_by_hand(parts in prop::collection::vec(prop::collection::vec((0..9u64, 0..60i32), 0..40), 1..5)) {
            let pieces: Vec<_> = parts.iter().map(|it| Users::of(it.iter().map(|it| (it.0, Day(it.1))).collect())).collect();
            let mut merged = Users::default();
            merged.merge(&pieces);
            // One after the other, the last one first, through bytes.
            let mut other = Users::default();
            for piece in pieces.iter().rev() {
                other.merge(std::slice::from_ref(piece));
                other = Users::decode(&other.encode()).unwrap();
            }
            prop_assert_eq!(&merged, &other);

            let days: BTreeSet<(u64, i32)> = parts.concat().into_iter().collect();
            let mut first = BTreeMap::new();
            for (user, day) in &days {
                first.entry(*user).or_insert(*day);
            }
            let mut wanted: BTreeMap<Day, Cohort> = BTreeMap::new();
            for (user, day) in days {
                let cohort = wanted.entry(Day(first[&user])).or_default();
                match day - first[&user] {
                    0 => cohort.users += 1,
                    after if after <= 31 => cohort.after[after as usize - 1] += 1,
                    _ => (),
                }
            }
            let mut cohorts = BTreeMap::new();
            merged.cohorts(&mut cohorts);
            prop_assert_eq!(cohorts, wanted);
        }

        #[test]
        fn any_bytes_are_an_error_or_users(mut bytes: Vec<u8>) {
            bytes.insert(0, VERSION);
            if let Ok(mut users) = Users::decode(&bytes) {
                let same = users.clone();
                users.merge(std::slice::from_ref(&same));
                prop_assert_eq!(users, same);
            }
        }
    }

    #[test]
    fn days_after_the_first_are_asked_for_by_their_number() {
        let users = Users::of(vec![(1, Day(5)), (1, Day(6)), (1, Day(36)), (2, Day(5)), (2, Day(37))]);
        let mut cohorts = BTreeMap::new();
        users.cohorts(&mut cohorts);
        let cohort = cohorts[&Day(5)];
        assert_eq!([0, 1, 2, 31, 32].map(|it| cohort.retained(it)), [Some(2), Some(1), Some(0), Some(1), None]);
    }
}
