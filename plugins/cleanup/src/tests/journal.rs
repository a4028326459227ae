//! The journal of systemd, in the test host.

use upkeep_plugin::journal::{JournalFile, list_files};
use upkeep_plugin::{HostError, Outcome};

use super::*;

const DAY: i64 = 86_400_000;

/// An archived file of this age in days, begun so many days ago; both are whole.
fn archived(folder: &str, number: u64, begun: i64, written: i64, mib: u64) -> JournalFile {
    let time = (NOW as i64 * 1_000 - begun * DAY) * 1_000;
    let path = format!("{folder}/system@5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c-{number:016x}-{time:016x}.journal");
    JournalFile { path, bytes: mib << 20, modified_ms: NOW as i64 * 1_000 - written * DAY, archived: true }
}

fn active(folder: &str, mib: u64) -> JournalFile {
    let (path, modified_ms) = (format!("{folder}/system.journal"), NOW as i64 * 1_000);
    JournalFile { path, bytes: mib << 20, modified_ms, archived: false }
}

fn site(files: impl IntoIterator<Item = JournalFile>) -> Site {
    let site = Site::new();
    Site { host: Host::new().root("data", site.folder.path()).journal(files), folder: site.folder }
}

/// The title of the only step.
fn title(site: &Site, journal: &Value) -> Option<String> {
    let steps = site.plan_all(&json!({ "journal": journal })).unwrap();
    assert!(steps.len() < 2);
    steps.first().map(|it| it.title.clone())
}

#[test]
fn the_oldest_files_go_by_age_and_by_size() {
    let site = site([
        archived("m", 1, 90, 60, 40),
        archived("m", 2, 60, 35, 40),
        archived("m", 3, 35, 20, 40),
        archived("m", 4, 20, 1, 40),
        active("m", 800),
    ]);
    for (limits, expected) in [
        // journalctl goes by when a file was begun: the third was written to until 20 days ago.
        (json!({ "older_than": "30d" }), Some("journal: vacuum 3 files, 120 MiB")),
        (json!({ "older_than": "61d" }), Some("journal: vacuum 1 file, 40.0 MiB")),
        (json!({ "older_than": "91d" }), None),
        // The file that is written to neither goes nor counts.
        (json!({ "max_total": "160 MiB" }), None),
        (json!({ "max_total": "159 MiB" }), Some("journal: vacuum 1 file, 40.0 MiB")),
        (json!({ "max_total": "1 B" }), Some("journal: vacuum 4 files, 160 MiB")),
        (json!({ "older_than": "61d", "max_total": "100 MiB" }), Some("journal: vacuum 2 files, 80.0 MiB")),
        (json!({ "older_than": "30d", "max_total": "100 MiB" }), Some("journal: vacuum 3 files, 120 MiB")),
    ] {
        assert_eq!(title(&site, &limits).as_deref(), expected, "{limits}");
    }
    // Nothing of that has changed anything.
    assert_eq!(list_files().unwrap().len(), 5);
}

#[test]
fn each_folder_counts_for_itself_and_foreign_names_not_at_all() {
    let foreign = JournalFile { path: "m/odd@name.journal".to_owned(), ..archived("m", 9, 90, 90, 500) };
    let crashed = archived("n", 0, 50, 10, 30);
    let time = (NOW as i64 * 1_000 - 50 * DAY) * 1_000;
    let crashed = JournalFile { path: format!("n/user-1000@{time:016x}-00000000000000aa.journal~"), ..crashed };
    let site = site([archived("m", 1, 9, 8, 60), archived("n", 1, 9, 8, 60), crashed, foreign]);
    assert_eq!(title(&site, &json!({ "max_total": "80 MiB" })).unwrap(), "journal: vacuum 1 file, 30.0 MiB");
    assert_eq!(title(&site, &json!({ "older_than": "40d" })).unwrap(), "journal: vacuum 1 file, 30.0 MiB");
    assert_eq!(title(&site, &json!({ "max_total": "60 MiB" })).unwrap(), "journal: vacuum 1 file, 30.0 MiB");
    assert_eq!(title(&site, &json!({ "max_total": "10 MiB" })).unwrap(), "journal: vacuum 3 files, 150 MiB");
}

#[test]
fn a_run_vacuums_and_tells() {
    let site = site([archived("m", 1, 90, 60, 40), archived("m", 2, 20, 10, 40), active("m", 8)]);
    let config = json!({ "journal": { "older_than": "30d" } });
    let report = site.run_all(&config);
    assert_eq!(report.summary, "1 journal file vacuumed; 40.0 MiB freed");
    assert_eq!((report.tables.len(), report.tables[0].title.as_str()), (1, "Journal"));
    assert_eq!(report.tables[0].rows, [["1, 40.0 MiB", "1, 40.0 MiB"]]);
    assert!(report.findings.is_empty() && report.text.is_empty());
    assert_eq!(list_files().unwrap().len(), 2);
    let metrics: Vec<_> = site.host.metrics().into_iter().map(|it| (it.name, it.value as u64)).collect();
    let freed = ("cleanup_journal_freed_bytes".to_owned(), 40 << 20);
    assert_eq!(metrics, [("cleanup_journal_removed_files".to_owned(), 1), freed]);
    // Nothing is left to do.
    assert!(site.plan_all(&config).unwrap().is_empty());
    assert_eq!(site.run_all(&config).summary, "nothing removed");
}

#[test]
fn a_vacuum_that_fails_is_a_finding() {
    let site = site([archived("m", 1, 90, 60, 40)]);
    let config: Cleanup = serde_json::from_value(json!({ "journal": { "older_than": "30d" } })).unwrap();
    let step = config.plan(&site.context()).unwrap().remove(0);
    let outcome = Outcome { step, output: Err("denied: `grant.journal.keep_time` keeps 60d of it".to_owned()) };
    let report = config.finish(&site.context(), vec![outcome]).unwrap();
    assert_eq!((report.summary.as_str(), &report.tables[0].rows[0][1]), ("nothing removed", &"-".to_owned()));
    let finding = &report.findings[0];
    assert_eq!((finding.key.as_str(), finding.severity), ("failed/journal/vacuum", Severity::Medium));
    assert!(finding.detail.contains("keeps 60d of it"));
}

#[test]
fn what_makes_no_sense_or_is_not_granted_is_refused() {
    let site = Site::new();
    for (journal, expected) in [
        (json!({}), "`journal` needs `older_than` or `max_total`"),
        (json!({ "older_than": "0s" }), "`journal.older_than`"),
        (json!({ "max_total": "0 B" }), "`journal.max_total`"),
        (json!({ "older_than": "1d" }), "the test host has no journal"),
    ] {
        let told = site.plan_all(&json!({ "journal": journal })).unwrap_err().to_string();
        assert!(told.contains(expected), "{journal}: {told}");
    }
    assert!(matches!(list_files(), Err(HostError::Denied(_))));
}
