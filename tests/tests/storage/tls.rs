//! Servers over TLS with certificates of an authority of one's own, and what is said when they do not fit.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use upkeep::config::grant::RepositoryGrant;
use upkeep::repository::Repository;

use crate::place::{Place, locks, round_trip, upkeep};
use crate::servers::{Certificate, Swift, WebDav, is_there};

/// A repository on a WebDAV server that has this certificate.
fn webdav(place: &Place, scheme: &str, host: &str, server: &WebDav) -> RepositoryGrant {
    let mut grant = place.grant(&format!("{scheme}://{host}:{}/deep/repository", server.port));
    grant.options.insert("user".into(), "me".into());
    grant.secrets.insert("password".into(), place.secret("dav", "dav secret"));
    grant
}

fn trusting(mut grant: RepositoryGrant, authority: &Certificate) -> RepositoryGrant {
    grant.options.insert("ca".into(), authority.text());
    grant
}

/// That it is refused at once, with these words.
fn refused(grant: &RepositoryGrant, told: &[&str]) {
    let started = Instant::now();
    let error = Repository::open_or_make(grant).expect_err("no connection").to_string();
    for part in told {
        assert!(error.contains(part), "{part} in: {error}");
    }
    assert!(started.elapsed().as_secs() < 3, "tried again in vain: {error}");
}

#[test]
fn webdav_with_a_certificate_of_an_own_authority() {
    if !is_there("webdav_with_a_certificate_of_an_own_authority", &["rclone", "restic", "openssl"]) {
        return;
    }
    let place = Place::new();
    let authority = Certificate::authority(&place.path(""), "authority");
    let certificate = Certificate::server(&place.path(""), "server", "IP:127.0.0.1", Some(&authority));
    let server = WebDav::start_with(&place.path("served"), "me", "dav secret", Some(&certificate));
    let grant = trusting(webdav(&place, "webdavs", "127.0.0.1", &server), &authority);
    let repository = round_trip(&place, &grant);
    locks(&repository);
    place.restic_does(&place.text("served/deep/repository"), &["check", "--read-data"]);

    // What does not fit is said, with what to do.
    let unknown = ["UnknownIssuer", "`options.ca`", "update-ca-certificates", "https://127.0.0.1"];
    refused(&webdav(&place, "webdavs", "127.0.0.1", &server), &unknown);
    let other = Certificate::authority(&place.path(""), "other");
    refused(&trusting(webdav(&place, "webdavs", "127.0.0.1", &server), &other), &unknown);
    let named = trusting(webdav(&place, "webdavs", "localhost", &server), &authority);
    refused(&named, &["not valid for name \"localhost\"", "by a name that its certificate has"]);
    let plain = webdav(&place, "webdav", "127.0.0.1", &server);
    // That may pass, so it is tried again.
    let error = Repository::open_or_make(&plain).expect_err("no connection").to_string();
    assert!(error.contains("speaks TLS there") && error.contains("`webdavs://`"), "{error}");
    let mut grant = grant;
    let key = place.text("server.key");
    for (path, told) in [(place.text("none"), "No such file"), (key, "there is none in it")] {
        grant.options.insert("ca".into(), path.clone());
        refused(&grant, &[&format!("the certificates in {path} cannot be used"), told]);
    }
    drop(server);
    let server = WebDav::start(&place.path("served"), "me", "dav secret");
    let grant = trusting(webdav(&place, "webdavs", "127.0.0.1", &server), &authority);
    refused(&grant, &["does not speak TLS there", "`webdav://`"]);
}

#[test]
fn certificates_that_are_over_or_sign_themselves() {
    if !is_there("certificates_that_are_over_or_sign_themselves", &["rclone", "openssl"]) {
        return;
    }
    let place = Place::new();
    let folder = place.path("");
    let authority = Certificate::authority(&folder, "authority");
    let extensions = "CA:FALSE\nsubjectAltName=IP:127.0.0.1";
    let over = Certificate::made(&folder, "over", extensions, &["-days", "-1"], Some(&authority));
    let server = WebDav::start_with(&place.path("served"), "me", "dav secret", Some(&over));
    let grant = trusting(webdav(&place, "webdavs", "127.0.0.1", &server), &authority);
    refused(&grant, &["Expired", "renew the certificate"]);
    drop(server);

    // As `openssl req -x509` makes them: an authority, and a server's own at once.
    let both = Certificate::made(&folder, "both", "CA:TRUE\nsubjectAltName=IP:127.0.0.1", &["-days", "2"], None);
    let server = WebDav::start_with(&place.path("served"), "me", "dav secret", Some(&both));
    let grant = trusting(webdav(&place, "webdavs", "127.0.0.1", &server), &both);
    refused(&grant, &["CaUsedAsEndEntity", "`CA:FALSE`"]);
    drop(server);

    let itself = Certificate::server(&folder, "itself", "IP:127.0.0.1", None);
    let server = WebDav::start_with(&place.path("served"), "me", "dav secret", Some(&itself));
    round_trip(&place, &trusting(webdav(&place, "webdavs", "127.0.0.1", &server), &itself));
}

#[test]
fn s3_with_a_certificate_of_an_own_authority() {
    let test = "s3_with_a_certificate_of_an_own_authority";
    if !is_there(test, &[&Swift::PROGRAMS[..], &["restic", "openssl"]].concat()) {
        return;
    }
    let place = Place::new();
    let authority = Certificate::authority(&place.path(""), "authority");
    let certificate = Certificate::server(&place.path(""), "server", "IP:127.0.0.1", Some(&authority));
    let swift = Swift::start_with(&place.path("swift"), "bucket", Some(&certificate));
    let mut grant = place.grant("s3://bucket/pre/fix");
    grant.options.insert("endpoint".into(), swift.endpoint.clone());
    grant.secrets.insert("access_key_id".into(), place.secret("id", Swift::KEY.0));
    grant.secrets.insert("secret_access_key".into(), place.secret("key", Swift::KEY.1));
    refused(&grant, &["UnknownIssuer", "`options.ca`", &swift.endpoint]);
    let grant = trusting(grant, &authority);
    let repository = round_trip(&place, &grant);
    locks(&repository);
    let restic = Command::new("restic")
        .args(["--no-cache", "--no-lock", "-r", &format!("s3:{}/bucket/pre/fix", swift.endpoint), "--cacert"])
        .arg(&authority.file)
        .arg("--password-file")
        .arg(place.path("password"))
        .args(["check", "--read-data"])
        .env("AWS_ACCESS_KEY_ID", Swift::KEY.0)
        .env("AWS_SECRET_ACCESS_KEY", Swift::KEY.1)
        .output()
        .expect("restic can be started");
    assert!(restic.status.success(), "{}", String::from_utf8_lossy(&restic.stderr));
}

#[test]
fn an_authority_of_the_system_needs_no_option() {
    if !is_there("an_authority_of_the_system_needs_no_option", &["rclone", "openssl"]) {
        return;
    }
    let place = Place::new();
    let authority = Certificate::authority(&place.path(""), "authority");
    let certificate = Certificate::server(&place.path(""), "server", "DNS:localhost", Some(&authority));
    let server = WebDav::start_with(&place.path("served"), "me", "dav secret", Some(&certificate));
    let grant = trusting(webdav(&place, "webdavs", "localhost", &server), &authority);
    round_trip(&place, &grant);
    fs::create_dir_all(place.path("etc/tasks.d")).expect("a folder");
    let list = |scheme: &str, port: u16, certificates: &Path| -> Output {
        let task = format!(
            "plugin = \"backup\"\n[config]\nrepository = \"main\"\n[grant.repository.main]\n\
             url = \"{scheme}://localhost:{port}/deep/repository\"\npassword = {{ file = {:?} }}\n\
             options = {{ user = \"me\" }}\nsecrets = {{ password = {{ file = {:?} }} }}\n",
            place.path("password"),
            place.path("dav")
        );
        fs::write(place.path("etc/tasks.d/app.toml"), task).expect("a file");
        let mut command = Command::new(upkeep());
        command.args(["backup", "list"]).env("UPKEEP_CONFIG", place.path("etc"));
        // Where the system's certificates are; that of Debian is not changed by a test.
        command.env("SSL_CERT_FILE", certificates).env("SSL_CERT_DIR", place.path("none"));
        command.output().expect("it can be started")
    };
    let told = |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    let listed = list("webdavs", server.port, &authority.file);
    assert!(listed.status.success() && told(&listed).contains(&place.text("data")), "{}", told(&listed));
    let other = Certificate::authority(&place.path(""), "other");
    let refused = list("webdavs", server.port, &other.file);
    assert!(!refused.status.success() && told(&refused).contains("`options.ca`"), "{}", told(&refused));

    // A small system has no certificates at all: that is said, and only where TLS is wanted.
    let refused = list("webdavs", server.port, &place.path("none"));
    assert!(
        !refused.status.success() && told(&refused).contains("apt-get install ca-certificates"),
        "{}",
        told(&refused)
    );
    drop(server);
    let server = WebDav::start(&place.path("served"), "me", "dav secret");
    let listed = list("webdav", server.port, &place.path("none"));
    assert!(listed.status.success(), "{}", told(&listed));
}
