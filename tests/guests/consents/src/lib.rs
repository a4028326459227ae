//! Expected outcome: succeeded. Takes a consent for each of some messages to one user, each in a step of its own, and says what
//! became of it; gives some back.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::consents::{self, Ask};
use upkeep_plugin::{Context, Report, Result, Step, Task};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Consents {
    account: String,
    template: String,
    user: String,
    /// The messages, by name; each is a step.
    messages: Vec<String>,
    /// Those of them that are not sent after all.
    #[serde(default)]
    give_back: Vec<String>,
    /// Those of them that the provider refuses, since there is no consent.
    #[serde(default)]
    used_up: Vec<String>,
}

impl Consents {
    fn ask(&self, message: &str) -> Ask {
        Ask::new(message, &self.account, &self.template, &self.user)
    }
}

impl Task for Consents {
    type Input = String;
    type Output = String;

    fn plan(&self, _: &Context) -> Result<Vec<Step<String>>> {
        Ok(self.messages.iter().map(|message| Step::new(message, message.clone())).collect())
    }

    fn execute(&self, _: &Context, step: Step<String>) -> Result<String> {
        let message = step.input;
        let taking = consents::take([self.ask(&message)])?;
        if self.give_back.contains(&message) {
            consents::give_back([&message])?;
        }
        if self.used_up.contains(&message) {
            consents::used_up([self.ask(&message)])?;
        }
        let taking: Vec<_> = taking.iter().map(|it| format!("{it:?}")).collect();
        Ok(format!("{message}: {}", taking.join(", ").trim_start_matches("Taking::")))
    }

    fn finish(&self, _: &Context, outcomes: Vec<upkeep_plugin::Outcome<Self>>) -> Result<Report> {
        let mut said: Vec<_> = outcomes.into_iter().filter_map(|it| it.output.ok()).collect();
        let left = consents::remaining(&self.account, &self.template, &self.user)?;
        said.push(left.map_or("unknown".to_owned(), |left| format!("{left} left")));
        Ok(Report::new(said.join("; ")))
    }
}

upkeep_plugin::export!(Consents);
