//! `upkeep.toml` against the machine.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use crate::config::check::{Surroundings, Telling, listen, timezone_help};
use crate::config::daemon::DaemonSettings;
use crate::config::diagnostic::Diagnostic;
use crate::config::source::{Document, KeyPath};
use crate::config::suggest::nearest;

/// What the kernel takes as the path of a Unix socket, without the byte at the end.
const LONGEST_SOCKET: usize = 107;

pub(crate) fn check(
    document: &Document<'_>,
    settings: &DaemonSettings,
    broken: &BTreeSet<String>,
    surroundings: &Surroundings<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut tell = |key: &str, message: String, help: String| {
        if !broken.contains(key) {
            let key = KeyPath::of([key]);
            let span = document.value_span(&key);
            problems.push(Diagnostic::error(document.source(), key, message).at(span).help(help));
        }
    };
    if settings.timezone.parse::<chrono_tz::Tz>().is_err() {
        let message = format!("\"{}\" is not an IANA time zone", settings.timezone);
        tell("timezone", message, timezone_help(&settings.timezone));
    }
    let length = settings.socket.as_os_str().as_bytes().len();
    if length > LONGEST_SOCKET {
        let message = format!("the path has {length} bytes; a socket's path has at most {LONGEST_SOCKET}");
        tell("socket", message, "choose a shorter one, such as /run/upkeep/upkeep.sock".to_owned());
    }
    if settings.socket.is_dir() {
        let message = format!("{} is a folder", settings.socket.display());
        tell("socket", message, "name the socket itself, such as /run/upkeep/upkeep.sock".to_owned());
    }
    if settings.state_dir.exists() && !settings.state_dir.is_dir() {
        let message = format!("{} is not a folder", settings.state_dir.display());
        tell("state_dir", message, "name a folder; the daemon makes it when there is none".to_owned());
    }
    if settings.state_dir == std::path::Path::new("/") {
        tell("state_dir", "the state needs a folder of its own".to_owned(), "write /var/lib/upkeep".to_owned());
    }
    if let Some(group) = &settings.socket_group
        && let Ok(groups) = std::fs::read_to_string("/etc/group")
    {
        let names: Vec<&str> = groups.lines().filter_map(|line| line.split(':').next()).collect();
        if !names.contains(&group.as_str()) {
            let help = match nearest(group, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("make it: groupadd --system {group}"),
            };
            tell("socket_group", format!("there is no group \"{group}\""), help);
        }
    }
    if settings.stop_deadline > Duration::from_secs(3600) {
        let help = "write at most `1h`; a run that is not over by then is resumed at the next start".to_owned();
        tell("stop_deadline", "a service that takes so long to stop holds up the server".to_owned(), help);
    }
    if settings.keep_history < Duration::from_secs(3600) {
        let help = "write `1h` or more; `90d` is the default".to_owned();
        tell("keep_history", "a history this short hides what went wrong last night".to_owned(), help);
    }
    if settings.keep_consents < Duration::from_secs(24 * 3600) {
        let help = "write `1d` or more; `365d` is the default".to_owned();
        tell("keep_consents", "users' consents would be forgotten before they can be used".to_owned(), help);
    }
    if let Some(listen) = &settings.listen
        && !broken.contains("listen")
    {
        listen::check(&mut Telling { document, problems }, listen, surroundings);
    }
}
