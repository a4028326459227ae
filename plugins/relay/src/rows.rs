//! The rows of a table of messages: claimed, then removed once the outbox has them, or marked with what is wrong with them.
//!
//! A claim is a name and a time in the row, committed before anything is done with it: of several servers that take from one table,
//! one has the row. Rows that another transaction has locked are passed over by every change, so nobody waits for anybody. The time
//! is that of the database, since the clocks of servers differ.
//!
//! How long a row is comes before what it says: what nobody may send is never read.

use upkeep_plugin::sql::{Connection, Dialect, Row as Found, Value};
use upkeep_plugin::{HostError, HostResult};

use crate::config::Table;

/// A table of messages in its database.
pub(crate) struct Rows<'a> {
    connection: Connection,
    table: &'a Table,
    /// Under which name rows are claimed; it takes no quoting.
    owner: String,
    /// Whether rows say when they were made.
    has_created: bool,
}

/// A claimed row, unread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) id: i64,
    /// Bytes of the message and of the application's idempotency key.
    pub(crate) message: u64,
    pub(crate) key: u64,
}

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// What [`message`](crate::message) reads.
    pub(crate) message: Value,
    /// The application's own idempotency key.
    pub(crate) key: Value,
    /// When it was made, as the database writes it.
    pub(crate) created: Option<String>,
}

/// What is done with rows.
enum Change<'a> {
    Set(&'a [(&'a str, &'a str)]),
    Delete,
}

impl<'a> Rows<'a> {
    pub(crate) fn open(table: &'a Table, owner: &str) -> HostResult<Self> {
        let owner = owner.replace(|it: char| !it.is_ascii_alphanumeric() && !matches!(it, '/' | '.' | '_' | '-'), "_");
        Ok(Self { connection: Connection::open(&table.database)?, table, owner, has_created: false })
    }

    /// Looks at which columns there are.
    pub(crate) fn look(&mut self) -> HostResult<()> {
        let rows = self.connection.query(&format!("SELECT * FROM {} WHERE 1 = 0", self.name()), [])?;
        self.has_created = rows.columns().iter().any(|it| it == CREATED);
        Ok(())
    }

    /// What no other table has, however it is named; of two names of one file of SQLite nothing is seen.
    pub(crate) fn identity(&self) -> HostResult<String> {
        let (table, name) = (&self.table.table, self.name());
        let text = match self.connection.dialect() {
            Dialect::Sqlite => {
                let table = table.to_lowercase();
                return Ok(format!("{}/{}", self.table.database, table.strip_prefix("main.").unwrap_or(&table)));
            }
            Dialect::Postgresql => format!(
                "SELECT concat_ws('/', pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database()), \
                 to_regclass('{name}')::oid) AS identity"
            ),
            Dialect::Mariadb => {
                let whole =
                    if table.contains('.') { format!("'{table}'") } else { format!("concat(database(), '.{table}')") };
                format!(
                    "SELECT concat_ws('/', @@hostname, @@port, @@datadir, if(@@lower_case_table_names = 0, {whole}, lower({whole}))) \
                     AS identity"
                )
            }
        };
        self.query(&text)?.first().map_or_else(|| Ok(String::new()), |row| row.get("identity"))
    }

    /// How many rows wait, for whoever claims them.
    pub(crate) fn waiting(&self) -> HostResult<i64> {
        self.count("refused IS NULL")
    }

    /// How many rows are no messages, and the reasons of the first few, by identifier.
    pub(crate) fn refused(&self) -> HostResult<(i64, Vec<(i64, String)>)> {
        let count = self.count("refused IS NOT NULL")?;
        let table = self.name();
        let text = format!("SELECT id, refused FROM {table} WHERE refused IS NOT NULL ORDER BY id LIMIT {SHOWN}");
        let first = |row: &Found| Ok((id(row)?, row.get::<String>("refused").unwrap_or_default()));
        Ok((count, self.query(&text)?.iter().map(first).collect::<HostResult<_>>()?))
    }

    /// How many rows SQLite cannot even mark, since a change writes the whole row, and the bytes of the first few. Others have none.
    pub(crate) fn unmarkable(&self, longest: u64) -> HostResult<(i64, Vec<(i64, u64)>)> {
        if self.connection.dialect() != Dialect::Sqlite {
            return Ok((0, Vec::new()));
        }
        let which = format!("refused IS NULL AND {LENGTH} > {longest}");
        let count = self.count(&which)?;
        if count == 0 {
            return Ok((0, Vec::new()));
        }
        let text = format!("SELECT id, {LENGTH} AS bytes FROM {} WHERE {which} ORDER BY id LIMIT {SHOWN}", self.name());
        let first = |row: &Found| Ok((id(row)?, bytes(row, "bytes")?));
        Ok((count, self.query(&text)?.iter().map(first).collect::<HostResult<_>>()?))
    }

    fn count(&self, which: &str) -> HostResult<i64> {
        let text = format!("SELECT count(*) AS count FROM {} WHERE {which}", self.name());
        self.query(&text)?.first().map_or(Ok(0), |row| row.get("count"))
    }

    /// Claims the next rows behind `after`, the oldest first: they are nobody else's until the lease ends. Those of this owner are
    /// claimed again. `longest`: see [`Rows::unmarkable`].
    pub(crate) fn claim(&self, after: Option<i64>, most: u32, longest: u64) -> HostResult<u64> {
        let until = format!("{} + {}", self.now(), self.table.lease.0 / 1000);
        let which = format!("{} ORDER BY id LIMIT {most}", self.free(after, longest));
        let owner = format!("'{}'", self.owner);
        self.change(&Change::Set(&[("claimed_by", &owner), ("claimed_until", &until)]), &which, &[])
    }

    /// Whether there is a row that could be claimed.
    pub(crate) fn any_free(&self, after: Option<i64>, longest: u64) -> HostResult<bool> {
        let text = format!("SELECT id FROM {} WHERE {} LIMIT 1", self.name(), self.free(after, longest));
        self.query(&text).map(|rows| !rows.is_empty())
    }

    fn free(&self, after: Option<i64>, longest: u64) -> String {
        let (owner, now) = (&self.owner, self.now());
        let free = format!("(claimed_by IS NULL OR claimed_by = '{owner}' OR claimed_until < {now})");
        let markable = match self.connection.dialect() {
            Dialect::Sqlite => format!(" AND {LENGTH} <= {longest}"),
            Dialect::Postgresql | Dialect::Mariadb => String::new(),
        };
        format!("refused IS NULL{} AND {free}{markable}", behind(after))
    }

    /// What this owner has claimed behind `after`, in order.
    pub(crate) fn own(&self, after: Option<i64>, most: u32) -> HostResult<Vec<Claim>> {
        let text = match self.connection.dialect() {
            Dialect::Postgresql => {
                "CAST(message AS text)), 0) AS message, coalesce(octet_length(CAST(idempotency_key AS text))"
            }
            Dialect::Sqlite | Dialect::Mariadb => "message), 0) AS message, coalesce(octet_length(idempotency_key)",
        };
        let text = format!(
            "SELECT id, coalesce(octet_length({text}, 0) AS idempotency_key FROM {} \
             WHERE claimed_by = '{}' AND refused IS NULL{} ORDER BY id LIMIT {most}",
            self.name(),
            self.owner,
            behind(after)
        );
        let claim = |row: &Found| {
            Ok(Claim { id: id(row)?, message: bytes(row, "message")?, key: bytes(row, "idempotency_key")? })
        };
        self.query(&text)?.iter().map(claim).collect()
    }

    /// What rows of this owner say, in order.
    pub(crate) fn read(&self, ids: &[i64]) -> HostResult<Vec<Row>> {
        let created = match (self.has_created, self.connection.dialect()) {
            (false, _) => "NULL".to_owned(),
            (true, Dialect::Mariadb) => format!("CAST({CREATED} AS char)"),
            (true, Dialect::Sqlite | Dialect::Postgresql) => format!("CAST({CREATED} AS text)"),
        };
        let text = format!(
            "SELECT id, message, idempotency_key, {created} FROM {} WHERE {} AND refused IS NULL ORDER BY id",
            self.name(),
            self.these(ids)
        );
        let read = |row: &Found| {
            let value = |place: usize| row.values().get(place).cloned().unwrap_or(Value::Null);
            let created = if let Value::Text(text) = value(3) { Some(text) } else { None };
            Ok(Row { id: id(row)?, message: value(1), key: value(2), created })
        };
        self.query(&text)?.iter().map(read).collect()
    }

    /// Removes rows. Gives those that somebody has locked: they are claimed as before.
    pub(crate) fn done(&self, ids: &[i64]) -> HostResult<Vec<i64>> {
        // A row whose lease was over may be another server's by now; it removes it.
        let removed = self.change(&Change::Delete, &self.these(ids), &[])?;
        if removed == ids.len() as u64 {
            return Ok(Vec::new());
        }
        let text = format!("SELECT id FROM {} WHERE {}", self.name(), self.these(ids));
        self.query(&text)?.iter().map(id).collect()
    }

    /// Marks a row that is no message: it is passed over until somebody sets `refused` to NULL.
    pub(crate) fn refuse(&self, id: i64, why: &str) -> HostResult<u64> {
        let why = &why[..why.floor_char_boundary(LONGEST_REASON)];
        let reason = self.place();
        let set = [("refused", reason), ("claimed_by", "NULL"), ("claimed_until", "NULL")];
        self.change(&Change::Set(&set), &self.these(&[id]), &[Value::from(why)])
    }

    /// Gives rows back that this owner has claimed.
    pub(crate) fn release(&self, ids: &[i64]) -> HostResult<u64> {
        self.change(&Change::Set(&[("claimed_by", "NULL"), ("claimed_until", "NULL")]), &self.these(ids), &[])
    }

    /// Keeps rows that the outbox has and that cannot be removed for a day, whatever the lease is.
    pub(crate) fn hold(&self, ids: &[i64]) -> HostResult<u64> {
        let until = format!("{} + 86400", self.now());
        self.change(&Change::Set(&[("claimed_until", &until)]), &self.these(ids), &[])
    }

    /// These rows, as long as they are this owner's.
    fn these(&self, ids: &[i64]) -> String {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let ids = if ids.is_empty() { "NULL".to_owned() } else { ids.join(", ") };
        format!("id IN ({ids}) AND claimed_by = '{}'", self.owner)
    }

    /// Changes those rows that nobody has locked. A change would wait for each locked row that it looks at: so the rows are chosen
    /// first, once, and then found by their keys.
    fn change(&self, change: &Change<'_>, which: &str, values: &[Value]) -> HostResult<u64> {
        let (table, dialect) = (self.name(), self.connection.dialect());
        let set = |before: &str| {
            let Change::Set(columns) = change else { return String::new() };
            let columns: Vec<String> =
                columns.iter().map(|(column, value)| format!("{before}{column} = {value}")).collect();
            columns.join(", ")
        };
        let locked = match dialect {
            Dialect::Sqlite => format!("WHERE id IN (SELECT id FROM {table} WHERE {which})"),
            Dialect::Postgresql => {
                format!("WHERE id = ANY (ARRAY(SELECT id FROM {table} WHERE {which} FOR UPDATE SKIP LOCKED))")
            }
            Dialect::Mariadb => format!(
                "(SELECT id FROM {table} WHERE {which} FOR UPDATE SKIP LOCKED) AS own STRAIGHT_JOIN {table} AS it ON it.id = own.id"
            ),
        };
        let (right, text) = match (change, dialect) {
            (Change::Delete, Dialect::Mariadb) => ("DELETE", format!("DELETE it FROM {locked}")),
            (Change::Delete, _) => ("DELETE", format!("DELETE FROM {table} {locked}")),
            (Change::Set(_), Dialect::Mariadb) => {
                // A `timestamp` may be one that every change sets to its time, unless the change says otherwise.
                let created = if self.has_created { format!(", it.{CREATED} = it.{CREATED}") } else { String::new() };
                ("UPDATE", format!("UPDATE {locked} SET {}{created}", set("it.")))
            }
            (Change::Set(_), _) => ("UPDATE", format!("UPDATE {table} SET {} {locked}", set(""))),
        };
        self.connection.execute(&text, values).map_err(|error| self.lacking(error, right))
    }

    /// All rows of a query that gives a few.
    fn query(&self, text: &str) -> HostResult<Vec<Found>> {
        let rows = self.connection.query(text, []).and_then(Iterator::collect);
        rows.map_err(|error| self.lacking(error, "SELECT"))
    }

    /// Says which right is missing, where one is.
    fn lacking(&self, error: HostError, right: &str) -> HostError {
        match error {
            HostError::Unavailable(why) if is_forbidden(&why) => {
                let table = &self.table.table;
                // Without a right on it MariaDB does not even say that a table is missing.
                let missing = match right {
                    "SELECT" if self.connection.dialect() == Dialect::Mariadb => ", or there is no such table",
                    _ => "",
                };
                HostError::Unavailable(format!(
                    "{why}; the account lacks the right {right}{missing}: GRANT SELECT, UPDATE, DELETE ON {table} TO the account, \
                     as docs/relay.md says"
                ))
            }
            other => other,
        }
    }

    /// The table as its database writes names.
    fn name(&self) -> String {
        let quote = if self.connection.dialect() == Dialect::Mariadb { '`' } else { '"' };
        let parts: Vec<String> = self.table.table.split('.').map(|part| format!("{quote}{part}{quote}")).collect();
        parts.join(".")
    }

    /// The placeholder of the only value.
    fn place(&self) -> &'static str {
        match self.connection.dialect() {
            Dialect::Postgresql => "$1",
            Dialect::Sqlite | Dialect::Mariadb => "?",
        }
    }

    /// Seconds since 1970.
    fn now(&self) -> &'static str {
        match self.connection.dialect() {
            Dialect::Sqlite => "unixepoch()",
            Dialect::Postgresql => "CAST(extract(epoch FROM clock_timestamp()) AS bigint)",
            Dialect::Mariadb => "unix_timestamp()",
        }
    }
}

/// Refused rows that are named.
pub(crate) const SHOWN: usize = 5;

/// Longest reason that is written into a row, in bytes.
const LONGEST_REASON: usize = 500;

/// The column that says when a row was made, in tables that have it.
const CREATED: &str = "created_at";

/// Bytes of a row in SQLite, which tells them without reading it.
const LENGTH: &str = "(coalesce(octet_length(message), 0) + coalesce(octet_length(idempotency_key), 0))";

/// Whether the server says that the account may not, in the words of PostgreSQL and of MariaDB.
pub(crate) fn is_forbidden(why: &str) -> bool {
    why.contains("permission denied") || why.contains("command denied")
}

fn behind(after: Option<i64>) -> String {
    after.map_or_else(String::new, |after| format!(" AND id > {after}"))
}

fn id(row: &Found) -> HostResult<i64> {
    row.get("id").map_err(|_| HostError::Invalid("`id` holds something else than whole numbers".to_owned()))
}

fn bytes(row: &Found, column: &str) -> HostResult<u64> {
    Ok(row.get::<i64>(column)?.unsigned_abs())
}
