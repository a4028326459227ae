use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// 2026-01-31 12:00:00 UTC
const CUTOFF: i64 = 1_769_860_800;

const ROWS: i64 = 50_000;

/// A table with an index on its time, of which all but the last ten rows are old.
fn table(path: &Path) -> Sqlite {
    let database = Connection::open(path).unwrap();
    let statements = format!(
        "PRAGMA journal_mode = WAL; CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, note TEXT); CREATE INDEX by_time ON events (at);
         WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s LIMIT {ROWS})
         INSERT INTO events SELECT n, {CUTOFF} - {ROWS} + 9 + n, hex(randomblob(40)) FROM s"
    );
    database.execute_batch(&statements).unwrap();
    let selection = Selection {
        table: "events".into(),
        column: "at".into(),
        clock: Some(Clock::UnixSeconds),
        timezone: chrono_tz::UTC,
        before: CUTOFF * 1_000,
        equal: vec![],
    };
    let granted = ["events".to_owned()];
    Sqlite::open(path, &selection, &Effects { name: "app", granted: &granted, alone: false }).unwrap()
}

/// Counts the steps of SQLite's machine, in thousands.
fn steps(table: &Sqlite) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let handler = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    table.database.progress_handler(1_000, Some(handler)).unwrap();
    steps
}

#[test]
fn each_piece_costs_what_the_first_did_with_an_index_too() {
    let folder = tempfile::tempdir().unwrap();
    for way in [Way::WholeTable, Way::TimeIndex] {
        let path = folder.path().join(format!("{way:?}.db"));
        let mut table = table(&path);
        let steps = steps(&table);
        let (mut removed, mut pieces) = (0, 0);
        loop {
            let chunk = table.remove(way, 1_000).unwrap();
            removed += chunk.removed;
            pieces += 1;
            if !chunk.more {
                break;
            }
        }
        assert_eq!((removed, table.last_key().unwrap()), (49_990, Some(vec![Sql::Integer(ROWS)])));
        // A few dozen for each row; along the index on the time it would be three times as many.
        let each = steps.load(Ordering::Relaxed) * 1_000 / removed;
        assert!(each < 150, "{way:?}: {each} steps a row in {pieces} pieces");
    }
}

#[test]
fn rows_to_be_saved_are_read_along_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = table(&folder.path().join("app.db"));
    let steps = steps(&table);
    let mut saved: Vec<SavedRow> = Vec::new();
    while table
        .read(&mut |key, row| {
            saved.push((key, row.len() as u64));
            !saved.len().is_multiple_of(1_000)
        })
        .unwrap()
    {}
    assert_eq!(saved.len(), 49_990);
    assert!(saved.iter().enumerate().all(|(place, row)| row.0 == Key(vec![KeyPart::Integer(place as i64 + 1)])));
    let removed: u64 =
        saved.chunks(1_000).map(|rows| table.remove_saved(rows, &|row| row.len() as u64).unwrap().removed).sum();
    assert_eq!(removed, 49_990);
    let each = steps.load(Ordering::Relaxed) * 1_000 / removed;
    assert!(each < 150, "{each} steps a row");
}
