//! Formats, and lines that are read with them: the first line of the bytes is the format.
#![no_main]

use upkeep_accesslog::{Format, Parser};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (format, lines) = text.split_once('\n').unwrap_or((text, ""));
    for format in [Format::new(format), Format::nginx(format), Format::apache(format)] {
        match format {
            Ok(format) => {
                let mut parser = Parser::new(format);
                for line in lines.lines().chain([text]) {
                    if let Err(malformed) = parser.parse(line.as_bytes()) {
                        assert!(malformed.at <= line.len());
                    }
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
