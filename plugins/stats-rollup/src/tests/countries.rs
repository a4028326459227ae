//! Countries that people view pages from.

use super::*;

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const CONFIG: &str = r#"{
    "sources": [{ "name": "site", "root": "logs", "format": "main" }],
    "countries": { "root": "geoip", "file": "countries.mmdb" }
}"#;

/// A place with the folder `geoip`, and in it MaxMind's databases for tests.
struct World {
    place: Place,
    geoip: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let geoip = tempfile::tempdir().unwrap();
        for (name, database) in [("countries.mmdb", "GeoLite2-Country-Test"), ("asn.mmdb", "GeoLite2-ASN-Test")] {
            let from = format!("{}/tests/data/{database}.mmdb", env!("CARGO_MANIFEST_DIR"));
            fs::copy(from, geoip.path().join(name)).unwrap();
        }
        let place = Place::new();
        Self { place: Place { host: place.host.root("geoip", geoip.path()), ..place }, geoip }
    }

    fn log(&self, lines: &[String]) {
        fs::write(self.place.path().join("access.log"), lines.concat()).unwrap();
    }

    /// The ranking of the day, as `DE 2 CN 1`.
    fn ranking(&self) -> String {
        let statement = "SELECT name, hits FROM ranking WHERE chart = 'countries' ORDER BY place";
        let rows = Connection::open("private").unwrap().query(statement, []).unwrap();
        let shown = rows.map(|row| {
            let row = row.unwrap();
            format!("{} {}", row.get::<String>("name").unwrap(), row.get::<i64>("hits").unwrap())
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

/// A request of an address, by way of another one.
fn asked(address: &str, forwarded: &str, request: &str, status: u16, agent: &str) -> String {
    format!("{address} - - [29/Nov/2025:10:00:00 +0000] \"{request}\" {status} 7 \"-\" \"{agent}\" \"{forwarded}\"\n")
}

fn viewed(address: &str) -> String {
    asked(address, "-", "GET / HTTP/1.1", 200, BROWSER)
}

#[test]
fn views_of_people_count_in_the_country_of_their_address() {
    let mut world = World::new();
    let mut lines =
        ["2.125.160.216", "2.125.160.217", "::ffff:81.2.69.142", "67.43.156.1", "2001:218::1", "2001:0218::2"]
            .map(viewed)
            .to_vec();
    // Known in no country, unknown, no address; and what is no view of a person.
    lines.extend(["2a02:d500::1", "10.0.0.1", "unix:", "fe80::1%eth0"].map(viewed));
    let bot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    lines.push(asked("67.43.156.1", "-", "GET / HTTP/1.1", 200, bot));
    lines.push(asked("67.43.156.1", "-", "GET /style.css HTTP/1.1", 200, BROWSER));
    lines.push(asked("67.43.156.1", "-", "GET /missing HTTP/1.1", 404, BROWSER));
    world.log(&lines);
    assert_eq!(world.place.run_with(CONFIG).unwrap().summary, "13 lines counted");
    assert_eq!(world.ranking(), "GB 3 JP 2 BT 1");
    // No address is kept anywhere.
    for table in ["section", "ranking", "log_file", "visitor_key", "traffic", "source"] {
        let rows = Connection::open("private").unwrap().query(&format!("SELECT * FROM {table}"), []).unwrap();
        for row in rows {
            let text = format!("{:?}", row.unwrap().values());
            assert!(!text.contains("2.125.160") && !text.contains("67.43.156"), "{table}: {text}");
        }
    }
}

#[test]
fn behind_a_proxy_it_is_the_country_of_the_client() {
    let mut world = World::new();
    let via = |forwarded: &str| asked("2.125.160.216", forwarded, "GET / HTTP/1.1", 200, BROWSER);
    world.log(&[via("67.43.156.1, 10.0.0.1"), via("2001:218::1"), via("67.43.156.1:4711"), via("-")]);
    let behind = CONFIG.replace(r#""root": "logs""#, r#""root": "logs", "behind_proxy": true"#);
    world.place.run_with(&behind).unwrap();
    assert_eq!(world.ranking(), "BT 2 GB 1 JP 1");
    assert_eq!(world.place.number("SELECT visitors FROM traffic WHERE level = 'day'"), 3, "a port makes no visitor");

    let mut world = World::new();
    world.log(&[via("67.43.156.1")]);
    world.place.run_with(CONFIG).unwrap();
    assert_eq!(world.ranking(), "GB 1", "whoever names an address there is not believed");
}

#[test]
fn without_a_database_there_are_no_countries() {
    let mut world = World::new();
    world.log(&[viewed("2.125.160.216")]);
    let config = r#"{ "sources": [{ "name": "site", "root": "logs", "format": "main" }] }"#;
    assert_eq!(world.place.run_with(config).unwrap().summary, "1 lines counted");
    assert_eq!(world.ranking(), "");
}

/// A database of IPv4 that knows of 1.0.0.0/8 where it is registered, and nothing else.
fn registered(code: &str) -> Vec<u8> {
    const NODES: u8 = 8;
    let text = |text: &str| [&[0x40 | text.len() as u8], text.as_bytes()].concat();
    let small = |name: &str, kind: u8, value: u8| [text(name), vec![kind << 5 | 1, value]].concat();
    let mut bytes = Vec::new();
    for (at, bit) in [0, 0, 0, 0, 0, 0, 0, 1].into_iter().enumerate() {
        // On to the next node; from the last one to the data, which begins 16 bytes behind the tree. Else nowhere.
        let on = if at == 7 { NODES + 16 } else { at as u8 + 1 };
        let (left, right) = if bit == 0 { (on, NODES) } else { (NODES, on) };
        bytes.extend([0, 0, left, 0, 0, right]);
    }
    bytes.extend([0; 16]);
    let record = [vec![0xe1], text("registered_country"), vec![0xe1], text("iso_code"), text(code)];
    bytes.extend(record.concat());
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = [
        vec![0xe9],
        small("binary_format_major_version", 5, 2),
        [text("binary_format_minor_version"), vec![0xa0]].concat(),
        [text("build_epoch"), vec![0, 2]].concat(),
        [text("database_type"), text("Own")].concat(),
        [text("description"), vec![0xe0]].concat(),
        small("ip_version", 5, 4),
        [text("languages"), vec![0, 4]].concat(),
        small("node_count", 6, NODES),
        small("record_size", 5, 24),
    ];
    bytes.extend(metadata.concat());
    bytes
}

#[test]
fn where_a_network_is_registered_is_better_than_nothing() {
    let mut world = World::new();
    fs::write(world.geoip.path().join("countries.mmdb"), registered("FR")).unwrap();
    world.log(&["1.2.3.4", "::ffff:1.2.3.4", "2.2.2.2", "2001:218::1"].map(viewed));
    world.place.run_with(CONFIG).unwrap();
    assert_eq!(world.ranking(), "FR 2");
}

#[test]
fn a_database_that_cannot_be_used_is_told_before_anything_is_counted() {
    let mut world = World::new();
    world.log(&[viewed("2.125.160.216")]);
    let file = |name: &str| world.geoip.path().join(name);
    let whole = fs::read(file("countries.mmdb")).unwrap();
    fs::write(file("cut.mmdb"), &whole[..whole.len() / 2]).unwrap();
    fs::write(file("empty.mmdb"), "").unwrap();
    fs::write(file("text.mmdb"), "<html>404</html>").unwrap();
    // Neither a country nor its letters.
    fs::write(file("odd.mmdb"), registered("fr")).unwrap();
    for (name, said) in [
        (
            "missing.mmdb",
            "geoip/missing.mmdb cannot be read (not found: `missing.mmdb` does not exist): put the database there",
        ),
        ("cut.mmdb", "geoip/cut.mmdb is no database in MaxMind's DB format, or only a part of one"),
        ("empty.mmdb", "geoip/empty.mmdb is no database in MaxMind's DB format"),
        ("text.mmdb", "download it again"),
        ("asn.mmdb", "geoip/asn.mmdb is of the type `GeoLite2-ASN` and has no countries"),
        ("odd.mmdb", "take one that has, such as GeoLite2-Country"),
    ] {
        let error = world.place.run_with(&CONFIG.replace("countries.mmdb", name)).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{name}: {error:?}");
        let error = error.to_string();
        assert!(error.contains("`countries` in [config]: ") && error.contains(said), "{name}: {error}");
    }
    let error = world.place.run_with(&CONFIG.replace("geoip", "maps")).unwrap_err();
    assert!(matches!(&error, Error::Config(it) if it.contains("[grant.files.maps]")), "{error:?}");
    // The lines are still to be counted.
    assert_eq!(world.place.run_with(CONFIG).unwrap().summary, "1 lines counted");
    assert_eq!(world.ranking(), "GB 1");
}
