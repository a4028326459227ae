//! Statements over many rows.
//!
//! Each statement crosses to the connection's thread and back, which costs more than a row, so all rows of a kind go
//! with one: as `VALUES (?,?),(?,?),...` of bound values. The statement is prepared for a few sizes only and kept; what
//! it has too many places for stays unbound, which is NULL, and no statement does anything for a row that begins with
//! NULL.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};

use crate::clock::Timestamp;
use crate::record::RunId;

/// Rows of the prepared statements. The greatest keeps below SQLite's 32,766 values.
const SIZES: [usize; 5] = [1, 8, 32, 128, 512];

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// The name of a variant without content.
    pub(super) fn name<T: Serialize>(variant: &T) -> Self {
        super::row::name_of(variant).into()
    }
}

/// One statement with the rows that it is for.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    template: &'static str,
    width: usize,
    values: Vec<Value<'a>>,
    /// How many rows it must change, and what is wrong otherwise.
    pub(super) expects: Option<(u64, &'static str)>,
}

impl<'a> Statement<'a> {
    /// `template` is SQL with `{rows}` where the list of rows stands.
    pub(super) fn new<const N: usize>(template: &'static str, rows: impl Iterator<Item = [Value<'a>; N]>) -> Self {
        Self { template, width: N, values: rows.flatten().collect(), expects: None }
    }

    /// Statements of one template as one each, in the order in which they come first.
    pub(super) fn together<'s>(all: impl IntoIterator<Item = &'s Statement<'a>>) -> Vec<Self>
    where
        'a: 's,
    {
        let mut merged: Vec<Self> = Vec::new();
        for statement in all {
            let Self { template, width, values, .. } = statement;
            match merged.iter_mut().find(|it| it.template == *template) {
                Some(known) => known.values.extend_from_slice(values),
                None => merged.push(Self { template, width: *width, values: values.clone(), expects: None }),
            }
        }
        merged
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// The queries that do it: one, unless there are more rows than the greatest size.
    pub(super) fn queries(&self) -> impl Iterator<Item = Query<'static, Sqlite, SqliteArguments>> {
        self.values.chunks(SIZES[SIZES.len() - 1] * self.width).map(|values| {
            let rows = values.len() / self.width;
            let size = SIZES.into_iter().find(|size| *size >= rows).unwrap_or(rows);
            values.iter().fold(sqlx::query(AssertSqlSafe(sql(self.template, self.width, size))), bind)
        })
    }
}

fn bind<'q>(query: Query<'q, Sqlite, SqliteArguments>, value: &Value<'_>) -> Query<'q, Sqlite, SqliteArguments> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Integer(value) => query.bind(*value),
        Value::Real(value) => query.bind(*value),
        Value::Text(value) => query.bind(String::from(&**value)),
    }
}

fn sql(template: &str, width: usize, size: usize) -> Arc<str> {
    let row = format!("({})", vec!["?"; width].join(","));
    template.replace("{rows}", &vec![row; size].join(",")).into()
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

/// SQLite's integers are signed: what does not fit is written as the greatest.
impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Integer(super::row::integer(value))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

/// What is not a number becomes NULL.
impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Integer(at.0)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a RunId> for Value<'a> {
    fn from(run: &'a RunId) -> Self {
        Self::Text((&*run.0).into())
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
