//! The facts that the checks look at, each fetched when the first check asks for it. What the task file does not grant, or
//! the host cannot tell, is kept as the reason why it is missing.

use std::cell::OnceCell;

use upkeep_plugin::system::{self, Account, Accounts, Kernel, Mount, Os, Service, Socket, Sshd, Updates};
use upkeep_plugin::{Error, HostResult};

use super::files::Seen;
use super::{Config, Hit, Look, files};

type Fact<T> = Result<T, String>;

/// A fact that is fetched at most once.
struct Lazy<T>(OnceCell<Fact<T>>);

impl<T> Lazy<T> {
    fn new() -> Self {
        Self(OnceCell::new())
    }

    fn get(&self, fetch: impl FnOnce() -> HostResult<T>) -> Result<&T, String> {
        let fetched = self.0.get_or_init(|| fetch().map_err(|error| Error::from(error).to_string()));
        fetched.as_ref().map_err(Clone::clone)
    }
}

/// A machine as far as it may be looked at.
pub(super) struct Machine<'a> {
    pub(super) config: &'a Config,
    /// In milliseconds since 1970.
    pub(super) now_ms: i64,
    os: Lazy<Os>,
    sockets: Lazy<Vec<Socket>>,
    services: Lazy<Vec<Service>>,
    accounts: Lazy<Accounts>,
    kernel: Lazy<Kernel>,
    sshd: Lazy<Option<Sshd>>,
    updates: Lazy<Updates>,
    files: OnceCell<Fact<Seen>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(config: &'a Config, now_ms: i64) -> Self {
        Self {
            config,
            now_ms,
            os: Lazy::new(),
            sockets: Lazy::new(),
            services: Lazy::new(),
            accounts: Lazy::new(),
            kernel: Lazy::new(),
            sshd: Lazy::new(),
            updates: Lazy::new(),
            files: OnceCell::new(),
        }
    }

    pub(super) fn os(&self) -> Result<&Os, String> {
        self.os.get(system::os)
    }

    pub(super) fn sockets(&self) -> Result<&[Socket], String> {
        self.sockets.get(system::sockets).map(Vec::as_slice)
    }

    pub(super) fn services(&self) -> Result<&[Service], String> {
        self.services.get(system::services).map(Vec::as_slice)
    }

    pub(super) fn accounts(&self) -> Result<&Accounts, String> {
        self.accounts.get(system::accounts)
    }

    pub(super) fn updates(&self) -> Result<&Updates, String> {
        self.updates.get(system::updates)
    }

    fn kernel(&self) -> Result<&Kernel, String> {
        self.kernel.get(system::kernel)
    }

    fn ssh_server(&self) -> Result<Option<&Sshd>, String> {
        self.sshd.get(system::sshd).map(Option::as_ref)
    }

    /// What was seen in the granted folders, if a check has asked for it.
    pub(super) fn walked(&self) -> Option<&Seen> {
        self.files.get()?.as_ref().ok()
    }

    /// What the granted folders hold.
    pub(super) fn files(&self) -> Result<&Seen, String> {
        self.files.get_or_init(|| files::look_through(self.config)).as_ref().map_err(Clone::clone)
    }

    /// The mounts of the machine.
    pub(super) fn mounts(&self) -> Result<&[Mount], String> {
        let hidden = "upkeep only sees its own mounts: it would need to look at the first process (CAP_SYS_PTRACE)";
        self.kernel()?.mounts.as_deref().ok_or_else(|| hidden.to_owned())
    }

    /// Whether packets are filtered.
    pub(super) fn packet_filter(&self) -> Result<bool, String> {
        let hidden = "upkeep may not look at the rules of nftables (CAP_NET_ADMIN)";
        self.kernel()?.packet_filter.ok_or_else(|| hidden.to_owned())
    }

    /// Each account that is wrong.
    pub(super) fn account(&self, is_wrong: impl Fn(&Account) -> bool, seen: impl Fn(&Account) -> String) -> Look {
        let wrong = self.accounts()?.accounts.iter().filter(|account| is_wrong(account));
        Ok(wrong.map(|account| Hit::of(account.name.clone(), seen(account))).collect())
    }

    /// One hit when a setting of the kernel is wrong, naming it. A setting that this kernel does not have is not looked at.
    pub(super) fn sysctl(&self, name: &str, is_right: impl Fn(&str) -> bool) -> Look {
        let found = self.kernel()?.settings.iter().find(|setting| setting.name == name);
        let setting = found.ok_or_else(|| format!("this kernel has no setting `{name}`"))?;
        let is_wrong = !is_right(&setting.value);
        Ok(is_wrong.then(|| Hit::one(format!("{name} = {}", setting.value))).into_iter().collect())
    }

    /// One hit that names all of these settings that are wrong; those that this kernel does not have do not count.
    pub(super) fn sysctls(&self, names: &[&str], is_right: impl Fn(&str) -> bool) -> Look {
        let settings = self.kernel()?.settings.iter().filter(|setting| names.contains(&setting.name.as_str()));
        let settings: Vec<_> = settings.collect();
        if settings.is_empty() {
            return Err(format!("this kernel has no setting `{}`", names.join("` or `")));
        }
        let wrong = settings.into_iter().filter(|setting| !is_right(&setting.value));
        let wrong: Vec<_> = wrong.map(|it| format!("{} = {}", it.name, it.value)).collect();
        Ok(if wrong.is_empty() { Vec::new() } else { vec![Hit::one(wrong.join(", "))] })
    }

    /// The settings of the SSH server with this key: those for everybody, and those of `Match` blocks with their conditions.
    /// Nothing when there is no server.
    pub(super) fn sshd(&self, key: &str) -> Result<Vec<(&str, &str)>, String> {
        let Some(sshd) = self.ssh_server()? else { return Ok(Vec::new()) };
        let of = |settings: &'_ [system::Setting]| settings.iter().position(|setting| setting.name == key);
        let mut found: Vec<_> =
            of(&sshd.settings).map(|at| ("", sshd.settings[at].value.as_str())).into_iter().collect();
        if found.is_empty() {
            return Err(format!("the SSH server did not tell its `{key}`, and its default is not known"));
        }
        for block in &sshd.blocks {
            found.extend(of(&block.settings).map(|at| (block.condition.as_str(), block.settings[at].value.as_str())));
        }
        Ok(found)
    }

    /// Which of these keys the configuration of the SSH server holds.
    pub(super) fn sshd_holds(&self, keys: &[&str]) -> Look {
        let settings = self.ssh_server()?.into_iter().flat_map(|sshd| &sshd.settings);
        let held = settings.filter(|setting| keys.contains(&setting.name.as_str()));
        Ok(held.map(|setting| Hit::of(setting.name.clone(), setting.name.clone())).collect())
    }

    /// A hit for each place where a setting of the SSH server is wrong.
    pub(super) fn sshd_is_wrong(&self, key: &str, is_wrong: impl Fn(&str) -> bool) -> Look {
        let wrong = self.sshd(key)?.into_iter().filter(|(_, value)| is_wrong(value));
        Ok(wrong.map(|(condition, value)| ssh_hit(key, condition, value)).collect())
    }
}

fn ssh_hit(key: &str, condition: &str, value: &str) -> Hit {
    match condition {
        "" => Hit::one(format!("{key} {value}")),
        _ => Hit::of(format!("match/{condition}"), format!("{key} {value}, for `Match {condition}`")),
    }
}
