//! Hides what may be a secret before a source line is shown.
//!
//! A password belongs into a file, never into the configuration. When an operator writes one there all the same, the
//! message about it must not carry it on into a terminal, a journal or a ticket. The mask keeps every byte's place, so
//! that spans still fit.

use std::ops::Range;
use std::sync::Arc;

use crate::config::source::{Document, KeyPath, Segment, Source};

/// Whether a key's name says that a secret stands behind it.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "passw",
        "pasw",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "api_key",
        "apikey",
        "aes_key",
        "access_key",
        "private_key",
    ]
    .iter()
    .any(|word| key.contains(word))
}

/// The text of a file without its secrets: same length, same lines.
pub(crate) fn masked(source: &Arc<Source>) -> String {
    let Ok(document) = Document::parse(source) else { return masked_by_line(&source.text) };
    let mut bytes = source.text.clone().into_bytes();
    for (path, span) in document.strings() {
        let inner = shrink(&span);
        if holds_secret(&path) || is_no_name(&path, &source.text[inner.clone()]) {
            hide(&mut bytes, &inner);
        }
        hide_user_info(&source.text, &inner, matches!(path.last_key(), Some("url" | "host")), &mut bytes);
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// A text without the string at this place.
pub(crate) fn without(text: String, span: &Range<usize>) -> String {
    let mut bytes = text.into_bytes();
    hide(&mut bytes, &shrink(span));
    String::from_utf8(bytes).unwrap_or_default()
}

/// The same for a text that cannot be parsed: everything behind the equals sign of a suspicious line goes, and what
/// follows when a text of many lines begins there.
pub(crate) fn masked_by_line(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut start = 0;
    let mut until: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let whole = start..start + line.len();
        start = whole.end;
        if let Some(quotes) = until {
            hide(&mut bytes, &whole);
            until = until.filter(|_| !line.contains(quotes));
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        if is_secret(key) {
            hide(&mut bytes, &(whole.start + key.len() + 1..whole.end));
            let quotes = ["\"\"\"", "'''"].into_iter().find(|quotes| value.trim_start().starts_with(quotes));
            until = quotes.filter(|quotes| value.matches(quotes).count() == 1);
        }
        hide_user_info(text, &whole, matches!(key.trim(), "url" | "host"), &mut bytes);
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Whether the string at `path` may be a secret: it stands at or below a key that is named like one, and does not say
/// where the secret is.
pub(crate) fn holds_secret(path: &KeyPath) -> bool {
    let names = path.0.iter().filter_map(|segment| match segment {
        Segment::Key(key) => Some(key.as_str()),
        Segment::Index(_) => None,
    });
    let names: Vec<&str> = names.collect();
    // What may be done with it is no secret.
    if let ["grant", "secrets", _, "file" | "env" | "credential" | "hosts" | "access" | "places"] = names[..] {
        return false;
    }
    if let ["grant", "secrets", _, "wechat", "appid" | "file" | "env" | "credential" | "api"]
    | ["listen", "client", _, "channels" | "max_message" | "priority"]
    | ["listen", "wechat", _, "appid" | "path" | "long_term"] = names[..]
    {
        return false;
    }
    // The last one: `secrets.access_key_id.file` says where a secret is.
    let place = names.iter().rposition(|name| is_secret(name));
    place.is_some_and(|place| !matches!(names[place + 1..], ["file" | "env" | "credential"]))
}

/// Whether a variable or a credential is named by what is no name, and so may be the secret itself.
fn is_no_name(path: &KeyPath, value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    matches!(path.last_key(), Some("env" | "credential")) && !value.bytes().all(plain)
}

/// Without the quotes, so that the line still reads as TOML.
fn shrink(span: &Range<usize>) -> Range<usize> {
    if span.len() >= 2 { span.start + 1..span.end - 1 } else { span.clone() }
}

/// Hides `user:password` in `scheme://user:password@host`, and in a URL that lacks its scheme.
fn hide_user_info(text: &str, span: &Range<usize>, is_url: bool, bytes: &mut [u8]) {
    let part = &text[span.clone()];
    let user = match part.find("://") {
        Some(scheme) => scheme + 3,
        None if is_url => part.find(['"', '\'']).map_or(0, |quote| quote + 1),
        None => return,
    };
    let rest = &part[user..];
    let end = rest.find(['/', '"', '\'', '\n']).unwrap_or(rest.len());
    if let Some(at) = rest[..end].rfind('@') {
        hide(bytes, &(span.start + user..span.start + user + at));
    }
}

fn hide(bytes: &mut [u8], span: &Range<usize>) {
    for byte in &mut bytes[span.clone()] {
        if !byte.is_ascii_whitespace() {
            *byte = b'*';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        masked(&Arc::new(Source { name: "t.toml".into(), text: text.into() }))
    }

    #[test]
    fn secrets_go_and_everything_else_stays_in_place() {
        for (text, shown) in [
            ("password = \"hunter2\"\nx = \"y\"\n", "password = \"*******\"\nx = \"y\"\n"),
            ("pasword = 'hünter2'\n", "pasword = '********'\n"),
            ("password = { value = \"hunter2\" }\n", "password = { value = \"*******\" }\n"),
            ("password = { file = \"/etc/p\" }\n", "password = { file = \"/etc/p\" }\n"),
            ("password = { env = \"hunter2!\" }\n", "password = { env = \"********\" }\n"),
            ("[password]\nvalue = \"hunter2\"\n", "[password]\nvalue = \"*******\"\n"),
            ("url = \"opendal://me:hunter2@host/x\"\n", "url = \"opendal://**********@host/x\"\n"),
            ("url = \"me:hunter2@host:/x\"\n", "url = \"**********@host:/x\"\n"),
            ("password = \"\"\"\nhunter2\n\"\"\"\nx =\n", "password = ***\n*******\n***\nx =\n"),
            (
                "[grant.secrets.token]\nfile = \"/etc/t\"\nhosts = [\"https://a.example\"]\n",
                "[grant.secrets.token]\nfile = \"/etc/t\"\nhosts = [\"https://a.example\"]\n",
            ),
            (
                "[grant.secrets.token]\nwechat = { appid = \"wx1\", file = \"/etc/t\", secret = \"hunter2\" }\n",
                "[grant.secrets.token]\nwechat = { appid = \"wx1\", file = \"/etc/t\", secret = \"*******\" }\n",
            ),
            ("[grant.secrets.robot]\nvalue = \"hunter2\"\n", "[grant.secrets.robot]\nvalue = \"*******\"\n"),
            ("[grant.secrets]\nrobot = \"hunter2\"\n", "[grant.secrets]\nrobot = \"*******\"\n"),
            (
                "[grant.secrets.robot]\nhosts = [\"https://me:hunter2@a.example\"]\n",
                "[grant.secrets.robot]\nhosts = [\"https://**********@a.example\"]\n",
            ),
            ("[grant.secrets.robot]\nenv = \"hunter2!\"\n", "[grant.secrets.robot]\nenv = \"********\"\n"),
            (
                "[listen.client.token]\ntoken = \"hunter2\"\nchannels = [\"mail\"]\n",
                "[listen.client.token]\ntoken = \"*******\"\nchannels = [\"mail\"]\n",
            ),
            ("host = \"me:hunter2@host\"\n", "host = \"**********@host\"\n"),
            ("password: hunter2\n", "password: *******\n"),
            ("broken = \npassword = \"hunter2\"\n", "broken = \npassword = *********\n"),
            ("broken = \nurl = \"s3://a:b@h\"\n", "broken = \nurl = \"s3://***@h\"\n"),
        ] {
            assert_eq!(show(text), shown, "{text}");
        }
    }
}
