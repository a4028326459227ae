//! Who may log in, and who may become root: passwd, shadow, group, sudoers and login.defs.
//!
//! Of a password only its state and the name of its hash leave this module.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::text;
use crate::abi::system as abi;

mod sudoers;

/// Groups whose members are as good as root.
const POWERFUL: [&str; 6] = ["sudo", "wheel", "admin", "docker", "lxd", "disk"];

pub(super) fn accounts(root: &Path) -> Result<abi::Accounts, String> {
    let today = crate::clock::now().0 / 86_400_000;
    let shadow = text(root, "etc/shadow").ok();
    let groups = text(root, "etc/group").unwrap_or_default();
    let mut accounts = parse(&text(root, "etc/passwd")?, shadow.as_deref(), &groups, today);
    for account in &mut accounts {
        let home = fs::metadata(root.join(account.home.trim_start_matches('/'))).ok().filter(fs::Metadata::is_dir);
        account.home_mode = home.as_ref().map(|it| it.mode() & 0o7777);
        account.home_uid = home.map(|it| it.uid());
    }
    let settings = text(root, "etc/login.defs").unwrap_or_default();
    let setting = |key: &str| {
        let mut values = settings.lines().filter_map(|line| line.split_once(char::is_whitespace));
        values.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
    };
    let path = setting("ENV_SUPATH").unwrap_or_default().trim_start_matches("PATH=");
    Ok(abi::Accounts {
        accounts,
        sudo: sudoers::rules(root),
        umask: setting("UMASK").and_then(|mask| u32::from_str_radix(mask, 8).ok()),
        root_path: path.split(':').filter(|_| !path.is_empty()).map(str::to_owned).collect(),
    })
}

/// `today` is in days since 1970, as the dates of shadow are. Nothing is known yet of the home folders.
pub(super) fn parse(passwd: &str, shadow: Option<&str>, groups: &str, today: i64) -> Vec<abi::Account> {
    let lines = shadow.unwrap_or_default().lines();
    let shadowed: HashMap<_, _> = lines.filter_map(|line| line.split_once(':')).collect();
    let mut accounts = Vec::new();
    for line in passwd.lines() {
        let [name, password, uid, gid, _, home, shell] = line.split(':').collect::<Vec<_>>()[..] else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        let (state, scheme) = match (password, shadow, shadowed.get(name)) {
            ("x", None, _) => (abi::Password::Unknown, ""),
            ("x", Some(_), Some(fields)) => state(fields, today),
            // Nobody gets in with an `x` that stands for nothing.
            ("x", Some(_), None) => (abi::Password::Locked, ""),
            (own, ..) => state(own, today),
        };
        accounts.push(abi::Account {
            name: name.to_owned(),
            uid,
            gid,
            shell: if shell.is_empty() { "/bin/sh" } else { shell }.to_owned(),
            home: home.to_owned(),
            home_mode: None,
            home_uid: None,
            password: state,
            scheme: scheme.to_owned(),
            groups: powerful(groups, name, gid),
        });
    }
    accounts
}

/// What the fields after the name say: hash, last change, minimum, maximum, warning, grace, end of the account.
fn state(fields: &str, today: i64) -> (abi::Password, &'static str) {
    let fields: Vec<_> = fields.split(':').collect();
    let day = |at: usize| fields.get(at).and_then(|it| it.parse::<i64>().ok());
    let hash = fields.first().copied().unwrap_or_default();
    let is_over = day(6).is_some_and(|end| end < today)
        || day(1).zip(day(3)).is_some_and(|(changed, most)| changed.saturating_add(most) < today);
    match hash {
        "" => (abi::Password::None, ""),
        _ if hash.starts_with(['!', '*']) => (abi::Password::Locked, ""),
        _ if is_over => (abi::Password::Expired, scheme(hash)),
        _ => (abi::Password::Set, scheme(hash)),
    }
}

/// The name of a hash, by crypt(5).
fn scheme(hash: &str) -> &'static str {
    let Some(rest) = hash.strip_prefix('$') else {
        return match hash {
            _ if hash.starts_with('_') => "bsdi-des",
            _ if hash.len() == 13 => "des",
            _ => "unknown",
        };
    };
    match rest.split(['$', ',']).next().unwrap_or_default() {
        "1" => "md5",
        "md5" => "sun-md5",
        "2" | "2a" | "2b" | "2x" | "2y" => "bcrypt",
        "3" => "nt",
        "5" => "sha256",
        "6" => "sha512",
        "7" => "scrypt",
        "sha1" => "sha1",
        "y" => "yescrypt",
        "gy" => "gost-yescrypt",
        _ => "unknown",
    }
}

fn powerful(groups: &str, name: &str, gid: u32) -> Vec<String> {
    let is_in = |line: &&str| {
        let fields: Vec<_> = line.split(':').collect();
        let [group, _, id, members] = fields[..] else { return false };
        POWERFUL.contains(&group) && (id.parse() == Ok(gid) || members.split(',').any(|member| member == name))
    };
    groups.lines().filter(is_in).filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
