//! Databases of real servers: dumped while they are in use, loaded into scratch servers, and equal.

use std::io::Read;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;
use upkeep::config::dump::{DumpGrant, ServerGrant};
use upkeep::database::{self, DatabaseError, Engine, Scratch, ScratchOptions};

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
        let lines = text.lines().filter(|line| line.contains("app") || line.contains("odd"));
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
