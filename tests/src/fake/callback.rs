//! What WeChat tells by itself, as it would arrive at an endpoint of message push: signed, encrypted or not, in JSON or XML,
//! with `List` in both of its shapes.

use aes::Aes256;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncryptMut, KeyIvInit};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// Base64 with bits behind the end, as EncodingAESKeys may have.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// WeChat, as an endpoint of one application knows it.
#[derive(Debug, Clone)]
pub struct Teller {
    /// The token of message push.
    pub token: String,
    /// The EncodingAESKey, of 43 characters; none for plain mode.
    pub key: Option<String>,
    /// The application.
    pub appid: String,
    /// Whether bodies are in XML.
    pub is_xml: bool,
}

/// A request to the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What stands behind the `?`.
    pub query: String,
    /// What kind of body it is.
    pub content_type: &'static str,
    /// The body; empty for the question whether somebody is there, which is a GET.
    pub body: String,
}

/// How the entries of `List` are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// As a list.
    Array,
    /// The only one, as it is.
    Object,
}

/// The original id of the application that events are addressed to.
const TO: &str = "gh_97417a04a28d";

impl Teller {
    /// A teller in safe mode, with JSON.
    pub fn new(token: &str, key: &str, appid: &str) -> Self {
        Self { token: token.to_owned(), key: Some(key.to_owned()), appid: appid.to_owned(), is_xml: false }
    }

    /// The signature of these texts.
    pub fn signature(&self, texts: &[&str]) -> String {
        let mut all: Vec<&str> = texts.iter().copied().chain([self.token.as_str()]).collect();
        all.sort_unstable();
        Sha1::digest(all.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Asks whether somebody is there, who has to answer with this word. `at` is in seconds, `nonce` any number.
    pub fn greeting(&self, echo: &str, at: i64, nonce: u64) -> Told {
        let signature = self.signature(&[&at.to_string(), &nonce.to_string()]);
        let query = format!("signature={signature}&echostr={echo}&timestamp={at}&nonce={nonce}");
        Told { query, content_type: "", body: String::new() }
    }

    /// A message as it is sent at this time.
    pub fn told(&self, message: &Value, at: i64, nonce: u64) -> Told {
        let openid = message["FromUserName"].as_str().unwrap_or_default();
        let (time, number) = (at.to_string(), nonce.to_string());
        let signature = self.signature(&[&time, &number]);
        let mut query = format!("signature={signature}&timestamp={at}&nonce={nonce}&openid={openid}");
        let written = if self.is_xml { xml("xml", message) } else { message.to_string() };
        let content_type = if self.is_xml { "text/xml" } else { "application/json" };
        let Some(key) = &self.key else { return Told { query, content_type, body: written } };
        let encrypted = encrypt(key, nonce, written.as_bytes(), &self.appid);
        let signed = self.signature(&[&time, &number, &encrypted]);
        query.push_str(&format!("&encrypt_type=aes&msg_signature={signed}"));
        let envelope = json!({ "ToUserName": TO, "Encrypt": encrypted });
        let body = if self.is_xml { xml("xml", &envelope) } else { envelope.to_string() };
        Told { query, content_type, body }
    }

    fn event(&self, name: &str, nested: &str, openid: &str, at: i64, entries: Vec<Value>, shape: Shape) -> Value {
        let list = match shape {
            Shape::Object if entries.len() == 1 => entries.into_iter().next().expect("there is one"),
            _ => Value::Array(entries),
        };
        let mut message = json!({
            "ToUserName": TO, "FromUserName": openid, "CreateTime": at.to_string(), "MsgType": "event", "Event": name,
        });
        if self.is_xml {
            message[nested] = json!({ "List": list });
        } else {
            message["List"] = list;
        }
        message
    }

    /// The user was asked, and has said for each template whether messages are welcome.
    pub fn popup(&self, openid: &str, at: i64, choices: &[(&str, bool)], shape: Shape) -> Value {
        let entry = |(id, accepts): &(&str, bool)| {
            let status = if *accepts { "accept" } else { "reject" };
            json!({ "TemplateId": id, "SubscribeStatusString": status, "PopupScene": "0" })
        };
        let entries = choices.iter().map(entry).collect();
        self.event("subscribe_msg_popup_event", "SubscribeMsgPopupEvent", openid, at, entries, shape)
    }

    /// The user has changed the settings.
    pub fn change(&self, openid: &str, at: i64, choices: &[(&str, bool)], shape: Shape) -> Value {
        let entry = |(id, accepts): &(&str, bool)| json!({ "TemplateId": id, "SubscribeStatusString": if *accepts { "accept" } else { "reject" } });
        let entries = choices.iter().map(entry).collect();
        self.event("subscribe_msg_change_event", "SubscribeMsgChangeEvent", openid, at, entries, shape)
    }

    /// What became of a message: 0 when it has arrived.
    pub fn sent(&self, openid: &str, at: i64, template: &str, id: &str, code: i64, shape: Shape) -> Value {
        let status = if code == 0 { "success" } else { "failed" };
        let entry =
            json!({ "TemplateId": template, "MsgID": id, "ErrorCode": code.to_string(), "ErrorStatus": status });
        self.event("subscribe_msg_sent_event", "SubscribeMsgSentEvent", openid, at, vec![entry], shape)
    }

    /// The user wrote.
    pub fn wrote(&self, openid: &str, at: i64, id: u64, text: &str) -> Value {
        json!({
            "ToUserName": TO, "FromUserName": openid, "CreateTime": at, "MsgType": "text", "Content": text, "MsgId": id,
        })
    }
}

/// 16 random bytes, the length, the message and the appid, padded to blocks of 32 bytes: AES-256-CBC, in base64.
fn encrypt(key: &str, nonce: u64, message: &[u8], appid: &str) -> String {
    let key: [u8; 32] = LENIENT.decode(key).expect("a key in base64").try_into().expect("a key of 32 bytes");
    let random = [super::sign::mix(nonce).to_be_bytes(), super::sign::mix(!nonce).to_be_bytes()].concat();
    let length = u32::try_from(message.len()).expect("a message of a test").to_be_bytes();
    let mut text = [&random[..], &length, message, appid.as_bytes()].concat();
    let pad = 32 - text.len() % 32;
    text.resize(text.len() + pad, u8::try_from(pad).expect("32 at the most"));
    let mut cipher = cbc::Encryptor::<Aes256>::new_from_slices(&key, &key[..16]).expect("lengths that AES has");
    text.chunks_exact_mut(16).for_each(|block| cipher.encrypt_block_mut(GenericArray::from_mut_slice(block)));
    LENIENT.encode(text)
}

/// An element, as WeChat writes XML: texts in CDATA, lists as elements of the same name.
fn xml(name: &str, value: &Value) -> String {
    match value {
        Value::Array(list) => list.iter().map(|value| xml(name, value)).collect(),
        Value::Object(inner) => {
            let inner: String = inner.iter().map(|(name, value)| xml(name, value)).collect();
            format!("<{name}>{inner}</{name}>")
        }
        Value::String(text) => format!("<{name}><![CDATA[{text}]]></{name}>"),
        other => format!("<{name}>{other}</{name}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_official_examples() {
        let teller = Teller::new("AAAAA", &"A".repeat(43), "wxba5fad812f8e6fb9");
        let greeting = teller.greeting("4375120948345356249", 1_714_036_504, 1_514_711_492);
        assert!(greeting.query.starts_with("signature=f464b24fc39322e44b38aa78f5edd27bd1441696&"), "{greeting:?}");
        let encrypt = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04=";
        let signature = teller.signature(&["1714112445", "415670741", encrypt]);
        assert_eq!(signature, "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3");
    }
}
