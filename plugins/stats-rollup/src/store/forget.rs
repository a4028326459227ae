//! What is too old goes: figures, keys of visitors, and what runs left that never came to their end.

use std::collections::BTreeSet;

use upkeep_plugin::{Context, Error, HostResult, Result, parameters};
use upkeep_rollup::Calendar;

use super::{Statements, Store};
use crate::config::Stats;

/// Lines that could not be read and are kept, to look at.
const SAMPLES: i64 = 100;

impl Store {
    /// Removes what the configuration does not want kept.
    pub(crate) fn forget(&self, stats: &Stats, ctx: &Context) -> Result<()> {
        let now = ctx.now / 1_000;
        let mut statements = Statements::new();
        let mut remove = |statement: &str, values: &[upkeep_plugin::sql::Value]| {
            statements.push((statement.to_owned(), values.to_vec()));
        };
        for (level, kept, length) in [
            ("hour", stats.keep.hours, 1),
            ("day", stats.keep.days, 86_400),
            ("week", stats.keep.months, 86_400),
            ("month", stats.keep.months, 86_400),
        ] {
            // Of a day the row stays as long as the rest of it does.
            let before = (now - kept.0 / 1_000) / length * length;
            remove("DELETE FROM traffic WHERE level = ? AND unix < ?", &parameters![level, before]);
        }
        let hours = now - stats.keep.hours.0 / 1_000;
        remove(
            "DELETE FROM section WHERE key LIKE 'hour/%' AND CAST(substr(key, 6) AS INTEGER) < ?",
            &parameters![hours],
        );
        let days = (now - stats.keep.days.0 / 1_000) / 86_400;
        remove(
            "DELETE FROM section WHERE key LIKE 'day/%' AND CAST(substr(key, 5) AS INTEGER) < ?",
            &parameters![days],
        );
        remove(
            "DELETE FROM section WHERE key LIKE 'chart/%' AND CAST(substr(key, 7) AS INTEGER) < ?",
            &parameters![days],
        );
        for table in ["event", "funnel", "retention"] {
            remove(&format!("DELETE FROM {table} WHERE day < date(? * 86400, 'unixepoch')"), &parameters![days]);
        }
        remove(
            "DELETE FROM section WHERE key LIKE 'events/%' AND CAST(substr(key, 8) AS INTEGER) < ?",
            &parameters![days],
        );
        // `steps/FUNNEL/DAY`
        remove(
            "DELETE FROM section WHERE key LIKE 'steps/%' AND CAST(substr(key, 7 + instr(substr(key, 7), '/')) AS INTEGER) < ?",
            &parameters![days],
        );
        remove("DELETE FROM ranking WHERE day < date(? * 86400, 'unixepoch')", &parameters![days]);
        // Lines of a period that is over may still come for a while; what is older is late, and of nobody. Then the key goes, and
        // nobody can be told by it any more.
        let zone = |error: upkeep_rollup::UnknownZone| Error::config(error.to_string());
        let mut calendar = Calendar::new(&ctx.timezone).map_err(zone)?;
        for source in self.with_visitors(stats)? {
            let newest = self.known(&source)?.newest;
            if newest == 0 {
                continue;
            }
            // Into a log that ended nothing newer comes: there the clock says that the period is over.
            let Some(hour) = calendar.hour(newest.max(now) - stats.late.0 / 1_000) else { continue };
            // Nobody was here for so long that anybody is to be known.
            let nobody = (newest < now - stats.keep.days.0 / 1_000).then_some(i64::MAX);
            let before = nobody.unwrap_or_else(|| stats.rotation().period(hour.day).0.into());
            let of = parameters![source.as_str(), before];
            remove("DELETE FROM visitor_key WHERE source = ? AND period < ?", &of);
            remove(
                "DELETE FROM section
                 WHERE source = ? AND key LIKE 'visitors/%' AND CAST(substr(key, 10) AS INTEGER) < ?",
                &of,
            );
        }
        // A run that is older than this one and still under way finds its pieces gone, and leaves its lines to the next.
        remove("DELETE FROM piece WHERE run < ?", &parameters![ctx.run.as_str()]);
        remove("DELETE FROM malformed WHERE rowid <= (SELECT max(rowid) FROM malformed) - ?", &parameters![SAMPLES]);
        self.commit(&statements)?;
        Ok(())
    }

    /// The access logs that visitors are known of, also those that are not in the configuration any more.
    fn with_visitors(&self, stats: &Stats) -> HostResult<BTreeSet<String>> {
        let rows = self.0.query("SELECT DISTINCT source FROM section WHERE key LIKE 'visitors/%'", [])?;
        let mut sources: BTreeSet<String> = rows.map(|row| row?.get("source")).collect::<HostResult<_>>()?;
        sources.extend(stats.sources.iter().filter(|it| !it.is_of_events()).map(|it| it.name.clone()));
        Ok(sources)
    }
}
