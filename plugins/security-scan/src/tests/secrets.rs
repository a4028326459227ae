use super::{Place, told};

const CONFIG: &str = r#"{"secrets": {"folders": [{"root": "app", "exclude": ["vendor/"]}], "max_size": "1 MiB"}}"#;

/// A password that stands nowhere else.
fn password() -> String {
    ["Mall", "@88", "42kq", "Zt"].concat()
}

#[test]
fn secrets_are_found_and_not_shown() {
    let place = Place::new();
    let secret = password();
    place
        .write("app/config/application.properties", format!("server.port=8080\nspring.datasource.password={secret}\n"));
    place.write("app/vendor/x.properties", format!("spring.datasource.password={secret}\n"));
    place.write("app/logo.png", b"\x89PNG\r\n\x1a\n\0\0\0");
    let report = place.run(CONFIG).unwrap();
    let told = told(&report);
    assert_eq!(report.findings.len(), 1, "{told}");
    assert!(told.contains("app/config/application.properties:2"), "{told}");
    let everything = format!("{report:?}{:?}", place.host.log());
    assert!(!everything.contains(&secret) && !everything.contains(&secret[4..]), "{everything}");
    assert!(report.tables.last().unwrap().rows.contains(&vec!["binary files".to_owned(), "1".to_owned()]));
}

#[test]
fn a_finding_stays_the_same_when_the_file_changes_around_it() {
    let place = Place::new();
    let line = format!("spring.datasource.password={}\n", password());
    place.write("app/application.properties", &line);
    let before = place.run(CONFIG).unwrap().findings;
    place.write("app/application.properties", format!("# a comment\n\n{line}"));
    let after = place.run(CONFIG).unwrap().findings;
    assert_eq!(before[0].key, after[0].key);
    assert_ne!(before[0].place, after[0].place);
}

#[test]
fn of_a_file_that_is_too_large_the_beginning_is_looked_at_and_this_is_told() {
    let place = Place::new();
    let line = format!("spring.datasource.password={}\n", password());
    let filler = "# nothing here\n".repeat(200_000);
    place.write("app/big.properties", format!("{line}{filler}"));
    place.write("app/late.properties", format!("{filler}{line}"));
    let report = place.run(CONFIG).unwrap();
    assert_eq!(report.findings.len(), 1, "{}", told(&report));
    for file in ["app/big.properties", "app/late.properties"] {
        assert!(report.text.contains(&format!("{file}: only its first")), "{}", report.text);
    }
}
