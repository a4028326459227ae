//! Which paths a rule is about: patterns as in a `.gitignore` file, relative to the folder of the rule.
//!
//! Where it can, the plan lets the host leave excluded folders out of a walk. Several rules may share a walk, though, so
//! each looks itself as well.

use fast_glob::glob_match;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob {
    form: Form,
    /// It is about the whole path, not the name.
    anchored: bool,
    folders_only: bool,
    /// `!`: takes back in what an earlier one left out.
    negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// `*.tmp`: most patterns are of this form, and a million names are compared with them.
    Ending(String),
    Glob(String),
}

impl Glob {
    fn new(pattern: &str) -> Result<Self, String> {
        let (negated, rest) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
        let (folders_only, rest) = rest.strip_suffix('/').map_or((false, rest), |rest| (true, rest));
        let (anchored, rest) = rest.strip_prefix('/').map_or((rest.contains('/'), rest), |rest| (true, rest));
        if rest.is_empty() || rest.starts_with('!') {
            return Err(format!("`{pattern}` is no pattern"));
        }
        fast_glob::validate(rest).map_err(|error| format!("`{pattern}` is no pattern: {error}"))?;
        let ending = rest.strip_prefix('*').filter(|it| !anchored && !it.contains(['*', '?', '[', '{', '\\']));
        let form = ending.map_or_else(|| Form::Glob(rest.to_owned()), |it| Form::Ending(it.to_owned()));
        Ok(Self { form, anchored, folders_only, negated })
    }

    fn matches(&self, path: &str, name: &str, is_folder: bool) -> bool {
        if self.folders_only && !is_folder {
            return false;
        }
        match &self.form {
            Form::Ending(ending) => name.ends_with(ending.as_str()),
            Form::Glob(glob) => glob_match(glob, if self.anchored { path } else { name }),
        }
    }
}

/// The patterns of a rule. It has to be asked for whatever a walk gives, in that order: it remembers the folder that is
/// left out at present.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    only: Vec<Glob>,
    exclude: Vec<Glob>,
    /// The folder that is left out at present, with a slash at its end.
    skipped: Option<String>,
}

impl Filter {
    /// Compiles patterns; the error names the key.
    pub(crate) fn new(only: &[String], exclude: &[String]) -> Result<Self, String> {
        let all = |key: &str, patterns: &[String]| -> Result<Vec<Glob>, String> {
            patterns.iter().map(|it| Glob::new(it).map_err(|why| format!("`{key}`: {why}"))).collect()
        };
        let only = all("match", only)?;
        if only.iter().any(|it| it.negated) {
            return Err("`match`: what is not meant is named in `exclude`, not by a `!`".to_owned());
        }
        Ok(Self { only, exclude: all("exclude", exclude)?, skipped: None })
    }

    /// Before a walk that starts at `path`, relative to the folder of the rule: it may stand in a folder that is left out.
    pub(crate) fn start(&mut self, path: &str) {
        self.skipped = None;
        let ends = path.match_indices('/').map(|(at, _)| at).chain((!path.is_empty()).then_some(path.len()));
        for folder in ends.map(|end| &path[..end]) {
            self.admits(folder, true);
        }
    }

    /// Whether the rule is about what stands at `path`, relative to its folder.
    pub(crate) fn admits(&mut self, path: &str, is_folder: bool) -> bool {
        if let Some(skipped) = &self.skipped {
            if path.starts_with(skipped.as_str()) {
                return false;
            }
            self.skipped = None;
        }
        let name = name_of(path);
        let last = self.exclude.iter().rev().find(|it| it.matches(path, name, is_folder));
        if last.is_some_and(|it| !it.negated) {
            self.skipped = is_folder.then(|| format!("{path}/"));
            return false;
        }
        self.only.is_empty() || self.only.iter().any(|it| it.matches(path, name, is_folder))
    }
}

/// The last part of a path.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// The folder that a path stands in; empty at the top.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `path` relative to `folder`, when it stands beneath it.
pub(crate) fn beneath<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    match folder {
        "" => Some(path),
        _ => path.strip_prefix(folder)?.strip_prefix('/'),
    }
}

/// The patterns of a rule with the folder `path` as the host has to have them, which takes them relative to the root; none
/// where that cannot be written.
pub(crate) fn of_root(exclude: &[String], path: &str) -> Option<Vec<String>> {
    if path.contains(['*', '?', '[', '{', '}', ']', '\\', '!', '#', ' ']) {
        return None;
    }
    let of_root = |pattern: &String| {
        let (sign, rest) = pattern.strip_prefix('!').map_or(("", pattern.as_str()), |rest| ("!", rest));
        let is_anchored = rest.trim_end_matches('/').contains('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let plain = !rest.starts_with('#') && !rest.ends_with(' ');
        let pattern = match is_anchored {
            true => format!("{sign}/{path}{slash}{}", rest.trim_start_matches('/')),
            false => format!("{sign}{rest}"),
        };
        plain.then_some(pattern)
    };
    exclude.iter().map(of_root).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(only: &[&str], exclude: &[&str]) -> Filter {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        Filter::new(&owned(only), &owned(exclude)).unwrap()
    }

    #[test]
    fn patterns_mean_what_they_mean_in_a_gitignore_file() {
        let mut exclude = filter(&[], &["*.tmp", "/cache", "logs/", "!keep.tmp", "a/**/z", "b/*.txt", ".*"]);
        for (path, is_folder, expected) in [
            ("x.tmp", false, false),
            ("deep/down/x.tmp", false, false),
            ("deep/keep.tmp", false, true),
            ("cache", true, false),
            ("deep/cache", true, true),
            ("logs", false, true),
            ("a/b/c/z", false, false),
            ("a/z", false, false),
            ("b/z", false, true),
            ("b/x.txt", false, false),
            ("b/c/x.txt", false, true),
            (".hidden", false, false),
        ] {
            exclude.start("");
            assert_eq!(exclude.admits(path, is_folder), expected, "{path}");
        }
    }

    #[test]
    fn what_stands_in_a_folder_that_is_left_out_is_too() {
        let mut exclude = filter(&["*.txt"], &["logs/", "!logs/keep.txt"]);
        let walk = [("a.txt", false), ("b/logs", true), ("b/logs/keep.txt", false), ("b/logs/c/d.txt", false)];
        let seen = walk.map(|(path, is_folder)| exclude.admits(path, is_folder));
        assert_eq!(seen, [true, false, false, false]);
        assert!(exclude.admits("b/logs.txt", false) && !exclude.admits("b/logs.tmp", false));
        // A walk that starts further down.
        exclude.start("b/logs/c");
        assert!(!exclude.admits("b/logs/c/d.txt", false));
        exclude.start("b/lot");
        assert!(exclude.admits("b/lot/d.txt", false));
    }

    #[test]
    fn bytes_that_are_no_text_are_matched_as_they_are_shown() {
        let mut only = filter(&[r"caf\\xe9*", "[ab]?.{png,jpg}"], &[]);
        assert!(only.admits(r"x/caf\xe9.txt", false) && only.admits("a1.jpg", false) && only.admits("b2.png", false));
        assert!(!only.admits("cafe.txt", false) && !only.admits("c1.jpg", false));
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_its_key() {
        let refused = |only: &str, exclude: &str| {
            let list = |it: &str| if it.is_empty() { vec![] } else { vec![it.to_owned()] };
            Filter::new(&list(only), &list(exclude)).unwrap_err()
        };
        assert!(refused("a[", "").starts_with("`match`: `a[` is no pattern"));
        assert!(refused("", "{a").starts_with("`exclude`: `{a` is no pattern"));
        assert!(refused("!a", "").contains("`exclude`"));
        for nothing in ["/", "!", "!!a"] {
            assert!(refused("", nothing).contains("is no pattern"), "{nothing}");
        }
    }

    #[test]
    fn patterns_are_handed_to_the_host_from_its_root() {
        let exclude = ["*.tmp", "/cache", "a/b/", "!logs/", "!/x"].map(str::to_owned);
        let told = of_root(&exclude, "srv/app").unwrap();
        assert_eq!(told, ["*.tmp", "/srv/app/cache", "/srv/app/a/b/", "!logs/", "!/srv/app/x"]);
        assert_eq!(of_root(&exclude, "").unwrap()[1], "/cache");
        assert_eq!(of_root(&exclude, "a[b"), None);
    }
}
