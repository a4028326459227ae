//! Who was here on which days: exactly how many are new on a day, and about how many have returned.
//!
//! A piece says which visitors it saw on which days ([`Seen`]); what is stored says of each visitor the first day
//! ([`Visitors`]). A visitor is new on the first day and has returned on all others. A line that comes late and moves a first
//! day earlier takes back what was counted on the day that is not the first any more. To say the same twice changes nothing.
//!
//! Both are cut into [`PARTITIONS`] by the first bits of the hash, so that little is in memory at once, and into periods: when
//! the key of the hash changes, nobody can be recognised any more, and each period has visitors of its own. When no line of a
//! period can come any more, its visitors say nothing that is needed, and may be removed with its key. Visitors who have
//! not been here for some months are forgotten with [`Visitors::expire`]; those who come again are new.

use crate::calendar::Day;
use crate::codec::{Damaged, Reader, VERSION, put_int, put_uint};
use crate::piece::Piece;

/// Into how many parts visitors are cut.
pub const PARTITIONS: u8 = 64;

/// A part of all visitors, below [`PARTITIONS`].
pub type Partition = u8;

/// The part that a visitor belongs to.
#[inline]
pub fn partition(visitor: u64) -> Partition {
    (visitor >> 58) as u8
}

/// How often the key changes that visitors are hashed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rotation {
    /// Never: visitors are recognised for as long as they are stored.
    Never,
    /// On the first day of each month.
    #[default]
    Monthly,
    /// On Mondays.
    Weekly,
    /// Each day: nobody ever returns.
    Daily,
}

impl Rotation {
    /// The first day of the period that a day lies in; of a single one, 1970-01-01.
    pub fn period(self, day: Day) -> Day {
        match self {
            Self::Never => Day(0),
            Self::Monthly => day.month(),
            Self::Weekly => day.week(),
            Self::Daily => day,
        }
    }
}

/// Visitors of a partition, and the days on which a piece saw them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen(Vec<(u64, Day)>);

impl Seen {
    /// Visitors and days come in order.
    pub(crate) fn push(&mut self, visitor: u64, day: Day) {
        if self.0.last() != Some(&(visitor, day)) {
            self.0.push((visitor, day));
        }
    }

    /// Takes in what other pieces saw. All pieces at once take less time than one after the other.
    pub fn merge(&mut self, others: &[Self]) {
        others.iter().for_each(|it| self.0.extend_from_slice(&it.0));
        // Sorted runs: what this sort sees, and only merges.
        self.0.sort();
        self.0.dedup();
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let base = self.0.iter().map(|it| it.1).min().unwrap_or(Day(0));
        put_int(&mut out, base.0.into());
        put_uint(&mut out, self.0.len() as u64);
        let mut before = 0;
        for &(visitor, day) in &self.0 {
            put_uint(&mut out, visitor - before);
            put_uint(&mut out, (i64::from(day.0) - i64::from(base.0)) as u64);
            before = visitor;
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let mut seen = Vec::new();
        read(&mut reader, |visitor, day, _| {
            seen.push((visitor, day));
            Ok(())
        })?;
        reader.end()?;
        if seen.is_sorted_by(|a, b| a < b) {
            Ok(Self(seen))
        } else {
            Err(Damaged::Invalid("visitors are out of order"))
        }
    }
}

/// Reads visitors with days, up to the end of the list.
pub(crate) fn read<'a>(
    reader: &mut Reader<'a>,
    mut take: impl FnMut(u64, Day, &mut Reader<'a>) -> Result<(), Damaged>,
) -> Result<(), Damaged> {
    let base = reader.day()?;
    let mut visitor = 0u64;
    let count = reader.count(2)?;
    let mut section = None;
    for _ in 0..count {
        visitor = visitor.checked_add(reader.uint()?).ok_or(Damaged::Invalid("a visitor is out of range"))?;
        if *section.get_or_insert(partition(visitor)) != partition(visitor) {
            return Err(Damaged::Invalid("visitors of several partitions"));
        }
        let day = base.checked_add(reader.narrow()?).ok_or(Damaged::Invalid("a day is out of range"))?;
        take(visitor, Day(day), reader)?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    visitor: u64,
    first: Day,
    /// The last month, counted from year 0.
    last: i32,
}

/// The months of days, most of which are in the same few: the last ones are kept.
struct Months([(Day, i32); 64]);

impl Default for Months {
    fn default() -> Self {
        Self([(Day(0), Day(0).months()); 64])
    }
}

impl Months {
    fn of(&mut self, day: Day) -> i32 {
        let kept = &mut self.0[day.0.rem_euclid(64) as usize];
        if kept.0 != day {
            *kept = (day, day.months());
        }
        kept.1
    }
}

/// Visitors of a partition and a period that have ever been seen, with their first day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visitors(Vec<Known>);

impl Visitors {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in what pieces saw and counts in `piece` who is new and who has returned. Returns whether anything changed that
    /// has to be stored.
    pub fn admit(&mut self, seen: &Seen, piece: &mut Piece) -> bool {
        let mut known = std::mem::take(&mut self.0).into_iter().peekable();
        let mut all = Vec::with_capacity(known.len() + seen.0.len());
        let mut changed = false;
        let mut month = Months::default();
        for days in seen.0.chunk_by(|a, b| a.0 == b.0) {
            let (visitor, first) = days[0];
            let last = month.of(days[days.len() - 1].1);
            while let Some(it) = known.next_if(|it| it.visitor < visitor) {
                all.push(it);
            }
            let before = known.next_if(|it| it.visitor == visitor);
            let now = Known {
                visitor,
                first: before.map_or(first, |it| it.first.min(first)),
                last: before.map_or(last, |it| it.last.max(last)),
            };
            if before.map(|it| it.first) != Some(now.first) {
                piece.count_new(now.first, 1);
                if let Some(before) = before {
                    piece.count_new(before.first, -1);
                    piece.count_returning(before.first, visitor);
                }
            }
            for &(_, day) in days.iter().filter(|it| it.1 > now.first) {
                piece.count_returning(day, visitor);
            }
            changed |= before != Some(now);
            all.push(now);
        }
        all.extend(known);
        self.0 = all;
        changed
    }

    /// Forgets those who were last here in a month before that of `day`. Returns how many there were.
    pub fn expire(&mut self, day: Day) -> usize {
        let before = self.0.len();
        let month = day.months();
        self.0.retain(|it| it.last >= month);
        before - self.0.len()
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let base = self.0.iter().map(|it| it.first).min().unwrap_or(Day(0));
        put_int(&mut out, base.0.into());
        put_uint(&mut out, self.0.len() as u64);
        let mut before = 0;
        let mut month = Months::default();
        for it in &self.0 {
            put_uint(&mut out, it.visitor - before);
            put_uint(&mut out, (i64::from(it.first.0) - i64::from(base.0)) as u64);
            put_int(&mut out, i64::from(it.last) - i64::from(month.of(it.first)));
            before = it.visitor;
        }
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes)?;
        let mut all: Vec<Known> = Vec::new();
        let mut month = Months::default();
        read(&mut reader, |visitor, first, reader| {
            if all.last().is_some_and(|it| it.visitor == visitor) {
                return Err(Damaged::Invalid("a visitor comes twice"));
            }
            let last = i64::from(month.of(first)).checked_add(reader.int()?).and_then(|it| i32::try_from(it).ok());
            let last = last.ok_or(Damaged::Invalid("a month is out of range"))?;
            all.push(Known { visitor, first, last });
            Ok(())
        })?;
        reader.end()?;
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::piece::Options;
    use crate::section::Key;
    use crate::traffic::Traffic;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn seen(pairs: &[(u8, u8)]) -> Seen {
        let mut seen = Seen(pairs.iter().map(|it| (u64::from(it.0), Day(it.1.into()))).collect());
        seen.merge(&[]);
        seen
    }

    fn counted(piece: Piece) -> BTreeMap<Day, (i64, u64)> {
        let day = |section: crate::section::Section| {
            let traffic = Traffic::decode(&section.bytes).unwrap();
            let Key::Day(day) = section.key else { panic!("{}", section.key) };
            (day, (traffic.new, traffic.returning.estimate()))
        };
        piece.into_sections().into_iter().map(day).filter(|it| it.1 != (0, 0)).collect()
    }

    proptest! {
        #[test]
        fn days_have_as_many_new_ones_as_first_days(runs in prop::collection::vec(prop::collection::vec((0..20u8, 0..9u8), 0..30), 1..4)) {
            let mut piece = Piece::new(Options::default()).unwrap();
            let mut visitors = Visitors::default();
            for run in &runs {
                visitors.admit(&seen(run), &mut piece);
                prop_assert!(!visitors.admit(&seen(run), &mut piece), "the same changes nothing");
                visitors = Visitors::decode(&visitors.encode()).unwrap();
            }
            let all: BTreeSet<_> = runs.concat().into_iter().collect();
            let first: BTreeMap<u8, u8> = all.iter().rev().copied().collect();
            let mut wanted: BTreeMap<Day, (i64, u64)> = BTreeMap::new();
            for (visitor, day) in all {
                let of_day = wanted.entry(Day(day.into())).or_default();
                if first[&visitor] == day { of_day.0 += 1 } else { of_day.1 += 1 }
            }
            prop_assert_eq!(counted(piece), wanted);
        }

        #[test]
        fn seen_comes_back(pairs: Vec<(u8, u8)>) {
            let seen = seen(&pairs);
            prop_assert_eq!(Seen::decode(&seen.encode()), Ok(seen));
        }
    }

    #[test]
    fn who_has_not_been_here_for_long_is_forgotten() {
        let mut visitors = Visitors::default();
        let mut piece = Piece::new(Options::default()).unwrap();
        visitors.admit(&seen(&[(1, 0), (1, 40), (2, 30), (3, 100)]), &mut piece);
        assert_eq!(visitors.expire(Day(58)), 1, "February began on day 31");
        assert_eq!(visitors.expire(Day(59)), 1, "and March on day 59");
        assert_eq!(visitors.len(), 1);
    }

    #[test]
    fn periods_begin_where_keys_change() {
        let day = Day::of(2025, 11, 29).unwrap();
        let periods = [Rotation::Never, Rotation::Monthly, Rotation::Weekly, Rotation::Daily].map(|it| it.period(day));
        assert_eq!(periods.map(|it| it.to_string()), ["1970-01-01", "2025-11-01", "2025-11-24", "2025-11-29"]);
    }
}
