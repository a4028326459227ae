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
    let mut examples = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once("```http\n") {
        let (request, behind) = behind.split_once("```").unwrap();
        let (between, behind) = behind.split_once("```").unwrap();
        let (form, behind) = behind.split_once('\n').unwrap();
        let (_, behind) = behind.split_once("```").unwrap();
        let (line, body) = request.split_once('\n').unwrap();
        let (method, path) = line.split_once(' ').unwrap();
        let (status, answer) = raw(&fixture, method, path, body.trim()).await;
        let answer = shown(form, &answer);
        written.push_str(&format!("{before}```http\n{request}```{between}```{form}\n{answer}```"));
        examples.push(format!("{method} {}", path.split('?').next().unwrap()));
        assert!(before.contains("#"), "an example stands under a heading");
        assert!(between.contains(&format!("`{status}`")), "{line} answers {status}, which the document does not say");
        rest = behind;
    }
    written.push_str(rest);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(FILE, &written).unwrap();
    } else if written != text {
        panic!("docs/api.md is behind; run `UPDATE_DOCS=1 cargo test -p upkeep --lib documented`\n{written}");
    }
    assert_eq!(examples.len(), 13, "an example for each path, and more for some: {examples:?}");
}

/// JSON as people read it; lines stay lines.
fn shown(form: &str, answer: &str) -> String {
    // Who runs the tests is not the same everywhere.
    match form {
        "json" => {
            let value: serde_json::Value = serde_json::from_str(answer).unwrap();
            format!("{}\n", serde_json::to_string_pretty(&value).unwrap())
        }
        _ => answer.to_owned(),
    }
}
