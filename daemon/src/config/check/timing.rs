//! `[schedule]` and `group`: what is due when, and with whom it does not run together.

use crate::config::check::{Site, TaskFile};
use crate::config::files::is_task_name;
use crate::config::source::KeyPath;

pub(crate) fn check(file: &mut TaskFile<'_>, _site: &Site<'_>) {
    let settings = file.settings;
    if let Some(group) = settings.group.as_deref().filter(|group| file.is_sound("group") && !is_task_name(group)) {
        let help = "use at most 64 letters a-z and A-Z, digits, `-` and `_`";
        file.error(KeyPath::of(["group"]), format!("\"{group}\" cannot be the name of a group"), help);
    }
    if !file.is_sound("schedule") {
        return;
    }
    for (place, path) in settings.schedule.watch.iter().enumerate() {
        let key = KeyPath::of(["schedule", "watch"]).index(place);
        let shown = path.display();
        if !path.is_absolute() {
            file.error(key, format!("\"{shown}\" is not an absolute path"), "write the whole path, from `/` on");
        } else if !path.exists() {
            let help = "create it, or correct the path; until it exists, nothing can change in it";
            file.warning(key, format!("{shown} does not exist"), help);
        }
    }
}
