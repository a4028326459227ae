//! `[schedule]` and `group`: what is due when, and with whom it does not run together.

use std::sync::Arc;

use chrono_tz::Tz;

use crate::config::check::{Site, TaskFile, timezone_help};
use crate::config::files::is_task_name;
use crate::config::source::KeyPath;
use crate::schedule::Schedule;

/// Looks at the section and compiles it.
pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) -> Option<Arc<Schedule>> {
    let settings = file.settings;
    if let Some(group) = settings.group.as_deref().filter(|group| file.is_sound("group") && !is_task_name(group)) {
        let help = "use at most 64 letters a-z and A-Z, digits, `-` and `_`";
        file.error(KeyPath::of(["group"]), format!("\"{group}\" cannot be the name of a group"), help);
    }
    if !file.is_sound("schedule") {
        return None;
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
    let mut schedule = settings.schedule.clone();
    if let Some(name) = schedule.timezone.take_if(|name| name.parse::<Tz>().is_err()) {
        let key = KeyPath::of(["schedule", "timezone"]);
        file.error(key, format!("\"{name}\" is not an IANA time zone"), timezone_help(&name));
    }
    // What is wrong with the daemon's own zone is told where it is written.
    let timezone = site.settings.timezone.parse().unwrap_or(Tz::UTC);
    match Schedule::compile(&schedule, timezone) {
        Ok(schedule) => Some(Arc::new(schedule)),
        Err(error) => {
            // Of several clocks, the one that stands last is the one that came on top.
            let clocks = ["cron", "quartz", "every"].map(|clock| KeyPath::of(["schedule", clock]));
            let last = clocks.into_iter().max_by_key(|clock| {
                file.document.value_span(clock).filter(|_| file.document.has(clock)).map(|span| span.start)
            });
            let key = match (error.key, last) {
                ("schedule", Some(last)) => last,
                (key, _) => key.split('.').fold(KeyPath::default(), |path, key| path.key(key)),
            };
            match error.within {
                Some(part) => file.error_within(key, part, error.problem, error.remedy),
                None => file.error(key, error.problem, error.remedy),
            }
            None
        }
    }
}
