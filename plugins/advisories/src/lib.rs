//! Keeps databases of known vulnerabilities, one for each ecosystem, made from the archives that osv.dev publishes.
//!
//! A step for each ecosystem: the archive is read while it comes ([`archive`]), its records go into a database
//! ([`upkeep_advisory`]), and when all of it is sound, that takes the place of the one before. What was there stays where an archive
//! is damaged, holds next to nothing, or much less than before. The scan reads the folder, and has no network itself.

use std::io::{BufReader, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use upkeep_advisory::database::{Builder, Totals};
use upkeep_advisory::ecosystem::Family;
use upkeep_plugin::config::Size;
use upkeep_plugin::files::Root;
use upkeep_plugin::http::Request;
use upkeep_plugin::{Context, Error, HostError, Outcome, Report, Result, Step, Table, Task, info, log, metrics, warn};

use crate::archive::{ArchiveError, Entries};

mod archive;

/// Of the records that an archive has, one in so many may be unreadable.
const UNREADABLE: u64 = 100;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Which ecosystems, and where the databases go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Advisories {
    /// The ecosystems, as osv.dev names them: `npm`, `PyPI`, `crates.io`, `Go`, `Packagist`, `Maven`, `Debian`, `Ubuntu`, `Alpine`.
    #[schemars(length(min = 1))]
    ecosystems: Vec<String>,
    /// Where the databases go: the name of a `[grant.files.NAME]`.
    root: String,
    /// What the addresses begin with; `/ECOSYSTEM/all.zip` follows.
    #[serde(default = "osv")]
    base: String,
}

fn osv() -> String {
    "https://osv-vulnerabilities.storage.googleapis.com".to_owned()
}

/// What is known of a database, beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// When the server was last asked whether there is a newer one, milliseconds since the Unix epoch.
    checked: i64,
    /// How the server calls this version.
    etag: Option<String>,
    /// Records in the archive that are in the database.
    records: u64,
}

/// What a step came to.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    family: String,
    records: u64,
    packages: u64,
    /// Bytes of the archive; none when the server had no newer one.
    downloaded: Option<u64>,
    /// Records that could not be read.
    unreadable: u64,
}

impl Advisories {
    fn families(&self) -> Result<Vec<Family>> {
        let family = |name: &String| {
            name.parse::<Family>().map_err(|_| {
                let all: Vec<_> = Family::ALL.iter().map(|it| it.as_str()).collect();
                Error::config(format!(
                    "`ecosystems` under [config]: there is no `{name}`; there are {}",
                    all.join(", ")
                ))
            })
        };
        self.ecosystems.iter().map(family).collect()
    }
}

impl Task for Advisories {
    type Input = String;
    type Output = Kept;

    fn plan(&self, _: &Context) -> Result<Vec<Step<String>>> {
        let families = self.families()?;
        let step = |family: &Family| {
            let name = family.as_str();
            Step::new(name, name.to_owned()).title(format!("look for new advisories of {name}"))
        };
        Ok(families.iter().map(step).collect())
    }

    fn execute(&self, ctx: &Context, step: Step<String>) -> Result<Kept> {
        let family: Family = step.input.parse().map_err(|_| Error::permanent("the plan names no ecosystem"))?;
        let root = Root::open(&self.root)?;
        let before = note(&root, family)?;
        let url = format!("{}/{family}/all.zip", self.base.trim_end_matches('/'));
        let mut request = Request::get(&url);
        if let Some(etag) = before.as_ref().and_then(|it| it.etag.clone()) {
            request = request.header("if-none-match", etag);
        }
        let response = request.send()?;
        match (response.status(), before) {
            (304, Some(before)) => {
                write_note(&root, family, &Note { checked: ctx.now, ..before.clone() })?;
                info!(ecosystem = family, "nothing new");
                Ok(Kept {
                    family: family.to_string(),
                    records: before.records,
                    packages: 0,
                    downloaded: None,
                    unreadable: 0,
                })
            }
            (200, before) => keep(ctx, &root, family, &url, response, before.as_ref()),
            (status, _) if status >= 500 || status == 429 => {
                Err(Error::transient(format!("{url} answers {status}: the server cannot serve it now")))
            }
            (status, _) => Err(Error::permanent(format!("{url} answers {status}; is `base` under [config] right?"))),
        }
    }

    fn finish(&self, _: &Context, outcomes: Vec<Outcome<Self>>) -> Result<Report> {
        let mut table = Table::new("Advisories", ["ECOSYSTEM", "RECORDS", "DOWNLOADED", "UNREADABLE"]);
        let (mut records, mut failed) = (0, 0);
        for outcome in &outcomes {
            match &outcome.output {
                Ok(kept) => {
                    records += kept.records;
                    metrics::gauge("advisories_records", &[("ecosystem", &kept.family)], kept.records as f64)?;
                    let downloaded = kept.downloaded.map_or("nothing new".to_owned(), |bytes| Size(bytes).to_string());
                    let cells =
                        [kept.family.clone(), kept.records.to_string(), downloaded, kept.unreadable.to_string()];
                    table = table.row(cells);
                }
                Err(_) => failed += 1,
            }
        }
        let many = outcomes.len() - failed;
        let mut summary = format!("{records} advisories of {many} ecosystem{}", if many == 1 { "" } else { "s" });
        if failed > 0 {
            summary.push_str(&format!("; {failed} not renewed, the old ones stay"));
        }
        Ok(Report::new(summary).table(table))
    }
}

/// Makes a database of what comes, and puts it in the place of the one before.
fn keep(
    ctx: &Context,
    root: &Root,
    family: Family,
    url: &str,
    response: upkeep_plugin::http::Response,
    before: Option<&Note>,
) -> Result<Kept> {
    let etag = response.header("etag").map(str::to_owned);
    let length: Option<u64> = response.header("content-length").and_then(|it| it.parse().ok());
    let mut counted = Counted { from: response, bytes: 0, told: 0, length };
    let mut builder = Builder::new(family);
    let (mut content, mut records, mut unreadable) = (Vec::new(), 0_u64, 0_u64);
    let mut entries = Entries::new(BufReader::with_capacity(CHUNK, &mut counted));
    let failed = |error: ArchiveError| match error {
        // Nobody can tell a connection that broke from an archive that was never whole; the next attempt will.
        ArchiveError::Read(_) => Error::transient(format!("{url}: {error}; what there was stays")),
        _ => Error::permanent(format!("{url}: {error}; what there was stays")),
    };
    while let Some(name) = entries.next(&mut content).map_err(failed)? {
        match builder.add(&content) {
            Ok(_) => records += 1,
            Err(error) => {
                unreadable += 1;
                if unreadable <= 5 {
                    warn!(ecosystem = family, entry = name, "a record cannot be read: {error}");
                }
            }
        }
    }
    check(url, records, unreadable, before)?;
    let mut file = root.create(&file(family))?;
    let fetched = u64::try_from(ctx.now).unwrap_or(0);
    let written = builder.finish(fetched, |piece| file.write_all(piece));
    let Totals { packages, .. } =
        written.map_err(|error| Error::transient(format!("{}: {error}", self::file(family))))?;
    file.commit()?;
    write_note(root, family, &Note { checked: ctx.now, etag, records })?;
    let downloaded = counted.bytes;
    info!(ecosystem = family, records = records, packages = packages, bytes = downloaded, "renewed");
    Ok(Kept {
        family: family.to_string(),
        records,
        packages: packages.into(),
        downloaded: Some(downloaded),
        unreadable,
    })
}

/// Whether an archive can be what it should be.
fn check(url: &str, records: u64, unreadable: u64, before: Option<&Note>) -> Result<()> {
    if records == 0 {
        return Err(Error::permanent(format!("{url} holds no records; what there was stays")));
    }
    if unreadable * UNREADABLE > records {
        let message = format!(
            "{url}: {unreadable} of {} records cannot be read; what there was stays. Is there a newer upkeep?",
            records + unreadable
        );
        return Err(Error::permanent(message));
    }
    match before.filter(|before| records < before.records / 2) {
        Some(before) => Err(Error::permanent(format!(
            "{url} holds {records} records, and {} before; what there was stays. If that is right, remove the old database",
            before.records
        ))),
        None => Ok(()),
    }
}

fn file(family: Family) -> String {
    format!("{family}.advisories")
}

fn note_file(family: Family) -> String {
    format!("{family}.json")
}

fn note(root: &Root, family: Family) -> Result<Option<Note>> {
    // Without the database, what the note says of it means nothing.
    match root.stat(&file(family)) {
        Ok(_) => {}
        Err(HostError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match root.read(&note_file(family)) {
        Ok(reader) => Ok(serde_json::from_reader(reader).ok()),
        Err(HostError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write_note(root: &Root, family: Family, note: &Note) -> Result<()> {
    let text = serde_json::to_vec(note).map_err(|error| Error::permanent(error.to_string()))?;
    Ok(root.write(&note_file(family), text)?)
}

/// Counts what comes, and tells how far it is.
struct Counted<R> {
    from: R,
    bytes: u64,
    told: u64,
    length: Option<u64>,
}

impl<R: std::io::Read> std::io::Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(into)?;
        self.bytes += count as u64;
        if self.bytes >= self.told + CHUNK as u64 {
            self.told = self.bytes;
            log::progress(self.bytes, self.length, "bytes");
        }
        Ok(count)
    }
}

upkeep_plugin::export!(Advisories);

#[cfg(test)]
mod tests;
