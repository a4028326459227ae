//! The databases that a task file lets dump: a file that is one, or a server that is named without contradiction and whose
//! programs are there. Whether the server answers is left to the run: it may be off while the configuration is checked.

use std::path::Path;

use crate::config::check::places::check_database;
use crate::config::check::{Site, TaskFile};
use crate::config::dump::{DumpGrant, RedisGrant, ServerGrant};
use crate::config::source::KeyPath;
use crate::database::tools::{self, Suite};

pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) {
    let settings = file.settings;
    for (name, dump) in &settings.grant.dump {
        let key = |kind: &str| KeyPath::of(["grant", "dump", name, kind]);
        match dump {
            DumpGrant::Sqlite(path) => check_database(file, site, &key("sqlite"), path),
            DumpGrant::Postgresql(server) => check_server(file, site, &key("postgresql"), server, &tools::POSTGRESQL),
            DumpGrant::Mariadb(server) => check_server(file, site, &key("mariadb"), server, &tools::MARIADB),
            DumpGrant::Redis(redis) => {
                let RedisGrant { host, port, socket, user: _, password: _, tools } = redis;
                let at = Address { host: host.as_deref(), port: *port, socket: socket.as_deref() };
                check_address(file, &key("redis"), &at, "/run/redis/redis-server.sock");
                check_tools(file, site, &key("redis"), tools.as_deref(), &tools::REDIS);
            }
        }
    }
}

fn check_server(file: &mut TaskFile<'_>, site: &Site<'_>, key: &KeyPath, server: &ServerGrant, suite: &Suite) {
    let ServerGrant { host, port, socket, user, password, databases, globals, tools } = server;
    let at = Address { host: host.as_deref(), port: *port, socket: socket.as_deref() };
    check_address(file, key, &at, suite.socket);
    check_account(file, key, user.as_deref());
    if host.is_some() && password.is_none() && suite.name == tools::MARIADB.name {
        warn_of_no_password(file, key);
    }
    let Some(databases) = databases else { return check_tools(file, site, key, tools.as_deref(), suite) };
    let place = key.key("databases");
    if databases.is_empty() && !globals {
        file.error(
            place.clone(),
            "nothing is named, and `globals` is off",
            "name a database, or remove the key for all",
        );
    }
    for (index, database) in databases.iter().enumerate() {
        if database.is_empty() || database.contains(['\0', '\n', '\r']) {
            file.error(place.index(index), "this is not the name of a database", "write its name as the server has it");
        } else if databases[..index].contains(database) {
            file.error(place.index(index), format!("the database `{database}` is named twice"), "remove one of them");
        } else if suite.own.contains(&database.as_str()) {
            let message = format!("`{database}` belongs to the server itself and is not dumped");
            file.error(place.index(index), message, "remove it; `globals = true` saves the accounts");
        }
    }
    check_tools(file, site, key, tools.as_deref(), suite);
}

pub(super) fn check_account(file: &mut TaskFile<'_>, key: &KeyPath, user: Option<&str>) {
    if user.is_some_and(|user| user.is_empty() || user.contains(['\0', '\n'])) {
        file.error(key.key("user"), "this is not the name of an account", "write the account, or leave the key out");
    }
}

pub(super) fn warn_of_no_password(file: &mut TaskFile<'_>, key: &KeyPath) {
    let help = "add `password = { file = \"/etc/upkeep/secrets/NAME\" }`, if the account has one";
    file.warning(key.clone(), "an account that comes over the network without a password", help);
}

pub(super) struct Address<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) port: Option<u16>,
    pub(super) socket: Option<&'a Path>,
}

pub(super) fn check_address(file: &mut TaskFile<'_>, key: &KeyPath, at: &Address<'_>, usual: &str) {
    if let Some(host) = at.host {
        if at.socket.is_some() {
            let help = "remove one of them: `host` for the network, `socket` for this machine";
            file.error_at_key(key.key("socket"), "both `host` and `socket` are given", help);
        }
        if host.starts_with('/') {
            let help = format!("write it as `socket = {host:?}`");
            file.error(key.key("host"), "this is a path, not the name of a machine", help);
        } else if host.is_empty()
            || host.contains(|it: char| it.is_whitespace() || it.is_control() || ",=@".contains(it))
        {
            let help = "write a name or an address: \"db.internal\", \"127.0.0.1\", \"::1\"";
            file.error(key.key("host"), "this is not the name of a machine", help);
        }
    }
    if at.port == Some(0) {
        file.error(key.key("port"), "there is no port 0", "write the server's port, or leave the key out");
    }
    if let Some(socket) = at.socket
        && !socket.is_absolute()
    {
        let message = format!("\"{}\" is not an absolute path", socket.display());
        file.error(key.key("socket"), message, format!("write the whole path, for example \"{usual}\""));
    }
}

fn check_tools(file: &mut TaskFile<'_>, site: &Site<'_>, key: &KeyPath, folder: Option<&Path>, suite: &Suite) {
    if let Some(folder) = folder
        && !folder.is_absolute()
    {
        let message = format!("\"{}\" is not an absolute path", folder.display());
        return file.error(key.key("tools"), message, "write the whole path of the folder, from `/` on");
    }
    if let Err(missing) = suite.dump(folder) {
        let at = if folder.is_some() { key.key("tools") } else { key.clone() };
        // Another machine's configuration may be looked at here.
        file.error_if(site.surroundings.daemon, at, missing.to_string(), missing.remedy());
    }
}
