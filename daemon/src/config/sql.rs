//! `[grant.sql.NAME]` of a task file: a database whose rows a task works with, and how far that goes.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::percent::Percent;
use crate::config::removal::BackupRequirement;
use crate::config::secret::Secret;

/// The name of the database that belongs to the task alone.
pub const PRIVATE: &str = "private";

/// A database to query, to remove old rows from, to look after.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlGrant {
    /// The SQLite database file; absolute. Left out for `private`.
    pub sqlite: Option<PathBuf>,
    /// Or a database of a PostgreSQL server.
    pub postgresql: Option<SqlServer>,
    /// Or a database of a MariaDB or MySQL server.
    pub mariadb: Option<SqlServer>,
    /// Rights; reading by default.
    #[serde(default = "read_sql")]
    pub access: Vec<SqlAccess>,
    /// What the right `remove` reaches; it needs this table.
    pub removal: Option<RowRemoval>,
}

/// A right on a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SqlAccess {
    /// Query.
    Read,
    /// Change rows and tables.
    Write,
    /// Remove old rows of the tables that `removal` names, within its ceilings.
    Remove,
    /// Run `VACUUM`, `ANALYZE` and what is like them.
    Maintain,
}

/// One database of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlServer {
    /// The database.
    pub database: String,
    /// Name or address of the machine. Left out: this machine, by the socket.
    pub host: Option<String>,
    /// The port, where it is not the usual one.
    pub port: Option<u16>,
    /// The socket on this machine; absolute. PostgreSQL: the folder that it is in. Left out: Debian's place.
    pub socket: Option<PathBuf>,
    /// The account. Left out: the one that is named like the daemon's user.
    pub user: Option<String>,
    /// Where the password is. Left out: the server knows the account without one.
    pub password: Option<Secret>,
}

/// How many rows may go, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowRemoval {
    /// The tables that rows may go from; in PostgreSQL also `SCHEMA.NAME`. A table whose rows go along with them (`ON DELETE
    /// CASCADE`) has to be named too.
    pub tables: Vec<String>,
    /// Rows that may go from one table in one run at the most. Above it nothing goes.
    pub max_rows: Option<u64>,
    /// The largest share of a table that may go in one run: a column in another unit than was thought, or a clock that is wrong,
    /// makes everything old. Counts from 100 rows on. The first clean-up of a table that was never cleaned may need more.
    #[serde(default = "half")]
    pub max_share: Percent,
    /// The backup without which nothing goes.
    pub require_backup: Option<BackupRequirement>,
}

impl SqlGrant {
    /// The kinds that are given.
    pub fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("sqlite", self.sqlite.is_some()),
            ("postgresql", self.postgresql.is_some()),
            ("mariadb", self.mariadb.is_some()),
        ];
        kinds.into_iter().filter(|(_, given)| *given).map(|(kind, _)| kind).collect()
    }

    /// The source of the password, with the key of the kind; none where there is no password.
    pub fn password(&self) -> Option<(&'static str, &Secret)> {
        let servers = [("postgresql", &self.postgresql), ("mariadb", &self.mariadb)];
        servers.into_iter().find_map(|(kind, server)| Some((kind, server.as_ref()?.password.as_ref()?)))
    }
}

fn read_sql() -> Vec<SqlAccess> {
    vec![SqlAccess::Read]
}

fn half() -> Percent {
    Percent(50)
}
