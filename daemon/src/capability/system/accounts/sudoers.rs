//! Rules of sudoers(5), as far as they are simple: aliases stay as they are written, `Defaults` are left out.

use std::fs;
use std::path::Path;

use crate::abi::system as abi;

/// Those of sudoers and the folder beside it; none when one of the files cannot be read.
pub(super) fn rules(root: &Path) -> Option<Vec<abi::SudoRule>> {
    let main = root.join("etc/sudoers");
    if !main.exists() {
        return Some(Vec::new());
    }
    let mut texts = vec![fs::read_to_string(main).ok()?];
    let folder = root.join("etc/sudoers.d");
    if folder.exists() {
        let mut paths: Vec<_> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        // sudo passes over names with a dot, and copies that editors leave.
        let is_meant = |path: &&std::path::PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| !name.contains('.') && !name.ends_with('~'))
        };
        for path in paths.iter().filter(is_meant) {
            texts.push(fs::read_to_string(path).ok()?);
        }
    }
    Some(texts.iter().flat_map(|text| parse(text)).collect())
}

pub(super) fn parse(text: &str) -> Vec<abi::SudoRule> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.starts_with(['#', '@']));
    lines.filter_map(rule).collect()
}

/// `WHO HOSTS = (RUNAS) TAGS: COMMANDS`.
fn rule(line: &str) -> Option<abi::SudoRule> {
    let (subject, rest) = line.split_once('=')?;
    let mut words = subject.split_whitespace();
    let (who, _hosts) = (words.next()?, words.next()?);
    if who.starts_with("Defaults") || who.ends_with("_Alias") {
        return None;
    }
    let rest = rest.trim_start();
    let (run_as, mut commands) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((run_as, commands)) => (run_as.trim(), commands.trim_start()),
        None => ("root", rest),
    };
    let mut no_password = false;
    while let Some((tag, after)) = commands.split_once(':').filter(|(tag, _)| is_tag(tag.trim())) {
        no_password = match tag.trim() {
            "NOPASSWD" => true,
            "PASSWD" => false,
            _ => no_password,
        };
        commands = after.trim_start();
    }
    let own = str::to_owned;
    Some(abi::SudoRule { who: own(who), run_as: own(run_as), commands: own(commands.trim()), no_password })
}

fn is_tag(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_uppercase() || it == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_rules() {
        let text = "\
# mai ALL=(ALL) ALL
Defaults        env_reset
Defaults:mai    !requiretty
User_Alias ADMINS = mai, tom
root    ALL=(ALL:ALL) ALL
%sudo   ALL = (ALL : ALL) \\
        NOPASSWD: ALL
deploy  web1=NOEXEC:NOPASSWD: /usr/bin/systemctl restart app
ADMINS  ALL=(www-data) PASSWD: /usr/bin/php
@includedir /etc/sudoers.d
";
        let found: Vec<_> =
            parse(text).into_iter().map(|it| (it.who, it.run_as, it.commands, it.no_password)).collect();
        let own = |(a, b, c, d): (&str, &str, &str, bool)| (a.to_owned(), b.to_owned(), c.to_owned(), d);
        let expected = [
            ("root", "ALL:ALL", "ALL", false),
            ("%sudo", "ALL : ALL", "ALL", true),
            ("deploy", "root", "/usr/bin/systemctl restart app", true),
            ("ADMINS", "www-data", "/usr/bin/php", false),
        ];
        assert_eq!(found, expected.map(own));
    }

    #[test]
    fn the_folder_counts_without_its_leftovers() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/sudoers.d")).unwrap();
        for (path, who) in
            [("sudoers", "root"), ("sudoers.d/app", "app"), ("sudoers.d/app.bak", "no"), ("sudoers.d/a~", "no")]
        {
            fs::write(root.path().join("etc").join(path), format!("{who} ALL=(ALL) ALL\n")).unwrap();
        }
        let who: Vec<_> = rules(root.path()).unwrap().into_iter().map(|it| it.who).collect();
        assert_eq!(who, ["root", "app"]);
    }
}
