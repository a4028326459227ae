use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;

use upkeep_advisory::database::{Database, Package};
use upkeep_plugin::http::Response;
use upkeep_plugin::test::Host;
use upkeep_plugin::{Report, task};

/// A record about a package that is affected below 2.0.0.
fn record(number: u32, name: &str) -> String {
    format!(
        r#"{{"id": "GHSA-{number}", "modified": "2026-01-02T03:04:05Z", "summary": "bad", "affected": [{{"package": {{"ecosystem": "npm", "name": "{name}"}},
            "ranges": [{{"type": "SEMVER", "events": [{{"introduced": "0"}}, {{"fixed": "2.0.0"}}]}}]}}]}}"#
    )
}

/// An archive without compression, made by hand.
fn archive(records: &[String]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (number, record) in records.iter().enumerate() {
        let name = format!("{number}.json");
        let (crc, size) = (crc32fast::hash(record.as_bytes()).to_le_bytes(), (record.len() as u32).to_le_bytes());
        let length = (name.len() as u16).to_le_bytes();
        bytes.write_all(&[b"PK\x03\x04".as_slice(), &[0; 10], &crc, &size, &size, &length, &[0; 2]].concat()).unwrap();
        bytes.write_all(&[name.as_bytes(), record.as_bytes()].concat()).unwrap();
        let head = [b"PK\x01\x02".as_slice(), &[0; 12], &crc, &size, &size, &length, &[0; 16], name.as_bytes()];
        list.write_all(&head.concat()).unwrap();
    }
    [bytes, list, b"PK\x05\x06".to_vec(), vec![0; 18]].concat()
}

/// A server whose archive can be exchanged, and a folder.
struct Place {
    folder: tempfile::TempDir,
    host: Host,
    served: Rc<RefCell<(u16, Vec<u8>, String)>>,
    asked: Rc<RefCell<Vec<String>>>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let served = Rc::new(RefCell::new((200, Vec::new(), String::new())));
        let asked = Rc::new(RefCell::new(Vec::new()));
        let (serve, ask) = (Rc::clone(&served), Rc::clone(&asked));
        let host = Host::new().root("db", folder.path()).http(move |request| {
            let (status, body, etag) = serve.borrow().clone();
            let matched = request.header_value("if-none-match").is_some_and(|it| it == etag);
            ask.borrow_mut().push(format!("{} {}", request.url(), if matched { "matched" } else { "" }));
            Ok(Response::new(if matched { 304 } else { status }, if matched { Vec::new() } else { body })
                .with_header("etag", etag))
        });
        Self { folder, host, served, asked }
    }

    fn run(&self, status: u16, archive: Vec<u8>, etag: &str) -> upkeep_plugin::Result<Report> {
        *self.served.borrow_mut() = (status, archive, etag.to_owned());
        let config = r#"{"ecosystems": ["npm"], "root": "db", "base": "https://osv.example/"}"#;
        self.host.run(task::<super::Advisories>(), config)
    }

    /// Which of these versions of `lodash` are affected.
    fn affected(&self, versions: &[&str]) -> Vec<bool> {
        let bytes = std::fs::read(self.folder.path().join("npm.advisories")).unwrap();
        let database = Database::open(bytes.as_slice()).unwrap();
        let packages: Vec<_> = versions.iter().map(|version| Package { name: "lodash", version }).collect();
        let answers = database.look_up(None, &packages).unwrap();
        answers.iter().map(|answer| !answer.vulnerabilities.is_empty()).collect()
    }
}

fn records(many: u32) -> Vec<String> {
    (0..many).map(|number| record(number, if number == 0 { "lodash" } else { "other" })).collect()
}

#[test]
fn an_archive_becomes_a_database() {
    let place = Place::new();
    let report = place.run(200, archive(&records(10)), "\"one\"").unwrap();
    assert_eq!(report.summary, "10 advisories of 1 ecosystem");
    assert_eq!(place.affected(&["1.9.9", "2.0.0"]), [true, false]);
    assert_eq!(place.asked.borrow().as_slice(), ["https://osv.example/npm/all.zip "]);
}

#[test]
fn what_the_server_has_not_renewed_is_not_downloaded() {
    let place = Place::new();
    place.run(200, archive(&records(10)), "\"one\"").unwrap();
    let report = place.run(200, archive(&records(12)), "\"one\"").unwrap();
    assert_eq!(report.tables[0].rows[0], ["npm", "10", "nothing new", "0"]);
    let report = place.run(200, archive(&records(12)), "\"two\"").unwrap();
    assert_eq!(report.tables[0].rows[0][1], "12");
    std::fs::remove_file(place.folder.path().join("npm.advisories")).unwrap();
    place.run(200, archive(&records(12)), "\"two\"").unwrap();
    assert!(place.folder.path().join("npm.advisories").exists(), "it is fetched again when it is gone");
}

#[test]
fn what_is_wrong_leaves_the_old_one() {
    let place = Place::new();
    place.run(200, archive(&records(100)), "\"one\"").unwrap();
    let mut cut = archive(&records(100));
    cut.truncate(cut.len() / 2);
    let garbled: Vec<String> = (0..100).map(|n| if n % 3 == 0 { "{".to_owned() } else { record(n, "other") }).collect();
    for (status, archive, said) in [
        (200, cut, "to its end"),
        (200, b"<html>Sign in to the hotel</html>".to_vec(), "damaged"),
        (200, archive(&[]), "no records"),
        (200, archive(&records(40)), "and 100 before"),
        (200, archive(&garbled), "cannot be read"),
        (404, Vec::new(), "404"),
        (503, Vec::new(), "cannot serve"),
    ] {
        let failed = place.run(status, archive, "\"new\"").unwrap_err().to_string();
        assert!(failed.contains(said), "{said}: {failed}");
        assert_eq!(place.affected(&["1.0.0", "2.0.0"]), [true, false], "{said}");
    }
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 2, "nothing is left over");
}

#[test]
fn an_ecosystem_that_is_none_is_told() {
    let config = r#"{"ecosystems": ["node"], "root": "db"}"#;
    let failed = Host::new().run(task::<super::Advisories>(), config).unwrap_err().to_string();
    assert!(failed.contains("there is no `node`; there are") && failed.contains("npm"), "{failed}");
}
