//! What a walk leaves out: patterns as in a `.gitignore` file, relative to the root.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::path::Path;

/// Compiled patterns. A folder that matches is left out with all that it holds.
#[derive(Debug, Clone)]
pub struct Exclude(Option<Gitignore>);

impl Exclude {
    /// Compiles the patterns; later ones win, and `!pattern` takes something back in.
    ///
    /// # Errors
    ///
    /// A message that names the pattern.
    pub fn new(patterns: &[String]) -> Result<Self, String> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let failed = |pattern: &str, error: ignore::Error| format!("the pattern `{pattern}` is not a glob: {error}");
        let mut builder = GitignoreBuilder::new("");
        builder.allow_unclosed_class(false);
        for pattern in patterns {
            builder.add_line(None, pattern).map_err(|error| failed(pattern, error))?;
        }
        let compiled = builder.build().map_err(|error| failed(&patterns.join("`, `"), error))?;
        Ok(Self(Some(compiled)))
    }

    /// Whether `path`, relative to the root, is left out. The folders above it are taken to be kept.
    pub fn matches(&self, path: &Path, is_folder: bool) -> bool {
        self.0.as_ref().is_some_and(|patterns| patterns.matched(path, is_folder).is_ignore())
    }

    /// Whether `path` or a folder above it is matched.
    pub fn covers(&self, path: &Path, is_folder: bool) -> bool {
        let matches = |patterns: &Gitignore| patterns.matched_path_or_any_parents(path, is_folder).is_ignore();
        self.0.as_ref().is_some_and(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_a_gitignore_file() {
        let patterns = ["*.tmp", "/cache", "logs/", "!keep.tmp", "a/**/z"].map(String::from);
        let exclude = Exclude::new(&patterns).unwrap();
        for (path, is_folder, expected) in [
            ("x.tmp", false, true),
            ("deep/down/x.tmp", false, true),
            ("deep/keep.tmp", false, false),
            ("cache", true, true),
            ("deep/cache", true, false),
            ("deep/logs", true, true),
            ("logs", false, false),
            ("a/b/c/z", false, true),
            ("b/z", false, false),
        ] {
            assert_eq!(exclude.matches(Path::new(path), is_folder), expected, "{path}");
        }
        assert!(!Exclude::new(&[]).unwrap().matches(Path::new("anything"), false));
        assert!(Exclude::new(&["a[".to_owned()]).unwrap_err().contains("`a[`"));
    }
}
