//! The plugin as the host runs it, on files of the test.

mod dependencies;
mod integrity;
mod secrets;

use std::path::PathBuf;

use upkeep_plugin::test::Host;
use upkeep_plugin::{Context, Report, Result, task};

use crate::SecurityScan;

/// 2026-11-29, in milliseconds.
const NOW: i64 = 1_795_910_400_000;

/// A folder `app` and one for advisories, both granted.
struct Place {
    folder: tempfile::TempDir,
    host: Host,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["app", "advisories"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let host =
            Host::new().root("app", folder.path().join("app")).root("advisories", folder.path().join("advisories"));
        Self { folder, host }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn context(&self) -> Context {
        Context { now: NOW, ..self.host.context() }
    }

    fn run(&self, config: &str) -> Result<Report> {
        self.host.run_in(&self.context(), task::<SecurityScan>(), config)
    }
}

/// Findings as people would read them.
fn told(report: &Report) -> String {
    let mut findings: Vec<String> = report
        .findings
        .iter()
        .map(|it| {
            let place = it.place.as_ref().map(|place| format!("{}:{}", place.path, place.line.unwrap_or(0)));
            let severity = format!("{:?}", it.severity).replace("Severity::", "");
            format!("{severity} {} [{}] {}\n", it.title, it.key, place.unwrap_or_default())
        })
        .collect();
    findings.sort();
    findings.concat()
}

#[test]
fn a_configuration_that_names_nothing_is_refused() {
    let place = Place::new();
    for (config, said) in [
        ("{}", "names nothing to look at"),
        (r#"{"dependencies": {"advisories": "advisories"}}"#, "add [[config.dependencies.folders]]"),
        (
            r#"{"dependencies": {"advisories": "advisories", "folders": [{"root": "app"}], "max_age": "0s"}}"#,
            "no time at all",
        ),
        (
            r#"{"dependencies": {"advisories": "advisories", "folders": [{"root": "app"}]}}"#,
            "no database of advisories",
        ),
        (r#"{"dependencies": {"advisories": "nowhere", "folders": [{"root": "app"}]}}"#, "nowhere"),
        (r#"{"secrets": {"folders": [{"root": "app"}], "skip": ["aws"]}}"#, "aws"),
        (r#"{"integrity": [{"root": "app", "follow": "current"}]}"#, "leads nowhere"),
    ] {
        let failed = place.run(config).unwrap_err().to_string();
        assert!(failed.contains(said), "{config}: {failed}");
    }
}
