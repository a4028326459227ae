//! Files that are gone: what is told of them, and what is not.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// 30 November 2025, 00:00 UTC.
const MIDNIGHT: i64 = 1_764_460_800_000;

/// Logs of a server, with a clock.
struct Server {
    place: Place,
    now: i64,
}

impl Server {
    fn new() -> Self {
        Self { place: Place::new(), now: MIDNIGHT }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    /// Writes a file as the server does, now.
    fn write(&self, name: &str, from: u32, to: u32) {
        fs::write(self.path(name), lines(from, to)).unwrap();
        self.touch(name, self.now);
    }

    /// Says when a file was written to.
    fn touch(&self, name: &str, at: i64) {
        let at = UNIX_EPOCH + Duration::from_millis(at.cast_unsigned());
        File::options().write(true).open(self.path(name)).unwrap().set_modified(at).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// `access.log.1` becomes `access.log.2`, and so on; as many as `keep` stay. Then the server writes on.
    fn rotate(&self, keep: u32, from: u32, to: u32) {
        let name = |number: u32| if number == 0 { "access.log".to_owned() } else { format!("access.log.{number}") };
        if self.path(&name(keep)).exists() {
            self.remove(&name(keep));
        }
        for number in (0..keep).rev() {
            if self.path(&name(number)).exists() {
                self.rename(&name(number), &name(number + 1));
            }
        }
        self.write("access.log", from, to);
    }

    fn run_with(&mut self, config: &str) -> Report {
        let ctx = Context { now: self.now, ..self.place.context() };
        self.place.host.run_in(&ctx, task::<Stats>(), config).unwrap()
    }

    /// The keys of what is told of this run, and nothing of what was told before.
    fn run(&mut self) -> Vec<String> {
        self.run_with(CONFIG).findings.into_iter().map(|it| it.key).collect()
    }

    fn told(&mut self, after: i64) -> Vec<String> {
        self.now += after;
        self.run()
    }
}

const NOTHING: [&str; 0] = [];
const LOST: [&str; 1] = ["lost/site/access.log"];

#[test]
fn a_log_that_is_rotated_away_between_two_runs_is_told_once() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    server.now += MINUTE;
    assert_eq!(server.run(), NOTHING);
    // 40 lines more, and then it is gone.
    server.now += HOUR;
    server.write("access.log", 0, 140);
    server.remove("access.log");
    server.write("access.log", 200, 210);
    let report = server.run_with(CONFIG);
    assert_eq!(report.summary, "10 lines counted; of 1 file lines may be lost");
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.key.as_str(), finding.rule.as_deref()), (LOST[0], Some("log-lost")));
    assert_eq!(finding.title, "logs/access.log is gone, and lines may be lost with it");
    let bytes = lines(0, 100).len();
    let begin =
        format!("It still grew when it was seen last, at 2025-11-30 00:01+00:00: {bytes} bytes of it were counted. ");
    assert!(finding.detail.starts_with(&begin) && finding.detail.contains("`delaycompress`"), "{}", finding.detail);
    assert_eq!(report.tables[0].columns.last().map(String::as_str), Some("LOST"));
    assert_eq!(report.tables[0].rows[0].last().map(String::as_str), Some("1"));
    assert_eq!(server.told(MINUTE), NOTHING, "once");
    // The next one that goes is told again.
    server.write("access.log", 300, 301);
    assert_eq!(server.told(MINUTE), LOST);
}

#[test]
fn a_log_that_is_emptied_is_told() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.run(), NOTHING);
    fs::write(server.path("access.log"), "").unwrap();
    assert_eq!(server.told(HOUR), LOST);
}

#[test]
fn what_was_rotated_and_counted_may_go() {
    for keep in [1, 2, 5] {
        let mut server = Server::new();
        server.write("access.log", 0, 100);
        for day in 1..9 {
            // Each day at midnight, while a run is due each day at ten past and at noon.
            server.rotate(keep, day * 100, day * 100 + 50);
            assert_eq!(server.told(10 * MINUTE), NOTHING, "{keep} {day}");
            server.now += DAY / 2;
            server.write("access.log", day * 100, day * 100 + 100);
            assert_eq!(server.told(0), NOTHING, "{keep} {day}");
            server.now += DAY / 2 - 10 * MINUTE;
        }
        assert_eq!(server.place.requests(), 850 + 50);
    }
}

#[test]
fn more_rotations_than_files_that_are_kept_are_told() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    for day in 1..8 {
        server.now += DAY;
        server.rotate(3, day * 100, day * 100 + 50);
        // Once a week, hours after the last rotation.
        if day == 1 {
            assert_eq!(server.told(4 * HOUR), NOTHING);
        }
    }
    // Of the file that was written to when it was seen, more may be missing. The one before was rotated already.
    assert_eq!(server.told(4 * HOUR), LOST);
}

#[test]
fn a_rotated_log_that_may_still_be_written_to_is_not_at_rest() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    server.now += MINUTE;
    server.rotate(1, 200, 210);
    assert_eq!(server.told(MINUTE), NOTHING);
    server.remove("access.log.1");
    assert_eq!(server.told(MINUTE), ["lost/site/access.log.1"]);
}

#[test]
fn dates_in_names_and_folders_of_their_own_are_rotations_too() {
    let config = CONFIG.replace("\"logs\"", r#""logs", "files": ["access*", "old/access*"]"#);
    for rotated in ["access.log-20251130", "access-20251130.log", "access.log.2025-11-30", "old/access.log.1"] {
        let mut server = Server::new();
        fs::create_dir(server.path("old")).unwrap();
        server.write("access.log", 0, 100);
        assert!(server.run_with(&config).findings.is_empty());
        server.rename("access.log", rotated);
        server.now += 10 * MINUTE;
        server.write("access.log", 200, 210);
        assert!(server.run_with(&config).findings.is_empty());
        server.remove(rotated);
        server.now += MINUTE;
        assert_eq!(server.run_with(&config).findings, [], "{rotated}");
    }
}

#[test]
fn a_log_that_nobody_writes_to_any_more_may_go() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.told(2 * HOUR), NOTHING);
    assert_eq!(server.told(MINUTE), NOTHING);
    server.remove("access.log");
    assert_eq!(server.told(MINUTE), NOTHING);

    // When it was written to between two runs, it was seen only once as it is.
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.told(2 * HOUR), NOTHING);
    server.write("access.log", 0, 110);
    assert_eq!(server.told(2 * HOUR), NOTHING);
    server.remove("access.log");
    assert_eq!(server.told(MINUTE), LOST);

    // At rest, and woken up again.
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.told(2 * HOUR), NOTHING);
    assert_eq!(server.told(HOUR), NOTHING);
    server.write("access.log", 0, 110);
    assert_eq!(server.told(MINUTE), NOTHING);
    server.remove("access.log");
    assert_eq!(server.told(MINUTE), LOST);
}

#[test]
fn other_logs_say_nothing_of_one_that_is_quiet() {
    let mut server = Server::new();
    let config = CONFIG.replace("\"logs\"", r#""logs", "files": ["*.log*"]"#);
    server.write("shop-1.log", 0, 100);
    server.now += HOUR / 2;
    server.write("shop-2.log", 200, 300);
    assert!(server.run_with(&config).findings.is_empty());
    server.remove("shop-1.log");
    server.now += MINUTE;
    let keys: Vec<String> = server.run_with(&config).findings.into_iter().map(|it| it.key).collect();
    assert_eq!(keys, ["lost/site/shop-1.log"]);
}

#[test]
fn a_log_whose_last_line_has_no_end_may_go() {
    let mut server = Server::new();
    let all = lines(0, 100);
    fs::write(server.path("access.log"), &all[..all.len() - 10]).unwrap();
    server.touch("access.log", server.now);
    assert_eq!(server.told(2 * HOUR), NOTHING);
    assert_eq!(server.told(HOUR), NOTHING);
    server.remove("access.log");
    assert_eq!(server.told(HOUR), NOTHING);
}

#[test]
fn compressed_logs_may_go() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.run(), NOTHING);
    gzip(&server.path("access.log"));
    server.write("access.log", 200, 210);
    assert_eq!(server.told(MINUTE), NOTHING);
    server.rename("access.log.gz", "access.log.2.gz");
    assert_eq!(server.told(MINUTE), NOTHING);
    assert_eq!(server.place.number("SELECT count(*) FROM log_file WHERE path = 'access.log.2.gz' AND complete = 1"), 1);
    server.remove("access.log.2.gz");
    assert_eq!(server.told(MINUTE), NOTHING);
}

#[test]
fn what_is_not_asked_for_any_more_is_not_lost() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.run(), NOTHING);
    let other = CONFIG.replace("\"logs\"", r#""logs", "files": ["other.log*"]"#);
    server.now += MINUTE;
    assert!(server.run_with(&other).findings.is_empty());
    assert_eq!(server.told(MINUTE), NOTHING);
    server.write("access.log", 0, 150);
    assert_eq!(server.told(MINUTE), NOTHING);
    assert_eq!(server.place.requests(), 150);
}

#[test]
fn a_file_that_comes_back_goes_on_where_it_was() {
    let mut server = Server::new();
    let elsewhere = tempfile::tempdir().unwrap();
    server.write("access.log", 0, 100);
    assert_eq!(server.run(), NOTHING);
    // As a disk that is not there for a while.
    fs::copy(server.path("access.log"), elsewhere.path().join("log")).unwrap();
    server.remove("access.log");
    assert_eq!(server.told(HOUR), LOST);
    fs::copy(elsewhere.path().join("log"), server.path("access.log")).unwrap();
    assert_eq!(server.told(HOUR), NOTHING);
    server.write("access.log", 0, 120);
    assert_eq!(server.told(HOUR), NOTHING);
    assert_eq!(server.place.requests(), 120);
    server.remove("access.log");
    assert_eq!(server.told(HOUR), LOST);
}

#[test]
fn what_is_lost_is_told_again_when_the_end_of_the_run_is_done_again() {
    let mut server = Server::new();
    server.write("access.log", 0, 100);
    assert_eq!(server.run(), NOTHING);
    server.remove("access.log");
    let stats: Stats = serde_json::from_str(CONFIG).unwrap();
    let ctx = Context { now: server.now + HOUR, ..server.place.context() };
    let keys = |report: Report| report.findings.into_iter().map(|it| it.key).collect::<Vec<_>>();
    assert_eq!(keys(stats.finish(&ctx, Vec::new()).unwrap()), LOST);
    assert_eq!(keys(stats.finish(&ctx, Vec::new()).unwrap()), LOST);
    assert_eq!(server.told(2 * HOUR), NOTHING);
}

#[test]
fn files_that_are_gone_for_long_are_forgotten_and_no_others() {
    let mut server = Server::new();
    let config = CONFIG.replacen('{', r#"{ "keep": { "days": "10d" },"#, 1);
    let known = |server: &Server| server.place.number("SELECT count(*) FROM log_file");
    server.write("access.log", 0, 100);
    server.write("access.log.1", 200, 300);
    server.write("access.log.2", 400, 500);
    gzip(&server.path("access.log.2"));
    server.run_with(&config);
    server.remove("access.log.1");
    server.now += HOUR;
    server.run_with(&config);
    assert_eq!(known(&server), 3);
    for _ in 0..11 {
        server.now += DAY;
        server.run_with(&config);
    }
    assert_eq!(known(&server), 2);
    assert_eq!(server.place.number("SELECT count(*) FROM log_file WHERE path = 'access.log.1'"), 0);
}
