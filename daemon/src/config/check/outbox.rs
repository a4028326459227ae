//! Whose messages are whose: idempotency keys are known for an origin, and a task's is its name. And one task delivers them: it
//! refuses what is for channels that it does not have.

use std::ops::Range;
use std::sync::Arc;

use crate::alert;
use crate::config::check::TaskFile;
use crate::config::diagnostic::Diagnostic;
use crate::config::outbox::OutboxAccess;
use crate::config::source::{KeyPath, Source};
use crate::record::outbox::{API, CLI};

pub(crate) fn check(file: &mut TaskFile<'_>) {
    let Some(outbox) = &file.settings.grant.outbox else { return };
    if outbox.access.contains(&OutboxAccess::Deliver) && !file.settings.schedule.outbox {
        let message = "it delivers messages, and none that comes starts it";
        let key = KeyPath::of(["grant", "outbox"]);
        file.warning(key, message, "add `outbox = true` to `[schedule]`");
    }
    let name: &str = file.name;
    let whose = match name {
        API => "what programs give by the control API",
        CLI => "what people give by the command line",
        alert::ORIGIN => "what upkeep itself reports",
        _ => return,
    };
    if outbox.access.contains(&OutboxAccess::Enqueue) {
        let message = format!("messages of a task called {name} would share their idempotency keys with {whose}");
        let help = format!("rename the file, for example to tasks.d/{name}-task.toml");
        file.error_at_key(KeyPath::of(["grant", "outbox"]), message, help);
    }
}

/// A task that is started by messages, and delivers them.
#[derive(Debug)]
pub(crate) struct Deliverer {
    task: Arc<str>,
    source: Arc<Source>,
    span: Option<Range<usize>>,
}

/// What a task file has to do with that.
pub(crate) fn deliverer(file: &TaskFile<'_>) -> Option<Deliverer> {
    let outbox = file.settings.grant.outbox.as_ref()?;
    let delivers = outbox.access.contains(&OutboxAccess::Deliver) && file.settings.schedule.outbox;
    (delivers && file.settings.enabled).then(|| Deliverer {
        task: file.name.clone(),
        source: file.document.source().clone(),
        span: file.document.value_span(&key()),
    })
}

fn key() -> KeyPath {
    KeyPath::of(["schedule", "outbox"])
}

/// Those beside the first one, with the task that it concerns.
pub(crate) fn problems(deliverers: &[Deliverer]) -> Vec<(Arc<str>, Diagnostic)> {
    let Some((first, others)) = deliverers.split_first() else { return Vec::new() };
    let problem = |this: &Deliverer| {
        let message = format!(
            "the task {} delivers messages already; each would refuse those for channels of the other",
            first.task
        );
        let help = format!("put all channels into tasks.d/{}.toml, or disable one of the two", first.task);
        let diagnostic = Diagnostic::error(&this.source, key(), message).at(this.span.clone()).help(help);
        (this.task.clone(), diagnostic)
    };
    others.iter().map(problem).collect()
}
