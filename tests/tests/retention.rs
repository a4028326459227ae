//! Retention against Debian's restic: the policy of the plugin decides as `restic forget --dry-run` does, on random
//! histories in one repository.
//!
//! Making snapshots by backups would take hours, so their files are written directly. `UPKEEP_HISTORIES` says how many
//! histories (200 when it is not set), `UPKEEP_SEED` repeats them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustic_core::jiff::tz::{Offset, TimeZone};
use rustic_core::jiff::{Timestamp, civil};
use rustic_core::repofile::SnapshotFile;
use rustic_core::{
    ConfigOptions, Credentials, KeyOptions, OpenStatus, Repository, RepositoryBackends, RepositoryOptions,
    SnapshotOptions,
};
use serde_json::Value;
use upkeep::config::grant::RepositoryGrant;
use upkeep::config::secret::Secret;
use upkeep::storage::Storage;

#[path = "../../plugins/retention/src/policy.rs"]
mod policy;

use policy::{Count, GroupBy, Keep, Snapshot, Span};

const PASSWORD: &str = "correct horse battery staple";

/// A sequence of numbers that looks random: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    fn signed(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(to - from).unwrap())).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// Offsets in seconds: of Shanghai, New York, Chatham, Marquesas, Kiribati, and none.
const OFFSETS: [i32; 6] = [8 * 3_600, -5 * 3_600, 12 * 3_600 + 2_700, -(9 * 3_600 + 1_800), 14 * 3_600, 0];

/// One history: often a regular one, with some snapshots close to where a day, week, month or year begins.
fn history(random: &mut Random, host: &str) -> Vec<SnapshotFile> {
    let now = Timestamp::now().as_second();
    let own = random.one(&OFFSETS);
    let count = 5 + random.below(45);
    let pause = random.one(&[3_600, 6 * 3_600, 86_400, 86_400, 3 * 86_400, 9 * 86_400, 30 * 86_400]);
    let mut times = BTreeSet::new();
    for place in 0..count {
        let regular = now - 3_600 - i64::try_from(place).unwrap() * pause + random.signed(-900, 900);
        let time = match random.below(10) {
            // Close to a midnight on that clock, of any day or of the first of a year, month or ISO week.
            0..=2 => {
                let year = 2_018 + i16::try_from(random.below(8)).unwrap();
                let (month, day) = random.one(&[(1, 1), (12, 28), (12, 31), (1, 4), (3, 1), (2, 28), (6, 15)]);
                let midnight = civil::date(year, month, day).at(0, 0, 0, 0);
                let midnight = Offset::from_seconds(own).unwrap().to_timestamp(midnight).unwrap().as_second();
                midnight + random.signed(0, 14) * 86_400 + random.signed(-3, 3)
            }
            3 => now - random.signed(1, 8 * 365 * 86_400),
            // A clock that was wrong.
            4 if random.below(8) == 0 => now + random.signed(7_200, 900_000),
            _ => regular,
        };
        times.insert(time);
    }
    let (travels, tagged) = (random.below(3) == 0, random.below(2) == 0);
    let two_paths = random.below(3) == 0;
    let snapshot = |time: i64| {
        let offset = if travels { random.one(&OFFSETS) } else { own };
        let zone = TimeZone::fixed(Offset::from_seconds(offset).unwrap());
        let time = Timestamp::from_second(time).unwrap().to_zoned(zone);
        let options = SnapshotOptions::default().host(host.to_owned()).time(time).command(String::new());
        let mut snapshot = options.to_snapshot().unwrap();
        let path = if two_paths { random.one(&["/srv/app", "/srv/web"]) } else { "/srv/app" };
        snapshot.paths.add(path.to_owned());
        for tag in ["upkeep:app", "weekly", "release"] {
            if tagged && random.below(4) == 0 {
                snapshot.tags.add(tag.to_owned());
            }
        }
        snapshot.summary = None;
        snapshot
    };
    times.into_iter().map(snapshot).collect()
}

/// Rules, and the options of restic that say the same.
fn rules(random: &mut Random) -> (Keep, Vec<String>) {
    let mut options = Vec::new();
    let mut count = |random: &mut Random, name: &str, most: u64| {
        if random.below(5) < 3 {
            return Count::None;
        }
        // Debian's restic knows no word for all; more than there are is the same.
        let (count, number) = match random.below(8) {
            0 => (Count::Unlimited, 1_000_000),
            _ => random.below(most).try_into().map(|count: u32| (Count::Of(count), count)).unwrap(),
        };
        options.push(format!("--keep-{name}={number}"));
        count
    };
    let mut keep = Keep {
        last: count(random, "last", 12),
        hourly: count(random, "hourly", 30),
        daily: count(random, "daily", 14),
        weekly: count(random, "weekly", 10),
        monthly: count(random, "monthly", 14),
        yearly: count(random, "yearly", 6),
        ..Keep::default()
    };
    let mut within = |random: &mut Random, name: &str| {
        if random.below(4) > 0 {
            return None;
        }
        let mut number = |most| u32::try_from(random.below(most)).unwrap();
        let span = Span { years: number(3), months: number(14), days: number(40), hours: number(30) };
        let span = if span == Span::default() { Span { days: 30, ..span } } else { span };
        options.push(format!("--keep-{name}={span}"));
        Some(span)
    };
    keep.within = within(random, "within");
    keep.within_hourly = within(random, "within-hourly");
    keep.within_daily = within(random, "within-daily");
    keep.within_weekly = within(random, "within-weekly");
    keep.within_monthly = within(random, "within-monthly");
    keep.within_yearly = within(random, "within-yearly");
    for tags in [&["weekly"][..], &["release", "upkeep:app"]] {
        if random.below(4) == 0 {
            options.push(format!("--keep-tag={}", tags.join(",")));
            keep.tags.push(tags.iter().map(|tag| (*tag).to_owned()).collect());
        }
    }
    if !keep.has_time_rule() {
        options.push("--keep-last=1".to_owned());
        // restic takes the last of two.
        keep.last = Count::Of(1);
    }
    (keep, options)
}

fn make(folder: &Path, password: &Path) -> Repository<OpenStatus> {
    let grant = RepositoryGrant::new(folder.to_str().unwrap(), Secret::File(password.to_owned()));
    let backends = RepositoryBackends::new(Arc::new(Storage::connect(&grant).unwrap()), None);
    let repository = Repository::new(&RepositoryOptions::default().no_cache(true), &backends).unwrap();
    let config = ConfigOptions::default().set_version(2_u32);
    repository.init(&Credentials::password(PASSWORD), &KeyOptions::default(), &config).unwrap()
}

fn seen(snapshot: &SnapshotFile) -> Snapshot {
    Snapshot {
        id: snapshot.id.to_hex().as_str().to_owned(),
        time: snapshot.time.timestamp().as_millisecond(),
        utc_offset: snapshot.time.offset().seconds(),
        host: snapshot.hostname.clone(),
        paths: snapshot.paths.iter().cloned().collect(),
        tags: snapshot.tags.iter().cloned().collect(),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Identifiers of what each group keeps and removes.
type Decisions = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

fn by_restic(folder: &Path, password: &Path, options: &[String]) -> Decisions {
    let output = Command::new("restic")
        .args([
            "--no-cache",
            "--no-lock",
            "-r",
            folder.to_str().unwrap(),
            "--password-file",
            password.to_str().unwrap(),
        ])
        .args(["forget", "--dry-run", "--json", "--group-by=host,paths"])
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    let groups: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let ids = |list: &Value| {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let key = |group: &Value| format!("{} {}", group["host"].as_str().unwrap(), group["paths"]);
    groups.iter().map(|group| (key(group), (ids(&group["keep"]), ids(&group["remove"])))).collect()
}

fn by_upkeep(snapshots: &[Snapshot], keep: &Keep) -> Decisions {
    let now = Timestamp::now().as_millisecond();
    let groups = policy::group(snapshots.to_vec(), GroupBy { host: true, paths: true, tags: false });
    let decide = |(group, snapshots): (policy::Group, Vec<Snapshot>)| {
        let fates = policy::decide(snapshots, keep, now);
        let (kept, removed): (Vec<_>, Vec<_>) = fates.into_iter().partition(|it| !it.kept_by.is_empty());
        let ids = |fates: Vec<policy::Fate>| fates.into_iter().map(|it| it.snapshot.id).collect();
        let key = format!("{} {}", group.host.unwrap(), serde_json::json!(group.paths.unwrap()));
        (key, (ids(kept), ids(removed)))
    };
    groups.into_iter().map(decide).collect()
}

#[test]
fn decides_as_restic_does() {
    if Command::new("restic").arg("version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "\nSKIPPED decides_as_restic_does: no `restic` (apt-get install restic)\n");
        assert!(std::env::var_os("CI").is_none(), "restic is missing, and CI must not skip");
        return;
    }
    let seed =
        number("UPKEEP_SEED").unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    println!("UPKEEP_SEED={seed}");
    let (mut random, histories) = (Random(seed), number("UPKEEP_HISTORIES").unwrap_or(200));
    let place = tempfile::tempdir().unwrap();
    let (folder, password) = (place.path().join("repository"), place.path().join("password"));
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let repository = make(&folder, &password);
    for number in 0..histories {
        repository.save_snapshots(history(&mut random, &format!("host-{number:03}"))).unwrap();
    }
    // As the host reads them: what is stored is what counts.
    let snapshots: Vec<_> = repository.get_all_snapshots().unwrap().iter().map(seen).collect();

    let (mut decided, mut kept, mut removed) = (0, 0, 0);
    for _ in 0..number("UPKEEP_POLICIES").unwrap_or(12) {
        let (keep, options) = rules(&mut random);
        let (theirs, ours) = (by_restic(&folder, &password, &options), by_upkeep(&snapshots, &keep));
        assert_eq!(theirs.len(), ours.len(), "the groups are the same");
        for (group, theirs) in &theirs {
            let of: Vec<_> = snapshots.iter().filter(|it| group.starts_with(&format!("{} ", it.host))).collect();
            assert_eq!(ours.get(group), Some(theirs), "{group} {options:?}\n{of:#?}");
            decided += 1;
            kept += theirs.0.len();
            removed += theirs.1.len();
        }
    }
    println!(
        "{histories} histories, {} snapshots: {decided} groups decided alike, {kept} kept, {removed} removed",
        snapshots.len()
    );
    assert!(kept > 0 && removed > 0, "there was something to decide");
}
