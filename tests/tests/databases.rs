//! Databases of real servers: dumped while they are in use, loaded into scratch servers, and equal.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::dump::{DumpGrant, RedisGrant, ServerGrant};
use upkeep::config::grant::{RepositoryAccess, RepositoryGrant};
use upkeep::config::secret::Secret;
use upkeep::database::{self, DatabaseError, Engine, RestoreStep, Scratch, ScratchOptions};
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::stream::StreamSource;
use upkeep::repository::{Label, Repository, Summary, Watch};

use crate::live::Live;

#[path = "databases/live.rs"]
mod live;

fn options() -> ScratchOptions {
    ScratchOptions { parent: PathBuf::from("/var/tmp"), tools: None, cancel: CancellationToken::new() }
}

/// All files of a dump, in memory.
fn dump(grant: &DumpGrant) -> Result<Vec<(String, Vec<u8>)>, DatabaseError> {
    let cancel = CancellationToken::new();
    let dump = database::dump("app", grant, &cancel)?;
    let mut files = Vec::new();
    for part in dump.parts {
        let file = part.file.clone();
        let mut content = Vec::new();
        let mut reader = part.open(&cancel)?;
        if let Err(error) = reader.read_to_end(&mut content) {
            return Err(reader.take_failure().unwrap_or_else(|| panic!("{error}")));
        }
        files.push((file, content));
    }
    Ok(files)
}

fn load(scratch: &mut Scratch, files: &[(String, Vec<u8>)]) {
    for (file, content) in files {
        let loaded = scratch.load(file, &mut &content[..]).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(loaded.remarks, [""; 0], "{file}");
    }
}

fn postgresql(live: &Live) -> ServerGrant {
    ServerGrant {
        socket: Some(live.folder.path().to_owned()),
        port: Some(live.port),
        user: Some("boss".into()),
        ..ServerGrant::default()
    }
}

/// Whatever PostgreSQL has to get right.
const POSTGRESQL: &str = r#"
    CREATE ROLE app LOGIN PASSWORD 'secret of app';
    CREATE ROLE "odd 'role' ""数据" NOLOGIN;
    GRANT app TO "odd 'role' ""数据";
    CREATE DATABASE app OWNER app;
    CREATE DATABASE "it's ""odd"" a=b/数据" OWNER "odd 'role' ""数据";
    ALTER DATABASE app SET work_mem = '7MB';
"#;
const POSTGRESQL_APP: &str = r#"
    CREATE TABLE parent (id int PRIMARY KEY, name text NOT NULL, raw bytea, at timestamptz DEFAULT '2026-01-01');
    CREATE TABLE child (id serial PRIMARY KEY, parent int NOT NULL REFERENCES parent, note text);
    INSERT INTO parent SELECT n, 'name ' || n || E' 数据 \\ '' "\t\n', decode(md5(n::text), 'hex') FROM generate_series(1, 500) n;
    INSERT INTO child (parent, note) SELECT 1 + n % 500, NULLIF(n % 3, 0)::text FROM generate_series(1, 2000) n;
    CREATE VIEW both_of AS SELECT p.name, c.note FROM parent p JOIN child c ON c.parent = p.id;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM child;
    CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS $$ SELECT n * 2 $$;
    CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;
    CREATE TRIGGER noted BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION noted();
    GRANT SELECT ON parent TO app;
    SELECT lo_from_bytea(4711, '\x00ff00ff');
"#;

/// A text in which two databases differ when their content does.
fn postgresql_content(query: impl Fn(&str) -> String) -> String {
    [
        "SELECT md5(string_agg(p::text, '|' ORDER BY id)) FROM parent p",
        "SELECT md5(string_agg(c::text, '|' ORDER BY id)) FROM child c",
        "SELECT count(*) FROM both_of",
        "SELECT n FROM counted",
        "SELECT twice(21)",
        "SELECT string_agg(tgname, ',') FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT relacl::text FROM pg_class WHERE relname = 'parent'",
        "SELECT nextval('child_id_seq') > 2000",
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()",
        "SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = 'app'",
    ]
    .map(query)
    .join("\n")
    .replace("boss", "OWNER")
    .replace("upkeep_scratch", "OWNER")
}

#[test]
fn postgresql_comes_back_as_it_was() {
    if !live::have("postgresql_comes_back_as_it_was", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", POSTGRESQL);
    live.psql("app", POSTGRESQL_APP);
    let odd = "it's \"odd\" a=b/数据";
    live.psql(odd, "CREATE TABLE t (x text); INSERT INTO t VALUES ('here')");
    let grant = DumpGrant::Postgresql(postgresql(&live));
    let files = dump(&grant).unwrap();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["globals.sql", "app.pgdump", "it's \"odd\" a=b%2f数据.pgdump", "postgres.pgdump"]);

    let mut scratch = Scratch::start(Engine::Postgresql, &options()).unwrap();
    let folder = scratch.folder().to_owned();
    load(&mut scratch, &files);
    let one = |database: &str, statement: &str| {
        let rows = scratch.query(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}")).rows;
        rows.into_iter().flatten().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(one(odd, "SELECT x FROM t"), "here");
    assert_eq!(scratch.databases().unwrap(), ["app", odd, "postgres"]);
    for wicked in ["\\! touch /tmp/upkeep-wicked", " \\! id", "COPY (SELECT 1) TO PROGRAM 'id'", "DELETE FROM child"] {
        assert!(scratch.query("app", wicked).is_err(), "{wicked}");
    }
    let values = scratch.query("app", "SELECT NULL AS a, '' AS b, E'x\ty\n' AS \"c d\"").unwrap();
    assert_eq!(values.columns, ["a", "b", "c d"]);
    assert_eq!(values.rows, [[None, Some(String::new()), Some("x\ty\n".into())]]);
    assert_eq!(scratch.query("app", "SELECT 1 AS x WHERE false").unwrap().rows, [[None::<String>; 0]; 0]);
    let keys = scratch.foreign_keys("app").unwrap();
    assert_eq!((keys.checked, keys.broken.len()), (1, 0));

    // Dumped again, it is the same.
    let again = DumpGrant::Postgresql(ServerGrant {
        socket: Some(folder.clone()),
        user: Some("upkeep_scratch".into()),
        databases: Some(vec!["app".into()]),
        ..ServerGrant::default()
    });
    let again = dump(&again).unwrap();
    let roles = |files: &[(String, Vec<u8>)]| {
        let text = String::from_utf8(files[0].1.clone()).unwrap();
        let lines =
            text.lines().filter(|line| (line.contains("app") || line.contains("odd")) && !line.starts_with('\\'));
        lines.map(|line| line.replace("boss", "OWNER").replace("upkeep_scratch", "OWNER")).collect::<Vec<_>>()
    };
    assert!(roles(&files).iter().any(|line| line.contains("SCRAM-SHA-256")), "{:?}", roles(&files));
    let (before, mut after) = (roles(&files), roles(&again));
    after.retain(|line| !line.contains("OWNER_reader"));
    assert_eq!(before, after);
    let before = postgresql_content(|statement| live.psql("app", statement).trim_end().to_owned());
    let after =
        postgresql_content(|statement| if statement.contains("nextval") { "t".into() } else { one("app", statement) });
    assert_eq!(before, after);

    drop(scratch);
    assert!(!folder.exists(), "the folder is removed");
    assert_eq!(live::processes_naming(&folder), [0; 0], "the server is gone");
}

fn mariadb(live: &Live) -> ServerGrant {
    ServerGrant { socket: Some(live.path("s")), user: Some("root".into()), ..ServerGrant::default() }
}

/// Whatever MariaDB has to get right.
const MARIADB: &str = r#"
    CREATE USER app@localhost IDENTIFIED BY 'secret of app';
    CREATE USER `it's "odd" 数据`@`%` IDENTIFIED BY 'x';
    CREATE ROLE readers;
    CREATE DATABASE app CHARACTER SET utf8mb4;
    CREATE DATABASE `it's "odd" ``a/b`` 数据` CHARACTER SET utf8mb4;
    CREATE DATABASE globals;
    GRANT SELECT, INSERT ON app.* TO app@localhost;
    GRANT SELECT ON app.* TO readers;
    GRANT readers TO `it's "odd" 数据`@`%`;
    CREATE TABLE `it's "odd" ``a/b`` 数据`.t (x text); INSERT INTO `it's "odd" ``a/b`` 数据`.t VALUES ('here');
    CREATE TABLE globals.t (x int);
    USE app;
    CREATE TABLE parent (a int, b varchar(20), raw blob, doc json, at timestamp DEFAULT '2026-01-01 00:00:00',
        name text, PRIMARY KEY (a, b)) ENGINE=InnoDB;
    CREATE TABLE child (id int AUTO_INCREMENT PRIMARY KEY, a int, b varchar(20), note text,
        FOREIGN KEY whose (a, b) REFERENCES parent (a, b)) ENGINE=InnoDB;
    INSERT INTO parent (a, b, raw, doc, name) SELECT seq, CONCAT('b', seq), UNHEX(MD5(seq)), '{"x": [1, "y"]}',
        CONCAT('name ', seq, ' 数据 \\ '' " \n\t`') FROM seq_1_to_500;
    INSERT INTO child (a, b, note) SELECT 1 + seq % 500, CONCAT('b', 1 + seq % 500), NULLIF(seq % 3, 0) FROM seq_1_to_2000;
    INSERT INTO child (a, b) VALUES (NULL, NULL);
    CREATE VIEW both_of AS SELECT p.name, c.note FROM parent p JOIN child c USING (a, b);
    CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 2;
    DELIMITER ;;
    CREATE PROCEDURE two_steps() BEGIN SELECT 1; SELECT 2; END;;
    CREATE TRIGGER noted BEFORE INSERT ON child FOR EACH ROW BEGIN SET NEW.note = UPPER(NEW.note); END;;
    DELIMITER ;
    CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM child WHERE id < 0;
"#;

const MARIADB_CONTENT: [&str; 6] = [
    "CHECKSUM TABLE app.parent, app.child",
    "SELECT MD5(GROUP_CONCAT(HEX(raw) ORDER BY a)), MD5(GROUP_CONCAT(name ORDER BY a)) FROM app.parent",
    "SELECT COUNT(*) FROM app.both_of",
    "SELECT app.twice(21)",
    "SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'app' ORDER BY 1",
    "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = 'app'",
];

#[test]
fn mariadb_comes_back_as_it_was() {
    if !live::have("mariadb_comes_back_as_it_was", live::MARIADB) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql(MARIADB);
    let odd = "it's \"odd\" `a/b` 数据";
    let files = dump(&DumpGrant::Mariadb(mariadb(&live))).unwrap();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["globals.sql", "app.sql", "%67lobals.sql", "it's \"odd\" `a%2fb` 数据.sql"]);

    let mut scratch = Scratch::start(Engine::Mariadb, &options()).unwrap();
    let folder = scratch.folder().to_owned();
    load(&mut scratch, &files);
    assert_eq!(scratch.databases().unwrap(), ["app", "globals", odd]);
    let one = |database: &str, statement: &str| {
        let rows = scratch.query(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}")).rows;
        let line =
            |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\t");
        rows.into_iter().map(line).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(one(odd, "SELECT x FROM t"), "here");
    for statement in MARIADB_CONTENT {
        assert_eq!(one("app", statement), live.mariadb_sql(statement).trim_end(), "{statement}");
    }
    let mark = format!("/tmp/upkeep-wicked-{}", std::process::id());
    for wicked in [
        &format!("\\! touch {mark}"),
        &format!("system touch {mark}"),
        &format!("SELECT 1;\nsystem touch {mark}"),
        &format!("SELECT 1; \\! touch {mark}"),
        &format!("SELECT 'x' INTO OUTFILE '{mark}'"),
        "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE child",
        "DELETE FROM child",
        "source /etc/passwd",
    ] {
        assert!(scratch.query("app", wicked).is_err(), "{wicked}");
    }
    assert_eq!(one("app", "SELECT LOAD_FILE('/etc/passwd') IS NULL"), "1");
    assert!(!std::path::Path::new(&mark).exists(), "a statement started a program");
    let keys = scratch.foreign_keys("app").unwrap();
    assert_eq!((keys.checked, keys.broken), (1, vec![]));

    // Dumped again, it is the same, accounts too.
    let again = DumpGrant::Mariadb(ServerGrant {
        socket: Some(folder.join("socket")),
        user: Some("upkeep_scratch".into()),
        ..ServerGrant::default()
    });
    let again = dump(&again).unwrap();
    let accounts = |files: &[(String, Vec<u8>)]| {
        let text = String::from_utf8(files[0].1.clone()).unwrap();
        let wanted = |line: &&str| {
            (line.contains("app") || line.contains("odd") || line.contains("readers")) && !line.contains("WITH ADMIN")
        };
        text.lines().filter(wanted).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(accounts(&files).iter().any(|line| line.contains("IDENTIFIED BY PASSWORD")), "{:?}", accounts(&files));
    assert_eq!(accounts(&files), accounts(&again));
    for (one, other) in files.iter().zip(&again).skip(1) {
        assert!(one == other, "{}: the dump of the copy differs", one.0);
    }

    // What a dump that was cut out of its order, or put together by hand, would do.
    let broken = "CREATE DATABASE lost; USE lost; SET FOREIGN_KEY_CHECKS=0; CREATE TABLE p (x int PRIMARY KEY) ENGINE=InnoDB;
        CREATE TABLE c (x int, CONSTRAINT whose FOREIGN KEY (x) REFERENCES p (x)) ENGINE=InnoDB; INSERT INTO c VALUES (1), (2), (NULL);";
    scratch.load("lost.sql", &mut broken.as_bytes()).unwrap();
    let keys = scratch.foreign_keys("lost").unwrap();
    assert_eq!(keys.broken, ["2 rows of `c` refer to rows of `p` that are not there (`whose`)"]);

    drop(scratch);
    assert!(!folder.exists(), "the folder is removed");
    assert_eq!(live::processes_naming(&folder), [0; 0], "the server is gone");
}

fn secret(folder: &std::path::Path, value: &str) -> Secret {
    let path = folder.join("secret-of-the-test");
    std::fs::write(&path, value).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Secret::File(path)
}

#[test]
fn redis_comes_back_as_it_was() {
    if !live::have("redis_comes_back_as_it_was", live::REDIS) {
        return;
    }
    let live = Live::redis("hunter2");
    let redis = |words: &[&str]| live.try_redis("hunter2", words).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let grant = RedisGrant {
        port: Some(live.port),
        password: Some(secret(folder.path(), "hunter2\n")),
        ..RedisGrant::default()
    };
    let plan = database::dump("cache", &DumpGrant::Redis(grant.clone()), &CancellationToken::new()).unwrap();
    assert_eq!(plan.empty, ["cache"]);
    let value = "数据 \"quoted\" \\ \u{0}\u{1}";
    redis(&["EVAL", "for i = 1, 20000 do redis.call('SET', 'key:' .. i, string.rep('x', 100)) end", "0"]);
    redis(&["SET", "odd key 数据", &value.replace('\u{0}', "0")]);
    redis(&["-n", "3", "HSET", "hash", "field", "in three"]);
    let files = dump(&DumpGrant::Redis(grant.clone())).unwrap();
    assert_eq!(files[0].0, "dump.rdb");
    let content = &files[0].1;
    assert!(content.starts_with(b"REDIS") && content[content.len() - 9] == 0xff, "without the mark of the stream");

    let mut scratch = Scratch::start(Engine::Redis, &options()).unwrap();
    load(&mut scratch, &files);
    assert_eq!(scratch.databases().unwrap(), ["0", "3"]);
    let ask =
        |database: &str, command: &str| scratch.query(database, command).unwrap().rows.concat()[0].clone().unwrap();
    assert_eq!(ask("0", "DBSIZE"), "20001");
    assert_eq!(ask("3", "HGET hash field"), "in three");
    for wicked in ["SET a b", "CONFIG SET dir /tmp", "FLUSHALL", "SHUTDOWN", "DEBUG SLEEP 1", "-h 127.0.0.1 PING"] {
        assert!(scratch.query("0", wicked).is_err(), "{wicked}");
    }
    let torn = scratch.load("dump.rdb", &mut &content[..content.len() / 2]).unwrap_err().to_string();
    assert!(torn.contains("redis-server") || torn.contains("RDB") || torn.contains("rdb"), "{torn}");
    let folder_of = scratch.folder().to_owned();
    drop(scratch);
    assert_eq!((folder_of.exists(), live::processes_naming(&folder_of)), (false, vec![]));

    // An account that may replicate and nothing else, and the wrong password.
    redis(&["ACL", "SETUSER", "saver", "on", ">pw of saver", "+psync", "+sync", "+replconf", "+ping", "+info"]);
    let saver = |password: &str| {
        let password = Some(secret(folder.path(), password));
        DumpGrant::Redis(RedisGrant {
            user: Some("saver".into()),
            password,
            socket: Some(live.path("s")),
            ..RedisGrant::default()
        })
    };
    assert_eq!(dump(&saver("pw of saver")).unwrap()[0].1.len(), content.len());
    let wrong = dump(&saver("not the password")).unwrap_err().to_string();
    assert!(wrong.contains("WRONGPASS") && !wrong.contains("not the password"), "{wrong}");
}

/// A repository with a password, and restic for it.
struct Repo {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl Repo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = secret(folder.path(), "of the repository");
        let url = folder.path().join("repository").to_str().unwrap().to_owned();
        let access = vec![RepositoryAccess::Append, RepositoryAccess::List];
        let grant = serde_json::json!({ "url": url, "password": password, "access": access });
        let grant: RepositoryGrant = serde_json::from_value(grant).unwrap();
        Self { repository: Repository::open_or_make(&grant).unwrap(), folder }
    }

    /// Saves the dump of a server, as the capability does it.
    fn save(&self, grant: &DumpGrant, cancel: &CancellationToken) -> Result<Summary, String> {
        static SECONDS: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1_790_000_000);
        let dump = database::dump("app", grant, cancel).map_err(|error| error.to_string())?;
        let source = StreamSource::of(dump, Watch::new(cancel.clone()));
        let time = Timestamp(SECONDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * 1000);
        let label = Label { host: "server".into(), tags: vec!["upkeep:test".into()], time };
        self.repository.backup(&source, label, Arc::new(|_, _| {})).map_err(|error| error.to_string())
    }

    fn restic(&self, arguments: &[&str]) -> String {
        let mut restic = Command::new("restic");
        restic.args(["--no-cache", "-r"]).arg(self.folder.path().join("repository"));
        restic.arg("--password-file").arg(self.folder.path().join("secret-of-the-test")).args(arguments);
        let output = restic.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "restic {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn is_empty(&self) -> bool {
        self.repository.snapshots().unwrap().is_empty()
    }
}

fn has_restic(test: &str) -> bool {
    live::have(test, &[("restic", "restic")])
}

#[test]
fn a_dump_is_a_snapshot_that_restic_checks_and_restores() {
    let test = "a_dump_is_a_snapshot_that_restic_checks_and_restores";
    if !live::have(test, live::MARIADB) || !has_restic(test) {
        return;
    }
    let live = Live::mariadb();
    live.mariadb_sql(MARIADB);
    // Rows of different lengths, many times the largest chunk (8 MiB): cuts differ with each repository. Nothing in them comes
    // twice: where a few bytes are repeated, some repositories cut seldom, and find their cuts again late.
    let filler: Vec<String> = (0..8).map(|part| format!("SHA2(seq * 8 + {part}, 512)")).collect();
    let rows = format!(
        "USE app; CREATE TABLE big (id int PRIMARY KEY, filler text) ENGINE=InnoDB; INSERT INTO big SELECT seq,
        LEFT(CONCAT({}), 200 + seq % 800) FROM seq_1_to_150000",
        filler.join(", ")
    );
    live.mariadb_sql(&rows);
    let repo = Repo::new();
    let grant = DumpGrant::Mariadb(mariadb(&live));
    let first = repo.save(&grant, &CancellationToken::new()).unwrap();
    assert_eq!(first.files, 4);
    let direct = dump(&grant).unwrap();
    let all: usize = direct.iter().map(|(_, content)| content.len()).sum();
    assert_eq!(first.bytes, all as u64);

    repo.restic(&["check", "--read-data"]);
    let listed = repo.restic(&["ls", "--long", "latest"]);
    for (name, content) in &direct {
        let line = listed
            .lines()
            .find(|line| line.ends_with(&format!("/upkeep-dump/app/{name}")))
            .unwrap_or_else(|| panic!("{listed}"));
        assert!(line.split_whitespace().any(|word| word == content.len().to_string()), "{line}: {}", content.len());
    }
    let target = repo.folder.path().join("restored");
    repo.restic(&["restore", "latest", "--target", target.to_str().unwrap()]);
    for (name, content) in &direct {
        assert!(std::fs::read(target.join("upkeep-dump/app").join(name)).unwrap() == *content, "{name}");
    }
    // And upkeep's own.
    let snapshot = repo.repository.find("latest", |_| true).unwrap();
    let own = repo.folder.path().join("own");
    let path = std::path::Path::new("/upkeep-dump/app");
    let restored =
        repo.repository.restore(&snapshot, path, &own, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap();
    assert_eq!((restored.files, restored.differences.len()), (4, 0), "{:?}", restored.differences);
    assert!(
        std::fs::read(own.join("app.sql")).unwrap() == direct.iter().find(|(name, _)| name == "app.sql").unwrap().1
    );

    // One row less at the beginning, and nearly all of the dump is known already.
    live.mariadb_sql("DELETE FROM app.big WHERE id = 17");
    let second = repo.save(&grant, &CancellationToken::new()).unwrap();
    assert_eq!((second.files_new, second.files_changed), (0, 4));
    assert!(second.bytes_added * 4 < first.bytes_added, "{} of {}", second.bytes_added, first.bytes_added);
    repo.restic(&["check", "--read-data"]);
    let size = repo.restic(&["stats", "--mode", "restore-size", "latest", "--json"]);
    assert!(size.contains(&format!("\"total_size\":{}", second.bytes)), "{size} {}", second.bytes);
}

/// The processes that the dump of this server has started.
fn tools_of(live: &Live) -> Vec<u32> {
    let all = live::processes_naming(live.folder.path());
    all.into_iter()
        .filter(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            ["pg_dump", "mariadb-dump", "psql", "mariadb", "pg_dumpall"].contains(&name.trim())
        })
        .collect()
}

#[test]
fn a_dump_that_breaks_off_leaves_no_snapshot() {
    if !live::have("a_dump_that_breaks_off_leaves_no_snapshot", live::POSTGRESQL) {
        return;
    }
    let live = Live::postgresql();
    live.psql("postgres", "CREATE DATABASE app");
    live.psql(
        "app",
        "CREATE TABLE t AS SELECT n, md5(n::text) AS a, md5((n + 1)::text) AS b FROM generate_series(1, 800000) n",
    );
    let grant = DumpGrant::Postgresql(ServerGrant { databases: Some(vec!["app".into()]), ..postgresql(&live) });
    let repo = Repo::new();
    let during = |cancel: &CancellationToken, act: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            let saving = scope.spawn(|| repo.save(&grant, cancel));
            let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
            // It has begun to send rows.
            let sends = |pid: &u32| {
                let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
                let written = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse::<u64>().ok());
                written.is_some_and(|written| written > 1_000_000)
            };
            while !tools_of(&live).iter().any(sends) {
                assert!(std::time::Instant::now() < until, "pg_dump did not begin");
            }
            act();
            saving.join().unwrap()
        })
    };
    let killed = during(&CancellationToken::new(), &|| {
        for pid in tools_of(&live) {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    });
    let killed = killed.unwrap_err();
    assert!(killed.contains("app.pgdump") && killed.contains("pg_dump was ended by signal 9"), "{killed}");
    assert!(repo.is_empty());

    let ended = during(&CancellationToken::new(), &|| {
        live.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'");
    });
    let ended = ended.unwrap_err();
    assert!(ended.contains("pg_dump ended with exit code 1") && ended.contains("from server"), "{ended}");
    assert!(repo.is_empty());

    let cancel = CancellationToken::new();
    let cancelled = during(&cancel, &|| cancel.cancel()).unwrap_err();
    assert!(cancelled.contains("the run was ended"), "{cancelled}");
    assert!(repo.is_empty());
    assert_eq!(tools_of(&live), [0; 0], "nothing stays behind");

    // What a run of before left in the repository harms nothing.
    repo.save(&grant, &CancellationToken::new()).unwrap();
    if has_restic("a_dump_that_breaks_off_leaves_no_snapshot") {
        repo.restic(&["check", "--read-data"]);
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    if !live::have("what_stands_in_the_way_is_named", live::POSTGRESQL)
        || !live::have("what_stands_in_the_way_is_named", live::MARIADB)
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let said = |grant: DumpGrant| dump(&grant).map(drop).unwrap_err().to_string();
    let pg = Live::postgresql();
    pg.psql("postgres", "CREATE ROLE saver LOGIN PASSWORD 'pass:\\word' IN ROLE pg_read_all_data; CREATE DATABASE app; CREATE DATABASE bare");
    pg.psql("app", "CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    let saver = |password: &str| ServerGrant {
        host: Some("127.0.0.1".into()),
        socket: None,
        user: Some("saver".into()),
        password: Some(secret(folder.path(), password)),
        databases: Some(vec!["app".into()]),
        ..postgresql(&pg)
    };
    // Accounts that may only read, over the network: all, and what they were granted.
    let files = dump(&DumpGrant::Postgresql(saver("pass:\\word"))).unwrap();
    let globals = String::from_utf8(files[0].1.clone()).unwrap();
    assert!(globals.contains("CREATE ROLE saver") && globals.contains("SCRAM"), "{globals}");
    pg.psql("app", "REVOKE pg_read_all_data FROM saver; GRANT SELECT ON ALL TABLES IN SCHEMA public TO saver");
    let files = dump(&DumpGrant::Postgresql(saver("pass:\\word"))).unwrap();
    let globals = String::from_utf8(files[0].1.clone()).unwrap();
    assert!(globals.contains("CREATE ROLE saver") && !globals.contains("SCRAM"), "{globals}");
    let wrong = said(DumpGrant::Postgresql(saver("not the password")));
    assert!(
        wrong.contains("password authentication failed for user \"saver\"") && !wrong.contains("not the password"),
        "{wrong}"
    );
    let gone = said(DumpGrant::Postgresql(ServerGrant {
        databases: Some(vec!["app".into(), "shop".into()]),
        ..postgresql(&pg)
    }));
    assert!(
        gone.contains("no database `shop`") && gone.contains("app, bare, postgres") && gone.contains("grant.dump.app"),
        "{gone}"
    );
    let plan = database::dump("app", &DumpGrant::Postgresql(postgresql(&pg)), &CancellationToken::new()).unwrap();
    assert_eq!(plan.empty, ["bare"]);
    let missing = said(DumpGrant::Postgresql(ServerGrant { tools: Some(folder.path().to_owned()), ..postgresql(&pg) }));
    assert!(
        missing.contains("there is no `psql` in") && missing.contains("apt-get install postgresql-client"),
        "{missing}"
    );
    let down = DumpGrant::Postgresql(ServerGrant { port: Some(1), ..postgresql(&pg) });
    let down = said(down);
    assert!(down.contains("psql ended with exit code 2") && down.contains("Is the server running"), "{down}");

    let live = Live::mariadb();
    live.mariadb_sql(
        "CREATE DATABASE app; CREATE TABLE app.t (x int); CREATE DATABASE bare; CREATE USER saver@'%' IDENTIFIED BY 'pa\"s\\\\s';
         GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON app.* TO saver@'%'",
    );
    let saver = |password: &str, globals| {
        DumpGrant::Mariadb(ServerGrant {
            host: Some("127.0.0.1".into()),
            port: Some(live.port),
            user: Some("saver".into()),
            password: Some(secret(folder.path(), password)),
            globals,
            ..ServerGrant::default()
        })
    };
    assert_eq!(dump(&saver("pa\"s\\s", false)).unwrap()[0].0, "app.sql");
    let refused = said(saver("pa\"s\\s", true));
    assert!(refused.contains("GRANT SELECT ON mysql.*") && refused.contains("globals = false"), "{refused}");
    let wrong = said(saver("not the password", false));
    assert!(wrong.contains("Access denied for user 'saver'") && !wrong.contains("not the password"), "{wrong}");
    let plan = database::dump("app", &DumpGrant::Mariadb(mariadb(&live)), &CancellationToken::new()).unwrap();
    assert_eq!(plan.empty, ["bare"]);
    let gone = said(DumpGrant::Mariadb(ServerGrant { databases: Some(vec!["shop".into()]), ..mariadb(&live) }));
    assert!(gone.contains("no database `shop`") && gone.contains("app, bare"), "{gone}");
    let down = said(DumpGrant::Mariadb(ServerGrant { socket: Some(folder.path().join("none")), ..mariadb(&live) }));
    assert!(down.contains("Can't connect to local server"), "{down}");

    // The account of docs/backup.md sees what root sees.
    live.mariadb_sql(
        "CREATE USER upkeep@localhost IDENTIFIED BY 'x'; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO upkeep@localhost;
         CREATE FUNCTION app.twice(n int) RETURNS int DETERMINISTIC RETURN n * 2; CREATE VIEW app.v AS SELECT * FROM app.t;
         CREATE TRIGGER app.noted BEFORE INSERT ON app.t FOR EACH ROW SET NEW.x = 1;
         CREATE EVENT app.nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM app.t",
    );
    let password = Some(secret(folder.path(), "x"));
    let least = DumpGrant::Mariadb(ServerGrant { user: Some("upkeep".into()), password, ..mariadb(&live) });
    let (least, all) = (dump(&least).unwrap(), dump(&DumpGrant::Mariadb(mariadb(&live))).unwrap());
    for (one, other) in least.iter().zip(&all).skip(1) {
        assert!(one == other, "{}: the account does not see all of it", one.0);
    }
    let accounts = String::from_utf8(least[0].1.clone()).unwrap();
    assert!(accounts.contains("CREATE USER IF NOT EXISTS `saver`@`%` IDENTIFIED BY PASSWORD"), "{accounts}");
    let text = String::from_utf8(least[1].1.clone()).unwrap();
    for object in ["FUNCTION `twice`", "noted", "EVENT `nightly`", "VIEW `v`"] {
        assert!(text.contains(object), "{object}");
    }

    // Scratch servers have remedies too.
    let nowhere = ScratchOptions { tools: Some(folder.path().to_owned()), ..options() };
    for (engine, package) in
        [(Engine::Postgresql, "postgresql"), (Engine::Mariadb, "mariadb-server"), (Engine::Redis, "redis-server")]
    {
        let said = Scratch::start(engine, &nowhere).unwrap_err().to_string();
        assert!(said.contains(&format!("apt-get install {package}")), "{said}");
    }
}

#[test]
fn a_dump_is_of_one_moment_while_others_write() {
    let test = "a_dump_is_of_one_moment_while_others_write";
    if !live::have(test, live::POSTGRESQL) || !live::have(test, live::MARIADB) {
        return;
    }
    let both = [(Engine::Postgresql, Live::postgresql()), (Engine::Mariadb, Live::mariadb())];
    for (engine, live) in &both {
        let run = |statements: &str| match engine {
            Engine::Postgresql => live.psql("app", statements),
            _ => live.mariadb_sql(&format!("USE app; {statements}")),
        };
        let filler = match engine {
            Engine::Postgresql => {
                live.psql("postgres", "CREATE DATABASE app");
                "CREATE TABLE m AS SELECT n, md5(n::text) AS x FROM generate_series(1, 300000) n"
            }
            _ => {
                live.mariadb_sql("CREATE DATABASE app");
                "CREATE TABLE m ENGINE=InnoDB AS SELECT seq, MD5(seq) AS x FROM seq_1_to_300000"
            }
        };
        // In the dump, the filler is between the two.
        run("CREATE TABLE a (n int); CREATE TABLE z (n int); INSERT INTO a VALUES (0); INSERT INTO z VALUES (0)");
        run(filler);
        let grant = match engine {
            Engine::Postgresql => {
                DumpGrant::Postgresql(ServerGrant { databases: Some(vec!["app".into()]), ..postgresql(live) })
            }
            _ => DumpGrant::Mariadb(ServerGrant { databases: Some(vec!["app".into()]), ..mariadb(live) }),
        };
        let done = std::sync::atomic::AtomicBool::new(false);
        let (files, before, after) = std::thread::scope(|scope| {
            let (done, run) = (&done, &run);
            let writer = scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    // One client for many transactions, so that they come close to each other.
                    run(&"BEGIN; UPDATE a SET n = n + 1; UPDATE z SET n = n - 1; COMMIT;".repeat(50));
                }
            });
            std::thread::sleep(std::time::Duration::from_millis(300));
            let count = || run("SELECT n FROM a").trim().parse::<i64>().unwrap();
            let before = count();
            let files = dump(&grant);
            let after = count();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            writer.join().unwrap();
            (files.unwrap(), before, after)
        });
        assert!(after > before + 50, "{engine}: the writer stood still: {before} to {after}");
        let mut scratch = Scratch::start(*engine, &options()).unwrap();
        load(&mut scratch, &files);
        let sums =
            scratch.query("app", "SELECT a.n, a.n + z.n, (SELECT count(*) FROM m) FROM a, z").unwrap().rows.concat();
        let sums: Vec<i64> = sums.into_iter().map(|sum| sum.unwrap().parse().unwrap()).collect();
        assert_eq!(sums[1..], [0, 300_000], "{engine}");
        assert!(sums[0] >= before && sums[0] < after, "{engine}: {before} to {after}: {}", sums[0]);
    }
}

#[test]
fn the_printed_commands_restore_a_live_server() {
    let test = "the_printed_commands_restore_a_live_server";
    if !live::have(test, live::POSTGRESQL) || !live::have(test, live::MARIADB) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let odd = "it's \"odd\" a=b/数据";
    let (old, new) = (Live::postgresql(), Live::postgresql());
    old.psql("postgres", POSTGRESQL);
    old.psql("app", POSTGRESQL_APP);
    old.psql(odd, "CREATE TABLE t (x text)");
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let wanted = Some(vec!["app".to_owned(), odd.to_owned()]);
    let files = dump(&DumpGrant::Postgresql(ServerGrant { databases: wanted, ..postgresql(&old) })).unwrap();
    for (name, content) in &files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let password = Some(secret(folder.path(), "hunter2"));
    let grant = DumpGrant::Postgresql(ServerGrant { password, ..postgresql(&new) });
    let mut lines = Vec::new();
    for (attempt, replace) in [(0, false), (1, true)] {
        for step in database::restore_steps("app", &grant, &names(&files), replace).unwrap() {
            let RestoreStep::Run(command) = step else { panic!("{step:?}") };
            let line = command.line(folder.path());
            assert!(!line.contains("hunter2"), "{line}");
            if attempt == 0 {
                // As a person would.
                let status = Command::new("sh").args(["-c", &line]).status().unwrap();
                assert!(status.success() || command.forgiving, "{line}");
            } else {
                let content = std::fs::read(folder.path().join(&command.file)).unwrap();
                let done = command.run(&mut &content[..], &cancel);
                assert!(done.is_ok() || command.forgiving, "{line}: {done:?}");
            }
            lines.push(line);
        }
    }
    assert!(lines[1].contains("pg_restore") && lines[1].contains("PGPASSWORD='***'"), "{}", lines[1]);
    assert_eq!(database::databases("app", &grant, &cancel).unwrap(), ["app", odd, "postgres"]);
    let content = |live: &Live| postgresql_content(|statement| live.psql("app", statement));
    assert_eq!(content(&old), content(&new));

    let (old, new) = (Live::mariadb(), Live::mariadb());
    old.mariadb_sql(MARIADB);
    let files = dump(&DumpGrant::Mariadb(mariadb(&old))).unwrap();
    for (name, content) in &files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let grant = DumpGrant::Mariadb(mariadb(&new));
    for step in database::restore_steps("app", &grant, &names(&files), false).unwrap() {
        let RestoreStep::Run(command) = step else { panic!("{step:?}") };
        let line = command.line(folder.path());
        let status = Command::new("sh").args(["-c", &line]).status().unwrap();
        assert!(status.success() || command.forgiving, "{line}");
    }
    for statement in MARIADB_CONTENT {
        assert_eq!(new.mariadb_sql(statement), old.mariadb_sql(statement), "{statement}");
    }
    for shown in ["SHOW TRIGGERS FROM app", "SHOW EVENTS FROM app"] {
        let names = |live: &Live| live.mariadb_sql(shown).split('\t').next().map(str::to_owned);
        assert_eq!(names(&new), names(&old), "{shown}");
    }
    assert!(new.mariadb_sql("SHOW GRANTS FOR app@localhost").contains("`app`.*"));
}
