//! What holds for any file: pieces, pragmas, limits, time, and that no secret is shown.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use upkeep_secrets::{Match, Options, OptionsError, Scanner, Skipped, Summary};

fn scanner() -> Scanner {
    Scanner::new(Options::default()).unwrap()
}

fn scan(path: &str, bytes: &[u8]) -> (Vec<Match>, Summary) {
    let mut found = Vec::new();
    let summary = scanner().scan(path, bytes, &mut |it| found.push(it));
    (found, summary)
}

fn stream(path: &str, bytes: &[u8], piece: usize) -> (Vec<Match>, Summary) {
    let scanner = scanner();
    let mut found = Vec::new();
    let mut stream = scanner.stream(path);
    bytes.chunks(piece).for_each(|piece| stream.push(piece, &mut |it| found.push(it)));
    let summary = stream.finish(&mut |it| found.push(it));
    (found, summary)
}

#[test]
fn a_line_can_be_allowed() {
    for comment in ["upkeep: allow-secret", "gitleaks:allow", "pragma: allowlist secret"] {
        let (found, summary) =
            scan("a.py", format!("password = 'Mall@8842kq'  # {comment}\npassword = 'x7.Kq2mW'\n").as_bytes());
        assert_eq!((found.len(), found[0].line, summary.found, summary.allowed), (1, 2, 1, 1), "{comment}");
    }
    let (found, summary) =
        scan("a.py", b"# pragma: allowlist nextline secret\npassword = 'Mall@8842kq'\npassword = 'x7.Kq2mW'\n");
    assert_eq!((found.len(), found[0].line, summary.allowed), (1, 3, 1));
}

#[test]
fn what_is_not_looked_at_is_said() {
    assert_eq!(scan("a", b"\x89PNG\r\n").1.skipped, Some(Skipped::Binary("a PNG image")));
    assert_eq!(
        stream("a", b"password=Mall@8842kq\n\0", 3),
        (vec![], Summary { skipped: Some(Skipped::Binary("binary")), ..Summary::default() })
    );
    let scanner = Scanner::new(Options { limit: Some(20), ..Options::default() }).unwrap();
    let text = b"password=Mall@8842kq\npassword=x7.Kq2mW\n";
    let mut lines = Vec::new();
    assert_eq!(scanner.scan("a", text, &mut |it| lines.push(it.line)).skipped, Some(Skipped::TooLarge(20)));
    let mut stream = scanner.stream("a");
    text.chunks(7).for_each(|piece| stream.push(piece, &mut |it| lines.push(it.line)));
    assert_eq!(stream.finish(&mut |it| lines.push(it.line)).skipped, Some(Skipped::TooLarge(20)));
    assert_eq!(lines, [1, 1]);
}

#[test]
fn options_are_checked_and_heeded() {
    let new = |disabled: &[&str], stop_words: &[&str]| {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Scanner::new(Options { disabled: owned(disabled), stop_words: owned(stop_words), ..Options::default() })
    };
    assert_eq!(new(&["pasword"], &[]).unwrap_err(), OptionsError::UnknownRule("pasword".to_owned()));
    assert_eq!(new(&[], &["ab"]).unwrap_err().to_string(), "the stop word `ab` is too short: 3 bytes are the least");
    for scanner in [new(&["password"], &[]).unwrap(), new(&[], &["MALL"]).unwrap()] {
        assert_eq!(scanner.scan("a", b"password=Mall@8842kq", &mut |_| ()).found, 0);
    }
}

#[test]
fn a_fingerprint_stays_when_lines_move_and_goes_with_the_salt() {
    let of = |salt: &[u8], text: &str| {
        let scanner = Scanner::new(Options { salt: salt.to_vec(), ..Options::default() }).unwrap();
        let mut all = Vec::new();
        scanner.scan("a.py", text.as_bytes(), &mut |it| all.push(it.fingerprint));
        all
    };
    let one = of(b"a", "password = 'Mall@8842kq'");
    assert_eq!(one.len(), 1);
    assert_eq!(one, of(b"a", "# moved\n\n  password='Mall@8842kq'"));
    assert_ne!(one, of(b"b", "password = 'Mall@8842kq'"));
}

#[test]
fn a_find_at_the_border_of_pieces() {
    let line = b"accessKeySecret: k7Qz2mXv9RtB4nWp8LsD3hJc6YgF1x\n";
    for before in [8 << 10, (16 << 10) - 30, 20_001, 1 << 20] {
        let bytes = [vec![b'.'; before], b"\n".to_vec(), line.to_vec(), vec![b'.'; 9000]].concat();
        let whole = scan("a.yml", &bytes);
        assert_eq!(whole.0.len(), 1);
        for piece in [1000, 4096, 16_384, 20_003, 1 << 20] {
            assert_eq!(stream("a.yml", &bytes, piece), whole, "{before} {piece}");
        }
    }
}

/// Texts that give the matchers the most to do for their length.
#[test]
fn time_is_linear() {
    let parts = [
        "password",
        "password=",
        "password='",
        "-----BEGIN PRIVATE KEY-----\n",
        "eyJhbGciOi.",
        "https://a:b",
        "密码:",
        "key=",
        "a",
        "mysql -p",
        "\"auth\": \"YWJj",
        "token = \"k7Qz2mXv9RtB4nWp8LsD\"; ",
        "Private-Lines: 1\nQUJD",
        "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info",
        "appsecret=9f3c07a1d8e24b6590c1f7ab3d5e8264&",
    ];
    for part in parts {
        let text = part.repeat((1 << 20) / part.len());
        let began = Instant::now();
        scan("a.txt", text.as_bytes());
        let taken = began.elapsed();
        println!("{part:?}: {taken:?} for 1 MiB");
        assert!(taken < Duration::from_secs(5), "{part:?}: {taken:?}");
    }
}

/// Parts of what matchers look for, in any order.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let parts = vec![
        "password",
        "=",
        ": ",
        "'",
        "\"",
        "\n",
        "Mall@8842kq",
        "k7Qz2mXv9RtB4nWp8LsD3hJc6YgF1xKu",
        "9f3c07a1d8e24b6590c1f7ab3d5e8264",
        "secret",
        "token",
        "://u:",
        "@db/",
        "密码",
        "\\",
        "<",
        ">",
        "-----BEGIN ",
        "PRIVATE KEY-----\n",
        "eyJhbGciOiJIUzI1NiJ9",
        ".",
        "@tcp(",
        "key",
        "value",
        "name",
        " -p",
        "mysql",
        "gitleaks:allow",
        "#",
        "&sig=",
        "sv=20",
        "(",
        ")",
        "sk-",
        "AKID",
        "Basic c2hvcDpNYWxsQDg4NDI=",
        "\t",
        "${",
        "}",
    ];
    let part = prop_oneof![8 => prop::sample::select(parts).prop_map(|it| it.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..12)];
    prop::collection::vec(part, 0..120).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn in_pieces_as_a_whole(text in text(), times in 1..30_usize, piece in 1..9000_usize, path in prop::sample::select(&["a", "a.rs", ".env", "b.yml", ".pgpass"][..])) {
        let bytes = text.repeat(times);
        prop_assert_eq!(stream(path, &bytes, piece), scan(path, &bytes));
    }

    #[test]
    fn little_of_a_secret_is_shown(secret in "[A-Za-z0-9]{8,60}") {
        for it in scan("a.yml", format!("password: {secret}\n").as_bytes()).0 {
            prop_assert!(!it.redacted.contains(&secret));
            let shown = it.redacted.split('…').next().unwrap();
            prop_assert!(shown.len() <= 4 && shown.len() * 6 <= secret.len());
        }
    }
}
