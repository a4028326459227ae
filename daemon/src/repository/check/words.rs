//! Damage as an operator reads it: what is wrong, what is lost by it, what is not, and which commands put it right.
//!
//! The command line and the plugin `repository-check` show the same text, so it is made here. The commands are those of
//! restic 0.14 and later, since a repository must not need upkeep to be repaired.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use rustic_core::Id;
use rustic_core::jiff::Timestamp as Moment;
use upkeep_archive::Flaw;

use crate::repository::RepositoryError;
use crate::repository::check::inventory::{Pack, PackNumber};
use crate::repository::check::packs::Read;
use crate::repository::check::trees::{Cause, Losses};
use crate::repository::check::{Look, Whole};
use crate::repository::open::folder;

/// Damages that are told one by one.
const MOST_DAMAGES: usize = 200;

/// Paths and snapshots that a text names; the rest is counted.
const MOST_PATHS: usize = 20;
const MOST_SNAPSHOTS: usize = 5;

/// What kind of thing is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// A pack is there, and is not what was written.
    Pack,
    /// A pack is not there.
    PackMissing,
    /// Something that snapshots need is nowhere.
    Content,
    /// A snapshot file.
    Snapshot,
    /// An index file.
    Index,
    /// Packs that snapshots need are in no index.
    IndexMissing,
    /// A key file.
    Key,
    /// Files that do not belong there.
    Foreign,
}

impl DamageKind {
    fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::PackMissing => "pack-missing",
            Self::Content => "content",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::IndexMissing => "index-missing",
            Self::Key => "key",
            Self::Foreign => "foreign",
        }
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is lost and nothing has to be done at once.
    Low,
    /// Nothing is lost, and something has to be repaired before the next restore.
    High,
    /// Files of snapshots are lost.
    Critical,
}

/// A file or folder that cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Lost {
    /// Its path; a folder ends with `/`.
    pub path: String,
    /// The snapshots that lack it, by their identifiers, oldest first.
    pub snapshots: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// What kind of thing is damaged.
    pub kind: DamageKind,
    /// How much it matters.
    pub severity: Severity,
    /// The same in each check, as long as it is there.
    pub key: String,
    /// The file below the repository; the first where it is several.
    pub file: String,
    /// One line.
    pub title: String,
    /// What is lost; what is not named here is not.
    pub lost: Vec<Lost>,
    /// Further files and folders that are lost.
    pub lost_more: u64,
    /// What is lost, what is not, and what to do, in lines.
    pub detail: String,
}

impl Damage {
    fn new(kind: DamageKind, severity: Severity, name: &str, file: String, title: String) -> Self {
        let key = if name.is_empty() { kind.name().to_owned() } else { format!("{}/{name}", kind.name()) };
        Self { kind, severity, key, file, title, lost: Vec::new(), lost_more: 0, detail: String::new() }
    }
}

/// Everything that a look at a repository has to tell, the worst first.
pub(super) fn damages(url: &str, look: &Look) -> Vec<Damage> {
    let teller = Teller { url, look };
    let mut damages: Vec<Damage> = Vec::new();
    for (number, pack) in (0..).zip(&look.inventory.packs) {
        damages.extend(teller.pack(number, pack));
    }
    damages.extend(look.bad_snapshots.iter().map(|bad| teller.snapshot(&bad.id, bad.flaw)));
    damages.extend(look.inventory.bad_indexes.iter().map(|bad| teller.index(&bad.id, bad.flaw)));
    damages.extend(teller.unlisted());
    damages.extend(teller.nowhere());
    damages.extend(look.bad_keys.iter().map(|bad| teller.key(&bad.id, bad.flaw)));
    damages.extend(teller.foreign());
    damages.sort_by_key(|damage| std::cmp::Reverse(damage.severity));
    if damages.len() > MOST_DAMAGES {
        let more = damages.len() - MOST_DAMAGES;
        damages.truncate(MOST_DAMAGES);
        if let Some(last) = damages.last_mut() {
            let _ = write!(last.detail, "\n{more} further damages are not listed.");
        }
    }
    damages
}

/// What to tell of a look at one repository.
struct Teller<'a> {
    url: &'a str,
    look: &'a Look,
}

impl Teller<'_> {
    /// How restic is called.
    fn restic(&self, command: &str) -> String {
        format!("restic -r {} {command}", self.url)
    }

    /// A file of the repository, as the commands name it.
    fn at(&self, file: &str) -> String {
        format!("{}/{file}", self.url.trim_end_matches('/'))
    }

    fn pack(&self, number: PackNumber, pack: &Pack) -> Option<Damage> {
        if !pack.is_indexed() {
            return None;
        }
        let (id, file) = (pack.id.to_hex(), pack_file(&pack.id));
        let name = &id.as_str()[..16];
        let lost = self.look.losses.get(&Cause::Pack(number));
        let severity = if lost.is_some() { Severity::Critical } else { Severity::High };
        if pack.length.is_none() {
            let title = format!("{file} is missing");
            let mut damage = Damage::new(DamageKind::PackMissing, severity, name, file.clone(), title);
            let steps = [
                format!(
                    "Look for the file {} in a copy of the repository, and put it back. If there is none:",
                    self.at(&file)
                ),
                self.restic("rebuild-index"),
            ];
            self.conclude(&mut damage, lost, &self.rest(), &steps, true);
            return Some(damage);
        }
        let read = self.look.reads.iter().find(|(read, _)| *read == number).map(|(_, read)| read)?;
        if read.is_fine() && pack.is_of_right_length() && lost.is_none() {
            return None;
        }
        let title = format!("{file} {}", flaws(pack, read));
        let mut damage = Damage::new(DamageKind::Pack, severity, name, file.clone(), title);
        let whole = read.blobs - read.bad.len();
        let rest = match (read.bad.len(), whole) {
            (0, _) => {
                format!("all {} in it are whole, and everything else in the repository is.", count(read.blobs, "piece"))
            }
            (_, 0) => self.rest(),
            (_, whole) => format!("the other {} in it, and {}", count(whole, "piece"), self.rest()),
        };
        let aside = match folder(self.url) {
            Some(_) => format!("mv {} /root/   (keep it until all is well again)", self.at(&file)),
            None => format!("move {} out of the repository, and keep it", self.at(&file)),
        };
        let steps = [
            "A copy of the file from another repository or disk is the best repair. If there is none:".to_owned(),
            format!(
                "{}   (restic 0.17 or later: takes over what is whole; then leave out the next two)",
                self.restic(&format!("repair packs {}", id.as_str()))
            ),
            aside,
            self.restic("rebuild-index"),
        ];
        self.conclude(&mut damage, lost, &rest, &steps, true);
        Some(damage)
    }

    fn snapshot(&self, id: &Id, flaw: Flaw) -> Damage {
        let id = id.to_hex();
        let file = format!("snapshots/{}", id.as_str());
        let title = format!("{file} is damaged: {}", flaw);
        let mut damage = Damage::new(DamageKind::Snapshot, Severity::Critical, &id.as_str()[..16], file.clone(), title);
        let whole = self.look.snapshots.len();
        damage.detail = format!(
            "Lost: the entry of the snapshot {}: when it was made, of what, and where its content begins.\n\
             Not lost: the content itself, and the other {}.\n\
             What to do:\n  {}\n  {}   (finds the content again and lists it as a new snapshot)\n",
            short(id.as_str()),
            count(whole, "snapshot"),
            remove(self.url, &self.at(&file)),
            self.restic("recover"),
        );
        damage
    }

    fn index(&self, id: &Id, flaw: Flaw) -> Damage {
        let id = id.to_hex();
        let file = format!("index/{}", id.as_str());
        let title = format!("{file} is damaged: {}", flaw);
        let mut damage = Damage::new(DamageKind::Index, Severity::High, &id.as_str()[..16], file.clone(), title);
        let steps = [remove(self.url, &self.at(&file)), self.restic("rebuild-index")];
        let rest = "all content: an index only says where things are, and is made anew from the packs. Until then, neither \
                    backups nor restores work.";
        self.conclude(&mut damage, None, rest, &steps, false);
        damage
    }

    fn unlisted(&self) -> Option<Damage> {
        let missing = self.look.losses.get(&Cause::Unlisted)?;
        // The damaged index tells it already.
        if !self.look.inventory.bad_indexes.is_empty() {
            return None;
        }
        let packs = self.look.inventory.packs.iter().filter(|pack| pack.length.is_some() && !pack.is_indexed()).count();
        let title = format!("an index is missing: {} that snapshots need are in none", count(packs, "pack"));
        let mut damage = Damage::new(DamageKind::IndexMissing, Severity::High, "", "index/".to_owned(), title);
        let rest = format!(
            "all content: the packs are there, and an index is made anew from them. Until then, {} of the snapshots cannot be \
             restored.",
            count(missing.paths.len() + usize::try_from(missing.more).unwrap_or(0), "path"),
        );
        self.conclude(&mut damage, None, &rest, &[self.restic("rebuild-index")], false);
        Some(damage)
    }

    fn nowhere(&self) -> Option<Damage> {
        let lost = self.look.losses.get(&Cause::Nowhere)?;
        let title = "content that snapshots need is in no pack".to_owned();
        let mut damage = Damage::new(DamageKind::Content, Severity::Critical, "", "data/".to_owned(), title);
        let steps = [
            "Packs were lost together with their index. If there is a copy of the repository, put back what is missing in data/. \
             If there is none:"
                .to_owned(),
            self.restic("rebuild-index"),
        ];
        self.conclude(&mut damage, Some(lost), &self.rest(), &steps, true);
        Some(damage)
    }

    fn key(&self, id: &Id, flaw: Flaw) -> Damage {
        let id = id.to_hex();
        let file = format!("keys/{}", id.as_str());
        let title = format!("{file} is damaged: {}", flaw);
        let mut damage = Damage::new(DamageKind::Key, Severity::High, &id.as_str()[..16], file.clone(), title);
        damage.detail = format!(
            "Lost: the password that belongs to this key.\n\
             Not lost: all content; another key opened the repository.\n\
             What to do: put the file back from a copy, or\n  {}\n  {}\n",
            remove(self.url, &self.at(&file)),
            self.restic("key add"),
        );
        damage
    }

    fn foreign(&self) -> Option<Damage> {
        let found = &self.look.foreign;
        let first = found.first()?;
        let title = match found.len() {
            1 => format!("{first} does not belong into the repository"),
            more => format!("{more} files do not belong into the repository"),
        };
        let mut damage = Damage::new(DamageKind::Foreign, Severity::Low, "", first.clone(), title);
        let mut detail =
            "Lost: nothing. Nobody reads these files, so they are no backup of anything either:\n".to_owned();
        for file in found.iter().take(MOST_PATHS) {
            let _ = writeln!(detail, "  {file}");
        }
        if found.len() > MOST_PATHS {
            let _ = writeln!(detail, "  and {} more", found.len() - MOST_PATHS);
        }
        detail += "What to do: look where they come from, and move them elsewhere.\n";
        damage.detail = detail;
        Some(damage)
    }

    /// What of the whole repository is not touched by anything that was found.
    fn rest(&self) -> String {
        let (all, whole) = (self.look.snapshots.len(), self.look.snapshots.len() - self.look.hit().len());
        match (all, whole) {
            (0, _) => "there is no snapshot.".to_owned(),
            (all, whole) if all == whole => format!("all {} are whole.", count(all, "snapshot")),
            (all, 0) => format!("everything else in the {}.", count(all, "snapshot")),
            (all, whole) => format!("everything else; {whole} of {all} snapshots are whole."),
        }
    }

    /// Writes down what is lost, what is not, and the steps of the repair.
    fn conclude(&self, damage: &mut Damage, losses: Option<&Losses>, rest: &str, steps: &[String], heals: bool) {
        let mut detail = String::new();
        match losses {
            None => detail += "Lost: nothing.\n",
            Some(losses) => {
                detail += "Lost:\n";
                for (path, snapshots) in losses.paths.iter().take(MOST_PATHS) {
                    let _ = writeln!(detail, "  {}, in {}", shown(path), self.named(snapshots));
                }
                let more = losses.paths.len().saturating_sub(MOST_PATHS) as u64 + losses.more;
                if more > 0 {
                    let _ = writeln!(detail, "  and {more} more");
                }
                let full = |index: &usize| self.look.snapshots[*index].id.to_hex().as_str().to_owned();
                damage.lost = losses
                    .paths
                    .iter()
                    .map(|(path, snapshots)| Lost {
                        path: shown(path),
                        snapshots: snapshots.iter().map(full).collect(),
                    })
                    .collect();
                damage.lost_more = losses.more;
            }
        }
        let _ = writeln!(detail, "Not lost: {rest}");
        detail += "What to do:\n";
        for step in steps {
            let _ = writeln!(detail, "  {step}");
        }
        if heals {
            let tasks = self.tasks(losses);
            for (place, task) in tasks.iter().enumerate() {
                let why = "   (saves again what is still at its source, which heals the older snapshots too)";
                let _ = writeln!(detail, "  upkeep run {task}{}", if place == 0 { why } else { "" });
            }
            let _ = writeln!(detail, "  upkeep backup check {} --read-data", tasks[0]);
        }
        if let (true, Some(losses)) = (heals, losses) {
            let hit: BTreeSet<usize> = losses.paths.values().flatten().copied().collect();
            let ids: Vec<_> = hit.iter().take(MOST_SNAPSHOTS).map(|index| self.short(*index)).collect();
            let more = if hit.len() > ids.len() { " ..." } else { "" };
            let forget = self.restic(&format!("forget --prune {}{more}", ids.join(" ")));
            let _ = writeln!(detail, "  {forget}   (only those that the check still names)");
        }
        damage.detail = detail;
    }

    /// The tasks whose snapshots lack something, or all that have any: never none.
    fn tasks(&self, losses: Option<&Losses>) -> Vec<&str> {
        let hit: Option<BTreeSet<usize>> = losses.map(|losses| losses.paths.values().flatten().copied().collect());
        let is_hit = |index: &usize| hit.as_ref().is_none_or(|hit| hit.contains(index));
        let snapshots = (0..).zip(&self.look.snapshots).filter(|(index, _)| is_hit(index));
        let tasks: BTreeSet<&str> =
            snapshots.flat_map(|(_, snapshot)| snapshot.tasks.iter().map(String::as_str)).collect();
        if tasks.is_empty() { vec!["TASK"] } else { tasks.into_iter().collect() }
    }

    fn short(&self, index: usize) -> String {
        short(self.look.snapshots[index].id.to_hex().as_str()).to_owned()
    }

    fn named(&self, snapshots: &[usize]) -> String {
        let of = |index: &usize| {
            let Whole { id, time, .. } = &self.look.snapshots[*index];
            let moment = Moment::from_millisecond(time.0).unwrap_or_default();
            format!("{} of {}", short(id.to_hex().as_str()), moment.strftime("%Y-%m-%d %H:%M UTC"))
        };
        let some: Vec<_> = snapshots.iter().rev().take(MOST_SNAPSHOTS).map(of).collect();
        let more = snapshots.len() - some.len();
        let and = if more > 0 { format!(" and {more} older") } else { String::new() };
        format!("{} ({}{and})", count(snapshots.len(), "snapshot"), some.join(", "))
    }
}

/// What is wrong with a pack that was read, as the end of a sentence.
fn flaws(pack: &Pack, read: &Read) -> String {
    let mut told = Vec::new();
    if let (Some(length), Some(expected)) = (pack.length, pack.expected)
        && length != expected
    {
        told.push(format!("has {length} bytes instead of {expected}"));
    }
    if let Some((_, flaw)) = read.bad.first() {
        let bad = read.bad.len();
        told.push(format!("is damaged: {bad} of its {} cannot be read back ({})", count(read.blobs, "piece"), flaw));
    } else if read.is_header_bad {
        told.push("is damaged in its list of contents; a new index would not find what is in it".to_owned());
    } else if read.is_changed && told.is_empty() {
        told.push("is not what was written, outside of its contents".to_owned());
    }
    if told.is_empty() {
        told.push("is what was written, but holds the listing of a folder that cannot be understood".to_owned());
    }
    told.join(", and ")
}

/// A key file is damaged, and the repository does not open.
pub(super) fn damaged_key(url: &str, id: &Id, flaw: Flaw, has_others: bool) -> RepositoryError {
    let file = format!("keys/{}", id.to_hex().as_str());
    let remedy = match has_others {
        true => {
            "put the file back from a copy of the repository, or move it away: there are other keys, which may be that of the password"
        }
        false => "put the file back from a copy of the repository",
    };
    RepositoryError::Damaged {
        url: url.to_owned(),
        reason: format!(
            "its key file {file} is damaged ({}). All content is there, and nothing opens it without a key; {remedy}",
            flaw
        ),
        file,
    }
}

/// The `config` of the repository is damaged.
pub(super) fn damaged_config(url: &str) -> RepositoryError {
    RepositoryError::Damaged {
        url: url.to_owned(),
        file: "config".to_owned(),
        reason: "its file `config` is damaged. All content is there, and the password is right; put the file back from a copy of \
                 the repository: it never changes, so that any copy will do"
            .to_owned(),
    }
}

fn pack_file(id: &Id) -> String {
    let id = id.to_hex();
    format!("data/{}/{}", &id.as_str()[..2], id.as_str())
}

fn remove(url: &str, file: &str) -> String {
    match folder(url) {
        Some(_) => format!("rm {file}"),
        None => format!("remove {file}"),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}
