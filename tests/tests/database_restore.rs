//! Dumps of database servers that go back by `upkeep backup restore TASK --database NAME`: into the server that they are
//! from and into another one, by the commands that it shows and by no others.
//!
//! It needs what `make build plugins` makes; the variables UPKEEP and PLUGINS name another program and folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "databases/live.rs"]
#[expect(dead_code, reason = "the servers of the databases serve here too, not all of them")]
mod live;
#[path = "damage/stage.rs"]
#[expect(dead_code, reason = "the stage of the damages serves here too, not all of it")]
mod stage;

use live::Live;
use stage::{Stage, upkeep};

/// A task `app` that saves the server `shop` of this grant.
fn task(grant: &str) -> Stage {
    let stage = Stage::empty();
    stage.write(
        "etc/tasks.d/app.toml",
        &format!(
            "plugin = \"backup\"\n[config]\nrepository = \"main\"\ndatabases = [\"shop\"]\n[grant]\nstate = true\n\
             metrics = true\n{grant}\ntools = \"{}\"\n[grant.repository.main]\nurl = \"{}\"\npassword = {{ file = \"{}\" }}\n",
            stage.shown("tools"),
            stage.shown("repository"),
            stage.shown("password")
        ),
    );
    stage
}

/// A folder of programs that note their arguments and become the real ones.
fn tools(stage: &Stage, programs: &[&str]) {
    fs::create_dir_all(stage.path("tools")).expect("a folder");
    for program in programs {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> = versions.map(|it| it.path().join("bin")).collect();
        folders.push("/usr/bin".into());
        let real = folders.iter().map(|folder| folder.join(program)).find(|it| it.is_file()).expect("it is installed");
        let script = format!(
            "#!/bin/sh\n{{ printf '%s' \"$0\"; for it in \"$@\"; do printf ' %s' \"$it\"; done; echo; }} >> {}\nexec {} \"$@\"\n",
            stage.shown("run"),
            real.display()
        );
        let path = stage.path("tools").join(program);
        fs::write(&path, script).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
}

/// What a command gave: its code, and all that it showed.
fn told(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let output = stage.upkeep(&[&["backup", "restore", "app", "--database", "shop"], arguments].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a code"), String::from_utf8(text).expect("text"))
}

fn done(stage: &Stage, arguments: &[&str]) -> String {
    let (code, text) = told(stage, arguments);
    assert_eq!(code, 0, "{arguments:?}: {text}");
    text
}

/// The commands that were shown, as `(what gives the file, what takes it)`.
fn shown(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0].starts_with("   upkeep backup cat ") && pair[0].ends_with(" |"));
    pairs.map(|pair| (pair[0].trim().trim_end_matches(" |").to_owned(), pair[1].trim().to_owned())).collect()
}

/// Those that were run since the last question, without what only asked.
fn ran(stage: &Stage) -> Vec<String> {
    let text = fs::read_to_string(stage.path("run")).unwrap_or_default();
    let _ = fs::remove_file(stage.path("run"));
    // A separator of psql's has a line break in it.
    let asks = |line: &&str| {
        ["--record-separator=", " --command ", " --execute=", " --version"].iter().any(|it| line.contains(it))
    };
    text.lines().filter(|line| !asks(line)).map(str::to_owned).collect()
}

/// A command as it is run: a password comes by a variable, and not in the arguments.
fn without_password(command: &str) -> String {
    command.split_once("='***' ").map_or(command, |(_, command)| command).to_owned()
}

/// Does what was shown, as a person would in a shell.
fn by_hand(stage: &Stage, text: &str) {
    let folder = upkeep().parent().expect("a folder").display().to_string();
    for (cat, command) in shown(text) {
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &format!("{cat} | {command}")])
            .env("PATH", format!("{folder}:/usr/bin:/bin"))
            .env("UPKEEP_CONFIG", stage.path("etc"))
            .output()
            .expect("a shell");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || said.contains(" at line "), "{cat} | {command}: {said}");
    }
    ran(stage);
}

fn secret(stage: &Stage, name: &str, value: &str) -> String {
    stage.write(name, value);
    fs::set_permissions(stage.path(name), fs::Permissions::from_mode(0o600)).expect("a mode");
    stage.shown(name)
}

fn socket(folder: &Path, port: u16) -> String {
    format!("{}:{port}", folder.display())
}

#[test]
fn a_postgresql_dump_goes_back_and_to_another_server() {
    if !live::have("a_postgresql_dump_goes_back_and_to_another_server", live::POSTGRESQL) {
        return;
    }
    let (old, new, third) = (Live::postgresql(), Live::postgresql(), Live::postgresql());
    let folder = old.folder.path().display().to_string();
    let stage =
        task(&format!("[grant.dump.shop.postgresql]\nuser = \"boss\"\nsocket = \"{folder}\"\nport = {}", old.port));
    tools(&stage, &["psql", "pg_dump", "pg_dumpall", "pg_restore"]);
    let odd = "it's \"odd\" a=b";
    old.psql("postgres", "CREATE ROLE owner LOGIN PASSWORD 'pw of owner'");
    old.psql("postgres", "CREATE DATABASE shop OWNER owner");
    old.psql("postgres", "CREATE DATABASE \"it's \"\"odd\"\" a=b\"");
    // Some have tables where nobody looks for them.
    old.psql("postgres", "CREATE TABLE stray AS SELECT 42 AS n");
    old.psql(odd, "CREATE TABLE t AS SELECT 'here' AS x");
    old.psql(
        "shop",
        "CREATE TABLE item (id int PRIMARY KEY, name text); ALTER TABLE item OWNER TO owner;
         CREATE TABLE sale (item int REFERENCES item); INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 2000) n;
         INSERT INTO sale SELECT 1 + n % 2000 FROM generate_series(1, 5000) n",
    );
    stage.save("app");
    ran(&stage);
    let content = |live: &Live| {
        let ask = |database: &str, query: &str| live.psql(database, query).trim().to_owned();
        [
            ask("shop", "SELECT md5(string_agg(i::text, '|' ORDER BY id)) FROM item i"),
            ask("shop", "SELECT count(*) FROM sale JOIN item ON id = item"),
            ask("shop", "SELECT tableowner FROM pg_tables WHERE tablename = 'item'"),
            ask(odd, "SELECT x FROM t"),
            ask("postgres", "SELECT n FROM stray"),
            ask("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'owner'"),
        ]
    };
    let saved = content(&old);

    // What is shown is what is run, word for word; and to show it does nothing.
    let there = socket(new.folder.path(), new.port);
    let to_new = ["--to-server", &there, "--user", "boss"];
    let printed = done(&stage, &[&to_new[..], &["--print-only"]].concat());
    assert_eq!(ran(&stage), [""; 0], "{printed}");
    assert_eq!(shown(&printed).len(), 4, "{printed}");
    let text = done(&stage, &to_new);
    assert_eq!(shown(&text), shown(&printed));
    let commands: Vec<_> = shown(&text).into_iter().map(|(_, command)| command).collect();
    assert_eq!(ran(&stage), commands, "{text}");
    assert_eq!(content(&new), saved);

    // By hand, it is the same.
    let there = socket(third.folder.path(), third.port);
    by_hand(&stage, &done(&stage, &["--to-server", &there, "--user", "boss", "--print-only"]));
    assert_eq!(content(&third), saved);

    // What is there stays, until told otherwise, twice.
    new.psql("shop", "DELETE FROM sale");
    let (code, text) = told(&stage, &to_new);
    assert!(code == 2 && text.contains("has these databases already: it's") && text.contains("shop"), "{code}: {text}");
    let (code, text) = told(&stage, &[&to_new[..], &["--overwrite"]].concat());
    assert!(code == 2 && text.contains("`--yes`"), "{code}: {text}");
    ran(&stage);
    assert_eq!(new.psql("shop", "SELECT count(*) FROM sale").trim(), "0");
    let text = done(&stage, &[&to_new[..], &["--overwrite", "--yes"]].concat());
    let commands: Vec<_> = shown(&text).into_iter().map(|(_, command)| command).collect();
    assert_eq!(ran(&stage), commands, "{text}");
    assert_eq!(content(&new), saved);
    // And into the server that it is from.
    old.psql("shop", "DROP TABLE sale; DROP TABLE item");
    done(&stage, &["--overwrite", "--yes"]);
    assert_eq!(content(&old), saved);

    // Over the network, where the account has a password.
    third.psql("postgres", "CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'pw of chief'");
    third.psql("shop", "DELETE FROM sale");
    let address = format!("127.0.0.1:{}", third.port);
    let by_network = ["--to-server", &address, "--user", "chief", "--overwrite", "--yes"];
    let (code, text) = told(&stage, &by_network);
    assert!(
        code == 1 && text.contains("no password supplied") && text.contains("`--user-password-file FILE`"),
        "{text}"
    );
    let with = |value: &str| {
        let file = secret(&stage, "chief", value);
        told(&stage, &[&by_network[..], &["--user-password-file", &file]].concat())
    };
    let (code, text) = with("pw of nobody");
    assert!(
        code == 1 && text.contains("password authentication failed") && text.contains("another password"),
        "{text}"
    );
    ran(&stage);
    let (code, text) = with("pw of chief\n");
    assert!(code == 0 && text.contains("PGPASSWORD='***' ") && !text.contains("pw of chief"), "{text}");
    let commands: Vec<_> = shown(&text).iter().map(|(_, command)| without_password(command)).collect();
    assert_eq!(ran(&stage), commands, "{text}");
    assert_eq!(content(&third), saved);
}

#[test]
fn a_mariadb_dump_goes_back_and_to_another_server() {
    if !live::have("a_mariadb_dump_goes_back_and_to_another_server", live::MARIADB) {
        return;
    }
    let (old, new, third) = (Live::mariadb(), Live::mariadb(), Live::mariadb());
    let stage = task(&format!("[grant.dump.shop.mariadb]\nuser = \"root\"\nsocket = \"{}\"", old.path("s").display()));
    tools(&stage, &["mariadb", "mariadb-dump"]);
    old.mariadb_sql(
        "CREATE USER app@localhost IDENTIFIED BY 'pw of app'; CREATE DATABASE shop; GRANT SELECT ON shop.* TO app@localhost;
         CREATE DATABASE `it's \"odd\" a=b`; CREATE TABLE `it's \"odd\" a=b`.t (x text); INSERT INTO `it's \"odd\" a=b`.t VALUES ('here');
         USE shop; CREATE TABLE item (id int PRIMARY KEY, name text) ENGINE=InnoDB;
         CREATE TABLE sale (item int, FOREIGN KEY (item) REFERENCES item (id)) ENGINE=InnoDB;
         INSERT INTO item SELECT seq, CONCAT('item ', seq) FROM seq_1_to_2000;
         INSERT INTO sale SELECT 1 + seq % 2000 FROM seq_1_to_5000;
         CREATE PROCEDURE twice(n int) SELECT n * 2;",
    );
    stage.save("app");
    ran(&stage);
    let content = |live: &Live| {
        [
            "CHECKSUM TABLE shop.item, shop.sale",
            "SELECT COUNT(*) FROM shop.sale JOIN shop.item ON id = item",
            "SELECT x FROM `it's \"odd\" a=b`.t",
            "CALL shop.twice(21)",
            "SHOW GRANTS FOR app@localhost",
        ]
        .map(|statement| live.mariadb_sql(statement))
    };
    let saved = content(&old);

    let there = new.path("s").display().to_string();
    let to_new = ["--to-server", &there];
    let printed = done(&stage, &[&to_new[..], &["--print-only"]].concat());
    assert_eq!((ran(&stage), shown(&printed).len()), (vec![], 3), "{printed}");
    let text = done(&stage, &to_new);
    assert_eq!(shown(&text), shown(&printed));
    let commands: Vec<_> = shown(&text).into_iter().map(|(_, command)| command).collect();
    assert_eq!(ran(&stage), commands, "{text}");
    assert_eq!(content(&new), saved);
    let third_socket = third.path("s").display().to_string();
    by_hand(&stage, &done(&stage, &["--to-server", &third_socket, "--print-only"]));
    assert_eq!(content(&third), saved);

    new.mariadb_sql("DELETE FROM shop.sale");
    let (code, text) = told(&stage, &to_new);
    assert!(code == 2 && text.contains("has these databases already: it's") && text.contains("shop"), "{code}: {text}");
    assert_eq!(new.mariadb_sql("SELECT COUNT(*) FROM shop.sale").trim(), "0");
    done(&stage, &[&to_new[..], &["--overwrite", "--yes"]].concat());
    assert_eq!(content(&new), saved);
    old.mariadb_sql("DROP DATABASE shop");
    done(&stage, &["--overwrite", "--yes"]);
    assert_eq!(content(&old), saved);

    third.mariadb_sql("GRANT ALL ON *.* TO chief@localhost IDENTIFIED BY 'pw \"of\" chief' WITH GRANT OPTION");
    third.mariadb_sql("DELETE FROM shop.sale");
    let address = format!("127.0.0.1:{}", third.port);
    let by_network = ["--to-server", &address, "--user", "chief", "--overwrite", "--yes"];
    let (code, text) = told(&stage, &by_network);
    assert!(code == 1 && text.contains("using password: NO") && text.contains("`--user-password-file FILE`"), "{text}");
    ran(&stage);
    let file = secret(&stage, "chief", "pw \"of\" chief\n");
    let text = done(&stage, &[&by_network[..], &["--user-password-file", &file]].concat());
    assert!(text.contains("MYSQL_PWD='***' ") && !text.contains("of\" chief"), "{text}");
    let commands: Vec<_> = shown(&text).iter().map(|(_, command)| without_password(command)).collect();
    assert_eq!(ran(&stage), commands, "{text}");
    assert_eq!(content(&third), saved);
}
