//! A configuration of Redis: any text says something, and neither an empty line nor a comment behind it changes that.
#![no_main]

#[path = "../../src/hardening/redis/settings.rs"]
mod settings;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let settings = settings::parse(&text);
    assert_eq!(settings::parse(&format!("{text}\n\n# requirepass none\n")), settings);
});
