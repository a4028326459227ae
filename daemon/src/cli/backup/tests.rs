use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::capability::repository::task_tag;
use crate::cli::screen::tests::terminal;
use crate::clock::Timestamp;
use crate::config::secret::Secret;
use crate::repository::source::{FileSource, FolderSource};
use crate::repository::{Label, Repository, Watch};
use crate::root::Root;
use crate::root::exclude::Exclude;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: BackupArgs,
}

/// A folder with two sources and a repository of two tasks.
struct Place {
    folder: tempfile::TempDir,
    grant: RepositoryGrant,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, "secret").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        for (name, content) in [("app", "content"), ("logs", "GET /"), ("site", "<html>")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("file"), content).unwrap();
        }
        let grant = RepositoryGrant::new(folder.path().join("repository").to_str().unwrap(), Secret::File(password));
        Self { folder, grant }
    }

    fn real(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    fn save(&self, task: &str, name: &str, minute: i64) {
        let root = Root::open(&self.folder.path().join(name)).unwrap();
        let exclude = Exclude::new(&[]).unwrap();
        let source = FolderSource::new(root, exclude, None, false, Watch::new(CancellationToken::new()));
        let time = Timestamp(1_795_417_445_000 + minute * 60_000);
        let label = Label { host: "server".into(), tags: vec![task_tag(task)], time };
        Repository::open_or_make(&self.grant).unwrap().backup(&source, label, Arc::new(|_, _| {})).unwrap();
    }

    /// What is printed, without what differs from run to run.
    fn run(&self, arguments: &[&str]) -> Result<(Exit, String), Failure> {
        let command = Command::parse_from([&["backup"], arguments].concat());
        let dumps = BTreeMap::new();
        let of = |task| TaskRepository { task, name: "main", grant: &self.grant, dumps: &dumps };
        let mut out = Vec::new();
        let exit = backup(&command.args, &[of("backup"), of("web")], &terminal(), &mut out);
        match exit {
            Ok(exit) => Ok((exit, String::from_utf8(out).unwrap())),
            Err(error) => Err(error.downcast().unwrap()),
        }
    }
}

#[test]
fn lists_what_each_task_saved() {
    let place = Place::new();
    let (exit, text) = place.run(&["list"]).unwrap();
    assert_eq!((exit, text.starts_with("no backup yet in /")), (Exit::Done, true), "{text}");
    place.save("backup", "app", 0);
    place.save("web", "site", 1);
    let (_, text) = place.run(&["list"]).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    assert!(lines[1].ends_with("/app") && lines[5].ends_with("/site"), "{text}");
    assert!(lines[2].starts_with("  SNAPSHOT  TIME (UTC+08:00)  AGE  FILES  SIZE  TASK    TAGS"), "{text}");
    assert!(lines[3].contains("2026-11-23 15:04  now  1      7 B   backup  (newest)"), "{text}");
    assert!(lines[2..].iter().all(|line| line.chars().count() <= 80), "{text}");
    let (_, text) = place.run(&["list", "web"]).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    let (_, json) = place.run(&["list", "backup", "--json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["snapshots"][0]["paths"][0], place.real().join("app").to_str().unwrap());
    assert_eq!(json["snapshots"][0]["id"].as_str().unwrap().len(), 64);
    assert_eq!(place.run(&["list", "none"]).unwrap_err().exit, Exit::NotFound);
    fs::write(place.folder.path().join("password"), "wrong").unwrap();
    assert_eq!(place.run(&["list"]).unwrap_err().exit, Exit::Usage);
}

#[test]
fn restores_the_newest_of_each_source_below_the_target() {
    let place = Place::new();
    place.save("backup", "app", 0);
    place.save("backup", "logs", 1);
    place.save("web", "site", 2);
    fs::write(place.folder.path().join("app/file"), "newer").unwrap();
    place.save("backup", "app", 3);
    let target = place.folder.path().join("target");
    let target_text = target.to_str().unwrap();
    let below = |name: &str| target.join(place.real().strip_prefix("/").unwrap()).join(name).join("file");

    let (exit, text) = place.run(&["restore", "backup", "--target", target_text, "--dry-run"]).unwrap();
    assert!(text.contains("To write:      2 files in ") && text.contains("/app -> /"), "{text}");
    assert_eq!((exit, target.exists()), (Exit::Done, false));
    let (exit, text) = place.run(&["restore", "backup", "--target", target_text]).unwrap();
    assert_eq!(exit, Exit::Done, "{text}");
    assert_eq!(fs::read_to_string(below("app")).unwrap(), "newer");
    assert_eq!(fs::read_to_string(below("logs")).unwrap(), "GET /");
    assert!(!below("site").exists());
    assert!(text.contains("read again and equal to what was saved"), "{text}");

    // Once more: nothing is left to be done. Beside what is there: nothing is in the way.
    let (_, text) = place.run(&["restore", "backup", "--target", target_text]).unwrap();
    assert!(text.contains("To write:      0 files in 0 folders") && text.contains("Right already: 2 files"), "{text}");
    place.run(&["restore", "web", "--target", target_text]).unwrap();
    assert_eq!(fs::read_to_string(below("site")).unwrap(), "<html>");

    fs::write(below("site"), "mine").unwrap();
    let refused = place.run(&["restore", "web", "--target", target_text]).unwrap_err();
    assert!(refused.help.unwrap().contains("--overwrite"));
    let unasked = place.run(&["restore", "web", "--target", target_text, "--overwrite"]).unwrap_err();
    assert!(unasked.help.unwrap().contains("--yes"));
    assert_eq!(fs::read_to_string(below("site")).unwrap(), "mine");
    place.run(&["restore", "web", "--target", target_text, "--overwrite", "--yes"]).unwrap();
    assert_eq!(fs::read_to_string(below("site")).unwrap(), "<html>");

    let part = place.folder.path().join("part");
    let path = place.real().join("logs/file");
    let arguments = ["restore", "backup", "--target", part.to_str().unwrap(), "--path", path.to_str().unwrap()];
    place.run(&arguments).unwrap();
    let restored = part.join(path.strip_prefix("/").unwrap());
    assert_eq!(fs::read_to_string(restored).unwrap(), "GET /");
    let nothing = place.run(&["restore", "web", "--target", "/tmp/none", "--path", "/nowhere"]).unwrap_err();
    assert_eq!(nothing.exit, Exit::NotFound);
    let unknown = place.run(&["restore", "web", "ffffffff", "--target", "/tmp/none"]).unwrap_err();
    assert_eq!(unknown.exit, Exit::NotFound);
}

#[test]
fn a_dump_replaces_the_copy_of_the_database_that_its_folder_holds() {
    let place = Place::new();
    let database = place.real().join("app/app.db");
    let sqlite = |rest: &str| format!("SQLite format 3\0{rest}");
    for (suffix, content) in [("", sqlite("torn")), ("-wal", "journal".to_owned()), ("-shm", String::new())] {
        fs::write(format!("{}{suffix}", database.display()), content).unwrap();
    }
    place.save("backup", "app", 0);
    // Of the same size and time as the torn copy, as the dump of a database that rests is.
    let copy = place.folder.path().join("copy");
    fs::write(&copy, sqlite("good")).unwrap();
    let source = FileSource::new(copy, database.clone(), Watch::new(CancellationToken::new()));
    let label = Label { host: "server".into(), tags: vec![task_tag("backup")], time: Timestamp(1_795_417_445_000) };
    Repository::open_or_make(&place.grant).unwrap().backup(&source, label, Arc::new(|_, _| {})).unwrap();

    let target = place.folder.path().join("target");
    place.run(&["restore", "backup", "--target", target.to_str().unwrap()]).unwrap();
    let app = target.join(database.strip_prefix("/").unwrap().parent().unwrap());
    assert_eq!(fs::read_to_string(app.join("app.db")).unwrap(), sqlite("good"));
    let mut names: Vec<_> = fs::read_dir(app).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["app.db", "file"]);
}

#[test]
fn snapshots_are_looked_into_without_a_restore() {
    let place = Place::new();
    place.save("backup", "app", 0);
    fs::write(place.folder.path().join("app/file"), "changed content").unwrap();
    fs::write(place.folder.path().join("app/new"), "new").unwrap();
    place.save("backup", "app", 60);
    place.save("web", "site", 61);
    let app = place.real().join("app");
    let at = |name: &str| app.join(name).display().to_string();

    let (_, text) = place.run(&["ls", &format!("latest:{}", app.display())]).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("      15 B  ") && text.contains("  new\n"), "{text}");
    let (_, text) = place.run(&["ls", "-R", "2026-11-23 15:30", "--task", "backup", "--json"]).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    let entry: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((entry["path"].as_str(), entry["size"].as_u64()), (Some(&*at("file")), Some(7)));

    assert_eq!(place.run(&["cat", "latest", &at("file")]).unwrap().1, "changed content");
    assert_eq!(place.run(&["cat", "2026-11-23 15:30", &at("file")]).unwrap().1, "content");
    assert_eq!(place.run(&["cat", "latest", "file"]).unwrap_err().exit, Exit::Usage);
    assert_eq!(place.run(&["cat", "latest", &at("none")]).unwrap_err().exit, Exit::NotFound);
    assert_eq!(place.run(&["cat", "latest", app.to_str().unwrap()]).unwrap_err().exit, Exit::Usage);

    let (_, text) = place.run(&["find", "file", "--task", "backup"]).unwrap();
    assert!(text.starts_with(&at("file")) && text.contains("      7 B,") && text.contains("     15 B,"), "{text}");
    let (_, text) = place.run(&["find", "app/n*", "--older", "2026-11-23 15:30"]).unwrap();
    assert_eq!(text, "nothing of that name in 1 snapshot\n");
    let (_, json) = place.run(&["find", "app/n*", "--json"]).unwrap();
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["found"][0]["snapshots"].as_array().unwrap().len(), 1);

    let first = format!("2026-11-23 15:30:{}", app.display());
    let (_, text) = place.run(&["diff", &first, "latest:app"]).unwrap();
    assert!(text.contains(&format!("M            7 B to 15 B  {}", at("file"))), "{text}");
    assert!(text.contains(&format!("3 B  {}", at("new"))), "{text}");
    assert!(text.ends_with("1 added (3 B), 0 removed (0 B), 1 changed (15 B), 0 with other attributes\n"), "{text}");
    fs::remove_file(app.join("new")).unwrap();
    let (_, text) = place.run(&["diff", "latest:app", "--stat"]).unwrap();
    assert!(text.ends_with("0 added (0 B), 1 removed (3 B), 0 changed (0 B), 0 with other attributes\n"), "{text}");

    let (exit, text) = place.run(&["verify", "latest:site", "--target", "/"]).unwrap();
    assert_eq!((exit, text.contains("equal to what was saved")), (Exit::Done, true), "{text}");
    fs::set_permissions(place.folder.path().join("site/file"), fs::Permissions::from_mode(0o600)).unwrap();
    let (exit, text) = place.run(&["verify", "web", "--target", "/"]).unwrap();
    assert_eq!((exit, text.contains("its mode is 0600 instead of ")), (Exit::Unsuccessful, true), "{text}");
}

#[test]
fn a_repository_is_enough() {
    let place = Place::new();
    place.save("backup", "app", 0);
    let run = |arguments: &[&str]| {
        let password = place.folder.path().join("password");
        let bare = ["--repository", &place.grant.url, "--password-file", password.to_str().unwrap()];
        let command = Command::parse_from([&["backup"], arguments, &bare].concat());
        assert!(command.args.is_bare());
        let mut out = Vec::new();
        let exit = backup(&command.args, &[], &terminal(), &mut out).unwrap();
        (exit, String::from_utf8(out).unwrap())
    };
    assert!(run(&["list"]).1.contains("backup  (newest)"));
    let target = place.folder.path().join("target");
    for what in ["backup", "latest"] {
        let (exit, text) = run(&["restore", what, "--target", target.to_str().unwrap()]);
        assert_eq!(exit, Exit::Done, "{text}");
    }
    let file = place.real().join("app/file");
    assert_eq!(fs::read_to_string(target.join(file.strip_prefix("/").unwrap())).unwrap(), "content");
}
