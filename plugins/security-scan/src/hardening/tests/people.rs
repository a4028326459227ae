use upkeep_plugin::system::Password;

use super::Case;

fn own(text: &str) -> String {
    text.to_owned()
}

pub(super) const CASES: &[Case] = &[
    (
        "service-root",
        |it| {
            it.service("api", |it| {
                it.user = own("root");
                it.process = own("node");
            });
        },
        |it| {
            it.service("api", |it| {
                it.user = own("root");
                it.process = own("node");
            });
            it.config.root_services.push(own("api"));
            it.service("unattended-upgrades", |it| {
                it.user = own("root");
                it.process = own("python3");
                it.path = own("/lib/systemd/system/unattended-upgrades.service");
            });
        },
    ),
    (
        "service-own-root",
        |it| it.service("importer", |it| it.user = own("root")),
        |it| {
            it.service("cron", |it| {
                it.user = own("root");
                it.path = own("/lib/systemd/system/cron.service");
            });
        },
    ),
    (
        "service-new-privileges",
        |it| it.service("api", |it| it.no_new_privileges = false),
        |it| {
            it.service("cron", |it| {
                it.no_new_privileges = false;
                it.path = own("/lib/systemd/system/cron.service");
            });
        },
    ),
    (
        "service-writes-system",
        |it| it.service("api", |it| it.protect_system = own("no")),
        |it| it.service("api", |it| it.protect_system = own("full")),
    ),
    (
        "service-failed",
        |it| it.service("nftables", |it| it.state = own("failed")),
        |it| it.service("nftables", |it| it.state = own("inactive")),
    ),
    (
        "time-sync-absent",
        |it| it.facts.services = Some(Vec::new()),
        |it| {
            it.facts.services = Some(Vec::new());
            it.service("chrony", |_| {});
        },
    ),
    (
        "account-without-password",
        |it| it.account(|it| it.password = Password::None),
        |it| it.account(|it| it.password = Password::Locked),
    ),
    (
        "account-weak-hash",
        |it| it.account(|it| it.scheme = own("md5")),
        |it| it.account(|it| it.scheme = own("yescrypt")),
    ),
    ("account-uid-zero", |it| it.add_account("toor", 0, "/bin/sh"), |it| it.add_account("toor", 1001, "/bin/sh")),
    ("account-shared-uid", |it| it.add_account("tom", 1000, "/bin/sh"), |it| it.add_account("tom", 1001, "/bin/sh")),
    (
        "account-system-shell",
        |it| it.add_account("backup", 34, "/bin/bash"),
        |it| {
            it.add_account("postgres", 105, "/bin/bash");
            it.add_account("sync", 4, "/bin/sync");
        },
    ),
    (
        "account-container-group",
        |it| it.account(|it| it.groups = vec![own("docker")]),
        |it| it.account(|it| it.groups = vec![own("sudo")]),
    ),
    (
        "account-home-writable",
        |it| it.account(|it| it.home_mode = Some(0o777)),
        |it| it.account(|it| it.home_mode = Some(0o775)),
    ),
    (
        "account-home-readable",
        |it| it.account(|it| it.home_mode = Some(0o755)),
        |it| it.account(|it| it.home_mode = Some(0o751)),
    ),
    ("account-home-foreign", |it| it.account(|it| it.home_uid = Some(33)), |it| it.account(|it| it.home_uid = Some(0))),
    ("sudo-without-password", |it| it.sudo("%sudo", "ALL", true), |it| it.sudo("%sudo", "ALL", false)),
    (
        "sudo-way-out",
        |it| it.sudo("deploy", "/usr/bin/systemctl restart app, /usr/bin/vim /etc/app.conf", true),
        |it| it.sudo("deploy", "/usr/bin/systemctl restart app", true),
    ),
    ("umask-wide", |it| it.accounts().umask = Some(0o002), |it| it.accounts().umask = Some(0o027)),
    (
        "root-path-unsafe",
        |it| it.accounts().root_path.push(own(".")),
        |it| it.accounts().root_path.push(own("/opt/bin")),
    ),
];
