//! How values are written in columns, and read back.

use serde::de::IntoDeserializer;
use serde::de::value::{Error as NameError, StrDeserializer};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{ColumnIndex, Decode, Row, Sqlite, Type};

use super::error::StoreError;
use super::rows::Value;
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::record::{LogRecord, MetricValue, Run, RunId, Slot, Step, Trigger};

/// JSON of rows or keys. Their types are ours and have only string keys, so this cannot fail.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// SQLite's integers are signed: what does not fit is written as the greatest.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The columns `trigger` and `cause`.
pub(super) fn trigger(trigger: &Trigger) -> (&'static str, Option<&str>) {
    match trigger {
        Trigger::Schedule => ("schedule", None),
        Trigger::CatchUp => ("catch-up", None),
        Trigger::Startup => ("startup", None),
        Trigger::Watch { path } => ("watch", Some(path)),
        Trigger::After { run } => ("after", Some(&run.0)),
        Trigger::Outbox => ("outbox", None),
        Trigger::Retry { run } => ("retry", Some(&run.0)),
        Trigger::Manual { by } => ("manual", Some(by)),
    }
}

/// The columns `outcome` and `detail`.
pub(super) fn outcome(outcome: &Outcome) -> (&'static str, Option<String>) {
    (outcome.name(), (*outcome != Outcome::Succeeded).then(|| json(outcome)))
}

/// The same for an outcome that may be missing.
pub(super) fn optional(outcome: Option<&Outcome>) -> (Option<&'static str>, Option<String>) {
    let (name, detail) = outcome.map(self::outcome).unzip();
    (name, detail.flatten())
}

/// The columns `kind`, `value`, `count`, `min` and `max`.
pub(super) fn metric(value: &MetricValue) -> [Value<'static>; 5] {
    let single = |kind: &'static str, value: f64| [kind.into(), value.into(), Value::Null, Value::Null, Value::Null];
    match *value {
        MetricValue::Counter(value) => single("counter", value),
        MetricValue::Gauge(value) => single("gauge", value),
        MetricValue::Histogram { count, sum, min, max } => {
            ["histogram".into(), sum.into(), count.into(), min.into(), max.into()]
        }
    }
}

pub(super) const RUN: &str = "id, task, \"trigger\", cause, due, queued, started, ended, attempt, dry_run, phase, \
                              outcome, detail, fingerprint, resumed";

pub(super) fn read_run(row: &SqliteRow) -> Result<Run, StoreError> {
    Ok(Run {
        id: read_id(row, "id")?,
        task: get(row, "task")?,
        trigger: read_trigger(get(row, "trigger")?, get(row, "cause")?)?,
        due: Timestamp(get(row, "due")?),
        queued: Timestamp(get(row, "queued")?),
        started: get::<Option<i64>>(row, "started")?.map(Timestamp),
        ended: get::<Option<i64>>(row, "ended")?.map(Timestamp),
        attempt: get(row, "attempt")?,
        dry_run: get(row, "dry_run")?,
        phase: name(get(row, "phase")?)?,
        outcome: read_outcome(row)?,
        fingerprint: get(row, "fingerprint")?,
        resumed: get(row, "resumed")?,
    })
}

pub(super) const STEP: &str = "ordinal, id, title, weight, input, phase, started, ended, output, outcome, detail";

pub(super) fn read_step(row: &SqliteRow) -> Result<Step, StoreError> {
    Ok(Step {
        ordinal: get(row, "ordinal")?,
        id: get(row, "id")?,
        title: get(row, "title")?,
        weight: unsigned(get(row, "weight")?),
        input: get(row, "input")?,
        phase: name(get(row, "phase")?)?,
        started: get::<Option<i64>>(row, "started")?.map(Timestamp),
        ended: get::<Option<i64>>(row, "ended")?.map(Timestamp),
        output: get(row, "output")?,
        error: read_outcome(row)?,
    })
}

pub(super) fn read_slot(row: &SqliteRow) -> Result<Slot, StoreError> {
    Ok(Slot {
        task: get(row, "task")?,
        due: Timestamp(get(row, "due")?),
        decision: name(get(row, "decision")?)?,
        reason: get(row, "reason")?,
        run: get::<Option<String>>(row, "run")?.map(|run| RunId(run.into())),
    })
}

pub(super) fn read_log(row: &SqliteRow) -> Result<LogRecord, StoreError> {
    Ok(LogRecord {
        run: read_id(row, "run")?,
        at: Timestamp(get(row, "at")?),
        step: get(row, "step")?,
        level: name(get(row, "level")?)?,
        message: get(row, "message")?,
        fields: match get::<Option<String>>(row, "fields")? {
            Some(fields) => from_json(&fields)?,
            None => Vec::new(),
        },
    })
}

pub(super) fn read_metric(row: &SqliteRow) -> Result<MetricValue, StoreError> {
    let number = |column| get::<Option<f64>>(row, column).map(|number| number.unwrap_or(f64::NAN));
    match get::<&str>(row, "kind")? {
        "counter" => Ok(MetricValue::Counter(number("value")?)),
        "gauge" => Ok(MetricValue::Gauge(number("value")?)),
        "histogram" => Ok(MetricValue::Histogram {
            count: unsigned(get(row, "count")?),
            sum: number("value")?,
            min: number("min")?,
            max: number("max")?,
        }),
        other => Err(StoreError::Nonsense(format!("a metric of the kind `{other}`"))),
    }
}

pub(super) fn read_id(row: &SqliteRow, column: &str) -> Result<RunId, StoreError> {
    Ok(RunId(get::<String>(row, column)?.into()))
}

fn read_trigger(name: &str, cause: Option<String>) -> Result<Trigger, StoreError> {
    let run = |cause: String| RunId(cause.into());
    match (name, cause) {
        ("schedule", None) => Ok(Trigger::Schedule),
        ("catch-up", None) => Ok(Trigger::CatchUp),
        ("startup", None) => Ok(Trigger::Startup),
        ("watch", Some(path)) => Ok(Trigger::Watch { path }),
        ("after", Some(cause)) => Ok(Trigger::After { run: run(cause) }),
        ("outbox", None) => Ok(Trigger::Outbox),
        ("retry", Some(cause)) => Ok(Trigger::Retry { run: run(cause) }),
        ("manual", Some(by)) => Ok(Trigger::Manual { by }),
        (name, cause) => Err(StoreError::Nonsense(format!("the trigger `{name}` with the cause {cause:?}"))),
    }
}

fn read_outcome(row: &SqliteRow) -> Result<Option<Outcome>, StoreError> {
    match (get::<Option<&str>>(row, "outcome")?, get::<Option<&str>>(row, "detail")?) {
        (None, None) => Ok(None),
        (Some("succeeded"), None) => Ok(Some(Outcome::Succeeded)),
        (Some(_), Some(detail)) => from_json(detail).map(Some),
        (outcome, detail) => Err(StoreError::Nonsense(format!("the outcome {outcome:?} with the detail {detail:?}"))),
    }
}

/// An enumeration whose variants are written as their names.
pub(super) fn name<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    let text: StrDeserializer<'a, NameError> = text.into_deserializer();
    T::deserialize(text).map_err(|error| StoreError::Nonsense(error.to_string()))
}

/// The name of such a variant.
pub(super) fn name_of<T: Serialize>(variant: &T) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

pub(super) fn from_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Nonsense(format!("`{text}`: {error}")))
}

/// A column; the error names it.
pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, StoreError>
where
    T: Decode<'r, Sqlite> + Type<Sqlite>,
    for<'c> &'c str: ColumnIndex<SqliteRow>,
{
    row.try_get(column).map_err(|error| StoreError::Nonsense(error.to_string()))
}
