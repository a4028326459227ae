//! `upkeep backup restore TASK --database NAME`: a dump is loaded back into its server, by commands that are shown first.
//!
//! The commands are those that a person would type; each takes its file from `upkeep backup cat`. They are run with the
//! dump streamed out of the repository, so that nothing of a dump's size is written to disk.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::reach::Chosen;
use super::restore::is_asked;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Ink, Screen, duration, line, size};
use crate::config::dump::DumpGrant;
use crate::config::secret::Secret;
use crate::database::{self, DatabaseError, Engine, RestoreCommand, RestoreStep, names, redis};
use crate::repository::browse::Reader;

const THERE: &str = "to replace what is there: `--overwrite`; to keep it, load into another server with `--to-server`";

/// What is asked for.
pub(super) struct Load<'a> {
    /// The name of the grant.
    pub(super) name: &'a str,
    pub(super) grant: &'a DumpGrant,
    /// The snapshot that holds the dump.
    pub(super) chosen: Chosen<'a>,
    /// How `upkeep backup cat` reaches the repository.
    pub(super) place: String,
    /// The account that loads, where it is not that of the grant.
    pub(super) user: Option<&'a str>,
    pub(super) replace: bool,
    pub(super) print_only: bool,
    pub(super) yes: bool,
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        let exit = match error {
            DatabaseError::Tool { .. } | DatabaseError::Secret { .. } | DatabaseError::Invalid(_) => Exit::Usage,
            DatabaseError::Missing(_) => Exit::NotFound,
            _ => Exit::Unsuccessful,
        };
        Self::split(exit, error.to_string())
    }
}

/// The grant with another server in it (a name or address, or the path of a socket; with `:PORT` where it is not the usual
/// one) and another account. That account needs no password, or has the one in a file.
pub(super) fn elsewhere(
    grant: &DumpGrant,
    server: Option<&str>,
    account: Option<(&str, Option<&Path>)>,
) -> Result<DumpGrant, Failure> {
    let mut grant = grant.clone();
    let it = match &mut grant {
        DumpGrant::Postgresql(it) | DumpGrant::Mariadb(it) => it,
        DumpGrant::Sqlite(_) | DumpGrant::Redis(_) if server.is_none() && account.is_none() => return Ok(grant),
        DumpGrant::Sqlite(_) | DumpGrant::Redis(_) => {
            let help = "a dump of SQLite or Redis is a file; restore it with `--target DIR`";
            return Err(Failure::new(Exit::Usage, "`--to-server` and `--user` are for PostgreSQL and MariaDB", help));
        }
    };
    if let Some(server) = server {
        // An IPv6 address has a port only behind its brackets.
        let may_have = |name: &&str| name.starts_with('/') || name.ends_with(']') || !name.contains(':');
        let with_port = server.rsplit_once(':').filter(|(name, _)| may_have(name));
        let with_port = with_port.and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
        let (name, port) = with_port.map_or((server, None), |(name, port)| (name, Some(port)));
        (it.host, it.port, it.socket) = match name.starts_with('/') {
            true => (None, port, Some(name.into())),
            false => (Some(name.trim_matches(['[', ']']).to_owned()), port, None),
        };
    }
    if let Some((user, password)) = account {
        (it.user, it.password) = (Some(user.to_owned()), password.map(|file| Secret::File(file.to_owned())));
    }
    Ok(grant)
}

/// Whether root has to become this user first, so that the server on this machine knows the account.
fn is_other_user(user: &str, grant: &DumpGrant) -> bool {
    let is_here = match grant {
        DumpGrant::Postgresql(it) | DumpGrant::Mariadb(it) => it.host.is_none(),
        DumpGrant::Sqlite(_) | DumpGrant::Redis(_) => false,
    };
    let is_known = || nix::unistd::User::from_name(user).is_ok_and(|found| found.is_some());
    is_here && user != "root" && rustix::process::geteuid().is_root() && is_known()
}

/// Databases of the dump that the server has already, as far as it can be asked.
fn present(load: &Load<'_>, files: &[String]) -> Result<Vec<String>, Failure> {
    let live = match database::databases(load.name, load.grant, &CancellationToken::new()) {
        Ok(live) => live,
        // pg_restore refuses by itself what is there.
        Err(_) if matches!(load.grant, DumpGrant::Postgresql(_)) => return Ok(Vec::new()),
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.help = remedy(&failure.message, load.replace).map(str::to_owned).or(failure.help);
            return Err(failure);
        }
    };
    let of_file = |file: &String| [".pgdump", ".sql"].iter().find_map(|suffix| names::database(file, suffix));
    // Each server of PostgreSQL has this one from the start; what is in it, pg_restore does not replace unasked.
    let is_own = |name: &String| matches!(load.grant, DumpGrant::Postgresql(_)) && name == "postgres";
    Ok(files.iter().filter_map(of_file).filter(|name| live.contains(name) && !is_own(name)).collect())
}

/// Shows the commands, and runs them.
pub(super) fn load(load: &Load<'_>, screen: &Screen, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let snapshot = load.chosen.snapshot;
    let reader = load.chosen.shelf.repository.reader().map_err(Failure::from)?;
    let folder = database::folder(load.name);
    let top = reader.node(snapshot, &folder).map_err(Failure::from)?;
    let nodes = reader.children(&top).map_err(Failure::from)?;
    let files: Vec<String> = nodes.iter().map(|node| node.name().to_string_lossy().into_owned()).collect();
    let bytes: u64 = nodes.iter().map(|node| node.meta.size).sum();
    let mut steps = database::restore_steps(load.name, load.grant, &files, load.replace).map_err(Failure::from)?;
    if let Some(user) = load.user.filter(|user| is_other_user(user, load.grant)) {
        for step in &mut steps {
            if let RestoreStep::Run(command) = step {
                *command = command.clone().as_user(user);
            }
        }
    }
    let (id, time) = (snapshot.short(), screen.minute(snapshot.time));
    let engine = Engine::of(load.grant);
    let cat = |file: &str| {
        let file = folder.join(file);
        format!("upkeep backup cat {id} {}{}", database::quoted(file.as_os_str()), load.place)
    };
    if engine == Engine::Redis {
        steps.insert(0, RestoreStep::Person(format!("get the dump: {} > dump.rdb", cat(redis::FILE))));
    }
    writeln!(out, "The dump {} ({engine}) of {id}, saved {time}, {}", line(load.name), size(bytes))?;
    for (number, step) in (1..).zip(&steps) {
        match step {
            RestoreStep::Run(command) => {
                writeln!(out, "{number}. {}:", line(&command.title))?;
                writeln!(out, "   {} |\n     {}", cat(&command.file), line(&command.shell()))?;
            }
            RestoreStep::Person(text) => writeln!(out, "{number}. by hand: {}", line(text))?,
        }
    }
    if load.print_only {
        return Ok(Exit::Done);
    }
    if !steps.iter().any(|step| matches!(step, RestoreStep::Run(_))) {
        writeln!(out, "nothing was done: all of this is left to you")?;
        return Ok(Exit::Unsuccessful);
    }
    let present = if load.replace { Vec::new() } else { present(load, &files)? };
    if !present.is_empty() {
        let message = format!("the server has these databases already: {}", present.join(", "));
        return Err(Failure::new(Exit::Usage, message, THERE).into());
    }
    if !load.yes && is_asked() {
        let warning = if load.replace { " What the databases hold now is LOST." } else { "" };
        write!(out, "Run these commands?{warning} [y/N] ")?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            writeln!(out, "nothing was done")?;
            return Ok(Exit::Unsuccessful);
        }
    } else if !load.yes && load.replace {
        let help = "add `--yes` to do it without being asked";
        return Err(Failure::new(Exit::Usage, "databases would be replaced, and nobody can be asked", help).into());
    }
    let mut exit = Exit::Done;
    for (number, step) in (1..).zip(&steps) {
        let RestoreStep::Run(command) = step else {
            writeln!(out, "{number}. is left to you")?;
            exit = Exit::Unsuccessful;
            continue;
        };
        let started = std::time::Instant::now();
        match run(command, &reader, &load.chosen, &folder) {
            Ok(()) => {
                let took = duration(i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
                writeln!(out, "{number}. {} ({took})", screen.ink(Ink::Green, "done"))?;
            }
            Err(failure) if command.forgiving && is_of_statements(&failure.message) => {
                writeln!(out, "{number}. done as far as it was needed: {}", line(&failure.message))?;
            }
            Err(mut failure) => {
                failure.help = remedy(&failure.message, load.replace).map(str::to_owned).or(failure.help);
                return Err(failure.into());
            }
        }
    }
    Ok(exit)
}

/// Whether single statements failed, such as one that makes an account that is there, and not the program as a whole.
/// psql goes on without a word in its exit code; mariadb names the line.
fn is_of_statements(said: &str) -> bool {
    said.contains(" at line ")
}

/// What to do about what a program said.
fn remedy(said: &str, replace: bool) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|it| said.contains(it));
    if says(&["unsupported version"]) {
        // What pg_restore says about a file of a newer pg_dump.
        Some(
            "the dump was made by a newer version; apt-get install postgresql-client-NN of that version, or name its \
             folder as `tools` in the task file",
        )
    } else if !replace && says(&["already exists"]) {
        Some(THERE)
    } else if says(&["no password supplied", "using password: NO"]) {
        Some("the server wants a password for this account: `--user-password-file FILE`")
    } else if says(&["password authentication failed", "using password: YES"]) {
        Some("the account has another password on this server: name one with `--user` and `--user-password-file FILE`")
    } else if says(&["permission denied", "Access denied", "must be", "Peer authentication", "does not exist"]) {
        Some(
            "an account that only reads cannot load; name one that may: `--user postgres` (MariaDB: `--user root`), with \
             `--user-password-file FILE` where it has a password",
        )
    } else {
        None
    }
}

/// Runs a command with its file of the dump as input.
fn run(command: &RestoreCommand, reader: &Reader, chosen: &Chosen<'_>, folder: &Path) -> Result<(), Failure> {
    let file = reader.node(chosen.snapshot, &folder.join(&command.file)).map_err(Failure::from)?;
    let broken = |error: std::io::Error| Failure::new(Exit::Internal, error.to_string(), "try it again");
    let (source, mut sink) = std::io::pipe().map_err(broken)?;
    let is_whole = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let dump = scope.spawn(move || {
            let read = reader.dump(&file, &mut sink);
            is_whole.store(matches!(read, Ok(Ok(()))), Ordering::Release);
            // Now the other side sees the end.
            drop(sink);
            read
        });
        let mut content = Whole { pipe: source, is_whole };
        let ran = command.run(&mut content, &CancellationToken::new());
        // So that the thread does not wait for ever when the program has ended early.
        drop(content);
        match (dump.join(), ran) {
            (Ok(Err(error)), _) => Err(Failure::from(error)),
            (Err(_), _) => Err(Failure::new(Exit::Internal, "reading the dump broke", "please report it")),
            (Ok(_), ran) => ran.map_err(Failure::from),
        }
    })
}

/// What comes through a pipe. That the repository failed is no end: the program must not take half a dump for all of it.
struct Whole<'a> {
    pipe: std::io::PipeReader,
    is_whole: &'a AtomicBool,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.pipe.read(buffer) {
            Ok(0) if !buffer.is_empty() && !self.is_whole.load(Ordering::Acquire) => {
                Err(std::io::Error::other("the repository failed in the middle of the dump"))
            }
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dump::ServerGrant;

    #[test]
    fn another_server_is_a_host_a_port_or_a_socket() {
        let grant = DumpGrant::Postgresql(ServerGrant { port: Some(5433), ..ServerGrant::default() });
        let server = |text: &str| match elsewhere(&grant, Some(text), None).unwrap() {
            DumpGrant::Postgresql(it) => (it.host, it.port, it.socket),
            _ => unreachable!(),
        };
        assert_eq!(server("db2"), (Some("db2".into()), None, None));
        assert_eq!(server("10.0.0.2:5444"), (Some("10.0.0.2".into()), Some(5444), None));
        assert_eq!(server("[::1]:5444"), (Some("::1".into()), Some(5444), None));
        assert_eq!(server("fe80::1"), (Some("fe80::1".into()), None, None));
        assert_eq!(server("/run/postgresql"), (None, None, Some("/run/postgresql".into())));
        assert_eq!(server("/run/postgresql:5444"), (None, Some(5444), Some("/run/postgresql".into())));
        assert!(elsewhere(&DumpGrant::Sqlite("/a.db".into()), Some("db2"), None).is_err());
        let DumpGrant::Postgresql(it) = elsewhere(&grant, None, Some(("postgres", None))).unwrap() else {
            unreachable!()
        };
        assert_eq!((it.user.as_deref(), it.port), (Some("postgres"), Some(5433)));
    }
}
