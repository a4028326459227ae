//! `[config]` of a task file against the schema in the plugin's manifest.

use serde_json::Value;

use crate::config::check::TaskFile;
use crate::config::plugin::Plugin;
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
    for problem in shape.problems(&Value::Object(file.settings.config.clone())) {
        let mut path = config.clone();
        path.0.extend(problem.path.0);
        let help = format!("{} (says the plugin {})", problem.help, plugin.manifest.name);
        if problem.at_key {
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
