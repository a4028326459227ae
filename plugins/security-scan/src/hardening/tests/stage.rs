//! A machine that is well kept, for tests to spoil.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use upkeep_plugin::system::{
    Account, Accounts, Kernel, MatchBlock, Mount, Os, Owner, Password, Service, Setting, Socket, Sshd, SudoRule,
    Transport, Updates,
};
use upkeep_plugin::test::{Facts, Host};

use super::super::{Config, Outcome, RootSettings, check};

/// In the last days of 2026.
pub(super) const NOW_MS: i64 = 1_798_564_031_000;

pub(super) struct Stage {
    pub(super) facts: Facts,
    pub(super) config: Config,
    /// By path: text and mode.
    files: BTreeMap<String, (String, u32)>,
    folders: BTreeMap<String, u32>,
    owners: BTreeMap<String, u32>,
}

const SSHD: [(&str, &str); 18] = [
    ("permitrootlogin", "no"),
    ("passwordauthentication", "no"),
    ("kbdinteractiveauthentication", "no"),
    ("permitemptypasswords", "no"),
    ("usepam", "yes"),
    ("x11forwarding", "no"),
    ("allowagentforwarding", "no"),
    ("maxauthtries", "4"),
    ("logingracetime", "60"),
    ("ciphers", "chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes256-ctr"),
    ("macs", "hmac-sha2-512-etm@openssh.com"),
    ("kexalgorithms", "sntrup761x25519-sha512@openssh.com,curve25519-sha256,diffie-hellman-group14-sha256"),
    ("hostbasedauthentication", "no"),
    ("ignorerhosts", "yes"),
    ("strictmodes", "yes"),
    ("permituserenvironment", "no"),
    ("gatewayports", "no"),
    ("port", "22"),
];

const KERNEL: [(&str, &str); 26] = [
    ("fs.protected_fifos", "1"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_regular", "2"),
    ("fs.protected_symlinks", "1"),
    ("fs.suid_dumpable", "2"),
    ("kernel.core_pattern", "|/usr/lib/systemd/systemd-coredump %P"),
    ("kernel.dmesg_restrict", "1"),
    ("kernel.kptr_restrict", "1"),
    ("kernel.perf_event_paranoid", "3"),
    ("kernel.randomize_va_space", "2"),
    ("kernel.unprivileged_bpf_disabled", "2"),
    ("kernel.yama.ptrace_scope", "1"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.all.accept_source_route", "0"),
    ("net.ipv4.conf.all.rp_filter", "2"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_source_route", "0"),
    ("net.ipv4.conf.default.rp_filter", "2"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv4.ip_forward", "0"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv6.conf.all.accept_redirects", "0"),
    ("net.ipv6.conf.all.accept_source_route", "-1"),
    ("net.ipv6.conf.all.forwarding", "0"),
    ("net.ipv6.conf.default.accept_redirects", "0"),
];

fn settings(of: &[(&str, &str)]) -> Vec<Setting> {
    of.iter().map(|(name, value)| Setting { name: (*name).to_owned(), value: (*value).to_owned() }).collect()
}

fn set(settings: &mut Vec<Setting>, name: &str, value: &str) {
    settings.retain(|it| it.name != name);
    settings.push(Setting { name: name.to_owned(), value: value.to_owned() });
}

fn account(name: &str, uid: u32, shell: &str) -> Account {
    Account {
        name: name.to_owned(),
        uid,
        gid: uid,
        shell: shell.to_owned(),
        home: format!("/home/{name}"),
        home_mode: Some(0o700),
        home_uid: Some(uid),
        password: Password::Locked,
        scheme: String::new(),
        groups: Vec::new(),
    }
}

impl Stage {
    pub(super) fn new() -> Self {
        let os = Os {
            id: "debian".to_owned(),
            version: "12".to_owned(),
            pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            kernel: "6.1.0".to_owned(),
            architecture: "x86_64".to_owned(),
            hostname: "web1".to_owned(),
            uptime_s: 1,
        };
        let accounts = ["root", "www-data", "mai"].into_iter().zip([0, 33, 1000]).zip(["bash", "nologin", "bash"]);
        let accounts = Accounts {
            accounts: accounts.map(|((name, uid), shell)| account(name, uid, &format!("/bin/{shell}"))).collect(),
            sudo: Some(Vec::new()),
            umask: Some(0o022),
            root_path: vec!["/usr/sbin".to_owned(), "/usr/bin".to_owned()],
        };
        let updates = Updates {
            pending: Vec::new(),
            suites: vec!["bookworm-security".to_owned()],
            fetched: Some(NOW_MS - 3_600_000),
            unattended: true,
            reboot_required: false,
        };
        let facts = Facts {
            os: Some(os),
            sockets: Some(Vec::new()),
            services: Some(Vec::new()),
            accounts: Some(accounts),
            kernel: Some(Kernel { settings: settings(&KERNEL), mounts: Some(Vec::new()), packet_filter: Some(true) }),
            sshd: Some(Some(Sshd { effective: true, settings: settings(&SSHD), blocks: Vec::new() })),
            updates: Some(updates),
            ..Facts::default()
        };
        let config = Config {
            roots: vec![RootSettings { root: "app".to_owned(), web: Some("public".to_owned()) }],
            ..Config::default()
        };
        let (files, folders, owners) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut stage = Self { facts, config, files, folders, owners };
        stage.mount("/tmp", "rw,nosuid,nodev");
        stage.mount("/dev/shm", "rw,nosuid,nodev,noexec");
        stage.mount("/proc", "rw,hidepid=invisible");
        stage.listen(22, "sshd", "0.0.0.0");
        stage.service("systemd-timesyncd", |it| it.user = "systemd-timesync".to_owned());
        stage.file("public/index.html", "<p>", 0o644);
        stage.certificate("good");
        stage
    }

    pub(super) fn check(&self) -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        mode(folder.path(), 0o755);
        for (path, (text, bits)) in &self.files {
            let path = folder.path().join(path);
            for above in path.ancestors().skip(1).take_while(|it| *it != folder.path()) {
                fs::create_dir_all(above).expect("a folder");
                mode(above, 0o755);
            }
            fs::write(&path, text).expect("a file");
            mode(&path, *bits);
        }
        for (path, bits) in &self.folders {
            let path = folder.path().join(path);
            fs::create_dir_all(&path).expect("a folder");
            mode(&path, *bits);
        }
        for (path, uid) in &self.owners {
            std::os::unix::fs::chown(folder.path().join(path), Some(*uid), None).expect("only root may do this");
        }
        let _host = Host::new().system(self.facts.clone()).root("app", folder.path());
        check(&self.config, NOW_MS).expect("a right configuration")
    }

    pub(super) fn sshd(&mut self) -> &mut Sshd {
        self.facts.sshd.as_mut().and_then(Option::as_mut).expect("there is a server")
    }

    pub(super) fn ssh(&mut self, key: &str, value: &str) {
        set(&mut self.sshd().settings, key, value);
    }

    pub(super) fn block(&mut self, condition: &str, key: &str, value: &str) {
        self.sshd().blocks.push(MatchBlock { condition: condition.to_owned(), settings: settings(&[(key, value)]) });
    }

    pub(super) fn sysctl(&mut self, name: &str, value: &str) {
        set(&mut self.facts.kernel.as_mut().expect("a kernel").settings, name, value);
    }

    pub(super) fn mount(&mut self, path: &str, options: &str) {
        let mounts = self.facts.kernel.as_mut().and_then(|it| it.mounts.as_mut()).expect("mounts");
        mounts.retain(|mount| mount.path != path);
        let options = options.split(',').map(str::to_owned).collect();
        mounts.push(Mount { path: path.to_owned(), filesystem: "tmpfs".to_owned(), options });
    }

    pub(super) fn unmount(&mut self, path: &str) {
        let mounts = self.facts.kernel.as_mut().and_then(|it| it.mounts.as_mut()).expect("mounts");
        mounts.retain(|mount| mount.path != path);
    }

    pub(super) fn kernel(&mut self) -> &mut Kernel {
        self.facts.kernel.as_mut().expect("a kernel")
    }

    pub(super) fn updates(&mut self) -> &mut Updates {
        self.facts.updates.as_mut().expect("updates")
    }

    pub(super) fn accounts(&mut self) -> &mut Accounts {
        self.facts.accounts.as_mut().expect("accounts")
    }

    /// Changes the last account, which is that of a person.
    pub(super) fn account(&mut self, change: impl FnOnce(&mut Account)) {
        change(self.accounts().accounts.last_mut().expect("a person"));
    }

    pub(super) fn add_account(&mut self, name: &str, uid: u32, shell: &str) {
        self.accounts().accounts.push(account(name, uid, shell));
    }

    pub(super) fn sudo(&mut self, who: &str, commands: &str, no_password: bool) {
        let (who, run_as, commands) = (who.to_owned(), "ALL".to_owned(), commands.to_owned());
        let rules = self.accounts().sudo.get_or_insert_default();
        rules.push(SudoRule { who, run_as, commands, no_password });
    }

    pub(super) fn listen(&mut self, port: u16, process: &str, address: &str) {
        let owner = (!process.is_empty()).then(|| Owner { pid: 7, name: process.to_owned(), unit: None });
        let socket = Socket { transport: Transport::Tcp, address: address.to_owned(), port, uid: 0, owner };
        self.facts.sockets.get_or_insert_default().push(socket);
    }

    /// Adds a running service that is as it should be, but for this.
    pub(super) fn service(&mut self, name: &str, change: impl FnOnce(&mut Service)) {
        let mut service = Service {
            name: name.to_owned(),
            state: "active".to_owned(),
            sub_state: "running".to_owned(),
            unit_file: "enabled".to_owned(),
            path: format!("/etc/systemd/system/{name}.service"),
            user: "app".to_owned(),
            process: name.to_owned(),
            no_new_privileges: true,
            protect_system: "strict".to_owned(),
        };
        change(&mut service);
        self.facts.services.get_or_insert_default().push(service);
    }

    pub(super) fn file(&mut self, path: &str, text: &str, mode: u32) {
        self.files.insert(path.to_owned(), (text.to_owned(), mode));
    }

    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.folders.insert(path.to_owned(), mode);
    }

    pub(super) fn owner(&mut self, path: &str, uid: u32) {
        self.owners.insert(path.to_owned(), uid);
    }

    /// One of those in `certificates`, made with openssl in November 2026; their keys are gone.
    pub(super) fn certificate(&mut self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/hardening/tests/certificates/{name}.pem"));
        let text = fs::read_to_string(&file).expect("a certificate");
        self.file(&format!("tls/{name}.pem"), &text, 0o644);
    }
}
