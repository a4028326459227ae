//! What SQLite's own catalogue says of a table.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value as Sql;

use crate::rows::condition::quoted;
use crate::rows::sqlite::{failure, shown};
use crate::rows::{Effects, RowsError, Selection, missing};

/// A table, and what its rows are found by.
pub(super) struct Found {
    /// Quoted.
    pub(super) key: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) has_time_index: bool,
}

/// Names by which SQLite knows a row, unless a column is called so.
const ROW_IDS: [&str; 3] = ["_rowid_", "rowid", "oid"];

fn texts(database: &Connection, statement: &str, values: &[&str]) -> rusqlite::Result<Vec<String>> {
    let mut statement = database.prepare(statement)?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
    rows.collect()
}

pub(super) fn find(
    database: &Connection,
    path: &Path,
    selection: &Selection,
    effects: &Effects<'_>,
) -> Result<Found, RowsError> {
    let failed = |error| failure(path, &error);
    let Selection { table, column, .. } = selection;
    let listed = "SELECT type || ':' || wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1";
    let kind = texts(database, listed, &[table]).map_err(failed)?;
    let is_keyed = match kind.first().map(String::as_str) {
        Some("table:0") if !table.starts_with("sqlite_") => false,
        Some("table:1") => true,
        Some(_) => return Err(RowsError::Invalid(format!("`{table}` in {} is no table of rows", path.display()))),
        None => {
            let all = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
                       AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
            let all = texts(database, all, &[]).map_err(failed)?;
            return Err(missing("table", table, &path.display().to_string(), all.iter().map(String::as_str)));
        }
    };
    let columns = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
    let columns = texts(database, columns, &[table]).map_err(failed)?;
    if !columns.contains(column) {
        let place = format!("the table `{table}` of {}", path.display());
        return Err(missing("column", column, &place, columns.iter().map(String::as_str)));
    }
    let key = match is_keyed {
        true => {
            let key = "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk";
            texts(database, key, &[table]).map_err(failed)?.iter().map(|name| quoted(name)).collect()
        }
        false => {
            let is_free = |id: &&&str| !columns.iter().any(|column| column.eq_ignore_ascii_case(id));
            let id = ROW_IDS.iter().find(is_free).ok_or_else(|| {
                RowsError::Invalid(format!("`{table}`: its columns hide all names of the row number; rename one"))
            })?;
            vec![(*id).to_owned()]
        }
    };
    let indexed = "SELECT 1 || '' FROM pragma_index_list(?1) AS l JOIN pragma_index_info(l.name) AS i \
                   WHERE l.partial = 0 AND i.seqno = 0 AND i.name = ?2";
    let has_time_index = !texts(database, indexed, &[table, column]).map_err(failed)?.is_empty();
    check_effects(database, table, effects, &mut vec![table.clone()]).map_err(|error| match error {
        Trouble::Sqlite(error) => failed(error),
        Trouble::Rows(error) => error,
    })?;
    Ok(Found { key, columns, has_time_index })
}

enum Trouble {
    Sqlite(rusqlite::Error),
    Rows(RowsError),
}

/// Looks which rows of other tables go or change along with those of `table`, and with these in turn.
fn check_effects(
    database: &Connection,
    table: &str,
    effects: &Effects<'_>,
    seen: &mut Vec<String>,
) -> Result<(), Trouble> {
    let referring = "SELECT l.name || char(0) || f.on_delete FROM pragma_table_list AS l \
                     JOIN pragma_foreign_key_list(l.name) AS f \
                     WHERE l.schema = 'main' AND l.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE AND f.seq = 0 \
                     AND f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT')";
    for found in texts(database, referring, &[table]).map_err(Trouble::Sqlite)? {
        let (other, action) = found.split_once('\0').unwrap_or((&found, ""));
        if !other.eq_ignore_ascii_case(table) || effects.alone {
            effects.check(table, other, &format!("ON DELETE {action}")).map_err(Trouble::Rows)?;
        }
        if action == "CASCADE" && !seen.iter().any(|seen| seen.eq_ignore_ascii_case(other)) {
            seen.push(other.to_owned());
            check_effects(database, other, effects, seen)?;
        }
    }
    Ok(())
}

impl Found {
    /// Says which clock the column seems to have.
    pub(super) fn no_clock(&self, database: &Connection, selection: &Selection) -> RowsError {
        let (table, column) = (quoted(&selection.table), quoted(&selection.column));
        let sample = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1");
        let sample = database.query_row(&sample, [], |row| row.get::<_, Sql>(0)).ok();
        let guess = match &sample {
            Some(Sql::Integer(1..100_000_000_000)) => "which looks like `unix-seconds`",
            Some(Sql::Integer(100_000_000_000..100_000_000_000_000)) => "which looks like `unix-milliseconds`",
            Some(Sql::Integer(100_000_000_000_000..)) => "which looks like `unix-microseconds`",
            Some(Sql::Text(_)) => "which looks like `iso-text`",
            _ => "which says nothing",
        };
        let sample = sample
            .as_ref()
            .map_or_else(|| "there is no row yet".to_owned(), |it| format!("it holds {}, {guess}", shown(it)));
        RowsError::Invalid(format!(
            "SQLite's types do not say how the column `{}` of `{}` holds a time, so the clock has to be given; {sample}",
            selection.column, selection.table
        ))
    }
}
