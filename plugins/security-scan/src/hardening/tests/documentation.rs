//! docs/security-scan-checks.md says what the code says.

use std::fmt::Write;
use std::path::Path;

use upkeep_plugin::Severity;

use super::super::{Check, checks};

const START: &str = "<!-- checks -->\n";
const END: &str = "<!-- end -->";

fn row(check: &Check) -> String {
    let severity = match check.severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    };
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| `{}` | {severity} | {} | {} {} |\n", check.id, cell(check.title), cell(check.reason), cell(check.remedy))
}

/// `UPKEEP_RENEW=1 cargo test --manifest-path plugins/Cargo.toml -p security-scan` writes the table again.
#[test]
fn the_table_of_all_checks_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security-scan-checks.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let from = page.find(START).expect("a place for the table") + START.len();
    let to = from + page[from..].find(END).expect("its end");
    let mut table = "| Identifier | Severity | Finds that | Why, and what to do |\n|---|---|---|---|\n".to_owned();
    checks().try_for_each(|check| table.write_str(&row(check))).expect("a string can be written to");
    let mut wanted = page.clone();
    wanted.replace_range(from..to, &table);
    if std::env::var_os("UPKEEP_RENEW").is_some() {
        return std::fs::write(&path, wanted).expect("the page can be written");
    }
    let way = "UPKEEP_RENEW=1 cargo test --manifest-path plugins/Cargo.toml -p security-scan";
    assert!(page == wanted, "docs/security-scan-checks.md is stale; renew it: {way}");
}
