//! `system` of the test host: the facts that the test gave.

use super::with;
use crate::host::{HostError, HostResult};
use crate::system::{Accounts, Disk, Kernel, Load, Memory, Os, Package, Service, Socket, Sshd, Updates};

/// Facts by their groups. A group that is left out is not granted.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are the groups of the host API")]
pub struct Facts {
    pub os: Option<Os>,
    pub disks: Option<Vec<Disk>>,
    pub memory: Option<Memory>,
    pub load: Option<Load>,
    pub packages: Option<Vec<Package>>,
    pub sockets: Option<Vec<Socket>>,
    pub services: Option<Vec<Service>>,
    pub accounts: Option<Accounts>,
    pub kernel: Option<Kernel>,
    /// Within: none for a server without SSH.
    pub sshd: Option<Option<Sshd>>,
    pub updates: Option<Updates>,
}

fn get<T>(group: &str, of: impl FnOnce(&Facts) -> Option<T>) -> HostResult<T> {
    with(|world| of(&world.facts)).ok_or_else(|| {
        let way = format!("give it some with `Host::new().system(Facts {{ {group}: ..., ..Facts::default() }})`");
        HostError::Denied(format!("the test host has no facts `{group}`: {way}"))
    })
}

pub(crate) fn get_os() -> HostResult<Os> {
    get("os", |facts| facts.os.clone())
}

pub(crate) fn get_disks() -> HostResult<Vec<Disk>> {
    get("disks", |facts| facts.disks.clone())
}

pub(crate) fn get_memory() -> HostResult<Memory> {
    get("memory", |facts| facts.memory)
}

pub(crate) fn get_load() -> HostResult<Load> {
    get("load", |facts| facts.load)
}

pub(crate) fn get_packages() -> HostResult<Vec<Package>> {
    get("packages", |facts| facts.packages.clone())
}

pub(crate) fn get_sockets() -> HostResult<Vec<Socket>> {
    get("sockets", |facts| facts.sockets.clone())
}

pub(crate) fn get_services() -> HostResult<Vec<Service>> {
    get("services", |facts| facts.services.clone())
}

pub(crate) fn get_accounts() -> HostResult<Accounts> {
    get("accounts", |facts| facts.accounts.clone())
}

pub(crate) fn get_kernel() -> HostResult<Kernel> {
    get("kernel", |facts| facts.kernel.clone())
}

pub(crate) fn get_sshd() -> HostResult<Option<Sshd>> {
    get("sshd", |facts| facts.sshd.clone())
}

pub(crate) fn get_updates() -> HostResult<Updates> {
    get("updates", |facts| facts.updates.clone())
}
