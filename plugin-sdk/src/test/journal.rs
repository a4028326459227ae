//! `journal` of the test host: a list of files, of one folder.

use super::with;
use crate::host::{HostError, HostResult};
use crate::journal::{JournalFile, Limits, Vacuumed};

pub(crate) fn list_files() -> HostResult<Vec<JournalFile>> {
    with(|world| world.journal.clone()).ok_or_else(|| {
        HostError::Denied("the test host has no journal: give it one with `Host::new().journal(...)`".to_owned())
    })
}

pub(crate) fn vacuum(limits: Limits) -> HostResult<Vacuumed> {
    let Limits { max_bytes, max_age_s } = limits;
    if max_bytes.is_none() && max_age_s.is_none() {
        return Err(HostError::Invalid("`vacuum`: neither a size nor an age is given".to_owned()));
    }
    let mut files = list_files()?;
    with(|world| {
        let mut total: u64 = files.iter().filter(|it| it.archived).map(|it| it.bytes).sum();
        let mut gone = Vacuumed { files: 0, bytes: 0 };
        files.retain(|file| {
            let age = world.now.saturating_sub(file.modified_ms) / 1_000;
            let is_old = max_age_s.is_some_and(|most| age > i64::try_from(most).unwrap_or(i64::MAX));
            let is_over = max_bytes.is_some_and(|most| total > most);
            if file.archived && (is_old || is_over) {
                total -= file.bytes;
                gone = Vacuumed { files: gone.files + 1, bytes: gone.bytes + file.bytes };
                return false;
            }
            true
        });
        world.journal = Some(files);
        Ok(gone)
    })
}
