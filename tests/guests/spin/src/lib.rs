//! Expected outcome: timed-out. A loop without a host call: only the epoch ends it.

use std::hint::black_box;

use upkeep_plugin::{Context, Result};

fn spin(_: &Context) -> Result<()> {
    let mut turns = 0_u64;
    while black_box(turns) < u64::MAX {
        turns += 1;
    }
    Ok(())
}

upkeep_plugin::export!(fn spin);
