//! The journal of systemd. Its files are looked at here, but go only by its own program, which knows what is in them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::abi::journal as abi;
use crate::capability::{Host, HostError, blocking};
use crate::config::duration;
use crate::config::grant::JournalGrant;
use crate::config::size::Size;

/// Where systemd keeps its journal: on the disk, and in memory until there is a disk. See systemd-journald.service(8).
const PLACES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Bytes of a block, as `stat` counts them.
const BLOCK: u64 = 512;

/// The program by its own path: whatever `PATH` says.
pub(crate) fn journalctl() -> Option<PathBuf> {
    let places = ["/usr/bin/journalctl", "/bin/journalctl", "/run/current-system/sw/bin/journalctl"];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

fn places(grant: &JournalGrant) -> Vec<PathBuf> {
    grant.folder.as_ref().map_or_else(|| PLACES.iter().map(PathBuf::from).collect(), |folder| vec![folder.clone()])
}

/// The journal's files: those of each machine are in a folder of its own, or in the folder itself.
fn files(places: &[PathBuf]) -> std::io::Result<Vec<abi::JournalFile>> {
    let mut files = Vec::new();
    for place in places.iter().filter(|place| place.is_dir()) {
        for entry in std::fs::read_dir(place)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                for entry in std::fs::read_dir(entry.path())? {
                    files.extend(file(place, &entry?.path()));
                }
            } else {
                files.extend(file(place, &entry.path()));
            }
        }
    }
    files.sort_by(|one, other| (one.modified_ms, &one.path).cmp(&(other.modified_ms, &other.path)));
    Ok(files)
}

/// A file of the journal; none when it is another file, or gone already.
fn file(place: &Path, path: &Path) -> Option<abi::JournalFile> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".journal").or_else(|| name.strip_suffix(".journal~"))?;
    let metadata = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file)?;
    let path = path.strip_prefix(place).ok()?.to_string_lossy().into_owned();
    let modified_ms = metadata.mtime().saturating_mul(1_000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    // What is complete has `@` and its place in the journal in its name; what was found damaged ends with `~`.
    let archived = stem.contains('@') || name.ends_with('~');
    Some(abi::JournalFile { path, bytes: metadata.blocks() * BLOCK, modified_ms, archived })
}

impl Host {
    fn journal(&self) -> Result<JournalGrant, HostError> {
        match &self.run.grants.journal {
            Some(grant) => Ok(grant.clone()),
            None => self.deny("the journal of systemd (the task file has no `grant.journal`)"),
        }
    }
}

impl abi::Host for Host {
    async fn list_files(&mut self) -> Result<Vec<abi::JournalFile>, HostError> {
        let places = places(&self.journal()?);
        let unreadable = |error| HostError::unavailable(format!("the journal of systemd: {error}"));
        blocking(move || files(&places)).await?.map_err(unreadable)
    }

    async fn vacuum(&mut self, limits: abi::Limits) -> Result<abi::Vacuumed, HostError> {
        let grant = self.journal()?;
        if self.call.step().is_none() {
            return Err(HostError::invalid("`vacuum` is for a step that executes"));
        }
        let abi::Limits { max_bytes, max_age_s } = limits;
        if let Some(bytes) = max_bytes.filter(|bytes| *bytes < grant.keep.0) {
            let (asked, kept) = (Size(bytes), grant.keep);
            return self.deny(format!("to vacuum the journal to {asked}; `grant.journal.keep` keeps {kept} of it"));
        }
        if let Some(age) = max_age_s.filter(|age| *age < grant.keep_time.as_secs()) {
            let asked = duration::format(std::time::Duration::from_secs(age));
            let kept = duration::format(grant.keep_time);
            return self.deny(format!(
                "to vacuum the journal of what is older than {asked}; `grant.journal.keep_time` keeps {kept} of it"
            ));
        }
        let mut arguments = Vec::new();
        arguments.extend(grant.folder.as_ref().map(|folder| format!("--directory={}", folder.display())));
        arguments.extend(max_bytes.map(|bytes| format!("--vacuum-size={bytes}")));
        arguments.extend(max_age_s.map(|age| format!("--vacuum-time={age}s")));
        if max_bytes.is_none() && max_age_s.is_none() {
            return Err(HostError::invalid("`vacuum`: neither a size nor an age is given"));
        }
        let Some(program) = journalctl() else {
            return Err(HostError::not_found("there is no journalctl here; systemd brings it"));
        };
        let places = places(&grant);
        let before = self.list_files().await?;
        let command = tokio::process::Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let cancelled = || HostError::unavailable("the run was ended");
        let run = std::sync::Arc::clone(&self.run);
        let output = tokio::select! {
            output = command => output.map_err(|error| HostError::unavailable(format!("journalctl: {error}")))?,
            () = run.cancel.cancelled() => return Err(cancelled()),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(HostError::unavailable(format!("journalctl: {}", said.trim())));
        }
        let unreadable = |error| HostError::unavailable(format!("the journal of systemd: {error}"));
        let after = blocking(move || files(&places)).await?.map_err(unreadable)?;
        let gone = before.iter().filter(|file| !after.iter().any(|it| it.path == file.path));
        let (files, bytes) = gone.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.bytes));
        Ok(abi::Vacuumed { files, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::capability::Call;
    use crate::config::grant::Grants;
    use crate::config::limits::Limits;

    /// Names of archived files hold the identifier of the sequence, its number and the time, all hexadecimal; see
    /// <https://systemd.io/JOURNAL_FILE_FORMAT/>.
    const ARCHIVED: &str = "system@5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c";

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(crate::clock::now().0.unsigned_abs())
    }

    async fn host(folder: &Path) -> Host {
        let grant = JournalGrant { folder: Some(folder.join("journal")), ..JournalGrant::default() };
        Host::of(folder, Grants { journal: Some(grant), ..Grants::default() }, Limits::default()).await
    }

    #[tokio::test]
    async fn only_files_of_the_journal_count() {
        let folder = tempfile::tempdir().unwrap();
        let machine = folder.path().join("journal/0123456789abcdef0123456789abcdef");
        fs::create_dir_all(&machine).unwrap();
        for (name, age) in
            [("system.journal", 0), ("user-1000@1-2-3.journal", 9), ("x@1-2.journal~", 5), ("notes.txt", 3)]
        {
            fs::write(machine.join(name), vec![1; 5_000]).unwrap();
            let modified = now() - Duration::from_secs(age * 86_400);
            fs::File::options().append(true).open(machine.join(name)).unwrap().set_modified(modified).unwrap();
        }
        let mut host = host(folder.path()).await;
        let found = abi::Host::list_files(&mut host).await.unwrap();
        let found: Vec<_> =
            found.iter().map(|it| (it.path.rsplit('/').next().unwrap(), it.bytes, it.archived)).collect();
        let expected = [
            ("user-1000@1-2-3.journal", 8_192, true),
            ("x@1-2.journal~", 8_192, true),
            ("system.journal", 8_192, false),
        ];
        assert_eq!(found, expected);
    }

    #[tokio::test]
    async fn what_is_to_be_kept_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut host = host(folder.path()).await;
        let ask = |max_bytes, max_age_s| abi::Limits { max_bytes, max_age_s };
        let denied = abi::Host::vacuum(&mut host, ask(Some(1 << 20), None)).await;
        host.expect_denied(denied, "grant.journal.keep`");
        let denied = abi::Host::vacuum(&mut host, ask(None, Some(3_600))).await;
        host.expect_denied(denied, "grant.journal.keep_time");
        assert!(matches!(abi::Host::vacuum(&mut host, ask(None, None)).await, Err(HostError::Guest(_))));
        host.call = Call::Plan;
        assert!(abi::Host::vacuum(&mut host, ask(Some(1 << 40), None)).await.is_err());
        let folder = tempfile::tempdir().unwrap();
        let mut host = Host::of(folder.path(), Grants::default(), Limits::default()).await;
        let denied = abi::Host::list_files(&mut host).await;
        host.expect_denied(denied, "grant.journal");
    }

    #[tokio::test]
    async fn journalctl_removes_what_is_old() {
        let Some(remote) = Some(Path::new("/lib/systemd/systemd-journal-remote")).filter(|it| it.exists()) else {
            eprintln!(
                "SKIPPED: there is no systemd-journal-remote to make a journal with (apt-get install systemd-journal-remote)"
            );
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("journal");
        fs::create_dir_all(&journal).unwrap();
        let export = folder.path().join("export");
        for (number, days) in [(1_u32, 90_u64), (2, 1)] {
            let at = now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(days * 86_400);
            let at = at.as_micros();
            let entries: String = (0..200)
                .map(|line| {
                    let at = at + line;
                    let message = format!("MESSAGE=request {line} of {number}");
                    let id = "_BOOT_ID=0123456789abcdef0123456789abcdef";
                    format!("__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={line}\n{id}\n{message}\n\n")
                })
                .collect();
            fs::write(&export, entries).unwrap();
            let file = journal.join(format!("{ARCHIVED}-{number:016x}-{at:016x}.journal"));
            let made = std::process::Command::new(remote).arg("-o").arg(&file).arg(&export).output().unwrap();
            assert!(made.status.success() && file.exists(), "{made:?}");
        }
        let mut host = host(folder.path()).await;
        let before = abi::Host::list_files(&mut host).await.unwrap();
        assert!(before.len() == 2 && before.iter().all(|file| file.archived), "{before:?}");
        let limits = abi::Limits { max_bytes: None, max_age_s: Some(30 * 86_400) };
        let vacuumed = abi::Host::vacuum(&mut host, limits).await.unwrap();
        let after = abi::Host::list_files(&mut host).await.unwrap();
        assert_eq!((vacuumed.files, after.len()), (1, 1), "{vacuumed:?} {after:?}");
        assert!(vacuumed.bytes > 0 && after[0].path.contains("-0000000000000002-"), "{after:?}");
    }
}
