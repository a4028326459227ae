//! The folder of one trial: noted in the state directory before it is made, removed when it is dropped, and removed at the
//! next start where a crash left it.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::drill::DrillError;

/// How the folders of trials begin.
const PREFIX: &str = "upkeep-drill-";

/// Where trials are noted, below the state directory.
const NOTES: &str = "drills";

/// A folder for one trial. Dropped, it is removed with all it holds.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    note: PathBuf,
}

impl Place {
    /// Makes a folder in `parent`.
    ///
    /// # Errors
    ///
    /// When it cannot be made or noted.
    pub fn make(state: &Path, parent: &Path) -> Result<Self, DrillError> {
        let failed = |error: std::io::Error| DrillError::Place { folder: parent.to_owned(), error: error.to_string() };
        // The real path, so that nobody can lead the removal elsewhere by exchanging a link.
        let parent = fs::canonicalize(parent).map_err(failed)?;
        let name = ulid::Ulid::generate().to_string().to_lowercase();
        let place = Self { folder: parent.join(format!("{PREFIX}{name}")), note: state.join(NOTES).join(name) };
        place
            .write_note()
            .map_err(|error| DrillError::Place { folder: state.join(NOTES), error: error.to_string() })?;
        // Others may pass through to the server's folder, whose name they do not see.
        fs::DirBuilder::new().mode(0o711).create(&place.folder).map_err(failed)?;
        fs::set_permissions(&place.folder, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        Ok(place)
    }

    fn write_note(&self) -> std::io::Result<()> {
        if let Some(notes) = self.note.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(notes)?;
        }
        let mut note = fs::File::create(&self.note)?;
        note.write_all(self.folder.as_os_str().as_bytes())?;
        note.sync_all()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if remove(&self.folder) {
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// Removes what trials of a daemon that died left behind. Only the one that has the state directory may do it.
pub fn clear(state: &Path) {
    for note in fs::read_dir(state.join(NOTES)).into_iter().flatten().flatten() {
        let Ok(folder) = fs::read(note.path()) else { continue };
        let folder = PathBuf::from(std::ffi::OsString::from_vec(folder));
        // A note that was cut off by a power failure names nothing that may be removed.
        let expected = [PREFIX.as_bytes(), note.file_name().as_bytes()].concat();
        let is_ours = folder.is_absolute() && folder.file_name().is_some_and(|name| name.as_bytes() == expected);
        if !is_ours || remove(&folder) {
            let _ = fs::remove_file(note.path());
        }
    }
}

/// Whether the folder is gone.
fn remove(folder: &Path) -> bool {
    let is_gone = || fs::symlink_metadata(folder).is_err();
    if is_gone() || fs::remove_dir_all(folder).is_ok() {
        return true;
    }
    // Folders come back with the modes that they had; who is not root cannot empty one that is read-only.
    open_up(folder);
    match fs::remove_dir_all(folder) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "a drill's folder stays until the next start");
            is_gone()
        }
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_with_its_trial_or_at_the_next_start() {
        let state = tempfile::tempdir().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let place = Place::make(state.path(), parent.path()).unwrap();
        fs::create_dir(place.folder().join("closed")).unwrap();
        fs::write(place.folder().join("closed/file"), "content").unwrap();
        fs::set_permissions(place.folder().join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
        drop(place);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        assert_eq!(fs::read_dir(state.path().join(NOTES)).unwrap().count(), 0);

        // A daemon that was killed drops nothing.
        let lost = Place::make(state.path(), parent.path()).unwrap();
        fs::write(lost.folder().join("file"), "content").unwrap();
        std::mem::forget(lost);
        fs::create_dir(parent.path().join("upkeep-drill-of-another")).unwrap();
        fs::write(state.path().join(NOTES).join("cut"), "/tm").unwrap();
        fs::write(state.path().join(NOTES).join("wicked"), parent.path().as_os_str().as_bytes()).unwrap();
        clear(state.path());
        let left: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["upkeep-drill-of-another"]);
        assert_eq!(fs::read_dir(state.path().join(NOTES)).unwrap().count(), 0);

        let missing = Place::make(state.path(), &parent.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("grant.drill.folder"), "{missing}");
    }
}
