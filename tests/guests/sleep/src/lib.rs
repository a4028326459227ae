//! Expected outcome: timed-out. The epoch does not reach a guest that waits in the host.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::{Context, Result};

#[derive(Deserialize, JsonSchema)]
#[serde(default)]
struct Config {
    ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { ms: 3_600_000 }
    }
}

fn sleep(_: &Context, config: Config) -> Result<String> {
    nap::for_ms(config.ms);
    Ok(format!("slept {} ms", config.ms))
}

upkeep_plugin::export!(fn sleep);
