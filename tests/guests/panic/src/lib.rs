//! Expected outcome: trapped; the log has the words of the panic.

use upkeep_plugin::{Context, Result};

fn fail(ctx: &Context) -> Result<()> {
    panic!("the task {} lost its head", ctx.task)
}

upkeep_plugin::export!(fn fail);
