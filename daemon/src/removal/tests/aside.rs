//! Moving aside, having back, and the end of that.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, UNIX_EPOCH};

use super::super::aside::{Undone, expire, undo};
use super::*;

fn put_back(run: &Path) -> Undone {
    undo(run).unwrap().unwrap()
}

/// What is aside in the root, as paths beneath `.upkeep-undo`.
fn kept(place: &Place) -> Vec<String> {
    let (mut kept, above) = (Vec::new(), place.at(ASIDE));
    let mut waiting = vec![above.clone()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            kept.push(path.strip_prefix(&above).unwrap().display().to_string());
            waiting.push(path);
        }
    }
    kept.sort();
    kept
}

fn ledger(run: &Path) -> PathBuf {
    run.join("data.ledger")
}

#[test]
fn all_kinds_of_things_come_back_as_they_were() {
    let place = Place::with(&["one/two/file", "one/hard", "top"]);
    let is_root = rustix::process::geteuid().is_root();
    let long = "n".repeat(255);
    let odd: [&[u8]; 6] = [
        b"one/not\xff\xfeutf",
        b"one/new\nline",
        b"one/back\\slash",
        b"one/ space ",
        long.as_bytes(),
        "一.日志".as_bytes(),
    ];
    for name in odd {
        fs::write(place.at("").join(OsStr::from_bytes(name)), "odd").unwrap();
    }
    fs::hard_link(place.at("one/hard"), place.at("one/two/the same")).unwrap();
    symlink("/nowhere/at all", place.at("one/link")).unwrap();
    let modified = UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
    let times = fs::FileTimes::new().set_modified(modified).set_accessed(modified - Duration::from_secs(5));
    fs::File::options().write(true).open(place.at("one/two/file")).unwrap().set_times(times).unwrap();
    fs::set_permissions(place.at("one/two/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(place.at("one/two"), fs::Permissions::from_mode(0o2775)).unwrap();
    if is_root {
        std::os::unix::fs::lchown(place.at("one/link"), Some(7), Some(8)).unwrap();
        std::os::unix::fs::chown(place.at("one/two"), Some(1_000), Some(1_001)).unwrap();
        fs::set_permissions(place.at("one/two"), fs::Permissions::from_mode(0o2775)).unwrap();
    }
    fs::File::open(place.at("one/two")).unwrap().set_times(times).unwrap();
    let before = place.tree();
    let two = fs::metadata(place.at("one/two")).unwrap();

    let paths = ["one/two/file", "one/two/the same", "one/hard", "one/link", "top", "one/two", "one"];
    let mut items: Vec<_> = paths.iter().map(|path| place.item(path)).collect();
    items.extend(odd.map(|name| place.item_at(Path::new(OsStr::from_bytes(name)))));
    let (run, done) = place.move_items_aside(&items);
    assert_eq!((done.removed.items, done.failed.items, done.aside), (13, 0, true), "{done:?}");
    assert!(place.tree().is_empty());
    let aside = fs::metadata(place.at(ASIDE)).unwrap();
    assert_eq!(aside.mode() & 0o7777, 0o700, "nobody else enters");

    let undone = put_back(&run);
    assert_eq!((undone.restored.items, undone.folders, undone.left), (11, 2, 0), "{undone:?}");
    assert_eq!(undone.problems, Vec::<String>::new());
    assert_eq!(place.tree(), before);
    assert_eq!(fs::metadata(place.at("one/hard")).unwrap().nlink(), 2);
    let now = fs::metadata(place.at("one/two/file")).unwrap();
    assert_eq!(now.accessed().unwrap(), modified - Duration::from_secs(5));
    // A folder is another one, and is as it was all the same.
    let again = fs::metadata(place.at("one/two")).unwrap();
    let of = |it: &fs::Metadata| (it.mode(), it.uid(), it.gid(), it.modified().unwrap());
    assert_eq!((of(&again), again.modified().unwrap()), (of(&two), modified));
    assert_eq!(kept(&place), Vec::<String>::new());
    assert!(!place.at(ASIDE).exists() && !ledger(&run).exists());
    assert_eq!(undo(&run).unwrap(), None, "there is nothing left to undo");
}

#[test]
fn attributes_and_access_lists_of_folders_come_back() {
    // Where attributes of users are kept; not every /tmp does.
    let place = Place { folder: tempfile::tempdir_in("/var/tmp").unwrap(), runs: Cell::new(0) };
    fs::create_dir(place.at("")).unwrap();
    fs::create_dir_all(place.at("listed")).unwrap();
    fs::create_dir_all(place.at("plain/inside")).unwrap();
    let tool = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).current_dir(place.at("")).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let set = [
        tool("setfacl", &["-m", "u:1:rwx,g::---,d:u:2:r-x", "listed"]),
        tool("setfacl", &["-m", "d:u:2:rwx", "plain"]),
        tool("setfacl", &["-b", "plain/inside"]),
        tool("setfattr", &["-n", "user.origin", "-v", "the upload server", "listed"]),
    ];
    if set.contains(&None) {
        eprintln!("SKIPPED: attributes cannot be set here (apt-get install acl attr)");
        assert!(std::env::var_os("CI").is_none(), "CI must not skip");
        return;
    }
    let look = |name| (tool("getfacl", &["-n", "-p", name]).unwrap(), tool("getfattr", &["-d", name]).unwrap());
    let before = (look("listed"), look("plain/inside"));
    let (run, done) = place.move_aside(&["listed", "plain/inside"]);
    assert_eq!((done.removed.items, place.names().len()), (2, 1));
    let undone = put_back(&run);
    assert_eq!((undone.folders, undone.problems), (2, vec![]));
    assert_eq!((look("listed"), look("plain/inside")), before, "also what was not on the list of the folder above");
}

#[test]
fn what_stands_there_now_is_not_touched() {
    let place = Place::with(&["a", "b", "folder/c", "gone/d", "moved/e"]);
    let (run, _) = place.move_aside(&["a", "b", "folder/c", "gone/d", "moved/e"]);
    place.write("a", "somebody's new one");
    fs::remove_dir(place.at("gone")).unwrap();
    fs::rename(place.at("moved"), place.folder.path().join("outside")).unwrap();
    symlink(place.folder.path().join("outside"), place.at("moved")).unwrap();
    let undone = put_back(&run);
    assert_eq!((undone.restored.items, undone.left), (2, 3), "{undone:?}");
    assert!(undone.problems[0].starts_with("a: something else stands there now"));
    assert!(undone.problems[1].starts_with("gone/d: the folder that it stood in is gone"));
    assert!(undone.problems[2].contains("symbolic link"), "{undone:?}");
    assert_eq!(fs::read_to_string(place.at("a")).unwrap(), "somebody's new one");
    assert_eq!(fs::read_dir(place.folder.path().join("outside")).unwrap().count(), 0, "nothing went out");
    // Once what is in the way is gone, the rest comes back.
    fs::remove_file(place.at("a")).unwrap();
    fs::remove_file(place.at("moved")).unwrap();
    for folder in ["gone", "moved"] {
        fs::create_dir(place.at(folder)).unwrap();
    }
    let undone = put_back(&run);
    assert_eq!((undone.restored.items, undone.left), (3, 0), "{undone:?}");
    assert_eq!(fs::read_to_string(place.at("a")).unwrap(), "0123456789");
    assert!(!place.at(ASIDE).exists());
}

#[test]
fn what_is_aside_goes_when_its_time_is_over_and_only_from_its_root() {
    let place = Place::with(&["a", "b", "c"]);
    let (first, _) = place.move_aside(&["a"]);
    let (second, _) = place.move_aside(&["b"]);
    let other = Place::with(&["x"]);
    let run = folder(&place.state()).join("OTHER");
    let plan = other.plan_in(&run, &[other.item("x")]);
    let aside = other.aside(&run).unwrap();
    other.carry_out_with(&plan, Some(aside), &[], &|_| {}).unwrap();
    let expire_at = |now| expire(&place.state(), &place.root(), Timestamp(now), || true);
    assert_eq!(expire_at(UNTIL.0 - 1).unwrap(), Total::default());
    assert_eq!(kept(&place).len(), 6);
    // Somebody undoes one of them meanwhile.
    put_back(&first);
    assert_eq!(expire_at(UNTIL.0).unwrap(), Total { items: 1, bytes: 10 });
    assert!(!place.at(ASIDE).exists());
    assert_eq!(undo(&second).unwrap(), None);
    assert_eq!(place.names(), ["a", "c"]);
    assert_eq!(put_back(&run).restored.items, 1, "another root has runs of its own");
}

#[test]
fn a_part_that_has_gone_does_not_keep_the_rest_from_coming_back() {
    let names: Vec<_> = (0..30).map(|number| format!("f{number:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let place = Place::with(&names);
    let (run, _) = place.move_aside(&names);
    let looked = Cell::new(0);
    let go_on = || looked.replace(looked.get() + 1) < 10;
    let ended = expire(&place.state(), &place.root(), UNTIL, go_on);
    assert!(matches!(ended, Err(RemovalError::Cancelled)));
    let undone = put_back(&run);
    assert_eq!((undone.restored.items, undone.left), (20, 0));
    assert_eq!(place.names(), names[10..]);
    assert!(!place.at(ASIDE).exists());
}

#[test]
fn a_ledger_that_was_cut_off_tells_of_all_that_was_moved() {
    let place = Place::with(&["a", "b", "c"]);
    let (run, _) = place.move_aside(&["a"]);
    // A crash in the middle of the next line, whose file was therefore not moved.
    let mut file = fs::OpenOptions::new().append(true).open(ledger(&run)).unwrap();
    file.write_all(b"{\"moved\":{\"number\":1,\"pa").unwrap();
    drop(file);
    // The run goes on.
    let plan = place.plan_in(&run, &[place.item("b")]);
    let aside = place.aside(&run).unwrap();
    place.carry_out_with(&plan, Some(aside), &[], &|_| {}).unwrap();
    assert_eq!(place.names(), ["c"]);
    assert_eq!(put_back(&run).restored.items, 2);
    assert_eq!(place.names(), ["a", "b", "c"]);
}

#[test]
fn a_ledger_that_was_cut_off_in_its_first_line_is_begun_anew() {
    for start in ["", "{\"root\":\"da", "\0\0\0\0\0\0\0\0"] {
        let place = Place::with(&["a"]);
        let run = place.run();
        fs::create_dir_all(&run).unwrap();
        fs::write(ledger(&run), start).unwrap();
        assert_eq!(undo(&run).unwrap(), None, "it tells of nothing");
        let plan = place.plan_in(&run, &[place.item("a")]);
        let aside = place.aside(&run).unwrap();
        place.carry_out_with(&plan, Some(aside), &[], &|_| {}).unwrap();
        assert!(!place.at("a").exists());
        assert_eq!(put_back(&run).restored.items, 1, "{start:?}");

        // Where the run never goes on, it does not keep others from expiring.
        let torn = folder(&place.state()).join("TORN");
        fs::create_dir_all(&torn).unwrap();
        fs::write(ledger(&torn), start).unwrap();
        place.move_aside(&["a"]);
        assert_eq!(expire(&place.state(), &place.root(), UNTIL, || true).unwrap().items, 1, "{start:?}");
        assert!(!ledger(&torn).exists());
    }
}

#[test]
fn a_damaged_ledger_is_told_and_nothing_of_it_goes() {
    let place = Place::with(&["a", "b"]);
    let (run, _) = place.move_aside(&["a"]);
    let whole = fs::read_to_string(ledger(&run)).unwrap();
    let (_, lines) = whole.split_once('\n').unwrap();
    fs::write(ledger(&run), format!("damaged\n{lines}")).unwrap();
    assert!(matches!(undo(&run), Err(RemovalError::Broken { .. })));
    place.move_aside(&["b"]);
    let expired = expire(&place.state(), &place.root(), UNTIL, || true);
    assert!(matches!(&expired, Err(RemovalError::Broken { what, .. }) if what.contains("damaged")), "{expired:?}");
    assert_eq!(kept(&place), ["RUN1-data", "RUN1-data/0", "RUN1-data/0/0-a"], "that of the other run has gone");
}

#[test]
fn what_was_announced_and_not_moved_is_no_loss() {
    let place = Place::with(&["a", "b", "folder/c"]);
    let (run, _) = place.move_aside(&["a", "folder/c", "folder"]);
    // A kill between the ledger and the rename: the line is there, the file still where it stood.
    let mut file = fs::OpenOptions::new().append(true).open(ledger(&run)).unwrap();
    writeln!(file, r#"{{"moved":{{"number":9,"path":"b"}}}}"#).unwrap();
    // And one in the middle of an undo: one is back already.
    fs::rename(place.at(".upkeep-undo/RUN1-data/0/0-a"), place.at("a")).unwrap();
    let undone = put_back(&run);
    assert_eq!((undone.restored.items, undone.folders, undone.left), (1, 1, 0));
    assert_eq!(place.names(), ["a", "b", "folder", "folder/c"]);
}

#[test]
fn a_place_that_is_somebody_elses_is_refused_and_nothing_goes() {
    let is_root = rustix::process::geteuid().is_root();
    for case in ["link", "file", "open to others", "of somebody else", "written by a group"] {
        let place = Place::with(&["a"]);
        let aside = place.at(ASIDE);
        match case {
            "link" => symlink(place.folder.path(), &aside).unwrap(),
            "file" => fs::write(&aside, "").unwrap(),
            case => {
                fs::create_dir(&aside).unwrap();
                let mode = match case {
                    "open to others" => 0o755,
                    "written by a group" => 0o770,
                    _ => 0o700,
                };
                fs::set_permissions(&aside, fs::Permissions::from_mode(mode)).unwrap();
                if case == "of somebody else" {
                    if !is_root {
                        continue;
                    }
                    std::os::unix::fs::chown(&aside, Some(1_000), None).unwrap();
                }
            }
        }
        let refused = place.aside(&place.run()).unwrap_err();
        let told = refused.to_string();
        assert!(
            matches!(refused, RemovalError::Root(_)) && told.contains(".upkeep-undo") && told.contains("remove it")
        );
        assert!(place.at("a").exists());
        // Neither does an undo or an expiry look into it.
        let (run, state) = (folder(&place.state()).join("RUN9"), place.state());
        fs::remove_file(&aside).or_else(|_| fs::remove_dir(&aside)).unwrap();
        let plan = place.plan_in(&run, &[place.item("a")]);
        let own = place.aside(&run).unwrap();
        place.carry_out_with(&plan, Some(own), &[], &|_| {}).unwrap();
        fs::rename(&aside, place.folder.path().join("taken away")).unwrap();
        symlink(place.folder.path().join("taken away"), &aside).unwrap();
        assert!(undo(&run).is_err(), "{case}");
        assert!(expire(&state, &place.root(), UNTIL, || true).is_err(), "{case}");
        assert!(ledger(&run).exists() && place.folder.path().join("taken away/RUN9-data/0/0-a").exists());
    }
}

#[test]
fn a_disk_that_is_not_mounted_costs_no_ledger() {
    let place = Place::with(&["a"]);
    let (run, _) = place.move_aside(&["a"]);
    // Where a disk was mounted, its empty mount point is seen.
    let disk = place.folder.path().join("disk");
    fs::rename(place.at(""), &disk).unwrap();
    fs::create_dir(place.at("")).unwrap();
    let refused = undo(&run).unwrap_err().to_string();
    assert!(refused.contains("is its disk mounted?"), "{refused}");
    assert_eq!(expire(&place.state(), &place.root(), UNTIL, || true).unwrap(), Total::default());
    assert!(ledger(&run).exists());
    fs::remove_dir(place.at("")).unwrap();
    fs::rename(&disk, place.at("")).unwrap();
    assert_eq!(put_back(&run).restored.items, 1);

    // For a month; then what is not there is not coming.
    let (run, _) = place.move_aside(&["a"]);
    fs::remove_dir_all(place.at("")).unwrap();
    fs::create_dir(place.at("")).unwrap();
    let month = 31 * 24 * 3_600_000;
    assert_eq!(expire(&place.state(), &place.root(), Timestamp(UNTIL.0 + month), || true).unwrap(), Total::default());
    assert!(!ledger(&run).exists());
}

#[test]
fn two_grants_of_one_folder_do_not_mix_what_they_took() {
    let place = Place::with(&["x/same", "y/same"]);
    let run = place.run();
    for (root, path) in [("one", "x/same"), ("two", "y/same")] {
        fs::write(place.at(path), path).unwrap();
        let mut writer = Writer::new(&run, root, place.root().path()).unwrap();
        writer.add(&place.item(path)).unwrap();
        writer.finish().unwrap();
        let plan = Plan::open(&run, root).unwrap().unwrap();
        let aside = Aside::open(&place.root(), &run, root, UNTIL).unwrap();
        assert_eq!(place.carry_out_with(&plan, Some(aside), &[], &|_| {}).unwrap().removed.items, 1);
    }
    assert_eq!(put_back(&run).restored.items, 2);
    for path in ["x/same", "y/same"] {
        assert_eq!(fs::read_to_string(place.at(path)).unwrap(), path);
    }
}

#[test]
fn what_is_at_work_is_left_alone() {
    let place = Place::with(&["a", "b"]);
    let (run, _) = place.move_aside(&["a"]);
    let at_work = place.aside(&run).unwrap();
    assert!(matches!(place.aside(&run), Err(RemovalError::Busy { .. })));
    let told = undo(&run).unwrap_err().to_string();
    assert!(told.contains("try again when it is done"), "{told}");
    assert_eq!(expire(&place.state(), &place.root(), UNTIL, || true).unwrap(), Total::default());
    drop(at_work);
    assert_eq!(put_back(&run).restored.items, 1);
}

/// A file that is put in the place of the one in the plan, in the moment in which it is moved.
#[test]
fn what_was_taken_by_mistake_goes_back() {
    let place = Place::with(&["a"]);
    let run = place.run();
    let planned = place.item("a");
    // As if it happened after the last look: what stands there is not what is asked for.
    fs::rename(place.at("a"), place.at("kept")).unwrap();
    place.write("a", "not in the plan");
    let root = place.root();
    let mut parents = root.parents();
    let mut aside = place.aside(&run).unwrap();
    let number = aside.announce(&planned).unwrap();
    aside.sync().unwrap();
    let taken = aside.take(number, parents.place(Path::new("a")).unwrap(), &planned, Path::new("a"));
    assert!(matches!(taken, Err(super::super::aside::Unmoved::Changed)), "{taken:?}");
    assert_eq!(fs::read_to_string(place.at("a")).unwrap(), "not in the plan");
    // Also a whole folder, with what is in it.
    fs::remove_file(place.at("a")).unwrap();
    place.write("a/inside", "not in the plan");
    let taken = aside.take(number, parents.place(Path::new("a")).unwrap(), &planned, Path::new("a"));
    assert!(matches!(taken, Err(super::super::aside::Unmoved::Changed)), "{taken:?}");
    assert!(place.at("a/inside").exists());
    drop(aside);
    assert_eq!(put_back(&run).restored.items, 0);
    assert!(!place.at(ASIDE).exists());
}

#[test]
fn something_foreign_in_what_is_aside_stays_and_is_told() {
    let place = Place::with(&["a", "b"]);
    let (run, _) = place.move_aside(&["a"]);
    let folder = place.at(".upkeep-undo/RUN1-data/0");
    fs::create_dir(folder.join("somebody's")).unwrap();
    // A folder under the name of a file, which a rename and a crash could leave.
    fs::remove_file(folder.join("0-a")).unwrap();
    fs::create_dir(folder.join("0-a")).unwrap();
    let told = expire(&place.state(), &place.root(), UNTIL, || true).unwrap_err().to_string();
    assert!(told.contains("0-a"), "{told}");
    fs::remove_dir(folder.join("0-a")).unwrap();
    let told = expire(&place.state(), &place.root(), UNTIL, || true).unwrap_err().to_string();
    assert!(told.contains("remove it by hand"), "{told}");
    assert!(folder.join("somebody's").exists() && ledger(&run).exists());
    fs::remove_dir(folder.join("somebody's")).unwrap();
    expire(&place.state(), &place.root(), UNTIL, || true).unwrap();
    assert!(!ledger(&run).exists() && !place.at(ASIDE).exists());
}

#[test]
fn more_than_one_folder_of_things_can_be_aside() {
    let place = Place::new();
    let names: Vec<_> = (0..10_050).map(|number| OsString::from(format!("{number}"))).collect();
    names.iter().for_each(|name| fs::write(place.at("").join(name), "").unwrap());
    let items: Vec<_> = names.iter().map(|name| place.item_at(Path::new(name))).collect();
    let (run, done) = place.move_items_aside(&items);
    assert_eq!(done.removed.items, 10_050);
    assert_eq!(fs::read_dir(place.at(".upkeep-undo/RUN1-data")).unwrap().count(), 2);
    let undone = put_back(&run);
    assert_eq!((undone.restored.items, undone.left), (10_050, 0));
    assert!(!place.at(ASIDE).exists());
}
