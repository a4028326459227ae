//! Everything that can be wrong with a configuration, and the message for it. The snapshots are meant to be read: as an
//! operator would, at three in the morning.

#[path = "configurations/bad.rs"]
mod bad;
#[path = "configurations/stage.rs"]
mod stage;

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;
use upkeep::cli::check::{CheckArgs, check};
use upkeep::config::check::Surroundings;
use upkeep::config::diagnostic::{Severity, Style};
use upkeep::config::diff::diff;

use self::bad::Case;
use self::stage::Stage;

/// All messages for the cases of a theme. Each has to name the file, the line, the key and the remedy, and no secret.
fn messages(cases: &[Case], worst: Severity) -> String {
    let mut text = String::new();
    for (name, files) in cases {
        let stage = Stage::new();
        for (path, content) in *files {
            let file = stage.path(path);
            std::fs::create_dir_all(file.parent().expect("a folder around it")).expect("a folder");
            stage.write(path, content);
        }
        let examined = stage.examine();
        let diagnostics = &examined.diagnostics;
        let shown = diagnostics.render(Style::Plain);
        let expected = if worst == Severity::Error { diagnostics.errors() } else { diagnostics.warnings() };
        assert!(expected > 0 && (worst == Severity::Error || !diagnostics.has_errors()), "{name}: {shown}");
        for diagnostic in &diagnostics.0 {
            assert!(!diagnostic.help.trim().is_empty(), "{name}: no remedy for: {}", diagnostic.message);
            assert!(Path::new(&diagnostic.source.name).starts_with(stage.dir()), "{name}: no file");
            if !diagnostic.source.text.is_empty() {
                assert!(diagnostic.position().is_some(), "{name}: no line for: {}", diagnostic.message);
                let is_syntax = diagnostic.message.starts_with("this is not TOML");
                assert!(is_syntax || !diagnostic.key.0.is_empty(), "{name}: no key for: {}", diagnostic.message);
            }
        }
        for everything in [&shown, &diagnostics.to_string(), &diagnostics.to_json().to_string()] {
            assert!(!everything.contains("hunter2"), "{name}: the secret is shown: {everything}");
        }
        let is_prose = |line: &&str| {
            ["  error:", "  warning:", "  │", "  help", "     "].iter().any(|start| line.starts_with(start))
        };
        let widest = shown.lines().filter(is_prose).map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= 80, "{name}: a line of {widest} columns");
        writeln!(text, "# {name}\n\n{}\n", stage.steady(shown.trim_end())).expect("a string can be written to");
    }
    text
}

macro_rules! theme {
    ($($test:ident: $cases:ident),+ $(,)?) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(messages(bad::$cases, Severity::Error));
        }
    )+};
}

theme! {
    syntax: SYNTAX,
    shape: SHAPE,
    schedule: SCHEDULE,
    plugin: PLUGIN,
    grant: GRANT,
    removal: REMOVAL,
    rows: ROWS,
    findings: FINDINGS,
    http: HTTP,
    smtp: SMTP,
    secret_grants: SECRET_GRANTS,
    places: PLACES,
    secrets: SECRETS,
    repositories: REPOSITORIES,
    databases: DATABASES,
    limits: LIMITS,
    daemon: DAEMON,
    listen: LISTEN,
    files: FILES,
}

#[test]
fn warnings() {
    insta::assert_snapshot!(messages(bad::WARNINGS, Severity::Warning));
}

#[test]
fn the_table_is_as_large_as_promised() {
    let themes = [
        bad::SYNTAX,
        bad::SHAPE,
        bad::SCHEDULE,
        bad::PLUGIN,
        bad::GRANT,
        bad::REMOVAL,
        bad::ROWS,
        bad::FINDINGS,
        bad::HTTP,
        bad::SMTP,
        bad::SECRET_GRANTS,
        bad::PLACES,
        bad::SECRETS,
        bad::DATABASES,
        bad::LIMITS,
        bad::DAEMON,
    ];
    assert!(themes.iter().map(|cases| cases.len()).sum::<usize>() >= 40);
}

#[test]
fn a_bad_file_does_not_hide_the_good_ones() {
    let stage = Stage::new();
    stage.write("etc/tasks.d/a.toml", "plugin = \"noop\"\n");
    stage.write("etc/tasks.d/b.toml", "plugin = 1\n");
    stage.write("etc/tasks.d/c.toml", "plugin = \"noop\"\n[schedule]\nafter = [{ task = \"b\" }]\n");
    let examined = stage.examine();
    let names: Vec<&str> = examined.config.tasks.keys().map(|name| &**name).collect();
    assert_eq!((names, examined.diagnostics.errors(), examined.files), (vec!["a", "c"], 1, 3));
}

#[test]
fn a_right_configuration_has_nothing_wrong() {
    let stage = Stage::new();
    stage.write(
        "etc/tasks.d/site.toml",
        "plugin = \"backup\"\n[schedule]\ncron = \"30 3 * * *\"\n[config]\nfolders = [\"app\"]\n{grants}\n",
    );
    let examined = stage.examine();
    assert_eq!(examined.diagnostics.to_string(), "");
    let task = &examined.config.tasks["site"];
    assert_eq!(&*task.config_json, r#"{"folders":["app"]}"#);
    assert_eq!(task.file(&stage.dir()), stage.path("etc/tasks.d/site.toml"));
    assert_eq!(examined.config.settings.plugin_dir, stage.path("plugins"));
}

#[test]
fn what_cannot_be_seen_from_outside_is_a_warning_outside_of_the_daemon() {
    let stage = Stage::new();
    let grants = stage::GRANTS.replace("file = \"{root}/secrets/main\"", "env = \"UPKEEP_PASSWORD\"");
    stage.write("etc/tasks.d/site.toml", &format!("plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}"));
    let severity =
        |daemon| stage.examine_as(daemon).diagnostics.0.iter().map(|found| found.severity).collect::<Vec<_>>();
    assert_eq!((severity(true), severity(false)), (vec![Severity::Error], vec![Severity::Warning]));
}

/// What `upkeep check` prints, and its exit code.
fn check_with(stage: &Stage, json: bool) -> (u8, String) {
    let surroundings =
        Surroundings { read_manifest: &stage::read_manifest, variable: &|_| None, daemon: false, now: stage::NOW };
    let mut out = Vec::new();
    let args = CheckArgs { json };
    let code =
        check(&args, &stage.dir(), &surroundings, "host", Style::Plain, &mut out).expect("a vector can be written to");
    (code, stage.steady(&String::from_utf8(out).expect("text")))
}

#[test]
fn check_prints_what_is_fine_too() {
    let stage = Stage::new();
    stage.write("etc/tasks.d/by-hand.toml", "plugin = \"noop\"\n");
    stage.write("etc/tasks.d/off.toml", "plugin = \"noop\"\nenabled = false\n");
    let nightly = "plugin = \"backup\"\n[schedule]\ncron = \"30 3 * * *\"\ntimezone = \"Asia/Shanghai\"\n[config]\nfolders = [\"app\"]\n{grants}\n";
    stage.write("etc/tasks.d/site.toml", nightly);
    stage.write(
        "etc/tasks.d/then.toml",
        "plugin = \"noop\"\n[schedule]\nstartup = true\nafter = [{ task = \"site\" }]\n",
    );
    let (code, text) = check_with(&stage, false);
    insta::assert_snapshot!("check_fine", text);
    assert_eq!(code, 0);

    stage.write("etc/tasks.d/off.toml", "plugin = \"noop\"\nenabled = 0\n[schedule]\nwatch = [\"{root}/later\"]\n");
    let (code, text) = check_with(&stage, false);
    insta::assert_snapshot!("check_wrong", text);
    assert_eq!(code, 2);
    let (code, json) = check_with(&stage, true);
    insta::assert_snapshot!("check_wrong_json", json);
    assert_eq!(code, 2);
}

#[test]
fn check_says_when_there_is_nothing_to_check() {
    let stage = Stage::new();
    std::fs::remove_file(stage.path("etc/upkeep.toml")).expect("it was there");
    std::fs::remove_dir(stage.path("etc/tasks.d")).expect("it was empty");
    let (code, without_files) = check_with(&stage, false);
    std::fs::remove_dir(stage.dir()).expect("it was empty");
    let (code_without_folder, without_folder) = check_with(&stage, false);
    insta::assert_snapshot!("check_nothing", format!("{without_files}\n{without_folder}"));
    assert_eq!((code, code_without_folder), (2, 2));
}

#[test]
fn a_reload_changes_only_what_has_changed() {
    let stage = Stage::new();
    for name in ["same", "commented", "changed", "removed", "zoned"] {
        let zone = if name == "zoned" { "" } else { "timezone = \"UTC\"\n" };
        stage.write(
            &format!("etc/tasks.d/{name}.toml"),
            &format!("plugin = \"noop\"\n[schedule]\nevery = \"1h\"\n{zone}"),
        );
    }
    let old = stage.examine().config;
    assert!(diff(&old, &stage.examine().config).is_empty());

    stage.write(
        "etc/tasks.d/commented.toml",
        "# why\nplugin = \"noop\"\n\n[schedule]\nevery = \"1h\"\ntimezone = \"UTC\"\n",
    );
    stage.write("etc/tasks.d/changed.toml", "plugin = \"noop\"\n[schedule]\nevery = \"2h\"\ntimezone = \"UTC\"\n");
    stage.write("etc/tasks.d/added.toml", "plugin = \"noop\"\n");
    std::fs::remove_file(stage.path("etc/tasks.d/removed.toml")).expect("it was there");
    stage.write(
        "etc/upkeep.toml",
        "plugin_dir = \"../plugins\"\nstate_dir = \"{root}/state\"\ntimezone = \"Asia/Shanghai\"\n",
    );
    let found = diff(&old, &stage.examine().config);
    let names = |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&found.added), ["added"]);
    assert_eq!(names(&found.removed), ["removed"]);
    assert_eq!(names(&found.changed), ["changed", "zoned"], "a comment changes nothing, the daemon's time zone does");
    assert!(found.settings_changed);
}

#[test]
fn a_run_resumes_only_with_the_same_plugin_config_grants_and_limits() {
    let stage = Stage::new();
    let task = |text: &str| {
        stage.write("etc/tasks.d/site.toml", text);
        stage.examine().config.tasks["site"].fingerprint
    };
    let text = "plugin = \"backup\"\n[config]\nfolders = [\"app\"]\n{grants}\n";
    let before = task(text);
    assert_eq!(task(&text.replace("[config]", "timeout = \"2h\"\n[config]")), before, "a timeout is not part of it");
    assert_ne!(task(&text.replace("\"app\"", "\"app\", \"b\"")), before, "config");
    assert_ne!(task(&text.replace("{grants}", "[limits]\nhandles = 9\n{grants}")), before, "limits");
    assert_ne!(task(&text.replace("{grants}", &stage::GRANTS.replace("srv/app", "srv/empty"))), before, "grants");
    assert_eq!(task(text), before);
    let manifest = std::fs::read_to_string(stage.path("plugins/backup.wasm")).expect("readable");
    stage.write("plugins/backup.wasm", &format!("{manifest} "));
    assert_ne!(task(text), before, "plugin");
}

/// 100,000 tasks, each with a schedule of its own. Run alone: `cargo test -p upkeep-tests --test configurations -- --ignored`.
#[test]
#[ignore = "takes half a minute, and measures the memory of the whole process"]
fn a_hundred_thousand_tasks_take_at_most_a_kilobyte_each() {
    let stage = Stage::new();
    let count = 100_000;
    for number in 0..count {
        let (minute, hour) = (number % 60, number / 60 % 24);
        let text = format!(
            "plugin = \"backup\"\n[schedule]\ncron = \"{minute} {hour} * * *\"\n[config]\nfolders = [\"app\"]\nkeep = {}\n{{grants}}\n",
            number % 1000 + 1
        );
        stage.write(&format!("etc/tasks.d/task-{number}.toml"), &text);
    }
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
    };
    let before = resident();
    let start = std::time::Instant::now();
    let examined = stage.examine();
    let took = start.elapsed();
    assert_eq!(examined.config.tasks.len(), count, "{}", examined.diagnostics);
    let each = (resident() - before) / count;
    eprintln!("{count} tasks: {took:?}, {each} bytes each");
    assert!(each <= 1024, "{each} bytes each");
}

/// A right file in which anything but the line with the secret was changed: whatever is said about it, nothing panics and
/// the secret is not shown.
fn spoiled() -> impl Strategy<Value = String> {
    let before = "plugin = \"backup\"\ntimeout = \"1h\"\n[schedule]\ncron = \"0 3 * * *\"\n[config]\nfolders = [\"app\"]\n\
                  [grant.files.app]\npath = \"/srv/app\"\n[grant.repository.main]\nurl = \"/backup/main\"\n";
    let after = "access = [\"append\"]\n[limits]\nmemory = \"64 MiB\"\n";
    let change = (any::<prop::sample::Index>(), 0..4_usize, "[\\[\\]{}\"'=.,#\\n a-z0-9é-]{0,3}");
    prop::collection::vec(change, 1..6).prop_map(move |changes| {
        let (mut before, mut after): (Vec<char>, Vec<char>) = (before.chars().collect(), after.chars().collect());
        for (place, removed, added) in changes {
            let place = place.index(before.len() + after.len());
            let (part, at) = if place < before.len() {
                (&mut before, place)
            } else {
                let at = place - before.len();
                (&mut after, at)
            };
            let end = (at + removed).min(part.len());
            part.splice(at.min(end)..end, added.chars());
        }
        let text = |part: Vec<char>| part.into_iter().collect::<String>();
        format!("{}\npassword = \"hunter2\"\n{}", text(before), text(after))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_nothing_panics_and_no_secret_is_shown(text in spoiled()) {
        let stage = Stage::new();
        stage.write("etc/tasks.d/site.toml", &text);
        let diagnostics = stage.examine().diagnostics;
        prop_assert!(diagnostics.has_errors());
        for style in [Style::Plain, Style::Ascii] {
            prop_assert!(!diagnostics.render(style).contains("hunter2"), "{}", diagnostics.render(style));
        }
        prop_assert!(!diagnostics.to_string().contains("hunter2"), "{diagnostics}");
        prop_assert!(!diagnostics.to_json().to_string().contains("hunter2"));
    }
}
