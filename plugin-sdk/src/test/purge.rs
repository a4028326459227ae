//! `purge` of the test host: tables in memory, whose times are numbers of milliseconds whatever the clock of the selection.

use std::collections::BTreeMap;

use super::absent::repository;
use super::with;
use crate::host::HostResult;
use crate::purge::{Block, Done, Estimate, Maintained, Maintenance, Options, Outcome, Selection, Way};
use crate::sql::Value;

/// Bytes that a row takes up.
const ROW: u64 = 100;

pub(crate) type Row = BTreeMap<String, Value>;

/// What rows that went took up is free only after a vacuum.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    bytes: u64,
}

impl Table {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        let bytes = rows.len() as u64 * ROW;
        Self { rows, bytes }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

fn is_old(row: &Row, selection: &Selection) -> bool {
    let is_early = matches!(row.get(&selection.column), Some(Value::Integer(time)) if *time < selection.before);
    is_early && selection.equal.iter().all(|(column, value)| row.get(column).unwrap_or(&Value::Null) == value)
}

fn table<R>(database: &str, table: &str, act: impl FnOnce(&mut Table) -> R) -> HostResult<R> {
    let found = with(|world| world.tables.get_mut(&(database.to_owned(), table.to_owned())).map(act));
    found.ok_or_else(|| super::denied("table", &format!("{database}.{table}")))
}

fn blocks() -> Vec<Block> {
    with(|world| world.blocks.clone())
}

pub(crate) fn count(selection: &Selection) -> HostResult<Estimate> {
    table(&selection.database, &selection.table, |table| {
        let old = table.rows.iter().filter(|row| is_old(row, selection));
        let times = old.clone().filter_map(|row| match row.get(&selection.column) {
            Some(Value::Integer(time)) => Some(*time),
            _ => None,
        });
        Estimate {
            rows: old.count() as u64,
            rows_counted: true,
            total: table.rows.len() as u64,
            total_counted: true,
            oldest: times.min().map(|time| time.to_string()),
            way: Way::WholeTable,
            bytes: table.bytes,
            blocks: Vec::new(),
        }
    })
    .map(|estimate| Estimate { blocks: blocks(), ..estimate })
}

pub(crate) fn carry_out(
    selection: &Selection,
    options: Options,
    _: Option<&repository::Repo>,
    _: &[String],
) -> HostResult<Outcome> {
    let blocks = blocks();
    if !blocks.is_empty() {
        return Ok(Outcome::Blocked(blocks));
    }
    let removed = table(&selection.database, &selection.table, |table| {
        let before = table.rows.len();
        table.rows.retain(|row| !is_old(row, selection));
        (before - table.rows.len()) as u64
    })?;
    Ok(Outcome::Done(Done {
        removed,
        chunks: removed.div_ceil(u64::from(options.chunk_rows.max(1))),
        longest_ms: 0,
        duration_ms: 0,
        way: Way::WholeTable,
        saved: None,
        kept: 0,
        stopped: None,
    }))
}

pub(crate) fn maintain(database: &str, kind: Maintenance, name: Option<&str>) -> HostResult<Maintained> {
    if let Some(name) = name {
        table(database, name, |_| ())?;
    }
    let is_meant = |of: &str, table: &str| of == database && name.is_none_or(|name| name == table);
    Ok(with(|world| {
        let mut told = Maintained { bytes_before: 0, bytes_after: 0, duration_ms: 0 };
        for ((of, name), table) in &mut world.tables {
            if is_meant(of, name) {
                told.bytes_before += table.bytes;
                if kind == Maintenance::Vacuum {
                    table.bytes = table.rows.len() as u64 * ROW;
                }
                told.bytes_after += table.bytes;
            }
        }
        told
    }))
}
