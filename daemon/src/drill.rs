//! Restoring on trial: a snapshot comes back into a folder ([`folder`]) or into a server of its own ([`load`]), questions are
//! put to it, and everything goes again.
//!
//! A trial may be large, so it is looked at first whether it fits; and it must never stay behind, so each has a [`Place`]
//! that is noted before it is made and removed at the next start where a crash left it.
//!
//! Everything in here waits for disks: call it on a thread made for waiting.

use std::path::PathBuf;

use crate::config::size::Size;
use crate::database::DatabaseError;
use crate::repository::RepositoryError;
use crate::root::RootError;

pub use crate::drill::folder::{Restored, Tally};
pub use crate::drill::load::{Answer, Loaded};
pub use crate::drill::place::{Place, clear};

mod folder;
mod load;
mod place;

/// Why a trial does not take place. What a trial shows is no error.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The repository does not give it.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The database's server does not take it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A file that was asked for.
    #[error("{0}")]
    File(#[from] RootError),
    /// It is larger than the task file allows.
    #[error(
        "what is to be restored has {bytes} bytes, and `grant.drill.max_size` allows {max_size}; raise it, or drill a smaller source"
    )]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// What is allowed.
        max_size: Size,
    },
    /// The disk has no room for it.
    #[error(
        "{} has {free} bytes free, and the trial needs {needed}; make room, or name a larger disk with `grant.drill.folder`",
        folder.display()
    )]
    NoRoom {
        /// Where.
        folder: PathBuf,
        /// What is free there.
        free: u64,
        /// What is needed.
        needed: u64,
    },
    /// The folder for trials cannot be used.
    #[error("the folder for drills {}: {error}; `grant.drill.folder` names it", folder.display())]
    Place {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: String,
    },
    /// The question has no meaning.
    #[error("{0}")]
    Invalid(String),
    /// The run was ended.
    #[error("the run was ended")]
    Ended,
}
