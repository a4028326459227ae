//! Signatures against vectors that were published, by the functions and through the language of placeholders alike.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use upkeep_channel::part::{Content, Part, Piece, Signature, sign};
use upkeep_channel::{Message, Request, Settings, Written, dingtalk, feishu, request, webhook};

/// Written out by somebody who has one secret for everything.
fn written(request: &Request, secret: &str) -> Written {
    let bytes = |pieces: &[Piece], body: &[u8]| {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.as_bytes().to_vec(),
            Piece::Secret(_) => secret.as_bytes().to_vec(),
            Piece::Decoded(_) => STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap(),
            Piece::Body => body.to_vec(),
        };
        pieces.iter().flat_map(piece).collect::<Vec<u8>>()
    };
    let signed = request.write(|signature, body| {
        let mac = Hmac::<Sha256>::new_from_slice(&bytes(&signature.key, body))?;
        Ok::<_, hmac::digest::InvalidLength>(
            mac.chain_update(bytes(&signature.message, body)).finalize().into_bytes().to_vec(),
        )
    });
    signed.unwrap()
}

fn settings(text: &str) -> Settings {
    serde_json::from_str(text).unwrap()
}

fn message() -> Message {
    Message { id: "m-1".into(), title: "hello".into(), ..Message::default() }
}

/// The vector of DingTalk's documentation, "custom robots: sign".
#[test]
fn dingtalk_signs_in_the_query() {
    let now = 1_577_262_236_757;
    assert_eq!(dingtalk::signature("this is secret", now), "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM=");
    let settings = settings(r#"{ "type": "dingtalk", "access_token": "t", "signed_with": "s" }"#);
    let asked = written(&request(&message(), &settings, now).unwrap(), "this is secret");
    assert_eq!(
        asked.url,
        "https://oapi.dingtalk.com/robot/send?access_token={{secret:t}}&timestamp=1577262236757\
         &sign=hmPWwU%2B7lVdm3ZZz0r9tSfx0L4Q26jWOZr9%2BGs6EZQM%3D"
    );
}

/// The vector of Feishu's documentation, "custom bots: signature verification".
#[test]
fn feishu_signs_in_the_body() {
    let now = 1_599_360_473_999;
    assert_eq!(feishu::signature("demo", now), "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
    let settings = settings(r#"{ "type": "feishu", "hook": "h", "signed_with": "s" }"#);
    let asked = written(&request(&message(), &settings, now).unwrap(), "demo");
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(body["timestamp"], "1599360473");
    assert_eq!(body["sign"], "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");
    assert_eq!((&body["msg_type"], &body["content"]["text"]), (&"text".into(), &"hello".into()));
    assert_eq!(asked.url, "https://open.feishu.cn/open-apis/bot/v2/hook/{{secret:h}}");
}

/// The vector of Svix' libraries, on which Standard Webhooks is built.
#[test]
fn webhooks_sign_in_a_header() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let (id, now, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000, r#"{"test": 2432232314}"#);
    let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(webhook::signature(&key, id, now, body.as_bytes()), expected);

    let settings = settings(r#"{ "type": "webhook", "url": "https://hooks.example/in", "signed_with": "s" }"#);
    let request = request(&Message { id: id.into(), ..message() }, &settings, now).unwrap();
    let request = Request { body: vec![Content::Text(body.into())], ..request };
    let asked = written(&request, secret);
    let header = |name: &str| asked.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    assert_eq!(header("webhook-signature"), Some(expected));
    assert_eq!(header("webhook-timestamp"), Some("1614265330"));
    assert_eq!((header("webhook-id"), header("idempotency-key")), (Some(id), Some(id)));
}

/// RFC 4231, test cases 1, 2 and 6.
#[test]
fn hmac_is_hmac() {
    let hex = |key: &[u8], message: &[u8]| {
        STANDARD.decode(sign(key, message)).unwrap().iter().map(|it| format!("{it:02x}")).collect::<String>()
    };
    assert_eq!(hex(&[0x0b; 20], b"Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_eq!(
        hex(b"Jefe", b"what do ya want for nothing?"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    let long = hex(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
    assert_eq!(long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

#[test]
fn a_signature_is_described_without_its_key() {
    let settings = settings(r#"{ "type": "dingtalk", "access_token": "ops", "signed_with": "ops-sign" }"#);
    let request = request(&message(), &settings, 7).unwrap();
    let expected = Signature {
        key: vec![Piece::Secret("ops-sign".into())],
        message: vec![Piece::Text("7\n".into()), Piece::Secret("ops-sign".into())],
    };
    assert_eq!(request.query[2], ("sign".to_owned(), vec![Part::Signature(expected)]));
    assert_eq!(
        request.shown(),
        "POST https://oapi.dingtalk.com/robot/send?access_token={secret ops}&timestamp=7&sign={signature by ops-sign}"
    );
}
