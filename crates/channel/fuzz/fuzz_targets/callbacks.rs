//! Any body that is signed right, encrypted or not, is read or refused; and what is sealed is opened again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_channel::wechat::callback::{Callback, Query};

const APPID: &str = "wxba5fad812f8e6fb9";
const NOW: i64 = 1_714_112_445_000;
/// Of the token, the time and the nonce below.
const SIGNED: &str = "signature=5d9741238e13abeddf3d941d2fbbccc1008ed794&timestamp=1714112445&nonce=7";

fuzz_target!(|data: &[u8]| {
    let Ok(plain) = Callback::new("AAAAA", None, APPID) else { return };
    let Ok(safe) = Callback::new("AAAAA", Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), APPID) else { return };
    let opened = plain.open(&Query::parse(SIGNED), data, NOW);
    let Ok(sealed) = safe.seal(data, NOW / 1000, 7, [3; 16]) else { return };
    let query = format!("timestamp={}&nonce={}&msg_signature={}", sealed.timestamp, sealed.nonce, sealed.signature);
    let query = Query::parse(&query);
    for body in [sealed.json(), sealed.xml()] {
        assert_eq!(safe.message(&query, body.as_bytes(), NOW).as_deref(), Ok(data));
        assert_eq!(safe.open(&query, body.as_bytes(), NOW), opened, "it says the same, encrypted or not");
    }
    if let Ok(query) = std::str::from_utf8(data) {
        let _ = plain.greet(&Query::parse(query), NOW);
    }
});
