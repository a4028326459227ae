//! The rows of a table of messages: claimed, then removed once the outbox has them, or marked with what is wrong with them.
//!
//! A claim is a name and a time in the row, committed before anything is done with it: of several servers that take from one table,
//! one has the row. Rows that another transaction has locked are passed over, so nobody waits for anybody. The time is that of the
//! database, since the clocks of servers differ.

use upkeep_plugin::HostResult;
use upkeep_plugin::sql::{Connection, Dialect, Value};

use crate::config::Table;

/// A table of messages in its database.
pub(crate) struct Rows<'a> {
    connection: Connection,
    table: &'a Table,
    /// Under which name rows are claimed.
    owner: &'a str,
}

/// A claimed row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// What [`message`](crate::message) reads.
    pub(crate) message: String,
    /// The application's own idempotency key.
    pub(crate) key: Option<String>,
}

impl<'a> Rows<'a> {
    pub(crate) fn open(table: &'a Table, owner: &'a str) -> HostResult<Self> {
        Ok(Self { connection: Connection::open(&table.database)?, table, owner })
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
        let rows = self.connection.query(&text, [])?;
        let first =
            rows.map(|row| row.and_then(|row| Ok((row.get("id")?, row.get("refused")?)))).collect::<HostResult<_>>()?;
        Ok((count, first))
    }

    fn count(&self, which: &str) -> HostResult<i64> {
        let text = format!("SELECT count(*) AS count FROM {} WHERE {which}", self.name());
        let row = self.connection.query(&text, [])?.next();
        row.map_or(Ok(0), |row| row?.get("count"))
    }

    /// The next rows, the oldest first, which are nobody else's until the lease ends. Those of this owner come again.
    pub(crate) fn claim(&self) -> HostResult<Vec<Row>> {
        let (table, now) = (self.name(), self.now());
        let free = |owner| {
            format!("refused IS NULL AND (claimed_by IS NULL OR claimed_by = {owner} OR claimed_until < {now})")
        };
        let (batch, until) = (self.table.batch, format!("{now} + {}", self.table.lease.0 / 1000));
        let claim = match self.connection.dialect() {
            Dialect::Sqlite => format!(
                "UPDATE {table} SET claimed_by = ?1, claimed_until = {until} \
                 WHERE id IN (SELECT id FROM {table} WHERE {} ORDER BY id LIMIT {batch})",
                free("?1")
            ),
            Dialect::Postgresql => format!(
                "UPDATE {table} SET claimed_by = $1, claimed_until = {until} \
                 WHERE id IN (SELECT id FROM {table} WHERE {} ORDER BY id LIMIT {batch} FOR UPDATE SKIP LOCKED)",
                free("$1")
            ),
            Dialect::Mariadb => format!(
                "UPDATE {} SET it.claimed_by = ?, it.claimed_until = {until}",
                self.unlocked(&format!("{} ORDER BY id LIMIT {batch}", free("?")))
            ),
        };
        let owners = if self.connection.dialect() == Dialect::Mariadb { 2 } else { 1 };
        self.connection.execute(&claim, vec![Value::from(self.owner); owners])?;
        let text = format!(
            "SELECT id, message, idempotency_key FROM {table} WHERE claimed_by = {} AND refused IS NULL ORDER BY id",
            self.place(1)
        );
        let rows = self.connection.query(&text, [Value::from(self.owner)])?;
        rows.map(|row| {
            let row = row?;
            Ok(Row { id: row.get("id")?, message: row.get("message")?, key: row.get("idempotency_key")? })
        })
        .collect()
    }

    /// Removes rows that the outbox has.
    pub(crate) fn done(&self, ids: &[i64]) -> HostResult<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        // A row whose lease was over may be another server's by now; it removes it.
        let (table, ids, owner) = (self.name(), list(ids), self.place(1));
        let own = format!("id IN ({ids}) AND claimed_by = {owner}");
        let text = match self.connection.dialect() {
            Dialect::Mariadb => format!("DELETE it FROM {}", self.unlocked(&own)),
            Dialect::Sqlite | Dialect::Postgresql => format!("DELETE FROM {table} WHERE {own}"),
        };
        self.connection.execute(&text, [Value::from(self.owner)])
    }

    /// Marks a row that is no message: it is passed over until somebody sets `refused` to NULL.
    pub(crate) fn refuse(&self, id: i64, why: &str) -> HostResult<u64> {
        let text = format!(
            "UPDATE {} SET refused = {}, claimed_by = NULL, claimed_until = NULL WHERE id = {id} AND claimed_by = {}",
            self.name(),
            self.place(1),
            self.place(2)
        );
        self.connection.execute(&text, [Value::from(why), Value::from(self.owner)])
    }

    /// Gives back what this owner has claimed.
    pub(crate) fn release(&self) -> HostResult<u64> {
        let (table, own) = (self.name(), format!("claimed_by = {}", self.place(1)));
        let text = match self.connection.dialect() {
            Dialect::Mariadb => {
                format!("UPDATE {} SET it.claimed_by = NULL, it.claimed_until = NULL", self.unlocked(&own))
            }
            Dialect::Sqlite | Dialect::Postgresql => {
                format!("UPDATE {table} SET claimed_by = NULL, claimed_until = NULL WHERE {own}")
            }
        };
        self.connection.execute(&text, [Value::from(self.owner)])
    }

    /// Those rows of MariaDB that nobody has locked, as `it`. A change waits for each locked row that it looks at, and would look at
    /// all of a small table: so the rows are chosen first, and then found by their keys.
    fn unlocked(&self, which: &str) -> String {
        let table = self.name();
        format!(
            "(SELECT id FROM {table} WHERE {which} FOR UPDATE SKIP LOCKED) AS own STRAIGHT_JOIN {table} AS it ON it.id = own.id"
        )
    }

    /// The table as its database writes names.
    fn name(&self) -> String {
        let quote = if self.connection.dialect() == Dialect::Mariadb { '`' } else { '"' };
        let parts: Vec<String> = self.table.table.split('.').map(|part| format!("{quote}{part}{quote}")).collect();
        parts.join(".")
    }

    /// The placeholder of a value.
    fn place(&self, number: u32) -> String {
        match self.connection.dialect() {
            Dialect::Postgresql => format!("${number}"),
            Dialect::Sqlite | Dialect::Mariadb => "?".to_owned(),
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
const SHOWN: usize = 5;

fn list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    ids.join(", ")
}
