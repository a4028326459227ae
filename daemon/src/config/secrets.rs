//! `[grant.secrets.NAME]` of a task file: a secret that the host uses on behalf of a plugin, which never sees it.
//!
//! The plugin writes a placeholder, `{{secret:NAME}}`, into a request, and the host fills the value in where the server, and the
//! place in the request, are among those named here; or the plugin has a message signed with it.
//!
//! One kind of secret is nowhere to be read: an access token of WeChat, which the host fetches and keeps ([`crate::tokens`]).

use std::path::PathBuf;
use std::slice::from_ref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::http::Server;
use crate::config::secret::Secret;

/// A secret, and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    /// Where it is: a file that only its owner can read; absolute. A newline at the end is not part of the secret.
    pub file: Option<PathBuf>,
    /// Or an environment variable of the daemon.
    pub env: Option<String>,
    /// Or a credential of systemd (`LoadCredential=`), by its name.
    pub credential: Option<String>,
    /// Or the access token of a WeChat application, which the host fetches with the application's secret, keeps for all tasks, and
    /// renews: `wechat = { appid = "wx0123456789abcdef", file = "/etc/upkeep/secrets/shop" }`.
    pub wechat: Option<AccessToken>,
    /// Servers that it may be sent to: scheme, host and port, such as `https://api.example.com`. `grant.http.allow` has to reach
    /// them too. An access token of WeChat is for its `api` when nothing else is said.
    #[serde(default)]
    pub hosts: Vec<Server>,
    /// Whether `hosts` may also name other machines that are asked without TLS, where it can be read on the way.
    #[serde(default)]
    pub insecure: bool,
    /// Rights; filling in by default.
    #[serde(default = "fill")]
    pub access: Vec<SecretAccess>,
    /// Where in a request it may be filled in. A body often holds what others wrote: name `body` only for a plugin that puts
    /// nothing of that kind into the same request. An access token of WeChat belongs into the `url`, and goes nowhere else.
    #[serde(default = "url_and_header")]
    pub places: Vec<SecretPlace>,
}

/// An application of WeChat, whose access token the host keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{ "appid": "wx0123456789abcdef", "file": "/etc/upkeep/secrets/shop" }]))]
pub struct AccessToken {
    /// The appid, from the console of the mini-program.
    pub appid: String,
    /// Where the application's secret (AppSecret) is: a file that only its owner can read; absolute.
    pub file: Option<PathBuf>,
    /// Or an environment variable of the daemon.
    pub env: Option<String>,
    /// Or a credential of systemd (`LoadCredential=`), by its name.
    pub credential: Option<String>,
    /// Where WeChat's API is. All tasks that name the appid have to name the same API and the same secret: a token is kept once.
    #[serde(default = "wechat_api")]
    pub api: Server,
}

fn wechat_api() -> Server {
    Server::https("api.weixin.qq.com")
}

impl AccessToken {
    /// The sources of the application's secret that are given; exactly one in a configuration that is valid.
    pub fn sources(&self) -> Vec<Secret> {
        sources(&self.file, &self.env, &self.credential)
    }

    /// Whether a text can be an appid: `wx` and 16 letters and digits, or whatever WeChat may make of it.
    pub fn is_appid(text: &str) -> bool {
        (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}

fn sources(file: &Option<PathBuf>, env: &Option<String>, credential: &Option<String>) -> Vec<Secret> {
    let file = file.clone().map(Secret::File);
    let env = env.clone().map(Secret::Env);
    let credential = credential.clone().map(Secret::Credential);
    [file, env, credential].into_iter().flatten().collect()
}

/// A right on a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretAccess {
    /// Have it filled into requests to `hosts`.
    Fill,
    /// Have anything signed with it (HMAC).
    Sign,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretPlace {
    /// The path and the query.
    Url,
    /// The values of headers.
    Header,
    /// The body.
    Body,
}

fn fill() -> Vec<SecretAccess> {
    vec![SecretAccess::Fill]
}

fn url_and_header() -> Vec<SecretPlace> {
    vec![SecretPlace::Url, SecretPlace::Header]
}

impl SecretGrant {
    /// The shortest secret that is used, in bytes. What is shorter is found by trying, and in texts that hold it by chance.
    pub const SHORTEST: usize = 8;
    /// The longest secret that is used, in bytes.
    pub const LONGEST: usize = 4096;

    /// A secret from a file, which may be sent to `hosts`.
    pub fn new(file: impl Into<PathBuf>, hosts: Vec<Server>) -> Self {
        Self {
            file: Some(file.into()),
            env: None,
            credential: None,
            wechat: None,
            hosts,
            insecure: false,
            access: fill(),
            places: url_and_header(),
        }
    }

    /// The sources that are given; exactly one in a configuration that is valid, and none for an access token.
    pub fn sources(&self) -> Vec<Secret> {
        sources(&self.file, &self.env, &self.credential)
    }

    /// Servers that it may be sent to.
    pub fn servers(&self) -> &[Server] {
        match &self.wechat {
            Some(token) if self.hosts.is_empty() => from_ref(&token.api),
            _ => &self.hosts,
        }
    }

    /// Where in a request it may be filled in.
    pub fn places(&self) -> &[SecretPlace] {
        if self.wechat.is_some() { &[SecretPlace::Url] } else { &self.places }
    }

    /// Whether it has this right.
    pub fn may(&self, access: SecretAccess) -> bool {
        self.access.contains(&access)
    }

    /// Whether a request to this address may carry it.
    pub fn is_bound_to(&self, url: &Url) -> bool {
        self.may(SecretAccess::Fill) && self.servers().iter().any(|server| server.covers(url))
    }

    /// Whether a placeholder can name it: letters, digits, `_`, `-` and `.`.
    pub fn is_name(name: &str) -> bool {
        !name.is_empty() && name.bytes().all(is_in_name)
    }
}

/// Whether a byte may be part of a secret's name.
pub(crate) fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_bound_to_scheme_host_and_port() {
        for (host, asked, bound) in [
            ("https://api.example.com", "https://api.example.com/any/path?q", true),
            ("https://api.example.com", "https://API.example.com:443/", true),
            ("https://api.example.com", "https://api.example.com./", true),
            ("https://api.example.com", "http://api.example.com/", false),
            ("https://api.example.com", "http://api.example.com:443/", false),
            ("https://api.example.com", "https://api.example.com:8443/", false),
            ("https://api.example.com", "https://api.example.com.evil.test/", false),
            ("https://api.example.com", "https://evil-api.example.com/", false),
            ("https://api.example.com", "https://x.api.example.com/", false),
            ("https://api.example.com", "https://example.com/", false),
            ("https://api.example.com", "https://api.example.com@evil.test/", false),
            ("https://api.example.com", "https://user@api.example.com/", false),
            ("https://api.example.com", "https://evil.test/https://api.example.com/", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", true),
            ("http://127.0.0.1:8080", "http://127.0.0.1/", false),
            ("http://127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/", false),
        ] {
            let grant = SecretGrant::new("/x", vec![host.parse().unwrap()]);
            assert_eq!(grant.is_bound_to(&Url::parse(asked).unwrap()), bound, "{host} {asked}");
            let signing = SecretGrant { access: vec![SecretAccess::Sign], ..grant };
            assert!(!signing.is_bound_to(&Url::parse(asked).unwrap()), "the right to sign sends nothing");
        }
    }
}
