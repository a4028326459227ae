//! A log of many requests, read by the crate and by cutting lines at quotes and spaces, as a shell script would.

use upkeep_accesslog::{Clock, Format, Parser, Piece, Splitter, Unit};

#[path = "../examples/generate/log.rs"]
mod log;

use log::{Log, Shape};

/// Bytes of a log, and how many lines it has.
fn text(shape: Shape) -> (Vec<u8>, usize) {
    let mut text = Vec::new();
    let lines = Log::new(20_000, 3000, 60).map(|it| it.write(shape, &mut text)).count();
    (text, lines)
}

#[test]
fn combined() {
    for (shape, format) in
        [(Shape::Combined, "combined"), (Shape::CombinedShort, "combined"), (Shape::CombinedTime, "combined-time")]
    {
        let (text, lines) = text(shape);
        let mut parser = Parser::new(Format::new(format).unwrap());
        let (mut splitter, mut requests, mut last) = (Splitter::new(4096), 0, 0);
        for (piece, plain) in splitter.split(&text).zip(String::from_utf8_lossy(&text).lines()) {
            let Piece::Line(line) = piece else { panic!("no line is so long: {plain}") };
            let entry = parser.parse(line).unwrap();
            let quoted: Vec<_> = plain.split('"').collect();
            let [before, request, numbers, referrer, _, agent, after] = quoted[..] else { panic!("{plain}") };
            assert_eq!(entry.address, before.split(' ').next().map(str::as_bytes));
            let time = before.split(['[', ']']).nth(1).unwrap();
            assert_eq!(entry.time, Clock::default().any(time.as_bytes(), Unit::Auto).unwrap().seconds);
            assert!(entry.time >= last);
            last = entry.time;
            let parts: Vec<_> = request.split(' ').collect();
            match parts[..] {
                [method, target, protocol] => {
                    let expected = [Some(method), Some(target), Some(protocol)].map(|it| it.map(str::as_bytes));
                    assert_eq!([entry.method, entry.target, entry.protocol], expected);
                    requests += 1;
                }
                _ => assert_eq!((entry.method, entry.target), (None, None)),
            }
            let mut numbers = numbers.split_whitespace();
            assert_eq!(entry.status.to_string(), numbers.next().unwrap());
            assert_eq!(entry.bytes.map(|it| it.to_string()).as_deref(), numbers.next());
            let given = |it: &'static str, field: &str| (field != it).then(|| field.as_bytes().to_vec());
            assert_eq!(entry.referrer.map(<[u8]>::to_vec), given("-", referrer));
            assert_eq!(entry.agent.map(<[u8]>::to_vec), given("-", agent));
            let seconds = after.trim().parse::<f64>().ok();
            assert_eq!(entry.duration, seconds.map(|it| (it * 1e6).round() as u64));
        }
        assert!(requests > lines * 99 / 100 && requests < lines);
    }
}

#[test]
fn json() {
    let (text, _) = text(Shape::Json);
    let mut parser = Parser::new(Format::new("json").unwrap());
    for piece in Splitter::new(4096).split(&text) {
        let Piece::Line(line) = piece else { panic!("no line is so long") };
        let entry = parser.parse(line).unwrap();
        let plain: serde_json::Value = serde_json::from_slice(line).unwrap();
        let of = |name: &str| plain[name].as_str().map(str::as_bytes);
        let fields = [entry.address, entry.host, entry.method, entry.target, entry.protocol, entry.agent];
        let names = ["remote_addr", "host", "request_method", "request_uri", "server_protocol", "http_user_agent"];
        assert_eq!(fields, names.map(of));
        assert_eq!(entry.referrer, of("http_referer").filter(|it| *it != b"-"));
        assert_eq!(u64::from(entry.status), plain["status"].as_u64().unwrap());
        assert_eq!(entry.bytes, plain["body_bytes_sent"].as_u64());
        let micros = (plain["request_time"].as_f64().unwrap() * 1e6).round() as u64;
        assert_eq!(entry.duration, Some(micros));
        let time = format!("{}.{:03}", entry.time, entry.millis.unwrap());
        assert_eq!(Some(time.as_bytes()), of("msec"));
    }
}
