//! Each check fires on a machine that has what it looks for, and keeps silent on one that nearly has.

use std::collections::BTreeSet;

use upkeep_plugin::test::{Facts, Host};

use self::stage::{NOW_MS, Stage};
use super::*;

mod documentation;
mod exposure;
mod files;
mod people;
mod ssh;
mod stage;
mod system;

/// The identifier of a check, what makes it fire, and what comes near to it.
type Case = (&'static str, fn(&mut Stage), fn(&mut Stage));

fn cases() -> Vec<&'static Case> {
    let parts = [ssh::CASES, exposure::CASES, files::CASES, people::CASES, system::CASES];
    parts.into_iter().flatten().collect()
}

fn of(outcome: &Outcome, id: &str) -> Looked {
    outcome.checks.iter().find(|(known, _)| *known == id).unwrap_or_else(|| panic!("{id} was not run")).1.clone()
}

/// Whether this test may give files away.
fn is_root() -> bool {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(1), None).is_ok()
}

#[test]
fn every_check_has_a_case() {
    let known: BTreeSet<_> = checks().map(|check| check.id).collect();
    assert_eq!(cases().into_iter().map(|(id, ..)| *id).collect::<BTreeSet<_>>(), known);
    assert_eq!((known.len(), cases().len()), (checks().count(), checks().count()), "each is there once");
}

#[test]
fn every_check_fires() {
    for (id, fires, _) in cases() {
        if ["file-foreign-owner", "file-without-owner"].contains(id) && !is_root() {
            eprintln!("SKIPPED: {id} needs files of others, which only root can make");
            continue;
        }
        let mut stage = Stage::new();
        fires(&mut stage);
        let outcome = stage.check();
        assert!(matches!(of(&outcome, id), Looked::Found(1..)), "{id}: {:?}", of(&outcome, id));
        let key = format!("hardening/{id}");
        let own: Vec<_> = outcome.findings.iter().filter(|it| it.rule.as_deref() == Some(id)).collect();
        assert!(!own.is_empty(), "{id}");
        for finding in own {
            assert!(finding.key == key || finding.key.starts_with(&format!("{key}/")), "{}", finding.key);
        }
    }
}

#[test]
fn every_check_keeps_silent() {
    for (id, _, silent) in cases() {
        let mut stage = Stage::new();
        silent(&mut stage);
        assert_eq!(of(&stage.check(), id), Looked::Fine, "{id}");
    }
}

#[test]
fn a_machine_that_is_well_kept_has_no_findings() {
    let outcome = Stage::new().check();
    let wrong: Vec<_> = outcome.checks.iter().filter(|(_, looked)| *looked != Looked::Fine).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(outcome.findings.is_empty() && outcome.unseen.is_empty(), "{:?}", outcome.unseen);
}

#[test]
fn what_is_not_granted_is_not_fine() {
    let _host = Host::new().system(Facts::default());
    let outcome = check(&Config::default(), NOW_MS).unwrap();
    assert!(outcome.checks.iter().all(|(_, looked)| matches!(looked, Looked::Unseen(_))), "{:?}", outcome.checks);
    assert_eq!(outcome.unseen.len(), checks().count());
    assert!(outcome.findings.is_empty());
}

#[test]
fn a_setting_that_is_not_known_is_not_fine() {
    let mut stage = Stage::new();
    stage.facts.kernel.as_mut().unwrap().mounts = None;
    stage.facts.kernel.as_mut().unwrap().settings.retain(|it| it.name != "kernel.kptr_restrict");
    stage.account(|it| it.password = upkeep_plugin::system::Password::Unknown);
    stage.sshd().settings.retain(|it| it.name != "ciphers");
    let outcome = stage.check();
    for id in ["mount-tmp", "kernel-pointers", "account-without-password", "ssh-weak-ciphers"] {
        assert!(matches!(of(&outcome, id), Looked::Unseen(_)), "{id}");
        assert!(outcome.unseen.contains(&format!("hardening/{id}")));
    }
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
}

#[test]
fn a_machine_without_ssh_is_fine() {
    let mut stage = Stage::new();
    stage.facts.sshd = Some(None);
    assert_eq!(of(&stage.check(), "ssh-root-login"), Looked::Fine);
}

#[test]
fn a_match_block_has_a_finding_of_its_own() {
    let mut stage = Stage::new();
    stage.block("User deploy", "passwordauthentication", "yes");
    let outcome = stage.check();
    assert_eq!(outcome.findings[0].key, "hardening/ssh-password-authentication/match/User deploy");
    assert!(outcome.findings[0].title.ends_with("passwordauthentication yes, for `Match User deploy`"));
}

#[test]
fn what_is_left_out_is_not_reported() {
    let mut stage = Stage::new();
    stage.ssh("permitrootlogin", "yes");
    stage.config.skip = vec!["ssh-root-login".to_owned()];
    let outcome = stage.check();
    assert_eq!(of(&outcome, "ssh-root-login"), Looked::Skipped);
    assert!(outcome.findings.is_empty());
}

#[test]
fn an_unknown_identifier_is_refused_with_those_near_it() {
    let config = Config { skip: vec!["ssh-root".to_owned()], ..Config::default() };
    let error = check(&config, NOW_MS).unwrap_err().to_string();
    assert!(error.contains("no check `ssh-root` (near it: ssh-root-login, "), "{error}");
    let config = Config { skip: vec!["nonsense".to_owned()], ..Config::default() };
    assert!(check(&config, NOW_MS).unwrap_err().to_string().contains("`nonsense`; docs/"));
}

#[test]
fn very_many_of_one_kind_are_summed_up() {
    let mut stage = Stage::new();
    for n in 0..MOST + 20 {
        stage.file(&format!("uploads/{n:04}"), "", 0o666);
    }
    let outcome = stage.check();
    assert_eq!(of(&outcome, "file-world-writable"), Looked::Found(MOST + 20));
    assert_eq!(outcome.findings.len(), MOST + 1);
    let last = outcome.findings.last().unwrap();
    assert!(last.key == "hardening/file-world-writable/*" && last.title.ends_with(": 20 more"), "{last:?}");
    assert_eq!(outcome.unseen, ["hardening/file-world-writable/"]);
}

#[test]
fn findings_of_files_name_their_place() {
    let mut stage = Stage::new();
    stage.file("public/.env", "SECRET=1", 0o640);
    let found = stage.check().findings;
    assert_eq!(found[0].key, "hardening/env-in-web/app/public/.env");
    assert_eq!(found[0].place.as_ref().map(|it| it.path.as_str()), Some("app/public/.env"));
    assert!(found[0].detail.contains("Move it out"));
}

#[test]
fn what_nobody_else_can_reach_is_not_readable() {
    let mut stage = Stage::new();
    stage.file("closed/inner/.env", "SECRET=1", 0o644);
    stage.folder("closed", 0o750);
    stage.folder("closed/inner", 0o755);
    assert_eq!(of(&stage.check(), "env-readable"), Looked::Fine);
}

#[test]
fn a_broken_certificate_is_not_fine() {
    let mut stage = Stage::new();
    stage.file("tls/broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o644);
    let outcome = stage.check();
    assert!(
        outcome.unseen.contains(&"hardening/certificate-over/app/tls/broken.pem".to_owned()),
        "{:?}",
        outcome.unseen
    );
}

#[test]
fn no_identifier_begins_another() {
    // What was not looked at is told by how keys begin.
    for one in checks() {
        let longer: Vec<_> =
            checks().filter(|it| it.id != one.id && it.id.starts_with(one.id)).map(|it| it.id).collect();
        assert!(longer.is_empty(), "{}: {longer:?}", one.id);
    }
}
