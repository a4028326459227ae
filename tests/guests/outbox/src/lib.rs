//! Expected outcome: succeeded. Enqueues messages for one channel, or claims those of a channel and says that they were sent.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::outbox::{self, Claimed, EnqueueOutcome, Message, Outcome};
use upkeep_plugin::{Context, Report, Result, Step, Task};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Outbox {
    /// Messages to enqueue.
    #[serde(default)]
    enqueue: u32,
    channel: String,
    /// Messages to claim at once; 0: none is delivered.
    #[serde(default)]
    claim: u32,
    #[serde(default = "minute")]
    lease_ms: u64,
    /// How long it takes to deliver what was claimed.
    #[serde(default)]
    sleep_ms: u64,
}

fn minute() -> u64 {
    60_000
}

impl Outbox {
    fn claim(&self) -> Result<Vec<Claimed>> {
        if self.claim == 0 {
            return Ok(Vec::new());
        }
        Ok(outbox::claim(&self.channel, self.claim, Duration::from_millis(self.lease_ms))?)
    }
}

impl Task for Outbox {
    type Input = ();
    type Output = String;

    fn plan(&self, _: &Context) -> Result<Vec<Step<()>>> {
        Ok(vec![Step::new("messages", ())])
    }

    fn execute(&self, _: &Context, _: Step<()>) -> Result<String> {
        let message = |number| Message::to([&self.channel]).title(format!("message {number}")).key(format!("{number}"));
        let enqueued = outbox::enqueue((0..self.enqueue).map(message))?;
        let new = enqueued.iter().filter(|it| it.outcome == EnqueueOutcome::New).count();
        let mut sent = 0;
        loop {
            let claimed = self.claim()?;
            if claimed.is_empty() {
                break;
            }
            nap::for_ms(self.sleep_ms);
            let settled = claimed.iter().map(|it| it.settle(Outcome::Sent(None)));
            sent += outbox::settle(settled)?.into_iter().filter(|own| *own).count();
        }
        Ok(format!("{new} new, {sent} sent"))
    }

    fn finish(&self, _: &Context, outcomes: Vec<upkeep_plugin::Outcome<Self>>) -> Result<Report> {
        let said: Vec<_> = outcomes.into_iter().filter_map(|it| it.output.ok()).collect();
        Ok(Report::new(said.join(", ")))
    }
}

upkeep_plugin::export!(Outbox);
