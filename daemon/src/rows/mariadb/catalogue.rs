//! What the catalogue of MariaDB says of a table.

use sqlx::Error;
use sqlx_mysql::MySqlConnection;

use crate::rows::condition::Kind;
use crate::rows::mariadb::{Column, Kinds, Rows, form, literal, number, rows, text};
use crate::rows::server::{Holds, Link, kind_of};
use crate::rows::{Effects, RowsError, Selection, missing};

/// A table.
pub(super) struct Found {
    pub(super) key: Vec<Column>,
    pub(super) columns: Vec<Column>,
    pub(super) time: Kind,
    pub(super) has_time_index: bool,
    pub(super) bytes: u64,
    /// How many the server thinks there are.
    pub(super) rows: u64,
}

pub(super) enum Trouble {
    Rows(RowsError),
    Sqlx(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Sqlx(error)
    }
}

impl From<RowsError> for Trouble {
    fn from(error: RowsError) -> Self {
        Self::Rows(error)
    }
}

fn texts(rows: Rows) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|value| text(Some(value)).unwrap_or_default()).collect()).collect()
}

/// Names are compared to the last byte, whatever the collation says.
fn is(column: &str, name: &str) -> String {
    format!("CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin = {}", literal(name))
}

/// Bytes and rows of a table as the server thinks, when it is one that transactions protect.
pub(super) fn facts(link: &mut Link<MySqlConnection>, schema: &str, table: &str) -> Result<(u64, u64), Trouble> {
    let statement = format!(
        "SELECT t.TABLE_TYPE, COALESCE(e.TRANSACTIONS, ''), COALESCE(t.DATA_LENGTH + t.INDEX_LENGTH, 0), \
         COALESCE(t.TABLE_ROWS, 0), COALESCE(t.ENGINE, '') FROM information_schema.TABLES t \
         LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE WHERE {} AND {}",
        is("t.TABLE_SCHEMA", schema),
        is("t.TABLE_NAME", table)
    );
    let found = rows(link, statement)?;
    let Some(row) = found.first() else {
        let all = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND {} ORDER BY 1",
            is("TABLE_SCHEMA", schema)
        );
        let all = texts(rows(link, all)?).concat();
        return Err(missing("table", table, &link.place, all.iter().map(String::as_str)).into());
    };
    if text(row.first()).as_deref() != Some("BASE TABLE") {
        return Err(RowsError::Invalid(format!("`{table}` of {} is no table of rows", link.place)).into());
    }
    if text(row.get(1)).as_deref() != Some("YES") {
        return Err(RowsError::Invalid(format!(
            "the table `{table}` of {} is of the engine {}, which has no transactions; run `ALTER TABLE … ENGINE = InnoDB`",
            link.place,
            text(row.get(4)).unwrap_or_default()
        ))
        .into());
    }
    Ok((number(row.get(2)), number(row.get(3))))
}

pub(super) fn find(
    link: &mut Link<MySqlConnection>,
    schema: &str,
    selection: &Selection,
    effects: &Effects<'_>,
) -> Result<Found, Trouble> {
    let Selection { table, column: time, .. } = selection;
    let (bytes, estimated) = facts(link, schema, table)?;
    let of_table = format!("{} AND {}", is("TABLE_SCHEMA", schema), is("TABLE_NAME", table));
    let columns = format!(
        "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE {of_table} ORDER BY ORDINAL_POSITION"
    );
    let listed = texts(rows(link, columns)?);
    let kinds: Kinds = listed.iter().map(|row| (row[0].clone(), row[1].to_lowercase())).collect();
    let Some(kind) = kinds.get(time) else {
        let place = format!("the table `{table}` of {}", link.place);
        return Err(missing("column", time, &place, kinds.keys().map(String::as_str)).into());
    };
    let column = |name: &String| Column { name: name.clone(), form: form(&kinds[name]) };
    let columns: Vec<Column> = listed.iter().map(|row| column(&row[0])).collect();
    let key = format!(
        "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE {of_table} AND INDEX_NAME = 'PRIMARY' \
         ORDER BY SEQ_IN_INDEX"
    );
    let key = texts(rows(link, key)?).concat();
    if key.is_empty() {
        return Err(RowsError::Invalid(format!(
            "the table `{table}` of {} has no primary key, by which its rows could be told apart; add one",
            link.place
        ))
        .into());
    }
    for part in &key {
        let kind = &kinds[part];
        let is_known = ["int", "char", "binary", "date", "timestamp", "uuid"].iter().any(|it| kind.contains(it));
        if !is_known {
            return Err(RowsError::Invalid(format!(
                "the primary key of `{table}` has the column `{part}` of the type {kind}, along which upkeep does not walk"
            ))
            .into());
        }
    }
    let indexed = format!(
        "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE {of_table} AND SEQ_IN_INDEX = 1 \
         AND INDEX_TYPE = 'BTREE' AND {}",
        is("COLUMN_NAME", time)
    );
    let time_kind = kind_of(selection, kind, holds(kind))?;
    let indexed = texts(rows(link, indexed)?).concat();
    let has_time_index = time_kind != Kind::IsoText && indexed.first().is_some_and(|count| count != "0");
    check_effects(link, schema, table, effects, &mut vec![table.clone()])?;
    Ok(Found {
        key: key.iter().map(column).collect(),
        columns,
        time: time_kind,
        has_time_index,
        bytes,
        rows: estimated,
    })
}

/// What a column of the type `kind` holds.
fn holds(kind: &str) -> Holds {
    match kind {
        "timestamp" => Holds::Time(Kind::Instant),
        "datetime" => Holds::Time(Kind::Local),
        "date" => Holds::Time(Kind::Date),
        "int" | "bigint" | "decimal" | "double" => Holds::Numbers,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Holds::Text,
        _ => Holds::NoTime,
    }
}

/// Looks which rows of other tables go or change along with those of a table, and with these in turn.
fn check_effects(
    link: &mut Link<MySqlConnection>,
    schema: &str,
    table: &str,
    effects: &Effects<'_>,
    seen: &mut Vec<String>,
) -> Result<(), Trouble> {
    let referring = format!(
        "SELECT r.TABLE_NAME, r.DELETE_RULE, r.CONSTRAINT_SCHEMA FROM information_schema.REFERENTIAL_CONSTRAINTS r \
         WHERE {} AND {} AND r.DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT')",
        is("r.UNIQUE_CONSTRAINT_SCHEMA", schema),
        is("r.REFERENCED_TABLE_NAME", table)
    );
    for row in texts(rows(link, referring)?) {
        let [other, action, other_schema] = &row[..] else { continue };
        let name = if other_schema == schema { other.clone() } else { format!("{other_schema}.{other}") };
        if name != table || effects.alone {
            effects.check(table, &name, &format!("ON DELETE {action}"))?;
        }
        if action == "CASCADE" && !seen.contains(&name) {
            seen.push(name);
            check_effects(link, other_schema, other, effects, seen)?;
        }
    }
    Ok(())
}
