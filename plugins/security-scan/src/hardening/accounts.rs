//! Who may log in, and who may become root.

use std::collections::BTreeMap;

use upkeep_plugin::Severity;
use upkeep_plugin::system::{Account, Password, SudoRule};

use super::machine::Machine;
use super::{Check, Hit, Look};

/// Hashes that are guessed by the billion.
const WEAK: [&str; 6] = ["des", "bsdi-des", "md5", "sun-md5", "nt", "sha1"];

/// Programs that start others, or write any file.
const ESCAPES: [&str; 22] = [
    "awk", "bash", "cp", "dash", "docker", "env", "find", "less", "man", "more", "mv", "nano", "perl", "python3",
    "rsync", "sed", "sh", "tar", "tee", "vi", "vim", "zsh",
];

fn has_shell(account: &Account) -> bool {
    let shell = account.shell.rsplit('/').next().unwrap_or_default();
    !["nologin", "false", "true", "sync", "shutdown", "halt", "git-shell"].contains(&shell)
}

/// Those of people, and root.
fn is_person(account: &Account) -> bool {
    (account.uid == 0 || account.uid >= 1000) && has_shell(account)
}

/// As for every account, once something is known of passwords.
fn password(machine: &Machine<'_>, is_wrong: impl Fn(&Account) -> bool, seen: impl Fn(&Account) -> String) -> Look {
    if machine.accounts()?.accounts.iter().any(|account| account.password == Password::Unknown) {
        return Err("upkeep may not read /etc/shadow".to_owned());
    }
    machine.account(is_wrong, seen)
}

fn sudo(machine: &Machine<'_>, is_wrong: impl Fn(&SudoRule) -> bool) -> Look {
    let rules = machine.accounts()?.sudo.as_ref().ok_or("upkeep may not read /etc/sudoers")?;
    let hit = |rule: &SudoRule| {
        Hit::of(rule.who.clone(), format!("{} may run {} as {}", rule.who, rule.commands, rule.run_as))
    };
    Ok(rules.iter().filter(|rule| is_wrong(rule)).map(hit).collect())
}

fn is_all(rule: &SudoRule) -> bool {
    rule.commands.split(',').any(|command| command.trim() == "ALL")
}

/// Whether a command opens the way to any other: a program that starts others, or a pattern for its arguments.
fn escapes(command: &str) -> bool {
    let program = command.split_whitespace().next().unwrap_or_default();
    command.contains('*') || ESCAPES.contains(&program.rsplit('/').next().unwrap_or_default())
}

fn name(account: &Account) -> String {
    account.name.clone()
}

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "account-without-password",
        severity: Severity::Critical,
        title: "an account has no password",
        reason: "Whoever names it is in: at the console, with su, and over SSH where empty passwords are allowed.",
        remedy: "`passwd -l NAME` closes it, `passwd NAME` gives it a password.",
        look: |machine| password(machine, |it| it.password == Password::None, name),
    },
    Check {
        id: "account-weak-hash",
        severity: Severity::High,
        title: "a password is kept in a weak hash",
        reason: "Whoever gets hold of /etc/shadow, or a backup of it, has the password within hours.",
        remedy: "See that /etc/login.defs says `ENCRYPT_METHOD YESCRYPT`, then have the password set anew: `passwd NAME`.",
        look: |machine| {
            password(machine, |it| WEAK.contains(&it.scheme.as_str()), |it| format!("{} ({})", it.name, it.scheme))
        },
    },
    Check {
        id: "account-uid-zero",
        severity: Severity::Critical,
        title: "an account besides root is root",
        reason: "It has the user number 0: a classic back door, as everything but its name is root's.",
        remedy: "Find out who made it. `usermod -u NUMBER NAME` if the account is needed, else remove its line with `vipw`.",
        look: |machine| machine.account(|it| it.uid == 0 && it.name != "root", name),
    },
    Check {
        id: "account-shared-uid",
        severity: Severity::Medium,
        title: "accounts share a user number",
        reason: "They can read and end each other's files and processes, and logs cannot tell them apart.",
        remedy: "Give one of them its own: `usermod -u NUMBER ACCOUNT`, then `chown` its files.",
        look: |machine| {
            let mut names: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
            for account in machine.accounts()?.accounts.iter().filter(|it| it.uid != 0) {
                names.entry(account.uid).or_default().push(&account.name);
            }
            let shared = names.into_iter().filter(|(_, names)| names.len() > 1);
            Ok(shared.map(|(uid, names)| Hit::of(uid.to_string(), format!("{} are {uid}", names.join(", ")))).collect())
        },
    },
    Check {
        id: "account-system-shell",
        severity: Severity::Low,
        title: "an account of a service has a shell",
        reason: "Nobody is meant to log in as a service; a shell makes a stolen password or key of it worth something.",
        remedy: "`usermod -s /usr/sbin/nologin NAME`.",
        look: |machine| {
            // PostgreSQL's own scripts become its account by way of the shell.
            let is_meant = |it: &Account| it.name == "postgres";
            machine.account(|it| (1..1000).contains(&it.uid) && has_shell(it) && !is_meant(it), name)
        },
    },
    Check {
        id: "account-container-group",
        severity: Severity::Medium,
        title: "an account is as good as root by way of containers",
        reason: "Members of `docker`, `lxd` and `disk` reach every file of the machine without a password and without a trace.",
        remedy: "`gpasswd -d NAME GROUP`; let people use `sudo docker`, or rootless Docker.",
        look: |machine| {
            let groups = |it: &Account| {
                it.groups
                    .iter()
                    .filter(|it| ["docker", "lxd", "disk"].contains(&it.as_str()))
                    .cloned()
                    .collect::<Vec<_>>()
            };
            machine.account(
                |it| it.uid != 0 && !groups(it).is_empty(),
                |it| format!("{} ({})", it.name, groups(it).join(", ")),
            )
        },
    },
    Check {
        id: "account-home-writable",
        severity: Severity::High,
        title: "everybody may write to a home folder",
        reason: "Whoever lays an authorized_keys or .profile there is that person from then on.",
        remedy: "`chmod o-w HOME`.",
        look: |machine| {
            let is_open = |it: &Account| it.home_mode.is_some_and(|mode| mode & 0o002 != 0);
            machine.account(|it| is_person(it) && is_open(it), |it| format!("{} of {}", it.home, it.name))
        },
    },
    Check {
        id: "account-home-readable",
        severity: Severity::Info,
        title: "everybody may look into a home folder",
        reason: "Histories, keys and notes of people are then as private as each single file's mode is.",
        remedy: "`chmod 750 HOME`, and `HOME_MODE 0750` in /etc/login.defs for those to come.",
        look: |machine| {
            let is_open = |it: &Account| it.home_mode.is_some_and(|mode| mode & 0o004 != 0);
            machine.account(|it| is_person(it) && is_open(it), |it| format!("{} of {}", it.home, it.name))
        },
    },
    Check {
        id: "account-home-foreign",
        severity: Severity::Medium,
        title: "a home folder belongs to somebody else",
        reason: "Its owner decides which keys are right for the account.",
        remedy: "`chown NAME: HOME`, after a look at what is in it.",
        look: |machine| {
            let is_foreign = |it: &Account| it.home_uid.is_some_and(|owner| owner != it.uid && owner != 0);
            machine.account(|it| is_person(it) && is_foreign(it), |it| format!("{} of {}", it.home, it.name))
        },
    },
    Check {
        id: "sudo-without-password",
        severity: Severity::High,
        title: "sudo gives everything without a password",
        reason: "A stolen session or key of this account is root at once.",
        remedy: "Remove `NOPASSWD:` with `visudo`, or name the commands that automation needs. Images of clouds write such a rule \
                 into /etc/sudoers.d/90-cloud-init-users.",
        look: |machine| sudo(machine, |rule| rule.no_password && is_all(rule) && rule.who != "root"),
    },
    Check {
        id: "sudo-way-out",
        severity: Severity::Medium,
        title: "sudo gives a command without a password that starts any other",
        reason: "Shells, editors, pagers and patterns for arguments make one allowed command into all of them.",
        remedy: "Have the rule name a script that root owns, with its whole path and arguments.",
        look: |machine| {
            sudo(machine, |rule| {
                rule.no_password && !is_all(rule) && rule.commands.split(',').any(|it| escapes(it.trim()))
            })
        },
    },
    Check {
        id: "umask-wide",
        severity: Severity::Low,
        title: "new files may be written by others",
        reason: "The umask of new sessions leaves the right to write to the group or to everybody.",
        remedy: "Set `UMASK 027` (or 022) in /etc/login.defs.",
        look: |machine| {
            let mask = machine.accounts()?.umask.ok_or("/etc/login.defs sets no UMASK")?;
            Ok(if mask & 0o022 == 0o022 { Vec::new() } else { vec![Hit::one(format!("UMASK {mask:03o}"))] })
        },
    },
    Check {
        id: "root-path-unsafe",
        severity: Severity::High,
        title: "root looks for programs in a folder of others",
        reason: "Whoever may write there has root run a program of their own by its name.",
        remedy: "Remove the folder from `ENV_SUPATH` in /etc/login.defs; only absolute folders of root belong there.",
        look: |machine| {
            let is_unsafe = |it: &&String| {
                !it.starts_with('/') || ["/tmp", "/var/tmp", "/home"].iter().any(|at| it.starts_with(at))
            };
            let path = &machine.accounts()?.root_path;
            if path.is_empty() {
                return Err("/etc/login.defs sets no ENV_SUPATH".to_owned());
            }
            let told = |it: &String| Hit::one(if it.is_empty() { "an empty entry".to_owned() } else { it.clone() });
            Ok(path.iter().filter(is_unsafe).map(told).take(1).collect())
        },
    },
];
