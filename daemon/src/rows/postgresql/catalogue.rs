//! What PostgreSQL's own catalogue says of a table.

use std::collections::BTreeMap;

use sqlx::Error;
use sqlx_postgres::PgConnection;

use crate::rows::condition::{Kind, quoted};
use crate::rows::postgresql::{Leaf, Rows, literal, number, rows};
use crate::rows::server::{Holds, Link, kind_of};
use crate::rows::{Effects, RowsError, Selection, missing};

/// A table.
pub(super) struct Found {
    /// Quoted, with its schema.
    pub(super) whole: String,
    pub(super) leaves: Vec<Leaf>,
    /// The columns, with their types as SQL has them.
    pub(super) columns: BTreeMap<String, String>,
    pub(super) time: Kind,
    pub(super) has_time_index: bool,
    pub(super) bytes: u64,
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

/// The identifier of the table that a task file names: as it is found along the search path, or with its schema.
fn find_table(link: &mut Link<PgConnection>, table: &str) -> Result<String, Trouble> {
    let one = |schema: Option<&str>, name: &str| {
        let within = match schema {
            Some(schema) => format!("n.nspname = {}", literal(schema)),
            None => "pg_table_is_visible(c.oid)".to_owned(),
        };
        format!(
            "SELECT c.oid::text, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = {} AND {within} AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'",
            literal(name)
        )
    };
    let mut found = rows(link, one(None, table))?;
    if found.is_empty()
        && let Some((schema, name)) = table.split_once('.')
    {
        found = rows(link, one(Some(schema), name))?;
    }
    match found.first().map(Vec::as_slice) {
        Some([Some(oid), Some(kind)]) if kind == "r" || kind == "p" => Ok(oid.clone()),
        Some(_) => Err(RowsError::Invalid(format!("`{table}` of {} is no table of rows", link.place)).into()),
        None => {
            let all = "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END \
                       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
                       AND NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1";
            let all = column(rows(link, all.to_owned())?);
            Err(missing("table", table, &link.place, all.iter().map(String::as_str)).into())
        }
    }
}

fn column(rows: Rows) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

/// The quoted name of the table that a task file names.
pub(super) fn name(link: &mut Link<PgConnection>, table: &str) -> Result<String, Trouble> {
    let oid = find_table(link, table)?;
    qualified(link, &oid)
}

fn qualified(link: &mut Link<PgConnection>, oid: &str) -> Result<String, Trouble> {
    let named = "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace";
    match rows(link, format!("{named} WHERE c.oid = {oid}"))?.first().map(Vec::as_slice) {
        Some([Some(schema), Some(name)]) => Ok(format!("{}.{}", quoted(schema), quoted(name))),
        _ => Err(RowsError::Missing(format!("a table of {} was dropped meanwhile", link.place)).into()),
    }
}

pub(super) fn find(
    link: &mut Link<PgConnection>,
    selection: &Selection,
    effects: &Effects<'_>,
) -> Result<Found, Trouble> {
    let Selection { table, column: time, .. } = selection;
    let oid = find_table(link, table)?;
    let columns = format!(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped"
    );
    let columns: BTreeMap<String, String> = rows(link, columns)?
        .into_iter()
        .filter_map(|row| match <[_; 2]>::try_from(row) {
            Ok([Some(name), Some(kind)]) => Some((name, kind)),
            _ => None,
        })
        .collect();
    let Some(kind) = columns.get(time) else {
        let place = format!("the table `{table}` of {}", link.place);
        return Err(missing("column", time, &place, columns.keys().map(String::as_str)).into());
    };
    let time_kind = kind_of(selection, kind, holds(kind))?;
    // Partitions of partitions too; the table itself when it has none.
    let leaves = format!(
        "SELECT relid::oid::text FROM pg_partition_tree({oid}) AS p JOIN pg_class c ON c.oid = p.relid \
         WHERE p.isleaf AND c.relkind = 'r' ORDER BY relid::oid"
    );
    let mut leaf_oids = column(rows(link, leaves)?);
    if leaf_oids.is_empty()
        && number(&rows(link, format!("SELECT count(*)::text FROM pg_class WHERE oid = {oid} AND relkind = 'r'"))?) == 1
    {
        leaf_oids.push(oid.clone());
    }
    let (mut leaves, mut bytes) = (Vec::new(), 0);
    for leaf in &leaf_oids {
        let size = format!(
            "SELECT (pg_relation_size({leaf}::regclass) / current_setting('block_size')::bigint)::text, \
             pg_total_relation_size({leaf}::regclass)::text"
        );
        let size = rows(link, size)?;
        let pages = number(&size);
        bytes += size.first().and_then(|row| row.get(1)?.as_deref()?.parse::<u64>().ok()).unwrap_or(0);
        leaves.push(Leaf { name: qualified(link, leaf)?, pages });
    }
    let indexed = format!(
        "SELECT count(*)::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_am m ON m.oid = c.relam JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = {oid} AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND a.attname = {}",
        literal(time)
    );
    // Text is compared in another order than an index has it.
    let has_time_index = time_kind != Kind::IsoText && number(&rows(link, indexed)?) > 0;
    check_effects(link, table, &oid, effects, &mut vec![oid.clone()])?;
    Ok(Found { whole: qualified(link, &oid)?, leaves, columns, time: time_kind, has_time_index, bytes })
}

/// What a column of the type `kind` holds.
fn holds(kind: &str) -> Holds {
    match kind.split('(').next().unwrap_or(kind).trim_end() {
        _ if kind.starts_with("timestamp") && kind.ends_with("without time zone") => Holds::Time(Kind::Local),
        _ if kind.starts_with("timestamp") && kind.ends_with("with time zone") => Holds::Time(Kind::Instant),
        "date" => Holds::Time(Kind::Date),
        "integer" | "bigint" | "numeric" | "double precision" => Holds::Numbers,
        "text" | "character varying" | "character" => Holds::Text,
        _ => Holds::NoTime,
    }
}

/// Looks which rows of other tables go or change along with those of a table, and with these in turn.
fn check_effects(
    link: &mut Link<PgConnection>,
    table: &str,
    oid: &str,
    effects: &Effects<'_>,
    seen: &mut Vec<String>,
) -> Result<(), Trouble> {
    let referring = format!(
        "SELECT DISTINCT k.conrelid::text, k.confdeltype::text, \
         CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END \
         FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE k.contype = 'f' AND k.confrelid = {oid} AND k.confdeltype IN ('c', 'n', 'd') AND NOT c.relispartition"
    );
    for row in rows(link, referring)? {
        let [Some(other), Some(action), Some(name)] = &row[..] else { continue };
        let what = match action.as_str() {
            "c" => "ON DELETE CASCADE",
            "n" => "ON DELETE SET NULL",
            _ => "ON DELETE SET DEFAULT",
        };
        if other != oid || effects.alone {
            effects.check(table, name, what)?;
        }
        if action == "c" && !seen.contains(other) {
            seen.push(other.clone());
            check_effects(link, name, other, effects, seen)?;
        }
    }
    Ok(())
}
