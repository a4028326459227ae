//! `[grant.smtp.NAME]` of a task file: a mail server, and from whom and to whom a task may send by it.
//!
//! Who may send to whom is pure: [`SmtpGrant::allows_sender`] and [`SmtpGrant::allows_recipient`]. Where the server's name leads
//! has to be a public address, or one that the grant names, as with requests ([`SmtpGrant::may_connect`]).

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Host;

use crate::config::http::{Network, as_text, is_public};
use crate::config::schema;
use crate::config::secret::Secret;
use crate::config::size::Size;

/// A mail server, and what may be sent by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmtpGrant {
    /// Name or address of the server. With TLS, its certificate has to hold this name.
    pub host: String,
    /// The port. Left out: 587, with `implicit` 465, with `none` 25.
    pub port: Option<u16>,
    /// How the connection is encrypted. It never falls back to none.
    #[serde(default)]
    pub tls: SmtpTls,
    /// Whether `none` may also be used toward another machine, where mail and password can be read on the way.
    #[serde(default)]
    pub insecure: bool,
    /// A file with the certificates to trust, instead of those of the system; absolute.
    pub ca: Option<PathBuf>,
    /// Networks of private and link-local addresses that the name of the server may lead to: `10.0.0.5`, `192.168.0.0/16`. An
    /// address that stands in `host` itself, and this machine as `localhost`, need none.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// The account. Left out: the server takes mail without one.
    pub user: Option<String>,
    /// Where its password is.
    pub password: Option<Secret>,
    /// Addresses that may be the sender.
    pub from: Vec<Address>,
    /// Who may get mail: `ops@example.org`, `*@example.org` for everybody of a domain, `*` for everybody.
    pub to: Vec<Recipient>,
    /// Mails of one run at the most.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_messages: u32,
    /// The largest mail, as it is sent.
    #[serde(default = "mebibyte")]
    pub max_message: Size,
    /// How long is waited at the most for a connection, and for each reply of the server.
    #[serde(default = "minute", with = "crate::config::duration")]
    #[schemars(schema_with = "crate::config::schema::duration")]
    pub timeout: Duration,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SmtpTls {
    /// By STARTTLS, which the server has to offer.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all; for a server on this machine.
    None,
}

fn thousand() -> u32 {
    1_000
}

fn mebibyte() -> Size {
    Size::mebibytes(1)
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

impl SmtpGrant {
    /// A grant with defaults.
    pub fn new(host: impl Into<String>, from: Vec<Address>, to: Vec<Recipient>) -> Self {
        Self {
            host: host.into(),
            port: None,
            tls: SmtpTls::default(),
            insecure: false,
            ca: None,
            networks: Vec::new(),
            user: None,
            password: None,
            from,
            to,
            max_messages: thousand(),
            max_message: mebibyte(),
            timeout: minute(),
        }
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Implicit => 465,
            SmtpTls::None => 25,
        })
    }

    /// Scheme, host and port, as they are shown.
    pub fn url(&self) -> String {
        let scheme = if self.tls == SmtpTls::Implicit { "smtps" } else { "smtp" };
        match self.literal() {
            Some(IpAddr::V6(address)) => format!("{scheme}://[{address}]:{}", self.port()),
            _ => format!("{scheme}://{}:{}", self.host, self.port()),
        }
    }

    /// The address, where `host` is one.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `host` as it is asked for and as certificates have it; none when it is no name and no address.
    pub fn server(&self) -> Option<String> {
        match (self.literal(), Host::parse(&self.host)) {
            (Some(address), _) => Some(address.to_string()),
            (None, Ok(Host::Domain(name))) => Some(name),
            _ => None,
        }
    }

    /// Whether it is on this machine, as far as its name tells.
    pub fn is_this_machine(&self) -> bool {
        self.host == "localhost" || self.literal().is_some_and(|address| address.to_canonical().is_loopback())
    }

    /// Whether a mail may come from this address.
    pub fn allows_sender(&self, from: &Address) -> bool {
        self.from.contains(from)
    }

    /// Whether a mail may go to this address.
    pub fn allows_recipient(&self, to: &Address) -> bool {
        self.to.iter().any(|recipient| recipient.covers(to))
    }

    /// Whether this address may be connected to.
    pub fn may_connect(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_named = self.literal().is_some_and(|literal| literal.to_canonical() == address);
        is_named
            || (address.is_loopback() && self.is_this_machine() && self.literal().is_none())
            || is_public(address)
            || self.networks.iter().any(|network| network.contains(address))
    }
}

/// Bytes of an address, and of what stands before the `@` (RFC 5321, 4.5.3.1).
const MOST_OF_ADDRESS: usize = 254;
const MOST_OF_LOCAL: usize = 64;

/// An address of mail that can stand in a command of SMTP as it is: narrower than RFC 5321, which allows quotes and `*`.
///
/// The domain is kept in small letters and in ASCII. What stands before the `@` is the server's to interpret, and is compared
/// as it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: String,
}

impl Address {
    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// What stands behind it.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

/// Dots only between other characters (RFC 5322, 3.2.3).
fn is_dotted(text: &str, others: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.chars().all(|it| it.is_alphanumeric() || others.contains(it)))
}

/// A part of a domain (RFC 1035, 2.3.1).
fn is_label(part: &str) -> bool {
    part.len() <= 63 && !part.starts_with('-') && !part.ends_with('-')
}

fn domain(text: &str) -> Option<String> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) if is_dotted(&name, "-") && name.split('.').all(is_label) => Some(name),
        _ => None,
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('@').and_then(|(local, after)| {
            let is_local = local.len() <= MOST_OF_LOCAL && is_dotted(local, "!#$%&'+-/=?^_`{|}~");
            domain(after).filter(|_| is_local).map(|domain| Self { local: local.to_owned(), domain })
        });
        let parts = parts.filter(|it| it.local.len() + 1 + it.domain.len() <= MOST_OF_ADDRESS);
        parts.ok_or_else(|| format!("`{}` is no address; write it as `ops@example.org`", shown(text)))
    }
}

/// What was written instead of an address, in so far as it can be shown.
fn shown(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).take(80).collect()
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Who may get mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// Everybody: `*`.
    Everybody,
    /// Everybody of a domain, not of those beneath it: `*@example.org`.
    Domain(String),
    /// One address.
    One(Address),
}

impl Recipient {
    /// Whether it is one of them.
    pub fn covers(&self, address: &Address) -> bool {
        match self {
            Self::Everybody => true,
            Self::Domain(domain) => *domain == address.domain,
            Self::One(one) => one == address,
        }
    }
}

impl FromStr for Recipient {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            let shown = shown(text);
            format!("`{shown}` is no address; write it as `ops@example.org`, `*@example.org` or `*`")
        };
        match text.strip_prefix('*') {
            Some("") => Ok(Self::Everybody),
            Some(rest) => rest.strip_prefix('@').and_then(domain).map(Self::Domain).ok_or_else(wrong),
            None => text.parse().map(Self::One).map_err(|_| wrong()),
        }
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Domain(domain) => write!(f, "*@{domain}"),
            Self::One(address) => address.fmt(f),
        }
    }
}

as_text!(Address, "Address", schema::SENDER, ["upkeep@example.org"]);
as_text!(Recipient, "Recipient", schema::RECIPIENT, ["ops@example.org", "*@example.org", "*"]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grant(from: &[&str], to: &[&str]) -> SmtpGrant {
        let from = from.iter().map(|it| it.parse().unwrap()).collect();
        SmtpGrant::new("mail.example.org", from, to.iter().map(|it| it.parse().unwrap()).collect())
    }

    #[test]
    fn addresses_can_stand_in_a_command() {
        for (text, read) in [
            ("ops@example.org", Some("ops@example.org")),
            ("o.p-s+web_1@sub.example.org", Some("o.p-s+web_1@sub.example.org")),
            ("Ops@EXAMPLE.org", Some("Ops@example.org")),
            ("root@localhost", Some("root@localhost")),
            ("运维@例子.公司", Some("运维@xn--fsqu00a.xn--55qx5d")),
            ("", None),
            ("ops", None),
            ("@example.org", None),
            ("ops@", None),
            ("ops@@example.org", None),
            ("ops@example.org@evil.test", None),
            ("ops@example.org,evil@evil.test", None),
            ("ops@example.org evil@evil.test", None),
            ("ops@example.org> RCPT TO:<evil@evil.test", None),
            ("ops@example.org\r\nRCPT TO:<evil@evil.test>", None),
            ("ops\r\n@example.org", None),
            ("ops@example.org\n", None),
            ("ops@example.org\0", None),
            ("\"ops evil\"@example.org", None),
            ("Ops <ops@example.org>", None),
            (".ops@example.org", None),
            ("o..ps@example.org", None),
            ("ops@example..org", None),
            ("ops@.example.org", None),
            ("ops@-example.org", None),
            ("ops@example-.org", None),
            ("ops@[127.0.0.1]", None),
            ("ops@127.0.0.1", None),
            ("ops@2130706433", None),
            ("*@example.org", None),
        ] {
            let found = text.parse::<Address>().ok().map(|it| it.to_string());
            assert_eq!(found.as_deref(), read, "{text:?}");
        }
        assert!(format!("{}@example.org", "x".repeat(64)).parse::<Address>().is_ok());
        assert!(format!("{}@example.org", "x".repeat(65)).parse::<Address>().is_err());
        assert!(format!("x@{}example.org", "x.".repeat(130)).parse::<Address>().is_err());
        assert!("a\r\nb".parse::<Address>().unwrap_err().starts_with("`a  b` is no address; "));
    }

    proptest! {
        /// What gets through is read again as the same, and holds nothing that means something to a mail server.
        #[test]
        fn no_address_is_more_than_one(text in "[a-z.@<>,:;\"\\[\\]()\\\\ \r\n\t\0%!*éß磁-]{0,24}") {
            if let Ok(address) = text.parse::<Address>() {
                let shown = address.to_string();
                prop_assert!(shown.chars().all(|it| it.is_alphanumeric() || "@.%!-".contains(it)), "{}", shown);
                prop_assert_eq!(shown.matches('@').count(), 1);
                prop_assert!(lettre::Address::new(address.local(), address.domain()).is_ok(), "{}", shown);
                prop_assert_eq!(shown.parse::<Address>(), Ok(address));
            }
        }
    }

    #[test]
    fn senders_are_those_that_are_named() {
        for (from, sender, allowed) in [
            (&["upkeep@example.org"][..], "upkeep@example.org", true),
            (&["upkeep@example.org"], "upkeep@EXAMPLE.ORG", true),
            (&["upkeep@example.org"], "Upkeep@example.org", false),
            (&["upkeep@example.org"], "root@example.org", false),
            (&["upkeep@example.org"], "upkeep@example.org.evil.test", false),
            (&["upkeep@example.org"], "upkeep@sub.example.org", false),
            (&["upkeep@example.org", "root@example.org"], "root@example.org", true),
            (&[], "root@example.org", false),
        ] {
            assert_eq!(grant(from, &[]).allows_sender(&sender.parse().unwrap()), allowed, "{from:?} {sender}");
        }
    }

    #[test]
    fn recipients_are_those_that_are_named() {
        for (to, recipient, allowed) in [
            (&["ops@example.org"][..], "ops@example.org", true),
            (&["ops@example.org"], "ops@Example.Org", true),
            (&["ops@example.org"], "OPS@example.org", false),
            (&["ops@example.org"], "root@example.org", false),
            (&["ops@example.org"], "ops@example.org.evil.test", false),
            (&["*@example.org"], "anybody@example.org", true),
            (&["*@EXAMPLE.org"], "anybody@example.org", true),
            (&["*@example.org"], "anybody@sub.example.org", false),
            (&["*@example.org"], "anybody@evil-example.org", false),
            (&["*@例子.公司"], "x@xn--fsqu00a.xn--55qx5d", true),
            (&["*@example.org", "me@example.net"], "me@example.net", true),
            (&["*@example.org", "me@example.net"], "you@example.net", false),
            (&["*"], "anybody@anywhere.example", true),
            (&[], "ops@example.org", false),
        ] {
            assert_eq!(grant(&[], to).allows_recipient(&recipient.parse().unwrap()), allowed, "{to:?} {recipient}");
        }
        for wrong in ["*@", "*example.org", "*@*", "*@*.example.org", "o*@example.org@x", "**", "@example.org", ""] {
            assert!(wrong.parse::<Recipient>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_server_is_where_the_grant_says() {
        for (host, networks, address, may) in [
            ("mail.example.org", &[][..], "8.8.8.8", true),
            ("mail.example.org", &[], "127.0.0.1", false),
            ("mail.example.org", &[], "10.0.0.5", false),
            ("mail.example.org", &[], "::ffff:10.0.0.5", false),
            ("mail.example.org", &[], "fe80::1", false),
            ("mail.example.org", &["10.0.0.0/8"], "10.0.0.5", true),
            ("mail.example.org", &["10.0.0.0/8"], "127.0.0.1", false),
            ("10.0.0.5", &[], "10.0.0.5", true),
            ("10.0.0.5", &[], "10.0.0.6", false),
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("127.0.0.1", &[], "127.0.0.2", false),
            ("::1", &[], "::1", true),
            ("localhost", &[], "127.0.0.1", true),
            ("localhost", &[], "::1", true),
            ("localhost", &[], "10.0.0.5", false),
        ] {
            let networks: Vec<Network> = networks.iter().map(|it: &&str| it.parse().unwrap()).collect();
            let grant = SmtpGrant { host: host.into(), networks, ..grant(&[], &[]) };
            assert_eq!(grant.may_connect(address.parse().unwrap()), may, "{host} {address}");
        }
    }

    #[test]
    fn a_server_is_shown_with_its_port() {
        for (host, tls, port, url) in [
            ("mail.example.org", SmtpTls::Starttls, None, "smtp://mail.example.org:587"),
            ("mail.example.org", SmtpTls::Implicit, None, "smtps://mail.example.org:465"),
            ("localhost", SmtpTls::None, None, "smtp://localhost:25"),
            ("::1", SmtpTls::Implicit, Some(2525), "smtps://[::1]:2525"),
        ] {
            let grant = SmtpGrant { host: host.into(), tls, port, ..grant(&[], &[]) };
            assert_eq!((grant.url().as_str(), grant.server().as_deref()), (url, Some(host)));
        }
        for wrong in ["", "smtp://mail.example.org", "mail.example.org:25", "a b", "me@example.org", "[::1]"] {
            let grant = SmtpGrant { host: wrong.into(), ..grant(&[], &[]) };
            assert_eq!(grant.server(), None, "{wrong}");
        }
    }
}
