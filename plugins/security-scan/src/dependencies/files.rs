//! Lock files, and the packages of the machine in the same shape.

use std::collections::BTreeSet;

use upkeep_advisory::ecosystem::Ecosystem;
use upkeep_lockfile::{Format, Limits, LockFile};
use upkeep_plugin::config::Size;
use upkeep_plugin::files::Entry;
use upkeep_plugin::{Error, Finding, Place, Result, Severity, system};

use crate::found::Found;
use crate::scope::{self, Scope};

/// Never looked into: what lies there is named by the lock file above.
const LEFT_OUT: [&str; 2] = ["node_modules/", ".git/"];

/// Notes of one file that are told; the rest is counted.
const TOLD: usize = 5;

/// Who depends on packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    LockFile,
    Machine,
}

/// What one lock file, or the machine, depends on.
#[derive(Debug)]
pub(super) struct Dependants {
    /// How it is called in findings.
    pub(super) shown: String,
    pub(super) origin: Origin,
    pub(super) ecosystem: Ecosystem,
    pub(super) lock: LockFile,
}

impl Dependants {
    /// The packages that advisories can be about.
    pub(super) fn compared(&self) -> impl Iterator<Item = (&Self, usize)> {
        let packages = self.lock.packages.iter().enumerate();
        let compared = packages.filter(|(_, it)| it.source.is_registry() && !it.version.is_empty());
        compared.map(move |(index, _)| (self, index))
    }
}

/// Finds and reads all lock files of a folder. What cannot be read is a finding: nobody knows what is in it.
pub(super) fn read_all(
    folder: &Scope,
    max_size: Size,
    dependants: &mut Vec<Dependants>,
    found: &mut Found,
) -> Result<()> {
    let (root, mut entries) = (folder.open()?, Vec::new());
    let exclude = LEFT_OUT.iter().map(|it| (*it).to_owned()).chain(folder.exclude.iter().cloned()).collect();
    let scope = Scope { exclude, ..folder.clone() };
    let problems = scope.files(&root, |entry| {
        entries.extend(Format::detect(&entry.path).map(|format| (entry.clone(), format)));
        Ok(())
    })?;
    problems.into_iter().for_each(|problem| found.leave_out(scope.shown(&problem)));
    let limits = Limits { bytes: usize::try_from(max_size.0).unwrap_or(usize::MAX), ..Limits::default() };
    let of = |entry: &Entry| entry.path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let there: BTreeSet<(String, Format)> = entries.iter().map(|(entry, format)| (of(entry), *format)).collect();
    for (entry, format) in &entries {
        if format.superseded_by().is_some_and(|other| there.contains(&(of(entry), other))) {
            continue;
        }
        let shown = scope.shown(&entry.path);
        let parsed = match scope::read(&root, entry, max_size.0) {
            Ok(Some(bytes)) => upkeep_lockfile::parse(*format, &bytes, &limits).map_err(|error| error.to_string()),
            Ok(None) => {
                let size = Size(entry.id.size);
                Err(format!("it has {size}, more than the {max_size} that are read (dependencies.max_size)"))
            }
            Err(error) => Err(error.to_string()),
        };
        match parsed {
            Ok(lock) => {
                tell_notes(&shown, &lock, found);
                let ecosystem = super::ecosystem(&lock.ecosystem)?;
                dependants.push(Dependants { shown, origin: Origin::LockFile, ecosystem, lock });
            }
            Err(reason) => {
                found.unseen.push(format!("vuln/{shown}/"));
                let title = format!("{shown} cannot be read");
                let detail = format!("{reason}. What it names is not compared with known vulnerabilities.");
                found.findings.push(Finding {
                    rule: Some("lock-file-unreadable".to_owned()),
                    place: Some(Place { path: shown.clone(), line: None }),
                    ..Finding::new(Severity::Medium, format!("lock-file/{shown}"), title, detail)
                });
            }
        }
    }
    Ok(())
}

fn tell_notes(shown: &str, lock: &LockFile, found: &mut Found) {
    for note in lock.notes.iter().take(TOLD) {
        found.leave_out(format!("{shown}, {note}"));
    }
    let more = lock.notes.len().saturating_sub(TOLD) + lock.notes_omitted;
    if more > 0 {
        found.count("entries of lock files without an exact version", more as u64);
    }
}

/// The packages of this machine.
pub(super) fn machine() -> Result<Dependants> {
    let os = system::os()?;
    let release = format!("ID={}\nVERSION_ID={}\nVERSION={:?}\n", os.id, os.version, os.pretty_name);
    let Some(ecosystem) = upkeep_lockfile::Ecosystem::from_os_release(&release) else {
        let message = format!(
            "`packages` under [config.dependencies]: nobody publishes advisories for {} in the form that is read here; \
             Debian, Ubuntu and Alpine have them",
            os.pretty_name
        );
        return Err(Error::config(message));
    };
    let mut text = String::new();
    for package in system::packages()? {
        let (name, version) = (package.name, package.version);
        // In the form of dpkg, whose reader knows what a source package is.
        text.push_str(&format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n"));
        text.push_str(&format!("Source: {} ({})\n\n", package.source, package.source_version));
    }
    let parsed = upkeep_lockfile::parse(Format::Dpkg, text.as_bytes(), &Limits::default());
    let mut lock = parsed.map_err(|error| Error::permanent(format!("the packages of this machine: {error}")))?;
    lock.ecosystem = ecosystem.clone();
    for package in &mut lock.packages {
        package.line = None;
    }
    let ecosystem = super::ecosystem(&ecosystem)?;
    Ok(Dependants { shown: "packages".to_owned(), origin: Origin::Machine, ecosystem, lock })
}
