//! A file of advisories, whose checksums are not looked at here: opening it and looking packages up does not panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_advisory::database::{Database, Package};

fuzz_target!(|file: &[u8]| {
    if let Ok(database) = Database::open(file) {
        let packages =
            ["a", "curl", "example/cms", "ring-buffer", "zope-thing"].map(|name| Package { name, version: "1.0.0" });
        let _ = database.look_up(None, &packages);
        let _ = database.advisories("colour");
    }
});
