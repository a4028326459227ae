//! `[config]`: what the operator writes, and the rules that it makes.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, json_schema};
use serde::Deserialize;
use upkeep_plugin::{Error, Result};

use crate::journal::JournalSettings;
use crate::kind::Policy;
use crate::kind::age::AgeSettings;
use crate::kind::all::All;
use crate::kind::cache::CacheSettings;
use crate::kind::count::CountSettings;
use crate::kind::empty_folders::EmptyFoldersSettings;
use crate::kind::logs::LogsSettings;
use crate::kind::releases::ReleasesSettings;
use crate::kind::size::SizeSettings;
use crate::pattern::Filter;
use crate::rows::RowsSettings;

/// What goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cleanup {
    /// The rules for files, each a `[[config.rule]]`. The first that takes a file decides about it; those below do not see it.
    #[serde(default)]
    pub(crate) rule: Vec<RuleSettings>,
    /// What goes of the journal of systemd.
    #[serde(default)]
    #[schemars(transform = present)]
    pub(crate) journal: Option<JournalSettings>,
    /// The rules for rows of databases, each a `[[config.rows]]`. Those of one database go in this order.
    #[serde(default)]
    pub(crate) rows: Vec<RowsSettings>,
}

/// A rule for files: where it looks, and one key that says what goes there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = of_one_kind)]
pub(crate) struct RuleSettings {
    /// Name of the rule, in plans and reports; each has its own.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) name: String,
    /// Where it looks: the name of a `[grant.files.NAME]`.
    pub(crate) root: String,
    /// A folder beneath the root that it looks into, such as `tmp`; by default the whole root.
    #[serde(default)]
    path: String,
    /// Only what one of these patterns matches, relative to `path`: `*.tmp` names anywhere, `/a/*.tmp` paths.
    #[serde(default, rename = "match")]
    only: Vec<String>,
    /// What it leaves alone, in the patterns of a .gitignore file, relative to `path`.
    #[serde(default)]
    exclude: Vec<String>,
    /// Files of an age.
    #[serde(default)]
    age: Option<AgeSettings>,
    /// The oldest files, until the others are within a size.
    #[serde(default)]
    size: Option<SizeSettings>,
    /// All files but the newest of each group.
    #[serde(default)]
    count: Option<CountSettings>,
    /// `true`: all files that `match` names, which is required then.
    #[serde(default)]
    all: Option<bool>,
    /// Folders with nothing in them.
    #[serde(default)]
    empty_folders: Option<EmptyFoldersSettings>,
    /// Log files that have been rotated.
    #[serde(default)]
    logs: Option<LogsSettings>,
    /// Old releases of an app.
    #[serde(default)]
    releases: Option<ReleasesSettings>,
    /// What a package manager has cached.
    #[serde(default)]
    cache: Option<CacheSettings>,
}

/// Keys of which each rule has one.
const KINDS: [&str; 8] = ["age", "size", "count", "all", "empty_folders", "logs", "releases", "cache"];

fn kinds() -> String {
    KINDS.map(|it| format!("`{it}`")).join(", ")
}

/// So that `upkeep check` tells, and `upkeep plugin inspect` shows what stands in each kind.
fn of_one_kind(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(|it| it.as_object_mut());
    for (key, property) in properties.into_iter().flatten().filter(|(key, _)| KINDS.contains(&key.as_str())) {
        let Ok(property) = <&mut Schema>::try_from(property) else { continue };
        present(property);
        if key == "all" {
            property.insert("type".to_owned(), "boolean".into());
        }
    }
    let required: Vec<Schema> = KINDS.iter().map(|it| json_schema!({ "required": [it] })).collect();
    // Not at the top: who prints the keys would take it for a choice between schemas.
    let told = format!("a rule has exactly one of {}", kinds());
    let all = json_schema!({ "allOf": [{ "oneOf": required, "description": told }] });
    if let Some(all) = all.get("allOf") {
        schema.insert("allOf".to_owned(), all.clone());
    }
}

/// A TOML file has no null: what is left out is not there.
pub(crate) fn present(property: &mut Schema) {
    property.remove("default");
    if let Some(reference) = property.remove("anyOf").and_then(|it| it.get(0)?.get("$ref").cloned()) {
        property.insert("$ref".to_owned(), reference);
    }
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// The folder that it looks into, relative to the root; empty for the root.
    pub(crate) path: String,
    /// As the operator wrote it.
    pub(crate) exclude: Vec<String>,
    pub(crate) filter: Filter,
    pub(crate) policy: Box<dyn Policy>,
}

impl Cleanup {
    /// What the schema does not say.
    pub(crate) fn check(&self) -> Result<()> {
        if self.rule.is_empty() && self.rows.is_empty() && self.journal.is_none() {
            let told = "there is nothing to do; add a `[[config.rule]]`, `[[config.rows]]` or `[config.journal]`";
            return Err(Error::config(told));
        }
        let mut names = BTreeSet::new();
        let all = self.rule.iter().map(|it| &it.name).chain(self.rows.iter().map(|it| &it.name));
        if let Some(twice) = all.into_iter().find(|name| !names.insert(*name)) {
            return Err(Error::config(format!("two rules have the name `{twice}`; give each its own")));
        }
        let of_rule = |rows: &RowsSettings, why| Error::config(format!("rule `{}`: {why}", rows.name));
        self.rows.iter().try_for_each(|rows| rows.check().map_err(|why| of_rule(rows, why)))
    }

    /// The rules for files by roots, both in the order of the file.
    pub(crate) fn roots(&self) -> Result<Vec<(String, Vec<Rule>)>> {
        let mut roots: Vec<(String, Vec<Rule>)> = Vec::new();
        for settings in &self.rule {
            let rule = settings.rule().map_err(|why| Error::config(format!("rule `{}`: {why}", settings.name)))?;
            match roots.iter_mut().find(|(root, _)| *root == settings.root) {
                Some((_, rules)) => rules.push(rule),
                None => roots.push((settings.root.clone(), vec![rule])),
            }
        }
        Ok(roots)
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err("`name` has 1 to 64 characters".to_owned());
    }
    Ok(())
}

impl RuleSettings {
    fn rule(&self) -> Result<Rule, String> {
        check_name(&self.name)?;
        let path = self.path.trim_start_matches("./").trim_end_matches('/');
        if self.path.starts_with('/') || path.split('/').any(|it| it == "..") {
            return Err(format!("`path` is relative to the root and stays beneath it, which `{}` does not", self.path));
        }
        let mut policies = self.policies()?;
        let (Some(policy), true) = (policies.pop(), policies.is_empty()) else {
            return Err(format!("it has to have exactly one of {}", kinds()));
        };
        Ok(Rule {
            name: self.name.clone(),
            path: if path == "." { String::new() } else { path.to_owned() },
            exclude: self.exclude.clone(),
            filter: Filter::new(&self.only, &self.exclude)?,
            policy,
        })
    }

    fn policies(&self) -> Result<Vec<Box<dyn Policy>>, String> {
        let all = self.all.map(|all| match (all, self.only.is_empty()) {
            (false, _) => Err("`all` is `true` or left out".to_owned()),
            (true, true) => Err("`all` needs `match`: it removes whatever the patterns name".to_owned()),
            (true, false) => Ok(Box::new(All) as Box<dyn Policy>),
        });
        if self.cache.is_some() && !self.only.is_empty() {
            return Err("`match` has no meaning with `cache`; use `exclude`".to_owned());
        }
        let policies = [
            self.age.as_ref().map(AgeSettings::policy),
            self.size.as_ref().map(SizeSettings::policy),
            self.count.as_ref().map(CountSettings::policy),
            all,
            self.empty_folders.as_ref().map(EmptyFoldersSettings::policy),
            self.logs.as_ref().map(LogsSettings::policy),
            self.releases.as_ref().map(ReleasesSettings::policy),
            self.cache.as_ref().map(CacheSettings::policy),
        ];
        policies.into_iter().flatten().collect()
    }
}
