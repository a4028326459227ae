//! PostgreSQL: pg_dump for each database, pg_dumpall for the roles.
//!
//! The format is pg_dump's own (`--format=custom`) without its compression. Without it, since equal rows then give equal
//! bytes, of which the repository keeps one copy and compresses that; its own, since pg_restore can take single tables out
//! of it, leave owners out, or write it as SQL (`pg_restore --file=-`), and notices when the end is missing.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::dump::ServerGrant;
use crate::config::secret::SecretValue;
use crate::database::process::Tool;
use crate::database::restore::{RestoreCommand, RestoreStep};
use crate::database::scratch::{Daemon, ForeignKeys, Loaded, Place, Rows, ScratchOptions, Server};
use crate::database::tools::POSTGRESQL;
use crate::database::{DatabaseError, Dump, End, Engine, Part, folder, names};

/// How the file of a database ends.
const SUFFIX: &str = ".pgdump";

/// What psql writes between rows, and for NULL: nothing that anybody stores.
const ROW: &str = "\u{1e}upkeep-row\u{1e}\n";
const NULL: &str = "\u{1d}upkeep-null\u{1d}";

/// How to reach a server.
#[derive(Debug, Clone)]
struct Reach {
    tools: Option<PathBuf>,
    arguments: Vec<String>,
    secret: Option<SecretValue>,
    account: Option<crate::database::process::Account>,
}

impl Reach {
    fn of(name: &str, server: &ServerGrant) -> Result<Self, DatabaseError> {
        let secret = server.password.as_ref().map(|secret| secret.read()).transpose();
        let secret = secret.map_err(|source| DatabaseError::Secret { name: name.to_owned(), source })?;
        let socket = server.socket.as_ref().map(|socket| socket.display().to_string());
        let host = server.host.clone().or(socket).unwrap_or_else(|| POSTGRESQL.socket.to_owned());
        let mut arguments = vec![format!("--host={host}"), "--no-password".to_owned()];
        arguments.extend(server.port.map(|port| format!("--port={port}")));
        arguments.extend(server.user.as_ref().map(|user| format!("--username={user}")));
        Ok(Self { tools: server.tools.clone(), arguments, secret, account: None })
    }

    fn find(&self, program: &'static str) -> Result<PathBuf, DatabaseError> {
        Ok(POSTGRESQL.client(self.tools.as_deref(), &[program])?)
    }

    /// A program that connects. Its password is in a file that exists in memory alone: libpq reads it as `/dev/stdin`.
    fn tool(&self, program: &'static str) -> Result<Tool, DatabaseError> {
        let mut tool = Tool::new(&self.find(program)?).args(&self.arguments).account(self.account);
        if let Some(secret) = &self.secret {
            let escaped = secret.reveal().replace('\\', r"\\").replace(':', r"\:");
            let line = format!("*:*:*:*:{escaped}\n");
            tool = tool.memory(line.into_bytes()).env("PGPASSFILE", "/dev/stdin").hiding(Some(secret.clone()));
        }
        Ok(tool.env("PGCONNECT_TIMEOUT", "30").env("PGAPPNAME", "upkeep"))
    }

    fn psql(&self, database: &str) -> Result<Tool, DatabaseError> {
        let psql = self.tool("psql")?.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
        Ok(psql.arg(format!("--dbname={}", conninfo(database))))
    }

    fn query(&self, database: &str, statement: &str, cancel: &CancellationToken) -> Result<Rows, DatabaseError> {
        // psql would take this as a command to itself, and some of those start programs.
        if statement.trim_start().starts_with('\\') {
            return Err(DatabaseError::Invalid("a statement of SQL does not begin with a backslash".to_owned()));
        }
        let shape = ["--no-align", "--field-separator-zero", "--pset=footer=off"];
        let psql = self.psql(database)?.args(shape);
        let psql = psql.arg(format!("--record-separator={ROW}")).arg(format!("--pset=null={NULL}"));
        let output = psql.arg("--command").arg(statement.trim_start()).output(cancel)?;
        Ok(rows(&String::from_utf8_lossy(&output)))
    }

    fn values(
        &self,
        database: &str,
        statement: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, DatabaseError> {
        let rows = self.query(database, statement, cancel)?.rows;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }
}

/// The database as libpq takes it: a name with an equals sign would be read as something else.
fn conninfo(database: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !database.is_empty() && database.chars().all(is_plain) {
        return database.to_owned();
    }
    format!("dbname='{}'", database.replace('\\', r"\\").replace('\'', r"\'"))
}

fn rows(output: &str) -> Rows {
    let mut lines = output.strip_suffix(ROW).or_else(|| output.strip_suffix('\n')).unwrap_or(output).split(ROW);
    let fields = |line: &str| line.split('\0').map(str::to_owned).collect::<Vec<_>>();
    let columns = lines.next().filter(|line| !line.is_empty()).map(fields).unwrap_or_default();
    let value = |field: String| (field != NULL).then_some(field);
    let rows = lines.map(|line| fields(line).into_iter().map(value).collect());
    Rows { rows: rows.collect(), columns }
}

/// The databases that are there, without the templates.
pub(super) fn databases(
    name: &str,
    server: &ServerGrant,
    cancel: &CancellationToken,
) -> Result<Vec<String>, DatabaseError> {
    all(&Reach::of(name, server)?, entry(server), cancel)
}

fn all(reach: &Reach, entry: &str, cancel: &CancellationToken) -> Result<Vec<String>, DatabaseError> {
    reach.values(entry, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1", cancel)
}

/// The database in which questions about the server are asked: an account may be kept out of the others.
fn entry(server: &ServerGrant) -> &str {
    server.databases.iter().flatten().next().map_or("postgres", String::as_str)
}

/// Tables of the user.
const TABLES: &str = "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'";

pub(super) fn dump(name: &str, server: &ServerGrant, cancel: &CancellationToken) -> Result<Dump, DatabaseError> {
    let reach = Reach::of(name, server)?;
    check_versions(&reach, entry(server), cancel)?;
    let there = all(&reach, entry(server), cancel)?;
    let chosen = server.databases.clone().unwrap_or_else(|| there.clone());
    if let Some(gone) = chosen.iter().find(|database| !there.contains(database)) {
        let has = there.join(", ");
        return Err(DatabaseError::Missing(format!(
            "the server has no database `{gone}`; it has: {has}. Restore it, or correct `databases` of `grant.dump.{name}`"
        )));
    }
    let mut parts = Vec::new();
    let mut empty = Vec::new();
    if server.globals {
        let may_read_passwords = "SELECT has_table_privilege('pg_authid', 'SELECT')";
        let with_passwords = reach.values(entry(server), may_read_passwords, cancel)?.concat() == "t";
        let mut tool = reach.tool("pg_dumpall")?.arg("--globals-only").arg(format!("--database={}", entry(server)));
        if !with_passwords {
            tool = tool.arg("--no-role-passwords");
        }
        parts.push(Part { file: names::GLOBALS.to_owned(), database: None, tool, end: End::Status });
    }
    for database in chosen {
        let tables = reach.values(&database, TABLES, cancel)?.concat();
        // Every server has a database `postgres`, and mostly nothing is in it.
        if tables == "0" && (server.databases.is_some() || database != "postgres") {
            empty.push(database.clone());
        }
        let dump = ["--format=custom", "--compress=0", "--lock-wait-timeout=300000"];
        let tool = reach.tool("pg_dump")?.args(dump).arg(format!("--dbname={}", conninfo(&database)));
        let file = names::file(&database, SUFFIX);
        parts.push(Part { file, database: Some(database), tool, end: End::Status });
    }
    Ok(Dump { engine: Engine::Postgresql, folder: folder(name), parts, empty })
}

/// pg_dump refuses servers that are newer than itself, and says so without a remedy.
fn check_versions(reach: &Reach, entry: &str, cancel: &CancellationToken) -> Result<(), DatabaseError> {
    let server = reach.values(entry, "SELECT current_setting('server_version_num')::int / 10000", cancel)?.concat();
    let program = reach.find("pg_dump")?;
    let said = Tool::new(&program).arg("--version").output(cancel)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    match (server.parse::<u32>(), version(&said)) {
        (Ok(server), Some(version)) if server > version => Err(DatabaseError::Invalid(format!(
            "the server is PostgreSQL {server}, and {} is of version {version}, which cannot dump it; apt-get install \
             postgresql-client-{server} (see https://wiki.postgresql.org/wiki/Apt), or name the folder of a newer one as `tools`",
            program.display()
        ))),
        _ => Ok(()),
    }
}

/// The version in `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or in one that is not released yet (`17beta1`).
fn version(said: &str) -> Option<u32> {
    said.split_whitespace().find_map(|word| word.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok())
}

pub(super) fn restore_steps(
    name: &str,
    server: &ServerGrant,
    files: &[String],
    replace: bool,
) -> Result<Vec<RestoreStep>, DatabaseError> {
    let reach = Reach::of(name, server)?;
    let secret = reach.secret.clone().map(|secret| ("PGPASSWORD", secret));
    let mut steps = Vec::new();
    let command = |program, title: String, file: &str, more: Vec<String>| {
        let arguments = reach.arguments.iter().cloned().chain(more).map(Into::into).collect();
        Ok::<_, DatabaseError>(RestoreStep::Run(RestoreCommand {
            file: file.to_owned(),
            title,
            forgiving: file == names::GLOBALS,
            program: reach.find(program)?,
            arguments,
            secret: secret.clone(),
        }))
    };
    if files.iter().any(|file| file == names::GLOBALS) {
        let more = ["--no-psqlrc", "--quiet", "--dbname=postgres"].map(str::to_owned).to_vec();
        steps.push(command("psql", "make the roles that are missing".to_owned(), names::GLOBALS, more)?);
    }
    for file in files.iter().filter(|file| *file != names::GLOBALS) {
        let database = names::database(file, SUFFIX);
        let database = database.ok_or_else(|| DatabaseError::Invalid(format!("`{file}` is no dump of PostgreSQL")))?;
        // The database of this name is there from the start, and nobody can drop it while connected to it.
        let create: &[&str] = if database == "postgres" { &[] } else { &["--create"] };
        let mut more: Vec<_> =
            create.iter().chain(&["--exit-on-error", "--dbname=postgres"]).map(|it| (*it).to_owned()).collect();
        if replace {
            more.extend(["--clean", "--if-exists"].map(str::to_owned));
        }
        steps.push(command("pg_restore", format!("load the database {database}"), file, more)?);
    }
    Ok(steps)
}

/// Who owns the scratch server. No role of a dump has this name.
const OWNER: &str = "upkeep_scratch";

/// Who asks: may read everything, and run nothing in the server's name.
const READER: &str = "upkeep_scratch_reader";

/// A scratch server.
#[derive(Debug)]
pub(super) struct Cluster {
    // Before its folder goes.
    _daemon: Daemon,
    place: Place,
    owner: Reach,
    reader: Reach,
    cancel: CancellationToken,
}

impl Cluster {
    pub(super) fn start(options: &ScratchOptions) -> Result<Self, DatabaseError> {
        let tools = options.tools.as_deref();
        let (initdb, postgres) = (POSTGRESQL.server(tools, &["initdb"])?, POSTGRESQL.server(tools, &["postgres"])?);
        let place = Place::new(&options.parent, &["postgres", "nobody"], ".s.PGSQL.5432")?;
        let data = place.path("data");
        let cancel = options.cancel.clone();
        let settings = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"];
        let init = Tool::new(&initdb).args(settings).arg(format!("--username={OWNER}")).arg("-D").arg(&data);
        init.account(place.account).output(&cancel)?;
        let reach = |user: &str| Reach {
            tools: options.tools.clone(),
            arguments: vec![
                format!("--host={}", place.root().display()),
                "--no-password".to_owned(),
                format!("--username={user}"),
            ],
            secret: None,
            account: place.account,
        };
        let (owner, reader) = (reach(OWNER), reach(READER));
        let server = Tool::new(&postgres).arg("-D").arg(&data).args(SETTINGS).arg("-k").arg(place.root());
        let answers = || owner.query("postgres", "SELECT 1", &cancel).is_ok();
        let socket = place.path(".s.PGSQL.5432");
        let daemon =
            Daemon::start(server.account(place.account), Signal::QUIT, &cancel, || socket.exists() && answers())?;
        let make = format!("CREATE ROLE {READER} LOGIN; GRANT pg_read_all_data TO {READER}");
        owner.query("postgres", &make, &cancel)?;
        Ok(Self { _daemon: daemon, place, owner, reader, cancel })
    }
}

/// As fast as can be, and safe against nothing.
const SETTINGS: &[&str] = &[
    "-c",
    "listen_addresses=",
    "-c",
    "unix_socket_permissions=0700",
    "-c",
    "fsync=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "synchronous_commit=off",
    "-c",
    "wal_level=minimal",
    "-c",
    "max_wal_senders=0",
    "-c",
    "max_wal_size=1GB",
    "-c",
    "checkpoint_timeout=1d",
    "-c",
    "autovacuum=off",
    "-c",
    "shared_buffers=128MB",
    "-c",
    "maintenance_work_mem=128MB",
    "-c",
    "max_connections=20",
    "-c",
    "logging_collector=off",
];

impl Server for Cluster {
    fn load(&mut self, file: &str, content: &mut dyn Read) -> Result<Loaded, DatabaseError> {
        if file == names::GLOBALS {
            // Tablespaces of the other server have no folder here; all else has to be made.
            let psql = self.owner.psql("postgres")?.arg("--set=ON_ERROR_STOP=0").arg("--file=-");
            let said = psql.feed_heard(content, &self.cancel)?;
            let remarks = said.lines().filter(|line| line.contains("ERROR:")).map(str::to_owned).collect();
            return Ok(Loaded { database: None, remarks });
        }
        let database = names::database(file, SUFFIX);
        let database = database.ok_or_else(|| DatabaseError::Invalid(format!("`{file}` is no dump of PostgreSQL")))?;
        let settings = ["--exit-on-error", "--no-tablespaces"];
        let restore = self.owner.tool("pg_restore")?.args(settings);
        if database == "postgres" {
            // It is there from the start.
            restore.arg("--dbname=postgres").feed(content, &self.cancel)?;
        } else {
            restore.args(["--create", "--dbname=postgres"]).feed(content, &self.cancel)?;
        }
        Ok(Loaded { database: Some(database), remarks: Vec::new() })
    }

    fn databases(&self) -> Result<Vec<String>, DatabaseError> {
        all(&self.owner, "postgres", &self.cancel)
    }

    fn query(&self, database: &str, statement: &str) -> Result<Rows, DatabaseError> {
        self.reader.query(database, statement, &self.cancel)
    }

    fn foreign_keys(&self, database: &str) -> Result<ForeignKeys, DatabaseError> {
        // Those of partitions are made from their parent's.
        let count = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0";
        let checked = self.owner.values(database, count, &self.cancel)?.concat().parse().unwrap_or(0);
        let invalid =
            "SELECT conrelid::regclass || ': ' || conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated";
        let broken = self.owner.values(database, invalid, &self.cancel)?;
        let broken =
            broken.into_iter().map(|it| format!("{it} was never validated (NOT VALID in the database that was saved)"));
        Ok(ForeignKeys {
            checked,
            broken: broken.collect(),
            how: "PostgreSQL checked every row when it made the foreign keys, which is after the rows were loaded",
        })
    }

    fn folder(&self) -> &Path {
        self.place.root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (said, expected) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("pg_dump (PostgreSQL) 17beta1", Some(17)),
            ("pg_dump (PostgreSQL) 18devel", Some(18)),
            ("pg_dump", None),
        ] {
            assert_eq!(version(said), expected, "{said}");
        }
    }
}
