//! What holds for any files.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Files in three folders: hours of age, size.
fn files() -> impl Strategy<Value = Vec<(String, i64, usize)>> {
    let name = (prop::sample::select(vec!["", "a/", "a/b/"]), prop::sample::select(vec!["x", "y"]), 0u32..30);
    let file = (name, prop_oneof![0i64..40, Just(7), -5i64..0], 0usize..50);
    prop::collection::vec(file, 0..25).prop_map(|all| {
        let all = all
            .into_iter()
            .map(|((folder, kind, number), hours, size)| (format!("{folder}{kind}-{number}"), (hours, size)));
        all.collect::<BTreeMap<_, _>>().into_iter().map(|(path, (hours, size))| (path, hours, size)).collect()
    })
}

fn site(files: &[(String, i64, usize)]) -> Site {
    let site = Site::new();
    files.iter().for_each(|(path, hours, size)| site.file(path, *hours, *size));
    site
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn of_each_group_as_many_stay_as_asked_for_and_the_newest(files in files(), keep in 1usize..5, which in 0usize..3) {
        let site = site(&files);
        let group_by = ["folder", "all", "{name}-*"][which];
        let rules = json!([{ "count": { "keep": keep, "group_by": group_by } }]);
        let going = site.going(&rules);
        let mut groups: BTreeMap<String, Vec<&(String, i64, usize)>> = BTreeMap::new();
        for file in &files {
            let (folder, name) = file.0.rsplit_once('/').unwrap_or(("", &file.0));
            let group = [folder.to_owned(), String::new(), format!("{folder}/{}", &name[..1])][which].clone();
            groups.entry(group).or_default().push(file);
        }
        for (group, files) in groups {
            let (gone, stays): (Vec<_>, Vec<_>) = files.into_iter().partition(|it| going.contains(&it.0));
            prop_assert_eq!(stays.len(), keep.min(gone.len() + stays.len()), "{}", group);
            for one in &gone {
                prop_assert!(stays.iter().all(|other| other.1 <= one.1), "{} stays less than it should", group);
            }
        }
        site.run(&rules);
        prop_assert!(site.going(&rules).is_empty());
    }

    #[test]
    fn at_most_the_size_stays_and_the_newest(files in files(), most in 1usize..600) {
        let site = site(&files);
        let rules = json!([{ "size": { "max_total": format!("{most} B") } }]);
        let going = site.going(&rules);
        let (gone, stays): (Vec<_>, Vec<_>) = files.iter().partition(|it| going.contains(&it.0));
        let sum = stays.iter().map(|it| it.2).sum::<usize>();
        prop_assert!(sum <= most);
        for one in &gone {
            prop_assert!(stays.iter().all(|other| other.1 <= one.1));
        }
        if let Some(newest) = gone.iter().map(|it| it.1).min() {
            let next = gone.iter().filter(|it| it.1 == newest).map(|it| it.2).max().unwrap_or_default();
            prop_assert!(sum + next > most, "one more could have stayed");
        }
        site.run(&rules);
        prop_assert!(site.going(&rules).is_empty());
    }

    /// Whatever the rules, a file is in the plan once, a folder goes only when all in it does, and a second run has nothing
    /// to do.
    #[test]
    fn nothing_goes_twice(files in files(), order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(), first in 0usize..5) {
        let site = site(&files);
        let all = [
            json!({ "age": { "older_than": "20h" } }),
            json!({ "path": ".", "count": { "keep": 2, "group_by": "{name}-*" }, "exclude": ["a/b/"] }),
            json!({ "size": { "max_total": "100 B" }, "match": ["x-*"] }),
            json!({ "all": true, "match": ["a/*-1?"] }),
            json!({ "empty_folders": {} }),
        ];
        let rules: Vec<_> = order[first..].iter().map(|it| all[*it].clone()).collect();
        let rules = Value::Array(rules);
        let going = site.going(&rules);
        prop_assert!(going.windows(2).all(|it| it[0] != it[1]), "{:?}", going);
        for folder in going.iter().filter(|it| site.path(it).is_dir()) {
            for (path, ..) in &files {
                prop_assert!(!path.starts_with(&format!("{folder}/")) || going.contains(path), "{} in {}", path, folder);
            }
        }
        site.run(&rules);
        prop_assert!(going.iter().all(|it| !site.path(it).exists()));
        prop_assert!(site.going(&rules).is_empty());
    }
}
