//! MariaDB and MySQL: a table is walked along its primary key, which is how InnoDB keeps it.
//!
//! Statements name the rows they remove by the key, so that a log of statements does the same elsewhere, and read what is
//! committed, so that no gaps are locked in which others insert. Rows that others hold make a transaction wait; after a second
//! it is given up, and after some tries passed over.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use sqlx::{AssertSqlSafe, ConnectOptions, Error, Executor, Row, raw_sql};
use sqlx_mysql::{MySqlConnection, MySqlDatabaseError};
use tokio_util::sync::CancellationToken;

use crate::config::sql::SqlServer;
use crate::rows::condition::{Cutoff, Dialect, hex};
use crate::rows::json::Object;
use crate::rows::server::{COUNTING, LOCKED, LONGEST, Link, Meaning, explain, no_secret};
use crate::rows::{
    Chunk, Count, Effects, Key, KeyPart, Maintained, Maintenance, RowsError, SavedRow, Selection, Table, Value, Way,
    missing,
};
use crate::sql::mariadb;

mod catalogue;

/// Keys that a statement names at most: with more the server looks for another way.
const MOST_KEYS: u64 = 900;
/// Rows that are looked at in one statement.
const SCAN: u64 = 5_000;
/// A table that is larger is not counted, but estimated.
const LARGE: u64 = 8 << 30;

/// How a column is written in JSON and in statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Digits.
    Number,
    /// A floating point number.
    Float,
    Text,
    Bytes,
    /// A number of single bits.
    Bits,
}

/// A column.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    form: Form,
}

/// A table.
pub(super) struct Mariadb {
    link: Link<MySqlConnection>,
    name: String,
    /// Quoted.
    table: String,
    key: Vec<Column>,
    columns: Vec<Column>,
    column: String,
    condition: String,
    has_time_index: bool,
    bytes: u64,
    estimated: u64,
    /// The last key that there was in the beginning, and those until which was removed and read, as literals.
    end: Option<Vec<String>>,
    removed_to: Option<Vec<String>>,
    /// Where the transaction goes that is under way.
    going_to: Option<(Vec<String>, bool)>,
    read_to: Option<Vec<String>>,
}

type Rows = Vec<Vec<Option<Vec<u8>>>>;

/// A name in backticks.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Text as an expression, in which nothing can be mistaken for SQL.
fn literal(text: &str) -> String {
    match text.is_empty() {
        true => "''".to_owned(),
        false => format!("CONVERT(x'{}' USING utf8mb4)", hex(text.as_bytes())),
    }
}

fn connect(name: &str, server: &SqlServer) -> Result<Link<MySqlConnection>, RowsError> {
    let options = mariadb::options(server).map_err(no_secret(name))?;
    Link::open("MariaDB", name, server, options.disable_statement_logging().connect())
}

fn meaning(error: &Error) -> Meaning {
    let Error::Database(error) = error else { return Meaning::Other };
    // https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference
    match error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number) {
        1205 | 1213 => Meaning::Busy,
        1969 | 3024 => Meaning::Slow,
        1451 | 1217 | 1644 | 1761 => Meaning::Refused,
        1142 | 1044 | 1143 | 1227 => Meaning::Right,
        1292 | 1366 | 1525 => Meaning::Value,
        _ => Meaning::Other,
    }
}

fn rows(link: &mut Link<MySqlConnection>, statement: String) -> Result<Rows, Error> {
    let found = link.wait(|connection| async move { raw_sql(AssertSqlSafe(statement)).fetch_all(connection).await })?;
    let value = |row: &sqlx_mysql::MySqlRow, place| row.try_get_unchecked::<Option<Vec<u8>>, _>(place);
    found.iter().map(|row| (0..row.len()).map(|place| value(row, place)).collect()).collect()
}

fn execute(link: &mut Link<MySqlConnection>, statement: String) -> Result<u64, Error> {
    let done = link.wait(|connection| async move { connection.execute(raw_sql(AssertSqlSafe(statement))).await })?;
    Ok(done.rows_affected())
}

fn text(value: Option<&Option<Vec<u8>>>) -> Option<String> {
    Some(String::from_utf8_lossy(value?.as_deref()?).into_owned())
}

fn number(value: Option<&Option<Vec<u8>>>) -> u64 {
    text(value).and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Column {
    /// The expression that gives its value as text or bytes.
    fn select(&self) -> String {
        let name = quoted(&self.name);
        match self.form {
            Form::Number | Form::Text => format!("CONVERT({name} USING utf8mb4)"),
            // FLOAT is shown with six digits otherwise.
            Form::Float => format!("CONVERT({name} + 0e0 USING utf8mb4)"),
            Form::Bits => format!("CONVERT({name} + 0 USING utf8mb4)"),
            Form::Bytes => name,
        }
    }

    /// A value of it as a literal.
    fn literal(&self, value: &[u8]) -> String {
        let text = String::from_utf8_lossy(value);
        let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit() || it == b'-' || it == b'.');
        match self.form {
            Form::Number if is_number => text.into_owned(),
            Form::Bytes if value.is_empty() => "''".to_owned(),
            Form::Bytes => format!("x'{}'", hex(value)),
            _ => literal(&text),
        }
    }

    fn write(&self, value: Option<&[u8]>, object: &mut Object) {
        let Some(value) = value else { return object.null(&self.name) };
        match (self.form, std::str::from_utf8(value)) {
            (Form::Number | Form::Bits, Ok(digits)) => object.digits(&self.name, digits),
            (Form::Float, Ok(digits)) => object.real(&self.name, digits.parse().unwrap_or(f64::NAN)),
            (Form::Text, Ok(text)) => object.text(&self.name, text),
            _ => object.bytes(&self.name, value),
        }
    }
}

impl Mariadb {
    pub(super) fn open(
        name: &str,
        server: &SqlServer,
        selection: &Selection,
        effects: &Effects<'_>,
    ) -> Result<Self, RowsError> {
        let mut link = connect(name, server)?;
        let place = link.place.clone();
        let failed = |error: Error| explain(&place, &selection.table, meaning(&error), &error);
        execute(&mut link, format!("SET SESSION innodb_lock_wait_timeout = {LOCKED}, SESSION lock_wait_timeout = 2"))
            .map_err(failed)?;
        // A log of statements needs the stricter isolation.
        let binlog = rows(&mut link, "SELECT CONCAT(@@log_bin, @@binlog_format)".to_owned()).map_err(failed)?;
        if text(binlog.first().and_then(|row| row.first())).is_none_or(|it| it != "1STATEMENT") {
            let isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
            execute(&mut link, isolation.to_owned()).map_err(failed)?;
        }
        limit_time(&mut link, LONGEST);
        let found =
            catalogue::find(&mut link, &server.database, selection, effects).map_err(|trouble| match trouble {
                catalogue::Trouble::Rows(error) => error,
                catalogue::Trouble::Sqlx(error) => failed(error),
            })?;
        let cutoff = Cutoff::new(selection.before, selection.timezone)?;
        let column = quoted(&selection.column);
        let mut condition = cutoff.condition(Dialect::Mariadb, &column, found.time);
        for (name, value) in &selection.equal {
            let Some(column) = found.columns.iter().find(|column| column.name == *name) else {
                let names = found.columns.iter().map(|column| column.name.as_str());
                return Err(missing("column", name, &format!("the table `{}`", selection.table), names));
            };
            condition.push_str(&equal(column, value)?);
        }
        let mut table = Self {
            name: selection.table.clone(),
            table: quoted(&selection.table),
            key: found.key,
            columns: found.columns,
            column,
            condition,
            has_time_index: found.has_time_index,
            bytes: found.bytes,
            estimated: found.rows,
            end: None,
            removed_to: None,
            going_to: None,
            read_to: None,
            link,
        };
        let order: Vec<String> = table.key.iter().map(|part| format!("{} DESC", quoted(&part.name))).collect();
        let last = format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", table.key_list(), table.table, order.join(", "));
        table.end = table.key_of(last)?;
        Ok(table)
    }

    fn rows(&mut self, statement: String) -> Result<Rows, RowsError> {
        rows(&mut self.link, statement).map_err(|error| self.failed(&error))
    }

    fn execute(&mut self, statement: String) -> Result<u64, RowsError> {
        execute(&mut self.link, statement).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> RowsError {
        explain(&self.link.place, &self.name, meaning(error), error)
    }

    fn key_list(&self) -> String {
        self.key.iter().map(Column::select).collect::<Vec<_>>().join(", ")
    }

    fn key_order(&self) -> String {
        self.key.iter().map(|part| quoted(&part.name)).collect::<Vec<_>>().join(", ")
    }

    fn literals(&self, row: &[Option<Vec<u8>>]) -> Vec<String> {
        let value = |(part, value): (&Column, &Option<Vec<u8>>)| part.literal(value.as_deref().unwrap_or_default());
        self.key.iter().zip(row).map(value).collect()
    }

    fn key_of(&mut self, statement: String) -> Result<Option<Vec<String>>, RowsError> {
        let found = self.rows(statement)?;
        Ok(found.first().map(|row| self.literals(row)))
    }

    /// Keys behind or up to this one. Written out, since row values are not looked up in an index.
    fn beside(&self, key: &[String], before: bool) -> String {
        let names: Vec<String> = self.key.iter().map(|part| quoted(&part.name)).collect();
        let (sign, last) = if before { ("<", "<=") } else { (">", ">") };
        let alternatives: Vec<String> = (0..key.len())
            .map(|place| {
                let same = (0..place).map(|it| format!("{} = {}", names[it], key[it]));
                let sign = if place + 1 == key.len() { last } else { sign };
                let parts: Vec<String> = same.chain([format!("{} {sign} {}", names[place], key[place])]).collect();
                format!("({})", parts.join(" AND "))
            })
            .collect();
        // The first part alone bounds what is read.
        let bound = if before { "<=" } else { ">=" };
        format!("{} {bound} {} AND ({})", names[0], key[0], alternatives.join(" OR "))
    }

    fn range(&self, after: Option<&[String]>, upto: &[String]) -> String {
        let upper = self.beside(upto, true);
        after.map_or_else(|| upper.clone(), |after| format!("{} AND {upper}", self.beside(after, false)))
    }

    /// The key `count` rows behind `after`, and whether it is the last.
    fn ahead(&mut self, after: Option<&[String]>, count: u64) -> Result<Option<(Vec<String>, bool)>, RowsError> {
        let Some(end) = self.end.clone() else { return Ok(None) };
        let range = self.range(after, &end);
        let statement = format!(
            "SELECT {} FROM {} FORCE INDEX (PRIMARY) WHERE {range} ORDER BY {} LIMIT 1 OFFSET {}",
            self.key_list(),
            self.table,
            self.key_order(),
            count.saturating_sub(1)
        );
        let ahead = self.key_of(statement)?;
        Ok(Some(ahead.map_or((end, true), |key| (key, false))))
    }

    /// The condition for rows of these keys.
    fn among(&self, keys: &[Vec<String>]) -> String {
        let names: Vec<String> = self.key.iter().map(|part| quoted(&part.name)).collect();
        if let [name] = &names[..] {
            return format!("{name} IN ({})", keys.concat().join(", "));
        }
        let one = |key: &Vec<String>| {
            let parts: Vec<String> = names.iter().zip(key).map(|(name, it)| format!("{name} = {it}")).collect();
            format!("({})", parts.join(" AND "))
        };
        format!("({})", keys.iter().map(one).collect::<Vec<_>>().join(" OR "))
    }

    fn remove_along_key(&mut self, most: u64) -> Result<Chunk, RowsError> {
        let after = self.removed_to.clone();
        let Some((upto, is_last)) = self.ahead(after.as_deref(), most)? else {
            return Ok(Chunk::NOTHING);
        };
        let range = self.range(after.as_deref(), &upto);
        self.going_to = Some((upto.clone(), is_last));
        let (table, condition) = (&self.table, &self.condition);
        let statement = format!("DELETE FROM {table} WHERE {range} AND {condition}");
        let chunk = self.transaction(|table| table.execute(statement))?;
        self.removed_to = Some(upto);
        Ok(Chunk { more: !is_last, ..chunk })
    }

    fn remove_oldest(&mut self, most: u64) -> Result<Chunk, RowsError> {
        self.going_to = None;
        let (table, condition, column, list) = (&self.table, &self.condition, &self.column, self.key_list());
        let statement = format!("SELECT {list} FROM {table} WHERE {condition} ORDER BY {column} LIMIT {most}");
        let found = self.rows(statement)?;
        if found.is_empty() {
            return Ok(Chunk::NOTHING);
        }
        let keys: Vec<Vec<String>> = found.iter().map(|row| self.literals(row)).collect();
        let statement = format!("DELETE FROM {} WHERE {} AND {}", self.table, self.among(&keys), self.condition);
        let chunk = self.transaction(|table| table.execute(statement))?;
        // Rows that a trigger keeps would come again and again.
        Ok(Chunk { more: chunk.removed > 0 && keys.len() as u64 == most, ..chunk })
    }

    /// Removes in a transaction.
    fn transaction(&mut self, work: impl FnOnce(&mut Self) -> Result<u64, RowsError>) -> Result<Chunk, RowsError> {
        self.execute("START TRANSACTION".to_owned())?;
        let began = Instant::now();
        match work(self) {
            Ok(removed) => {
                let work = began.elapsed();
                self.execute("COMMIT".to_owned())?;
                Ok(Chunk { removed, work, held: began.elapsed(), more: true })
            }
            Err(error) => {
                // After a deadlock the server has done it already.
                self.execute("ROLLBACK".to_owned())?;
                Err(error)
            }
        }
    }

    fn row_list(&self) -> String {
        let columns = self.columns.iter().map(Column::select);
        self.key.iter().map(Column::select).chain(columns).collect::<Vec<_>>().join(", ")
    }

    fn saved_key(&self, row: &[Option<Vec<u8>>]) -> Key {
        let part = |value: &Option<Vec<u8>>| {
            let bytes = value.clone().unwrap_or_default();
            match String::from_utf8(bytes) {
                Ok(text) => KeyPart::Text(text),
                Err(error) => KeyPart::Bytes(error.into_bytes()),
            }
        };
        Key(row.iter().take(self.key.len()).map(part).collect())
    }

    fn object<'o>(&self, row: &[Option<Vec<u8>>], object: &'o mut Object) -> &'o [u8] {
        object.begin();
        for (column, value) in self.columns.iter().zip(row.iter().skip(self.key.len())) {
            column.write(value.as_deref(), object);
        }
        object.end()
    }
}

/// A comparison that does not turn text into numbers: `0` would be equal to every word.
fn equal(column: &Column, value: &Value) -> Result<String, RowsError> {
    let name = quoted(&column.name);
    let wrong = || {
        Err(RowsError::Invalid(format!(
            "{name} holds another kind of value than {value:?}; compare it with one of its own"
        )))
    };
    let is_number = matches!(column.form, Form::Number | Form::Float | Form::Bits);
    Ok(match value {
        Value::Null => format!(" AND {name} IS NULL"),
        Value::Integer(number) if is_number => format!(" AND {name} = {number}"),
        Value::Real(number) if is_number && number.is_finite() => format!(" AND {name} = {number:?}"),
        Value::Text(digits) if is_number => match digits.parse::<f64>().is_ok_and(f64::is_finite) {
            true => format!(" AND {name} = CAST({} AS DECIMAL(65, 30))", literal(digits)),
            false => return wrong(),
        },
        Value::Integer(number) if column.form == Form::Text => format!(" AND {name} = '{number}'"),
        Value::Text(text) if column.form == Form::Text => format!(" AND {name} = {}", literal(text)),
        Value::Text(text) => format!(" AND {name} = {}", column.literal(text.as_bytes())),
        Value::Blob(blob) if column.form == Form::Bytes => format!(" AND {name} = {}", column.literal(blob)),
        _ => return wrong(),
    })
}

/// How long a statement may take. MySQL knows this only for reading.
fn limit_time(link: &mut Link<MySqlConnection>, seconds: u32) {
    if execute(link, format!("SET SESSION max_statement_time = {seconds}")).is_err() {
        // Without a limit it goes as well.
        let _ = execute(link, format!("SET SESSION max_execution_time = {}", seconds * 1_000));
    }
}

impl Table for Mariadb {
    fn has_time_index(&self) -> bool {
        self.has_time_index
    }

    fn count(&mut self, cancel: &CancellationToken) -> Result<Count, RowsError> {
        if cancel.is_cancelled() {
            return Err(RowsError::Ended);
        }
        let (table, condition, column) = (&self.table, &self.condition, &self.column);
        let whole = format!(
            "SELECT CONVERT(COALESCE(SUM({condition}), 0) USING utf8mb4), \
             CONVERT(MIN(CASE WHEN {condition} THEN {column} END) USING utf8mb4), CONVERT(COUNT(*) USING utf8mb4) \
             FROM {table}"
        );
        let old = format!(
            "SELECT CONVERT(COUNT(*) USING utf8mb4), CONVERT(MIN({column}) USING utf8mb4) FROM {table} WHERE {condition}"
        );
        let statements = match (self.bytes > LARGE, self.has_time_index) {
            (false, _) => vec![whole],
            (true, true) => vec![old],
            (true, false) => vec![],
        };
        limit_time(&mut self.link, COUNTING);
        let mut counted = None;
        for statement in statements {
            match rows(&mut self.link, statement) {
                Ok(found) => counted = found.into_iter().next(),
                Err(error) if meaning(&error) == Meaning::Slow => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        limit_time(&mut self.link, LONGEST);
        let bytes = self.bytes;
        Ok(match counted {
            Some(row) => Count {
                rows: number(row.first()),
                rows_counted: true,
                total: if row.len() > 2 { number(row.get(2)) } else { self.estimated },
                total_counted: row.len() > 2,
                oldest: text(row.get(1)),
                bytes,
            },
            // Nobody knows how many: as many as there are.
            None => Count {
                rows: self.estimated,
                rows_counted: false,
                total: self.estimated,
                total_counted: false,
                oldest: None,
                bytes,
            },
        })
    }

    fn remove(&mut self, way: Way, most: u64) -> Result<Chunk, RowsError> {
        match way {
            Way::WholeTable => self.remove_along_key(most),
            Way::TimeIndex => self.remove_oldest(most.min(MOST_KEYS)),
        }
    }

    fn pass_over(&mut self) -> bool {
        match self.going_to.take() {
            Some((upto, is_last)) => {
                self.removed_to = Some(upto);
                !is_last
            }
            None => false,
        }
    }

    fn read(&mut self, each: &mut dyn FnMut(Key, &[u8]) -> bool) -> Result<bool, RowsError> {
        let after = self.read_to.clone();
        let Some((upto, is_last)) = self.ahead(after.as_deref(), SCAN)? else { return Ok(false) };
        let statement = format!(
            "SELECT {} FROM {} FORCE INDEX (PRIMARY) WHERE {} AND {} ORDER BY {}",
            self.row_list(),
            self.table,
            self.range(after.as_deref(), &upto),
            self.condition,
            self.key_order()
        );
        let mut object = Object::default();
        for row in self.rows(statement)? {
            each(self.saved_key(&row), self.object(&row, &mut object));
        }
        self.read_to = Some(upto);
        Ok(!is_last)
    }

    fn largest_batch(&self) -> u64 {
        MOST_KEYS
    }

    fn remove_saved(&mut self, saved: &[SavedRow], digest: &dyn Fn(&[u8]) -> u64) -> Result<Chunk, RowsError> {
        let bytes = |part: &KeyPart| match part {
            KeyPart::Text(text) => text.clone().into_bytes(),
            KeyPart::Bytes(bytes) => bytes.clone(),
            KeyPart::Integer(number) => number.to_string().into_bytes(),
            KeyPart::Real(number) => number.to_string().into_bytes(),
        };
        let literals = |key: &Key| -> Vec<String> {
            self.key.iter().zip(&key.0).map(|(part, value)| part.literal(&bytes(value))).collect()
        };
        let wanted: HashMap<Vec<String>, u64> = saved.iter().map(|(key, digest)| (literals(key), *digest)).collect();
        let keys: Vec<Vec<String>> = saved.iter().map(|(key, _)| literals(key)).collect();
        let select = format!(
            "SELECT {} FROM {} WHERE {} AND {} FOR UPDATE",
            self.row_list(),
            self.table,
            self.among(&keys),
            self.condition
        );
        self.transaction(|table| {
            let mut object = Object::default();
            let mut unchanged = Vec::new();
            for row in table.rows(select)? {
                let key = table.literals(&row);
                if wanted.get(&key) == Some(&digest(table.object(&row, &mut object))) {
                    unchanged.push(key);
                }
            }
            match unchanged.is_empty() {
                true => Ok(0),
                false => table.execute(format!("DELETE FROM {} WHERE {}", table.table, table.among(&unchanged))),
            }
        })
    }
}

/// Looks after a table.
pub(super) fn maintain(
    name: &str,
    server: &SqlServer,
    kind: Maintenance,
    table: Option<&str>,
    cancel: &CancellationToken,
) -> Result<Maintained, RowsError> {
    let Some(table) = table else {
        return Err(RowsError::Invalid(
            "MariaDB looks after single tables: name the one that rows were removed from".to_owned(),
        ));
    };
    let mut link = connect(name, server)?;
    let place = link.place.clone();
    let failed = |error: Error| explain(&place, table, meaning(&error), &error);
    let mut size = || catalogue::facts(&mut link, &server.database, table);
    let trouble = |trouble| match trouble {
        catalogue::Trouble::Rows(error) => error,
        catalogue::Trouble::Sqlx(error) => failed(error),
    };
    let bytes_before = size().map_err(trouble)?.0;
    let what = match kind {
        Maintenance::Vacuum => "OPTIMIZE TABLE",
        Maintenance::Optimize => "ANALYZE TABLE",
    };
    let statement = format!("{what} {}", quoted(table));
    execute(&mut link, "SET SESSION lock_wait_timeout = 10".to_owned()).map_err(failed)?;
    let stop = cancel.clone();
    let done = link.wait(|connection| async move {
        tokio::select! {
            done = raw_sql(AssertSqlSafe(statement)).fetch_all(connection) => Some(done),
            () = stop.cancelled() => None,
        }
    });
    let said = done.ok_or(RowsError::Ended)?.map_err(failed)?;
    for row in &said {
        let word = |place| row.try_get_unchecked::<String, _>(place).unwrap_or_default();
        if word(2).eq_ignore_ascii_case("error") {
            return Err(RowsError::Failed(format!("{place}: {what} `{table}`: {}", word(3))));
        }
    }
    let bytes_after = catalogue::facts(&mut link, &server.database, table).map_err(trouble)?.0;
    Ok(Maintained { bytes_before, bytes_after })
}

/// The forms of columns by the names of their types.
fn form(kind: &str) -> Form {
    match kind {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Form::Number,
        "float" | "double" => Form::Float,
        "bit" => Form::Bits,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Form::Bytes,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "vector" => Form::Bytes,
        _ => Form::Text,
    }
}

/// Columns by name.
type Kinds = BTreeMap<String, String>;
