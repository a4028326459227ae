//! `[config]` of a task file against the schema in the plugin's manifest.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::check::TaskFile;
use crate::config::plugin::Plugin;
use crate::config::secrets::SecretAccess;
use crate::config::shape::Granted;
use crate::config::source::{KeyPath, Segment};

pub(crate) fn check(file: &mut TaskFile<'_>, plugin: &Plugin) {
    if !file.is_sound("config") {
        return;
    }
    let config = KeyPath::of(["config"]);
    let Some(shape) = &plugin.shape else {
        if !file.settings.config.is_empty() {
            let message = format!("the plugin {} takes no config", plugin.manifest.name);
            file.error_at_key(config, message, "remove the section `[config]`");
        }
        return;
    };
    let grant = &file.settings.grant;
    let secrets = |access| {
        let may = grant.secrets.iter().filter(|(_, secret)| secret.may(access));
        may.map(|(name, _)| name.clone()).collect::<BTreeSet<String>>()
    };
    let granted = Granted {
        to_fill: secrets(SecretAccess::Fill),
        to_sign: secrets(SecretAccess::Sign),
        mail_servers: grant.smtp.keys().cloned().collect(),
        allowed: grant.http.iter().flat_map(|http| http.allow.clone()).collect(),
    };
    let found = Value::Object(file.settings.config.clone());
    // While what is granted is wrong itself, nothing is known of it; and a schema that could be used can be used again.
    let problems = match file.is_sound("grant").then(|| shape.with_grants(granted)).and_then(Result::ok) {
        Some(shape) => shape.problems(&shape.with_addresses(found)),
        None => shape.problems(&found),
    };
    for problem in problems {
        let mut path = config.clone();
        path.0.extend(problem.path.0);
        let help = format!("{} (says the plugin {})", problem.help, plugin.manifest.name);
        if problem.is_secret {
            file.error_hidden(path, problem.message, help);
        } else if problem.at_key {
            file.error_at_key(path, problem.message, help);
        } else if file.document.has(&config) {
            file.error(path, problem.message, help);
        } else {
            // There is no section to point at: the line that names the plugin is why one is needed.
            let span = file.document.value_span(&KeyPath(vec![Segment::Key("plugin".to_owned())]));
            file.error_at(span, path, problem.message, format!("in a section `[config]`, {help}"));
        }
    }
}
