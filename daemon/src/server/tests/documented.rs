//! Every example in docs/api.md is asked of a real server, and what it answers is what the document says.
//!
//! An example is a block of `http` (the request line, then a body if there is one) and the block behind it (`json` or
//! `ndjson`). `UPDATE_DOCS=1 cargo test -p upkeep --lib documented` writes the answers into the document.

use super::fixture::Fixture;
use super::raw;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md");

#[tokio::test]
async fn the_document_tells_the_truth() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let fixture = Fixture::start().await;
    fixture.story().await;
    let mut written = String::new();
    let mut behind = Vec::new();
    let mut examples = 0;
    let mut rest = text.as_str();
    while let Some((before, more)) = rest.split_once("```http\n") {
        let (request, more) = more.split_once("```").unwrap();
        let (between, more) = more.split_once("```").unwrap();
        let (form, more) = more.split_once('\n').unwrap();
        let (documented, more) = more.split_once("```").unwrap();
        let (line, body) = request.split_once('\n').unwrap();
        let (method, path) = line.split_once(' ').unwrap();
        let (status, answer) = raw(&fixture, method, path, body.trim()).await;
        assert!(between.contains(&format!("`{status}`")), "{line} answers {status}, which the document does not say");
        let (documented, answered) = (values(form, documented), values(form, &answer));
        if documented != answered {
            behind.push(line);
        }
        let answer: String = answered.iter().map(|value| shown(form, value)).collect();
        written.push_str(&format!("{before}```http\n{request}```{between}```{form}\n{answer}```"));
        examples += 1;
        rest = more;
    }
    written.push_str(rest);
    assert_eq!(examples, 36, "an example for each path, and more for some");
    if behind.is_empty() {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_DOCS").is_some(),
        "docs/api.md is behind at {behind:?}; run `UPDATE_DOCS=1 cargo test -p upkeep --lib documented`"
    );
    std::fs::write(FILE, &written).unwrap();
}

/// The objects of an answer; their order of keys does not count.
fn values(form: &str, text: &str) -> Vec<serde_json::Value> {
    match form {
        "ndjson" => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        _ => text.trim().is_empty().then(Vec::new).unwrap_or_else(|| vec![serde_json::from_str(text).unwrap()]),
    }
}

fn shown(form: &str, value: &serde_json::Value) -> String {
    match form {
        "ndjson" => format!("{value}\n"),
        _ => format!("{value:#}\n"),
    }
}
