//! Whose messages are whose: idempotency keys are known for an origin, and a task's is its name.

use crate::config::check::TaskFile;
use crate::config::outbox::OutboxAccess;
use crate::config::source::KeyPath;
use crate::record::outbox::is_reserved_origin;

pub(crate) fn check(file: &mut TaskFile<'_>) {
    let Some(outbox) = &file.settings.grant.outbox else { return };
    if outbox.access.contains(&OutboxAccess::Enqueue) && is_reserved_origin(file.name) {
        let name = file.name;
        let message = format!("messages of a task called {name} would share their idempotency keys with others");
        let help = format!(
            "rename the file, for example to tasks.d/{name}-task.toml: `api` is the origin of what programs give by the control \
             API, `cli` of what people give by the command line"
        );
        file.error_at_key(KeyPath::of(["grant", "outbox"]), message, help);
    }
}
