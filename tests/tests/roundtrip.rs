//! The round trip as a new user makes it: a backup, then the loss of a file, of a database, of the server; and back by the
//! commands of docs/restore.md. They are taken out of the page and run as they stand there, so that page and program
//! cannot differ.
//!
//! Everything happens in a root of its own that holds a Debian without any of the machine's configuration, and without a
//! network. A terminal is there, so the questions are asked, and answered with `y`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PAGE: &str = include_str!("../../docs/restore.md");

/// A task file as an operator has it; all names are those of the page.
const TASK: &str = r#"
plugin = "backup"
[config]
repository = "main"
databases = [DATABASES]
[[config.directories]]
root = "app"
exclude = ["/app.db*"]
[grant]
state = true
metrics = true
[grant.files.app]
path = "/srv/app"
[grant.dump.app]
sqlite = "/srv/app/app.db"
SHOP
[grant.repository.main]
url = "/srv/backup/main"
password = { file = "/etc/upkeep/secrets/backup" }
"#;

/// The commands of the page below a heading, block by block.
fn commands(heading: &str) -> Vec<String> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").expect("it is closed").0.to_owned()).collect()
}

/// A machine: a root with Debian's programs, and nothing else of this one.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().expect("a folder"));
        let folders = ["usr", "proc", "dev", "tmp", "run", "root", "srv/backup", "etc", "var/lib", "opt"];
        for folder in folders {
            fs::create_dir_all(machine.path(folder)).expect("a folder");
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), machine.path(name)).expect("a link");
        }
        symlink("../run", machine.path("var/run")).expect("a link");
        machine.write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/pg:/bin/sh\napp:x:1500:1500::/srv/app:/bin/sh\n",
        );
        machine.write("etc/group", "root:x:0:\npostgres:x:999:\napp:x:1500:\n");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().expect("a folder")).expect("a folder");
        fs::write(self.path(name), text).expect("a file");
    }

    /// Runs a script in it, as root on a terminal; gives what it showed.
    fn run(&self, script: &str) -> (bool, String) {
        self.write(
            "tmp/script",
            &format!("set -e\nexport HOME=/root PATH=/usr/local/bin:/usr/bin:/usr/sbin\ncd /root\n{script}"),
        );
        let root = self.0.path().display();
        // /usr/local is its own: what is installed there is not installed here.
        let inside = format!(
            "mount --make-rprivate / && mount --rbind /usr {root}/usr && \
             mkdir -p {root}/opt/local && mount --bind {root}/opt/local {root}/usr/local && \
             mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && exec chroot {root} \
             script -qec 'sh /tmp/script' /dev/null"
        );
        let mut child = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", &inside])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare can be started");
        let mut input = child.stdin.take().expect("it is piped");
        // More than there are questions; what is left over is not read.
        let _ = input.write_all("y\n".repeat(20).as_bytes());
        let output = child.wait_with_output().expect("it ends");
        drop(input);
        let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
        (output.status.success(), text)
    }

    fn done(&self, script: &str) -> String {
        let (done, text) = self.run(script);
        assert!(done, "{script}\n{text}");
        text
    }
}

fn skip(test: &str, why: &str) {
    // Directly, since the test harness hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}\n");
    assert!(std::env::var_os("CI").is_none() || why.starts_with("only root"), "CI must not skip: {why}");
}

/// The program beside the folder of this test.
fn upkeep() -> PathBuf {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.parent()?.join("upkeep"));
    let path = ["UPKEEP", "UPKEEP_BIN"].iter().find_map(std::env::var_os).map(PathBuf::from).or_else(beside);
    let path = path.expect("a path");
    assert!(path.is_file(), "there is no {}: run `make build`, or set UPKEEP", path.display());
    path
}

fn plugins() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins");
    let path = ["PLUGINS", "UPKEEP_PLUGINS"].iter().find_map(std::env::var_os).map_or_else(built, PathBuf::from);
    assert!(path.join("backup.wasm").is_file(), "there is no {}/backup.wasm: run `make plugins`", path.display());
    path
}

/// Where PostgreSQL's server is, where there is one.
fn postgresql() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.flatten().map(|it| it.path().join("bin")).find(|bin| bin.join("initdb").is_file())
}

/// Starts a server of PostgreSQL in the machine, as Debian's package does: accounts of this machine come in by their names.
/// It ends with the script. The account of the backup only reads.
fn start_postgresql(bin: &Path) -> String {
    let bin = bin.display();
    format!(
        "mkdir -p /run/postgresql /var/lib/pg; chown postgres /run/postgresql /var/lib/pg\n\
         as='setpriv --reuid=postgres --regid=postgres --init-groups'\n\
         test -e /var/lib/pg/PG_VERSION || {{\n\
         $as {bin}/initdb -D /var/lib/pg -U postgres --auth=peer --no-sync >/dev/null\n\
         sed -i '1i local all upkeep trust' /var/lib/pg/pg_hba.conf\n}}\n\
         $as {bin}/pg_ctl -D /var/lib/pg -w -o '-k /run/postgresql -c listen_addresses= -c fsync=off' \
         -l /var/lib/pg/log start >/dev/null\n\
         trap \"$as {bin}/pg_ctl -D /var/lib/pg -m fast stop >/dev/null\" EXIT\n"
    )
}

#[test]
fn the_commands_of_the_page_bring_everything_back() {
    let test = "the_commands_of_the_page_bring_everything_back";
    if !rustix::process::getuid().is_root() {
        return skip(test, "only root can make a root of its own");
    }
    for program in ["unshare", "script", "sqlite3", "restic"] {
        if !Command::new("which").arg(program).output().is_ok_and(|output| output.status.success()) {
            return skip(test, &format!("there is no `{program}`"));
        }
    }
    let server = postgresql();
    if server.is_none() {
        skip("the part of it with PostgreSQL", "there is no server (apt-get install postgresql)");
    }
    let start = server.as_deref().map(start_postgresql).unwrap_or_default();
    let (databases, shop) = match server.is_some() {
        true => ("\"app\", \"shop\"", "[grant.dump.shop.postgresql]\nuser = \"upkeep\"\ndatabases = [\"shop\"]"),
        false => ("\"app\"", ""),
    };
    let task = TASK.replace("DATABASES", databases).replace("SHOP", shop);

    // A server with an application, its databases, and upkeep.
    let old = Machine::new();
    old.write("opt/local/bin/systemctl", "#!/bin/sh\necho \"$@\" >> /tmp/systemctl\n");
    fs::set_permissions(old.path("opt/local/bin/systemctl"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::copy(upkeep(), old.path("opt/local/bin/upkeep")).expect("a copy");
    fs::create_dir_all(old.path("opt/plugins")).expect("a folder");
    fs::copy(plugins().join("backup.wasm"), old.path("opt/plugins/backup.wasm")).expect("a copy");
    old.write("etc/upkeep/upkeep.toml", "plugin_dir = \"/opt/plugins\"\nstate_dir = \"/var/lib/upkeep\"\n");
    old.write("etc/upkeep/tasks.d/backup-app.toml", &task);
    old.write("etc/upkeep/secrets/backup", "correct horse battery staple\n");
    fs::set_permissions(old.path("etc/upkeep/secrets/backup"), fs::Permissions::from_mode(0o600)).expect("a mode");
    old.write("srv/app/config.json", "{\"first\": true}");
    old.write("srv/app/uploads/photo.jpg", &"noise".repeat(100_000));
    old.done("sqlite3 /srv/app/app.db 'PRAGMA journal_mode = WAL; CREATE TABLE orders (id); INSERT INTO orders VALUES (1), (2)'");
    old.done("chown -R app:app /srv/app && chmod 640 /srv/app/config.json");
    let fill = "$as psql -qc 'CREATE DATABASE shop'\n$as psql -qc 'CREATE ROLE upkeep LOGIN IN ROLE pg_read_all_data'\n\
                $as psql -qd shop -c 'CREATE TABLE t AS SELECT generate_series(1, 1000) AS n'\n";
    let fill = if server.is_some() { fill } else { "" };
    let first = old.done(&format!("{start}{fill}upkeep check && upkeep run backup-app --standalone"));
    assert!(first.contains("succeeded"), "{first}");
    old.done("date '+%Y-%m-%d %H:%M:%S' > /tmp/noon");
    let noon = fs::read_to_string(old.path("tmp/noon")).expect("a time").trim().to_owned();
    old.done("sleep 1.1; printf '{\"second\": true}' > /srv/app/config.json");
    old.done(&format!("{start}upkeep run backup-app --standalone"));
    let page = |heading: &str| -> Vec<String> {
        commands(heading).into_iter().map(|block| block.replace("2026-11-20 12:00", &noon)).collect()
    };

    // A file was deleted.
    old.done("rm /srv/app/config.json");
    let text = old.done(&page("A file was deleted").concat());
    assert!(text.contains("Restore? [y/N]"), "it asks: {text}");
    old.done(
        "grep -q second /srv/app/config.json && test \"$(stat -c '%a %U:%G' /srv/app/config.json)\" = '640 app:app'",
    );

    // Files are wrong since a while.
    let text = old.done(&page("Files are wrong since a while").concat());
    assert!(text.contains("/srv/app/config.json") && text.contains("1 changed"), "{text}");
    old.done("grep -q first /srv/restored/srv/app/config.json && grep -q second /srv/app/config.json");

    // The whole folder is wrong.
    old.done("echo spoiled > /srv/app/uploads/photo.jpg; echo new > /srv/app/stays; rm /srv/app/config.json");
    let text = old.done(&page("The whole folder is wrong").concat());
    assert!(text.contains("uploads/photo.jpg: a file") && text.contains("replace what is there? [y/N]"), "{text}");
    old.done("grep -q noisenoise /srv/app/uploads/photo.jpg && test -e /srv/app/stays && grep -q second /srv/app/config.json");
    old.done("grep -q 'stop app' /tmp/systemctl && grep -q 'start app' /tmp/systemctl");

    // A database is damaged: the file, with a journal of another state beside it.
    let mut blocks = page("A database is damaged").into_iter();
    old.done("echo damaged > /srv/app/app.db; echo foreign > /srv/app/app.db-wal");
    let text = old.done(&blocks.next().expect("SQLite"));
    assert!(text.contains("app.db-wal: a journal of the database that is replaced"), "{text}");
    old.done("test ! -s /srv/app/app.db-wal && test \"$(sqlite3 /srv/app/app.db 'SELECT count(*) FROM orders')\" = 2");
    let count = "$as psql -Atd shop -c 'SELECT sum(n) FROM t'";
    if server.is_some() {
        let text = old.done(&format!(
            "{start}$as psql -qd shop -c 'DELETE FROM t'\n{}test \"$({count})\" = 500500",
            blocks.next().expect("PostgreSQL")
        ));
        assert!(text.contains("pg_restore") && text.contains("Run these commands?"), "{text}");
    }

    // The server is gone: what is left is the repository, the password and one file.
    let new = Machine::new();
    let copied = Command::new("cp").arg("-a").arg(old.path("srv/backup")).arg(new.path("srv/")).status();
    assert!(copied.expect("cp can be started").success());
    fs::copy(upkeep(), new.path("root/upkeep")).expect("a copy");
    new.write("root/password", "correct horse battery staple\n");
    fs::set_permissions(new.path("root/password"), fs::Permissions::from_mode(0o600)).expect("a mode");
    new.write("root/backup-app.toml", &task);
    // The service has another number here.
    new.write(
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\npostgres:x:998:998::/var/lib/pg:/bin/sh\napp:x:1700:1700::/srv/app:/bin/sh\n",
    );
    new.write("etc/group", "root:x:0:\npostgres:x:998:\napp:x:1700:\n");
    let mut blocks = page("The server is gone").into_iter();
    let text = new.done(&blocks.next().expect("the files"));
    assert!(text.contains("equal to what was saved"), "{text}");
    new.done(
        "grep -q second /srv/app/config.json && test \"$(stat -c '%a %U:%G' /srv/app/config.json)\" = '640 app:app'",
    );
    new.done(
        "test \"$(sqlite3 /srv/app/app.db 'SELECT count(*) FROM orders')\" = 2 && test -e /srv/app/uploads/photo.jpg",
    );
    let database = blocks.next().expect("the database");
    if server.is_some() {
        let text = new.done(&format!("{start}{database}test \"$({count})\" = 500500"));
        assert!(text.contains("upkeep backup cat"), "{text}");
    }
    new.done("rm -r /etc/upkeep");
    let text = new.done(&blocks.next().expect("without the task file"));
    assert!(text.contains("/srv/restored/srv/app"), "{text}");
    new.done("grep -q second /srv/restored/srv/app/config.json");

    // Without upkeep.
    new.done("rm -r /srv/restored; install -D -m 600 password /etc/upkeep/secrets/backup");
    new.done(&format!("export RESTIC_CACHE_DIR=/tmp/cache\n{}", page("Without upkeep").concat()));
    new.done("grep -q second /srv/restored/srv/app/config.json");
}

#[test]
fn every_command_of_the_page_is_one_that_upkeep_knows() {
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("## "));
    let lines: Vec<String> =
        headings.flat_map(commands).flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() >= 20, "{lines:?}");
    for line in lines.iter().filter(|line| line.starts_with("upkeep ")) {
        // `--help` at the end: everything before it is read and checked, and nothing is done.
        let command =
            line.split(" #").next().expect("a command").replacen("upkeep", &upkeep().display().to_string(), 1);
        let output = Command::new("sh").args(["-c", &format!("{command} --help")]).output().expect("sh can be started");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // The page stays one page.
    assert!(PAGE.lines().count() <= 150, "the page has become {} lines long", PAGE.lines().count());
}
