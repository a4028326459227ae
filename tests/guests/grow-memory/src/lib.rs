//! Expected outcome: limit-exceeded, `memory`.

use std::hint::black_box;

use upkeep_plugin::{Context, Result};

fn grow(_: &Context) -> Result<()> {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

upkeep_plugin::export!(fn grow);
