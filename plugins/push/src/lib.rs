//! Delivers messages of the outbox, by channels that the operator has set up.
//!
//! A run has one step for all channels that are asked over HTTP, and one for each channel of mail. It goes round its channels ([`lane`]): claims what is due, hands it to the providers, many at the same
//! time ([`delivery`]), and writes down what became of it, many in one commit. So a channel that is slow or down holds up no
//! other. What the providers want and what they answer is known by `upkeep-channel`; how often they may be asked is kept here
//! ([`allowance`]), beyond the run and beyond the daemon's end.
//!
//! A run ends when nothing is due, or when its time is over; the schedule (`outbox = true`) starts the next one when there is
//! something to deliver again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task, outbox};

use crate::config::{Kind, Push};
use crate::delivery::Delivery;
use crate::report::Tally;

mod allowance;
mod apart;
mod config;
mod consent;
mod delivery;
mod lane;
mod letter;
mod outage;
mod report;
mod trust;

/// What was done, by channel.
type Tallies = BTreeMap<String, Tally>;

/// What a step delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Work {
    /// All channels that are asked over HTTP, at the same time.
    Requests,
    /// One channel of mail. Its server is waited for, which must hold up no other.
    Mails(String),
}

impl Task for Push {
    type Input = Work;
    type Output = Tallies;

    fn plan(&self, _: &Context) -> Result<Vec<Step<Work>>> {
        let mails: Vec<String> =
            self.channels()?.into_iter().filter(|it| matches!(it.kind, Kind::Mails(_))).map(|it| it.name).collect();
        let counts = outbox::count()?;
        let mut steps = Vec::new();
        let (mut due, mut channels) = (0, 0);
        for counts in counts.iter().filter(|it| it.due > 0 && it.paused_until.is_none()) {
            if mails.contains(&counts.channel) {
                let title = format!("deliver {} by {}", report::counted(counts.due, "mail"), counts.channel);
                let work = Work::Mails(counts.channel.clone());
                steps.push(Step::new(format!("mail/{}", counts.channel), work).title(title).weight(counts.due));
            } else {
                (due, channels) = (due + counts.due, channels + 1);
            }
        }
        if due > 0 {
            let channels = report::counted(channels, "channel");
            let title = format!("deliver {} in {channels}", report::counted(due, "message"));
            steps.insert(0, Step::only(Work::Requests).title(title).weight(due));
        }
        Ok(steps)
    }

    fn execute(&self, context: &Context, step: Step<Work>) -> Result<Tallies> {
        let delivery = Delivery::new(self, &step.input, context.now)?;
        match step.input {
            Work::Requests => delivery.run(),
            Work::Mails(_) => delivery.run_mails(),
        }
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        report::report(outcomes.into_iter().map(|it| it.output).collect())
    }
}

upkeep_plugin::export!(Push);

#[cfg(test)]
mod tests;
