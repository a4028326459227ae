//! The mail servers that a task file grants. Whether a server answers is left to the run.

use crate::config::check::TaskFile;
use crate::config::check::http::check_certificates;
use crate::config::smtp::{SmtpGrant, SmtpTls};
use crate::config::source::KeyPath;

pub(crate) fn check(file: &mut TaskFile<'_>) {
    let settings = file.settings;
    for (name, grant) in &settings.grant.smtp {
        let key = KeyPath::of(["grant", "smtp", name]);
        check_server(file, &key, grant);
        check_account(file, &key, grant);
        for (word, is_empty) in [("from", grant.from.is_empty()), ("to", grant.to.is_empty())] {
            if is_empty {
                let help = if word == "from" {
                    "name the sender: `from = [\"upkeep@example.org\"]`"
                } else {
                    "name those who may get mail: `to = [\"ops@example.org\"]`, or everybody of a domain: `[\"*@example.org\"]`"
                };
                file.error(key.key(word), "no address is named, so no mail could ever be sent", help);
            }
        }
        if grant.max_message.0 == 0 {
            file.error(key.key("max_message"), "no mail could ever be sent", "write how large one may be: `\"1 MiB\"`");
        }
        if grant.timeout.is_zero() {
            file.error(key.key("timeout"), "nothing answers at once", "write how long to wait: `\"1m\"`");
        }
    }
}

fn check_server(file: &mut TaskFile<'_>, key: &KeyPath, grant: &SmtpGrant) {
    if grant.server().is_none() {
        let help = "write its name alone, such as `\"smtp.example.org\"`; the port has a key of its own, `port`";
        file.error(key.key("host"), "this is neither the name nor the address of a server", help);
    }
    if grant.port == Some(0) {
        file.error(key.key("port"), "no server listens there", "write its port, or leave the key out");
    }
    let is_plain = grant.tls == SmtpTls::None;
    if is_plain && !grant.is_this_machine() && !grant.insecure {
        let help = "write `tls = \"starttls\"` or `\"implicit\"`, or, if the server knows no TLS and you accept that, \
                    `insecure = true`";
        file.error(key.key("tls"), "mail and password could be read on the way to this server", help);
    }
    if grant.insecure && (!is_plain || grant.is_this_machine()) {
        let message = "nothing here is sent over a network without TLS";
        file.error_at_key(key.key("insecure"), message, "remove this key");
    }
    match &grant.ca {
        Some(_) if is_plain => {
            file.error_at_key(key.key("ca"), "this has no meaning without TLS", "remove this key, or set `tls`");
        }
        Some(ca) => check_certificates(file, key.key("ca"), ca),
        None => {}
    }
}

fn check_account(file: &mut TaskFile<'_>, key: &KeyPath, grant: &SmtpGrant) {
    match (&grant.user, &grant.password) {
        (Some(_), None) => {
            let help =
                "add `password = { file = \"/etc/upkeep/secrets/mail\" }`, or remove `user` if the server wants none";
            file.error(key.key("user"), "a user without a password", help);
        }
        (None, Some(_)) => {
            file.error_at_key(key.key("password"), "a password without a user: whose is it?", "add `user = \"NAME\"`");
        }
        _ => {}
    }
    if let Some(user) = &grant.user
        && (user.is_empty() || user.chars().any(char::is_control))
    {
        file.error(key.key("user"), "this cannot be the name of a user", "write it as the server's operator gave it");
    }
}
