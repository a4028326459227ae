//! Delivers messages of the outbox, by channels that the operator has set up.
//!
//! A run has one step. It goes round the channels ([`lane`]): claims what is due, hands it to the providers, many at the same
//! time ([`delivery`]), and writes down what became of it, many in one commit. So a channel that is slow or down holds up no
//! other. What the providers want and what they answer is known by `upkeep-channel`; how often they may be asked is kept here
//! ([`allowance`]), beyond the run and beyond the daemon's end.
//!
//! A run ends when nothing is due, or when its time is over; the schedule (`outbox = true`) starts the next one when there is
//! something to deliver again.

use std::collections::BTreeMap;

use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task, outbox};

use crate::config::Push;
use crate::delivery::Delivery;
use crate::report::Tally;

mod allowance;
mod config;
mod delivery;
mod lane;
mod letter;
mod report;

/// What was done, by channel.
type Tallies = BTreeMap<String, Tally>;

impl Task for Push {
    type Input = ();
    type Output = Tallies;

    fn plan(&self, _: &Context) -> Result<Vec<Step<()>>> {
        self.check()?;
        let counts = outbox::count()?;
        let (due, channels) = counts
            .iter()
            .filter(|it| it.due > 0 && it.paused_until.is_none())
            .fold((0, 0), |(due, channels), it| (due + it.due, channels + 1));
        if due == 0 {
            return Ok(Vec::new());
        }
        let title = format!("deliver {} in {}", report::counted(due, "message"), report::counted(channels, "channel"));
        Ok(vec![Step::only(()).title(title).weight(due)])
    }

    fn execute(&self, _: &Context, _: Step<()>) -> Result<Tallies> {
        Delivery::new(self)?.run()
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        report::report(outcomes.into_iter().next().map(|it| it.output))
    }
}

upkeep_plugin::export!(Push);

#[cfg(test)]
mod tests;
