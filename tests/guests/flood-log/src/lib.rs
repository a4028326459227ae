//! Expected outcome: succeeded; the log holds no more than its limits, and says how much was dropped.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::{Context, Result, info};

#[derive(Deserialize, JsonSchema)]
#[serde(default)]
struct Config {
    records: u32,
    /// Of the message of each record.
    bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { records: 100_000, bytes: 1_000 }
    }
}

fn flood(_: &Context, config: Config) -> Result<String> {
    let message = "x".repeat(config.bytes);
    for number in 0..config.records {
        info!(number = number, "{message}");
    }
    Ok(format!("wrote {} records", config.records))
}

upkeep_plugin::export!(fn flood);
