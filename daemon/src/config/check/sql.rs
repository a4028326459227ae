//! The databases that a task file lets query, remove rows from and look after: one kind each, named without contradiction.
//! Whether a server answers, and whether the tables are there, is left to the run.

use crate::config::check::databases::{Address, check_account, check_address, warn_of_no_password};
use crate::config::check::places::check_database;
use crate::config::check::{Site, TaskFile};
use crate::config::source::KeyPath;
use crate::config::sql::{PRIVATE, RowRemoval, SqlAccess, SqlGrant, SqlServer};
use crate::config::suggest::list;
use crate::database::tools::{MARIADB, POSTGRESQL, Suite};

pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) {
    let settings = file.settings;
    for (name, grant) in &settings.grant.sql {
        let key = KeyPath::of(["grant", "sql", name]);
        let SqlGrant { sqlite, postgresql, mariadb, access: _, removal: _ } = grant;
        match grant.kinds()[..] {
            [kind, ..] if name == PRIVATE => {
                let message = "`private` is the task's own database; the daemon keeps its file";
                file.error(key.key(kind), message, "remove this key, or give the database another name");
            }
            [] if name != PRIVATE => {
                let message = "which database is meant? Neither `sqlite`, `postgresql` nor `mariadb` is given";
                file.error(key.clone(), message, "add `sqlite = \"/path/of/the/file.db\"`");
            }
            [first, second, ..] => {
                let message = format!("{} are given: which database is meant?", list(grant.kinds()));
                let help = format!("keep `{first}`, and make a second grant for the other");
                file.error_at_key(key.key(second), message, help);
            }
            _ => {}
        }
        if let (Some(path), true) = (sqlite, name != PRIVATE) {
            check_database(file, site, &key.key("sqlite"), path);
        }
        for (kind, server, suite) in [("postgresql", postgresql, &POSTGRESQL), ("mariadb", mariadb, &MARIADB)] {
            if let Some(server) = server {
                check_server(file, &key.key(kind), server, suite);
            }
        }
        check_removal(file, &key, name, grant);
    }
}

fn check_server(file: &mut TaskFile<'_>, key: &KeyPath, server: &SqlServer, suite: &Suite) {
    let SqlServer { database, host, port, socket, user, password } = server;
    let at = Address { host: host.as_deref(), port: *port, socket: socket.as_deref() };
    check_address(file, key, &at, suite.socket);
    check_account(file, key, user.as_deref());
    if host.is_some() && password.is_none() && suite.name == MARIADB.name {
        warn_of_no_password(file, key);
    }
    let place = key.key("database");
    if database.is_empty() || database.contains(['\0', '\n', '\r']) {
        file.error(place, "this is not the name of a database", "write its name as the server has it");
    } else if suite.own.contains(&database.as_str()) {
        let message = format!("`{database}` belongs to the server itself");
        file.error(place, message, "name a database of an application");
    }
}

fn check_removal(file: &mut TaskFile<'_>, key: &KeyPath, name: &str, grant: &SqlGrant) {
    let may_remove = grant.access.contains(&SqlAccess::Remove);
    let place = key.key("removal");
    let Some(RowRemoval { tables, max_rows, max_share, require_backup: _ }) = &grant.removal else {
        if may_remove {
            let help = format!("add:\n\n[grant.sql.{name}.removal]\ntables = [\"TABLE\"]");
            file.error(key.key("access"), "`remove` is granted, but not from which tables", help);
        }
        return;
    };
    if name == PRIVATE {
        let message = "`private` is the task's own database, which it may change as it likes";
        return file.error_at_key(place, message, "remove this table");
    }
    if !may_remove {
        let help = "add \"remove\" to `access`, or remove this table";
        file.error_at_key(place.clone(), "this has no meaning without the right `remove`", help);
    }
    if tables.is_empty() {
        let help = "name the tables that old rows may go from: `tables = [\"sessions\"]`";
        file.error(place.key("tables"), "no table is named", help);
    }
    for (index, table) in tables.iter().enumerate() {
        let at = place.key("tables").index(index);
        if table.is_empty() || table == "*" || table.contains(['\0', '\n', '\r']) {
            let help = "write its name as the database has it; there is no name for all of them";
            file.error(at, "this is not the name of a table", help);
        } else if tables[..index].contains(table) {
            file.error(at, format!("the table `{table}` is named twice"), "remove one of them");
        }
    }
    for (key, is_nothing) in [("max_rows", *max_rows == Some(0)), ("max_share", max_share.0 == 0)] {
        if is_nothing {
            let help = "write how much may go in one run, or leave the key out";
            file.error(place.key(key), "with this nothing could ever go", help);
        }
    }
}
