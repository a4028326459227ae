//! MariaDB, and MySQL as far as its programs agree: mariadb-dump for each database, and for the accounts.
//!
//! A dump is SQL, as there is nothing else that both understand; `mariadb < app.sql` makes the database anew. Its INSERT
//! statements are kept short (16 KiB): where rows are packed into statements of a megabyte, as is the default, one row
//! more shifts the bounds of all statements behind it, and the repository would find nothing that it has already. Short
//! ones fall into step again.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::dump::ServerGrant;
use crate::config::secret::SecretValue;
use crate::database::process::{Account, Tool};
use crate::database::restore::{RestoreCommand, RestoreStep};
use crate::database::scratch::{Daemon, ForeignKeys, Loaded, Place, Rows, ScratchOptions, Server};
use crate::database::tools::{CLIENT, DUMP, MARIADB};
use crate::database::{DatabaseError, Dump, End, Engine, Part, folder, names};

/// How the file of a database ends.
const SUFFIX: &str = ".sql";

/// How to reach a server.
#[derive(Debug, Clone)]
struct Reach {
    tools: Option<PathBuf>,
    arguments: Vec<String>,
    secret: Option<SecretValue>,
    account: Option<Account>,
}

impl Reach {
    fn of(name: &str, server: &ServerGrant) -> Result<Self, DatabaseError> {
        let secret = server.password.as_ref().map(|secret| secret.read()).transpose();
        let secret = secret.map_err(|source| DatabaseError::Secret { name: name.to_owned(), source })?;
        let mut arguments = Vec::new();
        match &server.host {
            Some(host) => arguments.extend([format!("--host={host}"), "--protocol=TCP".to_owned()]),
            None => {
                let socket = server.socket.as_deref().unwrap_or(Path::new(MARIADB.socket));
                arguments.push(format!("--socket={}", socket.display()));
            }
        }
        arguments.extend(server.port.map(|port| format!("--port={port}")));
        arguments.extend(server.user.as_ref().map(|user| format!("--user={user}")));
        Ok(Self { tools: server.tools.clone(), arguments, secret, account: None })
    }

    /// A program that connects. Nobody's option files count but the one with the password, which exists in memory alone.
    fn tool(&self, names: &[&'static str]) -> Result<Tool, DatabaseError> {
        let tool = Tool::new(&MARIADB.client(self.tools.as_deref(), names)?).account(self.account);
        let tool = match &self.secret {
            None => tool.arg("--no-defaults"),
            Some(secret) => {
                let escaped = secret.reveal().replace('\\', r"\\").replace('"', "\\\"");
                let file = format!("[client]\npassword=\"{escaped}\"\n");
                tool.arg("--defaults-file=/dev/stdin").memory(file.into_bytes()).hiding(Some(secret.clone()))
            }
        };
        Ok(tool.args(&self.arguments).arg("--default-character-set=utf8mb4"))
    }

    /// Runs one of our own statements.
    fn ask(&self, statement: &str, cancel: &CancellationToken) -> Result<Rows, DatabaseError> {
        let tool = self.tool(CLIENT)?.arg("--batch").arg(format!("--execute={statement}"));
        Ok(rows(&tool.output(cancel)?))
    }

    fn values(&self, statement: &str, cancel: &CancellationToken) -> Result<Vec<String>, DatabaseError> {
        let rows = self.ask(statement, cancel)?.rows;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }
}

/// What `--batch` writes: a line for each row, tabs between values, and both escaped within values. A text `NULL` cannot
/// be told from none.
fn rows(output: &[u8]) -> Rows {
    let output = String::from_utf8_lossy(output);
    let mut lines = output.lines();
    let fields = |line: &str| line.split('\t').map(unescaped).collect::<Vec<_>>();
    let columns = lines.next().map(fields).unwrap_or_default();
    let value = |field: &str| (field != "NULL").then(|| unescaped(field));
    Rows { rows: lines.map(|line| line.split('\t').map(value).collect()).collect(), columns }
}

fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            letter => letter,
        });
    }
    text
}

/// A name in SQL.
fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

pub(super) fn databases(
    name: &str,
    server: &ServerGrant,
    cancel: &CancellationToken,
) -> Result<Vec<String>, DatabaseError> {
    all(&Reach::of(name, server)?, cancel)
}

fn all(reach: &Reach, cancel: &CancellationToken) -> Result<Vec<String>, DatabaseError> {
    let mut databases = reach.values("SHOW DATABASES", cancel)?;
    databases.retain(|database| !MARIADB.own.contains(&database.as_str()));
    databases.sort();
    Ok(databases)
}

/// What is dumped of a database, and how.
const SETTINGS: &[&str] = &[
    "--single-transaction",
    "--quick",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--no-tablespaces",
    "--skip-dump-date",
    "--max-allowed-packet=1G",
    "--net-buffer-length=16384",
];

/// The last line of a dump that is complete.
const END: &[u8] = b"-- Dump completed";

pub(super) fn dump(name: &str, server: &ServerGrant, cancel: &CancellationToken) -> Result<Dump, DatabaseError> {
    let reach = Reach::of(name, server)?;
    let there = all(&reach, cancel)?;
    let chosen = server.databases.clone().unwrap_or_else(|| there.clone());
    if let Some(gone) = chosen.iter().find(|database| !there.contains(database)) {
        let has = there.join(", ");
        return Err(DatabaseError::Missing(format!(
            "the server has no database `{gone}` that the account may see; it sees: {has}. Restore it, grant it, or correct \
             `databases` of `grant.dump.{name}`"
        )));
    }
    let tables = "SELECT table_schema, COUNT(*) FROM information_schema.tables WHERE table_type <> 'VIEW' GROUP BY 1";
    let tables: BTreeMap<String, String> = reach
        .ask(tables, cancel)?
        .rows
        .into_iter()
        .filter_map(|row| Some((row.first()?.clone()?, row.get(1)?.clone()?)))
        .collect();
    let empty = chosen.iter().filter(|database| !tables.contains_key(*database)).cloned().collect();
    let mut parts = Vec::new();
    if server.globals {
        check_globals(name, &reach, cancel)?;
        let settings = ["--system=users", "--insert-ignore", "--skip-dump-date"];
        let tool = reach.tool(DUMP)?.args(settings);
        parts.push(Part { file: names::GLOBALS.to_owned(), database: None, tool, end: End::Text(END) });
    }
    for database in chosen {
        let tool = reach.tool(DUMP)?.args(SETTINGS).args(["--databases", "--", &database]);
        let file = names::file(&database, SUFFIX);
        parts.push(Part { file, database: Some(database), tool, end: End::Text(END) });
    }
    Ok(Dump { engine: Engine::Mariadb, folder: folder(name), parts, empty })
}

/// Whether the accounts can be dumped; what stands in the way, with the remedy.
fn check_globals(name: &str, reach: &Reach, cancel: &CancellationToken) -> Result<(), DatabaseError> {
    let version = reach.values("SELECT VERSION()", cancel)?.concat();
    if !version.contains("MariaDB") {
        return Err(DatabaseError::Invalid(format!(
            "the accounts of MySQL ({version}) cannot be dumped, only those of MariaDB; write `globals = false` in \
             `grant.dump.{name}.mariadb`, and keep the lines of SHOW CREATE USER and SHOW GRANTS elsewhere"
        )));
    }
    match reach.ask("SELECT 1 FROM mysql.global_priv LIMIT 0", cancel) {
        Err(DatabaseError::Failed { said, .. }) if said.contains("denied") => Err(DatabaseError::Invalid(format!(
            "the account may not read the server's accounts ({said}); run `GRANT SELECT ON mysql.* TO` it, or write \
             `globals = false` in `grant.dump.{name}.mariadb`"
        ))),
        other => other.map(drop),
    }
}

pub(super) fn restore_steps(
    name: &str,
    server: &ServerGrant,
    files: &[String],
) -> Result<Vec<RestoreStep>, DatabaseError> {
    let reach = Reach::of(name, server)?;
    let program = MARIADB.client(reach.tools.as_deref(), CLIENT)?;
    let mut steps = Vec::new();
    let command = |title: String, file: &str, more: &[&str]| {
        let settings = ["--no-defaults", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"];
        let arguments = settings.iter().copied().chain(reach.arguments.iter().map(String::as_str));
        RestoreStep::Run(RestoreCommand {
            file: file.to_owned(),
            title,
            forgiving: file == names::GLOBALS,
            program: program.clone(),
            arguments: arguments.chain(more.iter().copied()).map(Into::into).collect(),
            secret: reach.secret.clone().map(|secret| ("MYSQL_PWD", secret)),
        })
    };
    if files.iter().any(|file| file == names::GLOBALS) {
        steps.push(command("make the accounts that are missing".to_owned(), names::GLOBALS, &["--force"]));
    }
    for file in files.iter().filter(|file| *file != names::GLOBALS) {
        let database = names::database(file, SUFFIX);
        let database = database.ok_or_else(|| DatabaseError::Invalid(format!("`{file}` is no dump of MariaDB")))?;
        steps.push(command(format!("load the database {database}"), file, &[]));
    }
    Ok(steps)
}

/// Who owns the scratch server. No account of a dump has this name.
const OWNER: &str = "upkeep_scratch";

/// Who asks: may read everything, and no file.
const READER: &str = "upkeep_scratch_reader";

/// A scratch server.
#[derive(Debug)]
pub(super) struct Instance {
    // Before its folder goes.
    _daemon: Daemon,
    place: Place,
    owner: Reach,
    reader: Reach,
    cancel: CancellationToken,
}

/// As fast as can be, and safe against nothing.
const SCRATCH: &[&str] = &[
    "--skip-networking",
    "--skip-log-bin",
    "--event-scheduler=OFF",
    "--local-infile=0",
    "--character-set-server=utf8mb4",
    "--max-allowed-packet=1G",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=256M",
    "--innodb-log-file-size=256M",
    "--aria-pagecache-buffer-size=16M",
    "--key-buffer-size=16M",
    "--performance-schema=OFF",
];

impl Instance {
    pub(super) fn start(options: &ScratchOptions) -> Result<Self, DatabaseError> {
        let tools = options.tools.as_deref();
        let install = MARIADB.server(tools, &["mariadb-install-db", "mysql_install_db"])?;
        let server = MARIADB.server(tools, &["mariadbd", "mysqld"])?;
        let place = Place::new(&options.parent, &["mysql", "nobody"], "socket")?;
        let data = format!("--datadir={}", place.path("data").display());
        let cancel = options.cancel.clone();
        let settings = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"];
        let install = Tool::new(&install).args(settings).arg(&data);
        install.env("TMPDIR", place.root()).account(place.account).output(&cancel)?;
        let socket = place.path("socket");
        let reach = |user: &str| Reach {
            tools: options.tools.clone(),
            arguments: vec![format!("--socket={}", socket.display()), format!("--user={user}")],
            secret: None,
            account: place.account,
        };
        let (root, owner, reader) = (reach("root"), reach(OWNER), reach(READER));
        let tool = Tool::new(&server).arg("--no-defaults").arg(&data).args(SCRATCH);
        let tool =
            tool.arg(format!("--socket={}", socket.display())).arg(format!("--tmpdir={}", place.root().display()));
        let tool = tool.arg(format!("--pid-file={}", place.path("pid").display())).account(place.account);
        let answers = || socket.exists() && root.ask("SELECT 1", &cancel).is_ok();
        let daemon = Daemon::start(tool, Signal::KILL, &cancel, answers)?;
        let make = format!(
            "CREATE USER {OWNER}@localhost; GRANT ALL ON *.* TO {OWNER}@localhost WITH GRANT OPTION;
             GRANT PROXY ON ''@'%' TO {OWNER}@localhost WITH GRANT OPTION;
             CREATE USER {READER}@localhost; GRANT SELECT, SHOW VIEW, SHOW DATABASES, EXECUTE ON *.* TO {READER}@localhost"
        );
        root.ask(&make, &cancel)?;
        Ok(Self { _daemon: daemon, place, owner, reader, cancel })
    }

    fn ask(&self, database: &str, statement: &str) -> Result<Vec<Vec<String>>, DatabaseError> {
        let rows = self.owner.ask(&format!("USE {}; {statement}", quoted(database)), &self.cancel)?.rows;
        Ok(rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()).collect())
    }
}

impl Server for Instance {
    fn load(&mut self, file: &str, content: &mut dyn Read) -> Result<Loaded, DatabaseError> {
        let client = self.owner.tool(CLIENT)?.args(["--binary-mode", "--max-allowed-packet=1G"]);
        if file == names::GLOBALS {
            let said = client.arg("--force").feed_heard(content, &self.cancel);
            let said = match said {
                // That is how it ends after an error that it was to pass over.
                Err(DatabaseError::Failed { said, .. }) if said.contains("ERROR") => said,
                said => said?,
            };
            let remarks = said.lines().filter(|line| line.starts_with("ERROR")).map(str::to_owned).collect();
            return Ok(Loaded { database: None, remarks });
        }
        let database = names::database(file, SUFFIX);
        let database = database.ok_or_else(|| DatabaseError::Invalid(format!("`{file}` is no dump of MariaDB")))?;
        client.feed(content, &self.cancel)?;
        if !self.databases()?.contains(&database) {
            return Err(DatabaseError::Invalid(format!("`{file}` made no database `{database}`")));
        }
        Ok(Loaded { database: Some(database), remarks: Vec::new() })
    }

    fn databases(&self) -> Result<Vec<String>, DatabaseError> {
        all(&self.owner, &self.cancel)
    }

    fn query(&self, database: &str, statement: &str) -> Result<Rows, DatabaseError> {
        // On its input and not as an argument, since then it takes no commands that start programs or read files.
        let client = self.reader.tool(CLIENT)?.args(["--batch", "--binary-mode", "--local-infile=0"]);
        let client = client.arg(format!("--database={database}")).memory(statement.as_bytes().to_vec());
        Ok(rows(&client.output(&self.cancel)?))
    }

    fn foreign_keys(&self, database: &str) -> Result<ForeignKeys, DatabaseError> {
        let columns = "SELECT table_name, constraint_name, column_name, referenced_table_schema, referenced_table_name,
            referenced_column_name FROM information_schema.key_column_usage WHERE table_schema = DATABASE()
            AND referenced_table_name IS NOT NULL ORDER BY table_name, constraint_name, ordinal_position";
        let mut keys: BTreeMap<(String, String), Vec<[String; 4]>> = BTreeMap::new();
        for row in self.ask(database, columns)? {
            if let Ok([table, key, column, schema, parent, referenced]) = <[String; 6]>::try_from(row) {
                keys.entry((table, key)).or_default().push([column, schema, parent, referenced]);
            }
        }
        let mut found = ForeignKeys {
            checked: keys.len() as u64,
            broken: Vec::new(),
            how: "each foreign key was looked up, since MariaDB does not check them while a dump is loaded",
        };
        for ((table, key), columns) in &keys {
            let Some([_, schema, parent, first]) = columns.first() else { continue };
            let on = columns.iter().map(|[column, _, _, other]| format!("c.{} = p.{}", quoted(column), quoted(other)));
            let set = columns.iter().map(|[column, ..]| format!("c.{} IS NOT NULL", quoted(column)));
            let count = format!(
                "SELECT COUNT(*) FROM {} AS c LEFT JOIN {}.{} AS p ON {} WHERE {} AND p.{} IS NULL",
                quoted(table),
                quoted(schema),
                quoted(parent),
                on.collect::<Vec<_>>().join(" AND "),
                set.collect::<Vec<_>>().join(" AND "),
                quoted(first)
            );
            let lost = self.ask(database, &count)?.concat().concat();
            if lost != "0" {
                found
                    .broken
                    .push(format!("{lost} rows of `{table}` refer to rows of `{parent}` that are not there (`{key}`)"));
            }
        }
        Ok(found)
    }

    fn folder(&self) -> &Path {
        self.place.root()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back_as_they_were() {
        let read = rows(b"a\tb c\n1\tx\\ty\\nz\\\\ \\0\nNULL\t\n");
        assert_eq!(read.columns, ["a", "b c"]);
        assert_eq!(read.rows[0], [Some("1".to_owned()), Some("x\ty\nz\\ \0".to_owned())]);
        assert_eq!(read.rows[1], [None, Some(String::new())]);
        assert_eq!(rows(b""), Rows::default());
    }
}
