//! Rows of a table as events, each once.
//!
//! The plan looks how far the key goes, and the steps read up to there and no further: where the cursor stands then, all rows
//! have been read. A transaction that took a smaller key and is still under way would be missed, so a step waits until what was
//! under way when the plan looked has ended.

use upkeep_accesslog::{Clock, Unit};
use upkeep_plugin::sql::{Connection, Row, Value};
use upkeep_plugin::{Context, Error, HostError, HostResult, Result, Step, log};
use upkeep_rollup::Calendar;

use crate::config::{Stats, Table};
use crate::count::event::Events;
use crate::count::{Counted, Tally};
use crate::cursor::{Cursor, Head, Seen};
use crate::store::{Known, Store, dialect};
use crate::{Done, Share};

/// What the cursor of a table is called among those of the source's files, which are called by digests.
const CURSOR: &str = "table";

/// Rows that are worth a step.
const WORTH: i64 = 1_000_000;

/// Rows that are asked for at once: few, so that no server keeps old rows for us.
const PAGE: i64 = 10_000;

/// The steps that read what is new in a table.
pub(crate) fn plan(table: &Table, known: Known, cursors: &[Cursor], steps: &mut Vec<Step<Share>>) -> Result<()> {
    let rows = Rows::open(table)?;
    let mut from = cursors.iter().find(|it| it.id == CURSOR).map_or(0, |it| it.offset);
    let Some(last) = rows.last()?.filter(|last| *last > from) else { return Ok(()) };
    let (begin, place) = (from, table.place());
    while from < last {
        let to = rows.after(from, last)?.unwrap_or(last);
        let id = format!("{}-{}", table.name, steps.len());
        let share = Share {
            source: table.name.clone(),
            file: CURSOR.to_owned(),
            path: place.clone(),
            seen: Seen { device: 0, inode: 0, size: 0, modified_ns: 0 },
            head: Head { length: 0, digest: String::new() },
            cursor: begin,
            from,
            to: Some(to),
            newest: known.newest,
            // Nobody inserts a million rows meanwhile, so what is that far behind has ended.
            settle: rows.after(to, last)?.is_none(),
        };
        let title = format!("count the rows of {place} above {from}");
        steps.push(Step::new(id, share).title(title).weight(50));
        from = to;
    }
    Ok(())
}

/// Counts the rows of a step.
pub(crate) fn execute(ctx: &Context, stats: &Stats, table: &Table, store: &Store, step: &Step<Share>) -> Result<Done> {
    let share = &step.input;
    let to = share.to.unwrap_or(share.from);
    let rows = Rows::open(table)?;
    if share.settle {
        rows.settle()?;
    }
    let zone = |error: upkeep_rollup::UnknownZone| Error::config(error.to_string());
    let mut times = Times {
        calendar: Calendar::new(table.timezone.as_deref().unwrap_or(&ctx.timezone)).map_err(zone)?,
        clock: Clock::default(),
    };
    let mut tally = Tally::new(ctx, share.newest - stats.late.0 / 1_000);
    let mut events = Events::new(ctx, stats, &table.name, store)?;
    let called = table.called.as_deref().unwrap_or(&table.name);
    let (mut at, mut seen) = (share.from, 0_u64);
    loop {
        let mut count = 0;
        for row in rows.page(at, to)? {
            let row = row?;
            (at, count) = (rows.key(&row)?, count + 1);
            let shown = format!("the row with {} = {at}", table.key);
            let user = match table.user.is_some() {
                true => text(row.values().get(2)),
                false => None,
            };
            let event = match table.event.is_some() {
                true => text(row.values().last()),
                false => None,
            };
            let event = event.unwrap_or_else(|| called.as_bytes().to_vec());
            match times.read(row.values().get(1)) {
                Ok(time) => {
                    events.add(time, user.as_deref(), &String::from_utf8_lossy(&event), shown.as_bytes(), &mut tally);
                }
                Err(why) => tally.malformed(shown.as_bytes(), why),
            }
        }
        seen += count;
        log::progress(seen, None, "rows");
        if count < PAGE.cast_unsigned() {
            break;
        }
    }
    let Counted { sections, lines, late, malformed, samples, newest } = tally.finish(events.finish());
    store.keep(&ctx.run, &step.id, sections)?;
    Ok(Done {
        from: share.from,
        to,
        lines,
        late,
        malformed,
        samples,
        newest,
        complete: false,
        put_off: None,
        damage: None,
    })
}

/// The table, to be read.
struct Rows<'a> {
    table: &'a Table,
    database: Connection,
    sql: dialect::Sql,
    /// The columns that are read: key, time, user, event.
    columns: String,
}

impl<'a> Rows<'a> {
    fn open(table: &'a Table) -> Result<Self> {
        let database = Connection::open(&table.database).map_err(|error| told(table, error))?;
        let sql = dialect::Sql { dialect: database.dialect(), prefix: String::new() };
        let columns = [Some(&table.key), Some(&table.time), table.user.as_ref(), table.event.as_ref()];
        let columns = columns.into_iter().flatten().map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ");
        Ok(Self { table, database, sql, columns })
    }

    fn query(&self, what: &str, rest: &str, values: &[Value]) -> Result<upkeep_plugin::sql::Rows> {
        let table = self.table.table.replace('.', "\".\"");
        let statement =
            format!("SELECT {what} FROM \"{table}\" {rest}").replace("KEY", &format!("\"{}\"", self.table.key));
        self.database.query(&self.sql.text(&statement), values).map_err(|error| told(self.table, error))
    }

    /// Waits for transactions that were under way when the plan looked. SQLite has one at a time.
    fn settle(&self) -> Result<()> {
        if let Some(statement) = self.sql.sleep(self.table.settle.0 as f64 / 1_000.0) {
            let waited = self.database.query(&statement, []).and_then(|rows| rows.collect::<HostResult<Vec<_>>>());
            waited.map_err(|error| told(self.table, error))?;
        }
        Ok(())
    }

    /// The largest key; none of an empty table.
    fn last(&self) -> Result<Option<u64>> {
        let mut rows = self.query("max(KEY)", "", &[])?;
        match rows.next().transpose().map_err(|error| told(self.table, error))? {
            Some(row) if row.values() != [Value::Null] => self.key(&row).map(Some),
            _ => Ok(None),
        }
    }

    /// The key that so many rows are up to as are worth a step; none if there are fewer.
    fn after(&self, from: u64, last: u64) -> Result<Option<u64>> {
        let rest = format!("WHERE KEY > ? AND KEY <= ? ORDER BY KEY LIMIT 1 OFFSET {}", WORTH - 1);
        let mut rows = self.query("KEY", &rest, &[number(from), number(last)])?;
        let row = rows.next().transpose().map_err(|error| told(self.table, error))?;
        row.map(|row| self.key(&row)).transpose()
    }

    /// Some rows, in the order of their keys.
    fn page(&self, from: u64, to: u64) -> Result<upkeep_plugin::sql::Rows> {
        let rest = format!("WHERE KEY > ? AND KEY <= ? ORDER BY KEY LIMIT {PAGE}");
        self.query(&self.columns, &rest, &[number(from), number(to)])
    }

    /// The key of a row, which is its first column.
    fn key(&self, row: &Row) -> Result<u64> {
        match row.values().first() {
            Some(Value::Integer(key)) if *key > 0 => Ok(key.cast_unsigned()),
            other => {
                let Table { name, key, table, .. } = self.table;
                let shown = match other {
                    Some(Value::Integer(key)) => key.to_string(),
                    Some(Value::Null) | None => "NULL".to_owned(),
                    Some(Value::Real(_)) => "a number with a fraction".to_owned(),
                    Some(Value::Text(_)) => "text".to_owned(),
                    Some(Value::Blob(_)) => "bytes".to_owned(),
                };
                Err(Error::config(format!(
                    "`{name}` in [[config.tables]]: `{key}` of `{table}` is {shown}, and has to be a whole number above 0; name the \
                     column that grows with each row in `key`"
                )))
            }
        }
    }
}

fn number(key: u64) -> Value {
    Value::Integer(key.cast_signed())
}

/// An error of the database, with the place in the configuration.
fn told(table: &Table, error: HostError) -> Error {
    match error {
        HostError::Invalid(why) => Error::config(format!(
            "`{}` in [[config.tables]]: {why}; are `table`, `key`, `time`, `user` and `event` what the database calls them?",
            table.name
        )),
        error => error.into(),
    }
}

/// What a value says; none of NULL.
fn text(value: Option<&Value>) -> Option<Vec<u8>> {
    match value? {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Real(number) => Some(number.to_string().into_bytes()),
        Value::Text(text) => Some(text.clone().into_bytes()),
        Value::Blob(bytes) => Some(bytes.clone()),
    }
}

/// Reads times of rows.
struct Times {
    calendar: Calendar,
    clock: Clock,
}

impl Times {
    /// In Unix seconds.
    fn read(&mut self, value: Option<&Value>) -> Result<i64, String> {
        let time = match value {
            None | Some(Value::Null) => return Err("no time".to_owned()),
            Some(Value::Integer(number)) => {
                Clock::epoch(number.to_string().as_bytes(), Unit::Auto).map(|it| it.seconds)
            }
            Some(Value::Real(number)) => {
                Clock::epoch(format!("{number:.6}").as_bytes(), Unit::Auto).map(|it| it.seconds)
            }
            Some(Value::Text(text)) => self.text(text.trim()),
            Some(Value::Blob(_)) => None,
        };
        time.ok_or_else(|| "a time that cannot be read".to_owned())
    }

    fn text(&mut self, text: &str) -> Option<i64> {
        if let Some(moment) = self.clock.any(text.as_bytes(), Unit::Auto) {
            return Some(moment.seconds);
        }
        // Without a zone it is what the clock showed.
        let shown = if text.len() == 10 { format!("{text} 00:00:00Z") } else { format!("{text}Z") };
        self.calendar.instant(self.clock.iso(shown.as_bytes())?.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_forms() {
        let mut times = Times { calendar: Calendar::new("Asia/Shanghai").unwrap(), clock: Clock::default() };
        let noon = 1_795_924_800;
        for value in [
            Value::Integer(noon),
            Value::Integer(noon * 1_000),
            Value::Real(noon as f64 + 0.5),
            Value::from("2026-11-29T04:00:00.000000Z"),
            Value::from("2026-11-29 12:00:00.250000"),
            Value::from("2026-11-29 12:00:00"),
            Value::from("2026-11-29T12:00:00+08:00"),
        ] {
            assert_eq!(times.read(Some(&value)), Ok(noon), "{value:?}");
        }
        assert_eq!(times.read(Some(&Value::from("2026-11-29"))), Ok(noon - 12 * 3_600));
        for value in [Value::Null, Value::from("soon"), Value::from("infinity"), Value::Blob(vec![1])] {
            assert!(times.read(Some(&value)).is_err(), "{value:?}");
        }
    }
}
