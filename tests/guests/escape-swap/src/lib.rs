//! Expected outcome: succeeded, and the report says `leaked 0`. Config: `root`, a granted root in which `swap` is a folder
//! with the file `content` ("inside") and, in turns, a link to a folder outside with a `content` that says otherwise.

use std::io::Read;

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_plugin::files::{Kind, Root};
use upkeep_plugin::{Context, Result};

const INSIDE: &str = "inside";

#[derive(Deserialize, JsonSchema)]
struct Config {
    root: String,
    rounds: u32,
}

fn swap(_: &Context, config: Config) -> Result<String> {
    let root = Root::open(&config.root)?;
    let (mut inside, mut refused, mut leaked) = (0, 0, 0);
    let mut count = |seen: Option<bool>| match seen {
        Some(true) => inside += 1,
        Some(false) => leaked += 1,
        None => refused += 1,
    };
    for _ in 0..config.rounds {
        count(read(&root, "swap/content").map(|text| text == INSIDE));
        count(root.stat("swap/content").ok().map(|entry| entry.id.size == INSIDE.len() as u64));
        for start in ["", "swap"] {
            let Ok(entries) = root.walk().path(start).entries() else { continue };
            for entry in entries.flatten().filter(|it| it.kind == Kind::File) {
                count(Some(entry.id.size == INSIDE.len() as u64));
                count(read(&root, &entry.path).map(|text| text == INSIDE));
            }
        }
    }
    Ok(format!("inside {inside}, refused {refused}, leaked {leaked}"))
}

fn read(root: &Root, path: &str) -> Option<String> {
    let mut text = String::new();
    root.read(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

upkeep_plugin::export!(fn swap);
