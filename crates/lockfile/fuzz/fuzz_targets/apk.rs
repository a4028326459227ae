#![no_main]

#[path = "read.rs"]
mod read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read::check(upkeep_lockfile::Format::Apk, bytes));
