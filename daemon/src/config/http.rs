//! `[grant.http]` of a task file: which requests may leave this server.
//!
//! A request has to fit one of the addresses in `allow`, and whatever its name resolves to has to be a public address, or one
//! of `networks`. Both are pure: [`HttpGrant::allows`] looks at the address that was asked for, [`HttpGrant::may_connect`] at the one
//! that would be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

use crate::config::schema;
use crate::config::size::Size;

/// Requests that may leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Addresses that may be asked, such as `https://api.example.com/v1/`: scheme, host, port, and the beginning of the path,
    /// which ends at a `/`. A host `*.example.com` is any name beneath `example.com`.
    pub allow: Vec<Origin>,
    /// Networks of private, loopback and link-local addresses that may be connected to all the same: `10.0.0.5`,
    /// `192.168.0.0/16`, `::1`.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Requests of one run at the most.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_requests: u32,
    /// The largest body that is sent.
    #[serde(default = "mebibyte")]
    pub max_request: Size,
    /// The largest body that is taken.
    #[serde(default = "hundred_mebibytes")]
    pub max_response: Size,
    /// How long is waited at the most for a connection, for the head of the answer, and for each piece of its body.
    #[serde(default = "half_a_minute", with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub timeout: Duration,
    /// A file with the certificates to trust, instead of those of the system; absolute.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

fn thousand() -> u32 {
    1_000
}

fn mebibyte() -> Size {
    Size::mebibytes(1)
}

fn hundred_mebibytes() -> Size {
    Size::mebibytes(100)
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl HttpGrant {
    /// A grant with defaults.
    pub fn new(allow: Vec<Origin>) -> Self {
        Self {
            allow,
            networks: Vec::new(),
            max_requests: thousand(),
            max_request: mebibyte(),
            max_response: hundred_mebibytes(),
            timeout: half_a_minute(),
            ca: None,
        }
    }

    /// Whether a request to this address may be made.
    pub fn allows(&self, url: &Url) -> bool {
        self.allow.iter().any(|origin| origin.covers(url))
    }

    /// Whether this address may be connected to.
    pub fn may_connect(&self, address: IpAddr) -> bool {
        // An IPv4 address in IPv6 clothes is one.
        let address = address.to_canonical();
        is_public(address) || self.networks.iter().any(|network| network.contains(address))
    }
}

/// Scheme, host, port and beginning of the path of addresses that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Url);

impl Origin {
    /// Whether `url` is one of these addresses.
    pub fn covers(&self, url: &Url) -> bool {
        self.is_at(url) && url.username().is_empty() && url.password().is_none() && self.covers_path(url.path())
    }

    /// Whether it is asked by TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it is on this machine, as far as its name tells.
    pub fn is_this_machine(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The address in it, where it is no name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        }
    }

    /// Whether some of these addresses are those of the server.
    pub fn reaches(&self, server: &Server) -> bool {
        self.is_at(&server.0.0)
    }

    /// Whether scheme, host and port are the same.
    pub fn is_at(&self, url: &Url) -> bool {
        let Self(allowed) = self;
        allowed.scheme() == url.scheme()
            && allowed.port_or_known_default() == url.port_or_known_default()
            && self.covers_host(url)
    }

    fn covers_host(&self, url: &Url) -> bool {
        match (self.0.host(), url.host()) {
            (Some(Host::Domain(allowed)), Some(Host::Domain(asked))) => {
                let asked = asked.strip_suffix('.').unwrap_or(asked);
                match allowed.strip_prefix('*') {
                    // `*.example.com` is `.example.com` here, behind at least one character.
                    Some(ending) => asked.len() > ending.len() && asked.ends_with(ending),
                    None => asked == allowed,
                }
            }
            (allowed, asked) => allowed == asked,
        }
    }

    fn covers_path(&self, path: &str) -> bool {
        let allowed = self.0.path();
        if allowed == "/" {
            return true;
        }
        // What a server may take for `/` or `..` after decoding could lead out again.
        let lower = path.to_ascii_lowercase();
        if ["%2f", "%5c", "%2e"].iter().any(|escape| lower.contains(escape)) {
            return false;
        }
        match path.strip_prefix(allowed) {
            Some(rest) => allowed.ends_with('/') || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why: &str| Err(format!("`{text}` {why}; write it as `https://api.example.com/v1/`"));
        let Ok(url) = Url::parse(text) else { return wrong("is not the address of a server") };
        if !matches!(url.scheme(), "https" | "http") {
            return wrong("has a scheme other than `https` and `http`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            // What is quoted here would be a secret.
            return Err("an address with an account in it; secrets have a place of their own".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("has a query; only the beginning of a path can be named");
        }
        if let Some(Host::Domain(host)) = url.host() {
            let name = host.strip_prefix("*.").unwrap_or(host);
            if name.contains('*') || (host != name && !name.contains('.')) {
                return wrong("has a `*` that does not stand for the first part of a name, as in `*.example.com`");
            }
        }
        Ok(Self(url))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Scheme, host and port of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server(Origin);

impl Server {
    /// The server of this name, by TLS.
    pub(crate) fn https(name: &'static str) -> Self {
        let url = Url::parse(&format!("https://{name}/"));
        #[expect(clippy::expect_used, reason = "the names are constants of this program")]
        Self(Origin(url.expect("a name of a server")))
    }

    /// The address of a path on it: `/` and so on.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.0.0.clone();
        url.set_path(path);
        url
    }

    /// Whether `url` is an address of this server, without an account in it.
    pub fn covers(&self, url: &Url) -> bool {
        self.0.covers(url)
    }

    /// Whether it is asked by TLS.
    pub fn is_https(&self) -> bool {
        self.0.is_https()
    }

    /// Whether it is on this machine, as far as its name tells.
    pub fn is_this_machine(&self) -> bool {
        self.0.is_this_machine()
    }
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A server is written without the path of the example there.
        let origin: Origin = text.parse().map_err(|wrong: String| wrong.replace("/v1/`", "`"))?;
        let wrong = |why: &str| Err(format!("`{text}` {why}; write it as `https://api.example.com`"));
        match origin.0.host_str() {
            Some(host) if host.contains('*') => wrong("stands for many servers"),
            _ if origin.0.path() != "/" => wrong("has a path"),
            _ => Ok(Self(origin)),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.0.origin().ascii_serialization())
    }
}

/// An address, or all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no address or network; write it as `10.0.0.5` or `192.168.0.0/16`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Whether an address belongs to the public Internet: none that IANA's registries of special-purpose addresses (IPv4 and IPv6)
/// keep for other things, and no multicast.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..] | [169, 254, ..] | [192, 168, ..] => true,
        // Shared by providers (RFC 6598), private (RFC 1918), for benchmarks (RFC 2544).
        [100, second, ..] => second & 0xc0 == 64,
        [172, second, ..] => second & 0xf0 == 16,
        [198, 18 | 19, ..] => true,
        // Of the IETF, for documents, the old relays of 6to4.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => true,
        // Multicast, reserved, broadcast.
        [first, ..] => first >= 224,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is given out. In it, the IETF's own (with Teredo), documents and 6to4 are not.
    let given_out = first & 0xe000 == 0x2000;
    let special = (first == 0x2001 && (second < 0x200 || second == 0xdb8)) || first == 0x2002 || first == 0x3fff;
    given_out && !special
}

macro_rules! as_text {
    ($type:ty, $name:literal, $format:expr, $examples:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format, "examples": $examples })
            }
        }
    };
}

pub(crate) use as_text;

as_text!(Origin, "Origin", schema::ORIGIN, ["https://api.example.com/v1/"]);
as_text!(Server, "Server", schema::SERVER, ["https://api.example.com"]);
as_text!(Network, "Network", schema::NETWORK, ["10.0.0.5", "192.168.0.0/16"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_covered_by_scheme_host_port_and_path() {
        for (allowed, asked, covered) in [
            ("https://a.example/", "https://a.example/", true),
            ("https://a.example/", "https://a.example/x/y?z", true),
            ("https://a.example", "https://A.EXAMPLE:443/x", true),
            ("https://a.example/", "https://a.example./x", true),
            ("https://a.example/", "http://a.example/x", false),
            ("https://a.example/", "https://a.example:8443/x", false),
            ("https://a.example:8443/", "https://a.example:8443/x", true),
            ("https://a.example/", "https://b.a.example/", false),
            ("https://a.example/", "https://a.example.evil.test/", false),
            ("https://a.example/", "https://evil.test/https://a.example/", false),
            ("https://a.example/", "https://a.example@evil.test/", false),
            ("https://a.example/", "https://user@a.example/", false),
            ("https://*.example.com/", "https://a.example.com/", true),
            ("https://*.example.com/", "https://a.b.example.com/", true),
            ("https://*.example.com/", "https://example.com/", false),
            ("https://*.example.com/", "https://.example.com/", false),
            ("https://*.example.com/", "https://aexample.com/", false),
            ("https://a.example/v1/", "https://a.example/v1/x", true),
            ("https://a.example/v1/", "https://a.example/v1", false),
            ("https://a.example/v1", "https://a.example/v1", true),
            ("https://a.example/v1", "https://a.example/v1/x", true),
            ("https://a.example/v1", "https://a.example/v10", false),
            ("https://a.example/v1/", "https://a.example/v1/../v2/x", false),
            ("https://a.example/v1/", "https://a.example/v1/%2e%2e/v2/x", false),
            ("https://a.example/v1/", "https://a.example/v1/..%2Fv2/x", false),
            ("https://a.example/v1/", "https://a.example/v1/..%5cv2/x", false),
            ("https://a.example/v1/", "https://a.example/v1/..\\v2/x", false),
            ("http://127.0.0.1:80/", "http://2130706433/", true),
            ("http://127.0.0.1/", "http://0x7f.1/", true),
            ("http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", false),
            ("http://[::1]:8080/", "http://[0:0::1]:8080/x", true),
        ] {
            let origin: Origin = allowed.parse().unwrap();
            let found = Url::parse(asked).is_ok_and(|url| origin.covers(&url));
            assert_eq!(found, covered, "{allowed} {asked}");
        }
    }

    #[test]
    fn what_cannot_be_allowed_says_why() {
        for (text, why) in [
            ("api.example.com", "is not the address"),
            ("ftp://a.example/", "scheme"),
            ("https://me:secret@a.example/", "an account"),
            ("https://a.example/?x", "a query"),
            ("https://a.*.example/", "a `*`"),
            ("https://*.com/", "a `*`"),
            ("https://*/", "a `*`"),
        ] {
            let refused = text.parse::<Origin>().unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn a_server_is_one_server() {
        for (text, why) in [
            ("https://a.example/v1/", "has a path"),
            ("https://*.a.example", "many servers"),
            ("https://me:secret@a.example", "an account"),
            ("https://a.example/?x", "a query"),
            ("a.example", "is not the address"),
            ("ftp://a.example", "scheme"),
        ] {
            let refused = text.parse::<Server>().unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        for (text, shown) in [
            ("https://A.example", "https://a.example"),
            ("https://a.example:443/", "https://a.example"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
        }
        for (allowed, server, reaches) in [
            ("https://a.example/v1/", "https://a.example", true),
            ("https://*.example.com/", "https://a.example.com", true),
            ("https://a.example/", "https://a.example:8443", false),
            ("https://a.example/", "http://a.example", false),
            ("https://a.example/", "https://b.example", false),
        ] {
            let found = allowed.parse::<Origin>().unwrap().reaches(&server.parse().unwrap());
            assert_eq!(found, reaches, "{allowed} {server}");
        }
    }

    #[test]
    fn only_what_is_given_out_is_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("10.1.2.3", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("192.168.1.1", false),
            ("192.0.0.170", false),
            ("192.0.2.1", false),
            ("192.0.3.1", true),
            ("198.18.0.1", false),
            ("198.20.0.1", true),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
            ("2606:4700:4700::1111", true),
            ("2001:4860:4860::8888", true),
        ] {
            let grant = HttpGrant::new(Vec::new());
            assert_eq!(grant.may_connect(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn networks_open_what_is_not_public() {
        for (network, address, inside) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "::1", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "169.254.169.254", true),
            ("::/0", "169.254.169.254", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe80::1", false),
        ] {
            let grant = HttpGrant { networks: vec![network.parse().unwrap()], ..HttpGrant::new(Vec::new()) };
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(grant.may_connect(address), inside || is_public(address.to_canonical()), "{network} {address}");
        }
        for wrong in ["10.0.0.0/33", "10.0.0", "localhost", "::1/129", ""] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
