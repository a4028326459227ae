//! Lists the guests under `tests/guests` for the macro `every_guest`, so that a guest without an expected outcome does not
//! compile.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=guests");
    let mut guests: Vec<String> = fs::read_dir("guests")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("plugin.toml").exists())
        .map(|entry| entry.file_name().to_string_lossy().replace('-', "_"))
        .collect();
    guests.sort();
    let list = guests.join(" ");
    let text = format!(
        "/// Calls a macro with the names of all guests, `-` written as `_`.\n\
         #[macro_export]\n\
         macro_rules! every_guest {{ ($then:ident) => {{ $then! {{ {list} }} }}; }}\n"
    );
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    if let Err(error) = fs::write(Path::new(&out).join("guests.rs"), text) {
        println!("cargo::error=the list of guests cannot be written: {error}");
    }
}
