//! The host API as Rust types: what `plugin-sdk/wit/v0.1` says, bound for the host.
//!
//! A new version of the host API gets a module of its own beside [`v0_1`]; the capabilities implement the newest, and
//! older ones are mapped to it.

/// Version 0.1 of the host API.
#[expect(missing_docs, reason = "generated; the WIT holds the documentation")]
pub mod v0_1 {
    wasmtime::component::bindgen!({
        path: "../plugin-sdk/wit/v0.1",
        world: "plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        trappable_error_type: { "upkeep:plugin/types.error" => crate::capability::HostError },
        with: {
            "upkeep:plugin/files.root": crate::capability::files::Root,
            "upkeep:plugin/files.writer": crate::capability::files::Writer,
            "upkeep:plugin/files.walker": crate::capability::files::Walker,
            "upkeep:plugin/files.reader": crate::capability::files::Reader,
            "upkeep:plugin/repository.repo": crate::capability::repository::Repo,
            "upkeep:plugin/drill.restored": crate::capability::drill::Restored,
            "upkeep:plugin/drill.database": crate::capability::drill::Database,
            "upkeep:plugin/sql.connection": crate::capability::sql::Connection,
            "upkeep:plugin/sql.rows": crate::capability::sql::Rows,
        },
    });
}

pub use v0_1::exports::upkeep::plugin::task;
pub use v0_1::upkeep::plugin::{
    consents, drill, dump, files, journal, log, metrics, outbox, purge, removal, repository, secrets, smtp, sql, state,
    system, types,
};
