//! Finds what is vulnerable, exposed, leaked or changed, and can leak nothing itself: it reads, and has neither a network nor
//! the right to write.
//!
//! Four checks, each switched on by its section of the configuration: [`dependencies`] against known vulnerabilities,
//! [`secrets`] in files, [`hardening`] of the machine, [`integrity`] of an app's files. Each makes steps, and what these find is
//! brought together in [`report`]. Large trees are parted: each step takes the files whose paths fall to it ([`share`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task};

use crate::dependencies::Dependencies;
use crate::found::Found;
use crate::integrity::Integrity;
use crate::secrets::Secrets;
use crate::share::Share;

mod contents;
mod dependencies;
mod found;
mod hardening;
mod integrity;
mod report;
mod scope;
mod secrets;
mod share;

/// What is looked for. What is left out is not looked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecurityScan {
    /// Known vulnerabilities in what apps depend on, and in packages of this machine.
    #[serde(default)]
    dependencies: Option<Dependencies>,
    /// Passwords, keys and tokens in files.
    #[serde(default)]
    secrets: Option<Secrets>,
    /// Settings of this machine.
    #[serde(default)]
    hardening: Option<hardening::Config>,
    /// Folders whose files should stay as they are, each a `[[config.integrity]]`.
    #[serde(default)]
    integrity: Vec<Integrity>,
}

/// What a step looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// Whether advisories are fresh.
    Age,
    /// All dependencies.
    Dependencies,
    /// The files of one root that fall to this step.
    Secrets { root: usize, share: Share },
    /// The machine.
    Hardening,
    /// The files of one folder that fall to this step.
    Integrity { folder: usize, share: Share },
}

impl Task for SecurityScan {
    type Input = Part;
    type Output = Found;

    fn plan(&self, _: &Context) -> Result<Vec<Step<Part>>> {
        let mut steps = Vec::new();
        if let Some(dependencies) = &self.dependencies {
            dependencies.check()?;
            steps.push(Step::new("advisories", Part::Age).title("see whether the advisories are fresh"));
            steps.push(
                Step::new("dependencies", Part::Dependencies).title("compare dependencies with known vulnerabilities"),
            );
        }
        if let Some(secrets) = &self.secrets {
            secrets.plan(&mut steps)?;
        }
        if self.hardening.is_some() {
            steps.push(Step::new("hardening", Part::Hardening).title("look at the settings of this machine"));
        }
        for (index, integrity) in self.integrity.iter().enumerate() {
            integrity.plan(index, &mut steps)?;
        }
        if steps.is_empty() {
            return Err(Error::config(
                "[config] names nothing to look at; add [config.dependencies], [config.secrets], [config.hardening] or \
                 [[config.integrity]]",
            ));
        }
        Ok(steps)
    }

    fn execute(&self, ctx: &Context, step: Step<Part>) -> Result<Found> {
        let missing = || Error::permanent("the plan names a section that the configuration has not");
        match step.input {
            Part::Age => self.dependencies.as_ref().ok_or_else(missing)?.look_at_age(ctx),
            Part::Dependencies => self.dependencies.as_ref().ok_or_else(missing)?.look(ctx),
            Part::Secrets { root, share } => self.secrets.as_ref().ok_or_else(missing)?.look(ctx, root, share),
            Part::Hardening => {
                let outcome = hardening::check(self.hardening.as_ref().ok_or_else(missing)?, ctx.now)?;
                Ok(Found::of_hardening(outcome))
            }
            Part::Integrity { folder, share } => self.integrity.get(folder).ok_or_else(missing)?.look(folder, share),
        }
    }

    fn finish(&self, ctx: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        report::sum_up(ctx, outcomes.into_iter().map(|it| (it.step, it.output)).collect())
    }
}

upkeep_plugin::export!(SecurityScan);

#[cfg(test)]
mod tests;
