//! Countries of addresses, as a file in MaxMind's DB format says. Nothing is asked over a network.
//!
//! Each step reads the file whole: the tree in it is walked from bit to bit of an address, anywhere in the file.

use std::io::Read;
use std::net::IpAddr;

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use upkeep_plugin::files::Root;
use upkeep_plugin::{Error, HostError, Result, warn};

use crate::config::Countries;

/// Networks of a database that are looked at before it is said that none of them has a country.
const LOOKED_AT: usize = 1 << 16;
/// Bytes that a step needs at least beside the database, to count.
const COUNTING: usize = 32 << 20;

/// A country by its two letters (ISO 3166-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Country([u8; 2]);

impl Country {
    fn new(code: &str) -> Option<Self> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    pub(crate) fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A database of addresses and their countries.
pub(crate) struct Database(Reader<Vec<u8>>);

impl Database {
    /// Reads the file that the configuration names.
    ///
    /// # Errors
    /// When it is not there, and when it is no such database or only a part of one.
    pub(crate) fn open(of: &Countries) -> Result<Self> {
        Self::beside(of, 0)
    }

    /// Reads the file where there is room for so many bytes beside it.
    fn beside(of: &Countries, room: usize) -> Result<Self> {
        let wrong = |what: String| Error::config(format!("`countries` in [config]: {}/{} {what}", of.root, of.file));
        let refused = |error: HostError| {
            let remedy = match &error {
                HostError::Unavailable(_) => return Error::from(error),
                HostError::Denied(_) => format!(
                    "[grant.files.{}] with the `path` of its folder grants it, and the daemon's user has to be able to read it",
                    of.root
                ),
                _ => "put the database there, name one that is there, or leave `countries` out".to_owned(),
            };
            wrong(format!("cannot be read ({}): {remedy}", Error::from(error).message()))
        };
        let mut reader = Root::open(&of.root).map_err(refused)?.read(&of.file).map_err(refused)?;
        let size = reader.identity().size;
        let mut bytes = Vec::new();
        let needed = usize::try_from(size).ok().and_then(|size| size.checked_add(room));
        if needed.is_none_or(|needed| bytes.try_reserve_exact(needed).is_err()) {
            // The host says of the run that it ran into the limit, and nothing of what for.
            warn!(
                file = format!("{}/{}", of.root, of.file),
                "`countries` in [config]: {} MiB do not fit into the memory of a step; take a database of countries alone, or raise `memory` in [limits]",
                size >> 20
            );
            return Err(wrong(format!(
                "has {} MiB, which do not fit into the memory of a step: take a database of countries alone, or raise `memory` in [limits]",
                size >> 20
            )));
        }
        reader.read_to_end(&mut bytes)?;
        Reader::from_source(bytes).map(Self).map_err(|error| {
            wrong(format!("is no database in MaxMind's DB format, or only a part of one ({error}): download it again"))
        })
    }

    /// Whether there are countries in the file that the configuration names.
    ///
    /// # Errors
    /// As for [`Database::open`], and when there are none.
    pub(crate) fn check(of: &Countries) -> Result<()> {
        let Self(reader) = Self::beside(of, COUNTING)?;
        let damaged = |error: MaxMindDbError| {
            let message =
                format!("`countries` in [config]: {}/{} is damaged ({error}): download it again", of.root, of.file);
            Error::config(message)
        };
        for found in reader.networks(WithinOptions::default()).map_err(damaged)?.take(LOOKED_AT) {
            if country(&found.map_err(damaged)?).is_some() {
                return Ok(());
            }
        }
        Err(Error::config(format!(
            "`countries` in [config]: {}/{} is of the type `{}` and has no countries: take one that has, such as GeoLite2-Country",
            of.root,
            of.file,
            reader.metadata().database_type
        )))
    }

    /// The country of an address as it stands in a log. None for what is no address, and for those that the database does not
    /// know.
    pub(crate) fn of(&self, address: &[u8]) -> Option<Country> {
        let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
        country(&self.0.lookup(address.to_canonical()).ok()?)
    }
}

/// Where an address is; where its network is registered, if that is all that is known.
fn country(found: &LookupResult<'_, Vec<u8>>) -> Option<Country> {
    ["country", "registered_country"].into_iter().find_map(|key| {
        let path = [PathElement::Key(key), PathElement::Key("iso_code")];
        Country::new(found.decode_path::<&str>(&path).ok().flatten()?)
    })
}
