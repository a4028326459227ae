//! What is written down: plans, whole, torn, damaged, and as documents.

use super::super::document::{self, Origin, PlannedStep};
use super::*;

fn origin() -> Origin {
    Origin {
        upkeep_plan: document::FORMAT,
        task: "cleanup".to_owned(),
        host: "web-1".to_owned(),
        run: "RUN".to_owned(),
        made: Timestamp(1),
        fingerprint: "abc".to_owned(),
        steps: vec![PlannedStep { id: "data".into(), title: "t".into(), weight: 3, input: "{}".into() }],
    }
}

fn items(plan: &Plan) -> Vec<Item> {
    plan.items().unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_plan_without_its_end_is_none() {
    let place = Place::with(&["a"]);
    let run = place.run();
    let mut writer = Writer::new(&run, "data", place.root().path()).unwrap();
    writer.add(&place.item("a")).unwrap();
    drop(writer);
    assert!(Plan::open(&run, "data").unwrap().is_none());
    assert!(Plan::all(&run).unwrap().is_empty());
    // What a plan before it was, and how far it had come, does not count for it.
    let plan = place.plan_in(&run, &[place.item("a")]);
    plan.begin().unwrap();
    assert!(plan.is_begun());
    let writer = Writer::new(&run, "data", place.root().path()).unwrap();
    assert!(Plan::open(&run, "data").unwrap().is_none());
    writer.finish().unwrap();
    assert!(!Plan::open(&run, "data").unwrap().unwrap().is_begun());
}

#[test]
fn a_damaged_plan_is_not_taken_for_a_shorter_one() {
    let names: Vec<_> = (0..2_000).map(|number| format!("{number}")).collect();
    let place = Place::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let run = place.run();
    let file = run.join("data.plan");
    let plan = place.plan_in(&run, &names.iter().map(|name| place.item(name)).collect::<Vec<_>>());
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let bytes = [damaged, whole[..whole.len() / 2].to_vec(), whole[..whole.len() - 1].to_vec(), Vec::new()];
    for bytes in bytes {
        fs::write(&file, bytes).unwrap();
        let failed = place.carry_out_with(&plan, None, &[], &|_| {});
        assert!(failed.is_err(), "{failed:?}");
        // Its lines are sound up to there, and name nothing that was not planned.
        let left = place.names().len();
        names.iter().for_each(|name| assert!(place.at(name).exists() || left < names.len()));
    }
}

#[test]
fn a_document_comes_back_as_it_was_written() {
    let place = Place::with(&["a", "b/c", "new\nline", "quo\"te"]);
    symlink("a", place.at("link")).unwrap();
    let run = place.run();
    let odd = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe\\"));
    fs::write(place.at("").join(odd), "").unwrap();
    let mut items_of = ["a", "b/c", "b", "new\nline", "quo\"te", "link"].map(|path| place.item(path)).to_vec();
    items_of.push(place.item_at(odd));
    items_of[0].action = Action::Zstd;
    items_of[1].unless_linked = Some("link".to_owned());
    let plan = place.plan_in(&run, &items_of);
    let mut empty = Writer::new(&run, "empty", Path::new("/srv/empty")).unwrap().finish().unwrap();
    empty.root.clear();
    let mut document = Vec::new();
    document::write(&origin(), &Plan::all(&run).unwrap(), &mut document).unwrap();
    let into = place.run();
    assert_eq!(document::read(&document[..], &into).unwrap(), origin());
    assert_eq!(document::adopted(&into).unwrap(), Some(origin()));
    assert_eq!(document::origin(&into).unwrap(), None);
    let read = Plan::all(&into).unwrap();
    let [data, empty] = &read[..] else { panic!("{read:?}") };
    assert_eq!((&data.head, items(data)), (&plan.head, items(&plan)));
    assert_eq!((empty.head.root.as_str(), empty.head.items()), ("empty", 0));
    // The counts are those of the items, whatever the document says.
    let text = String::from_utf8(document).unwrap();
    let lies = text.replace("\"files\":5", "\"files\":0");
    assert_ne!(lies, text);
    let into = place.run();
    document::read(lies.as_bytes(), &into).unwrap();
    assert_eq!(Plan::open(&into, "data").unwrap().unwrap().head, plan.head);
}

#[test]
fn what_is_no_plan_is_refused_with_a_reason() {
    let place = Place::with(&["a"]);
    let run = place.run();
    place.plan_in(&run, &[place.item("a")]);
    let mut document = Vec::new();
    document::write(&origin(), &Plan::all(&run).unwrap(), &mut document).unwrap();
    let text = String::from_utf8(document).unwrap();
    let item = serde_json::to_string(&place.item("a")).unwrap();
    let root = text[text.find("{\"bytes\"").or_else(|| text.find("{\"compressed\"")).unwrap()..].to_owned();
    let root = &root[..root.rfind("]}").unwrap() + 2];
    for (from, to, why) in [
        (item.as_str(), item.replace("\"path\":\"a\"", "\"path\":\"../a\"").as_str(), "leads out of its root"),
        (&item, &item.replace("\"path\":\"a\"", "\"path\":\"/etc/passwd\""), "leads out of its root"),
        (&item, &item.replace("\"path\":\"a\"", r#""path":"\\x2e\\x2e/a""#), "leads out of its root"),
        (&item, &item.replace("\"path\":\"a\"", "\"path\":\".\""), "the root itself stays"),
        (
            &item,
            &item.replace("\"size\"", "\"action\":\"gzip\",\"size\"").replace("\"file\"", "\"folder\""),
            "compressed",
        ),
        (&item, &item.replace("\"kind\":\"file\"", "\"kind\":\"device\""), "unknown variant"),
        (&item, &item.replace("\"size\"", "\"unknown\":1,\"size\""), "unknown field"),
        ("\"upkeep_plan\": 1", "\"upkeep_plan\": 2", "form 2"),
        (root, &format!("{root}, {root}"), "comes twice"),
        ("\"fingerprint\"", "\"finger\"", "finger"),
        ("\n}\n", "", "EOF"),
        ("\n}\n", "\n} and more", "trailing"),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        let changed = text.replace(from, to);
        let into = place.run();
        let refused = document::read(changed.as_bytes(), &into).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
        assert_eq!(document::adopted(&into).unwrap(), None);
    }
}

#[test]
fn roots_of_any_name_have_files_of_their_own() {
    let place = Place::with(&["a"]);
    let run = place.run();
    let names = ["data", "Data", "da.ta", "../data", "a/b", "daten-ä", "%2e"];
    for (number, name) in names.iter().enumerate() {
        let mut writer = Writer::new(&run, name, Path::new("/srv")).unwrap();
        (0..=number).for_each(|_| writer.add(&place.item("a")).unwrap());
        writer.finish().unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(Plan::open(&run, name).unwrap().unwrap().head.items(), number as u64 + 1, "{name}");
    }
    assert_eq!(Plan::all(&run).unwrap().len(), names.len());
    assert!(fs::read_dir(run.parent().unwrap()).unwrap().count() == 1, "none is elsewhere");
}

/// Here a disk that is full, in the form that every Linux has.
#[test]
fn a_plan_that_cannot_be_written_is_not_completed() {
    let place = Place::with(&["a"]);
    let run = place.run();
    fs::create_dir_all(&run).unwrap();
    symlink("/dev/full", run.join("data.plan")).unwrap();
    let mut writer = Writer::new(&run, "data", place.root().path()).unwrap();
    let mut item = place.item("a");
    let (mut state, mut failed) = (1_u64, false);
    for _ in 0..5_000 {
        // Something that does not compress to nothing.
        item.reason = (0..40)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                format!("{:x}", state >> 33)
            })
            .collect();
        failed |= writer.add(&item).is_err();
    }
    assert!(failed, "5,000 items are more than what waits in memory");
    assert!(writer.add(&item).unwrap_err().to_string().contains("plan anew"), "it stays torn");
    assert!(writer.finish().is_err());
    assert!(Plan::open(&run, "data").unwrap().is_none());
}

/// A run has its plan before the journal knows the run.
#[test]
fn the_plan_of_a_run_that_is_yet_to_be_noted_is_not_taken_for_a_forgotten_one() {
    let place = Place::new();
    let state = place.state();
    let ago = |ms| RunId::new(Timestamp(clock::now().0 - ms)).to_string();
    let (young, old) = (ago(60_000), ago(SETTLES.cast_signed() + 60_000));
    for run in [&young, &old] {
        let given = incoming(&state);
        fs::create_dir_all(&given).unwrap();
        assign(&given, &state, run).unwrap();
    }
    fs::create_dir_all(incoming(&state)).unwrap();
    assert_eq!(kept_runs(&state), [old.as_str()]);
    forget(&state, &old);
    assert!(folder(&state).join(young).exists() && !folder(&state).join(old).exists());
}
