//! For any tree, any plan and any changes between the plan and its end: what goes is exactly what was planned, has not changed
//! and is not protected; and an undo brings exactly that back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::aside::undo;
use super::*;

/// What is done to one thing after the plan.
#[derive(Debug, Clone, Copy)]
enum Change {
    Grow,
    Touch,
    Exchange,
    Remove,
    ToLink,
    ToFolder,
}

/// A file, link or folder of the tree.
#[derive(Debug, Clone)]
struct Node {
    path: String,
    kind: Kind,
    planned: bool,
    change: Option<Change>,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c d"), Just("e\nf"), Just("g\\x"), Just("keep"), Just("微信")]
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![4 => Just(Kind::File), 1 => Just(Kind::Link), 2 => Just(Kind::Folder)];
    let change = prop_oneof![
        Just(Change::Grow),
        Just(Change::Touch),
        Just(Change::Exchange),
        Just(Change::Remove),
        Just(Change::ToLink),
        Just(Change::ToFolder)
    ];
    let path = proptest::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    (path, kind, proptest::bool::weighted(0.8), proptest::option::weighted(0.3, change))
        .prop_map(|(path, kind, planned, change)| Node { path, kind, planned, change })
}

/// Makes what can be made of the nodes; gives those that are there. What several name is as the first has it.
fn make(place: &Place, nodes: Vec<Node>) -> BTreeMap<String, Node> {
    let mut made = BTreeMap::new();
    for node in nodes {
        let path = place.at(&node.path);
        let parent = Path::new(&node.path).parent().unwrap();
        let holds_link = parent.ancestors().any(|above| place.at("").join(above).is_symlink());
        if holds_link || path.symlink_metadata().is_ok() || fs::create_dir_all(path.parent().unwrap()).is_err() {
            continue;
        }
        for above in parent.ancestors().filter(|above| *above != Path::new("")) {
            let path = above.to_str().unwrap().to_owned();
            let folder = Node { path: path.clone(), kind: Kind::Folder, planned: node.planned, change: None };
            made.entry(path).or_insert(folder);
        }
        match node.kind {
            Kind::File => fs::write(path, &node.path).unwrap(),
            Kind::Link => symlink(format!("to/{}", node.path), path).unwrap(),
            Kind::Folder => fs::create_dir(path).unwrap(),
        }
        made.insert(node.path.clone(), node);
    }
    made
}

/// Does the change; whether the thing is another one now.
fn apply(place: &Place, node: &Node) -> bool {
    let Some(change) = node.change else { return false };
    // What holds it may be another one by now.
    let path = place.at(&node.path);
    if path.symlink_metadata().is_err() || node.kind == Kind::Folder {
        return false;
    }
    let aside = place.folder.path().join("old ones").join(node.path.replace('/', "|"));
    fs::create_dir_all(aside.parent().unwrap()).unwrap();
    match change {
        Change::Grow | Change::Touch if node.kind == Kind::Link => return false,
        Change::Grow => fs::write(&path, format!("{} and more", node.path)).unwrap(),
        Change::Touch => {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        // Kept, so that no other file gets its number.
        change => {
            fs::rename(&path, aside).unwrap();
            match change {
                Change::Exchange => fs::write(&path, &node.path).unwrap(),
                Change::ToLink => symlink("elsewhere", &path).unwrap(),
                Change::ToFolder => fs::create_dir(&path).unwrap(),
                _ => {}
            }
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_is_what_was_planned_and_comes_back(
        nodes in proptest::collection::vec(node(), 1..40),
        moves_aside in any::<bool>(),
        backwards in any::<bool>(),
    ) {
        let place = Place::new();
        let nodes = make(&place, nodes);
        let mut items: Vec<_> = nodes.values().filter(|node| node.planned).map(|node| place.item(&node.path)).collect();
        if backwards {
            items.reverse();
        }
        let run = place.run();
        let plan = place.plan_in(&run, &items);
        let changed: BTreeSet<_> = nodes.values().filter(|node| apply(&place, node)).map(|it| it.path.clone()).collect();
        let before = place.tree();

        let is_protected = |path: &str| path.split('/').any(|name| name == "keep");
        let may_go = |node: &Node| node.planned && !is_protected(&node.path) && !changed.contains(&node.path);
        // Folders go when all that is in them does; the deepest come last in the order of paths.
        let root = place.at("");
        let mut left: BTreeSet<String> = before
            .iter()
            .map(|seen| seen.path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
            .collect();
        let holds = |left: &BTreeSet<String>, folder: &str| left.iter().any(|path| path.starts_with(&format!("{folder}/")));
        for node in nodes.values().filter(|node| node.kind != Kind::Folder && may_go(node)) {
            left.remove(&node.path);
        }
        for node in nodes.values().rev().filter(|node| node.kind == Kind::Folder && may_go(node)) {
            if !holds(&left, &node.path) {
                left.remove(&node.path);
            }
        }

        let aside = moves_aside.then(|| place.aside(&run).unwrap());
        let done = place.carry_out_with(&plan, aside, &["keep"], &|_| {}).unwrap();
        let after: BTreeSet<_> = place.names().into_iter().collect();
        prop_assert_eq!(&after, &left, "{:?}", done);
        let gone = before.len() - left.len();
        prop_assert_eq!(done.removed.items, gone as u64);
        let counted = done.removed.items + done.changed.items + done.filled + done.gone + done.failed.items;
        prop_assert_eq!(counted, items.len() as u64, "each is counted once: {:?}", done);
        for seen in place.tree() {
            prop_assert!(before.contains(&seen), "{:?} is not as it was", seen);
        }
        if moves_aside {
            let undone = undo(&run).unwrap().unwrap();
            prop_assert_eq!((undone.left, undone.problems), (0, vec![]));
            prop_assert_eq!(undone.restored.items + undone.folders, gone as u64);
            prop_assert_eq!(place.tree(), before);
            prop_assert!(!place.at(ASIDE).exists());
        }
    }
}
