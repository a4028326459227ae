//! Redis: redis-cli asks the server for what a replica would get, its snapshot (RDB) of one moment, and writes that out.
//!
//! The server forks for it, as for any snapshot of its own. All databases by number are in the one file.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::config::dump::RedisGrant;
use crate::config::secret::SecretValue;
use crate::database::process::{Account, Tool};
use crate::database::restore::RestoreStep;
use crate::database::scratch::{Daemon, ForeignKeys, Loaded, Place, Rows, ScratchOptions, Server};
use crate::database::tools::REDIS;
use crate::database::{DatabaseError, Dump, End, Engine, Part, folder};

/// The file of a dump.
pub const FILE: &str = "dump.rdb";

/// How to reach a server.
#[derive(Debug, Clone)]
struct Reach {
    tools: Option<PathBuf>,
    arguments: Vec<String>,
    secret: Option<SecretValue>,
    account: Option<Account>,
}

impl Reach {
    fn of(name: &str, grant: &RedisGrant) -> Result<Self, DatabaseError> {
        let secret = grant.password.as_ref().map(|secret| secret.read()).transpose();
        let secret = secret.map_err(|source| DatabaseError::Secret { name: name.to_owned(), source })?;
        let mut arguments = Vec::new();
        match (&grant.host, &grant.socket) {
            (None, Some(socket)) => arguments.extend(["-s".to_owned(), socket.display().to_string()]),
            (host, _) => arguments.extend(["-h".to_owned(), host.clone().unwrap_or_else(|| "127.0.0.1".to_owned())]),
        }
        arguments.extend(grant.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
        arguments.extend(grant.user.iter().flat_map(|user| ["--user".to_owned(), user.clone()]));
        Ok(Self { tools: grant.tools.clone(), arguments, secret, account: None })
    }

    fn tool(&self) -> Result<Tool, DatabaseError> {
        let tool = Tool::new(&REDIS.client(self.tools.as_deref(), &["redis-cli", "valkey-cli"])?);
        let tool = tool.args(&self.arguments).account(self.account);
        Ok(match &self.secret {
            Some(secret) => tool.env("REDISCLI_AUTH", secret.reveal()).hiding(Some(secret.clone())),
            None => tool,
        })
    }

    fn ask(&self, words: &[&str], cancel: &CancellationToken) -> Result<String, DatabaseError> {
        let output = self.tool()?.arg("-e").args(words).output(cancel)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

pub(super) fn dump(name: &str, grant: &RedisGrant, cancel: &CancellationToken) -> Result<Dump, DatabaseError> {
    let reach = Reach::of(name, grant)?;
    let is_empty = match reach.ask(&["INFO", "keyspace"], cancel) {
        Ok(told) => told.starts_with("# Keyspace") && !told.contains("\ndb"),
        // An account may be allowed to replicate and nothing else.
        Err(DatabaseError::Failed { said, .. }) if said.contains("NOPERM") => false,
        Err(error) => return Err(error),
    };
    let tool = reach.tool()?.args(["--rdb", "-"]);
    let part = Part { file: FILE.to_owned(), database: None, tool, end: End::Rdb };
    let empty = if is_empty { vec![name.to_owned()] } else { Vec::new() };
    Ok(Dump { engine: Engine::Redis, folder: folder(name), parts: vec![part], empty })
}

/// What a person does with the file: a running server would write its own over it.
pub(super) fn restore_steps(files: &[String]) -> Vec<RestoreStep> {
    if !files.iter().any(|file| file == FILE) {
        return Vec::new();
    }
    [
        "stop the server: systemctl stop redis-server",
        "move away what it holds: mv /var/lib/redis /var/lib/redis.old && install -d -o redis -g redis -m 750 /var/lib/redis",
        "put the dump there: install -o redis -g redis -m 640 dump.rdb /var/lib/redis/dump.rdb",
        "if redis.conf says `appendonly yes`, set it to `no` for the first start (it would read the append-only file, which is \
         not there, and not the dump), start the server, and turn it on again: redis-cli CONFIG SET appendonly yes",
        "start the server: systemctl start redis-server",
    ]
    .map(|step| RestoreStep::Person(step.to_owned()))
    .to_vec()
}

/// A scratch server, which runs once there is something to read.
#[derive(Debug)]
pub(super) struct Store {
    // Before its folder goes.
    daemon: Option<Daemon>,
    place: Place,
    server: PathBuf,
    reader: Reach,
    cancel: CancellationToken,
}

impl Store {
    pub(super) fn start(options: &ScratchOptions) -> Result<Self, DatabaseError> {
        let server = REDIS.server(options.tools.as_deref(), &["redis-server", "valkey-server"])?;
        REDIS.client(options.tools.as_deref(), &["redis-cli", "valkey-cli"])?;
        let place = Place::new(&options.parent, &["redis", "nobody"], "socket")?;
        let arguments = ["-s".to_owned(), place.path("socket").display().to_string()];
        let arguments =
            arguments.into_iter().chain(["--user", "reader", "--pass", "none"].map(str::to_owned)).collect();
        let reader = Reach { tools: options.tools.clone(), arguments, secret: None, account: place.account };
        Ok(Self { daemon: None, place, server, reader, cancel: options.cancel.clone() })
    }
}

impl Server for Store {
    fn load(&mut self, file: &str, content: &mut dyn Read) -> Result<Loaded, DatabaseError> {
        if file != FILE {
            return Err(DatabaseError::Invalid(format!("`{file}` is no dump of Redis")));
        }
        self.daemon = None;
        let path = self.place.path(FILE);
        self.place.write(FILE, content, &self.cancel)?;
        let socket = self.place.path("socket");
        let tool =
            Tool::new(&self.server).args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        let tool = tool.args(["--unixsocketperm", "700", "--unixsocket"]).arg(&socket);
        let tool = tool.arg("--dir").arg(self.place.root()).arg("--dbfilename").arg(FILE);
        // Asks, and nothing that changes, configures or names a file.
        let tool =
            tool.args(["--user", "reader", "on", "nopass", "~*", "&*", "+@read", "+@connection", "+dbsize", "+info"]);
        let answers =
            || socket.exists() && self.reader.ask(&["PING"], &self.cancel).is_ok_and(|it| it.trim() == "PONG");
        self.daemon = Some(Daemon::start(tool.account(self.place.account), Signal::KILL, &self.cancel, answers)?);
        // It is in memory now.
        std::fs::remove_file(&path).map_err(|source| DatabaseError::Disk { path, source })?;
        Ok(Loaded::default())
    }

    fn databases(&self) -> Result<Vec<String>, DatabaseError> {
        let told = self.reader.ask(&["INFO", "keyspace"], &self.cancel)?;
        let numbers = told.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':'));
        Ok(numbers.map(|(number, _)| number.to_owned()).collect())
    }

    fn query(&self, database: &str, statement: &str) -> Result<Rows, DatabaseError> {
        let words: Vec<&str> = statement.split_whitespace().collect();
        if words.is_empty() || words[0].starts_with('-') {
            return Err(DatabaseError::Invalid("this is no command of Redis".to_owned()));
        }
        let mut all = vec!["-n", if database.is_empty() { "0" } else { database }];
        all.extend(words);
        let answer = self.reader.ask(&all, &self.cancel)?;
        let rows = answer.lines().map(|line| vec![Some(line.to_owned())]).collect();
        Ok(Rows { columns: vec!["answer".to_owned()], rows })
    }

    fn foreign_keys(&self, _: &str) -> Result<ForeignKeys, DatabaseError> {
        Ok(ForeignKeys { checked: 0, broken: Vec::new(), how: "Redis has no foreign keys" })
    }

    fn folder(&self) -> &Path {
        self.place.root()
    }
}

impl Place {
    /// Writes a file for the server.
    fn write(&self, name: &str, content: &mut dyn Read, cancel: &CancellationToken) -> Result<(), DatabaseError> {
        let path = self.path(name);
        let failed = |source| DatabaseError::Disk { path: path.clone(), source };
        let mut file = std::fs::File::create(&path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            if cancel.is_cancelled() {
                return Err(DatabaseError::Cancelled);
            }
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&buffer[..count]).map_err(failed)?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(DatabaseError::Content { source }),
            }
        }
        if let Some(Account { uid, gid }) = self.account {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
        }
        Ok(())
    }
}
