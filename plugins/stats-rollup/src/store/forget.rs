//! What is too old goes: figures, keys of visitors, and what runs left that never came to their end.

use upkeep_plugin::{Context, Error, Result, parameters};
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
        for (level, kept) in [
            ("hour", stats.keep.hours),
            ("day", stats.keep.days),
            ("week", stats.keep.months),
            ("month", stats.keep.months),
        ] {
            let before = now - kept.0 / 1_000;
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
        for source in stats.sources.iter().filter(|it| !it.is_of_events()) {
            let newest = self.known(&source.name)?.newest;
            let Some(hour) = calendar.hour(newest - stats.late.0 / 1_000).filter(|_| newest > 0) else { continue };
            let of = parameters![source.name.as_str(), i64::from(stats.rotation().period(hour.day).0)];
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
}
