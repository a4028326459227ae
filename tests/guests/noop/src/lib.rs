//! Expected outcome: succeeded.

use upkeep_plugin::{Context, Result, info};

fn noop(_: &Context) -> Result<()> {
    info!("nothing to do");
    Ok(())
}

upkeep_plugin::export!(fn noop);
