//! Real servers for the tests, each in a folder and on a socket or port of its own, ended by its process when dropped.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether these programs are there; says loudly when one is not.
pub(crate) fn have(test: &str, programs: &[(&str, &str)]) -> bool {
    for (program, package) in programs {
        let is_there = find(program).is_some();
        if !is_there {
            // Directly, since the test harness hides what a passing test prints.
            let _ =
                writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `{program}` (apt-get install {package})\n");
            assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must not skip");
            return false;
        }
    }
    true
}

pub(crate) const POSTGRESQL: &[(&str, &str)] = &[("postgres", "postgresql"), ("pg_dump", "postgresql-client")];
pub(crate) const MARIADB: &[(&str, &str)] = &[("mariadbd", "mariadb-server"), ("mariadb-dump", "mariadb-client")];
pub(crate) const REDIS: &[(&str, &str)] = &[("redis-server", "redis-server"), ("redis-cli", "redis-tools")];

fn find(program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from));
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The number of a user, from the system's list.
fn uid(name: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:")))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A server.
pub(crate) struct Live {
    child: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder that the account owns, for root; else one's own.
fn folder(account: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("upkeep-live-").tempdir_in("/var/tmp").unwrap();
    if is_root() {
        let (uid, gid) = uid(account).unwrap();
        chown(folder.path(), Some(uid), Some(gid)).unwrap();
    }
    // Clients that are not the server reach the socket too.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn command(program: &str, account: &str) -> Command {
    let mut command = Command::new(find(program).unwrap());
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        let (uid, gid) = uid(account).unwrap();
        command.uid(uid).gid(gid);
    }
    command
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < until, "{what} does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Live {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// PostgreSQL: the superuser `boss` comes in by the socket without a password, all others with one.
    pub(crate) fn postgresql() -> Self {
        let folder = folder("postgres");
        let port = free_port();
        let data = folder.path().join("data");
        let mut init = command("initdb", "postgres");
        init.args(["--username=boss", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"]).arg(&data);
        assert!(init.status().unwrap().success(), "initdb");
        let access = "local all boss trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(data.join("pg_hba.conf"), access).unwrap();
        let mut server = command("postgres", "postgres");
        server.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "jit=off"]);
        let port_is = format!("port={port}");
        server.args(["-c", &port_is, "-k"]).arg(folder.path());
        let live = Self { child: server.spawn().unwrap(), folder, port };
        wait_until("PostgreSQL", || live.try_psql("postgres", "SELECT 1").is_ok());
        live
    }

    /// Runs SQL as the superuser; the answer is unaligned text.
    pub(crate) fn psql(&self, database: &str, statements: &str) -> String {
        self.try_psql(database, statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// The same, with what it says against it.
    pub(crate) fn try_psql(&self, database: &str, statements: &str) -> Result<String, String> {
        let mut psql = Command::new(find("psql").unwrap());
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "boss", "-f", "-", "-h"])
            .arg(self.folder.path());
        psql.arg(format!("--port={}", self.port)).arg("-d").arg(format!("dbname='{}'", database.replace('\'', "\\'")));
        run(psql, statements)
    }

    /// MariaDB: `boss` comes in by the socket without a password.
    pub(crate) fn mariadb() -> Self {
        let folder = folder("mysql");
        let port = free_port();
        let data = folder.path().join("data");
        let mut init = command("mariadb-install-db", "mysql");
        init.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        // A server that starts removes the temporary tables of all others that have the same folder for them.
        init.env("TMPDIR", folder.path()).arg(format!("--datadir={}", data.display()));
        assert!(init.status().unwrap().success(), "mariadb-install-db");
        let mut server = command("mariadbd", "mysql");
        server.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        server.arg(format!("--tmpdir={}", folder.path().display()));
        server.arg(format!("--socket={}", folder.path().join("s").display())).arg("--bind-address=127.0.0.1");
        server.args([&format!("--port={port}"), "--innodb-flush-log-at-trx-commit=0", "--event-scheduler=OFF"]);
        let live = Self { child: server.spawn().unwrap(), folder, port };
        wait_until("MariaDB", || live.try_mariadb("SELECT 1").is_ok());
        live
    }

    /// Runs SQL as root; the answer has tabs between values.
    pub(crate) fn mariadb_sql(&self, statements: &str) -> String {
        self.try_mariadb(statements).unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    fn try_mariadb(&self, statements: &str) -> Result<String, String> {
        let mut client = Command::new(find("mariadb").unwrap());
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ]);
        client.arg(format!("--socket={}", self.path("s").display()));
        run(client, statements)
    }

    /// Redis with this password.
    pub(crate) fn redis(password: &str) -> Self {
        let folder = folder("redis");
        let port = free_port();
        let mut server = command("redis-server", "redis");
        server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--requirepass", password, "--save", ""]);
        server.arg("--unixsocket").arg(folder.path().join("s")).arg("--dir").arg(folder.path());
        let live = Self { child: server.spawn().unwrap(), folder, port };
        wait_until("Redis", || live.try_redis(password, &["PING"]).is_ok_and(|answer| answer.trim() == "PONG"));
        live
    }

    pub(crate) fn try_redis(&self, password: &str, words: &[&str]) -> Result<String, String> {
        let mut client = Command::new(find("redis-cli").unwrap());
        client.env("REDISCLI_AUTH", password).args(["-e", "-s"]).arg(self.path("s")).args(words);
        run(client, "")
    }
}

fn run(mut command: Command, input: &str) -> Result<String, String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Processes whose command line names this path.
pub(crate) fn processes_naming(path: &Path) -> Vec<u32> {
    let wanted = path.to_str().unwrap().to_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(&wanted))
    })
    .collect()
}
