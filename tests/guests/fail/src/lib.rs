//! Expected outcome: failed, with the failure that the config names; succeeded from the attempt `succeed_at` on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_plugin::{Context, Error, Outcome, Report, Result, Step, Task};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fail {
    kind: Kind,
    #[serde(default)]
    at: Call,
    /// Counts from 1; left out: never.
    succeed_at: Option<u32>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Config,
    Transient,
    Permanent,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Call {
    Plan,
    #[default]
    Execute,
    Finish,
}

impl Fail {
    fn reached(&self, call: Call, ctx: &Context) -> Result<()> {
        if call != self.at || self.succeed_at.is_some_and(|attempt| ctx.attempt >= attempt) {
            return Ok(());
        }
        let message = format!("failing as told, attempt {}", ctx.attempt);
        Err(match self.kind {
            Kind::Config => Error::config(message),
            Kind::Transient => Error::transient(message),
            Kind::Permanent => Error::permanent(message),
        })
    }
}

impl Task for Fail {
    type Input = ();
    type Output = ();

    fn plan(&self, ctx: &Context) -> Result<Vec<Step>> {
        self.reached(Call::Plan, ctx)?;
        Ok(vec![Step::only(())])
    }

    fn execute(&self, ctx: &Context, _: Step) -> Result<()> {
        self.reached(Call::Execute, ctx)
    }

    fn finish(&self, ctx: &Context, _: Vec<Outcome<Self>>) -> Result<Report> {
        self.reached(Call::Finish, ctx)?;
        Ok(Report::new(format!("went well at attempt {}", ctx.attempt)))
    }
}

upkeep_plugin::export!(Fail);
