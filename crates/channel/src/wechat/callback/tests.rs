use proptest::prelude::*;

use super::*;

const TOKEN: &str = "AAAAA";
const APPID: &str = "wxba5fad812f8e6fb9";
/// The official example of safe mode, from the page "message push" of the mini-programs' documentation.
const ENCRYPT: &str = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04=";
const MESSAGE: &str = r#"{"ToUserName":"gh_97417a04a28d","FromUserName":"o9AgO5Kd5ggOC-bXrbNODIiE3bGY","CreateTime":1714112445,"MsgType":"event","Event":"debug_demo","debug_str":"hello world"}"#;
const SIGNED: &str =
    "timestamp=1714112445&nonce=415670741&encrypt_type=aes&msg_signature=046e02f8204d34f8ba5fa3b1db94908f3df2e9b3";
const AT: i64 = 1_714_112_446_000;

fn endpoint() -> Callback {
    Callback::new(TOKEN, Some(&"A".repeat(43)), APPID).unwrap()
}

fn plain_endpoint() -> Callback {
    Callback::new(TOKEN, None, APPID).unwrap()
}

fn body(encrypt: &str) -> Vec<u8> {
    serde_json::json!({ "ToUserName": "gh_97417a04a28d", "Encrypt": encrypt }).to_string().into_bytes()
}

/// What an endpoint without a key makes of a document.
fn read(document: &str) -> Result<Push, CallbackError> {
    let signature = plain_endpoint().signature(&["1714112445", "7"]);
    let query = Query::parse(&format!("signature={signature}&timestamp=1714112445&nonce=7"));
    plain_endpoint().open(&query, document.as_bytes(), AT)
}

#[test]
fn v1_greets_wechat() {
    let query = "signature=f464b24fc39322e44b38aa78f5edd27bd1441696&echostr=4375120948345356249&timestamp=1714036504&nonce=1514711492";
    let at = 1_714_036_504_000;
    for endpoint in [endpoint(), plain_endpoint()] {
        assert_eq!(endpoint.greet(&Query::parse(query), at).as_deref(), Ok("4375120948345356249"));
    }
    let other = Callback::new("BBBBB", None, APPID).unwrap();
    assert_eq!(other.greet(&Query::parse(query), at), Err(CallbackError::Signature));
    assert_eq!(endpoint().greet(&Query::parse(query), at + 11 * MINUTE), Err(CallbackError::Stale(660)));
    assert_eq!(endpoint().greet(&Query::parse(query), at - 11 * MINUTE), Err(CallbackError::Stale(-660)));
    let script = query.replace("4375120948345356249", "%3Cscript%3E");
    assert_eq!(endpoint().greet(&Query::parse(&script), at), Err(CallbackError::Echo));
    for missing in ["signature", "timestamp", "nonce", "echostr"] {
        let query = query.replace(&format!("{missing}="), "x=");
        assert_eq!(endpoint().greet(&Query::parse(&query), at), Err(CallbackError::Missing(missing)));
    }
}

#[test]
fn v2_opens_the_official_example() {
    let query = Query::parse(SIGNED);
    assert_eq!(endpoint().message(&query, &body(ENCRYPT), AT).as_deref(), Ok(MESSAGE.as_bytes()));
    let push = endpoint().open(&query, &body(ENCRYPT), AT).unwrap();
    assert_eq!(push.openid, "o9AgO5Kd5ggOC-bXrbNODIiE3bGY");
    assert_eq!((push.to.as_str(), push.created), ("gh_97417a04a28d", 1_714_112_445));
    assert_eq!(push.event, Event::Other("debug_demo".into()));

    let xml = format!(
        "<xml>\n<ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName><Encrypt><![CDATA[{ENCRYPT}]]></Encrypt></xml>"
    );
    assert_eq!(endpoint().open(&query, xml.as_bytes(), AT).unwrap(), push);
}

#[test]
fn takes_nothing_that_is_changed() {
    let query = Query::parse(SIGNED);
    let tampered = ENCRYPT.replacen("+qdx", "+qdy", 1);
    assert_eq!(endpoint().message(&query, &body(&tampered), AT), Err(CallbackError::Signature));
    let later = Query::parse(&SIGNED.replace("1714112445", "1714112446"));
    assert_eq!(endpoint().message(&later, &body(ENCRYPT), AT), Err(CallbackError::Signature));
    let upper = Query::parse(&SIGNED.replace("046e02f8", "046E02F8"));
    assert_eq!(endpoint().message(&upper, &body(ENCRYPT), AT), Err(CallbackError::Signature));
    assert_eq!(endpoint().message(&query, &body(ENCRYPT), AT + 601_000), Err(CallbackError::Stale(602)));
    let other = Callback::new(TOKEN, Some(&"A".repeat(43)), "wx0000000000000000").unwrap();
    assert_eq!(other.message(&query, &body(ENCRYPT), AT), Err(CallbackError::Appid(APPID.into())));
    let key = Callback::new(TOKEN, Some(&"B".repeat(43)), APPID).unwrap();
    assert_eq!(key.message(&query, &body(ENCRYPT), AT), Err(CallbackError::Decrypt));
}

#[test]
fn takes_no_plain_body_where_there_is_a_key() {
    let signature = endpoint().signature(&["1714112445", "7"]);
    let query = Query::parse(&format!("signature={signature}&timestamp=1714112445&nonce=7"));
    assert_eq!(endpoint().message(&query, MESSAGE.as_bytes(), AT), Err(CallbackError::NotEncrypted));
    // Nor where something else is signed, which the signature of the time alone would cover.
    let both = Query { msg_signature: query.signature.clone(), ..query.clone() };
    assert_eq!(endpoint().message(&both, MESSAGE.as_bytes(), AT), Err(CallbackError::NotEncrypted));
    assert_eq!(endpoint().message(&both, &body(ENCRYPT), AT), Err(CallbackError::Signature));
    let encrypted = Query { msg_signature: Some("x".into()), ..query };
    assert_eq!(plain_endpoint().message(&encrypted, &body(ENCRYPT), AT), Err(CallbackError::Encrypted));
}

#[test]
fn wants_a_token_and_a_key() {
    assert_eq!(Callback::new("", None, APPID).unwrap_err(), CallbackError::NoToken);
    for key in ["", "short", &"A".repeat(44), &"!".repeat(43)] {
        assert_eq!(Callback::new(TOKEN, Some(key), APPID).unwrap_err(), CallbackError::NoKey, "{key:?}");
    }
    let shown = format!("{:?}", Callback::new("canary-token", Some(&"B".repeat(43)), APPID).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn reads_answers_to_a_question_in_all_shapes() {
    let choice = |template: &str, status| Choice { template: template.into(), status };
    let both = Event::Popup(vec![choice("t1", Status::Accept), choice("t2", Status::Reject)]);
    let one = Event::Popup(vec![choice("t1", Status::Accept)]);
    let head = r#""ToUserName":"gh_1","FromUserName":"o1","CreateTime":"1620973045","MsgType":"event","Event":"subscribe_msg_popup_event""#;
    let entry = r#"{"TemplateId":"t1","SubscribeStatusString":"accept","PopupScene":"0"}"#;
    let array =
        format!(r#"{{{head},"List":[{entry},{{"TemplateId":"t2","SubscribeStatusString":"reject","PopupScene":2}}]}}"#);
    let push = read(&array).unwrap();
    assert_eq!((push.event, push.created, push.openid.as_str()), (both.clone(), 1_620_973_045, "o1"));
    assert_eq!(read(&format!(r#"{{{head},"List":{entry}}}"#)).unwrap().event, one);
    assert_eq!(read(&format!(r#"{{{head},"SubscribeMsgPopupEvent":{{"List":[{entry}]}}}}"#)).unwrap().event, one);

    let xml_head = "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName>\
        <CreateTime>1620973045</CreateTime><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[subscribe_msg_popup_event]]></Event>";
    let xml_entry = |template: &str, status: &str| {
        format!(
            "<List>\n<TemplateId><![CDATA[{template}]]></TemplateId>\n<SubscribeStatusString>{status}</SubscribeStatusString>\
             <PopupScene>2</PopupScene></List>"
        )
    };
    let xml = |entries: &str| format!("{xml_head}<SubscribeMsgPopupEvent>{entries}</SubscribeMsgPopupEvent></xml>");
    assert_eq!(read(&xml(&(xml_entry("t1", "accept") + &xml_entry("t2", "reject")))).unwrap().event, both);
    assert_eq!(read(&xml(&xml_entry("t1", "accept"))).unwrap().event, one);
    let strange = read(&xml(&xml_entry("t&amp;1", "&amp;&#65;"))).unwrap().event;
    assert_eq!(strange, Event::Popup(vec![choice("t&amp;1", Status::Other("&A".into()))]));
}

#[test]
fn reads_changes_and_what_became_of_messages() {
    // As a developer got it, see developers.weixin.qq.com/community: one object, and numbers that are numbers.
    let change = r#"{"ToUserName":"x","FromUserName":"o","CreateTime":1625575518,"MsgType":"event","Event":"subscribe_msg_change_event","List":{"SubscribeStatusString":"reject","TemplateId":"t"}}"#;
    let rejected = Event::Change(vec![Choice { template: "t".into(), status: Status::Reject }]);
    assert_eq!(read(change).unwrap().event, rejected);
    let sent = |code: &str| {
        format!(
            r#"{{"FromUserName":"o","CreateTime":1,"MsgType":"event","Event":"subscribe_msg_sent_event","List":[{{"TemplateId":"t","MsgID":"1700827132819554304","ErrorCode":{code},"ErrorStatus":"success"}}]}}"#
        )
    };
    let expected = |code| {
        let message = "1700827132819554304".into();
        Event::Sent(vec![Sent { template: "t".into(), message, code, status: "success".into() }])
    };
    assert_eq!(read(&sent("\"0\"")).unwrap().event, expected(Some(0)));
    assert_eq!(read(&sent("43101")).unwrap().event, expected(Some(43101)));
    assert_eq!(read(&sent("\"x\"")).unwrap().event, expected(None));
    let xml = "<xml><FromUserName>o</FromUserName><CreateTime>1</CreateTime><MsgType>event</MsgType><Event>subscribe_msg_sent_event</Event>\
        <SubscribeMsgSentEvent><List><TemplateId>t</TemplateId><MsgID>1700827132819554304</MsgID><ErrorCode>0</ErrorCode>\
        <ErrorStatus>success</ErrorStatus></List></SubscribeMsgSentEvent></xml>";
    assert_eq!(read(xml).unwrap().event, expected(Some(0)));
}

#[test]
fn knows_that_a_user_wrote() {
    let text = r#"{"FromUserName":"o","CreateTime":1,"MsgType":"text","Content":"hi","MsgId":1234567890123456}"#;
    let push = read(text).unwrap();
    assert_eq!(push.event, Event::Wrote { id: Some("1234567890123456".into()) });
    assert_eq!(push.id, "1234567890123456");
    let entered =
        r#"{"FromUserName":"o","CreateTime":1,"MsgType":"event","Event":"user_enter_tempsession","SessionFrom":"x"}"#;
    assert_eq!(read(entered).unwrap().event, Event::Wrote { id: None });
}

#[test]
fn what_is_told_twice_has_one_id() {
    let push = read(MESSAGE).unwrap();
    assert_eq!(push.id, read(&MESSAGE.replace(",\"MsgType\"", ", \"MsgType\"")).unwrap().id);
    assert_ne!(push.id, read(&MESSAGE.replace("1714112445", "1714112446")).unwrap().id);
}

#[test]
fn says_what_is_wrong_with_a_body() {
    let error = |body: &str| read(body).unwrap_err().to_string();
    for body in [
        "",
        "hello",
        "[]",
        "null",
        "{\"FromUserName\":",
        "<",
        "<xml>",
        "<xml/>",
        "<xml><a></xml>",
        "</xml>",
        "<xml></xml>",
        "{}",
    ] {
        assert!(matches!(read(body), Err(CallbackError::Body(_))), "{body:?}");
    }
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><xml><FromUserName>&a;</FromUserName></xml>";
    assert_eq!(error(bomb), "the body cannot be read: its XML declares things of its own");
    assert_eq!(error(&"<a>".repeat(99)), "the body cannot be read: its XML is nested too deeply");
    let no_list = r#"{"FromUserName":"o","CreateTime":1,"MsgType":"event","Event":"subscribe_msg_popup_event"}"#;
    assert_eq!(error(no_list), "the body cannot be read: it has no List");
    assert_eq!(error(&" ".repeat(MOST + 1)), format!("the body has more than {MOST} bytes"));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(error(&deep), "the body cannot be read: it is neither an object of JSON nor XML");
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(message in prop::collection::vec(any::<u8>(), 0..200), random in any::<[u8; 16]>(), nonce in any::<u64>()) {
        let sealed = endpoint().seal(&message, 1_714_112_445, nonce, random).unwrap();
        let query = Query::parse(&format!("timestamp={}&nonce={}&msg_signature={}", sealed.timestamp, sealed.nonce, sealed.signature));
        let in_json = endpoint().message(&query, sealed.json().as_bytes(), AT).unwrap();
        prop_assert_eq!(&in_json, &message);
        prop_assert_eq!(endpoint().message(&query, sealed.xml().as_bytes(), AT).unwrap(), message);
    }

    #[test]
    fn pads_that_are_not_right_are_refused(plain in prop::collection::vec(any::<u8>(), 1..5)) {
        // Whatever is signed, so that nothing but the decryption stands in between.
        let blocks: Vec<u8> = plain.iter().cycle().take(16 * plain.len()).copied().collect();
        let encrypt = base64::engine::general_purpose::STANDARD.encode(blocks);
        let signature = endpoint().signature(&["1714112445", "7", &encrypt]);
        let query = Query::parse(&format!("timestamp=1714112445&nonce=7&msg_signature={signature}"));
        prop_assert!(endpoint().message(&query, &body(&encrypt), AT).is_err());
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), query in ".{0,100}") {
        let query = Query::parse(&query);
        let _ = endpoint().open(&query, &bytes, 0);
        let _ = body::read(&bytes).map(|it| event::read(&it));
    }
}
