//! The folders, repositories and databases that a task file names: they exist, are of the right kind, and do not lie in
//! each other where that would do harm.

use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use crate::capability::journal::journalctl;
use crate::config::check::{STATE, Site, TaskFile, repositories};
use crate::config::files::in_words;
use crate::config::grant::FilesAccess;
use crate::config::secret::Secret;
use crate::config::source::KeyPath;
use crate::config::suggest::nearest;

/// How an SQLite file begins.
const SQLITE: &[u8] = b"SQLite format 3\0";

pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) {
    let grant = &file.settings.grant;
    let repositories = repositories::check(file, site);
    for (name, files) in &grant.files {
        let key = KeyPath::of(["grant", "files", name, "path"]);
        if files.access.is_empty() {
            let help = "write `access = [\"read\"]`, or remove the grant";
            file.error(KeyPath::of(["grant", "files", name, "access"]), "no right is granted", help);
        }
        if let Some(root) = existing(file, site, &key, &files.path, Kind::Folder) {
            check_overlaps(file, site, &key, &root, &files.access, &repositories);
        }
    }
    if let Some(drill) = &grant.drill {
        let key = KeyPath::of(["grant", "drill", "folder"]);
        if let Some(folder) = existing(file, site, &key, &drill.folder, Kind::Folder)
            && let Some(repository) = repositories.iter().find(|repository| folder.starts_with(repository))
        {
            let message = format!("drills would restore into the repository {}", repository.display());
            file.error(key, message, "name a folder of its own, or leave it out: trials are then in /var/tmp");
        }
    }
    if let Some(journal) = &grant.journal {
        let key = KeyPath::of(["grant", "journal"]);
        if let Some(folder) = &journal.folder {
            existing(file, site, &key.key("folder"), folder, Kind::Folder);
        }
        if journalctl().is_none() {
            let help = "remove this grant; only systemd keeps such a journal";
            file.error_at_key(key, "there is no journalctl on this machine", help);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
}

/// The path without links, when something of the right kind is there; else tells what is wrong.
fn existing(file: &mut TaskFile<'_>, site: &Site<'_>, key: &KeyPath, path: &Path, kind: Kind) -> Option<PathBuf> {
    let shown = path.display();
    if !path.is_absolute() {
        let help = "write the whole path, from `/` on; `~` and variables have no meaning here";
        file.error(key.clone(), format!("\"{shown}\" is not an absolute path"), help);
        return None;
    }
    if kind == Kind::Folder && path.components().all(|part| part == Component::RootDir) {
        let help = "grant the folders that the task needs, one grant for each";
        file.error(key.clone(), "the whole machine is not granted to a plugin", help);
        return None;
    }
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::NotADirectory => {
            file.error(key.clone(), format!("{shown} does not exist"), beside(path));
            return None;
        }
        Err(error) => {
            let help = "run the check as the daemon's user; the unit needs CAP_DAC_READ_SEARCH to read everything";
            let message = format!("{shown} cannot be looked at: {}", in_words(&error));
            file.error_if(site.surroundings.daemon, key.clone(), message, help);
            return None;
        }
    };
    match kind {
        Kind::Folder if !metadata.is_dir() => {
            let help = match path.parent() {
                Some(parent) => format!("grant the folder that it is in: \"{}\"", parent.display()),
                None => "grant a folder".to_owned(),
            };
            file.error(key.clone(), format!("{shown} is not a folder"), help);
            None
        }
        Kind::File if !metadata.is_file() => {
            file.error(key.clone(), format!("{shown} is not a file"), "name the database file itself");
            None
        }
        _ => Some(path.canonicalize().unwrap_or_else(|_| path.to_owned())),
    }
}

/// What there is instead of a path that does not exist.
fn beside(path: &Path) -> String {
    let Some(there) = path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()) else {
        return "correct the path".to_owned();
    };
    let wanted = path.strip_prefix(there).ok().and_then(|rest| rest.components().next());
    let wanted = wanted.map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let entries = std::fs::read_dir(there).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    match nearest(&wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", there.join(near).display()),
        None => format!("create it, or correct the path; {} exists", there.display()),
    }
}

/// Roots that lie in the daemon's own folders or in a repository, or hold one of them.
fn check_overlaps(
    file: &mut TaskFile<'_>,
    site: &Site<'_>,
    key: &KeyPath,
    root: &Path,
    access: &[FilesAccess],
    repositories: &[PathBuf],
) {
    let may_change = access.iter().any(|right| *right != FilesAccess::Read);
    for (what, folder) in &site.own {
        let shown = folder.display();
        if may_change && (root.starts_with(folder) || folder.starts_with(root)) {
            let message =
                format!("with this the plugin could change {what} in {shown}, and so give itself every right");
            file.error(key.clone(), message, "grant a folder that neither holds it nor lies in it, or only `read`");
        } else if *what == STATE && folder.starts_with(root) {
            let message = format!("{shown}, {what}, lies in this folder");
            file.warning(key.clone(), message, "leave it out in the plugin's config; it changes while it is read");
        }
    }
    for repository in repositories {
        let shown = repository.display();
        if repository.starts_with(root) {
            let message =
                format!("the repository {shown} lies in this folder: each backup would hold all backups before it");
            file.error(key.clone(), message, "move the repository elsewhere, or grant folders beside it");
        } else if root.starts_with(repository) {
            let help = "grant the folder that is to be saved, not the repository";
            file.error(key.clone(), format!("this folder lies in the repository {shown}"), help);
        }
    }
    for grant in file.settings.grant.repository.values() {
        if let Secret::File(path) = &grant.password
            && let Ok(path) = path.canonicalize()
            && path.starts_with(root)
        {
            let message = format!("the plugin can read {}, the password of a repository", path.display());
            file.warning(
                key.clone(),
                message,
                "keep the secret outside of what is granted, or use a credential of systemd",
            );
        }
    }
}

pub(super) fn check_database(file: &mut TaskFile<'_>, site: &Site<'_>, key: &KeyPath, path: &Path) {
    let Some(path) = existing(file, site, key, path, Kind::File) else { return };
    let mut start = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(SQLITE.len() as u64).read_to_end(&mut start));
    match read {
        // An empty file is a database without tables.
        Ok(_) if start.is_empty() || start == SQLITE => {}
        Ok(_) => {
            let message = format!("{} is not an SQLite database", path.display());
            file.error(key.clone(), message, "name the database file itself; it begins with \"SQLite format 3\"");
        }
        Err(error) => {
            let help = "run the check as the daemon's user, or correct the rights of the file";
            let message = format!("{} cannot be read: {}", path.display(), in_words(&error));
            file.error_if(site.surroundings.daemon, key.clone(), message, help);
        }
    }
}
