//! Formats as they stand in configurations, and lines as servers write them.

use std::fmt::Write;

use upkeep_accesslog::{Escape, Format, FormatError, JsonKeys, Malformed, NAMES, Parser, Reason, Unit};

/// What a line says, one thing a line.
fn read(format: Format, line: &str) -> String {
    let mut parser = Parser::new(format);
    let entry = match parser.parse(line.as_bytes()) {
        Ok(it) => it,
        Err(it) => return it.to_string(),
    };
    let mut said = format!("{}", entry.time);
    if let Some(millis) = entry.millis {
        let _ = write!(said, ".{millis:03}");
    }
    let _ = write!(said, " {}", entry.status);
    if let Some(bytes) = entry.bytes {
        let _ = write!(said, " {bytes} bytes");
    }
    if let Some(micros) = entry.duration {
        let _ = write!(said, " {micros} µs");
    }
    for (name, field) in [
        ("address", entry.address),
        ("host", entry.host),
        ("user", entry.user),
        ("method", entry.method),
        ("path", entry.path()),
        ("query", entry.query()),
        ("protocol", entry.protocol),
        ("referrer", entry.referrer),
        ("agent", entry.agent),
        ("forwarded", entry.forwarded_for()),
    ] {
        if let Some(field) = field {
            let _ = write!(said, "\n{name}: {}", String::from_utf8_lossy(&entry.text(field)));
        }
    }
    said
}

fn format(text: &str) -> Format {
    Format::new(text).unwrap_or_else(|it| panic!("{text}: {it}"))
}

const COMBINED: &str = r#"203.0.113.9 - - [29/Nov/2026:22:55:24 +0000] "GET /a?b=c HTTP/1.1" 200 5120 "https://example.org/" "Mozilla/5.0 (X11)""#;

#[test]
fn combined() {
    insta::assert_snapshot!(read(format("combined"), COMBINED), @r"
    1795992924 200 5120 bytes
    address: 203.0.113.9
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/1.1
    referrer: https://example.org/
    agent: Mozilla/5.0 (X11)
    ");
    let escaped =
        r#"::1 - john doe [29/Nov/2026:22:55:24 +0000] "GET /\xE4\xBD\xA0 HTTP/1.1" 304 - "-" "a \"b\" \x22c\\""#;
    insta::assert_snapshot!(read(format("combined"), escaped), @r#"
    1795992924 304
    address: ::1
    user: john doe
    method: GET
    path: /你
    protocol: HTTP/1.1
    agent: a "b" "c\
    "#);
}

#[test]
fn requests_that_are_none_are_counted() {
    for request in [r"\x16\x03\x01", "-", "", "GET", r#"\"#] {
        let line = format!(r#"203.0.113.9 - - [29/Nov/2026:22:55:24 +0000] "{request}" 400 150 "-" "-""#);
        if request == r"\" {
            // No server writes a lonely backslash: it would hide the quote.
            assert!(Parser::new(format("combined")).parse(line.as_bytes()).is_err());
            continue;
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(read(format("combined"), &line), @r"
            1795992924 400 150 bytes
            address: 203.0.113.9
            ");
        }
    }
}

#[test]
fn other_names() {
    let common = r#"203.0.113.9 - eve [29/Nov/2026:22:55:24 +0100] "HEAD / HTTP/1.0" 404 0"#;
    insta::assert_snapshot!(read(format("common"), common), @r"
    1795989324 404 0 bytes
    address: 203.0.113.9
    user: eve
    method: HEAD
    path: /
    protocol: HTTP/1.0
    ");
    insta::assert_snapshot!(read(format("combined-time"), &format!("{COMBINED} 0.012")), @r"
    1795992924 200 5120 bytes 12000 µs
    address: 203.0.113.9
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/1.1
    referrer: https://example.org/
    agent: Mozilla/5.0 (X11)
    ");
    insta::assert_snapshot!(read(format("main"), &format!("{COMBINED} \"198.51.100.7, 10.0.0.1\"")), @r"
    1795992924 200 5120 bytes
    address: 203.0.113.9
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/1.1
    referrer: https://example.org/
    agent: Mozilla/5.0 (X11)
    forwarded: 198.51.100.7
    ");
    insta::assert_snapshot!(read(format("vhost_combined"), &format!("shop.example:443 {COMBINED}")), @r"
    1795992924 200 5120 bytes
    address: 203.0.113.9
    host: shop.example
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/1.1
    referrer: https://example.org/
    agent: Mozilla/5.0 (X11)
    ");
    for (name, _) in NAMES {
        assert!(Format::new(name).is_ok(), "{name}");
    }
}

#[test]
fn log_formats() {
    let directive = r#"log_format timed escape=default '$remote_addr [$time_iso8601] $host "$request_method $request_uri" '
        '$status rt=$request_time ut="$upstream_response_time" ua="$http_user_agent"';"#;
    let line =
        r#"203.0.113.9 [2026-11-29T22:55:24+00:00] shop.example "GET /a?b" 502 rt=1.250 ut="0.200, 1.050" ua="x y""#;
    insta::assert_snapshot!(read(format(directive), line), @r"
    1795992924 502 1250000 µs
    address: 203.0.113.9
    host: shop.example
    method: GET
    path: /a
    query: b
    agent: x y
    ");
    // Upstream times without quotes have spaces in them.
    let upstream = "$msec $status $upstream_addr $upstream_response_time $body_bytes_sent $bytes_sent ${request_id}";
    let line = "1795992924.037 200 10.0.0.1:80, unix:/run/a : 10.0.0.2:80 -, 0.250 : 0.100 17 300 4f2a";
    insta::assert_snapshot!(read(format(upstream), line), @"1795992924.037 200 17 bytes 250000 µs");
    insta::assert_snapshot!(read(format(upstream), "1795992924.037 200 - - 17 300 4f2a"), @"1795992924.037 200 17 bytes");
    let whole = "$scheme://$host$request_uri\t$uri$is_args$args\t[$time_local]\t$status";
    let line = "https://shop.example/a/b?c\t/index.php?c\t[29/Nov/2026:22:55:24 +0000]\t200";
    insta::assert_snapshot!(read(format(whole), line), @r"
    1795992924 200
    host: shop.example
    path: /a/b
    query: c
    ");
    let bare = "$time_iso8601 $request $status";
    insta::assert_snapshot!(read(format(bare), "2026-11-29T22:55:24+00:00 GET /a HTTP/1.1 200"), @r"
    1795992924 200
    method: GET
    path: /a
    protocol: HTTP/1.1
    ");
    insta::assert_snapshot!(read(format(bare), r"2026-11-29T22:55:24+00:00 \x16\x03 400"), @"1795992924 400");
    let json = r#"escape=json '{"t":"$time_iso8601","s":$status,"u":"$request_uri","a":"$http_user_agent","r":"$http_referer"}'"#;
    let line = r#"{"t":"2026-11-29T22:55:24+00:00","s":200,"u":"/a\"b","a":"x\\","r":""}"#;
    insta::assert_snapshot!(read(format(json), line), @r#"
    1795992924 200
    path: /a"b
    agent: x\
    "#);
    let none = r#"escape=none "$time_iso8601 $status \"$http_user_agent\" $request_length""#;
    insta::assert_snapshot!(read(format(none), r#"2026-11-29T22:55:24+00:00 200 "x "y\x41" 17"#), @r#"
    1795992924 200
    agent: x "y\x41
    "#);
}

#[test]
fn apache_formats() {
    let text = r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D"#;
    insta::assert_snapshot!(read(format(text), &format!("{COMBINED} 1500")), @r"
    1795992924 200 5120 bytes 1500 µs
    address: 203.0.113.9
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/1.1
    referrer: https://example.org/
    agent: Mozilla/5.0 (X11)
    ");
    let text = "%{begin:msec}t %s %>s %a %{c}a %{Host}i %m %U%q %H %{ms}T %I %O %% %!200,304{X-Real-IP}i %^FU";
    let line =
        "1795992924037 301 200 203.0.113.9 10.0.0.1 shop.example GET /a?b=c HTTP/1.1 12 100 300 % 198.51.100.7 7";
    insta::assert_snapshot!(read(format(text), line), @r"
    1795992924.037 200 300 bytes 12000 µs
    address: 203.0.113.9
    host: shop.example
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/1.1
    forwarded: 198.51.100.7
    ");
}

#[test]
fn what_is_no_format_says_why() {
    let mut said = String::new();
    for text in [
        "combinde",
        "$remote_addr$status [$time_local]",
        "$remote_addr [$time_local] $request",
        "$remote_addr $status",
        r#"[$time_local] $status $http_user_agent $request_time"#,
        "[$time_local] $status $",
        "[$time_local] $status ${host",
        "'[$time_local] $status",
        "log_format x escape=xml '[$time_local] $status';",
        "%h %t %>s %",
        "%h %t %>s %{Referer",
        "%h %t %>s %Q",
        "%h %{%c}t %>s",
        "%{sec}t%>s",
    ] {
        let _ = writeln!(said, "{text}\n    {}", Format::new(text).unwrap_err());
    }
    insta::assert_snapshot!(said);
    assert_eq!(Format::nginx("[$time_local]").unwrap_err(), FormatError::NoStatus);
}

#[test]
fn what_does_not_fit_says_where() {
    let mut parser = Parser::new(format("combined"));
    let mut fails = |line: &str| parser.parse(line.as_bytes()).unwrap_err();
    let at = |reason, at| Malformed { reason, at };
    assert_eq!(fails(""), at(Reason::Text, 0));
    assert_eq!(fails(&COMBINED.replace("29/Nov", "31/Nov")), at(Reason::Time, 17));
    assert_eq!(fails(&COMBINED.replace(" 200 ", " 2x0 ")), at(Reason::Status, 67));
    assert_eq!(fails(&COMBINED.replace(" 5120 ", " many ")), at(Reason::Bytes, 71));
    assert_eq!(fails(&format!("{COMBINED} 0.012")), at(Reason::Rest, 118));
    assert_eq!(fails(&COMBINED[..90]), at(Reason::Text, 77));
    assert_eq!(fails(&COMBINED[60..]), at(Reason::Text, 11));
    for end in 0..COMBINED.len() {
        fails(&COMBINED[..end]);
    }
    assert!(parser.parse(COMBINED.as_bytes()).is_ok());
    assert_eq!(at(Reason::Time, 17).to_string(), "no valid time at byte 17");
}

#[test]
fn json_lines() {
    let line = r#"{"time_local":"29\/Nov\/2026:22:55:24 +0000","remote_addr":"203.0.113.9","request":"GET \/a?b HTTP\/1.1",
        "status":"200","body_bytes_sent":5120,"request_time":"0.012","upstream":{"a":[1,{"b":"}"}]},"http_referer":"-",
        "http_user_agent":"x \u4f60","host":null,"other":[true,false,null,-1.5e3]} "#;
    insta::assert_snapshot!(read(format("json"), line), @r"
    1795992924 200 5120 bytes 12000 µs
    address: 203.0.113.9
    method: GET
    path: /a
    query: b
    protocol: HTTP/1.1
    agent: x 你
    ");
    let keys = JsonKeys {
        time: vec!["at.ms".to_owned()],
        time_unit: Unit::Millis,
        status: vec!["http.response.status_code".to_owned()],
        target: vec!["url.original".to_owned(), "url.path".to_owned()],
        duration: vec!["ms".to_owned()],
        duration_unit: Unit::Millis,
        ..JsonKeys::none()
    };
    let line =
        r#"{"url":{"path":"/p","original":"/o"},"at":{"ms":1795992924037},"http.response.status_code":404,"ms":1.5}"#;
    insta::assert_snapshot!(read(Format::json(&keys), line), @r"
    1795992924.037 404 1500 µs
    path: /o
    ");
}

#[test]
fn json_that_does_not_fit() {
    let mut parser = Parser::new(format("json"));
    let mut fails = |line: &str| parser.parse(line.as_bytes()).unwrap_err().reason;
    let line = r#"{"ts":1795992924,"status":200,"uri":"/a"}"#;
    for end in 0..line.len() {
        assert_eq!(fails(&line[..end]), Reason::Json, "{end}");
    }
    assert_eq!(fails(&format!("{line}{{")), Reason::Rest);
    assert_eq!(fails(r#"{"ts":1795992924}"#), Reason::Status);
    assert_eq!(fails(r#"{"status":200}"#), Reason::Time);
    assert_eq!(fails(r#"{"ts":"yesterday","status":200}"#), Reason::Time);
    assert_eq!(fails(r#"{"ts":1795992924,"status":"ok"}"#), Reason::Status);
    assert_eq!(fails(r#"{"ts":1795992924,"status":200,"size":-1}"#), Reason::Bytes);
    assert_eq!(fails(r#"{"ts":1795992924,"status":200,"x":[}]}"#), Reason::Json);
    assert_eq!(fails(r#"{"ts":1795992924,"status":200,"x":tru}"#), Reason::Json);
    let deep = format!(r#"{{"ts":1795992924,"status":200,"x":{}1{}}}"#, "[".repeat(65), "]".repeat(65));
    assert_eq!(fails(&deep), Reason::Depth);
    assert!(parser.parse(deep.replacen('[', "", 1).replacen(']', "", 1).as_bytes()).is_ok());
    assert!(parser.parse(line.as_bytes()).is_ok());
}

#[test]
fn caddy() {
    let line = r#"{"level":"info","ts":1795992924.0371234,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"203.0.113.9","remote_port":"41342","client_ip":"198.51.100.7","proto":"HTTP/2.0","method":"GET","host":"shop.example","uri":"/a?b=c","headers":{"User-Agent":["curl/8.5.0"],"Accept":["*/*"],"Referer":["https://example.org/"],"X-Forwarded-For":[]},"tls":{"resumed":false,"version":772}},"bytes_read":0,"user_id":"","duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"]}}"#;
    insta::assert_snapshot!(read(format("caddy"), line), @r"
    1795992924.037 200 10900 bytes 929 µs
    address: 198.51.100.7
    host: shop.example
    method: GET
    path: /a
    query: b=c
    protocol: HTTP/2.0
    referrer: https://example.org/
    agent: curl/8.5.0
    ");
    let other =
        line.replace("1795992924.0371234", "\"2026-11-29T22:55:24.037Z\"").replace("0.000929675", "\"929.675µs\"");
    assert_eq!(read(format("caddy"), &other), read(format("caddy"), line));
}

#[test]
fn fields_are_borrowed() {
    let entry = Parser::new(format("combined")).parse(COMBINED.as_bytes()).unwrap();
    assert!(COMBINED.as_bytes().as_ptr_range().contains(&entry.agent.unwrap().as_ptr()));
    assert_eq!(entry.escape, Escape::Apache);
}
