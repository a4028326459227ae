//! `[alerts]`: channels have names, what is said has an effect, and the tasks that are named exist.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::config::alerts::{AlertSettings, TaskAlerts};
use crate::config::check::{TaskFile, timezone_help};
use crate::config::daemon::DaemonSettings;
use crate::config::diagnostic::Diagnostic;
use crate::config::load::Task;
use crate::config::source::{Document, KeyPath, Source};
use crate::config::suggest::{list, nearest};
use crate::record::outbox::is_channel;

/// The longest that alerts are gathered: whoever waits longer learns too late.
const LONGEST_GROUP: Duration = Duration::from_secs(3600);

/// What is wrong: where, what, and the remedy.
type Wrong = (KeyPath, String, String);

/// `[alerts]` of `upkeep.toml` by itself.
pub(crate) fn settings(document: &Document<'_>, alerts: &AlertSettings, problems: &mut Vec<Diagnostic>) {
    for (key, message, help) in wrong(alerts) {
        let span = document.value_span(&key).or_else(|| document.key_span(&KeyPath::of(["alerts"])));
        problems.push(Diagnostic::error(document.source(), key, message).at(span).help(help));
    }
}

fn wrong(alerts: &AlertSettings) -> Vec<Wrong> {
    let section = KeyPath::of(["alerts"]);
    let mut wrong = Vec::new();
    wrong.extend(chain(&section.key("channels"), &alerts.channels));
    if alerts.channels.is_empty() {
        let given = [
            ("escalate", !alerts.escalate.is_empty()),
            ("quiet", alerts.quiet.is_some()),
            ("silence", !alerts.silence.is_empty()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let message = "this has no meaning without `channels`: nobody is told".to_owned();
            wrong.push((section.key(key), message, "add `channels = [\"mail\"]` to `[alerts]`".to_owned()));
        }
    }
    if let Some(digest) = &alerts.digest {
        let key = section.key("digest");
        wrong.extend(chain(&key.key("channels"), &digest.channels));
        if digest.channels.is_empty() && alerts.channels.is_empty() {
            let help = "add `channels = [\"mail\"]` here, or to `[alerts]`".to_owned();
            wrong.push((key.key("at"), "nobody gets the digest".to_owned(), help));
        }
    }
    if alerts.group > LONGEST_GROUP {
        let message = "whoever waits so long for other alerts learns of them too late".to_owned();
        wrong.push((section.key("group"), message, "write `1h` or less; `30s` is the default".to_owned()));
    }
    if !alerts.remind.is_zero() && alerts.remind < Duration::from_secs(60) {
        let message = "nobody reads what is told so often".to_owned();
        wrong.push((section.key("remind"), message, "write `1m` or more, or `0s` for never".to_owned()));
    }
    let mut before = None;
    for (place, step) in alerts.escalate.iter().enumerate() {
        let key = section.key("escalate").index(place);
        if step.channels.is_empty() {
            let help = "name who is told then: `channels = [\"phone\"]`".to_owned();
            wrong.push((key.key("channels"), "there is nobody to tell".to_owned(), help));
        }
        wrong.extend(chain(&key.key("channels"), &step.channels));
        if before.is_some_and(|before| step.after <= before) {
            let message = "this is not after the step before".to_owned();
            wrong.push((key.key("after"), message, "put the steps in order, each with a longer `after`".to_owned()));
        }
        before = Some(step.after);
    }
    if let Some(name) = alerts.quiet.as_ref().and_then(|quiet| quiet.timezone.as_ref())
        && name.parse::<chrono_tz::Tz>().is_err()
    {
        let message = format!("\"{name}\" is not an IANA time zone");
        wrong.push((section.key("quiet").key("timezone"), message, timezone_help(name)));
    }
    wrong
}

/// What is wrong with a chain of channels.
fn chain(key: &KeyPath, channels: &[String]) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for (place, name) in channels.iter().enumerate() {
        let key = key.index(place);
        if !is_channel(name) {
            let message = format!("\"{name}\" cannot be the name of a channel");
            wrong.push((key, message, "a name takes 1 to 64 letters a-z, digits, `-` and `_`".to_owned()));
        } else if channels[..place].contains(name) {
            wrong.push((key, format!("the channel `{name}` is named twice"), "once is enough".to_owned()));
        }
    }
    if channels.len() > 16 {
        let message = format!("{} channels are named", channels.len());
        wrong.push((key.clone(), message, "name 16 at most".to_owned()));
    }
    wrong
}

/// All channels that `[alerts]` of `upkeep.toml` names, and where.
fn named(alerts: &AlertSettings) -> Vec<(KeyPath, &str)> {
    fn chain<'a>(key: &KeyPath, channels: &'a [String]) -> Vec<(KeyPath, &'a str)> {
        channels.iter().enumerate().map(|(place, it)| (key.index(place), it.as_str())).collect()
    }
    let section = KeyPath::of(["alerts"]);
    let mut named = chain(&section.key("channels"), &alerts.channels);
    for (place, step) in alerts.escalate.iter().enumerate() {
        named.extend(chain(&section.key("escalate").index(place).key("channels"), &step.channels));
    }
    if let Some(digest) = &alerts.digest {
        named.extend(chain(&section.key("digest").key("channels"), &digest.channels));
    }
    named
}

/// `[alerts]` of `upkeep.toml` against the tasks.
pub(crate) fn tasks(
    source: &Arc<Source>,
    settings: &DaemonSettings,
    names: &BTreeSet<Arc<str>>,
    tasks: &BTreeMap<Arc<str>, Task>,
) -> Vec<Diagnostic> {
    let Ok(document) = Document::parse(source) else { return Vec::new() };
    let alerts = &settings.alerts;
    let mut problems = Vec::new();
    for (place, name) in alerts.silence.iter().enumerate().filter(|(_, name)| !names.contains(name.as_str())) {
        let key = KeyPath::of(["alerts", "silence"]).index(place);
        let help = match nearest(name, names.iter().map(|name| &**name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a task is named by its file's stem: `upkeep list` shows them".to_owned(),
        };
        let span = document.value_span(&key);
        problems.push(Diagnostic::error(source, key, format!("there is no task \"{name}\"")).at(span).help(help));
    }
    for (key, channel) in named(alerts) {
        if let Some(known) = delivered(tasks).filter(|known| !known.contains(channel)) {
            let span = document.value_span(&key);
            problems.push(no_channel(source, key, channel, &known).at(span));
        }
    }
    let delivers = tasks.values().any(|task| task.enabled && task.triggers.outbox);
    // While task files are wrong, that none of the others delivers says nothing.
    let digest = alerts.digest.as_ref().filter(|digest| !digest.channels.is_empty());
    let is_told = !alerts.channels.is_empty() || digest.is_some();
    if is_told && !delivers && tasks.len() == names.len() {
        let section = KeyPath::of(["alerts"]);
        let key =
            if alerts.channels.is_empty() { section.key("digest").key("channels") } else { section.key("channels") };
        let span = document.value_span(&key);
        let message = "nobody delivers what is told here: no task that is enabled has `schedule.outbox`";
        let help = "add a task that delivers, such as one of the plugin `push`: docs/push.md";
        problems.push(Diagnostic::error(source, key, message).at(span).help(help).warning());
    }
    problems
}

/// The channels that there are, where the task that delivers has them in its settings, as the plugin `push` does.
fn delivered(tasks: &BTreeMap<Arc<str>, Task>) -> Option<BTreeSet<String>> {
    let deliverer = tasks.values().find(|task| task.enabled && task.triggers.outbox)?;
    let config: serde_json::Value = serde_json::from_str(&deliverer.config_json).ok()?;
    Some(config.get("channels")?.as_object()?.keys().cloned().collect())
}

/// Who is told of what, as one key of a file says.
#[derive(Debug)]
pub(crate) struct Audience {
    task: Arc<str>,
    source: Arc<Source>,
    key: KeyPath,
    span: Option<Range<usize>>,
    channel: String,
}

/// The channels that `[alerts]` of a task file names.
pub(crate) fn audience(file: &TaskFile<'_>) -> Vec<Audience> {
    let channels = file.settings.alerts.channels.iter().enumerate();
    let one = |(place, channel): (usize, &String)| {
        let key = KeyPath::of(["alerts", "channels"]).index(place);
        let span = file.document.value_span(&key);
        Audience {
            task: file.name.clone(),
            source: file.document.source().clone(),
            key,
            span,
            channel: channel.clone(),
        }
    };
    channels.map(one).collect()
}

/// Channels of task files that there are not, with the task that it concerns.
pub(crate) fn audiences(named: &[Audience], tasks: &BTreeMap<Arc<str>, Task>) -> Vec<(Arc<str>, Diagnostic)> {
    let Some(known) = delivered(tasks) else { return Vec::new() };
    let unknown = named.iter().filter(|it| !known.contains(&it.channel));
    let problem = |it: &Audience| {
        (it.task.clone(), no_channel(&it.source, it.key.clone(), &it.channel, &known).at(it.span.clone()))
    };
    unknown.map(problem).collect()
}

fn no_channel(source: &Arc<Source>, key: KeyPath, channel: &str, known: &BTreeSet<String>) -> Diagnostic {
    let help = match nearest(channel, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the task that delivers has {}", list(known.iter().map(String::as_str))),
    };
    Diagnostic::error(source, key, format!("there is no channel `{channel}`, so nobody would be told")).help(help)
}

/// `[alerts]` of a task file.
pub(crate) fn task(file: &mut TaskFile<'_>) {
    let settings = file.settings;
    let TaskAlerts { channels, overdue, off, .. } = &settings.alerts;
    let section = KeyPath::of(["alerts"]);
    for (key, message, help) in chain(&section.key("channels"), channels) {
        file.error(key, message, help);
    }
    if off.as_ref().is_some_and(|reason| reason.trim().is_empty()) {
        file.error(section.key("off"), "there is no reason", "write why, for whoever reads it in a year");
    }
    if overdue.is_some_and(|overdue| overdue < Duration::from_secs(60)) {
        file.error(section.key("overdue"), "a task that starts late would be an alert", "write `1m` or more");
    }
    if off.is_some() && overdue.is_some() {
        let help = "remove one of both";
        file.error_at_key(section.key("overdue"), "this has no meaning beside `off`: nobody is told", help);
    }
}
