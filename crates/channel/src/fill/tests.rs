use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::request::Method;

/// Secrets that go to `api.example` and this machine.
struct Safe(BTreeMap<&'static str, &'static str>);

impl Vault for Safe {
    fn secret(&self, name: &str, to: &Origin) -> Result<String, Denied> {
        let value = self.0.get(name).ok_or(Denied::Unknown)?;
        if to.host() == "api.example" || to.is_loopback() { Ok((*value).to_owned()) } else { Err(Denied::Unbound) }
    }

    fn token(&self, appid: &str, to: &Origin) -> Result<String, Denied> {
        self.secret(appid, to)
    }
}

fn safe() -> Safe {
    let key = "whsec_c2VjcmV0LWtleQ==";
    Safe(BTreeMap::from([
        ("odd", "a/b \"\\+&=ü"),
        ("wx1", "TOKEN_1"),
        ("key", key),
        ("nothing", ""),
        ("line", "a\r\nEvil: 1"),
        ("up", "x/../y"),
    ]))
}

fn secret(name: &str) -> Vec<Part> {
    vec![Part::Secret(name.into())]
}

fn request() -> Request {
    Request::new("https://api.example/v1", "/send").unwrap()
}

fn error(request: &Request) -> String {
    fill(request, &safe()).unwrap_err().to_string()
}

#[test]
fn escapes_by_the_place() {
    let mut request = request().query("q", secret("odd")).query("a b", vec!["c d".into(), Part::Token("wx1".into())]);
    request.path.extend([Part::from("/"), Part::Secret("odd".into())]);
    let request = request.body(vec![r#"{"x":""#.into(), Part::Secret("odd".into()), r#""}"#.into()]);
    let filled = fill(&request, &safe()).unwrap();
    assert_eq!(
        filled.url,
        "https://api.example/v1/send/a/b%20%22%5C%2B%26%3D%C3%BC?q=a%2Fb%20%22%5C%2B%26%3D%C3%BC&a%20b=c%20dTOKEN_1"
    );
    let body: serde_json::Value = serde_json::from_slice(&filled.body).unwrap();
    assert_eq!(body["x"], "a/b \"\\+&=ü");
    assert_eq!(filled.method, "POST");
}

#[test]
fn a_text_is_never_taken_for_a_placeholder() {
    let text = r#"{"x":"{secret odd} ${key} {{key}}"}"#;
    let filled = fill(&request().body(vec![text.into()]), &safe()).unwrap();
    assert_eq!(filled.body, text.as_bytes());
}

#[test]
fn goes_only_where_it_may() {
    let to = |url: &str| Request::new(url, "/").unwrap().query("k", secret("odd"));
    assert!(fill(&to("http://127.0.0.1:9"), &safe()).is_ok());
    assert_eq!(
        error(&to("https://evil.example")),
        "the secret \"odd\" is not bound to https://evil.example: bind it to that, or correct the channel's address"
    );
    assert_eq!(
        error(&to("http://api.example")),
        "the secret \"odd\" would go to http://api.example unencrypted: use https"
    );
    let token = request().query("access_token", vec![Part::Token("wx2".into())]);
    assert_eq!(error(&token), "there is no secret \"wx2\": add it, or correct its name in the channel's settings");
    assert_eq!(
        error(&request().query("k", secret("nothing"))),
        "the secret \"nothing\" has fewer than 4 characters: set it"
    );
}

#[test]
fn signs_what_is_sent() {
    let signature = Signature {
        algorithm: Algorithm::HmacSha256,
        key: vec![Piece::Decoded("key".into())],
        message: vec![Piece::Text("id.7.".into()), Piece::Body],
        encoding: Encoding::Hex,
    };
    let request = request().body(vec![r#"{"a":1}"#.into()]).header("x-sign", vec![Part::Signature(signature.clone())]);
    let filled = fill(&request, &safe()).unwrap();
    // printf 'id.7.{"a":1}' | openssl dgst -sha256 -hmac secret-key
    let expected = "800eb1a5ed31547374ef94c7d58f455f26df329a3ea0e9381323049e3d8500f9";
    assert_eq!(filled.headers[1], ("x-sign".to_owned(), expected.to_owned()));
    let circular = self::request().body(vec![Part::Signature(signature.clone())]);
    assert_eq!(error(&circular), "a signature within the body cannot be made from the body");
    let bad = Signature { key: vec![Piece::Decoded("odd".into())], ..signature };
    assert!(error(&self::request().header("x", vec![Part::Signature(bad)])).contains("is no base64"));
}

#[test]
fn encodes_names_with_passwords() {
    let parts = vec!["Basic ".into(), Part::Base64(vec![Piece::Text("user:".into()), Piece::Secret("wx1".into())])];
    let filled = fill(&request().header("authorization", parts), &safe()).unwrap();
    assert_eq!(filled.headers[0].1, format!("Basic {}", STANDARD.encode("user:TOKEN_1")));
}

#[test]
fn nothing_breaks_out_of_its_place() {
    assert!(error(&request().header("x", secret("line"))).contains("HTTP does not allow"));
    assert!(error(&request().header("x\r\ny", vec!["1".into()])).contains("HTTP does not allow"));
    let path = |parts: Vec<Part>| Request { path: parts, ..request() };
    for parts in [
        vec!["/a/../b".into()],
        vec!["/%2E%2e/b".into()],
        vec!["@evil.example/".into()],
        vec!["/a b".into()],
        vec!["/a#b".into()],
    ] {
        assert_eq!(error(&path(parts)), FillError::Path.to_string());
    }
    let parts = vec!["/".into(), Part::Secret("up".into())];
    assert_eq!(error(&path(parts)), FillError::Path.to_string());
}

#[test]
fn shows_no_value() {
    let filled =
        fill(&request().query("q", secret("odd")).query("t", vec![Part::Token("wx1".into())]), &safe()).unwrap();
    let shown = format!("{filled:?}");
    assert!(shown.contains("{secret odd}") && shown.contains("{token wx1}"), "{shown}");
    assert!(!shown.contains("a/b") && !shown.contains("TOKEN_1"), "{shown}");
}

#[test]
fn conceals_what_a_server_repeats() {
    let filled =
        fill(&request().query("q", secret("odd")).query("t", vec![Part::Token("wx1".into())]), &safe()).unwrap();
    let value = "a/b \"\\+&=ü";
    let hidden = |text: &str| String::from_utf8(filled.conceal(text.as_bytes())).unwrap();
    assert_eq!(hidden("you sent TOKEN_1, invalid"), "you sent {token wx1}, invalid");
    assert_eq!(hidden(&format!("<{value}>")), "<{secret odd}>");
    assert_eq!(hidden(&serde_json::to_string(value).unwrap()), "\"{secret odd}\"");
    assert_eq!(hidden("q=a%2Fb%20%22%5C%2B%26%3D%C3%BC&"), "q={secret odd}&");
    assert_eq!(hidden("q=a%2fb%20%22%5c%2b%26%3d%c3%bc&"), "q={secret odd}&");
    assert_eq!(hidden("q=a%2Fb+%22%5C%2B%26%3D%C3%BC&"), "q={secret odd}&");
    for before in ["", "x", "xy", "xyz"] {
        let encoded = STANDARD.encode(format!("{before}{value} and more"));
        assert!(hidden(&encoded).contains("{secret odd}"), "{before:?}");
    }
    assert_eq!(hidden("nothing of it"), "nothing of it");
    assert_eq!(
        filled.conceal_text("cannot connect to https://api.example/?t=TOKEN_1"),
        "cannot connect to https://api.example/?t={token wx1}"
    );
    assert_eq!(filled.token(), Some("TOKEN_1"));
}

#[test]
fn filled_or_not_the_request_says_the_same() {
    let request = Request { method: Method::Put, ..request().query("q", secret("odd")) };
    let read: Request = serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
    assert_eq!(read, request);
    assert_eq!(request.shown(), "PUT https://api.example/v1/send?q={secret odd}");
}
