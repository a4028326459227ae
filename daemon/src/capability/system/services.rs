//! Services of systemd, all by one call of `systemctl show`.

use std::collections::HashMap;
use std::path::Path;

use super::{program, sockets, text};
use crate::abi::system as abi;

const PLACES: [&str; 3] = ["usr/bin/systemctl", "bin/systemctl", "run/current-system/sw/bin/systemctl"];
const ARGUMENTS: [&str; 5] = [
    "show",
    "*.service",
    "--all",
    "--no-pager",
    "--property=Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,User,DynamicUser,MainPID,NoNewPrivileges,ProtectSystem",
];

pub(super) fn services(root: &Path) -> Result<Vec<abi::Service>, String> {
    let program = PLACES.iter().map(|place| root.join(place)).find(|path| path.exists());
    let program = program.ok_or("there is no systemctl here: services are those of systemd")?;
    let shown = parse(&program::output(&program, &ARGUMENTS)?);
    let passwd = text(root, "etc/passwd").unwrap_or_default();
    let complete = |(mut service, pid): (abi::Service, Option<u32>)| {
        if let Some(pid) = pid {
            service.process = sockets::process(root, pid).unwrap_or_default();
            // Some start as root and give that up by themselves.
            let status = text(root, &format!("proc/{pid}/status")).unwrap_or_default();
            service.user = user(&status, &passwd).unwrap_or(service.user);
        }
        service
    };
    Ok(shown.into_iter().map(complete).collect())
}

/// The effective user of a process, from its status in /proc, if it has a name.
pub(super) fn user(status: &str, passwd: &str) -> Option<String> {
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid))?;
    line.split(':').next().map(str::to_owned)
}

/// The services of `systemctl show`, with their main processes, whose names are to be found out.
pub(super) fn parse(text: &str) -> Vec<(abi::Service, Option<u32>)> {
    text.split("\n\n").filter_map(service).collect()
}

fn service(paragraph: &str) -> Option<(abi::Service, Option<u32>)> {
    let fields: HashMap<_, _> = paragraph.lines().filter_map(|line| line.split_once('=')).collect();
    let field = |key: &str| fields.get(key).copied().unwrap_or_default();
    if field("LoadState") == "not-found" {
        return None;
    }
    let name = field("Id").strip_suffix(".service")?.to_owned();
    let user = match field("User") {
        "" if field("DynamicUser") == "yes" => name.clone(),
        "" => "root".to_owned(),
        user => user.to_owned(),
    };
    let service = abi::Service {
        state: field("ActiveState").to_owned(),
        sub_state: field("SubState").to_owned(),
        unit_file: field("UnitFileState").to_owned(),
        path: field("FragmentPath").to_owned(),
        user,
        process: String::new(),
        no_new_privileges: field("NoNewPrivileges") == "yes",
        protect_system: field("ProtectSystem").to_owned(),
        name,
    };
    Some((service, field("MainPID").parse().ok().filter(|pid| *pid > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "\
Id=app.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
FragmentPath=/etc/systemd/system/app.service
MainPID=812
User=app
DynamicUser=no
NoNewPrivileges=yes
ProtectSystem=strict

MainPID=0
User=
DynamicUser=yes
ProtectSystem=no
NoNewPrivileges=no
Id=systemd-fsck@dev-vda1.service
LoadState=loaded
ActiveState=inactive
SubState=dead
UnitFileState=static

Id=plymouth-quit.service
LoadState=not-found
";

    #[test]
    fn what_systemctl_shows() {
        let found = parse(SHOWN);
        assert_eq!(found.len(), 2, "{found:?}");
        let (app, pid) = &found[0];
        assert_eq!((app.name.as_str(), app.user.as_str(), app.unit_file.as_str()), ("app", "app", "enabled"));
        assert_eq!((app.state.as_str(), app.sub_state.as_str(), *pid), ("active", "running", Some(812)));
        assert_eq!(app.path, "/etc/systemd/system/app.service");
        assert!(app.no_new_privileges && app.protect_system == "strict");
        let (check, pid) = &found[1];
        assert_eq!((check.name.as_str(), *pid), ("systemd-fsck@dev-vda1", None));
        assert_eq!(check.user, "systemd-fsck@dev-vda1", "a user made for it alone");
        let nobody = "Id=cron.service\nLoadState=loaded\nUser=\nDynamicUser=no\n";
        assert_eq!(parse(nobody)[0].0.user, "root");
        assert!(parse("").is_empty());
    }

    #[test]
    fn the_user_that_a_process_became() {
        let passwd = "root:x:0:0::/root:/bin/sh\nmemcache:x:106:111::/:/bin/false\n";
        let status = "Name:\tmemcached\nUid:\t106\t106\t106\t106\nGid:\t111\t111\t111\t111\n";
        assert_eq!(user(status, passwd).as_deref(), Some("memcache"));
        assert_eq!(user("Uid:\t64001\t64001\n", passwd), None, "one of a dynamic user");
        assert_eq!(user("", passwd), None);
    }

    #[test]
    fn a_machine_without_systemd_says_so() {
        let root = tempfile::tempdir().unwrap();
        assert!(services(root.path()).unwrap_err().contains("systemctl"));
    }
}
