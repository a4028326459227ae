//! Which repositories a command works on, and which snapshots it means.
//!
//! Repositories are those of the task files, or one that is named by its place: then neither a configuration nor a task
//! has to be there, since the server that had them may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::TaskRepository;
use crate::capability::repository::task_tag;
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::clock::Timestamp;
use crate::config::grant::RepositoryGrant;
use crate::config::secret::Secret;
use crate::repository::{Repository, RepositoryError, Snapshot};
use chrono::NaiveDateTime;

/// Where to look.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct WhereArgs {
    /// The repository: its name in the task file, or its place (an absolute path or an URL)
    #[arg(long, value_name = "NAME|PLACE")]
    pub(super) repository: Option<String>,
    /// File with the password of a repository that is named by its place; no task file is needed then
    #[arg(long, value_name = "FILE", requires = "repository")]
    pub(super) password_file: Option<PathBuf>,
    /// Of a repository that is named by its place: what a task file has in `options`; may be given several times
    #[arg(long, value_name = "NAME=VALUE", requires = "password_file")]
    pub(super) option: Vec<String>,
    /// The same for `secrets`: NAME=file:PATH or NAME=env:VARIABLE
    #[arg(long, value_name = "NAME=SOURCE", requires = "password_file")]
    pub(super) secret: Vec<String>,
}

impl WhereArgs {
    /// Whether no task file is needed.
    pub(super) fn is_bare(&self) -> bool {
        self.password_file.is_some()
    }

    /// The repositories that are meant, each once.
    pub(super) fn grants(
        &self,
        repositories: &[TaskRepository<'_>],
        task: Option<&str>,
    ) -> Result<Vec<RepositoryGrant>, Failure> {
        let place = self.repository.as_deref().filter(|name| self.is_bare() || name.contains(['/', ':']));
        if let (Some(place), Some(file)) = (place, &self.password_file) {
            return self.bare(place, file).map(|grant| vec![grant]);
        }
        let named: Vec<_> = match self.repository.as_deref() {
            None => repositories.to_vec(),
            Some(name) => {
                let place = place.map(absolute);
                let is_meant = |it: &&TaskRepository<'_>| it.name == name || Some(&it.grant.url) == place.as_ref();
                repositories.iter().filter(is_meant).copied().collect()
            }
        };
        if let (Some(name), true) = (self.repository.as_deref(), named.is_empty()) {
            let names: BTreeSet<_> = repositories.iter().map(|it| format!("{} ({})", it.name, it.grant.url)).collect();
            let there =
                if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") };
            let message = format!("no task file has a repository `{name}`; there is: {there}");
            let help = "name it by its place, with its password: `--repository /srv/backup/main --password-file FILE`";
            return Err(Failure::new(Exit::NotFound, message, help));
        }
        // A task whose file is lost may still have snapshots in the repositories of others.
        let of_task: Vec<_> = named.iter().filter(|it| task.is_none_or(|task| it.task == task)).collect();
        let meant = if of_task.is_empty() { named.iter().collect() } else { of_task };
        let mut grants: Vec<RepositoryGrant> = Vec::new();
        for repository in meant {
            if grants.iter().all(|grant| grant.url != repository.grant.url) {
                grants.push(repository.grant.clone());
            }
        }
        match grants.is_empty() {
            true => Err(Failure::new(
                Exit::NotFound,
                "no task has a repository",
                "a task has one when its file holds `[grant.repository.NAME]`; without a task file: \
                 `--repository /srv/backup/main --password-file FILE`",
            )),
            false => Ok(grants),
        }
    }

    /// A repository that no task file knows.
    fn bare(&self, place: &str, password_file: &Path) -> Result<RepositoryGrant, Failure> {
        let mut grant = RepositoryGrant::new(absolute(place), Secret::File(password_file.to_owned()));
        for text in &self.option {
            let (name, value) = pair(text).ok_or_else(|| {
                let message = format!("`{text}` is no option of a repository");
                Failure::new(
                    Exit::Usage,
                    message,
                    "write `--option NAME=VALUE`, such as `--option region=eu-central-1`",
                )
            })?;
            grant.options.insert(name, value);
        }
        for text in &self.secret {
            let source = pair(text).and_then(|(name, source)| match source.split_once(':')? {
                ("file", path) => Some((name, Secret::File(path.into()))),
                ("env", variable) => Some((name, Secret::Env(variable.to_owned()))),
                _ => None,
            });
            // Whatever was written there may be the secret itself.
            let (name, source) = source.ok_or_else(|| {
                let help = "write `--secret NAME=file:PATH` or `--secret NAME=env:VARIABLE`";
                Failure::new(Exit::Usage, "a secret of the repository does not say where it comes from", help)
            })?;
            grant.secrets.insert(name, source);
        }
        Ok(grant)
    }

    /// Opens them and lists their snapshots. What cannot be opened is told as a warning as long as another one can.
    pub(super) fn reach(&self, repositories: &[TaskRepository<'_>], task: Option<&str>) -> Result<Reach, Failure> {
        let mut reach = Reach::default();
        for grant in self.grants(repositories, task)? {
            match Repository::open(&grant).and_then(|it| it.snapshots().map(|snapshots| (it, snapshots))) {
                Ok((repository, snapshots)) => {
                    reach.shelves.push(Shelf { url: grant.url, repository, snapshots });
                }
                Err(RepositoryError::Missing(url)) => reach.missing.push(url),
                Err(error) => reach.failures.push(Failure::from(error)),
            }
        }
        Ok(reach)
    }
}

fn absolute(place: &str) -> String {
    let is_remote = place.contains("://") || place.starts_with("opendal:") || place.starts_with("sftp:");
    let found = (!is_remote).then(|| std::path::absolute(place).ok()?.to_str().map(str::to_owned)).flatten();
    found.map_or(place.to_owned(), |path| if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path })
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').filter(|(name, _)| !name.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// An open repository and what it holds.
pub(super) struct Shelf {
    pub(super) url: String,
    pub(super) repository: Repository,
    /// Oldest first.
    pub(super) snapshots: Vec<Snapshot>,
}

/// All repositories that a command works on.
#[derive(Default)]
pub(super) struct Reach {
    pub(super) shelves: Vec<Shelf>,
    /// Addresses where nothing is yet.
    pub(super) missing: Vec<String>,
    pub(super) failures: Vec<Failure>,
}

/// A snapshot that is meant, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) snapshot: &'a Snapshot,
}

/// How a snapshot is called on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// First digits of the identifier.
    Id(String),
    Latest,
    /// The newest of a source: its path, the last part of that, or the task.
    LatestOf(String),
    /// The newest that is not younger.
    Before(Timestamp),
}

impl Name {
    pub(super) fn parse(text: &str, screen: &Screen) -> Result<Self, Failure> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(source) = text.strip_prefix("latest:").filter(|source| !source.is_empty()) {
            return Ok(Self::LatestOf(source.to_owned()));
        }
        if text.len() >= 2 && text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Ok(Self::Id(text.to_ascii_lowercase()));
        }
        moment(text, screen).map(Self::Before).ok_or_else(|| {
            let help = "write the first digits that `upkeep backup list` shows, `latest`, `latest:/srv/app`, or a time \
                        such as \"2026-11-20 12:00\" for the last one before it";
            Failure::new(Exit::Usage, format!("`{text}` names no snapshot"), help)
        })
    }

    fn is_met(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Id(digits) => snapshot.id.starts_with(digits),
            Self::Latest => true,
            Self::LatestOf(source) => {
                let is_path = |path: &String| {
                    path == source || Path::new(path).file_name().is_some_and(|name| name == source.as_str())
                };
                snapshot.paths.iter().any(is_path) || snapshot.tags.contains(&task_tag(source))
            }
            Self::Before(time) => snapshot.time <= *time,
        }
    }
}

/// A time as people write it, in the zone of the screen; a day alone means its end.
pub(super) fn moment(text: &str, screen: &Screen) -> Option<Timestamp> {
    let text = text.trim().replace('T', " ");
    if let Ok(exact) = chrono::DateTime::parse_from_str(&text.replace('Z', "+0000"), "%Y-%m-%d %H:%M:%S%#z") {
        return Some(Timestamp(exact.timestamp_millis() + 999));
    }
    // The whole of the minute or second that is named.
    for (form, rest, tail) in [("%Y-%m-%d %H:%M:%S", "", 999), ("%Y-%m-%d %H:%M:%S", ":00", 59_999)] {
        if let Ok(local) = NaiveDateTime::parse_from_str(&format!("{text}{rest}"), form) {
            return screen.moment(local).map(|it| Timestamp(it.0 + tail));
        }
    }
    let day = chrono::NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
    screen.moment(day.and_hms_milli_opt(23, 59, 59, 999)?)
}

/// `SNAPSHOT:/path` in its parts.
pub(super) fn split(text: &str) -> (&str, Option<&Path>) {
    match text.find(":/") {
        Some(at) => (&text[..at], Some(Path::new(&text[at + 1..]))),
        None => (text, None),
    }
}

/// Whether a path may be in a snapshot.
fn has(snapshot: &Snapshot, path: &Path) -> bool {
    snapshot.paths.iter().any(|saved| path.starts_with(saved) || Path::new(saved).starts_with(path))
}

impl Reach {
    /// Whether any snapshot is of a task.
    pub(super) fn knows(&self, task: &str) -> bool {
        let tag = task_tag(task);
        self.shelves.iter().flat_map(|shelf| &shelf.snapshots).any(|snapshot| snapshot.tags.contains(&tag))
    }

    fn found(&self, name: &Name, task: Option<&str>, path: Option<&Path>) -> Vec<Chosen<'_>> {
        let tag = task.map(task_tag);
        let mut found: Vec<_> = Vec::new();
        for shelf in &self.shelves {
            let of_task = |it: &&Snapshot| tag.as_ref().is_none_or(|tag| it.tags.contains(tag));
            let of_path = |it: &&Snapshot| path.is_none_or(|path| has(it, path));
            let met = shelf.snapshots.iter().filter(|it| name.is_met(it)).filter(of_task).filter(of_path);
            found.extend(met.map(|snapshot| Chosen { shelf, snapshot }));
        }
        found
    }

    /// Whether any repository could be opened: otherwise that is what is wrong, and not the name that was asked for.
    pub(super) fn is_open(&self) -> Result<(), Failure> {
        if !self.shelves.is_empty() {
            return Ok(());
        }
        let missing = self.missing.first().map(|url| Failure::from(RepositoryError::Missing(url.clone())));
        self.failures.first().cloned().or(missing).map_or(Ok(()), Err)
    }

    fn nothing(&self, text: &str, task: Option<&str>, path: Option<&Path>) -> Failure {
        if let Some(failure) = self.failures.first() {
            return failure.clone();
        }
        let of_task = task.map(|task| format!(" of the task `{task}`")).unwrap_or_default();
        let of_path = path.map(|path| format!(" that holds {}", path.display())).unwrap_or_default();
        let message = match text {
            "latest" => format!("there is no snapshot{of_task}{of_path} yet"),
            _ => format!("there is no snapshot `{text}`{of_task}{of_path}"),
        };
        Failure::new(Exit::NotFound, message, "`upkeep backup list` shows what there is")
    }

    /// One snapshot: the newest that answers to the name.
    pub(super) fn one(
        &self,
        text: &str,
        task: Option<&str>,
        path: Option<&Path>,
        screen: &Screen,
    ) -> Result<Chosen<'_>, Failure> {
        self.is_open()?;
        let name = Name::parse(text, screen)?;
        let mut found = self.found(&name, task, path);
        // A snapshot of something in the folder that is asked for is meant only where there is none of all of it.
        let holds =
            |it: &Chosen<'_>| path.is_none_or(|path| it.snapshot.paths.iter().any(|saved| path.starts_with(saved)));
        if found.iter().any(holds) {
            found.retain(holds);
        }
        if matches!(name, Name::Id(_)) {
            let ids: BTreeSet<_> = found.iter().map(|it| &it.snapshot.id).collect();
            if ids.len() > 1 {
                let message = format!("{} snapshots begin with `{text}`", ids.len());
                return Err(Failure::new(Exit::Usage, message, "write more digits"));
            }
            found.truncate(1);
        }
        // Of equal ones that of the first repository, which is the nearest.
        let newest = found.into_iter().rev().max_by_key(|it| it.snapshot.time);
        newest.ok_or_else(|| self.nothing(text, task, path))
    }

    /// The newest snapshot of each source that answers to the name, in the order of their paths.
    pub(super) fn each(
        &self,
        text: &str,
        task: Option<&str>,
        path: Option<&Path>,
        screen: &Screen,
    ) -> Result<Vec<Chosen<'_>>, Failure> {
        self.is_open()?;
        if matches!(Name::parse(text, screen)?, Name::Id(_)) {
            return self.one(text, task, path, screen).map(|chosen| vec![chosen]);
        }
        let mut newest: BTreeMap<&[String], Chosen<'_>> = BTreeMap::new();
        for chosen in self.found(&Name::parse(text, screen)?, task, path) {
            let slot = newest.entry(&chosen.snapshot.paths).or_insert(chosen);
            if chosen.snapshot.time > slot.snapshot.time {
                *slot = chosen;
            }
        }
        match newest.is_empty() {
            true => Err(self.nothing(text, task, path)),
            false => Ok(newest.into_values().collect()),
        }
    }

    /// Says on standard error which repositories could not be looked at.
    pub(super) fn warn(&self) {
        for failure in &self.failures {
            let text = crate::cli::screen::plain(&failure.message).into_owned();
            // What cannot be told cannot be told.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("warning: {text}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::pipe;

    fn snapshot(id: &str, time: i64, path: &str, task: &str) -> Snapshot {
        let (paths, tags) = (vec![path.to_owned()], vec![task_tag(task)]);
        Snapshot {
            id: id.into(),
            time: Timestamp(time),
            host: "server".into(),
            paths,
            tags,
            files: None,
            bytes: None,
            changes: None,
            utc_offset: 0,
        }
    }

    #[test]
    fn snapshots_have_four_kinds_of_names() {
        let parse = |text: &str| Name::parse(text, &pipe());
        assert_eq!(parse("latest"), Ok(Name::Latest));
        assert_eq!(parse("latest:/srv/app"), Ok(Name::LatestOf("/srv/app".into())));
        assert_eq!(parse("85FC0e91"), Ok(Name::Id("85fc0e91".into())));
        // 12:00 in Shanghai is 04:00 UTC; the minute belongs to it.
        let noon = 1_795_147_200_000;
        assert_eq!(parse("2026-11-20 12:00"), Ok(Name::Before(Timestamp(noon + 59_999))));
        assert_eq!(parse("2026-11-20T12:00:00"), Ok(Name::Before(Timestamp(noon + 999))));
        assert_eq!(parse("2026-11-20 04:00:00Z"), Ok(Name::Before(Timestamp(noon + 999))));
        assert_eq!(parse("2026-11-20 05:00:00+01:00"), Ok(Name::Before(Timestamp(noon + 999))));
        assert_eq!(parse("2026-11-20"), Ok(Name::Before(Timestamp(noon + 12 * 3_600_000 - 1))));
        for wrong in ["", "yesterday", "latest:", "2026-13-01", "zz"] {
            assert_eq!(parse(wrong).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
        assert_eq!(split("latest:/srv/app"), ("latest", Some(Path::new("/srv/app"))));
        assert_eq!(split("2026-11-20 12:00"), ("2026-11-20 12:00", None));
        assert_eq!(split("latest:app:/srv"), ("latest:app", Some(Path::new("/srv"))));
    }

    #[test]
    fn sources_are_met_by_path_by_name_and_by_task() {
        let it = snapshot("aa11", 5, "/srv/app", "backup");
        for (name, met) in [("/srv/app", true), ("app", true), ("backup", true), ("srv", false), ("/srv", false)] {
            assert_eq!(Name::LatestOf(name.into()).is_met(&it), met, "{name}");
        }
        assert!(Name::Before(Timestamp(5)).is_met(&it) && !Name::Before(Timestamp(4)).is_met(&it));
        assert!(Name::Id("aa".into()).is_met(&it) && !Name::Id("a1".into()).is_met(&it));
        assert!(has(&it, Path::new("/srv")) && has(&it, Path::new("/srv/app/x")) && !has(&it, Path::new("/srv/ap")));
    }

    #[test]
    fn places_are_absolute() {
        assert_eq!(absolute("/srv/backup/"), "/srv/backup");
        assert_eq!(absolute("sftp://backup@host/main"), "sftp://backup@host/main");
        assert!(absolute("backup").starts_with('/'));
    }

    #[test]
    fn a_repository_without_a_task_file_has_options_and_secrets() {
        let bare = |option: &[&str], secret: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
            let place = WhereArgs { option: all(option), secret: all(secret), ..WhereArgs::default() };
            place.bare("s3://bucket/pre", Path::new("/etc/upkeep/password"))
        };
        let grant =
            bare(&["endpoint=https://host?a=b"], &["access_key_id=file:id", "secret_access_key=env:KEY"]).unwrap();
        assert_eq!((&grant.url[..], &grant.options["endpoint"][..]), ("s3://bucket/pre", "https://host?a=b"));
        assert_eq!(grant.password, Secret::File("/etc/upkeep/password".into()));
        assert_eq!(grant.secrets["access_key_id"], Secret::File("id".into()));
        assert_eq!(grant.secrets["secret_access_key"], Secret::Env("KEY".into()));
        assert!(bare(&["region"], &[]).unwrap_err().message.contains("`region`"));
        for wrong in ["password=hunter2", "password=plain:hunter2", "hunter2", "=file:/x"] {
            let failure = bare(&[], &[wrong]).unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
    }
}
