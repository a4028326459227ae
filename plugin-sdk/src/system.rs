//! Read-only facts about the server. Each function belongs to a group of the same name, granted by itself.
//!
//! ```no_run
//! use upkeep_plugin::system;
//!
//! # fn main() -> upkeep_plugin::Result<()> {
//! for disk in system::disks()?.iter().filter(|it| it.available < it.total / 10) {
//!     upkeep_plugin::warn!(mount = disk.mount, "less than a tenth is free");
//! }
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::upkeep::plugin::system::{Disk, Load, Memory, Os, Package, Service, Socket, Transport};
use crate::host::{HostResult, system as host};

/// The operating system.
///
/// # Errors
/// [`HostError::Denied`](crate::HostError::Denied) when the task file does not grant the group; so for all of these.
pub fn os() -> HostResult<Os> {
    host::get_os()
}

/// The mounted filesystems.
///
/// # Errors
/// As for [`os`].
pub fn disks() -> HostResult<Vec<Disk>> {
    host::get_disks()
}

/// Memory and swap, in bytes.
///
/// # Errors
/// As for [`os`].
pub fn memory() -> HostResult<Memory> {
    host::get_memory()
}

/// Processors and load.
///
/// # Errors
/// As for [`os`].
pub fn load() -> HostResult<Load> {
    host::get_load()
}

/// The installed packages of dpkg or apk.
///
/// # Errors
/// As for [`os`].
pub fn packages() -> HostResult<Vec<Package>> {
    host::get_packages()
}

/// The listening sockets.
///
/// # Errors
/// As for [`os`].
pub fn sockets() -> HostResult<Vec<Socket>> {
    host::get_sockets()
}

/// The services of systemd.
///
/// # Errors
/// As for [`os`].
pub fn services() -> HostResult<Vec<Service>> {
    host::get_services()
}
