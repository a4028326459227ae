//! Files that should stay as they are: a baseline of digests (BLAKE3) in the task's state, and what differs from it.
//!
//! The baseline is taken by the first run, and anew when the operator says that the files are others now: when `baseline` has
//! another text, or `follow` leads to another folder, as after a deployment.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::files::Root;
use upkeep_plugin::{Error, Finding, HostError, Place, Result, Severity, Step, info, state};

use crate::Part;
use crate::contents::Contents;
use crate::found::Found;
use crate::scope::Scope;
use crate::share::Share;

/// Steps of one folder. A file has to fall to the same one in each run.
const STEPS: u64 = 4;
/// Files that have a finding of their own; more are one finding.
const MOST_FINDINGS: usize = 50;
/// Bytes of a digest that are kept: enough that nobody makes a file to fit one.
const KEPT: usize = 16;

/// A folder whose files should stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Integrity {
    #[serde(flatten)]
    scope: Scope,
    /// Changes beneath these are expected, in the patterns of a .gitignore file: `uploads/`, `*.log`.
    #[serde(default)]
    expect: Vec<String>,
    /// A link, relative to the root, that leads to what runs now: when it leads elsewhere, the baseline is taken anew.
    #[serde(default)]
    follow: Option<String>,
    /// Any text, such as a version. When it is another one, the baseline is taken anew.
    #[serde(default)]
    baseline: String,
}

/// Digests by path, and what they are of.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Baseline {
    /// `baseline` of the configuration, and where `follow` led.
    of: (String, Option<String>),
    share: Option<Share>,
    files: BTreeMap<String, String>,
}

impl Integrity {
    pub(crate) fn plan(&self, number: usize, steps: &mut Vec<Step<Part>>) -> Result<()> {
        self.scope.open()?;
        for share in (0..STEPS).map(|number| Share { number, of: STEPS }) {
            let title =
                format!("compare the files of {} with their baseline{share}", self.scope.shown(&self.scope.path));
            let part = Part::Integrity { folder: number, share };
            steps.push(Step::new(format!("integrity-{number}-{}", share.number), part).title(title));
        }
        Ok(())
    }

    pub(crate) fn look(&self, number: usize, share: Share) -> Result<Found> {
        let root = self.scope.open()?;
        let of = (self.baseline.clone(), self.leads_to(&root)?);
        let (mut found, mut files) = (Found::default(), BTreeMap::new());
        let scope = Scope { exclude: [self.scope.exclude.clone(), self.expect.clone()].concat(), ..self.scope.clone() };
        let problems = scope.contents(&root, share, |entry, contents| {
            match contents.and_then(digest) {
                Ok(digest) => drop(files.insert(entry.path.clone(), digest)),
                // It went while the walk was under way.
                Err(HostError::NotFound(_)) => {}
                Err(error) => found.leave_out(format!("{}: {error}", scope.shown(&entry.path))),
            }
            Ok(())
        })?;
        problems.into_iter().for_each(|problem| found.leave_out(scope.shown(&problem)));
        found.count("files compared", files.len() as u64);
        let key = format!("integrity/{}/{number}/{}", self.scope.root, share.number);
        let before = state::get::<Baseline>(&key)?.filter(|it| it.of == of && it.share == Some(share));
        match before {
            Some(before) => self.compare(&before.files, &files, &mut found),
            None => {
                state::put(&key, &Baseline { of, share: Some(share), files })?;
                info!(root = self.scope.root, "a baseline was taken");
                found.count("baselines taken", 1);
            }
        }
        Ok(found)
    }

    /// Where `follow` leads.
    fn leads_to(&self, root: &Root) -> Result<Option<String>> {
        let Some(link) = &self.follow else { return Ok(None) };
        match root.resolve(link) {
            Ok(end) => Ok(Some(end)),
            Err(HostError::NotFound(_)) => Err(Error::config(format!(
                "`follow = \"{link}\"` in [[config.integrity]] leads nowhere beneath the root `{}`",
                self.scope.root
            ))),
            Err(error) => Err(error.into()),
        }
    }

    fn compare(&self, before: &BTreeMap<String, String>, now: &BTreeMap<String, String>, found: &mut Found) {
        let gone = before.keys().filter(|path| !now.contains_key(*path)).map(|path| (path, "removed"));
        let other = now.iter().filter_map(|(path, digest)| match before.get(path) {
            None => Some((path, "added")),
            Some(known) if known != digest => Some((path, "changed")),
            Some(_) => None,
        });
        let differing: Vec<_> = gone.chain(other).collect();
        for (path, how) in differing.iter().take(MOST_FINDINGS) {
            found.findings.push(self.finding(path, how, now.get(*path)));
        }
        if let Some(more) = differing.len().checked_sub(MOST_FINDINGS).filter(|more| *more > 0) {
            let title = format!("{more} more files of {} differ from the baseline", self.scope.root);
            let key = format!("integrity/{}/more", self.scope.root);
            found.findings.push(Finding::new(Severity::High, key, title, ACCEPT));
        }
    }

    fn finding(&self, path: &str, how: &str, digest: Option<&String>) -> Finding {
        let shown = self.scope.shown(path);
        // Each further change is a finding of its own.
        let now = digest.map_or("gone", |digest| &digest[..8.min(digest.len())]);
        Finding {
            rule: Some(format!("integrity-{how}")),
            place: Some(Place { path: shown.clone(), line: None }),
            ..Finding::new(
                Severity::High,
                format!("integrity/{}/{path}/{now}", self.scope.root),
                format!("{shown} was {how} since the baseline"),
                ACCEPT,
            )
        }
    }
}

/// What to do about a difference.
const ACCEPT: &str =
    "Find out who did it. If it was meant, write another text into `baseline`, or what is expected into `expect`.";

fn digest(mut contents: Contents) -> Result<String, HostError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        let piece = contents.piece()?;
        if piece.is_empty() {
            break;
        }
        hasher.update(&piece);
    }
    let mut digest = hasher.finalize().to_hex().to_string();
    digest.truncate(2 * KEPT);
    Ok(digest)
}
