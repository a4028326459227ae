//! Expected outcome: denied. Config: `root`, a granted root; `outside`, the absolute path of a file outside of it.
//! If anything is reached, the run succeeds and its report says what.

use attempt::{Config, every_way};
use upkeep_plugin::{Context, Result};

fn escape(_: &Context, config: Config) -> Result<String> {
    let outside = config.outside.clone();
    every_way(&config, &[&outside, &format!("/{outside}"), "/etc/hostname", "/proc/self/environ"])
}

upkeep_plugin::export!(fn escape);
