//! Expected outcome: succeeded. Each step counts its executions in the state under `step/ID`, so that a test can see
//! after a crash which ran, and how often.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task, state};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Echo {
    steps: u32,
    /// Each step waits so long before it leaves its trace.
    #[serde(default)]
    sleep_ms: u64,
}

impl Task for Echo {
    type Input = u32;
    type Output = u64;

    fn plan(&self, _: &Context) -> Result<Vec<Step<u32>>> {
        Ok((0..self.steps).map(|number| Step::new(format!("{number:06}"), number)).collect())
    }

    fn execute(&self, _: &Context, step: Step<u32>) -> Result<u64> {
        if self.sleep_ms > 0 {
            nap::for_ms(self.sleep_ms);
        }
        Ok(state::update(&format!("step/{}", step.id), |runs: Option<u64>| runs.unwrap_or(0) + 1)?)
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let done = outcomes.iter().filter(|it| it.output.is_ok()).count();
        let again = outcomes.iter().filter(|it| it.output.as_ref().is_ok_and(|runs| *runs > 1)).count();
        Ok(Report::new(format!("{done} of {} steps done, {again} of them not for the first time", outcomes.len())))
    }
}

upkeep_plugin::export!(Echo);
