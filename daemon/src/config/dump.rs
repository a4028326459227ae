//! `[grant.dump.NAME]` of a task file: a database to dump, exactly one kind of it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::secret::Secret;

/// A database to dump; exactly one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "sqlite": "/srv/app/app.db" }]))]
pub enum DumpGrant {
    /// The SQLite database file; absolute.
    Sqlite(PathBuf),
    /// Databases of a PostgreSQL server, by pg_dump.
    Postgresql(ServerGrant),
    /// Databases of a MariaDB or MySQL server, by mariadb-dump or mysqldump.
    Mariadb(ServerGrant),
    /// A Redis (or Valkey) server, by redis-cli.
    Redis(RedisGrant),
}

/// A server with databases, and what of it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerGrant {
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
    /// The databases. Left out: all but those that belong to the server itself.
    pub databases: Option<Vec<String>>,
    /// Whether roles (accounts) and what they may do are saved too.
    pub globals: bool,
    /// The folder of the server's programs (`pg_dump`, `mariadb-dump`), where they are not in the usual places.
    pub tools: Option<PathBuf>,
}

impl Default for ServerGrant {
    fn default() -> Self {
        Self {
            host: None,
            port: None,
            socket: None,
            user: None,
            password: None,
            databases: None,
            globals: true,
            tools: None,
        }
    }
}

/// A Redis server; all of its databases are one dump.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisGrant {
    /// Name or address of the machine. Left out: this machine.
    pub host: Option<String>,
    /// The port, where it is not 6379.
    pub port: Option<u16>,
    /// The socket on this machine; absolute.
    pub socket: Option<PathBuf>,
    /// The user of an access control list. Left out: the default user.
    pub user: Option<String>,
    /// Where the password is.
    pub password: Option<Secret>,
    /// The folder of `redis-cli`, where it is not in the usual places.
    pub tools: Option<PathBuf>,
}

impl DumpGrant {
    /// The source of the password, with the key of the kind; none where there is no password.
    pub fn password(&self) -> Option<(&'static str, &Secret)> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgresql(server) => server.password.as_ref().map(|secret| ("postgresql", secret)),
            Self::Mariadb(server) => server.password.as_ref().map(|secret| ("mariadb", secret)),
            Self::Redis(server) => server.password.as_ref().map(|secret| ("redis", secret)),
        }
    }
}
