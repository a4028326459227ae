//! Secrets in files: found by [`upkeep_secrets`], which shows the beginning of one at most.
//!
//! Files are read piece by piece, so that their size does not matter. A finding is known again by a digest of the secret itself:
//! it stays the same when lines are put above it, or the file is moved.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::config::Size;
use upkeep_plugin::{Context, Error, Finding, Place, Result, Severity, Step, log};
use upkeep_secrets::{Match, Options, Scanner, Skipped};

use crate::Part;
use crate::found::Found;
use crate::scope::Scope;
use crate::share::Share;

/// Steps of one root at most.
const MOST_STEPS: u64 = 16;
/// Findings of one step at most; more of them are one finding.
const MOST_FINDINGS: usize = 1_000;

/// Where secrets are looked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secrets {
    /// The folders, each a `[[config.secrets.folders]]`.
    #[schemars(length(min = 1))]
    folders: Vec<Scope>,
    /// Of a larger file only so much is looked at, which is told.
    #[serde(default = "largest")]
    max_size: Size,
    /// Rules that are not looked for, by their identifiers.
    #[serde(default)]
    skip: Vec<String>,
    /// Words that tell that a value is no secret, such as `sandbox`.
    #[serde(default)]
    stop_words: Vec<String>,
}

fn largest() -> Size {
    Size(64 << 20)
}

impl Secrets {
    pub(crate) fn plan(&self, steps: &mut Vec<Step<Part>>) -> Result<()> {
        self.scanner("")?;
        for (number, folder) in self.folders.iter().enumerate() {
            let (root, mut bytes) = (folder.open()?, 0);
            folder.files(&root, |entry| {
                bytes += entry.id.size.min(self.max_size.0);
                Ok(())
            })?;
            for share in Share::of_bytes(bytes, MOST_STEPS) {
                let title = format!("look for secrets in {}{share}", folder.shown(&folder.path));
                let step =
                    Step::new(format!("secrets-{number}-{}", share.number), Part::Secrets { root: number, share });
                steps.push(step.title(title).weight(1 + (bytes >> 20) / share.of));
            }
        }
        Ok(())
    }

    /// The salt is that of the host: short passwords are not to be guessed from what is shown of them.
    fn scanner(&self, salt: &str) -> Result<Scanner> {
        let options = Options {
            disabled: self.skip.clone(),
            stop_words: self.stop_words.clone(),
            salt: salt.as_bytes().to_vec(),
            limit: Some(self.max_size.0),
        };
        Scanner::new(options).map_err(|error| Error::config(format!("[config.secrets]: {error}")))
    }

    pub(crate) fn look(&self, ctx: &Context, number: usize, share: Share) -> Result<Found> {
        let Some(folder) = self.folders.get(number) else {
            return Err(Error::permanent("the plan names a folder that the configuration has not"));
        };
        let (scanner, root) = (self.scanner(&ctx.host)?, folder.open()?);
        let (mut found, mut files, mut total, mut more) = (Found::default(), 0, 0, 0_u64);
        let problems = folder.contents(&root, share, |entry, contents| {
            let mut contents = match contents {
                Ok(contents) => contents,
                Err(error) => {
                    found.leave_out(format!("{}: {error}", folder.shown(&entry.path)));
                    return Ok(());
                }
            };
            let mut matches = Vec::new();
            let mut stream = scanner.stream(&entry.path);
            let mut keep = |it: Match| matches.push(it);
            let mut seen = 0;
            while seen <= self.max_size.0 {
                let piece = contents.piece()?;
                if piece.is_empty() {
                    break;
                }
                stream.push(&piece, &mut keep);
                seen += piece.len() as u64;
            }
            let summary = stream.finish(&mut keep);
            files += 1;
            total += seen;
            if files % 256 == 0 {
                log::progress(total >> 20, None, "MiB");
            }
            match summary.skipped {
                Some(Skipped::Binary(_)) => found.count("binary files", 1),
                Some(Skipped::TooLarge(_)) => {
                    let shown = folder.shown(&entry.path);
                    found.leave_out(format!(
                        "{shown}: only its first {} were looked at (secrets.max_size)",
                        self.max_size
                    ));
                }
                None => {}
            }
            if summary.allowed > 0 {
                found.count("secrets allowed by a comment", summary.allowed);
            }
            for it in matches {
                if found.findings.len() < MOST_FINDINGS {
                    found.findings.push(finding(folder, &entry.path, &it));
                } else {
                    more += 1;
                }
            }
            Ok(())
        })?;
        problems.into_iter().for_each(|problem| found.leave_out(folder.shown(&problem)));
        if more > 0 {
            let title = format!("{more} more secrets in {}", folder.root);
            let detail = "So many look like false alarms: leave folders out with `exclude`, or rules with `skip`.";
            found.findings.push(Finding::new(Severity::High, format!("secret/{}/more", folder.root), title, detail));
        }
        found.count("files", files);
        Ok(found)
    }
}

fn finding(folder: &Scope, path: &str, it: &Match) -> Finding {
    let severity = match it.rule.severity {
        upkeep_secrets::Severity::Medium => Severity::Medium,
        upkeep_secrets::Severity::High => Severity::High,
        upkeep_secrets::Severity::Critical => Severity::Critical,
    };
    let title = format!("{}: {}", it.rule.what, it.redacted);
    let key = format!("secret/{}/{}/{}", it.rule.id, folder.root, it.fingerprint);
    Finding {
        rule: Some(it.rule.id.to_owned()),
        place: Some(Place { path: folder.shown(path), line: u32::try_from(it.line).ok() }),
        ..Finding::new(severity, key, title, it.rule.remedy)
    }
}
