//! Lines of access logs.
//!
//! A log says the same few thousand paths and agents over and over, so what became of each is kept by its text.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use upkeep_accesslog::agent::{self, Agent, Platform};
use upkeep_accesslog::{Entry, Pages, Parser, Referrer, Referrers, is_asset};
use upkeep_plugin::{Context, Error, Result};
use upkeep_rollup::{AgentNumber, Calendar, Hour, Kind, Numbered, PageNumber, Piece, Rotation, Section, is_same};

use super::{Tally, When};
use crate::config::{Source, Stats};
use crate::country::{Country, Database};
use crate::store::Store;

/// Texts that are kept of each sort; the others are looked at each time.
const KEPT: usize = 1 << 15;
/// Bytes of texts that are kept of each sort: whoever sends long and ever other ones must not use the memory up.
const KEPT_BYTES: usize = 8 << 20;

/// Counts requests.
pub(crate) struct Access<'a> {
    parser: Parser,
    piece: Piece,
    agents: Kept<Program>,
    pages: Kept<Named>,
    /// None for those that are not told: the site itself, and nothing.
    referrers: Kept<Option<String>>,
    naming: Pages,
    own: Referrers,
    visitors: Visitors<'a>,
    countries: Option<Countries>,
    behind_proxy: bool,
    /// Whether some parameters belong to the name of a page.
    has_parameters: bool,
}

impl<'a> Access<'a> {
    pub(crate) fn new(ctx: &Context, stats: &Stats, source: &Source, store: &'a Store) -> Result<Self> {
        let format = source.format().map_err(|error| Error::config(error.to_string()))?;
        let zone = |error: upkeep_rollup::UnknownZone| Error::config(error.to_string());
        let options = stats.options(ctx);
        let seed = options.seed;
        Ok(Self {
            parser: Parser::new(format),
            agents: Kept::new(seed),
            pages: Kept::new(seed),
            referrers: Kept::new(seed),
            naming: Pages::new(stats.pages.parameters.iter().map(String::as_bytes), stats.pages.group_ids),
            own: Referrers::new(source.hosts.iter().map(String::as_bytes)),
            piece: Piece::new(options).map_err(zone)?,
            visitors: Visitors {
                store,
                source: source.name.clone(),
                calendar: Calendar::new(&ctx.timezone).map_err(zone)?,
                rotation: stats.rotation(),
                shorten: stats.visitors.shorten_addresses,
                key: None,
            },
            countries: stats.countries.as_ref().map(|of| Countries::open(of, seed)).transpose()?,
            behind_proxy: source.behind_proxy,
            has_parameters: !stats.pages.parameters.is_empty(),
        })
    }

    /// Counts a line.
    ///
    /// # Errors
    /// When the key of visitors cannot be had.
    pub(crate) fn line(&mut self, line: &[u8], tally: &mut Tally) -> Result<()> {
        let entry = match self.parser.parse(line) {
            Ok(entry) => entry,
            Err(error) => {
                tally.malformed(line, error.to_string());
                return Ok(());
            }
        };
        let is_counted = match tally.when(line, entry.time) {
            When::Never => return Ok(()),
            When::Late => self.piece.add_late(entry.time),
            When::Now => self.count(&entry)?,
        };
        tally.end(line, is_counted);
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<Section> {
        self.piece.into_sections()
    }

    fn count(&mut self, entry: &Entry<'_>) -> Result<bool> {
        let escape = entry.escape;
        let make = |text: &[u8]| Program::new(&escape.unescape(text), &mut self.piece);
        let agent = self.agents.of(entry.agent.unwrap_or(b""), make);
        let address = if self.behind_proxy { entry.forwarded_for() } else { None }.or(entry.address);
        let visitor = match address.filter(|_| agent.kind == Kind::Person) {
            Some(address) => Some(self.visitors.of(entry.time, address, agent.digest)?),
            None => None,
        };
        let target = if self.has_parameters { entry.target } else { entry.path() };
        let page = self.pages.of(target.unwrap_or(b""), |text| Named::new(&self.naming, &escape.unescape(text)));
        let is_view = page.is_page && entry.status < 400 && !matches!(entry.method, None | Some(b"HEAD" | b"OPTIONS"));
        let referrer = match entry.referrer.filter(|_| is_view) {
            Some(text) => self.referrers.of(text, |text| from(&self.own, &escape.unescape(text))).as_deref(),
            None => None,
        };
        let is_counted = is_view && agent.kind == Kind::Person;
        let number = is_counted.then(|| *page.number.get_or_insert_with(|| self.piece.page(&page.name)));
        let country = match (&mut self.countries, address) {
            (Some(countries), Some(address)) if is_view && visitor.is_some() => countries.of(address),
            _ => None,
        };
        Ok(self.piece.add_numbered(&Numbered {
            time: entry.time,
            kind: agent.kind,
            visitor,
            page: number,
            path: &page.name,
            status: entry.status,
            bytes: entry.bytes.unwrap_or(0),
            micros: entry.duration,
            referrer,
            agent: agent.number,
            country: country.as_ref().map(Country::code),
        }))
    }
}

/// What became of texts that come again and again.
struct Kept<T> {
    known: HashTable<(Box<[u8]>, T)>,
    hasher: FixedState,
    bytes: usize,
    /// Of a text that is not kept.
    other: Option<T>,
}

impl<T> Kept<T> {
    /// Whoever writes the log does not know the seed, and cannot make texts that all collide.
    fn new(seed: u64) -> Self {
        Self { known: HashTable::new(), hasher: FixedState::with_seed(seed), bytes: 0, other: None }
    }

    #[inline]
    fn of(&mut self, text: &[u8], make: impl FnOnce(&[u8]) -> T) -> &mut T {
        let hash = |text: &[u8]| {
            let mut hasher = self.hasher.build_hasher();
            hasher.write(text);
            hasher.finish()
        };
        let of_text = hash(text);
        if self.known.len() < KEPT && self.bytes + text.len() <= KEPT_BYTES {
            let entry = self.known.entry(of_text, |(known, _)| is_same(known, text), |(known, _)| hash(known));
            let kept = entry.or_insert_with(|| {
                self.bytes += text.len();
                (text.into(), make(text))
            });
            return &mut kept.into_mut().1;
        }
        match self.known.find_mut(of_text, |(known, _)| is_same(known, text)) {
            Some((_, known)) => known,
            None => self.other.insert(make(text)),
        }
    }
}

/// What a user agent says.
struct Program {
    kind: Kind,
    /// Of its name in the piece.
    number: AgentNumber,
    /// Of its text; a part of who a visitor is.
    digest: u64,
}

impl Program {
    fn new(text: &[u8], piece: &mut Piece) -> Self {
        let agent = Agent::new(text);
        let shown = |text: Option<&[u8]>| String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
        let kind = match agent.kind {
            agent::Kind::Browser | agent::Kind::App | agent::Kind::Unknown => Kind::Person,
            agent::Kind::Bot => Kind::Bot,
            agent::Kind::Tool | agent::Kind::Monitor => Kind::Tool,
        };
        let names = upkeep_rollup::Agent {
            family: agent.name,
            // Of WeChat each version is told: mini programs depend on it.
            version: &shown(agent.wechat.or(agent.major())),
            platform: match agent.platform {
                Platform::Ios => "iOS",
                Platform::Android => "Android",
                Platform::HarmonyOs => "HarmonyOS",
                Platform::Windows => "Windows",
                Platform::MacOs => "macOS",
                Platform::Linux => "Linux",
                Platform::Devtools => "devtools",
                Platform::Other => "",
            },
            device: &shown(agent.model),
        };
        Self { kind, number: piece.agent(kind, &names), digest: SipHasher13::new().hash(text) }
    }
}

/// What a target is called.
struct Named {
    name: String,
    /// In the piece, once it was viewed.
    number: Option<PageNumber>,
    is_page: bool,
}

impl Named {
    fn new(naming: &Pages, target: &[u8]) -> Self {
        let name = String::from_utf8_lossy(&naming.page(target)).into_owned();
        Self { name, number: None, is_page: !target.is_empty() && !is_asset(target) }
    }
}

/// Where a visitor comes from, when it is from elsewhere.
fn from(own: &Referrers, text: &[u8]) -> Option<String> {
    match own.classify(Some(text), None) {
        Referrer::Search(name) => Some(name.to_owned()),
        Referrer::Site(host) => Some(String::from_utf8_lossy(&host).into_owned()),
        Referrer::None | Referrer::Own | Referrer::Invalid => None,
    }
}

/// Where people view pages from. Addresses are forgotten with the step.
struct Countries {
    database: Database,
    known: Kept<Option<Country>>,
}

impl Countries {
    fn open(of: &crate::config::Countries, seed: u64) -> Result<Self> {
        Ok(Self { database: Database::open(of)?, known: Kept::new(seed) })
    }

    fn of(&mut self, address: &[u8]) -> Option<Country> {
        *self.known.of(address, |address| self.database.of(address))
    }
}

/// Who a visitor is: a keyed hash, whose key is thrown away when its period is over.
struct Visitors<'a> {
    store: &'a Store,
    source: String,
    calendar: Calendar,
    rotation: Rotation,
    shorten: bool,
    /// The key of the lines of an hour.
    key: Option<(Hour, SipHasher13)>,
}

impl Visitors<'_> {
    #[inline]
    fn of(&mut self, time: i64, address: &[u8], agent: u64) -> Result<u64> {
        let mut hasher = match self.key {
            Some((hour, hasher)) if (hour.start..hour.end).contains(&time) => hasher,
            _ => self.key_of(time)?,
        };
        match self.shorten.then(|| shortened(address)).flatten() {
            Some(short) => hasher.write(&short),
            None => hasher.write(address),
        }
        hasher.write_u64(agent);
        Ok(hasher.finish())
    }

    #[cold]
    fn key_of(&mut self, time: i64) -> Result<SipHasher13> {
        let no_hour = || Error::permanent("a time that no calendar has");
        let hour = self.calendar.hour(time).ok_or_else(no_hour)?;
        let key = self.store.visitor_key(&self.source, self.rotation.period(hour.day).0)?;
        Ok(self.key.insert((hour, SipHasher13::new_with_key(&key))).1)
    }
}

/// The network of an address: 24 bits of IPv4, 48 of IPv6. None for what is no address.
fn shortened(address: &[u8]) -> Option<[u8; 6]> {
    match std::str::from_utf8(address).ok()?.parse().ok()? {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Some([a, b, c, 0, 0, 0])
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => shortened(address.to_string().as_bytes()),
            None => address.octets().first_chunk().copied(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_made_each_time() {
        let mut kept = Kept::new(7);
        for round in 0..2 {
            for number in 0..20_000 {
                let text = format!("{number:01000}");
                assert_eq!(*kept.of(text.as_bytes(), |text| text.len() + number), 1_000 + number, "{round}");
            }
        }
        assert!(kept.bytes <= KEPT_BYTES && kept.known.len() == KEPT_BYTES / 1_000);
        for number in 0..2 * KEPT {
            kept.of(number.to_string().as_bytes(), |_| 0);
        }
        assert!(kept.known.len() <= KEPT && kept.bytes <= KEPT_BYTES);
    }
}
