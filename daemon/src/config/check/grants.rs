//! What the plugin asks for against what the task file grants.
//!
//! A right is effective when both name it, and a difference is refused when the configuration is loaded: something
//! missing would fail at three in the morning, something superfluous is a grant that somebody thinks is needed. So after
//! loading, what is granted is what is effective. Requests that the plugin marks as optional may stay unanswered.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::config::check::TaskFile;
use crate::config::grant::Grants;
use crate::config::plugin::Plugin;
use crate::config::source::KeyPath;
use crate::config::suggest::list;
use crate::plugin::manifest::Request;

/// What a task file grants of one capability.
#[derive(Default)]
struct Given {
    /// Each right with where it stands.
    rights: Vec<(KeyPath, String)>,
}

pub(crate) fn check(file: &mut TaskFile<'_>, plugin: &Plugin) {
    let name = &plugin.manifest.name;
    if !file.is_sound("grant") {
        return;
    }
    let given = given(&file.settings.grant);
    for (capability, request) in &plugin.manifest.capabilities {
        if !request.optional {
            missing(file, plugin, capability, request, given.get(capability.as_str()));
        }
    }
    for (capability, given) in &given {
        let key = KeyPath::of(["grant", capability]);
        let Some(request) = plugin.manifest.capabilities.get(*capability) else {
            let asked: Vec<&str> = plugin.manifest.capabilities.keys().map(String::as_str).collect();
            let asked = if asked.is_empty() { "nothing".to_owned() } else { list(asked) };
            let message = format!("the plugin {name} does not ask for `{capability}`");
            file.error_at_key(key, message, format!("remove this grant; the plugin asks for {asked}"));
            continue;
        };
        for (path, right) in &given.rights {
            if !asks_for(capability, request, right) {
                let message = format!("the plugin {name} does not ask for the right `{right}` of `{capability}`");
                let asked = list(request.access.iter().map(String::as_str));
                let help = if asked.is_empty() {
                    "remove it".to_owned()
                } else {
                    format!("remove it; the plugin asks for {asked}")
                };
                file.error(path.clone(), message, help);
            }
        }
    }
}

/// Whether a plugin asks for a right, or for one that is more: who may write to a database may read it.
fn asks_for(capability: &str, request: &Request, right: &str) -> bool {
    request.access.contains(right) || (capability, right) == ("sql", "read") && request.access.contains("write")
}

/// Tells what a plugin needs and does not get.
fn missing(file: &mut TaskFile<'_>, plugin: &Plugin, capability: &str, request: &Request, given: Option<&Given>) {
    let name = &plugin.manifest.name;
    let reason = request.reason.trim().trim_end_matches('.');
    let place = ["grant", capability];
    match given {
        None => {
            let at = if file.document.has(&KeyPath::of(["grant"])) { "grant" } else { "plugin" };
            let span = file.document.key_span(&KeyPath::of([at]));
            let message = format!("the plugin {name} needs `{capability}`, which this file does not grant");
            let help =
                format!("the plugin's reason: {reason}.\nIf you agree, add:\n\n{}", lines_to_add(capability, request));
            file.error_at(span, KeyPath::of(place), message, help);
        }
        Some(given) => {
            let lacks = |right: &&String| !given.rights.iter().any(|(_, given)| given == *right);
            let lacking: Vec<&str> = request.access.iter().filter(lacks).map(String::as_str).collect();
            if !lacking.is_empty() {
                let message =
                    format!("the plugin {name} needs the right {} of `{capability}`", list(lacking.iter().copied()));
                let all: Vec<String> = request.access.iter().map(|right| format!("{right:?}")).collect();
                let line = match capability {
                    "system" => format!("system = [{}]", all.join(", ")),
                    _ => format!("access = [{}]", all.join(", ")),
                };
                let at = given.rights.first().map_or_else(|| KeyPath::of(place), |(path, _)| path.clone());
                let span = file.document.value_span(&at);
                file.error_at(
                    span,
                    KeyPath::of(place),
                    message,
                    format!("the plugin's reason: {reason}.\nIf you agree, write: {line}"),
                );
            }
        }
    }
}

/// The lines that answer a request, ready to paste.
fn lines_to_add(capability: &str, request: &Request) -> String {
    let rights: Vec<String> = request.access.iter().map(|right| format!("{right:?}")).collect();
    let mut lines = match capability {
        "state" | "metrics" => return format!("[grant]\n{capability} = true"),
        "system" => return format!("[grant]\nsystem = [{}]", rights.join(", ")),
        "journal" => return "[grant.journal]\nkeep = \"100 MiB\"".to_owned(),
        "http" => return "[grant.http]\nallow = [\"https://HOST/PATH/\"]".to_owned(),
        "outbox" => "[grant.outbox]".to_owned(),
        "consents" => return "[grant.consents]\naccounts = [\"APPID\"]".to_owned(),
        "drill" => return "[grant.drill]\nfolder = \"/var/tmp\"".to_owned(),
        "files" => "[grant.files.NAME]\npath = \"/FOLDER\"".to_owned(),
        "repository" => "[grant.repository.main]\nurl = \"/FOLDER\"\npassword = { file = \"/FILE\" }".to_owned(),
        "secrets" => "[grant.secrets.NAME]\nfile = \"/FILE\"\nhosts = [\"https://HOST\"]".to_owned(),
        "smtp" => {
            return "[grant.smtp.NAME]\nhost = \"HOST\"\nuser = \"USER\"\npassword = { file = \"/FILE\" }\n\
                    from = [\"ADDRESS\"]\nto = [\"ADDRESS\"]"
                .to_owned();
        }
        "dump" => return "[grant.dump.NAME]\nsqlite = \"/FILE.db\"".to_owned(),
        _ => format!("[grant.{capability}.NAME]\nsqlite = \"/FILE.db\""),
    };
    if !rights.is_empty() {
        // Writing into a string does not fail.
        let _ = write!(lines, "\naccess = [{}]", rights.join(", "));
    }
    if capability == "sql" && request.access.contains("remove") {
        lines.push_str("\nremoval = { tables = [\"TABLE\"] }");
    }
    lines
}

fn given(grants: &Grants) -> BTreeMap<&'static str, Given> {
    let mut all: BTreeMap<&'static str, Given> = BTreeMap::new();
    if grants.state {
        all.entry("state").or_default();
    }
    if grants.metrics {
        all.entry("metrics").or_default();
    }
    if grants.drill.is_some() {
        all.entry("drill").or_default();
    }
    if grants.http.is_some() {
        all.entry("http").or_default();
    }
    if grants.journal.is_some() {
        all.entry("journal").or_default();
    }
    if grants.consents.is_some() {
        all.entry("consents").or_default();
    }
    let system = KeyPath::of(["grant", "system"]);
    for (place, group) in grants.system.iter().enumerate() {
        all.entry("system").or_default().rights.push((system.index(place), word(group)));
    }
    if let Some(outbox) = &grants.outbox {
        let access = KeyPath::of(["grant", "outbox", "access"]);
        let rights = outbox.access.iter().enumerate().map(|(place, right)| (access.index(place), word(right)));
        all.entry("outbox").or_default().rights.extend(rights);
    }
    let mut named = |capability: &'static str, name: &str, rights: Vec<String>| {
        let access = KeyPath::of(["grant", capability, name, "access"]);
        let rights = rights.into_iter().enumerate().map(|(place, right)| (access.index(place), right));
        all.entry(capability).or_default().rights.extend(rights);
    };
    for (name, grant) in &grants.files {
        named("files", name, grant.access.iter().map(word).collect());
    }
    for (name, grant) in &grants.repository {
        named("repository", name, grant.access.iter().map(word).collect());
    }
    for (name, grant) in &grants.secrets {
        named("secrets", name, grant.access.iter().map(word).collect());
    }
    for name in grants.dump.keys() {
        named("dump", name, Vec::new());
    }
    for name in grants.smtp.keys() {
        named("smtp", name, Vec::new());
    }
    for (name, grant) in &grants.sql {
        named("sql", name, grant.access.iter().map(word).collect());
    }
    all
}

/// A right as it is written in the file.
fn word<T: Serialize>(right: &T) -> String {
    serde_json::to_value(right).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
