//! `export!`: the functions that the host calls, and what they need around them.

use crate::Entry;
use crate::bindings::exports::upkeep::plugin::task as wit;

/// Makes a type or a function the task of this plugin. Once per plugin.
///
/// ```
/// use upkeep_plugin::{Context, Result, info};
///
/// fn hello(ctx: &Context) -> Result<()> {
///     info!("Hello, {}!", ctx.host);
///     Ok(())
/// }
///
/// upkeep_plugin::export!(fn hello);
/// # fn main() {}
/// ```
///
/// `export!(Type);` exports a type that implements [`Task`](crate::Task).
#[macro_export]
macro_rules! export {
    (fn $function:path) => {
        $crate::__export!($crate::function($function));
    };
    ($task:ty) => {
        $crate::__export!($crate::task::<$task>());
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($entry:expr) => {
        const _: () = {
            use $crate::__export as glue;

            struct Exported;

            impl glue::Guest for Exported {
                fn plan(ctx: glue::Context, config: String) -> Result<Vec<glue::Step>, glue::Failure> {
                    glue::plan(&$entry, &ctx, &config)
                }

                fn execute(ctx: glue::Context, config: String, step: glue::Step) -> Result<String, glue::Failure> {
                    glue::execute(&$entry, &ctx, &config, step)
                }

                fn finish(
                    ctx: glue::Context,
                    config: String,
                    outcomes: Vec<glue::Outcome>,
                ) -> Result<glue::Report, glue::Failure> {
                    glue::finish(&$entry, &ctx, &config, outcomes)
                }
            }

            #[cfg(target_family = "wasm")]
    $crate::bindings::export_bindings!(Exported with_types_in $crate::bindings);

            // Read by `upkeep plugin build`, once; the daemon never calls it.
            #[cfg(target_family = "wasm")]
            #[unsafe(no_mangle)]
            extern "C" fn upkeep_config_schema() -> u64 {
                glue::schema(&$entry)
            }

            // On the author's machine nobody calls the exports; without this the compiler would call the task dead code.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() = || _ = &$entry;
        };
    };
}

#[doc(hidden)]
pub mod glue {
    pub use super::wit::{Context, Failure, Guest, Outcome, Report, Step};
    use super::{Entry, panics};

    pub fn plan(entry: &impl Entry, ctx: &Context, config: &str) -> Result<Vec<Step>, Failure> {
        panics::to_log();
        entry.plan(ctx, config).map_err(crate::Error::into_failure)
    }

    pub fn execute(entry: &impl Entry, ctx: &Context, config: &str, step: Step) -> Result<String, Failure> {
        panics::to_log();
        entry.execute(ctx, config, step).map_err(crate::Error::into_failure)
    }

    pub fn finish(entry: &impl Entry, ctx: &Context, config: &str, outcomes: Vec<Outcome>) -> Result<Report, Failure> {
        panics::to_log();
        entry.finish(ctx, config, outcomes).map_err(crate::Error::into_failure)
    }

    /// Address of the schema's JSON in the upper half, its length in the lower; 0 for a task without configuration.
    pub fn schema(entry: &impl Entry) -> u64 {
        let Some(json) = entry.schema() else { return 0 };
        let json = json.leak();
        (json.as_ptr() as u64) << 32 | json.len() as u64
    }
}

/// A panic ends in a trap, which has no words. So the words go to the log before.
mod panics {
    pub(super) fn to_log() {
        #[cfg(target_family = "wasm")]
        std::panic::set_hook(Box::new(|panic| {
            crate::host::log::write(crate::log::Level::Error, &panic.to_string(), &[]);
        }));
    }
}
