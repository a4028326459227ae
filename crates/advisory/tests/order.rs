//! The order of versions beside that of the programs that define it.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use std::io::Write;
use std::process::{Command, Stdio};

use upkeep_advisory::version::Scheme;

/// All sequences of up to `length` pieces behind a beginning.
fn texts(beginnings: &[&str], pieces: &[&str], length: usize) -> Vec<String> {
    let mut texts: Vec<String> = beginnings.iter().map(|it| (*it).to_owned()).collect();
    let mut from = 0;
    for _ in 0..length {
        let until = texts.len();
        let longer: Vec<_> =
            texts[from..].iter().flat_map(|text| pieces.iter().map(move |it| format!("{text}{it}"))).collect();
        texts.extend(longer);
        from = until;
    }
    texts
}

/// Pairs that are far from one another and pairs that are near.
fn pairs(texts: &[String], count: usize) -> impl Iterator<Item = (&str, &str)> {
    (0..count).map(move |at| {
        let one = at * 7919 % texts.len();
        let other = if at % 2 == 0 { (one + 1 + at / 2 % 5) % texts.len() } else { at * 104_729 % texts.len() };
        (texts[one].as_str(), texts[other].as_str())
    })
}

#[test]
fn debian_is_ordered_as_dpkg_does() {
    if Command::new("dpkg").arg("--version").output().is_err() {
        eprintln!("SKIPPED: dpkg is not installed, so that Debian's order is not compared with it");
        return;
    }
    let texts = texts(&["0", "1", "1.0", "1:1", "2.1"], &["~", "+", ".", "-1", "0", "9", "10", "a", "z1", "rc"], 3);
    // dpkg compares one pair a call, so that a shell makes them all.
    let mut script = String::new();
    let valid = |it: &str| Scheme::Debian.compare(it, it).is_ok();
    let pairs: Vec<_> = pairs(&texts, 4000).filter(|(one, other)| valid(one) && valid(other)).take(1000).collect();
    for (one, other) in &pairs {
        script += &format!("dpkg --compare-versions '{one}' lt '{other}' && echo Less || {{ ");
        script += &format!("dpkg --compare-versions '{one}' eq '{other}' && echo Equal || echo Greater; }}\n");
    }
    let orders = run(Command::new("sh"), &script);
    assert_eq!(orders.len(), pairs.len());
    for ((one, other), expected) in pairs.iter().zip(orders) {
        let order = Scheme::Debian.compare(one, other).unwrap();
        assert_eq!(format!("{order:?}"), expected, "{one} and {other}");
    }
}

/// Python's own library, or the one that pip brings along. What it says of each line: an order, or that one of both is
/// no version.
const PACKAGING: &str = "
import sys
try:
    from packaging.version import Version, InvalidVersion
except ImportError:
    from pip._vendor.packaging.version import Version, InvalidVersion
for line in sys.stdin:
    try:
        one, other = map(Version, line.rstrip('\\n').split(' '))
        print('Less' if one < other else 'Equal' if one == other else 'Greater')
    except InvalidVersion:
        print('None')
";

#[test]
fn python_is_ordered_as_packaging_does() {
    let has_packaging = |it: &str| {
        let import = "try:\n import packaging.version\nexcept ImportError:\n import pip._vendor.packaging.version";
        Command::new(it).args(["-c", import]).stderr(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    if !has_packaging("python3") {
        eprintln!("SKIPPED: python3 with `packaging` or pip is not installed, so that PEP 440 is not compared with it");
        return;
    }
    let pieces =
        [".0", ".1", "a1", "b", "rc2", ".post1", "-2", ".dev3", "+a.1", "+1", "_c_3", "alpha", ".pre4", "r1", "-rev2"];
    let texts = texts(&["1", "1.0", "v1!0", "2013.10", "x"], &pieces, 3);
    let pairs: Vec<_> = pairs(&texts, 20_000).collect();
    let lines: String = pairs.iter().map(|(one, other)| format!("{one} {other}\n")).collect();
    let mut python = Command::new("python3");
    python.args(["-c", PACKAGING]);
    let orders = run(python, &lines);
    assert_eq!(orders.len(), pairs.len());
    let mut compared = 0;
    for ((one, other), expected) in pairs.iter().zip(orders) {
        let order = Scheme::Pep440.compare(one, other);
        compared += usize::from(order.is_ok());
        assert_eq!(order.map_or("None".to_owned(), |it| format!("{it:?}")), expected, "{one} and {other}");
    }
    assert!(compared > 1000, "{compared}");
}

/// The lines that a program answers to an input.
fn run(mut program: Command, input: &str) -> Vec<String> {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
