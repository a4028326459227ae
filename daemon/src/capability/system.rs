//! Read-only facts about the server. Each group is granted by its name.
//!
//! What the kernel and the package managers keep as text is read by pure functions ([`facts`]); this file fetches the
//! texts, from a root that a test can set. Facts that take more than one text have modules of their own, and programs are
//! asked by [`program`] alone.

use std::path::Path;

use crate::abi::system as abi;
use crate::capability::{Host, HostError, blocking};
use crate::config::grant::SystemGroup;

mod accounts;
mod facts;
mod kernel;
mod program;
mod services;
mod sockets;
mod sshd;
mod updates;

impl Host {
    /// Reads facts of one group, if it is granted.
    async fn facts<T: Send + 'static>(
        &mut self,
        group: SystemGroup,
        read: impl FnOnce(&Path) -> Result<T, String> + Send + 'static,
    ) -> Result<T, HostError> {
        if !self.run.grants.system.contains(&group) {
            let name = name(group);
            return self.deny(format!("the facts `{name}` of the system (`grant.system` does not hold \"{name}\")"));
        }
        blocking(move || read(Path::new("/"))).await?.map_err(HostError::unavailable)
    }
}

fn name(group: SystemGroup) -> &'static str {
    match group {
        SystemGroup::Os => "os",
        SystemGroup::Disks => "disks",
        SystemGroup::Memory => "memory",
        SystemGroup::Load => "load",
        SystemGroup::Packages => "packages",
        SystemGroup::Sockets => "sockets",
        SystemGroup::Services => "services",
        SystemGroup::Accounts => "accounts",
        SystemGroup::Kernel => "kernel",
        SystemGroup::Sshd => "sshd",
        SystemGroup::Updates => "updates",
    }
}

fn text(root: &Path, path: &str) -> Result<String, String> {
    let path = root.join(path);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn os(root: &Path) -> Result<abi::Os, String> {
    let release = text(root, "etc/os-release").or_else(|_| text(root, "usr/lib/os-release"))?;
    let field = |key| facts::release_field(&release, key).unwrap_or_default();
    let uname = rustix::system::uname();
    let own = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Ok(abi::Os {
        id: field("ID"),
        version: field("VERSION_ID"),
        pretty_name: field("PRETTY_NAME"),
        kernel: own(uname.release()),
        architecture: own(uname.machine()),
        hostname: own(uname.nodename()),
        uptime_s: facts::uptime(&text(root, "proc/uptime")?),
    })
}

pub(crate) fn disks(root: &Path) -> Result<Vec<abi::Disk>, String> {
    let mut disks = Vec::new();
    for mount in facts::mounts(&text(root, "proc/self/mounts")?) {
        // A server that does not answer must not hold up the facts about the others.
        if facts::is_remote(&mount.filesystem) {
            continue;
        }
        // Some are not for us to look at; and what has no size is no disk.
        let Ok(found) = rustix::fs::statvfs(&mount.path) else { continue };
        if found.f_blocks > 0 {
            disks.push(abi::Disk {
                mount: mount.path,
                device: mount.device,
                filesystem: mount.filesystem,
                total: found.f_blocks * found.f_frsize,
                available: found.f_bavail * found.f_frsize,
                inodes: found.f_files,
                inodes_free: found.f_favail,
                read_only: mount.read_only,
            });
        }
    }
    Ok(disks)
}

fn load(root: &Path) -> Result<abi::Load, String> {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let [one, five, fifteen] = facts::load(&text(root, "proc/loadavg")?).ok_or("/proc/loadavg holds no averages")?;
    Ok(abi::Load { cpus: u32::try_from(cpus).unwrap_or(u32::MAX), one, five, fifteen })
}

fn packages(root: &Path) -> Result<Vec<abi::Package>, String> {
    let (dpkg, apk) = ("var/lib/dpkg/status", "lib/apk/db/installed");
    if root.join(dpkg).exists() {
        return Ok(facts::dpkg(&text(root, dpkg)?));
    }
    if root.join(apk).exists() {
        return Ok(facts::apk(&text(root, apk)?));
    }
    Err("neither dpkg (/var/lib/dpkg/status) nor apk (/lib/apk/db/installed) keeps packages here".to_owned())
}

impl abi::Host for Host {
    async fn get_os(&mut self) -> Result<abi::Os, HostError> {
        self.facts(SystemGroup::Os, os).await
    }

    async fn get_disks(&mut self) -> Result<Vec<abi::Disk>, HostError> {
        self.facts(SystemGroup::Disks, disks).await
    }

    async fn get_memory(&mut self) -> Result<abi::Memory, HostError> {
        self.facts(SystemGroup::Memory, |root| Ok(facts::memory(&text(root, "proc/meminfo")?))).await
    }

    async fn get_load(&mut self) -> Result<abi::Load, HostError> {
        self.facts(SystemGroup::Load, load).await
    }

    async fn get_packages(&mut self) -> Result<Vec<abi::Package>, HostError> {
        self.facts(SystemGroup::Packages, packages).await
    }

    async fn get_sockets(&mut self) -> Result<Vec<abi::Socket>, HostError> {
        self.facts(SystemGroup::Sockets, sockets::sockets).await
    }

    async fn get_services(&mut self) -> Result<Vec<abi::Service>, HostError> {
        self.facts(SystemGroup::Services, services::services).await
    }

    async fn get_accounts(&mut self) -> Result<abi::Accounts, HostError> {
        self.facts(SystemGroup::Accounts, accounts::accounts).await
    }

    async fn get_kernel(&mut self) -> Result<abi::Kernel, HostError> {
        self.facts(SystemGroup::Kernel, kernel::kernel).await
    }

    async fn get_sshd(&mut self) -> Result<Option<abi::Sshd>, HostError> {
        self.facts(SystemGroup::Sshd, sshd::sshd).await
    }

    async fn get_updates(&mut self) -> Result<abi::Updates, HostError> {
        self.facts(SystemGroup::Updates, updates::updates).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn this_machine_has_facts() {
        let root = Path::new("/");
        let os = os(root).unwrap();
        assert!(!os.id.is_empty() && !os.kernel.is_empty() && os.uptime_s > 0, "{os:?}");
        assert!(disks(root).unwrap().iter().any(|disk| disk.mount == "/" && disk.total >= disk.available));
        assert!(load(root).unwrap().cpus > 0);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = sockets::sockets(root).unwrap();
        let own = found.iter().find(|socket| socket.port == port && socket.address == "127.0.0.1").unwrap();
        assert_eq!(own.owner.as_ref().map(|it| it.pid), Some(std::process::id()));
        assert!(accounts::accounts(root).unwrap().accounts.iter().any(|it| it.uid == 0));
        assert!(!kernel::kernel(root).unwrap().settings.is_empty());
    }

    #[test]
    fn packages_are_those_of_whichever_manager_is_there() {
        let root = tempfile::tempdir().unwrap();
        assert!(packages(root.path()).unwrap_err().contains("neither"));
        fs::create_dir_all(root.path().join("lib/apk/db")).unwrap();
        fs::write(root.path().join("lib/apk/db/installed"), "P:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n\n").unwrap();
        assert_eq!(packages(root.path()).unwrap()[0].name, "musl");
        fs::create_dir_all(root.path().join("var/lib/dpkg")).unwrap();
        let status = "Package: adduser\nStatus: install ok installed\nArchitecture: all\nVersion: 3.134\n\n";
        fs::write(root.path().join("var/lib/dpkg/status"), status).unwrap();
        assert_eq!(packages(root.path()).unwrap()[0].name, "adduser");
    }
}
