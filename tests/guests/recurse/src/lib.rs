//! Expected outcome: limit-exceeded, `stack`.

use upkeep_plugin::{Context, Result};

fn recurse(ctx: &Context) -> Result<String> {
    Ok(format!("came back with {}", deeper(u64::from(ctx.attempt))))
}

/// The rotation keeps the compiler from making a loop of it; without memory of its own it fills the stack of the host.
fn deeper(depth: u64) -> u64 {
    if depth == 0 { 0 } else { deeper(depth + 1).rotate_left(7) ^ depth }
}

upkeep_plugin::export!(fn recurse);
