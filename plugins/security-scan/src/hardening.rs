//! Settings of this machine that invite somebody in.
//!
//! The facts are fetched once ([`Machine`]), the granted folders walked through once ([`files`]), and each [`Check`] looks at
//! what it needs of them. A check whose facts are not to be had is not fine: it is [`Looked::Unseen`], and its findings stay
//! as they were. One module holds the checks of one fact.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::{Error, Finding, Place, Result, Severity};

use self::machine::Machine;

mod accounts;
mod certificates;
mod exposure;
mod files;
mod kernel;
mod machine;
mod mounts;
mod redis;
mod release;
mod services;
mod ssh;
mod updates;

/// `[config.hardening]`: what is looked at, and what is meant to be as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Checks to leave out, by their identifiers.
    pub(crate) skip: Vec<String>,
    /// Folders to look through.
    pub(crate) roots: Vec<RootSettings>,
    /// A certificate that ends within so many days is told.
    #[schemars(range(min = 1, max = 3650))]
    pub(crate) certificate_days: u32,
    /// Ports that anybody may reach.
    pub(crate) public_ports: Vec<u16>,
    /// Services that may run as root.
    pub(crate) root_services: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            skip: Vec::new(),
            roots: Vec::new(),
            certificate_days: 21,
            public_ports: vec![22, 80, 443],
            root_services: Vec::new(),
        }
    }
}

/// A folder to look through.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootSettings {
    /// The name of a `[grant.files.NAME]`.
    pub(crate) root: String,
    /// The folder beneath it that a web server shows to the world, such as `public`; `.` for the whole root.
    #[serde(default)]
    pub(crate) web: Option<String>,
}

/// Something that can be wrong with a machine.
pub(crate) struct Check {
    /// Stable: it is in keys of findings, and in `skip`.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// One line; what was found is added to it.
    pub(crate) title: &'static str,
    /// Why it matters.
    pub(crate) reason: &'static str,
    /// What to do, exactly.
    pub(crate) remedy: &'static str,
    look: fn(&Machine<'_>) -> Look,
}

/// What a look gives: the hits, or why there was nothing to look at.
type Look = std::result::Result<Vec<Hit>, String>;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
struct Hit {
    /// What sets it apart from others of the same check, the same in each run; empty where there can be only one.
    object: String,
    /// What was seen; empty when the title says it all.
    seen: String,
    place: Option<Place>,
}

impl Hit {
    /// The only one of its check.
    fn one(seen: impl Into<String>) -> Self {
        Self { object: String::new(), seen: seen.into(), place: None }
    }

    fn of(object: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { object: object.into(), seen: seen.into(), place: None }
    }
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Looked {
    Fine,
    /// So many times.
    Found(usize),
    /// Why it could not be looked at.
    Unseen(String),
    /// The configuration leaves it out.
    Skipped,
}

/// What all checks gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    /// How the keys of findings begin that were not looked for.
    pub(crate) unseen: Vec<String>,
    /// By identifier, in the order of the documentation.
    pub(crate) checks: Vec<(&'static str, Looked)>,
}

/// Findings of one check that are told one by one. More are the same mistake, made by a program.
const MOST: usize = 100;

/// All checks, in the order of the documentation.
pub(crate) fn checks() -> impl Iterator<Item = &'static Check> {
    let parts: [&'static [Check]; 11] = [
        ssh::CHECKS,
        exposure::CHECKS,
        redis::CHECKS,
        files::CHECKS,
        certificates::CHECKS,
        services::CHECKS,
        kernel::CHECKS,
        mounts::CHECKS,
        updates::CHECKS,
        release::CHECKS,
        accounts::CHECKS,
    ];
    parts.into_iter().flatten()
}

/// Looks at the machine. `now_ms` is in milliseconds since 1970.
///
/// # Errors
/// When the configuration names a check that does not exist.
pub(crate) fn check(config: &Config, now_ms: i64) -> Result<Outcome> {
    are_known(&config.skip)?;
    let machine = Machine::new(config, now_ms);
    let mut outcome = Outcome { findings: Vec::new(), unseen: Vec::new(), checks: Vec::new() };
    for check in checks() {
        let looked =
            if config.skip.iter().any(|id| id == check.id) { Looked::Skipped } else { outcome.look(check, &machine) };
        outcome.checks.push((check.id, looked));
    }
    if let Some(seen) = machine.walked() {
        for checks in [redis::CHECKS, files::CHECKS, certificates::CHECKS] {
            outcome.leave_open(checks, &seen.unseen);
        }
        outcome.leave_open(certificates::CHECKS, &seen.broken);
    }
    Ok(outcome)
}

impl Outcome {
    fn look(&mut self, check: &Check, machine: &Machine<'_>) -> Looked {
        match (check.look)(machine) {
            Ok(hits) if hits.is_empty() => Looked::Fine,
            Ok(hits) => {
                self.add(check, &hits);
                Looked::Found(hits.len())
            }
            Err(why) => {
                self.unseen.push(format!("hardening/{}", check.id));
                Looked::Unseen(why)
            }
        }
    }

    /// Keeps what these checks found at paths that could not be read this time.
    fn leave_open(&mut self, checks: &[Check], paths: &[String]) {
        for check in checks {
            self.unseen.extend(paths.iter().map(|path| format!("hardening/{}/{path}", check.id)));
        }
    }

    fn add(&mut self, check: &Check, hits: &[Hit]) {
        for hit in hits.iter().take(MOST) {
            self.findings.push(check.finding(hit));
        }
        if hits.len() > MOST {
            let more = Hit::of("*", format!("{} more", hits.len() - MOST));
            self.findings.push(check.finding(&more));
            // That one of them is not told does not mean that it is gone.
            self.unseen.push(format!("hardening/{}/", check.id));
        }
    }
}

impl Check {
    fn finding(&self, hit: &Hit) -> Finding {
        let Hit { object, seen, place } = hit;
        let key = format!("hardening/{}", self.id);
        let key = if object.is_empty() { key } else { format!("{key}/{object}") };
        let title = if seen.is_empty() { self.title.to_owned() } else { format!("{}: {seen}", self.title) };
        // Commands can be pasted as they are where the object is the account or service that they name.
        let is_name = !object.is_empty() && !object.contains(['/', '*']);
        let remedy = if is_name { self.remedy.replace("NAME", object) } else { self.remedy.to_owned() };
        let detail = format!("{}\n\n{remedy}", self.reason);
        Finding {
            rule: Some(self.id.to_owned()),
            place: place.clone(),
            ..Finding::new(self.severity, key, title, detail)
        }
    }
}

/// Refuses identifiers that no check has.
fn are_known(skip: &[String]) -> Result<()> {
    let Some(unknown) = skip.iter().find(|id| checks().all(|check| check.id != **id)) else { return Ok(()) };
    let words = |id: &str| id.split('-').map(str::to_owned).collect::<Vec<_>>();
    let wanted = words(unknown);
    let shared = |id: &str| words(id).iter().filter(|word| wanted.contains(word)).count();
    let mut near: Vec<_> = checks().map(|check| check.id).filter(|id| shared(id) > 0).collect();
    near.sort_by_key(|id| std::cmp::Reverse(shared(id)));
    near.truncate(3);
    let near = if near.is_empty() { String::new() } else { format!(" (near it: {})", near.join(", ")) };
    let remedy = "docs/security-scan-checks.md lists them all";
    Err(Error::config(format!("hardening.skip: there is no check `{unknown}`{near}; {remedy}")))
}

#[cfg(test)]
mod tests;
