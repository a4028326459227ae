//! Any bytes, under any of some names, give the same findings as a whole and in pieces.
//!
//! The first byte chooses the name, the second the length of a piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_secrets::{Options, Scanner};

const PATHS: [&str; 8] =
    ["a", "a.rs", ".env", "application.yml", "locales/a.json", ".npmrc", ".pgpass", "wp-config.php"];

fuzz_target!(|data: &[u8]| {
    let [name, length, text @ ..] = data else { return };
    let path = PATHS[usize::from(*name) % PATHS.len()];
    let Ok(scanner) = Scanner::new(Options::default()) else { return };
    // Long enough to be let go of in parts.
    let text = text.repeat(1 + 20_000 / text.len().max(1));
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    let summary = scanner.scan(path, &text, &mut |it| whole.push(it));
    let mut stream = scanner.stream(path);
    text.chunks(1 + usize::from(*length) * 97).for_each(|piece| stream.push(piece, &mut |it| pieces.push(it)));
    assert_eq!(stream.finish(&mut |it| pieces.push(it)), summary);
    assert_eq!(whole, pieces);
    for it in whole {
        assert!(it.range.start < it.range.end && it.range.end <= text.len() as u64);
    }
});
