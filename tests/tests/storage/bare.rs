//! Repositories on servers that are named on the command line alone: the server that had the task file is lost.

use std::process::Command;

use crate::place::{Place, is_same, round_trip, upkeep};
use crate::servers::{Sshd, Swift, is_there};

/// Lists and restores with these arguments for the place.
fn comes_back(place: &Place, arguments: &[&str]) {
    let password = place.text("password");
    let run = |command: &[&str]| {
        let output = Command::new(upkeep())
            .args(["backup"])
            .args(command)
            .args(arguments)
            .args(["--password-file", &password])
            // Nothing is configured there.
            .env("UPKEEP_CONFIG", place.path("none"))
            .output()
            .expect("it can be started");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = run(&["list"]);
    assert!(code == Some(0) && text.contains(&place.text("data")), "{text}");
    let (code, text) = run(&["restore", "test", "--target", &place.text("back")]);
    assert_eq!(code, Some(0), "{text}");
    let data = place.text("data");
    is_same(data.as_ref(), &place.path("back").join(data.trim_start_matches('/')));
    // Without what the server wants it is said what that is.
    let (code, text) = run(&["list", "--option", "nonsense=1"]);
    assert!(code != Some(0) && text.contains("`nonsense` is not an option of a repository on"), "{text}");
}

#[test]
fn an_sftp_repository_without_a_task_file() {
    if !is_there("an_sftp_repository_without_a_task_file", &["/usr/sbin/sshd", "ssh"]) {
        return;
    }
    let place = Place::new();
    let sshd = Sshd::start(&place.path("sshd"));
    let mut grant = place.grant(&sshd.url(&place.text("repository")));
    grant.options = sshd.options();
    round_trip(&place, &grant);
    let options: Vec<String> = grant.options.iter().map(|(name, value)| format!("--option={name}={value}")).collect();
    let options = options.iter().map(String::as_str);
    comes_back(&place, &["--repository", &grant.url].into_iter().chain(options).collect::<Vec<_>>());
}

#[test]
fn an_s3_repository_without_a_task_file() {
    if !is_there("an_s3_repository_without_a_task_file", &Swift::PROGRAMS) {
        return;
    }
    let place = Place::new();
    let swift = Swift::start(&place.path("swift"), "bucket");
    let mut grant = place.grant("s3://bucket/pre/fix");
    grant.options.insert("endpoint".into(), swift.endpoint.clone());
    grant.secrets.insert("access_key_id".into(), place.secret("id", Swift::KEY.0));
    grant.secrets.insert("secret_access_key".into(), place.secret("key", Swift::KEY.1));
    round_trip(&place, &grant);
    let (endpoint, id, key) = (
        format!("endpoint={}", swift.endpoint),
        format!("access_key_id=file:{}", place.text("id")),
        format!("secret_access_key=file:{}", place.text("key")),
    );
    comes_back(&place, &["--repository", &grant.url, "--option", &endpoint, "--secret", &id, "--secret", &key]);
}
