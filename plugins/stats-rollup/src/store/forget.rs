//! What is too old goes: figures, keys of visitors, and what runs left that never came to their end.

use std::collections::{BTreeMap, BTreeSet};

use upkeep_plugin::sql::Value;
use upkeep_plugin::{Context, Error, HostResult, Result, parameters};
use upkeep_rollup::{Calendar, Day, Key};

use super::{Statements, Store};
use crate::config::Stats;

/// Lines that could not be read and are kept, to look at.
const SAMPLES: i64 = 100;

impl Store {
    /// Removes what the configuration does not want kept.
    pub(crate) fn forget(&self, stats: &Stats, ctx: &Context) -> Result<()> {
        let now = ctx.now / 1_000;
        let mut statements = Statements::new();
        let mut remove = |statement: &str, values: &[Value]| statements.push((statement.to_owned(), values.to_vec()));
        for (level, kept, length) in [
            ("hour", stats.keep.hours, 1),
            ("day", stats.keep.days, 86_400),
            ("week", stats.keep.months, 86_400),
            ("month", stats.keep.months, 86_400),
        ] {
            // Of a day the row stays as long as the rest of it does.
            let before = (now - kept.0 / 1_000) / length * length;
            remove("DELETE FROM @traffic WHERE level = ? AND unix < ?", &parameters![level, before]);
        }
        let hours = now - stats.keep.hours.0 / 1_000;
        let first = i32::try_from((now - stats.keep.days.0 / 1_000).div_euclid(86_400)).unwrap_or(i32::MIN);
        for table in ["ranking", "event", "funnel", "retention"] {
            let day = Day(first).to_string();
            remove(&format!("DELETE FROM @{table} WHERE day < ?"), &parameters![day]);
        }
        let periods = self.periods(stats, ctx)?;
        for (source, period) in &periods {
            let of = parameters![source.as_str(), i64::from(*period)];
            remove("DELETE FROM @visitor_key WHERE source = ? AND period < ?", &of);
        }
        let is_old = |source: &str, key: Key| match key {
            Key::Hour(start) => start < hours,
            Key::Day(day) | Key::Chart(day, _) | Key::Events(day) | Key::Steps(_, day) => day.0 < first,
            Key::Seen(period, _) | Key::Visitors(period, _) => periods.get(source).is_some_and(|kept| period.0 < *kept),
            Key::Sessions(_) | Key::Users(_) | Key::Attempts(..) => false,
        };
        for (source, key) in self.keys()? {
            if key.parse().is_ok_and(|key| is_old(&source, key)) {
                remove("DELETE FROM @section WHERE source = ? AND \"key\" = ?", &parameters![source, key]);
            }
        }
        // A run that is older than this one and still under way finds its pieces gone, and leaves its lines to the next. Where others
        // count too, a run may take a day.
        match self.is_private {
            true => remove("DELETE FROM @piece WHERE run < ?", &parameters![ctx.run.as_str()]),
            false => remove("DELETE FROM @piece WHERE run < ?", &parameters![first_run(ctx.now - 86_400_000)]),
        }
        remove(
            &format!(
                "DELETE FROM @malformed WHERE seen_ms < (SELECT min(seen_ms) FROM
                 (SELECT seen_ms FROM @malformed ORDER BY seen_ms DESC LIMIT {SAMPLES}) AS newest)"
            ),
            &[],
        );
        self.commit(statements)?;
        Ok(())
    }

    /// The sections there are, by source.
    fn keys(&self) -> Result<Vec<(String, String)>> {
        let rows = self.query("SELECT source, \"key\" FROM @section", [])?;
        let keys = rows.map(|row| row.and_then(|row| Ok((row.get("source")?, row.get("key")?))));
        Ok(keys.collect::<HostResult<_>>()?)
    }

    /// The oldest period of each source whose key of visitors is still needed. Lines of a period that is over may still come for a
    /// while; what is older is late, and of nobody. Then the key goes, and nobody can be told by it any more.
    fn periods(&self, stats: &Stats, ctx: &Context) -> Result<BTreeMap<String, i32>> {
        let zone = |error: upkeep_rollup::UnknownZone| Error::config(error.to_string());
        let mut calendar = Calendar::new(&ctx.timezone).map_err(zone)?;
        let now = ctx.now / 1_000;
        let mut periods = BTreeMap::new();
        for source in self.with_visitors(stats)? {
            let newest = self.known(&source)?.newest;
            if newest == 0 {
                continue;
            }
            // Into a log that ended nothing newer comes: there the clock says that the period is over.
            let Some(hour) = calendar.hour(newest.max(now) - stats.late.0 / 1_000) else { continue };
            // Nobody was here for so long that anybody is to be known.
            let nobody = (newest < now - stats.keep.days.0 / 1_000).then_some(i32::MAX);
            periods.insert(source, nobody.unwrap_or_else(|| stats.rotation().period(hour.day).0));
        }
        Ok(periods)
    }

    /// The access logs that visitors are known of, also those that are not in the configuration any more.
    fn with_visitors(&self, stats: &Stats) -> Result<BTreeSet<String>> {
        let statement = "SELECT DISTINCT source FROM @section WHERE \"key\" LIKE 'visitors/%'";
        let rows = self.query(statement, [])?;
        let mut sources: BTreeSet<String> = rows.map(|row| row?.get("source")).collect::<HostResult<_>>()?;
        sources.extend(stats.sources.iter().filter(|it| !it.is_of_events()).map(|it| it.name.clone()));
        Ok(sources)
    }
}

/// The first run there could be at a time: what <https://github.com/ulid/spec> makes of it.
fn first_run(now_ms: i64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digit = |place: u32| char::from(DIGITS[(now_ms >> (5 * place) & 31) as usize]);
    (0..10).rev().map(digit).chain(std::iter::repeat_n('0', 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_in_the_order_of_their_time() {
        assert_eq!(first_run(1_469_922_850_259), "01ARZ3NDEK0000000000000000");
        assert!(first_run(0) < first_run(1));
    }
}
