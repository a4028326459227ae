//! Lines of JSON, as access logs and as events.
#![no_main]

use std::sync::LazyLock;

use upkeep_accesslog::{Clock, EventFormat, EventKeys, Format, JsonKeys, Parser, members};

static FORMATS: LazyLock<[Format; 2]> =
    LazyLock::new(|| [Format::json(&JsonKeys::default()), Format::json(&JsonKeys::caddy())]);
static EVENTS: LazyLock<EventFormat> = LazyLock::new(|| EventFormat::new(&EventKeys::default()));

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let all: Vec<_> = members(line).collect();
    let is_whole = all.iter().all(Result::is_ok);
    for format in FORMATS.iter() {
        // What is read as a whole can be gone through member by member.
        assert!(Parser::new(format.clone()).parse(line).is_err() || is_whole);
    }
    if let Ok(event) = EVENTS.parse(line, &mut Clock::default()) {
        assert!(is_whole && !event.event.is_empty());
        event.properties().for_each(drop);
    }
});
