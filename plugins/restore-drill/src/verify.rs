//! The operator's assertions, put to what was restored. Each gives a [`Check`], passed or not, with what was expected and
//! what was found; one that fails does not keep the others from being looked at.

use serde::{Deserialize, Serialize};
use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::drill::{Answer, Database as Loaded, Restored};
use upkeep_plugin::{Error, HostError};

use crate::config::{Database, Files, Query};
use crate::moment;

/// Things that one text names.
const MOST_NAMED: usize = 5;

/// An assertion that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    /// The same in each run, unique within the source.
    pub(crate) key: String,
    /// What has to be true.
    pub(crate) expected: String,
    /// What was found.
    pub(crate) found: String,
    /// Whether it is true.
    pub(crate) passed: bool,
}

impl Check {
    pub(crate) fn new(
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        passed: bool,
    ) -> Self {
        Self { key: key.into(), expected: expected.into(), found: found.into(), passed }
    }

    /// That a span of time is not longer than allowed.
    pub(crate) fn at_most(key: &str, what: &str, found: i64, most: Span) -> Self {
        Self::new(key, format!("{what} at most {most}"), Span(found).to_string(), found <= most.0)
    }

    /// One that could not be looked at: what is not known to be true has failed.
    fn unanswered(key: impl Into<String>, expected: impl Into<String>, why: HostError) -> Self {
        Self::new(key, expected, Error::from(why).message(), false)
    }

    /// One line.
    pub(crate) fn sentence(&self) -> String {
        format!("expected: {}; found: {}", self.expected, self.found)
    }
}

/// What is asserted of a folder. `taken` is when its backup began.
pub(crate) fn files(wanted: &Files, restored: &Restored, taken: i64) -> Vec<Check> {
    let facts = restored.facts();
    // Only root can give files to other owners, and only some filesystems take all attributes: no loss of content.
    let is_harmless = |it: &&String| it.contains("its owner is") || it.contains("attribute") || it.contains("ACL");
    let changed: Vec<_> = facts.differences.iter().filter(|it| !is_harmless(it)).cloned().collect();
    let mut checks = vec![Check::new(
        "as-saved",
        "everything is as it was saved",
        if changed.is_empty() { "it is".to_owned() } else { named(&changed) },
        changed.is_empty(),
    )];
    if wanted.min_files.is_some() || wanted.min_bytes.is_some() || wanted.newest.is_some() {
        match restored.count(&wanted.only) {
            Ok(tally) => {
                if let Some(least) = wanted.min_files {
                    let passed = tally.files >= least;
                    checks.push(Check::new(
                        "min-files",
                        format!("at least {least} files"),
                        tally.files.to_string(),
                        passed,
                    ));
                }
                if let Some(least) = wanted.min_bytes {
                    let expected = format!("at least {least}");
                    checks.push(Check::new(
                        "min-bytes",
                        expected,
                        Size(tally.bytes).to_string(),
                        tally.bytes >= least.0,
                    ));
                }
                if let Some(most) = wanted.newest {
                    checks.push(fresh("newest", "the newest file", tally.newest, most, taken));
                }
            }
            Err(why) => checks.push(Check::unanswered("count", "the files can be counted", why)),
        }
    }
    for path in &wanted.exists {
        let (key, expected) = (format!("exists{path}"), format!("{path} is there"));
        checks.push(match restored.checksum(path) {
            Ok(_) => Check::new(key, expected, "it is", true),
            Err(why) => Check::unanswered(key, expected, why),
        });
    }
    for (path, sum) in &wanted.checksums {
        let (key, expected) = (format!("checksum{path}"), format!("{path} has the SHA-256 {}", sum.to_lowercase()));
        checks.push(match restored.checksum(path) {
            Ok(found) => Check::new(key, expected, found.clone(), found.eq_ignore_ascii_case(sum)),
            Err(why) => Check::unanswered(key, expected, why),
        });
    }
    checks
}

/// What is asserted of a database. `taken` is when its backup began.
pub(crate) fn database(wanted: &Database, loaded: &Loaded, taken: i64) -> Vec<Check> {
    let facts = loaded.facts();
    let mut checks = Vec::new();
    if !facts.remarks.is_empty() {
        checks.push(Check::new("remarks", "the server takes the dump", named(&facts.remarks), true));
    }
    let name = match pick(wanted, &facts.databases) {
        Ok(name) => name,
        Err(check) => {
            checks.push(check);
            return checks;
        }
    };
    let is_sqlite = facts.engine == "SQLite";
    if wanted.integrity && is_sqlite {
        let expected = "the database's own check finds nothing";
        checks.push(match loaded.query(&name, "PRAGMA integrity_check(5)") {
            Ok(answer) => {
                let found: Vec<_> = answer.rows.into_iter().flatten().flatten().collect();
                Check::new("integrity", expected, named(&found), found == ["ok"])
            }
            Err(why) => Check::unanswered("integrity", expected, why),
        });
    }
    if wanted.foreign_keys && facts.engine != "Redis" {
        let expected = "every row that refers to another one finds it";
        checks.push(match loaded.foreign_keys(&name) {
            Ok(keys) if keys.broken.is_empty() => {
                Check::new("foreign-keys", expected, format!("{} foreign keys are whole", keys.checked), true)
            }
            Ok(keys) => Check::new("foreign-keys", expected, named(&keys.broken), false),
            Err(why) => Check::unanswered("foreign-keys", expected, why),
        });
    }
    for (place, query) in wanted.queries.iter().enumerate() {
        let key = format!("query/{}", place + 1);
        match loaded.query(&name, &query.sql) {
            Ok(answer) => checks.extend(judge(&key, query, &answer, taken)),
            Err(why) => checks.push(Check::unanswered(key, format!("`{}` has an answer", line(&query.sql)), why)),
        }
    }
    checks
}

/// The database that is meant.
fn pick(wanted: &Database, there: &[String]) -> Result<String, Check> {
    // What PostgreSQL makes for itself is seldom meant.
    let own: Vec<&String> = there.iter().filter(|name| *name != "postgres").collect();
    match (&wanted.database, &own[..]) {
        (Some(name), _) if there.contains(name) => Ok(name.clone()),
        (Some(name), _) => {
            Err(Check::new("database", format!("the dump holds the database `{name}`"), named(there), false))
        }
        (None, [only]) => Ok((*only).clone()),
        (None, []) if there.len() == 1 => Ok(there[0].clone()),
        (None, _) => {
            Err(Check::new("database", "one database, or its name as `database = \"...\"`", named(there), false))
        }
    }
}

/// What an answer has to be.
fn judge(key: &str, query: &Query, answer: &Answer, taken: i64) -> Vec<Check> {
    let sql = line(&query.sql);
    let first = answer.rows.first().and_then(|row| row.first()).cloned().flatten();
    let shown = match (&answer.rows[..], &first) {
        ([], _) => "no row".to_owned(),
        (_, None) => "NULL".to_owned(),
        (_, Some(value)) => value.clone(),
    };
    let mut checks = Vec::new();
    if let Some(least) = query.min_rows {
        let count = answer.rows.len() as u64;
        let found = format!("{count}{} rows", if answer.more { " or more" } else { "" });
        checks.push(Check::new(
            key,
            format!("`{sql}` gives at least {least} rows"),
            found,
            count >= least || answer.more,
        ));
    }
    if let Some(least) = query.at_least {
        let passed = first.as_ref().and_then(|it| it.trim().parse::<f64>().ok()).is_some_and(|it| it >= least);
        checks.push(Check::new(key, format!("`{sql}` gives at least {least}"), shown.clone(), passed));
    }
    if let Some(wanted) = &query.equals {
        let passed = first.as_ref().is_some_and(|found| wanted.is(found));
        checks.push(Check::new(key, format!("`{sql}` gives {wanted}"), shown.clone(), passed));
    }
    if let Some(most) = query.newest {
        let what = format!("the time that `{sql}` gives");
        checks.push(match first.as_deref().map(moment::parse) {
            Some(Some(newest)) => fresh(key, &what, Some(newest), most, taken),
            _ => Check::new(
                key,
                format!("{what} is at most {most} before the backup"),
                format!("{shown}, which is no time"),
                false,
            ),
        });
    }
    // Several of one query are told apart.
    if checks.len() > 1 {
        for (place, check) in checks.iter_mut().enumerate() {
            check.key = format!("{key}/{}", place + 1);
        }
    }
    checks
}

/// That something is at most so much older than the backup. The age of the backup itself is measured apart.
fn fresh(key: &str, what: &str, newest: Option<i64>, most: Span, taken: i64) -> Check {
    let expected = format!("{what} is at most {most} before the backup");
    match newest {
        None => Check::new(key, expected, "there is none", false),
        Some(newest) if newest > taken => Check::new(key, expected, "it is newer than the backup's begin", true),
        Some(newest) => {
            let found = format!("{} before it ({} UTC)", Span(taken - newest), moment::minute(newest));
            Check::new(key, expected, found, taken - newest <= most.0)
        }
    }
}

fn named(all: &[String]) -> String {
    let some: Vec<_> = all.iter().take(MOST_NAMED).map(String::as_str).collect();
    let more = all.len() - some.len();
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    if some.is_empty() { "nothing".to_owned() } else { format!("{}{and}", some.join(", ")) }
}

fn line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[&[Option<&str>]]) -> Answer {
        let rows = rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect()).collect();
        Answer { columns: vec!["it".to_owned()], rows, more: false }
    }

    fn passed(query: &str, answer: &Answer) -> bool {
        let query: Query = serde_json::from_str(query).unwrap();
        let taken = 1_790_000_000_000;
        judge("query/1", &query, answer, taken).iter().all(|check| check.passed)
    }

    #[test]
    fn answers_are_judged() {
        let seven = answer(&[&[Some("7")]]);
        let (none, null) = (answer(&[]), answer(&[&[None]]));
        for (query, answer, expected) in [
            (r#"{ "sql": "s", "at_least": 7 }"#, &seven, true),
            (r#"{ "sql": "s", "at_least": 7.5 }"#, &seven, false),
            (r#"{ "sql": "s", "at_least": 0 }"#, &none, false),
            (r#"{ "sql": "s", "at_least": 0 }"#, &null, false),
            (r#"{ "sql": "s", "equals": 7 }"#, &seven, true),
            (r#"{ "sql": "s", "equals": 7.0 }"#, &seven, true),
            (r#"{ "sql": "s", "equals": "7" }"#, &seven, true),
            (r#"{ "sql": "s", "equals": true }"#, &answer(&[&[Some("t")]]), true),
            (r#"{ "sql": "s", "equals": "x" }"#, &null, false),
            (r#"{ "sql": "s", "min_rows": 1 }"#, &seven, true),
            (r#"{ "sql": "s", "min_rows": 1 }"#, &none, false),
            (r#"{ "sql": "s", "newest": "1h" }"#, &answer(&[&[Some("2026-09-21 14:00:00")]]), true),
            (r#"{ "sql": "s", "newest": "1h" }"#, &answer(&[&[Some("2026-09-21 12:00:00")]]), false),
            (r#"{ "sql": "s", "newest": "1h" }"#, &answer(&[&[Some("2026-09-21 23:00:00")]]), true),
            (r#"{ "sql": "s", "newest": "1h" }"#, &seven, false),
            (r#"{ "sql": "s", "newest": "1h" }"#, &null, false),
            (r#"{ "sql": "s", "at_least": 1, "equals": 8 }"#, &seven, false),
        ] {
            assert_eq!(passed(query, answer), expected, "{query} {answer:?}");
        }
    }

    #[test]
    fn what_failed_says_what_was_expected_and_found() {
        let query: Query =
            serde_json::from_str(r#"{ "sql": "SELECT\n count(*) FROM orders", "at_least": 100 }"#).unwrap();
        let check = judge("query/1", &query, &answer(&[&[Some("7")]]), 0).remove(0);
        assert_eq!(check.sentence(), "expected: `SELECT count(*) FROM orders` gives at least 100; found: 7");
    }

    #[test]
    fn the_database_is_picked_or_asked_for() {
        let wanted = |database: Option<&str>| Database {
            sqlite: None,
            dump: Some("main".into()),
            database: database.map(str::to_owned),
            foreign_keys: true,
            integrity: true,
            queries: vec![],
        };
        let names = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(pick(&wanted(None), &names(&["app", "postgres"])).unwrap(), "app");
        assert_eq!(pick(&wanted(None), &names(&["postgres"])).unwrap(), "postgres");
        assert_eq!(pick(&wanted(Some("b")), &names(&["a", "b"])).unwrap(), "b");
        assert_eq!(pick(&wanted(None), &names(&["a", "b"])).unwrap_err().found, "a, b");
        assert!(!pick(&wanted(Some("c")), &names(&["a"])).unwrap_err().passed);
    }
}
