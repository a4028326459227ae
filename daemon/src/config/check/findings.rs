//! What a task file says about findings.

use crate::config::check::TaskFile;
use crate::config::source::KeyPath;
use crate::findings::SHORTEST;
use crate::root::exclude::Exclude;

pub(crate) fn check(file: &mut TaskFile<'_>) {
    let settings = file.settings;
    let findings = &settings.findings;
    if findings.fail_at.is_none() {
        for (key, given) in [("only_new", findings.only_new), ("only_fixable", findings.only_fixable)] {
            if given {
                let help = "add `fail_at = \"high\"`, or remove this key";
                file.error_at_key(KeyPath::of(["findings", key]), "this has no meaning without `fail_at`", help);
            }
        }
    }
    for (index, entry) in findings.ignore.iter().enumerate() {
        let key = KeyPath::of(["findings", "ignore"]).index(index);
        if entry.finding.is_none() && entry.rule.is_none() && entry.path.is_none() {
            let help = "say which, by `finding`, `rule` or `path`";
            file.error(key.key("reason"), "this would ignore all findings", help);
        }
        if entry.reason.trim().is_empty() {
            let help = "write why, for whoever reads it in a year";
            file.error(key.key("reason"), "there is no reason", help);
        }
        if entry.finding.as_ref().is_some_and(|id| id.len() < SHORTEST) {
            let help = format!("write at least {SHORTEST} digits of it, or the whole key");
            file.error(key.key("finding"), "this is too short to tell findings apart", help);
        }
        if entry.rule.as_ref().is_some_and(|rule| rule.trim_end_matches('*').is_empty()) {
            file.error(key.key("rule"), "this would ignore all findings", "name the rule, or how its name begins");
        }
        if let Some(path) = &entry.path
            && let Err(message) = Exclude::new(std::slice::from_ref(path))
        {
            file.error(key.key("path"), message, "write it as in a .gitignore file: `vendor/`, `*.min.js`");
        }
    }
}
