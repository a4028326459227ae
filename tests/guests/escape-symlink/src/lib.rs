//! Expected outcome: denied. Config: `root`, a granted root in which `folder` is a link to a folder outside that holds
//! `secret`, `chain` a link to `folder`, and `file` a link to that `secret`. If anything is reached, the run succeeds and
//! its report says what.

use attempt::{Config, every_way, only_read};
use upkeep_plugin::{Context, Result};

fn escape(_: &Context, config: Config) -> Result<String> {
    // What the link itself is may be seen, and a write may replace it: what it leads to must not be read.
    only_read(&config, &["file", "folder", "chain"]).and_then(|leaked| {
        let through = every_way(&config, &["folder/secret", "chain/secret", "folder/new", "folder/.."]);
        if leaked.is_empty() { through } else { Ok(leaked) }
    })
}

upkeep_plugin::export!(fn escape);
