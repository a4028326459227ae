//! Whose messages are whose: idempotency keys are known for an origin, and a task's is its name.

use crate::alert;
use crate::config::check::TaskFile;
use crate::config::outbox::OutboxAccess;
use crate::config::source::KeyPath;
use crate::record::outbox::{API, CLI};

pub(crate) fn check(file: &mut TaskFile<'_>) {
    let Some(outbox) = &file.settings.grant.outbox else { return };
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
