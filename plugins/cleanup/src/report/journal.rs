//! What is told of the journal.

use upkeep_plugin::config::Size;
use upkeep_plugin::journal::Vacuumed;
use upkeep_plugin::{Result, Severity, metrics};

use super::{Columns, Telling, total};
use crate::journal::Planned;
use crate::kind::counted;

const JOURNAL: Columns<2> = ("Journal", ["PLANNED", "REMOVED"]);

/// `journal: vacuum 12 files, 480 MiB`.
pub(crate) fn title(planned: &Planned) -> String {
    let Vacuumed { files, bytes } = planned.going;
    format!("journal: vacuum {}, {}", counted(files, "file"), Size(bytes))
}

pub(super) fn tell(telling: &mut Telling, planned: &Planned, done: Vacuumed) -> Result<()> {
    telling.row(JOURNAL, [planned.going, done].map(|it| total(it.files, it.bytes)));
    telling.sums.vacuumed += done.files;
    telling.sums.freed += done.bytes;
    metrics::gauge("cleanup_journal_removed_files", &[], done.files as f64)?;
    Ok(metrics::gauge("cleanup_journal_freed_bytes", &[], done.bytes as f64)?)
}

pub(super) fn tell_failure(telling: &mut Telling, planned: &Planned, why: &str) {
    telling.row(JOURNAL, [total(planned.going.files, planned.going.bytes), "-".to_owned()]);
    let title = "the journal was not vacuumed".to_owned();
    telling.finding(Severity::Medium, "failed/journal/vacuum".to_owned(), title, why);
}
