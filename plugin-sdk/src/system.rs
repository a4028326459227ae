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

pub use crate::bindings::upkeep::plugin::system::{
    Account, Accounts, Disk, Kernel, Load, MatchBlock, Memory, Mount, Os, Owner, Package, Password, Service, Setting,
    Socket, Sshd, SudoRule, Transport, Update, Updates,
};
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

/// Who may log in, and who may become root.
///
/// # Errors
/// As for [`os`].
pub fn accounts() -> HostResult<Accounts> {
    host::get_accounts()
}

/// Settings of the kernel that matter for security, and the mounts with their options.
///
/// # Errors
/// As for [`os`].
pub fn kernel() -> HostResult<Kernel> {
    host::get_kernel()
}

/// Settings of the SSH server; none where there is no such server.
///
/// # Errors
/// As for [`os`].
pub fn sshd() -> HostResult<Option<Sshd>> {
    host::get_sshd()
}

/// Security updates that apt knows of.
///
/// # Errors
/// As for [`os`]; [`HostError::Unavailable`](crate::HostError::Unavailable) where packages are not those of apt.
pub fn updates() -> HostResult<Updates> {
    host::get_updates()
}
