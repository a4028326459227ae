//! What lies in the granted folders, and who may read and write it. All folders are walked through once; what each entry is
//! guilty of is decided by its name and mode, and only small files of telling names are opened.

use std::collections::HashSet;

use upkeep_plugin::{Error, Place, Severity};

use super::machine::Machine;
use super::{Check, Config, Hit, Look};

mod name;
mod walk;

pub(super) use self::walk::{Opened, Seen};

/// Walks through the folders that the configuration names.
pub(super) fn look_through(config: &Config) -> Result<Seen, String> {
    if config.roots.is_empty() {
        return Err("no [[config.hardening.roots]] names a folder to look through".to_owned());
    }
    let mut seen = Seen::default();
    for settings in &config.roots {
        seen.walk(settings).map_err(|error| format!("{}: {}", settings.root, Error::from(error)))?;
    }
    Ok(seen)
}

fn of(machine: &Machine<'_>, id: &str) -> Look {
    Ok(machine.files()?.hits.get(id).cloned().unwrap_or_default())
}

/// Owners beside root and the owner of the folder itself, with or without an account.
fn owners(machine: &Machine<'_>, has_account: bool) -> Look {
    let known: HashSet<_> = machine.accounts()?.accounts.iter().map(|account| account.uid).collect();
    let hits = machine.files()?.owners.iter().filter(|((_, uid), _)| known.contains(uid) == has_account);
    let hit = |((root, uid), (count, first)): (&(String, u32), &(u64, String))| {
        let seen = format!("in {root}, uid {uid} has {count}, the first of them {first}");
        let place = Place { path: format!("{root}/{first}"), line: None };
        Hit { place: Some(place), ..Hit::of(format!("{root}/{uid}"), seen) }
    };
    Ok(hits.map(hit).collect())
}

/// A check of what the walk has seen.
macro_rules! seen {
    ($id:literal, $severity:ident, $title:literal, $reason:literal, $remedy:literal) => {
        Check {
            id: $id,
            severity: Severity::$severity,
            title: $title,
            reason: $reason,
            remedy: $remedy,
            look: |machine| of(machine, $id),
        }
    };
}

pub(super) const CHECKS: &[Check] = &[
    seen!(
        "file-world-writable",
        Medium,
        "everybody may write to a file",
        "Any user or broken service of the machine can change what the application reads or runs.",
        "`chmod o-w FILE`; find what makes it so: a umask of 0, or a script with `chmod 777`."
    ),
    seen!(
        "folder-world-writable",
        High,
        "everybody may write to a folder",
        "Any user or broken service of the machine can replace the files in it, whoever owns them.",
        "`chmod o-w FOLDER`; where all have to write, `chmod +t FOLDER` lets each only remove what is their own."
    ),
    seen!(
        "file-set-uid",
        High,
        "a program among the application's files runs as its owner",
        "Nothing of an application needs it; who can write to or misuse the program has its owner's rights.",
        "`chmod u-s FILE`, after finding out who put it there: it is what intruders leave behind."
    ),
    seen!(
        "file-set-gid",
        Medium,
        "a program among the application's files runs with its group",
        "Nothing of an application needs it; who can misuse the program has the rights of its group.",
        "`chmod g-s FILE`, after finding out who put it there."
    ),
    Check {
        id: "file-foreign-owner",
        severity: Severity::Info,
        title: "files belong to somebody else than their folder",
        reason: "Right for what a web server has stored; elsewhere it tells that somebody worked in the folder by hand, and may \
                 still change those files.",
        remedy: "`find FOLDER -uid UID` lists them, `chown` gives them to the owner of the application. If it is right: \
                 `config.hardening.skip`.",
        look: |machine| owners(machine, true),
    },
    Check {
        id: "file-without-owner",
        severity: Severity::Medium,
        title: "files belong to nobody",
        reason: "Their user number has no account; the next account that is made may get the number, and the files.",
        remedy: "`find FOLDER -nouser` lists them, `chown` gives them to the owner of the application. Numbers of containers are \
                 right as they are.",
        look: |machine| owners(machine, false),
    },
    seen!(
        "private-key-readable",
        High,
        "everybody may read a private key",
        "Any user or broken service of the machine can be the server, or log in elsewhere, in its place.",
        "`chmod 600 FILE`; as it may have been read, make a new key."
    ),
    seen!(
        "private-key-in-web",
        Critical,
        "a private key lies in the web server's folder",
        "It can be downloaded by whoever guesses its name, and names of keys are guessed all day.",
        "Move it out of the folder, make a new key, and have the certificate of the old one revoked."
    ),
    seen!(
        "env-readable",
        Medium,
        "everybody may read a file of secrets for the environment",
        "It holds passwords of databases and keys of payment and messaging, for any user of the machine to read.",
        "`chmod 640 FILE`, and let it belong to root and the group of the application."
    ),
    seen!(
        "env-in-web",
        Critical,
        "a file of secrets for the environment lies in the web server's folder",
        "Requests for `/.env` come every few minutes to every address; whoever gets it has all of the application's passwords.",
        "Move it out of the folder, have the web server refuse names that begin with a dot, and change every secret in it."
    ),
    seen!(
        "repository-in-web",
        High,
        "a version-control folder lies in the web server's folder",
        "The whole source with its history, and the secrets that were once committed, can be downloaded piece by piece.",
        "Deploy without it (`git archive`, `rsync --exclude .git`), and have the web server refuse names that begin with a dot."
    ),
    seen!(
        "dump-readable",
        Medium,
        "everybody may read a dump or backup",
        "It holds what the database or the application has, without their checks of who asks.",
        "`chmod 600 FILE`, or move it to a folder that only its owner may enter; remove it if it is no longer needed."
    ),
    seen!(
        "dump-in-web",
        Critical,
        "a dump or backup lies in the web server's folder",
        "It can be downloaded by whoever guesses its name: `backup.zip` and `dump.sql` are tried all day.",
        "Move it out of the folder, look into the web server's log for who has fetched it, and change the secrets in it."
    ),
    seen!(
        "database-in-web",
        High,
        "a database file lies in the web server's folder",
        "It can be downloaded as a whole by whoever guesses its name.",
        "Move it out of the folder and tell the application where it is."
    ),
    seen!(
        "credentials-readable",
        High,
        "everybody may read stored passwords",
        "Files such as .pgpass, .netrc or .git-credentials hold them in the clear, for any user of the machine to read.",
        "`chmod 600 FILE`, and change what is in it."
    ),
    seen!(
        "credentials-in-web",
        Critical,
        "stored passwords lie in the web server's folder",
        "They can be downloaded by whoever guesses the name of the file.",
        "Move it out of the folder and change what is in it."
    ),
    seen!(
        "admin-tool-in-web",
        Medium,
        "a tool for administrators lies in the web server's folder",
        "phpinfo pages show settings and secrets; Adminer and the like are a login to the database for everybody.",
        "Remove it when it is not in use; else put it behind a login of the web server or a private address."
    ),
    seen!(
        "source-copy-in-web",
        Low,
        "a left-over copy lies in the web server's folder",
        "Copies of editors are sent as text instead of being run, with the passwords that the source holds.",
        "Remove it, and have the deployment leave out `*~`, `*.swp`, `*.bak`, `*.old` and `*.orig`."
    ),
    seen!(
        "authorized-keys-writable",
        High,
        "others may write to the keys that open an account",
        "Whoever adds a line can log in as its owner.",
        "`chmod go-w FILE`, and see that each key in it is known."
    ),
];
