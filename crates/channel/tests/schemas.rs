//! Settings are parts of plugins' configurations, which the daemon compares with their schema before it asks a plugin.

#![expect(clippy::unwrap_used, reason = "what fails here is a test")]

use serde_json::{Value, json};
use upkeep_channel::{Message, Retry, Settings, mail::MailSettings};

fn schema<T: schemars::JsonSchema>() -> jsonschema::Validator {
    jsonschema::validator_for(schemars::schema_for!(T).as_value()).unwrap()
}

#[test]
fn schema_and_reader_agree_on_settings() {
    let schema = schema::<Settings>();
    let templates = json!({ "order": { "id": "T", "page": "p", "fields": ["thing1"], "listed": { "const1": ["a"] } } });
    for (good, settings) in [
        (
            true,
            json!({ "type": "wechat-subscribe", "token": "wx", "templates": templates, "state": "formal", "language": "en_US" }),
        ),
        (true, json!({ "type": "wechat-service", "token": "wx", "base": "http://127.0.0.1:8080" })),
        (true, json!({ "type": "wechat-service", "token": "wx", "look": "text" })),
        (true, json!({ "type": "wechat-service", "token": "wx", "look": { "link": { "thumb_url": "u" } } })),
        (true, json!({ "type": "wecom", "key": "k" })),
        (true, json!({ "type": "dingtalk", "access_token": "t", "signed_with": "s" })),
        (true, json!({ "type": "feishu", "hook": "h" })),
        (true, json!({ "type": "ntfy", "topic": "t" })),
        (true, json!({ "type": "ntfy", "topic": { "secret": "t" }, "login": "s" })),
        (true, json!({ "type": "ntfy", "topic": "t", "token": "s" })),
        (
            true,
            json!({ "type": "webhook", "url": "https://a.example/", "method": "PUT", "headers": { "x": { "secret": "s" }, "y": "z" } }),
        ),
        (false, json!({ "type": "pager" })),
        (false, json!({ "key": "k" })),
        (false, json!({ "type": "wecom" })),
        (false, json!({ "type": "wecom", "key": "k", "kee": 1 })),
        (false, json!({ "type": "wecom", "key": { "secret": "k" } })),
        (false, json!({ "type": "webhook", "url": "https://a.example/", "method": "DELETE" })),
        (false, json!({ "type": "ntfy", "topic": { "secret": "t", "more": 1 } })),
        (false, json!({ "type": "wechat-service", "token": "wx", "look": "card" })),
        (false, json!({ "type": "wechat-service", "token": "wx", "look": { "link": { "thumb": "u" } } })),
        (false, json!({ "type": "wechat-subscribe", "token": "wx", "templates": {}, "language": "de_DE" })),
    ] {
        assert_eq!(serde_json::from_value::<Settings>(settings.clone()).is_ok(), good, "read: {settings}");
        assert_eq!(schema.is_valid(&settings), good, "schema: {settings}");
    }
}

#[test]
fn what_is_written_fits_its_schema() {
    let (message, retry, mail) = (Message::default(), Retry::default(), MailSettings::default());
    let cases: [(jsonschema::Validator, Value); 3] = [
        (schema::<Message>(), json!(message)),
        (schema::<Retry>(), json!(retry)),
        (schema::<MailSettings>(), json!(mail)),
    ];
    for (schema, written) in cases {
        assert!(schema.is_valid(&written), "{written}");
    }
}
