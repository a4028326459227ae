//! Expected outcome: denied. Config: `root`, a name that the task file does not grant.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::Root;
use upkeep_plugin::{Context, Result};

#[derive(Deserialize, JsonSchema)]
struct Config {
    root: String,
}

fn open(_: &Context, config: Config) -> Result<String> {
    let root = Root::open(&config.root)?;
    Ok(format!("opened {root:?}"))
}

upkeep_plugin::export!(fn open);
