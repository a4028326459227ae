//! Expected outcome: succeeded. Makes the same request in each step, and says in the log what was answered: `answer STATUS BODY`
//! or `no answer: WHY`.

use std::io::Read;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::http::Request;
use upkeep_plugin::{Context, Outcome, Report, Result, Step, Task, info};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asks {
    /// What to ask for.
    url: String,
    /// What to send; `NUMBER` in it becomes the step's number. Without it, it is only asked for.
    #[serde(default)]
    body: Option<String>,
    /// How often: so many steps.
    steps: u32,
    /// How often in each step, one after the other.
    #[serde(default = "once")]
    times: u32,
}

fn once() -> u32 {
    1
}

fn ask(request: Request) -> Result<String> {
    let mut response = request.send()?;
    let mut text = String::new();
    response.read_to_string(&mut text)?;
    Ok(format!("{} {text}", response.status()))
}

impl Task for Asks {
    type Input = u32;
    type Output = u32;

    fn plan(&self, _: &Context) -> Result<Vec<Step<u32>>> {
        Ok((0..self.steps).map(|number| Step::new(format!("{number:06}"), number)).collect())
    }

    fn execute(&self, _: &Context, step: Step<u32>) -> Result<u32> {
        let mut answered = 0;
        for _ in 0..self.times {
            let request = match &self.body {
                Some(body) => Request::post(&self.url, body.replace("NUMBER", &step.id))
                    .header("content-type", "application/json"),
                None => Request::get(&self.url),
            };
            match ask(request) {
                Ok(answer) => {
                    answered += 1;
                    info!("answer {answer}");
                }
                Err(error) => info!("no answer: {error}"),
            }
        }
        Ok(answered)
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let answered: u32 = outcomes.iter().filter_map(|it| it.output.as_ref().ok()).sum();
        Ok(Report::new(format!("{answered} answers")))
    }
}

upkeep_plugin::export!(Asks);
