//! The scan as an operator runs it: advisories are downloaded from a server, the scan compares, and what it finds is listed, ignored,
//! exported, and gone when it is mended.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use upkeep_tests::{Daemon, Site};

/// Serves files beneath a folder; gives the port.
fn serve(folder: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut lines = BufReader::new(&connection).lines().map_while(Result::ok);
            let line = lines.next().unwrap_or_default();
            let _ = lines.find(String::is_empty);
            let path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let (status, body) = match fs::read(folder.join(&path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = connection.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    port
}

/// An archive as osv.dev has it.
fn archive(folder: &Path, ecosystem: &str, records: &[String]) {
    let place = folder.join(ecosystem);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("records"), records.join("\n")).unwrap();
    let script = "import sys, zipfile, json\n\
                  with zipfile.ZipFile('all.zip', 'w', zipfile.ZIP_DEFLATED) as archive:\n\
                  \x20   for line in open('records'): archive.writestr(json.loads(line)['id'] + '.json', line)";
    let made = Command::new("python3").args(["-c", script]).current_dir(&place).status().expect("python3 is there");
    assert!(made.success());
}

fn record(id: &str, cve: &str, package: &str, fixed: &str) -> String {
    format!(
        r#"{{"id": "{id}", "modified": "2026-01-02T03:04:05Z", "aliases": ["{cve}"], "summary": "Runs commands", "severity": [{{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}}], "affected": [{{"package": {{"ecosystem": "npm", "name": "{package}"}}, "ranges": [{{"type": "SEMVER", "events": [{{"introduced": "0"}}, {{"fixed": "{fixed}"}}]}}]}}]}}"#
    )
}

fn lock(version: &str) -> String {
    format!(
        r#"{{"name": "shop", "lockfileVersion": 3, "packages": {{
  "": {{"name": "shop", "dependencies": {{"lodash": "*"}}}},
  "node_modules/lodash": {{"version": "{version}", "resolved": "https://registry.npmjs.org/lodash/-/lodash-{version}.tgz"}}
}}}}"#
    )
}

/// A site with an app, a server that has advisories, and both tasks.
fn stage(findings: &str) -> (Site, Daemon) {
    let site = Site::new(&[]);
    site.shipped("advisories");
    site.shipped("security-scan");
    for folder in ["app/config", "db", "www"] {
        fs::create_dir_all(site.path(folder)).unwrap();
    }
    archive(&site.path("www"), "npm", &[record("GHSA-1", "CVE-2021-23337", "lodash", "4.17.21")]);
    let port = serve(site.path("www"));
    site.task(
        "advisories",
        &format!(
            "plugin = \"advisories\"\n[config]\necosystems = [\"npm\"]\nroot = \"db\"\nbase = \"http://127.0.0.1:{port}\"\n\
             [grant]\nmetrics = true\n[grant.http]\nallow = [\"http://127.0.0.1:{port}/npm/\"]\nnetworks = [\"127.0.0.1\"]\n\
             [grant.files.db]\npath = {:?}\naccess = [\"read\", \"write\"]\n",
            site.path("db")
        ),
    );
    site.task(
        "scan",
        &format!(
            "plugin = \"security-scan\"\n{findings}\n[config.dependencies]\nadvisories = \"db\"\n\
             [[config.dependencies.folders]]\nroot = \"app\"\n[[config.secrets.folders]]\nroot = \"app\"\n\
             [grant]\nmetrics = true\n[grant.files.app]\npath = {:?}\n[grant.files.db]\npath = {:?}\n",
            site.path("app"),
            site.path("db")
        ),
    );
    let daemon = site.start();
    assert_eq!(site.run("advisories")["outcome"]["outcome"], "succeeded");
    (site, daemon)
}

/// The findings that `upkeep findings` lists, by the fields that are asked for.
fn listed(site: &Site, args: &[&str]) -> Vec<(String, String)> {
    let answer = site.cli(&[&["findings", "--json"], args].concat()).json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    answer["findings"].as_array().unwrap().iter().map(|it| (text(&it["rule"]), text(&it["state"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(rule, state)| ((*rule).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn what_is_vulnerable_is_found_ignored_exported_and_mended() {
    let (site, _daemon) = stage("[findings]\nfail_at = \"critical\"\nonly_new = true");
    fs::write(site.path("app/package-lock.json"), lock("4.17.20")).unwrap();
    let secret = ["Mall", "@88", "42kq", "Zt"].concat();
    fs::write(site.path("app/config/application.properties"), format!("spring.datasource.password={secret}\n"))
        .unwrap();

    let first = site.run("scan");
    assert_eq!(first["outcome"]["outcome"], "failed", "{first}");
    let message = first["outcome"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("1 new finding at `critical` or worse (findings.fail_at), such as: lodash 4.17.20"),
        "{message}"
    );
    let both = [("CVE-2021-23337", "new"), ("spring-datasource-password", "new")];
    assert_eq!(listed(&site, &["--new"]), pairs(&both));
    assert!(!format!("{first}{}", site.logs(first["id"].as_str().unwrap())).contains(&secret));

    // The bill of materials, to hand on.
    let run = first["id"].as_str().unwrap();
    let shown = site.cli(&["show", run]);
    assert!(shown.stdout.contains("--document sbom.cdx.json"), "{}", shown.stdout);
    let bom = site.cli(&["show", run, "--document", "sbom.cdx.json"]).json();
    assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    assert_eq!(bom["components"][0]["purl"], "pkg:npm/lodash@4.17.20");
    let none = site.cli(&["show", run, "--document", "nothing"]);
    assert!(none.code != 0 && none.stderr.contains("has no document `nothing`"), "{none:?}");

    // SARIF, valid against its schema.
    let schema: Value = serde_json::from_str(include_str!("../data/sarif/sarif-schema-2.1.0.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let sarif = site.cli(&["findings", "--sarif"]).json();
    let wrong: Vec<String> = schema.iter_errors(&sarif).map(|it| format!("{it} at {}", it.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "CVE-2021-23337");

    // A person ignores one: it fails nothing any more, and says so.
    let id = site.cli(&["findings", "--json"]).json()["findings"][0]["id"].as_str().unwrap().to_owned();
    for (args, said) in [
        (&["findings", "ignore", "abc", "--reason", "x", "--until", "2099-01-01"][..], "too short"),
        (&["findings", "ignore", "abcdef01", "--reason", "x", "--until", "2099-01-01"], "no finding begins"),
        (&["findings", "ignore", &id, "--reason", " ", "--until", "2099-01-01"], "reason"),
        (&["findings", "ignore", &id, "--reason", "x", "--until", "2001-01-01"], "is over"),
        (&["findings", "ignore", &id, "--reason", "x", "--until", "soon"], "is no day"),
        (&["findings", "heed", &id], "no person ignores"),
    ] {
        let refused = site.cli(args);
        assert!(refused.code != 0 && refused.stderr.contains(said), "{args:?}: {refused:?}");
    }
    let ignored = site.cli(&["findings", "ignore", &id[..8], "--reason", "not reachable", "--until", "2099-01-01"]);
    assert_eq!(ignored.code, 0, "{ignored:?}");
    let second = site.run("scan");
    assert_eq!(second["outcome"]["outcome"], "succeeded", "{second}");
    assert_eq!(second["report"]["findings"].as_array().unwrap().last().unwrap()["ignored"]["reason"], "not reachable");
    let sarif = site.cli(&["findings", "--sarif"]).json();
    assert!(schema.is_valid(&sarif) && sarif.to_string().contains("suppressions"));
    assert_eq!(site.cli(&["findings", "heed", &id]).code, 0);

    // Mended.
    fs::write(site.path("app/package-lock.json"), lock("4.17.21")).unwrap();
    fs::remove_file(site.path("app/config/application.properties")).unwrap();
    assert_eq!(site.run("scan")["outcome"]["outcome"], "succeeded");
    assert_eq!(listed(&site, &[]), []);
    assert_eq!(listed(&site, &["--fixed"]).len(), 2);
    // And back.
    fs::write(site.path("app/package-lock.json"), lock("4.17.20")).unwrap();
    assert_eq!(site.run("scan")["outcome"]["outcome"], "failed");
    assert_eq!(listed(&site, &[]), pairs(&[("CVE-2021-23337", "returned")]));

    // Only the other plugin has asked anybody.
    let ledger = site.cli(&["egress", "--json"]).json();
    let asked: Vec<_> = ledger["requests"].as_array().unwrap().iter().map(|it| it["task"].as_str().unwrap()).collect();
    assert_eq!(asked, ["advisories"]);
}

#[test]
fn a_scan_gets_no_network_whatever_its_file_says() {
    let (site, _daemon) = stage("");
    let text = fs::read_to_string(site.task_file("scan")).unwrap();
    fs::write(site.task_file("scan"), format!("{text}[grant.http]\nallow = [\"https://example.com/\"]\n")).unwrap();
    let checked = site.cli(&["check"]);
    assert!(checked.code != 0 && checked.stdout.contains("does not ask for `http`"), "{checked:?}");
}

#[test]
fn what_is_made_to_hurt_is_told_and_hurts_nobody() {
    let (site, _daemon) = stage("");
    let app = |name: &str| site.path("app").join(name);
    fs::create_dir_all(app("a/b")).unwrap();
    symlink("..", app("a/b/up")).unwrap();
    symlink("loop", app("loop")).unwrap();
    symlink("/etc/passwd", app("yarn.lock")).unwrap();
    fs::write(app("package-lock.json"), "[".repeat(5_000_000)).unwrap();
    fs::write(
        app("a/Cargo.lock"),
        [b"version = 4\n[[package]]\nname = \"\xff\xfe\"\n".as_slice(), &[0; 1000]].concat(),
    )
    .unwrap();
    fs::write(app("a/pnpm-lock.yaml"), "a: &a [x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n".repeat(10_000)).unwrap();
    fs::write(app("a/b/poetry.lock"), "[[package]]\n".repeat(300_000)).unwrap();
    fs::write(app("one-line.js"), "password = 'a';".repeat(2_000_000)).unwrap();
    let bomb = format!(
        "<!DOCTYPE p [<!ENTITY a \"{}\"><!ENTITY b \"&a;&a;&a;\">]><project>&b;</project>",
        "x".repeat(100_000)
    );
    fs::write(app("a/b/pom.xml"), bomb).unwrap();
    let huge = fs::File::create(app("a/yarn.lock")).unwrap();
    huge.set_len(200 << 20).unwrap();
    let run = site.run("scan");
    assert_eq!(run["outcome"]["outcome"], "succeeded", "{run}");
    let told = run["report"].to_string();
    for file in
        ["app/package-lock.json", "app/a/Cargo.lock", "app/a/yarn.lock", "app/a/pnpm-lock.yaml", "app/a/b/poetry.lock"]
    {
        assert!(
            told.contains(&format!("{file} cannot be read")) || told.contains(&format!("{file}, ")),
            "{file}: {told}"
        );
    }
    assert!(!told.contains("root:"), "the link out was not followed");
}
