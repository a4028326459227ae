//! Figures, for `docs/performance.md` and for whoever changes something: how long a walk and a backup take beside `find`
//! and `restic`. They take minutes and gigabytes, so they run only when asked:
//!
//! ```text
//! cargo test -p upkeep-tests --test measure -- --ignored --nocapture --test-threads 1
//! ```

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use upkeep::clock::Timestamp;
use upkeep::config::grant::RepositoryGrant;
use upkeep::config::secret::Secret;
use upkeep::repository::restore::RestoreOptions;
use upkeep::repository::source::FolderSource;
use upkeep::repository::{Label, Repository, Summary, Watch};
use upkeep::root::Root;
use upkeep::root::exclude::Exclude;
use upkeep::root::walk::WalkOptions;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (begin, processor) = (Instant::now(), processor_time());
    let done = work();
    let elapsed = begin.elapsed().as_secs_f64();
    println!("{what:40} {elapsed:8.2} s, processor {:8.2} s", processor_time() - processor);
    done
}

/// Seconds of processor time of this process and of those that it waited for: they tell more than the wall clock where
/// other work is done on the machine.
fn processor_time() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11);
    let ticks: f64 = fields.take(4).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

/// Bytes that no compressor makes smaller, and always the same.
fn noise(length: usize, mut state: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// 20,000 JSON files of 5 KB, 400 MB of access logs, 400 MB that cannot be compressed.
fn fill(folder: &Path) {
    for number in 0..20_000_u64 {
        let sub = folder.join(format!("json/{:03}", number % 200));
        fs::create_dir_all(&sub).unwrap();
        let mut text = format!(r#"{{"id":{number},"items":["#);
        for item in 0..45_u64 {
            let word = number.wrapping_mul(2_654_435_761).wrapping_add(item * 97) % 1_000_003;
            text.push_str(&format!(r#"{{"sku":"{word:08}","quantity":{},"price":"{}.{:02}","note":"a customer's wish that is kept as text"}},"#, item % 7, word % 900, word % 100));
        }
        text.push_str("null]}");
        fs::write(sub.join(format!("{number}.json")), text).unwrap();
    }
    fs::create_dir_all(folder.join("logs")).unwrap();
    for part in 0..4_u64 {
        let mut text = String::with_capacity(101 << 20);
        let mut line = part * 10_000_000;
        while text.len() < 100_000_000 {
            line += 1;
            let hash = line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            text.push_str(&format!(
                "10.{}.{}.{} - - [23/Nov/2026:15:{:02}:{:02} +0800] \"GET /api/v1/orders/{} HTTP/1.1\" 200 {} \"-\" \"MicroMessenger/8.0\"\n",
                hash >> 56, (hash >> 48) & 255, (hash >> 40) & 255, line / 60 % 60, line % 60, hash % 1_000_000, (hash >> 20) % 50_000
            ));
        }
        fs::write(folder.join(format!("logs/access.{part}.log")), text).unwrap();
    }
    fs::create_dir_all(folder.join("media")).unwrap();
    for part in 0..40 {
        fs::write(folder.join(format!("media/{part}.bin")), noise(10_000_000, part + 1)).unwrap();
    }
}

#[test]
#[ignore = "takes minutes; run it to get figures"]
fn backup_beside_restic() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir(path("data")).unwrap();
    timed("make the data set", || fill(&path("data")));
    let password = path("password");
    fs::write(&password, "secret").unwrap();
    run(Command::new("chmod").arg("600").arg(&password));
    let grant = RepositoryGrant::new(path("ours").to_str().unwrap(), Secret::File(password.clone()));
    let restic = |repository: &str, arguments: &[&str]| {
        run(Command::new("restic")
            .args(["-q", "--no-cache", "--password-file"])
            .arg(&password)
            .arg("-r")
            .arg(path(repository))
            .args(arguments));
    };
    let data = path("data");
    let text = data.to_str().unwrap();
    run(Command::new("sh").args(["-c", "find \"$0\" -type f -print0 | xargs -0 cat > /dev/null"]).arg(&data));
    restic("theirs", &["init"]);
    timed("restic backup, first", || restic("theirs", &["backup", text]));
    timed("restic backup, unchanged", || restic("theirs", &["backup", text]));
    let repository = timed("upkeep: make the repository", || Repository::open_or_make(&grant).unwrap());
    timed("upkeep: open the repository", || Repository::open(&grant).unwrap());
    let save = || -> Summary {
        let watch = Watch::new(CancellationToken::new());
        let source = FolderSource::new(Root::open(&data).unwrap(), Exclude::new(&[]).unwrap(), None, false, watch);
        let label = Label { host: "server".into(), tags: vec![], time: Timestamp(1_795_417_445_000) };
        repository.backup(&source, label, Arc::new(|_, _| {})).unwrap()
    };
    let summary = timed("upkeep backup, first", save);
    println!("{summary:?}");
    timed("upkeep backup, unchanged", save);
    for name in ["ours", "theirs"] {
        let output = Command::new("du").arg("-sm").arg(path(name)).output().unwrap();
        print!("MiB: {}", String::from_utf8_lossy(&output.stdout));
    }
    timed("restic check --read-data (of upkeep's)", || restic("ours", &["check", "--read-data"]));
    let target = path("restic-restore");
    timed("restic restore", || restic("ours", &["restore", "latest", "--target", target.to_str().unwrap()]));
    run(Command::new("diff").arg("-r").arg(&data).arg(target.join(text.strip_prefix('/').unwrap())));
    let snapshot = repository.find("latest", |_| true).unwrap();
    let target = path("restore");
    let restored = timed("upkeep restore, with comparison", || {
        repository.restore(&snapshot, &data, &target, RestoreOptions::default(), Arc::new(|_, _| {})).unwrap()
    });
    assert_eq!(restored.differences, Vec::<String>::new());
    run(Command::new("diff").arg("-r").arg(&data).arg(&target));
}

#[test]
#[ignore = "takes minutes; run it to get figures"]
fn walk_beside_find() {
    let place = tempfile::tempdir().unwrap();
    for folder in 0..1_000 {
        let folder = place.path().join(format!("{}/{folder}", folder % 10));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..1_000 {
            fs::File::create(folder.join(format!("file-{file}"))).unwrap();
        }
    }
    let mut best = [Duration::MAX; 2];
    for _ in 0..3 {
        let begin = Instant::now();
        // With everything that an identity holds, as the walk gives it.
        run(Command::new("find").arg(place.path()).args(["-printf", "%p %D %i %s %T@ %m %U %G %A@\n"]));
        best[0] = best[0].min(begin.elapsed());
        let begin = Instant::now();
        let root = Root::open(place.path()).unwrap();
        let options =
            WalkOptions { exclude: Exclude::new(&[]).unwrap(), max_depth: None, one_filesystem: true, together: 1 };
        let count = root.walk(Path::new(""), options).unwrap().count();
        best[1] = best[1].min(begin.elapsed());
        assert_eq!(count, 1_001_010);
    }
    println!("1,001,010 entries: find {:?}, walk {:?}", best[0], best[1]);
}
