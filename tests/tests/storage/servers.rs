//! Real servers for tests, each on a port of its own of this machine and in a folder of its own. Each ends with its value.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether all of the programs are there; says loudly when one is not.
pub(crate) fn is_there(test: &str, programs: &[&str]) -> bool {
    for program in programs {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            // Directly, since the test harness hides what a passing test prints.
            let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: there is no `{program}` (tests/setup.sh test)\n");
            assert!(std::env::var_os("CI").is_none(), "{program} is missing, and CI must not skip");
            return false;
        }
    }
    true
}

/// Waits until there is an answer.
#[track_caller]
pub(crate) fn within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has one").port()
}

pub(crate) fn await_port(port: u16, what: &str) {
    within(Duration::from_secs(30), what, || TcpStream::connect(("127.0.0.1", port)).ok());
}

/// A process with those that it started.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let other = log.try_clone().expect("it can be cloned");
        Self(command.stdin(Stdio::null()).stdout(log).stderr(other).spawn().expect("the server can be started"))
    }
}

/// The processes that `pid` started, and those that these started.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name stands in brackets and may hold anything.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        if parent == Some(pid) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in descendants(self.0.id()).into_iter().chain([self.0.id()]) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.0.wait();
    }
}

/// Makes a key pair without a passphrase.
pub(crate) fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen runs").success());
}

/// OpenSSH's server for the user who runs the test.
pub(crate) struct Sshd {
    _process: Process,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl Sshd {
    /// Starts it; with the keys that are in `folder`, or new ones.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, "internal-sftp")
    }

    /// The same with this subsystem for SFTP.
    pub(crate) fn start_with(folder: &Path, sftp: &str) -> Self {
        if !folder.join("host").exists() {
            fs::create_dir_all(folder).expect("a folder");
            keygen(&folder.join("host"));
            keygen(&folder.join("user"));
        }
        // As root it wants the folder that its package makes at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let port = free_port();
        let public = fs::read_to_string(folder.join("host.pub")).expect("it was made");
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {public}")).expect("a file");
        let shown = folder.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/user.pub\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
             Subsystem sftp {sftp}\n"
        );
        fs::write(folder.join("config"), config).expect("a file");
        let process = Process::spawn(
            Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(folder.join("config")),
            &folder.join("log"),
        );
        await_port(port, "sshd listens");
        Self { _process: process, folder: folder.to_owned(), port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let output = Command::new("id").arg("-un").output().expect("id runs");
        let user = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        format!("sftp://{user}@127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn options(&self) -> BTreeMap<String, String> {
        let path = |name: &str| self.folder.join(name).to_str().expect("text").to_owned();
        // Whatever stands in the configuration of whoever runs the test is left aside.
        fs::write(self.folder.join("client"), "").expect("a file");
        fs::set_permissions(self.folder.join("user"), fs::Permissions::from_mode(0o600)).expect("its mode");
        [("key", path("user")), ("known_hosts", path("known_hosts")), ("config", path("client"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

/// OpenStack Swift with its S3 interface: the object store of many hosters, here with one device and one copy.
pub(crate) struct Swift {
    _processes: Vec<Process>,
    pub(crate) endpoint: String,
}

impl Swift {
    pub(crate) const PROGRAMS: [&str; 7] = [
        "swift-proxy-server",
        "swift-account-server",
        "swift-container-server",
        "swift-object-server",
        "swift-ring-builder",
        "memcached",
        "curl",
    ];
    /// The credentials of S3.
    pub(crate) const KEY: (&str, &str) = ("test:tester", "testing");

    /// Starts it in a new folder, with one empty bucket.
    pub(crate) fn start(folder: &Path, bucket: &str) -> Self {
        Self::start_with(folder, bucket, None)
    }

    /// The same over TLS with this certificate.
    pub(crate) fn start_with(folder: &Path, bucket: &str, certificate: Option<&Certificate>) -> Self {
        fs::create_dir_all(folder.join("devices/d1")).expect("a folder");
        let output = Command::new("id").arg("-un").output().expect("id runs");
        let user = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let shown = folder.display();
        let hash = "[swift-hash]\nswift_hash_path_prefix = test\nswift_hash_path_suffix = test\n\
                    [storage-policy:0]\nname = only\ndefault = yes\n";
        fs::write(folder.join("swift.conf"), hash).expect("a file");
        let head = |port: u16| {
            format!(
                "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nuser = {user}\nswift_dir = {shown}\nworkers = 0\n\
                 log_address = /nonexistent\ndevices = {shown}/devices\nmount_check = false\n"
            )
        };
        let start = |server: &str| {
            Process::spawn(
                Command::new(format!("swift-{server}-server")).arg(folder.join(format!("{server}.conf"))),
                &folder.join(format!("{server}.log")),
            )
        };
        let memcache = free_port();
        let mut processes = vec![Process::spawn(
            Command::new("memcached").args(["-u", &user, "-l", "127.0.0.1", "-p", &memcache.to_string()]),
            &folder.join("memcached.log"),
        )];
        let mut ports = Vec::new();
        std::thread::scope(|scope| {
            for server in ["account", "container", "object"] {
                let port = free_port();
                ports.push(port);
                let config = format!(
                    "{}[pipeline:main]\npipeline = {server}-server\n[app:{server}-server]\nuse = egg:swift#{server}\n",
                    head(port)
                );
                fs::write(folder.join(format!("{server}.conf")), config).expect("a file");
                scope.spawn(move || {
                    let builder = folder.join(format!("{server}.builder"));
                    let device = format!("r1z1-127.0.0.1:{port}/d1");
                    for arguments in [&["create", "2", "1", "0"][..], &["add", &device, "1"], &["rebalance"]] {
                        let made = Command::new("swift-ring-builder").arg(&builder).args(arguments).output();
                        let made = made.expect("swift-ring-builder runs");
                        // 1 is a warning: one device is few.
                        assert!(made.status.code().is_some_and(|code| code < 2), "{made:?}");
                    }
                });
            }
        });
        let port = free_port();
        let tls = certificate.map(|it| format!("cert_file = {}\nkey_file = {}\n", it.file.display(), it.key.display()));
        let tls = tls.unwrap_or_default();
        let proxy = format!(
            "{}{tls}[pipeline:main]\npipeline = catch_errors cache listing_formats s3api tempauth dlo slo proxy-server\n\
             [app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n\
             [filter:catch_errors]\nuse = egg:swift#catch_errors\n\
             [filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{memcache}\n\
             [filter:listing_formats]\nuse = egg:swift#listing_formats\n[filter:s3api]\nuse = egg:swift#s3api\n\
             [filter:tempauth]\nuse = egg:swift#tempauth\nuser_test_tester = testing .admin\n\
             user_test_stranger = strange\n[filter:dlo]\nuse = egg:swift#dlo\n[filter:slo]\nuse = egg:swift#slo\n",
            head(port)
        );
        fs::write(folder.join("proxy.conf"), proxy).expect("a file");
        processes.extend(["account", "container", "object", "proxy"].map(start));
        for port in ports.into_iter().chain([port]) {
            await_port(port, "Swift listens");
        }
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://127.0.0.1:{port}");
        let (user, key) = Self::KEY;
        within(Duration::from_secs(20), "a bucket is made", || {
            let headers =
                ["-H".to_owned(), format!("X-Auth-User: {user}"), "-H".to_owned(), format!("X-Auth-Key: {key}")];
            let said = Command::new("curl").args(["-sik"]).args(headers).arg(format!("{endpoint}/auth/v1.0")).output();
            let said = String::from_utf8_lossy(&said.expect("curl runs").stdout).into_owned();
            let token = said.lines().find_map(|line| line.strip_prefix("X-Auth-Token: "))?.to_owned();
            let made = Command::new("curl")
                .args(["-sfk", "-X", "PUT", "-H", &format!("X-Auth-Token: {token}")])
                .arg(format!("{endpoint}/v1/AUTH_test/{bucket}"))
                .status();
            made.expect("curl runs").success().then_some(())
        });
        Self { _processes: processes, endpoint }
    }
}

/// rclone's WebDAV server.
pub(crate) struct WebDav {
    _process: Process,
    pub(crate) port: u16,
}

impl WebDav {
    /// Serves `folder` to one user.
    pub(crate) fn start(folder: &Path, user: &str, password: &str) -> Self {
        Self::start_with(folder, user, password, None)
    }

    /// The same over TLS with this certificate.
    pub(crate) fn start_with(folder: &Path, user: &str, password: &str, certificate: Option<&Certificate>) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let port = free_port();
        let mut rclone = Command::new("rclone");
        rclone
            .args(["serve", "webdav", "--config", "/dev/null", "--addr", &format!("127.0.0.1:{port}")])
            .args(["--user", user, "--pass", password]);
        if let Some(Certificate { file, key }) = certificate {
            rclone.arg("--cert").arg(file).arg("--key").arg(key);
        }
        let process = Process::spawn(rclone.arg(folder), &folder.with_extension("log"));
        await_port(port, "rclone listens");
        Self { _process: process, port }
    }
}

/// A certificate and its key, as PEM files.
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// An authority of its own.
    pub(crate) fn authority(folder: &Path, name: &str) -> Self {
        Self::made(folder, name, "CA:TRUE", &["-days", "2"], None)
    }

    /// One of a server for these names (`IP:127.0.0.1`, `DNS:localhost`), signed by the authority, or by itself.
    pub(crate) fn server(folder: &Path, name: &str, names: &str, authority: Option<&Self>) -> Self {
        let extension = format!("CA:FALSE\nsubjectAltName={names}");
        Self::made(folder, name, &extension, &["-days", "2"], authority)
    }

    /// The same with other arguments for openssl, for a certificate that nobody should accept.
    pub(crate) fn made(folder: &Path, name: &str, constraints: &str, more: &[&str], authority: Option<&Self>) -> Self {
        let openssl = |arguments: &[&str], files: &[(&str, &Path)]| {
            let mut command = Command::new("openssl");
            command.args(arguments);
            command.args(files.iter().flat_map(|(option, file)| [option.as_ref(), file.as_os_str()]));
            let output = command.output().expect("openssl can be started");
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let at = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        let (file, key, request, extensions) = (at("pem"), at("key"), at("csr"), at("ext"));
        fs::write(&extensions, format!("basicConstraints=critical,{constraints}\n")).expect("a file");
        let subject = format!("/CN=upkeep {name}");
        let new =
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", &subject];
        openssl(&new, &[("-keyout", &key), ("-out", &request)]);
        let sign = [&["x509", "-req"], more].concat();
        let common: [(&str, &Path); 3] = [("-in", &request), ("-out", &file), ("-extfile", &extensions)];
        match authority {
            Some(by) => openssl(
                &[&sign[..], &["-CAcreateserial"]].concat(),
                &[&common[..], &[("-CA", &by.file), ("-CAkey", &by.key)]].concat(),
            ),
            None => openssl(&sign, &[&common[..], &[("-signkey", &key)]].concat()),
        }
        Self { file, key }
    }

    pub(crate) fn text(&self) -> String {
        self.file.to_str().expect("text").to_owned()
    }
}
