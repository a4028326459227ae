//! What guests must come to that mean harm: nothing of it is done.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};
use upkeep_tests::{Site, eventually};

use super::stage::*;

pub(super) fn escape_dotdot() {
    stays_inside("escape-dotdot", |_| String::new());
}

pub(super) fn escape_absolute() {
    stays_inside("escape-absolute", |site| format!("outside = \"{}\"", site.path("secret").display()));
}

pub(super) fn escape_symlink() {
    stays_inside("escape-symlink", |_| String::new());
}

pub(super) fn escape_swap() {
    let site = Site::new(&["escape-swap", "noop"]);
    // Every file of the root has the same content, so that the guest knows any other.
    fs::create_dir_all(site.path("root/swap")).unwrap();
    fs::create_dir(site.path("canary")).unwrap();
    fs::write(site.path("root/swap/content"), "inside").unwrap();
    fs::write(site.path("canary/content"), CANARY).unwrap();
    symlink(site.path("canary"), site.path("link")).unwrap();
    let grant = grant(&site, r#"["read"]"#);
    site.task(
        "escape-swap",
        &format!("plugin = \"escape-swap\"\nconfig = {{ root = \"data\", rounds = 500 }}\n{grant}"),
    );
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();

    // The kernel reports whoever opens the canary.
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let opened = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
    inotify::add_watch(&watch, site.path("canary/content"), opened).unwrap();

    let over = std::sync::atomic::AtomicBool::new(false);
    let (run, swaps) = std::thread::scope(|scope| {
        let racer = scope.spawn(|| {
            let (inside, outside) = (site.path("root/swap"), site.path("link"));
            let mut swaps = 0_u64;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                renameat_with(CWD, &inside, CWD, &outside, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
                // Without a pause the kernel hardly lets anybody else find a path.
                std::thread::sleep(Duration::from_micros(20));
            }
            swaps
        });
        let run = run(&site, "escape-swap");
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        (run, racer.join().unwrap())
    });
    let summary = run["report"]["summary"].as_str().unwrap_or_else(|| panic!("{run}"));
    let numbers: Vec<u64> = summary.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [inside, refused, leaked] = numbers[..] else { panic!("{summary}") };
    assert_eq!(leaked, 0, "{summary}");
    assert!(inside > 0 && refused > 0 && swaps > 1_000, "there was a race: {summary}, {swaps} swaps");
    assert!(!traces(&site, &run).contains(CANARY));
    let mut events = [std::mem::MaybeUninit::uninit(); 1024];
    let mut seen = inotify::Reader::new(&watch, &mut events);
    assert_eq!(seen.next().err(), Some(rustix::io::Errno::WOULDBLOCK), "somebody opened the canary");
}

pub(super) fn purge_rows() {
    let site = Site::new(&["purge-rows", "noop"]);
    let database = rusqlite::Connection::open(site.path("app.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE t (at INTEGER); INSERT INTO t VALUES (1700000000), (1700000001), (1800000000), (0)",
        )
        .unwrap();
    let config = "database = \"app\"\ntable = \"t\"\ncolumn = \"at\"\nclock = \"s\"\nbefore = 1700000001000";
    let grant = format!(
        "[grant.sql.app]\nsqlite = {:?}\naccess = [\"remove\", \"maintain\"]\nremoval = {{ tables = [\"t\"] }}",
        site.path("app.db")
    );
    site.task("purge-rows", &format!("plugin = \"purge-rows\"\n[config]\n{config}\n{grant}"));
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();
    let run = run(&site, "purge-rows");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    assert!(run["report"]["text"].as_str().unwrap().contains("\"removed\":1,"), "{run}");
    let left: i64 = database.query_row("SELECT count(*) FROM t WHERE at <> 1700000000", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 3);
}

/// Whoever may append and list can neither remove nor free nor read anything, and is told which right is missing.
pub(super) fn hostile_backup() {
    let site = Site::new(&["hostile-backup", "noop"]);
    root(&site);
    fs::write(site.path("password"), "correct horse battery staple").unwrap();
    fs::set_permissions(site.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    let folder = site.path("repository").display().to_string();
    let repository = format!(
        "[grant.repository.main]\nurl = \"{folder}\"\npassword = {{ file = \"{}\" }}\naccess = [\"append\", \"list\"]\n",
        site.path("password").display()
    );
    let grant = grant(&site, r#"["read"]"#);
    let config = format!("config = {{ repository = \"main\", root = \"data\", folder = \"{folder}\" }}");
    let task = format!("plugin = \"hostile-backup\"\n{config}\n{grant}\n{repository}");
    // A right that the plugin does not even ask for cannot be had by a grant either.
    site.task("hostile-backup", &task.replace("\"list\"]", "\"list\", \"prune\"]"));
    let refused = site.cli(&["check"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stdout.contains("ask for the right `prune` of `repository`"), "{refused:?}");

    site.task("hostile-backup", &task);
    site.task("bystander", "plugin = \"noop\"");
    let _daemon = site.start();
    let run = run(&site, "hostile-backup");
    assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
    let traces = traces(&site, &run);
    for (attempt, missing) in [
        ("forget-all", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
        ("forget-own", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
        ("forget-none", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
        ("forget-nonsense", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
        ("prune", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
        ("prune-marking", "prune in the repository `main` (`grant.repository.main.access` does not hold"),
        ("other-repository", "no `grant.repository.other`"),
        ("repository-by-path", "no `grant.repository."),
        ("folder-by-path", "no `grant.files."),
        ("save-the-repository", "no `grant.files."),
        ("read-the-repository", ""),
        ("save-again", "2 snapshots"),
    ] {
        let told =
            traces.split(&format!("attempt {attempt}: ")).nth(1).unwrap_or_else(|| panic!("{attempt}: {traces}"));
        let told = told.split("attempt ").next().unwrap();
        assert!(!told.starts_with("it was done") && told.contains(missing), "{attempt}: {told}");
    }
    assert!(!traces.contains("correct horse"), "the password is nowhere");
    assert_eq!(fs::read_dir(site.path("repository/snapshots")).unwrap().count(), 2);
}

/// Whatever it asks for: of all that it proposes, the one file goes that may go, and each refusal says why.
pub(super) fn hostile_cleanup() {
    let site = Site::new(&["hostile-cleanup", "noop"]);
    root(&site);
    let inside = |path: &str| site.path("root").join(path);
    for folder in ["swap", "keep", "deep/.ssh", "folder", "mounted"] {
        fs::create_dir_all(inside(folder)).unwrap();
    }
    for file in
        ["swap/mine", "keep/file", "deep/.ssh/id", "lied", "changed", "exchanged", "folder/own", "fair", "later"]
    {
        fs::write(inside(file), "0123456789").unwrap();
    }
    rustix::fs::mknodat(CWD, inside("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("../canary/secret", inside("link")).unwrap();
    symlink(site.path("canary"), inside("way")).unwrap();
    symlink(".upkeep-undo", inside("into")).unwrap();
    fs::create_dir_all(inside(".upkeep-undo/RUN/0")).unwrap();
    fs::write(inside(".upkeep-undo/RUN/0/0-x"), "kept").unwrap();
    fs::set_permissions(inside(".upkeep-undo"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(site.path("other")).unwrap();
    fs::write(site.path("other/own"), "0123456789").unwrap();
    let mount = Mount::on(&inside("mounted"));
    if let Some(mount) = &mount {
        fs::write(mount.0.join("file"), "0123456789").unwrap();
    }
    let secret = fs::metadata(site.path("canary/secret")).unwrap();
    let config = format!(
        "[config]\nroot = \"data\"\noutside = \"{}\"\nknown = {{ device = {}, inode = {}, size = {}, modified_ns = {} }}",
        site.path("canary/secret").display(),
        secret.dev(),
        secret.ino(),
        secret.len(),
        secret.mtime() * 1_000_000_000 + secret.mtime_nsec()
    );
    let grant = grant(&site, r#"["read", "write", "remove"]"#);
    site.task(
        "hostile-cleanup",
        &format!("plugin = \"hostile-cleanup\"\n{config}\n{grant}removal = {{ protect = [\"/keep\"] }}\n"),
    );
    site.task("bystander", "plugin = \"noop\"");
    let outside = || [listing(&site.path("canary")), listing(&site.path("other")), listing(&site.path("etc"))];
    let _daemon = site.start();
    let (before, whole) = (outside(), listing(&site.path("root")));

    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| run(&site, "hostile-cleanup"));
        eventually("the plan", || inside("planned").exists().then_some(()));
        // What was planned as a folder is a link to the canary now, and what was a file is another one.
        for (folder, to) in [("swap", "canary"), ("folder", "other")] {
            fs::rename(inside(folder), inside(&format!("{folder} as it was"))).unwrap();
            symlink(site.path(to), inside(folder)).unwrap();
        }
        fs::write(inside("changed"), "longer than it was").unwrap();
        let modified = fs::metadata(inside("exchanged")).unwrap().modified().unwrap();
        fs::rename(inside("exchanged"), inside("the old one")).unwrap();
        fs::write(inside("exchanged"), "9876543210").unwrap();
        fs::File::options().append(true).open(inside("exchanged")).unwrap().set_modified(modified).unwrap();
        fs::write(inside("go"), "").unwrap();
        run.join().unwrap()
    });
    assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
    let traces = traces(&site, &run);
    assert_eq!(outside(), before, "nothing outside has changed");
    assert!(!traces.contains(CANARY));
    if let Some(mount) = &mount {
        assert_eq!(fs::read_to_string(mount.0.join("file")).unwrap(), "0123456789");
    }

    let leads_out = "leads out of the folder `data`";
    let mut told = vec![
        ("slash", leads_out),
        ("dotdot", leads_out),
        ("dotdot-file", leads_out),
        ("dotdot-within", leads_out),
        ("dotdot-escaped", leads_out),
        ("slash-escaped", leads_out),
        ("absolute", leads_out),
        ("passwd", leads_out),
        ("root-itself", "refused, the root itself stays"),
        ("root-by-dot", "refused, the root itself stays"),
        ("pipe", "refused, devices, pipes and sockets"),
        ("protected", "refused, it is protected"),
        ("key", "refused, what is in a `.ssh`"),
        ("kept", "refused, what is in a `.upkeep-undo`"),
        ("compress-folder", "only a file can be compressed"),
        ("fair", "taken"),
        ("propose-late", "for the plan"),
        ("carry-out `other`", "grant.files.other"),
        ("carry-out `/`", "grant.files./"),
        ("carry-out `..`", "grant.files..."),
        ("expire `other`", "grant.files.other"),
        ("write .upkeep-undo/x", "upkeep keeps for itself"),
        ("write .upkeep-undo", "upkeep keeps for itself"),
        ("write into/x", "upkeep keeps for itself"),
        ("make into/x", "upkeep keeps for itself"),
        ("read what is kept", "upkeep keeps for itself"),
        ("root `other`", "grant.files.other"),
        ("root ``", "grant.files."),
    ];
    let mut kept =
        vec!["link", "way/secret", "swap/secret", "swap", "pipe", "lied", "changed", "exchanged", "folder/own"];
    if mount.is_some() {
        told.push(("device", "refused, it is on another filesystem"));
        kept.extend(["mounted/file", "mounted"]);
    }
    for (attempt, answer) in told {
        let line = traces.lines().find(|line| line.contains(&format!("attempt {attempt}: ")));
        assert!(line.is_some_and(|line| line.contains(answer)), "{attempt}: {line:?}\n{traces}");
    }
    for path in kept {
        assert!(traces.contains(&format!("first kept {path}: ")), "{path} in {traces}");
    }
    assert!(!traces.contains("it was done"), "{traces}");
    assert!(traces.contains("first: removed 1, kept "), "{traces}");
    // Inside, too, all is as it was, but for what the test and the guest wrote and the one file that may go.
    let after = listing(&site.path("root"));
    let gone: Vec<_> = whole.iter().filter(|(path, seen)| after.get(*path) != Some(*seen)).map(|it| it.0).collect();
    assert_eq!(gone, ["changed", "exchanged", "fair", "folder", "folder/own", "swap", "swap/mine"]);
    assert_eq!(listing(&inside("swap as it was")).len() + listing(&inside("folder as it was")).len(), 2);
}

/// Of all that it asks for it gets what is granted and nothing else, by whatever spelling, name or redirect, and each
/// attempt is in the ledger.
pub(super) fn hostile_http() {
    let site = Site::new(&["hostile-http", "noop"]);
    let hosts = site.path("hosts");
    resolves_to(&hosts, "127.0.0.2");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, names) = (Arc::clone(&asked), hosts.clone());
    let port = answering(move |line| {
        if line.contains("/public/move") {
            resolves_to(&names, "127.0.0.1");
        }
        seen.lock().unwrap().push(line.to_owned());
    });
    let denied = [
        format!("http://127.0.0.1:{port}/secret"),
        format!("http://2130706433:{port}/secret"),
        format!("http://0x7f.1:{port}/secret"),
        format!("http://0177.0.0.1:{port}/secret"),
        format!("http://[::1]:{port}/secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/secret"),
        format!("http://[::ffff:7f00:1]:{port}/secret"),
        format!("http://[64:ff9b::7f00:1]:{port}/secret"),
        format!("http://localhost:{port}/secret"),
        format!("http://here.test:{port}/secret"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://127.0.0.2:{port}/else/where"),
        format!("http://127.0.0.2:{port}/public/%2e%2e%2fsecret"),
        format!("http://127.0.0.2:{port}@127.0.0.1:{port}/secret"),
        format!("http://127.0.0.2:{port}/public/redirect?to=http://127.0.0.1:{port}/else"),
    ];
    let reached = format!("http://127.0.0.2:{port}/public/fine?token=hush");
    // The same name again and again: the server moves it to 127.0.0.1 as soon as it was asked.
    let moving = format!("http://moving.test:{port}/public/move");
    let mut urls: Vec<&str> = denied.iter().map(String::as_str).collect();
    urls.insert(0, &reached);
    urls.extend([moving.as_str(), &moving]);
    let allow: Vec<String> =
        ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "localhost", "here.test"]
            .iter()
            .map(|host| format!("http://{host}:{port}/"))
            .chain(["http://169.254.169.254/".to_owned()])
            .chain(["127.0.0.2", "moving.test"].iter().map(|host| format!("http://{host}:{port}/public/")))
            .collect();
    site.task(
        "hostile-http",
        &format!(
            "plugin = \"hostile-http\"\nconfig.urls = {urls:?}\n[grant.http]\nallow = {allow:?}\nnetworks = [\"127.0.0.2\"]\n"
        ),
    );
    site.task("bystander", "plugin = \"noop\"");
    let Some(mut daemon) = own_names(&site, &hosts) else { return };
    daemon.await_notice("READY=1");
    let run = run(&site, "hostile-http");
    let asked = asked.lock().unwrap().clone();
    assert!(!asked.iter().any(|line| line.contains("secret")), "{asked:?}");
    assert_eq!(run["outcome"]["outcome"], "denied", "{}", traces(&site, &run));
    let traces = traces(&site, &run);
    assert!(traces.contains(&format!("attempt {reached}: reached, 200 public")), "{traces}");
    assert_eq!(traces.matches(&format!("attempt {moving}: reached")).count(), 1, "{traces}");
    for url in &denied {
        let told = traces.lines().find(|line| line.contains(&format!("attempt {url}: ")));
        assert!(told.is_some_and(|line| line.contains("is not let out")), "{url}: {told:?} {traces}");
    }

    let ledger = site.cli(&["egress", "hostile-http", "--json", "-n", "100"]).json();
    let requests = ledger["requests"].as_array().unwrap();
    let with = |result: &str| requests.iter().filter(|it| it["result"] == result).count();
    assert_eq!((with("denied"), with("answered"), with("open")), (denied.len() + 1, 3, 0), "{ledger:#}");
    assert_eq!(requests.len(), denied.len() + 4);
    assert!(requests.iter().all(|it| it["result"] != "denied" || it["reason"].is_string()));
    let first = requests.last().unwrap();
    assert_eq!((&first["status"], &first["received"]), (&200.into(), &6.into()), "{first}");
    assert_eq!(first["address"], format!("127.0.0.2:{port}"));
    assert_eq!(first["url"], format!("http://127.0.0.2:{port}/public/fine"), "no query, no secret");
    assert!(!ledger.to_string().contains("hush"));
    let told = site.cli(&["egress", "hostile-http"]);
    assert!(told.stdout.contains("denied") && told.stdout.contains("is no public address"), "{}", told.stdout);
}

/// Secrets go where they belong, and are found nowhere else: not in what the guest got to see, not in anything that the daemon
/// wrote, however a run ended, and not in what is left when the daemon crashes.
pub(super) fn hostile_secrets() {
    let (site, elsewhere) = (Site::new(&["hostile-secrets", "noop"]), tempfile::tempdir().unwrap());
    for folder in ["out", "cores", "control"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    let names = ["token", "env", "systemd", "robot", "appsecret"];
    let values = names.map(|name| (name, format!("{name}-7Hq2vX9fLw83-value")));
    let login = [("login", "login:7Hq2vX9fLw83-value".to_owned())];
    for (name, value) in values.iter().chain(&login) {
        fs::write(elsewhere.path().join(name), format!("{value}\n")).unwrap();
        fs::set_permissions(elsewhere.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (bound, asked) = giving_back();
    let (other, other_asked) = giving_back();
    let others = [
        format!("http://127.0.0.1:{other}/"),
        format!("http://localhost:{bound}/"),
        format!("http://127.0.0.2:{bound}/"),
        format!("http://[::1]:{bound}/"),
        "http://api.example.com/".to_owned(),
        "https://api.example.com:8443/".to_owned(),
        "https://api.example.com.evil.test/".to_owned(),
        "https://api.example.com.example.com/".to_owned(),
        "https://evil-api.example.com/".to_owned(),
        "https://x.api.example.com/".to_owned(),
    ];
    let allow: Vec<String> = others
        .iter()
        .cloned()
        .chain([format!("http://127.0.0.1:{bound}/"), "https://api.example.com/".into()])
        .collect();
    let hosts = format!("hosts = [\"http://127.0.0.1:{bound}\", \"https://api.example.com\"]");
    let secret = |name: &str| elsewhere.path().join(name).display().to_string();
    let grants = format!(
        "[grant]\nstate = true\nmetrics = true\n[grant.files.out]\npath = {:?}\naccess = [\"write\"]\n\
         [grant.http]\nallow = {allow:?}\nnetworks = [\"127.0.0.0/8\", \"::1\"]\n\
         [grant.secrets.token]\nfile = {:?}\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
         [grant.secrets.env]\nenv = \"UPKEEP_TEST_SECRET\"\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
         [grant.secrets.systemd]\ncredential = \"systemd\"\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
         [grant.secrets.login]\nfile = {:?}\n{hosts}\nplaces = [\"url\", \"header\", \"body\"]\n\
         [grant.secrets.robot]\nfile = {:?}\naccess = [\"sign\"]\n\
         [grant.secrets.wechat]\n\
         wechat = {{ appid = \"wx0123456789abcdef\", file = {:?}, api = \"http://127.0.0.1:{bound}\" }}\n",
        site.path("out"),
        secret("token"),
        secret("login"),
        secret("robot"),
        secret("appsecret"),
    );
    let ends = ["report", "failure", "panic"];
    for end in ends {
        let config = format!(
            "[config]\nend = \"{end}\"\nbound = \"http://127.0.0.1:{bound}\"\nothers = {others:?}\n\
             secrets = [\"token\", \"env\", \"systemd\"]\nsigning = \"robot\"\nlogin = \"login\"\ntoken = \"wechat\"\n"
        );
        let limits = "[limits]\nlog = \"64 MiB\"\n";
        site.task(&format!("secrets-{end}"), &format!("plugin = \"hostile-secrets\"\n{config}{limits}{grants}"));
    }
    site.task("bystander", "plugin = \"noop\"");
    // Whatever a library says of itself is in the log too, and a crash may leave as much as it likes.
    let unlimited = "ulimit -c unlimited && cd \"$0\" && exec \"$@\"";
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", unlimited]).arg(site.path("cores")).arg(upkeep_tests::program()).arg("daemon");
    command.env("UPKEEP_CONFIG", site.config()).env("TZ", "UTC").env("UPKEEP_LOG", "trace");
    command.env("UPKEEP_TEST_SECRET", &values[1].1).env("CREDENTIALS_DIRECTORY", elsewhere.path());
    let mut daemon = site.spawn_with(&mut command);
    daemon.await_notice("READY=1");

    let mut shown = String::new();
    for end in ends {
        let run = run(&site, &format!("secrets-{end}"));
        let id = run["id"].as_str().unwrap();
        let traces = traces(&site, &run);
        let outcome = &run["outcome"]["outcome"];
        let expected = if end == "report" { "succeeded" } else { "denied" };
        assert_eq!(outcome, expected, "{traces}");
        for command in [
            &["show", id][..],
            &["show", id, "--json"],
            &["logs", id],
            &["history", "--json"],
            &["findings", "--json"],
            &["egress", "--json", "-n", "1000"],
            &["push", "tokens", "--json"],
        ] {
            let ran = site.cli(command);
            assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
            shown.push_str(&ran.stdout);
        }
        if end != "report" {
            continue;
        }
        let told = |attempt: &str| {
            let line = traces.lines().find(|line| line.contains(&format!("attempt {attempt}: ")));
            line.unwrap_or_else(|| panic!("{attempt}: {traces}")).to_owned()
        };
        for name in ["token", "env", "systemd"] {
            for way in ["echo", "pieces", "header", "json", "base64"] {
                let line = told(&format!("{way} {name}"));
                assert!(line.contains("reached, 200") && line.contains(&format!("{{{{secret:{name}}}}}")), "{line}");
            }
            assert!(told(&format!("last {name}")).contains(&format!("{{{{secret:{name}}}}}")));
            assert!(told(&format!("gzip {name}")).contains("the answer is encoded"));
            for attempt in ["range", "userinfo", "sign"] {
                assert!(!told(&format!("{attempt} {name}")).contains("reached"), "{attempt}: {traces}");
            }
            for url in &others {
                for place in ["header", "query", "path", "encoded", "body"] {
                    let line = told(&format!("other {url} {place} {name}"));
                    assert!(line.contains("is not let out"), "{line}");
                }
            }
            let followed = format!("attempt redirect {name} to http://127.0.0.1:{other}/");
            assert!(traces.lines().any(|it| it.contains(&followed) && it.contains("is not let out")), "{traces}");
        }
        // The token of WeChat: in the URL, toward the API, and nowhere else; and nothing of it comes back.
        for way in ["echo", "pieces", "json", "base64", "header", "stale", "rid"] {
            let line = told(&format!("token {way}"));
            assert!(line.contains("reached, 200") && line.contains("{{secret:wechat}}"), "{way}: {line}");
        }
        for attempt in ["in header", "in body", "sign"] {
            assert!(!told(&format!("token {attempt}")).contains("reached"), "{attempt}: {traces}");
        }
        for url in &others {
            assert!(told(&format!("token other {url}")).contains("is not let out"), "{traces}");
        }
        assert!(told("unknown").contains("is not let out") && told("send what signs").contains("is not let out"));
        assert!(told("sign").contains("reached, ") && !told("sign nothing").contains("reached"));
        assert!(traces.contains("is not for this server: `grant.secrets.token.hosts`"), "{traces}");
        let basic = told("basic");
        assert!(basic.contains("reached, 200") && basic.contains("Basic {{secret:login}}"), "{basic}");
        for attempt in ["basic in a query", "basic in a body", "basic elsewhere"] {
            assert!(told(attempt).contains("is not let out"), "{attempt}: {traces}");
        }
        assert!(told("basic of no login").contains("the secret `token` is no login"), "{traces}");
        assert!(!told("sign decoded").contains("reached"), "{traces}");
        assert!(told("sign no base64").contains("the secret `robot` is no base64"), "{traces}");
    }

    // It arrived, in each place where it was put.
    let asked = asked.lock().unwrap().join("\n");
    for (name, value) in &values[..3] {
        let line = format!("POST /echo?key={value} HTTP/1.1");
        let (header, body) = (format!("authorization: Bearer {value}"), format!("{{\"secret\": \"{value}\"}}"));
        for part in [&line, &header, &body] {
            assert!(asked.contains(part), "{name}: {part} is missing: {asked}");
        }
    }
    // login:7Hq2vX9fLw83-value
    assert!(asked.contains("authorization: Basic bG9naW46N0hxMnZYOWZMdzgzLXZhbHVl"), "{asked}");
    // What only signs left nowhere; the application's secret went where tokens are given out, and those came.
    assert!(!asked.contains(&values[3].1) && !asked.contains("{{"), "{asked}");
    assert!(asked.contains(&format!("\"secret\":\"{}\"", values[4].1)), "{asked}");
    for number in ["0", "1"] {
        assert!(asked.contains(&format!("GET /stale?key=wechat-7Hq2vX9fLw83-token-{number} HTTP/1.1")), "{asked}");
    }
    assert!(!other_asked.lock().unwrap().iter().any(|request| request.contains("7Hq2")));
    // Those of the redirects, which were denied, are not among them either.
    assert!(other_asked.lock().unwrap().is_empty(), "{other_asked:?}");

    assert!(!shown.contains("7Hq2vX9f") && shown.contains("{{secret:token}}"));
    daemon.signal(rustix::process::Signal::ABORT);
    daemon.wait();
    let files = holding(site.dir(), &["7Hq2vX9f", "N0hxMnZYOWZ", "dIcTJ2WDlm", "3SHEydlg5Z"]);
    assert!(files.is_empty(), "a secret is in {files:?}");
    // And yet all of this was looked at: what the guest heard is there.
    let heard = holding(site.dir(), &["{{secret:token}}"]);
    for place in ["state/upkeep.db", "out/heard-"] {
        assert!(heard.iter().any(|file| file.display().to_string().contains(place)), "{place}: {heard:?}");
    }
    let aborted = Command::new("sh")
        .args(["-c", "ulimit -c unlimited && cd \"$0\" && kill -ABRT $$"])
        .arg(site.path("control"))
        .status();
    if !aborted.is_ok_and(|_| fs::read_dir(site.path("control")).unwrap().next().is_some()) {
        let _ =
            writeln!(std::io::stderr(), "\nSKIPPED in part: nobody leaves a core file here (kernel.core_pattern)\n");
    }
    assert_eq!(fs::read_dir(site.path("cores")).unwrap().count(), 0, "the daemon left a core file");
}
