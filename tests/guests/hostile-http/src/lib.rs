//! Expected outcome: denied. Asks for each address in turn and follows where it is sent. What it was told goes to the log, one
//! line for each attempt.

use std::io::Read;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::http::Request;
use upkeep_plugin::{Context, Error, Result, info};

#[derive(Deserialize, JsonSchema)]
struct Attack {
    /// What to ask for, in order.
    urls: Vec<String>,
}

fn ask(url: &str) -> Result<String> {
    let mut response = Request::get(url).send()?;
    if let Some(next) = response.header("location").map(str::to_owned) {
        info!("{url} leads to {next}");
        return ask(&next);
    }
    let mut text = String::new();
    response.read_to_string(&mut text)?;
    Ok(format!("{} {text}", response.status()))
}

fn attack(_: &Context, config: Attack) -> Result<()> {
    let mut ended = Ok(());
    for url in &config.urls {
        match ask(url) {
            Ok(answer) => info!("attempt {url}: reached, {answer}"),
            Err(error) => {
                info!("attempt {url}: {error}");
                ended = Err(Error::permanent(error.to_string()));
            }
        }
    }
    ended
}

upkeep_plugin::export!(fn attack);
