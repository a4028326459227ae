//! Lines of a log are counted exactly once: while a writer writes, the real logrotate rotates every few seconds, and the daemon
//! is killed with -9 at random moments.
//!
//! Each line has a number, which is in it three times: as its size, as its time, and, with others, as its page. What was counted
//! of each page is compared with what was written, and with what is on the disk at the end.
//!
//! `UPKEEP_TORTURE` says for how many seconds (20 when it is not set), `UPKEEP_LINES` how many lines a second (20,000).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use upkeep_rollup::{Page, Ranking};
use upkeep_tests::{Site, within};

/// Lines of one page.
const OF_ONE_PAGE: u64 = 500;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What is known of the lines of a page: how many there are, and their numbers, all together, as sizes and as times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    lines: u64,
    sizes: u64,
    micros: u64,
}

impl Sums {
    fn add(&mut self, number: u64) {
        self.lines += 1;
        self.sizes += number;
        self.micros += 1_000 * scattered(number);
    }
}

/// Another number below 10,000 for each, so that one line cannot stand for another.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 & 0x1fff
}

fn page(number: u64) -> String {
    format!("/page/{}", number / OF_ONE_PAGE)
}

/// How logrotate makes room for new lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It renames the file, and the writer opens another one when it is told to.
    Create,
    /// It copies the file and cuts it off.
    CopyTruncate,
}

/// A place with a log that is written to and rotated.
struct Place {
    site: Site,
    mode: Mode,
}

impl Place {
    fn new(mode: Mode) -> Self {
        let site = Site::new(&[]);
        site.shipped("stats-rollup");
        let logs = site.path("logs");
        fs::create_dir(&logs).unwrap();
        site.task(
            "stats",
            &format!(
                "plugin = \"stats-rollup\"\nschedule = {{ every = \"1s\", overlap = \"skip\" }}\nparallel = 2\n\
                 [config]\nnames = 1000000\n[[config.sources]]\nname = \"site\"\nroot = \"logs\"\nformat = \"combined-time\"\n\
                 [grant]\nmetrics = true\n[grant.files.logs]\npath = \"{}\"\n[grant.sql.private]\naccess = [\"write\"]\n",
                logs.display()
            ),
        );
        let place = Self { site, mode };
        fs::write(place.site.path("logrotate.conf"), place.settings()).unwrap();
        place
    }

    fn log(&self) -> PathBuf {
        self.site.path("logs/access.log")
    }

    fn settings(&self) -> String {
        let way = match self.mode {
            // Whoever compresses at once loses what the writer still writes to the old file.
            Mode::Create => {
                format!("create 0644\ndelaycompress\npostrotate\ntouch {}\nendscript\n", self.told().display())
            }
            Mode::CopyTruncate => "copytruncate\n".to_owned(),
        };
        format!("{} {{\nsu root root\nrotate 100000\nsize 1\nmissingok\ncompress\n{way}}}\n", self.log().display())
    }

    /// What tells the writer to open the log anew.
    fn told(&self) -> PathBuf {
        self.site.path("reopen")
    }

    fn rotate(&self) {
        let mut logrotate = Command::new("/usr/sbin/logrotate");
        logrotate.arg("--force").arg("--state").arg(self.site.path("logrotate.state"));
        let done = logrotate.arg(self.site.path("logrotate.conf")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        // The old file is compressed the next time, and what the writer still wrote to it then would be lost.
        within(Duration::from_secs(60), "the writer to open the log anew", || (!self.told().exists()).then_some(()));
    }

    /// Writes lines until it is told to stop; gives how many.
    fn write(&self, a_second: u64, stop: &AtomicBool) -> u64 {
        let open = || OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        let (mut log, mut written, began) = (open(), 0, Instant::now());
        let mut lines = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if self.told().exists() {
                log = open();
                fs::remove_file(self.told()).unwrap();
            }
            let due = began.elapsed().as_micros() as u64 * a_second / 1_000_000;
            let now = jiff::Timestamp::from_second(upkeep_tests::now()).unwrap().strftime("%d/%b/%Y:%H:%M:%S +0000");
            let now = now.to_string();
            lines.clear();
            while written < due && lines.len() < 16_000 {
                line(written, &now, &mut lines);
                written += 1;
            }
            // A line is often written in two parts, as by a server whose buffer is full.
            let (most, rest) = lines.split_at(lines.len() - lines.len().min(40));
            log.write_all(most).and_then(|()| log.write_all(rest)).unwrap();
            if written == due {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        written
    }

    /// What was counted, by page.
    fn counted(&self) -> BTreeMap<String, Sums> {
        let database = Connection::open(self.site.state().join("private/stats.sqlite")).unwrap();
        let mut rows = database.prepare("SELECT value FROM section WHERE key LIKE 'chart/%/pages'").unwrap();
        let rows = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        let mut counted: BTreeMap<String, Sums> = BTreeMap::new();
        for row in rows {
            let ranking = Ranking::<Page>::decode(&row.unwrap()).unwrap();
            assert_eq!(ranking.other(), &Page::default());
            for (name, page) in ranking.top() {
                let sums = counted.entry(name.to_owned()).or_default();
                sums.lines += page.hits;
                sums.sizes += page.bytes;
                sums.micros += page.times.sum();
            }
        }
        counted
    }

    /// What is on the disk, by page.
    fn on_disk(&self) -> BTreeMap<String, Sums> {
        let mut found: BTreeMap<String, Sums> = BTreeMap::new();
        for entry in fs::read_dir(self.site.path("logs")).unwrap() {
            for number in numbers(&entry.unwrap().path()) {
                found.entry(page(number)).or_default().add(number);
            }
        }
        found
    }
}

/// Adds a line with a number.
fn line(number: u64, at: &str, lines: &mut Vec<u8>) {
    let micros = scattered(number);
    writeln!(
        lines,
        "192.0.2.{} - - [{at}] \"GET {} HTTP/1.1\" 200 {number} \"-\" \"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 \
         Firefox/140.0\" {}.{:03}",
        number % 250,
        page(number),
        micros / 1_000,
        micros % 1_000,
    )
    .unwrap();
}

/// The numbers of the whole lines of a file.
fn numbers(path: &Path) -> Vec<u64> {
    let mut text = Vec::new();
    if path.extension().is_some_and(|it| it == "gz") {
        let output = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
        assert!(output.status.success(), "{}", path.display());
        text = output.stdout;
    } else {
        File::open(path).unwrap().read_to_end(&mut text).unwrap();
    }
    let text = String::from_utf8(text).unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    // Where the log was cut off, half a line may stand.
    whole.filter_map(|line| line.split("\" 200 ").nth(1)?.split(' ').next()?.parse().ok()).collect()
}

/// Lets the writer write, logrotate rotate and the daemon die; gives how many lines were written, how often it was rotated and
/// how often killed.
fn torture(place: &Place) -> (u64, u64, u64) {
    let (seconds, a_second) = (number("UPKEEP_TORTURE", 20), number("UPKEEP_LINES", 20_000));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (stop, rotate) = (AtomicBool::new(false), AtomicBool::new(true));
    let result = std::thread::scope(|scope| {
        let writer = scope.spawn(|| place.write(a_second, &stop));
        let rotator = scope.spawn(|| {
            let mut rotations = 0;
            while rotate.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(2_500));
                place.rotate();
                rotations += 1;
            }
            rotations
        });
        let (mut kills, mut moment) = (0, u64::from(std::process::id()) | 1);
        while Instant::now() < end {
            let daemon = place.site.start();
            moment ^= moment << 13;
            moment ^= moment >> 7;
            moment ^= moment << 17;
            std::thread::sleep(Duration::from_millis(200 + moment % 4_000));
            daemon.kill();
            kills += 1;
        }
        rotate.store(false, Ordering::Relaxed);
        let rotations = rotator.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), rotations, kills)
    });
    // All that is left is counted by a run that nobody disturbs.
    let daemon = place.site.start();
    let from = 1_000 * (upkeep_tests::now() + 1);
    let runs = format!("SELECT count(*) FROM runs WHERE outcome LIKE '%succeeded%' AND started > {from}");
    within(Duration::from_secs(120), "two runs", || (place.site.journal().number(&runs) >= 2).then_some(()));
    assert!(daemon.stop().success());
    // However often files are renamed while a run looks, all of them are there.
    let lost = place.site.journal().column("SELECT key FROM findings WHERE key LIKE 'lost/%'");
    assert!(lost.is_empty(), "{lost:?}");
    result
}

/// Each page has been counted with what is on the disk, and with nothing that was not written.
fn compare(place: &Place, written: u64) -> (u64, u64) {
    let (counted, on_disk) = (place.counted(), place.on_disk());
    let mut of_writer: BTreeMap<String, Sums> = BTreeMap::new();
    (0..written).for_each(|number| of_writer.entry(page(number)).or_default().add(number));
    let mut lines = (0, 0);
    for (page, all) in &of_writer {
        let (counted, on_disk) =
            (counted.get(page).copied().unwrap_or_default(), on_disk.get(page).copied().unwrap_or_default());
        lines = (lines.0 + counted.lines, lines.1 + on_disk.lines);
        if on_disk == *all {
            assert_eq!(counted, *all, "{page}");
        } else {
            // Lost by logrotate between its copy and its cut; some of it may have been counted before.
            assert!(place.mode == Mode::CopyTruncate, "{page}: {on_disk:?} of {all:?} are on the disk");
            let between = |low: u64, it: u64, high: u64| low <= it && it <= high;
            assert!(between(on_disk.lines, counted.lines, all.lines), "{page}: {on_disk:?} {counted:?} {all:?}");
            assert!(between(on_disk.sizes, counted.sizes, all.sizes), "{page}: {on_disk:?} {counted:?} {all:?}");
            assert!(between(on_disk.micros, counted.micros, all.micros), "{page}: {on_disk:?} {counted:?} {all:?}");
        }
    }
    assert!(counted.keys().all(|page| of_writer.contains_key(page)));
    lines
}

#[test]
fn no_line_is_lost_or_doubled_when_logs_are_renamed() {
    let place = Place::new(Mode::Create);
    let (written, rotations, kills) = torture(&place);
    let (counted, _) = compare(&place, written);
    println!("create: {written} lines written, {counted} counted; {rotations} rotations, {kills} kills");
    assert_eq!(counted, written);
}

#[test]
fn no_line_that_is_on_the_disk_is_lost_and_none_doubled_when_logs_are_copied_and_cut_off() {
    let place = Place::new(Mode::CopyTruncate);
    let (written, rotations, kills) = torture(&place);
    let (counted, on_disk) = compare(&place, written);
    println!(
        "copytruncate: {written} lines written, {on_disk} on the disk, {counted} counted; {rotations} rotations, {kills} kills"
    );
}
