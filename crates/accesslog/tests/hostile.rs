//! Lines and formats that are made to hurt, and lines that are rendered from random formats: these must be read back.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use proptest::collection::vec;
use proptest::prelude::*;
use upkeep_accesslog::{Clock, Escape, EventFormat, EventKeys, Format, NAMES, Parser, members};

/// What a server knows of a request, each as it would be without escapes.
#[derive(Debug, Clone)]
struct Request {
    seconds: i64,
    millis: u16,
    status: u16,
    bytes: u64,
    took: u32,
    address: String,
    host: String,
    user: String,
    method: &'static str,
    target: String,
    referrer: String,
    agent: String,
}

fn requests() -> impl Strategy<Value = Request> {
    let who = ("[0-9a-f][0-9a-f.:]{0,19}", "[a-z.-]{1,20}", prop_oneof![Just(String::new()), "[a-z][a-z@.]{0,8}"]);
    let what = (prop_oneof![Just("GET"), Just("POST"), Just("PROPFIND")], "/[!-~é你]{0,30}");
    let said = (any::<String>(), any::<String>());
    let numbers = (0..4_000_000_000i64, 0..1000u16, 0..1000u16, 0..1_000_000_000_000u64, 0..10_000_000u32);
    (who, what, said, numbers).prop_map(|((address, host, user), (method, target), (referrer, agent), numbers)| {
        let (seconds, millis, status, bytes, took) = numbers;
        Request { seconds, millis, status, bytes, took, address, host, user, method, target, referrer, agent }
    })
}

/// What nginx makes of a value.
fn escaped(escape: Escape, value: &str) -> String {
    match (escape, value) {
        (Escape::Nginx, "") => "-".to_owned(),
        (Escape::Nginx, _) => value
            .bytes()
            .map(|it| match it {
                b'"' | b'\\' | 0..32 | 127.. => format!("\\x{it:02X}"),
                _ => char::from(it).to_string(),
            })
            .collect(),
        (Escape::Json, _) => serde_json::to_string(value).unwrap()[1..].strip_suffix('"').unwrap().to_owned(),
        _ => value.to_owned(),
    }
}

/// Seconds since 1970 as text, by counting days; the tests of times check the other way.
fn civil(seconds: i64) -> (i64, usize, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut days, mut year, mut month) = (seconds / 86_400, 1970, 0);
    while days >= if is_leap(year) { 366 } else { 365 } {
        days -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let of = |month: usize| [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
    while days >= of(month) {
        days -= of(month);
        month += 1;
    }
    (year, month, days + 1, seconds % 86_400)
}

/// What nginx writes for a variable.
fn value(name: &str, it: &Request, escape: Escape) -> String {
    let (year, month, day, second) = civil(it.seconds);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let took = format!("{}.{:03}", it.took / 1000, it.took % 1000);
    match name {
        "time_local" => {
            let month = &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month..3 * month + 3];
            format!("{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000")
        }
        "time_iso8601" => format!("{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00", month + 1),
        "msec" => format!("{}.{:03}", it.seconds, it.millis),
        "status" => format!("{:03}", it.status),
        "body_bytes_sent" => it.bytes.to_string(),
        "request_time" => took,
        "upstream_response_time" => format!("-, {took} : 0.001"),
        "remote_addr" => it.address.clone(),
        "host" => it.host.clone(),
        "remote_user" => escaped(escape, &it.user),
        "request" => escaped(escape, &format!("{} {} HTTP/1.1", it.method, it.target)),
        "request_uri" => escaped(escape, &it.target),
        "http_referer" => escaped(escape, &it.referrer),
        "http_user_agent" => escaped(escape, &it.agent),
        "pid" => "4711".to_owned(),
        other => panic!("{other}"),
    }
}

const VARIABLES: [&str; 12] = [
    "status",
    "body_bytes_sent",
    "request_time",
    "upstream_response_time",
    "remote_addr",
    "host",
    "remote_user",
    "request",
    "request_uri",
    "http_referer",
    "http_user_agent",
    "pid",
];

/// A format of variables in any order, each in quotes or not as it needs, with some text between them.
fn formats() -> impl Strategy<Value = (Vec<(&'static str, bool)>, Vec<String>)> {
    let time = prop_oneof![Just("time_local"), Just("time_iso8601"), Just("msec")];
    let others = proptest::sample::subsequence(VARIABLES.to_vec(), 0..=VARIABLES.len());
    (time, others).prop_flat_map(|(time, mut names)| {
        names.push(time);
        if !names.contains(&"status") {
            names.push("status");
        }
        let length = names.len();
        let between =
            prop_oneof![Just(" ".to_owned()), Just(" - ".to_owned()), "\\| ?[a-z]{1,10}=", Just("\t".to_owned())];
        (Just(names).prop_shuffle(), vec(any::<bool>(), length), vec(between, length))
            .prop_map(|(names, braced, between)| (names.into_iter().zip(braced).collect(), between))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_rendered_is_read_back(
        (names, between) in formats(),
        it in requests(),
        escape in prop_oneof![Just(Escape::Nginx), Just(Escape::Json)],
    ) {
        let option = if escape == Escape::Json { "escape=json " } else { "" };
        let (mut format, mut line) = (format!("{option}'"), String::new());
        for ((name, is_braced), between) in names.iter().zip(&between) {
            let quote = if matches!(*name, "request" | "request_uri" | "http_referer" | "http_user_agent" | "remote_user") { "\"" } else { "" };
            format += &if *is_braced { format!("{quote}${{{name}}}{quote}{between}") } else { format!("{quote}${name}{quote}{between}") };
            line += &format!("{quote}{}{quote}{between}", value(name, &it, escape));
        }
        format += "'";
        let mut parser = Parser::new(Format::new(&format).unwrap());
        let entry = parser.parse(line.as_bytes()).map_err(|it| TestCaseError::fail(format!("{it}\n{format}\n{line}")))?;
        let has = |name: &str| names.iter().any(|(it, _)| *it == name);
        let text = |field: Option<&[u8]>| field.map(|it| String::from_utf8_lossy(&escape.unescape(it)).into_owned());
        // A value of nothing but a hyphen is nothing, too.
        let given = |name: &str, value: &str| (has(name) && !matches!(value, "" | "-")).then(|| value.to_owned());
        prop_assert_eq!(entry.time, it.seconds);
        prop_assert_eq!(entry.millis, has("msec").then_some(it.millis));
        prop_assert_eq!(entry.status, it.status);
        prop_assert_eq!(entry.bytes, has("body_bytes_sent").then_some(it.bytes));
        let has_duration = has("request_time") || has("upstream_response_time");
        prop_assert_eq!(entry.duration, has_duration.then_some(u64::from(it.took) * 1000));
        prop_assert_eq!(text(entry.address), given("remote_addr", &it.address));
        prop_assert_eq!(text(entry.host), given("host", &it.host));
        prop_assert_eq!(text(entry.user), given("remote_user", &it.user));
        prop_assert_eq!(text(entry.method), given("request", it.method));
        prop_assert_eq!(text(entry.target), given("request", &it.target).or(given("request_uri", &it.target)));
        prop_assert_eq!(text(entry.referrer), given("http_referer", &it.referrer));
        prop_assert_eq!(text(entry.agent), given("http_user_agent", &it.agent));
    }

    #[test]
    fn json_is_read_as_serde_reads_it(it in requests(), other in json(), order in Just(vec![0, 1, 2, 3, 4, 5]).prop_shuffle()) {
        let members = [
            ("ts", serde_json::json!(it.seconds)),
            ("status", serde_json::json!(it.status.to_string())),
            ("request_uri", serde_json::json!(it.target)),
            ("http_user_agent", serde_json::json!(it.agent)),
            ("some", other),
            ("size", serde_json::json!(it.bytes)),
        ];
        let status_is_three = it.status >= 100;
        let parts: Vec<_> = order.iter().map(|at: &usize| format!("{:?} : {}", members[*at].0, members[*at].1)).collect();
        let line = format!("{{ {} }}", parts.join(" ,"));
        let mut parser = Parser::new(Format::new("json").unwrap());
        let parsed = parser.parse(line.as_bytes());
        prop_assert_eq!(parsed.is_ok(), status_is_three);
        let Ok(entry) = parsed else { return Ok(()) };
        prop_assert_eq!((entry.time, entry.status, entry.bytes), (it.seconds, it.status, Some(it.bytes)));
        prop_assert_eq!(entry.text(entry.target.unwrap()), it.target.as_bytes());
        let agent = entry.agent.map(|it| entry.text(it).into_owned());
        prop_assert_eq!(agent, (!matches!(&*it.agent, "" | "-")).then(|| it.agent.clone().into_bytes()));
        for end in 0..line.len() {
            prop_assert!(parser.parse(&line.as_bytes()[..end]).is_err());
        }
        // Whoever goes through the members one by one sees the same.
        let seen: Vec<_> = upkeep_accesslog::members(line.as_bytes()).map(|it| it.unwrap().0.to_vec()).collect();
        let names: Vec<_> = order.iter().map(|at| members[*at].0.as_bytes().to_vec()).collect();
        prop_assert_eq!(seen, names);
    }

    #[test]
    fn never_panics(bytes in vec(any::<u8>(), 0..200), text in "[\"{}\\[\\]:,\\\\a-c0-9.\\- /+GET]{0,80}", changed in changed()) {
        for (name, _) in NAMES {
            let mut parser = Parser::new(Format::new(name).unwrap());
            for line in [&bytes, text.as_bytes(), &changed] {
                if let Ok(entry) = parser.parse(line) {
                    let _ = (entry.path(), entry.query(), entry.forwarded_for(), entry.agent.map(|it| entry.text(it)));
                }
            }
        }
        let events = EventFormat::new(&EventKeys::default());
        for line in [&bytes, text.as_bytes()] {
            let _ = events.parse(line, &mut Clock::default());
            prop_assert!(members(line).count() <= line.len() + 1);
        }
    }

    #[test]
    fn formats_never_panic(text in "[$%{}'\"\\\\ a-z>!^,0-9\\[\\]=é]{0,60}", parts in "((\\$(status|msec|uri|args)|%(h|t|>s|\\{[a-z]{0,3}\\}[ti]))[ \"'|]{0,2}){0,6}") {
        for text in [&text, &parts] {
            for format in [Format::new(text), Format::nginx(text), Format::apache(text)].into_iter().flatten() {
                let _ = Parser::new(format).parse(text.as_bytes());
            }
        }
    }
}

/// Any JSON, not too deep.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no others", |it| it.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|it| it.into_iter().collect()),
        ]
    })
}

/// A line of the combined format with some bytes changed.
fn changed() -> impl Strategy<Value = Vec<u8>> {
    let line = br#"203.0.113.9 - - [29/Nov/2026:22:55:24 +0000] "GET /a HTTP/1.1" 200 5120 "-" "Mozilla/5.0""#;
    vec((0..line.len(), any::<u8>()), 0..4).prop_map(move |changes| {
        let mut line = line.to_vec();
        changes.into_iter().for_each(|(at, byte)| line[at] = byte);
        line
    })
}
