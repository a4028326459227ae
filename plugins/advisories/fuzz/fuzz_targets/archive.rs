//! An archive from anybody: it is read to its end or refused, in bounded memory.
#![no_main]

#[path = "../../src/archive.rs"]
#[expect(dead_code, reason = "the plugin's module, of which the target uses a part")]
mod archive;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut entries, mut content) = (archive::Entries::new(bytes), Vec::new());
    while let Ok(Some(_)) = entries.next(&mut content) {}
});
