//! What is told of user agents: a table to look through, of browsers, apps, bots, tools and monitors as they stand in logs.

use std::fmt::Write;

use upkeep_accesslog::agent::Agent;

fn text(part: Option<&[u8]>) -> String {
    part.map_or("-".to_owned(), |it| String::from_utf8_lossy(it).into_owned())
}

#[test]
fn table() {
    let agents: Vec<_> = include_str!("agents.txt").lines().filter(|it| !it.is_empty()).collect();
    assert!(agents.len() >= 80, "{}", agents.len());
    let mut table = String::new();
    for it in agents {
        let agent = Agent::new(it.as_bytes());
        let (version, model, wechat) = (text(agent.version), text(agent.model), text(agent.wechat));
        let mini = if agent.is_mini_program { text(agent.mini_program) } else { "no".to_owned() };
        let _ = writeln!(
            table,
            "{it}\n    {:?} {} {version} | {:?}, {model} | wechat {wechat}, mini program {mini}",
            agent.kind, agent.name, agent.platform
        );
    }
    insta::assert_snapshot!(table);
}

#[test]
fn nothing_and_nonsense() {
    for it in [&b""[..], b"-", b"/", b"(", b"Mozilla/5.0", b"\xff\xfe", b"iPhone", b"((((;;;;Android;", b"AliApp("] {
        let agent = Agent::new(it);
        assert!(agent.version.is_none());
    }
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), words in WORDS) {
        let _ = Agent::new(&bytes);
        let _ = Agent::new(words.as_bytes());
    }
}

const WORDS: &str = r"((Mozilla|AliApp|MicroMessenger|miniProgram|iPhone|Android|Build|Version|Safari|rv:|bot|MSIE)[ /;(),._0-9a-z-]{0,4}){0,12}";
