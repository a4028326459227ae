//! Events of applications.

use upkeep_accesslog::{Clock, EventFormat, EventKeys, MAX_DEPTH, Reason, Unit, Value, members};

#[test]
fn events() {
    let format = EventFormat::new(&EventKeys::default());
    let mut clock = Clock::default();
    let line = br#"{"time":"2026-11-29T22:55:24.5Z","user_id":"u\u002d7","event":"pay","properties":{"amount":12.5,"tags":["a"]}}"#;
    let event = format.parse(line, &mut clock).unwrap();
    assert_eq!((event.event, event.time, event.millis), (&b"pay"[..], 1_795_992_924, Some(500)));
    assert_eq!(&*event.text(event.user.unwrap()), b"u-7");
    assert_eq!(event.properties, Some(&br#"{"amount":12.5,"tags":["a"]}"#[..]));
    let properties: Vec<_> = event.properties().map(Result::unwrap).collect();
    assert_eq!(properties, [(&b"amount"[..], Value::Number(b"12.5")), (b"tags", Value::Array(br#"["a"]"#))]);
    let line = br#"{"ts":1795992924037,"uid":17,"event":"open","properties":null}"#;
    let event = format.parse(line, &mut clock).unwrap();
    assert_eq!((event.user, event.millis, event.properties), (Some(&b"17"[..]), Some(37), None));
    assert_eq!(event.properties().count(), 0);
}

#[test]
fn keys() {
    let keys = EventKeys {
        user: vec!["who.id".to_owned()],
        event: vec!["what".to_owned()],
        time: vec!["when".to_owned()],
        time_unit: Unit::Micros,
        properties: vec!["who".to_owned()],
    };
    let line = br#"{"who":{"id":"a","plan":"x"},"what":"login","when":1500000}"#;
    let event = EventFormat::new(&keys).parse(line, &mut Clock::default()).unwrap();
    assert_eq!((event.user, event.time, event.millis), (Some(&b"a"[..]), 1, Some(500)));
    assert_eq!(event.properties, Some(&br#"{"id":"a","plan":"x"}"#[..]));
}

#[test]
fn what_is_no_event() {
    let format = EventFormat::new(&EventKeys::default());
    let fails = |line: &str| format.parse(line.as_bytes(), &mut Clock::default()).unwrap_err().reason;
    assert_eq!(fails(r#"{"event":"a"}"#), Reason::Time);
    assert_eq!(fails(r#"{"time":"soon","event":"a"}"#), Reason::Time);
    assert_eq!(fails(r#"{"time":1,"event":""}"#), Reason::Event);
    assert_eq!(fails(r#"{"time":1,"event":true}"#), Reason::Event);
    assert_eq!(fails(r#"["time"]"#), Reason::Json);
    assert_eq!(fails(&format!("{{\"a\":{}", "[".repeat(MAX_DEPTH as usize + 1))), Reason::Depth);
}

#[test]
fn members_end_at_an_error() {
    let all: Vec<_> = members(br#"{"a":1,"b":}"#).collect();
    assert!(all.len() == 2 && all[0].is_ok() && all[1].is_err());
    assert_eq!(members(b"{}x").next().unwrap().unwrap_err().reason, Reason::Rest);
    assert_eq!(members(b"").count(), 1);
}
