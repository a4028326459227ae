//! Expected outcome: limit-exceeded, `handles`. Config: `root`, a granted root.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::Root;
use upkeep_plugin::{Context, Result};

#[derive(Deserialize, JsonSchema)]
struct Config {
    root: String,
    #[serde(default = "many")]
    count: u32,
}

fn many() -> u32 {
    100_000
}

fn open(_: &Context, config: Config) -> Result<String> {
    let open = (0..config.count).map(|_| Root::open(&config.root)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("holds {} handles", open.len()))
}

upkeep_plugin::export!(fn open);
