//! Who may do what. Of a token, only its SHA-256 is kept; what is presented is compared with all of them, each in a time that does not
//! tell how much of it is right.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ListenError;
use super::wechat::Endpoint;
use crate::config::http::Network;
use crate::config::listen::{ClientSettings, ListenSettings, WechatSettings};
use crate::config::secret::{Secret, SecretValue};
use crate::record::outbox::client_origin;

/// What `[listen]` allows, with the tokens as they were when it was read.
#[derive(Debug, Default)]
pub(super) struct Access {
    callers: Vec<Arc<Caller>>,
    /// By path.
    endpoints: BTreeMap<String, Arc<Endpoint>>,
    proxies: Vec<Network>,
}

/// A client with its token.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) name: String,
    /// Of its messages.
    pub(super) origin: String,
    pub(super) may: ClientSettings,
    token: [u8; 32],
}

impl Access {
    /// Reads the tokens.
    pub(super) fn read(settings: &ListenSettings, file: &Path) -> Result<Self, ListenError> {
        let mut callers: Vec<Arc<Caller>> = Vec::new();
        for (name, may) in &settings.client {
            let key = format!("listen.client.{name}.token");
            let unusable = |message| unusable(file, &key, message);
            let secret = read_secret(&may.token, file, &key)?;
            let length = secret.reveal().len();
            let (shortest, longest) = (ClientSettings::SHORTEST_TOKEN, ClientSettings::LONGEST_TOKEN);
            if !(shortest..=longest).contains(&length) {
                return Err(unusable(format!(
                    "the token has {length} bytes, and {shortest} to {longest} are possible; make one: openssl rand -hex 32"
                )));
            }
            if !secret.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(unusable(
                    "the token has spaces or characters beyond ASCII, which a header cannot hold; make one: openssl rand -hex 32"
                        .to_owned(),
                ));
            }
            let token = digest(secret.reveal());
            if let Some(other) = callers.iter().find(|caller| caller.token == token) {
                return Err(unusable(format!(
                    "the client `{}` has the same token, and nobody could tell them apart; give each its own",
                    other.name
                )));
            }
            callers.push(Arc::new(Caller { name: name.clone(), origin: client_origin(name), may: may.clone(), token }));
        }
        let endpoint = |(name, settings): (&String, &WechatSettings)| -> Result<_, ListenError> {
            Ok((settings.path(name), Arc::new(Endpoint::read(name, settings, file)?)))
        };
        let endpoints = settings.wechat.iter().map(endpoint).collect::<Result<_, ListenError>>()?;
        Ok(Self { callers, endpoints, proxies: settings.proxies.clone() })
    }

    /// Whose events come to this path.
    pub(super) fn endpoint(&self, path: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.get(path).cloned()
    }

    /// Whose token this is.
    pub(super) fn of(&self, token: &str) -> Option<Arc<Caller>> {
        let token = digest(token);
        let mut found = None;
        for caller in &self.callers {
            if bool::from(caller.token.ct_eq(&token)) {
                found = Some(Arc::clone(caller));
            }
        }
        found
    }

    /// Whether this is the address of a proxy.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(address.to_canonical()))
    }

    /// Whom a request is from: who connected, or, where that is a proxy, whom it says that it had it from. Of several addresses, the
    /// last one that is no proxy counts: those before it are what that one claims.
    pub(super) fn address(&self, connected: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let connected = connected.ip().to_canonical();
        if !self.is_proxy(connected) {
            return connected;
        }
        let lines: Vec<&str> =
            headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
        let mut last = connected;
        for text in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = parse(text.trim()) else { break };
            last = address.to_canonical();
            if !self.is_proxy(last) {
                break;
            }
        }
        last
    }
}

/// Reads a secret that a key names.
pub(super) fn read_secret(secret: &Secret, file: &Path, key: &str) -> Result<SecretValue, ListenError> {
    secret.read().map_err(|source| ListenError::Secret { file: file.to_owned(), key: key.to_owned(), source })
}

pub(super) fn unusable(file: &Path, key: &str, message: String) -> ListenError {
    ListenError::Unusable { file: file.to_owned(), key: key.to_owned(), message }
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The token that a request brings.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    // With two of them, nobody could say which a proxy has looked at.
    let (Some(given), None) = (given.next(), given.next()) else { return None };
    let (scheme, token) = given.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_is_from_whom_the_nearest_proxy_had_it() {
        let access = Access {
            callers: vec![],
            endpoints: BTreeMap::new(),
            proxies: vec!["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
        };
        for (connected, forwarded, from) in [
            ("198.51.100.7:5", &[][..], "198.51.100.7"),
            ("198.51.100.7:5", &["192.0.2.1"], "198.51.100.7"),
            ("127.0.0.1:5", &[], "127.0.0.1"),
            ("127.0.0.1:5", &["192.0.2.1"], "192.0.2.1"),
            ("[::ffff:127.0.0.1]:5", &["192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1:5", &["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1:5", &["203.0.113.9, 192.0.2.1,10.1.2.3"], "192.0.2.1"),
            ("127.0.0.1:5", &["203.0.113.9", "192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1:5", &["192.0.2.1, nonsense"], "127.0.0.1"),
            ("127.0.0.1:5", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("127.0.0.1:5", &["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1:5", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("127.0.0.1:5", &["::ffff:192.0.2.1"], "192.0.2.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_static(line));
            }
            let found = access.address(connected.parse().unwrap(), &headers);
            assert_eq!(found.to_string(), from, "{connected} {forwarded:?}");
        }
    }

    #[test]
    fn a_token_stands_behind_its_scheme_once() {
        for (lines, token) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bearer  abc "], Some("abc")),
            (&["Basic abc"], None),
            (&["abc"], None),
            (&["Bearer "], None),
            (&["Bearer"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(AUTHORIZATION, HeaderValue::from_static(line));
            }
            assert_eq!(bearer(&headers), token, "{lines:?}");
        }
    }
}
