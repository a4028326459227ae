//! Tables that are counted.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::config::Span;
use upkeep_plugin::{Context, Error, Result};

use super::LONGEST_NAME;

/// A table whose rows are events: who did what and when. Rows are read once, in the order of the key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// What it is called in figures.
    pub(crate) name: String,
    /// The database: the name of a `[grant.sql.NAME]` with the right `read`.
    pub(crate) database: String,
    /// The table; in PostgreSQL also `SCHEMA.NAME`.
    pub(crate) table: String,
    /// The column that grows with each row: whole numbers above 0, with an index.
    #[serde(default = "id")]
    pub(crate) key: String,
    /// The column that says when.
    pub(crate) time: String,
    /// The time zone of times that are stored without one; by default the task's.
    pub(crate) timezone: Option<String>,
    /// The column that says who.
    pub(crate) user: Option<String>,
    /// The column that says what; without one all rows are the same event.
    pub(crate) event: Option<String>,
    /// What rows are that do not say it: by default the name of the source.
    pub(crate) called: Option<String>,
    /// Longer than any transaction that inserts rows takes, 10 minutes at most: those with smaller keys may come after those with
    /// larger ones.
    #[serde(default = "ten_seconds")]
    pub(crate) settle: Span,
}

impl Table {
    /// What the schema cannot say. `others` are the names that are taken.
    pub(super) fn check<'a>(&self, mut others: impl Iterator<Item = &'a String>, ctx: &Context) -> Result<()> {
        let wrong = |what: String| Err(Error::config(format!("`{}` in [[config.tables]]: {what}", self.name)));
        if self.name.len() > LONGEST_NAME {
            return wrong(format!("a name has {LONGEST_NAME} bytes at most"));
        }
        if self.name.is_empty() || others.any(|it| *it == self.name) {
            return wrong("each source has a name of its own".to_owned());
        }
        let columns = [
            ("key", Some(&self.key)),
            ("time", Some(&self.time)),
            ("user", self.user.as_ref()),
            ("event", self.event.as_ref()),
        ];
        for (key, name) in
            columns.into_iter().filter_map(|(key, name)| Some((key, name?))).chain([("table", &self.table)])
        {
            let is_name =
                |part: &str| !part.is_empty() && part.chars().all(|it| it.is_alphanumeric() || "_$-".contains(it));
            let parts = if key == "table" { 2 } else { 1 };
            if name.split('.').count() > parts || !name.split('.').all(is_name) {
                return wrong(format!(
                    "`{key}`: `{name}` is no name of a {}",
                    if key == "table" { "table" } else { "column" }
                ));
            }
        }
        if self.settle.0 > 600_000 {
            return wrong("`settle` is \"10m\" at most".to_owned());
        }
        match upkeep_rollup::Calendar::new(self.timezone.as_deref().unwrap_or(&ctx.timezone)) {
            Ok(_) => Ok(()),
            Err(error) => wrong(format!("`timezone`: {error}")),
        }
    }

    /// Where it is, for people.
    pub(crate) fn place(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

fn ten_seconds() -> Span {
    Span(10_000)
}

fn id() -> String {
    "id".to_owned()
}
