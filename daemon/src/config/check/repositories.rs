//! The repositories that a task file names: the address has a meaning, its options and secrets are those of its kind, and
//! a folder is one of a repository, or can become one.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::config::check::{Site, TaskFile};
use crate::config::files::in_words;
use crate::config::grant::RepositoryGrant;
use crate::config::source::KeyPath;
use crate::storage::address::{Address, Place, Wrong};

/// Tells what is wrong with them; the folders of those that are ones on this machine, without links.
pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for (name, grant) in &file.settings.grant.repository {
        let at = |keys: &[String]| {
            let repository = KeyPath::of(["grant", "repository", name]);
            keys.iter().fold(repository, |path, key| path.key(key))
        };
        let checked = Address::parse(&grant.url).and_then(|address| address.check_keys(grant).map(|()| address));
        match checked {
            Ok(Address { place: Place::Folder(folder) }) => {
                folders.extend(check_folder(file, site, at(&["url".to_owned()]), &folder));
            }
            Ok(_) => {}
            Err(Wrong { at: keys, message, help }) => {
                // A section that is not there is told about where the repository begins.
                let written = match keys.first().map(String::as_str) {
                    Some("options") => !grant.options.is_empty(),
                    Some("secrets") => !grant.secrets.is_empty(),
                    _ => true,
                };
                file.error(at(if written { &keys } else { &[] }), message, help);
            }
        }
    }
    folders
}

/// The repository's folder without links, as far as it exists.
fn check_folder(file: &mut TaskFile<'_>, site: &Site<'_>, key: KeyPath, path: &Path) -> Option<PathBuf> {
    let shown = path.display();
    if path.components().all(|part| part == Component::RootDir) {
        file.error(key, "a repository needs a folder of its own", "write for example \"/srv/backup/main\"");
        return None;
    }
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => {
            file.error(key, format!("{shown} is not a folder"), "name the repository's folder");
            None
        }
        Ok(_) => {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let is_foreign = |name: &std::ffi::OsStr| !RepositoryGrant::PARTS.iter().any(|part| name == *part);
            if !path.join("config").is_file() && entries.into_iter().any(|entry| is_foreign(&entry.file_name())) {
                let help =
                    "name the repository's folder, or a new or empty one, in which the first run makes a repository";
                file.error(key, format!("{shown} holds other things than a repository"), help);
            }
            path.canonicalize().ok()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path);
            match parent.canonicalize() {
                Ok(parent) => Some(parent.join(path.file_name().unwrap_or_default())),
                Err(_) => {
                    let message =
                        format!("{shown} does not exist, and neither does the folder in which it would be made");
                    let help = format!("if that is a mount, mount it; else: mkdir -p {}", parent.display());
                    file.error(key, message, help);
                    None
                }
            }
        }
        Err(error) => {
            let help = "run the check as the daemon's user, or correct the rights of the folder";
            file.error_if(
                site.surroundings.daemon,
                key,
                format!("{shown} cannot be looked at: {}", in_words(&error)),
                help,
            );
            None
        }
    }
}
