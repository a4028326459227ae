//! Expected outcome: denied. Config: `root`, a granted root that holds the folder `inside`; beside the root lies the file
//! `secret`. If anything is reached, the run succeeds and its report says what.

use attempt::{Config, every_way};
use upkeep_plugin::{Context, Result};

fn escape(_: &Context, config: Config) -> Result<String> {
    let ways = ["../secret", "inside/../../secret", "./../secret", "inside/../inside/../../secret", "..", "../"];
    every_way(&config, &ways)
}

upkeep_plugin::export!(fn escape);
