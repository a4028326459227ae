//! WeChat's mini-programs: subscribe messages, customer-service messages, and what WeChat tells of users' consents.
//!
//! Source of all of it: developers.weixin.qq.com, "server API" and "message push". Errors arrive with status 200; a success may
//! have no code at all; each error ends in the name of the request, ` rid: 8hex-8hex-8hex`.

pub mod callback;
pub mod code;
pub mod service;
pub mod subscribe;
pub mod value;

use crate::answer::{Answer, integer, text};
use crate::message::Message;
use crate::outcome::Outcome;
use crate::part::Part;
use crate::refused::Refused;
use crate::request::Request;

/// Where WeChat's API is.
pub const BASE: &str = "https://api.weixin.qq.com";

fn base() -> String {
    BASE.to_owned()
}

/// Characters of an openid; those of today have 28.
const MOST_OF_OPENID: usize = 64;

fn openid<'a>(message: &'a Message, channel: &'static str) -> Result<&'a str, Refused> {
    match message.to.openid.as_deref() {
        None | Some("") => Err(Refused::NoRecipient { channel, what: "the openid of a user" }),
        Some(it)
            if it.len() <= MOST_OF_OPENID && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it)) =>
        {
            Ok(it)
        }
        Some(_) => Err(Refused::rule("openid", "letters, digits, - and _")),
    }
}

/// A request to the API with the application's access token, which is a secret of this name.
fn call(base: &str, path: &str, token: &str) -> Result<Request, Refused> {
    if token.is_empty() {
        return Err(Refused::Empty { field: "token".into() });
    }
    Ok(Request::new(base, path)?.query("access_token", vec![Part::Secret(token.to_owned())]))
}

/// What an answer of the API means. The fleet's keeper of tokens asks it too.
pub fn outcome(answer: &Answer<'_>, now: i64) -> Outcome {
    let object = answer.object();
    let code = object.as_ref().and_then(|it| integer(it, "errcode"));
    match (object, code) {
        (Some(object), Some(Some(code))) if code != 0 => code::outcome(code, &text(&object, "errmsg"), now),
        (Some(object), Some(_)) => answer.by_status(now).unwrap_or_else(|| {
            // `msgid` is told by some of the calls only.
            let id = text(&object, "msgid");
            Outcome::Accepted { id: Some(id).filter(|it| !it.is_empty()) }
        }),
        _ => answer.by_status(now).unwrap_or_else(|| answer.unreadable(now)),
    }
}
