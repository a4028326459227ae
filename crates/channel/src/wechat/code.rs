//! What WeChat's codes mean, and what helps.

use crate::moment::{DAY, HOUR, SECOND, next_day_in_beijing, next_minute};
use crate::outcome::{Fault, Outcome, Reason};

/// What a code other than 0 means; `message` is what came with it.
pub fn outcome(code: i64, message: &str, now: i64) -> Outcome {
    let (message, rid) = split_rid(message);
    let mut outcome = meaning(code, message, now);
    match &mut outcome {
        Outcome::Accepted { .. } => {}
        Outcome::Permanent { reason, .. }
        | Outcome::Transient { reason, .. }
        | Outcome::Throttled { reason, .. }
        | Outcome::Credential { reason } => reason.rid = rid.map(str::to_owned),
    }
    outcome
}

fn meaning(code: i64, message: &str, now: i64) -> Outcome {
    let reason = |text: &str| Reason::new(Some(code), text, message);
    let credential = |text: &str| Outcome::Credential { reason: reason(text) };
    let channel = |text: &str, remedy: &str| Outcome::permanent(Fault::Channel, reason(text).remedy(remedy));
    let recipient = |text: &str, remedy: &str| Outcome::permanent(Fault::Recipient, reason(text).remedy(remedy));
    let this = |text: &str, remedy: &str| Outcome::permanent(Fault::Message, reason(text).remedy(remedy));
    let transient = |wait: Option<i64>, text: &str| Outcome::Transient { wait, reason: reason(text) };
    let throttled = |until: i64, text: &str| Outcome::Throttled { until, reason: reason(text) };
    match code {
        -1 => transient(None, "WeChat is busy"),
        43108 => transient(Some(SECOND), "another message to this user is under way"),
        50004 | 50007 => channel(
            "WeChat has closed this application or its account",
            "see what the notices in its console say, and appeal there",
        ),

        40001 => credential("the access token is wrong, or another program has fetched a newer one"),
        40014 => credential("the access token is malformed"),
        42001 => credential("the access token has expired"),

        45009 => throttled(next_day_in_beijing(now), "the quota of the day is used up"),
        45011 => throttled(next_minute(now), "the quota of the minute is used up"),
        89506 => {
            throttled(now.saturating_add(DAY), "the account's administrator refused this machine's address for a day")
        }
        89507 => throttled(
            now.saturating_add(HOUR),
            "the account's administrator refused this machine's address for an hour",
        ),
        89503 => throttled(
            now.saturating_add(HOUR),
            "this machine's address waits for the account's administrator to confirm it",
        ),

        40164 => {
            let allow = "add it to the allow-list in the mini-program's console (Development, IP allow-list), or send by a machine \
                         that has a fixed address";
            match address(message) {
                Some(ip) => channel(
                    &format!("this machine's address {ip} is not in WeChat's allow-list"),
                    &format!("{ip}: {allow}"),
                ),
                None => channel("this machine's address is not in WeChat's allow-list", allow),
            }
        }
        40002 => {
            channel("WeChat does not know this kind of grant", "report it: upkeep asks for client_credential alone")
        }
        40013 => {
            channel("WeChat does not know this appid", "correct the appid of the access token that the channel uses")
        }
        40125 => channel(
            "the application's secret is wrong",
            "set it anew from the console; it changes when somebody resets it there",
        ),
        40243 => channel("the application's secret is frozen", "unfreeze it in the console"),
        41001 => channel(
            "the access token is missing",
            "name the secret that is the access token with the channel's `token`",
        ),
        43107 => channel("the application may not send subscribe messages any more", "see the notices in its console"),
        48001 => channel("the application is not allowed to call this API", "apply for it in the console"),

        43101 => recipient(
            "the user has given no consent for this template, or it is used up",
            "ask in the mini-program for another",
        ),
        40003 => recipient("no user of this application has this openid", "correct it; an openid belongs to one appid"),
        45015 => recipient("more than 48 hours have passed since the user wrote", "send a subscribe message instead"),
        45047 => recipient("five messages have been sent since the user wrote", "wait for the user to write again"),

        40037 => {
            this("WeChat does not know this template", "correct its id in the channel's settings, for this application")
        }
        45168 => this("the message has a word that WeChat does not allow", "write it differently"),
        47003 => this("a value is not as the template wants it", "correct the field that is named"),
        43002 | 44002 | 47001 => {
            this("WeChat cannot read the request", "report it, with the rid: the request was made by upkeep")
        }
        _ => this("WeChat does not take the message", "look the code up in WeChat's documentation"),
    }
}

/// Takes the name of the request off the end of a message.
pub fn split_rid(message: &str) -> (&str, Option<&str>) {
    let Some((text, rid)) = message.rsplit_once("rid:") else { return (message.trim(), None) };
    let rid = rid.trim();
    let is_rid = !rid.is_empty() && rid.len() <= 64 && rid.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if is_rid { (text.trim().trim_end_matches(',').trim_end(), Some(rid)) } else { (message.trim(), None) }
}

/// The caller's address as WeChat saw it: `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist`.
pub fn address(message: &str) -> Option<std::net::IpAddr> {
    let words: Vec<&str> = message.split([' ', ',']).filter(|it| !it.is_empty()).collect();
    let behind = |name| words.windows(2).find_map(|it| if it[0] == name { it[1].parse().ok() } else { None });
    behind("ip").or_else(|| behind("ipv6"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_rid_off() {
        let said = "argument invalid! data.thing3.value is emtpy rid: 5f0a7e2b-1c2d3e4f-00112233";
        assert_eq!(
            split_rid(said),
            ("argument invalid! data.thing3.value is emtpy", Some("5f0a7e2b-1c2d3e4f-00112233"))
        );
        assert_eq!(split_rid("no, rid: a-b"), ("no", Some("a-b")));
        assert_eq!(split_rid("nothing"), ("nothing", None));
        assert_eq!(split_rid("rid: <script>"), ("rid: <script>", None));
    }

    #[test]
    fn finds_the_address() {
        let found = |text: &str| address(text).map(|it| it.to_string());
        assert_eq!(found("invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist").as_deref(), Some("1.2.3.4"));
        assert_eq!(found("invalid ip  ipv6 2001:db8::7, not in whitelist").as_deref(), Some("2001:db8::7"));
        assert_eq!(found("invalid ipv6 2001:db8::7, not in whitelist").as_deref(), Some("2001:db8::7"));
        assert_eq!(found("invalid ip <b>1.2.3.4</b>").as_deref(), None);
    }
}
