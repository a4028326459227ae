//! What is listened to over TCP: whether it is closed to whom it must be, and whether anybody may do anything there.

use std::path::Path;

use crate::config::check::secrets::{Purpose, check_secret};
use crate::config::check::{Surroundings, Telling};
use crate::config::listen::{ClientSettings, ListenSettings, WechatSettings};
use crate::config::secret::Secret;
use crate::config::source::KeyPath;
use crate::record::outbox::is_channel;

pub(crate) fn check(file: &mut Telling<'_>, listen: &ListenSettings, surroundings: &Surroundings<'_>) {
    let key = KeyPath::of(["listen"]);
    let this_machine = listen.address.is_this_machine();
    if !this_machine && !listen.insecure {
        let message = "other machines could reach this address, and what they send could be read on the way";
        let help = format!(
            "write \"127.0.0.1:{}\" and let a web server with TLS stand in front (docs/api.md shows how), or, if the network is \
             one that you trust, add `insecure = true`",
            listen.address.0.port()
        );
        file.error(key.key("address"), message, help);
    }
    if this_machine && listen.insecure {
        let help = "remove this key";
        file.error_at_key(key.key("insecure"), "only this machine reaches the address, so nothing is insecure", help);
    }
    if listen.client.is_empty() && listen.wechat.is_empty() {
        let help = "add a program that may give messages:\n\n[listen.client.NAME]\ntoken = { file = \"/FILE\" }\n\
                    channels = [\"CHANNEL\"]";
        file.warning(key.key("address"), "nobody may do anything there", help);
    }
    for (name, client) in &listen.client {
        check_client(file, &key.key("client").key(name), name, client, surroundings);
    }
    let mut before: Vec<(&str, String, &str)> = Vec::new();
    for (name, wechat) in &listen.wechat {
        let key = key.key("wechat").key(name);
        check_wechat(file, &key, name, wechat, surroundings);
        let path = wechat.path(name);
        if let Some((other, ..)) = before.iter().find(|(_, taken, _)| *taken == path) {
            let at = if wechat.path.is_some() { key.key("path") } else { key.clone() };
            let message = format!("the events of `{other}` come to {path} already");
            file.error(at, message, "write another `path`, here and in the application's console");
        }
        if let Some((other, ..)) = before.iter().find(|(.., appid)| *appid == wechat.appid) {
            file.error(key.key("appid"), format!("`{other}` has this appid already"), "remove one of them");
        }
        before.push((name, path, &wechat.appid));
    }
}

fn check_wechat(
    file: &mut Telling<'_>,
    key: &KeyPath,
    name: &str,
    wechat: &WechatSettings,
    surroundings: &Surroundings<'_>,
) {
    if !ClientSettings::is_name(name) {
        let help = "use at most 64 letters a-z and A-Z, digits, `-` and `_`";
        file.error_at_key(key.clone(), "an application cannot be called so here", help);
    }
    let plain =
        |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain(&wechat.appid) {
        let help = "copy it from the application's console: `wx` and 16 digits and letters";
        file.error(key.key("appid"), "this is no appid", help);
    }
    check_secret(file, surroundings, key.key("token"), &wechat.token, Purpose::Credentials);
    match (&wechat.encoding_aes_key, wechat.plain) {
        (Some(secret), false) => {
            check_secret(file, surroundings, key.key("encoding_aes_key"), secret, Purpose::Credentials);
        }
        (Some(_), true) => {
            let help = "remove `plain`: with a key, nothing in plain mode is taken";
            file.error_at_key(key.key("plain"), "a key is given, and plain mode has none", help);
        }
        (None, false) => {
            let help = "choose safe mode in the console and add its EncodingAESKey: encoding_aes_key = { file = \"/FILE\" }; or, \
                        if nobody who sees a request could gain by making up others, add `plain = true`";
            file.error_at_key(key.clone(), "in plain mode the signature does not cover what an event says", help);
        }
        (None, true) => {}
    }
    if let Some(path) = &wechat.path {
        let fits = path.starts_with('/')
            && path.len() <= 200
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte))
            && !path.contains("//")
            && !path.split('/').any(|part| part == "." || part == "..");
        let own = path == "/healthz" || path == "/v1" || path.starts_with("/v1/");
        if !fits {
            let help = "write it from the first `/` on, of letters, digits, `-`, `_`, `.` and `~`: `/wechat/shop`";
            file.error(key.key("path"), "this is no path", help);
        } else if own {
            let help = "choose another, such as `/wechat/shop`";
            file.error(key.key("path"), "something of upkeep's own is there", help);
        }
    }
    for (index, template) in wechat.long_term.iter().enumerate() {
        if template.is_empty() || template.len() > 128 || !template.bytes().all(|byte| byte.is_ascii_graphic()) {
            let help = "copy it from the list of templates in the application's console";
            file.error(key.key("long_term").index(index), "this is not the id of a template", help);
        }
    }
}

fn check_client(
    file: &mut Telling<'_>,
    key: &KeyPath,
    name: &str,
    client: &ClientSettings,
    surroundings: &Surroundings<'_>,
) {
    if !ClientSettings::is_name(name) {
        let help = "use at most 64 letters a-z and A-Z, digits, `-` and `_`: its messages come from `api:NAME`";
        file.error_at_key(key.clone(), "a client cannot be called so", help);
    }
    let token = key.key("token");
    check_secret(file, surroundings, token.clone(), &client.token, Purpose::Token);
    if let Secret::File(path) = &client.token {
        check_length(file, token.key("file"), path);
    }
    let channels = key.key("channels");
    if client.channels.is_empty() {
        let help = "name those that its messages may go to, such as `channels = [\"mail\"]`; `*` stands for all";
        file.error(channels.clone(), "no channel is named, so it could give no message", help);
    }
    for (index, channel) in client.channels.iter().enumerate() {
        if channel != ClientSettings::ALL && !is_channel(channel) {
            let help = "write the whole name, of letters a-z, digits, `-` and `_`, or `*` alone for all channels";
            file.error(channels.index(index), format!("\"{channel}\" is not the name of a channel"), help);
        }
    }
    let most = ClientSettings::LARGEST_MESSAGE;
    if client.max_message.0 == 0 || client.max_message.0 > most {
        let message = "a message has from 1 byte to 256 KiB";
        file.error(key.key("max_message"), message, "write `\"48 KiB\"`, the default, or another size in between");
    }
}

/// Whether a token can be found by trying. The newline at the end counts for nothing.
fn check_length(file: &mut Telling<'_>, key: KeyPath, path: &Path) {
    let Ok(length) = std::fs::metadata(path).map(|it| it.len()) else { return };
    let (shown, shortest) = (path.display(), ClientSettings::SHORTEST_TOKEN);
    if length > 0 && length < shortest as u64 {
        let message = format!("what {shown} holds is shorter than {shortest} bytes, and is found by trying");
        file.error(key, message, format!("make a longer one: (umask 077; openssl rand -hex 32 > {shown})"));
    } else if length > ClientSettings::LONGEST_TOKEN as u64 + 1 {
        let message = format!("what {shown} holds is longer than {} bytes", ClientSettings::LONGEST_TOKEN);
        file.error(key, message, "name the file that holds the token alone");
    }
}
