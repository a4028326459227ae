//! Known vulnerabilities in what apps depend on, and in the packages of the machine.
//!
//! Lock files are found by their names ([`files`]) and read by [`upkeep_lockfile`]; the databases that the plugin `advisories` keeps
//! are asked about all packages of an ecosystem at once ([`databases`]). What one file asks for twice is one finding.

use schemars::JsonSchema;
use serde::Deserialize;
use upkeep_advisory::ecosystem::{Ecosystem, Family};
use upkeep_advisory::vulnerability::{Answer, Vulnerability};
use upkeep_lockfile::sbom;
use upkeep_plugin::config::{Size, Span};
use upkeep_plugin::{Context, Error, Finding, Place, Result, Severity};

use crate::dependencies::databases::Databases;
use crate::dependencies::files::{Dependants, Origin};
use crate::found::Found;
use crate::scope::Scope;

mod databases;
mod files;
mod words;

/// What is compared with known vulnerabilities.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dependencies {
    /// Where lock files are looked for, each a `[[config.dependencies.folders]]`. `node_modules` and `.git` are left out.
    #[serde(default)]
    folders: Vec<Scope>,
    /// A lock file that is larger is not read, which is a finding. One takes about ten times its size of memory.
    #[serde(default = "largest")]
    max_size: Size,
    /// Whether the packages of this machine are compared too (dpkg, apk).
    #[serde(default)]
    packages: bool,
    /// Of packages of this machine, also what has no fix yet: distributions leave much of that open on purpose.
    #[serde(default)]
    packages_without_fix: bool,
    /// Where the databases are: the name of a `[grant.files.NAME]`, into which the plugin `advisories` writes.
    advisories: String,
    /// The scan fails when a database that it needs is older.
    #[serde(default = "three_days")]
    max_age: Span,
    /// Also records of Go that no person has looked at yet; many of these name all versions.
    #[serde(default)]
    unreviewed: bool,
}

fn largest() -> Size {
    Size(8 << 20)
}

/// A bill of materials that is larger does not fit into a call of the host, with all its quotes escaped.
const LARGEST_SBOM: usize = 8 << 20;

fn three_days() -> Span {
    Span(3 * 86_400_000)
}

impl Dependencies {
    pub(crate) fn check(&self) -> Result<()> {
        if self.folders.is_empty() && !self.packages {
            return Err(Error::config(
                "[config.dependencies] names nothing: add [[config.dependencies.folders]] or `packages = true`",
            ));
        }
        if self.max_age.0 <= 0 {
            return Err(Error::config(
                "`max_age` under [config.dependencies] is no time at all; write for example \"3d\"",
            ));
        }
        Databases::open(&self.advisories).map(drop)
    }

    /// Whether the databases are as fresh as they have to be; the step that asks fails when they are not.
    pub(crate) fn look_at_age(&self, ctx: &Context) -> Result<Found> {
        let databases = Databases::open(&self.advisories)?;
        let mut found = Found::default();
        let old: Vec<String> = databases
            .ages(ctx.now)
            .filter(|(_, age)| *age > self.max_age.0)
            .map(|(family, age)| format!("{family} ({})", Span(age)))
            .collect();
        if !old.is_empty() {
            return Err(Error::permanent(format!(
                "the database of advisories is older than {}: {}; does the task of the plugin `advisories` run?",
                self.max_age,
                old.join(", ")
            )));
        }
        for (family, records, age) in databases.facts(ctx.now) {
            found.row(family.to_string(), records.to_string(), Span(age).to_string());
        }
        Ok(found)
    }

    pub(crate) fn look(&self, ctx: &Context) -> Result<Found> {
        let mut found = Found::default();
        let databases = Databases::open(&self.advisories)?;
        let mut dependants = Vec::new();
        for folder in &self.folders {
            files::read_all(folder, self.max_size, &mut dependants, &mut found)?;
        }
        if self.packages {
            dependants.push(files::machine()?);
        }
        let mut known = Vec::new();
        for family in families(&dependants) {
            match databases.get(family)? {
                Some(database) => self.compare(family, &database, &dependants, &mut found, &mut known)?,
                None => missing(family, &dependants, &mut found),
            }
        }
        let packages: usize = dependants.iter().map(|it| it.lock.packages.len()).sum();
        found.count("packages", packages as u64);
        found.count("lock files", dependants.iter().filter(|it| it.origin != Origin::Machine).count() as u64);
        let sbom = words::sbom(ctx, &dependants, &known)?;
        if sbom.len() <= LARGEST_SBOM {
            found.sbom = Some(sbom);
        } else {
            let size = Size(sbom.len() as u64);
            found.leave_out(format!("the bill of materials: it has {size}; scan fewer folders in one task"));
        }
        Ok(found)
    }

    /// Asks a database about all packages of its family.
    fn compare(
        &self,
        family: Family,
        database: &databases::Open,
        dependants: &[Dependants],
        found: &mut Found,
        known: &mut Vec<sbom::Vulnerability>,
    ) -> Result<()> {
        // A machine has one release, and lock files have none.
        for release in releases(family, dependants) {
            let mine = |it: &&Dependants| it.ecosystem.family == family && it.ecosystem.release == release;
            let all: Vec<(&Dependants, usize)> =
                dependants.iter().filter(mine).flat_map(Dependants::compared).collect();
            let answers = database.look_up(release.as_deref(), &all)?;
            for (dependants, index, answer) in merged(&all, answers) {
                self.tell(dependants, index, &answer, found, known);
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        dependants: &Dependants,
        index: usize,
        answer: &Answer,
        found: &mut Found,
        known: &mut Vec<sbom::Vulnerability>,
    ) {
        let package = &dependants.lock.packages[index];
        for vulnerability in &answer.vulnerabilities {
            if !vulnerability.is_reviewed && !self.unreviewed && dependants.ecosystem.family == Family::Go {
                found.count("records that no person has looked at", 1);
                continue;
            }
            let is_open = vulnerability.fixed.is_none();
            if dependants.origin == Origin::Machine && is_open && !self.packages_without_fix {
                found.count("vulnerabilities of packages without a fix yet", 1);
                continue;
            }
            found.findings.push(finding(dependants, index, vulnerability));
            known.push(words::known(dependants, index, vulnerability));
        }
        for undecided in &answer.undecided {
            let key = format!("vuln/{}/{}/{}/undecided", dependants.shown, package.name, undecided.id);
            let title = format!("{} {} cannot be compared with {}", package.name, package.version, undecided.id);
            let detail = format!("{}. Look at the record yourself.", undecided.error);
            found.findings.push(Finding::new(Severity::Info, key, title, detail));
        }
    }
}

/// The families that there are packages of.
fn families(dependants: &[Dependants]) -> Vec<Family> {
    let mut families: Vec<Family> = dependants.iter().map(|it| it.ecosystem.family).collect();
    families.sort_unstable();
    families.dedup();
    families
}

fn releases(family: Family, dependants: &[Dependants]) -> Vec<Option<String>> {
    let of_family = dependants.iter().filter(|it| it.ecosystem.family == family);
    let mut releases: Vec<Option<String>> = of_family.map(|it| it.ecosystem.release.clone()).collect();
    releases.sort();
    releases.dedup();
    releases
}

/// What is said of one package of one file, once, however often it is installed there.
fn merged<'a>(
    all: &[(&'a Dependants, usize)],
    answers: Vec<Answer>,
) -> impl Iterator<Item = (&'a Dependants, usize, Answer)> {
    let mut seen = std::collections::BTreeSet::new();
    let pairs: Vec<_> = all.iter().copied().zip(answers).collect();
    pairs.into_iter().filter_map(move |((dependants, index), answer)| {
        let package = &dependants.lock.packages[index];
        let is_first = seen.insert((&*dependants.shown, &*package.name, &*package.version));
        is_first.then_some((dependants, index, answer))
    })
}

fn finding(dependants: &Dependants, index: usize, vulnerability: &Vulnerability) -> Finding {
    let package = &dependants.lock.packages[index];
    let key = format!("vuln/{}/{}/{}", dependants.shown, package.name, vulnerability.id);
    let line = package.line.map(std::num::NonZeroU32::get);
    Finding {
        rule: Some(vulnerability.id.clone()),
        place: Some(Place { path: dependants.shown.clone(), line }),
        fix: vulnerability.fixed.clone(),
        ..Finding::new(
            words::severity(vulnerability),
            key,
            words::title(package, vulnerability),
            words::detail(dependants, index, vulnerability),
        )
    }
}

/// There are packages that nobody can say anything about.
fn missing(family: Family, dependants: &[Dependants], found: &mut Found) {
    let mine: Vec<_> = dependants.iter().filter(|it| it.ecosystem.family == family).collect();
    let packages: usize = mine.iter().map(|it| it.lock.packages.len()).sum();
    found.unseen.extend(mine.iter().map(|it| format!("vuln/{}/", it.shown)));
    let s = if packages == 1 { "" } else { "s" };
    let title = format!("There is no database of the advisories of {family}; {packages} package{s} not compared");
    let detail = format!("Add \"{family}\" to `ecosystems` of the task of the plugin `advisories`, and run that.");
    found.findings.push(Finding {
        rule: Some("advisories-missing".to_owned()),
        ..Finding::new(Severity::Medium, format!("advisories/missing/{family}"), title, detail)
    });
}

/// The ecosystem of a file, in the words of the advisories.
fn ecosystem(of: &upkeep_lockfile::Ecosystem) -> Result<Ecosystem> {
    of.to_string().parse().map_err(|error| Error::permanent(format!("{of}: {error}")))
}
