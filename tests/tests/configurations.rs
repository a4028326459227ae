//! Everything that can be wrong with a configuration, and the message for it. The snapshots are meant to be read: as an
//! operator would, at three in the morning.

#[path = "configurations/bad.rs"]
mod bad;
#[path = "configurations/stage.rs"]
mod stage;

use std::fmt::Write;
use std::path::Path;

use upkeep::config::diagnostic::{Severity, Style};

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
    places: PLACES,
    secrets: SECRETS,
    limits: LIMITS,
    daemon: DAEMON,
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
        bad::PLACES,
        bad::SECRETS,
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
    assert_eq!(examined.config.settings.plugin_dir, stage.dir().join("../plugins"));
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
