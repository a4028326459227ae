//! Debian's nginx with the example of docs/api.md, on a port and with a certificate of its own.

use std::fs;
use std::process::{Child, Command, Stdio};

use upkeep_tests::{Site, eventually};

use crate::tcp::free_port;

const PROGRAM: &str = "/usr/sbin/nginx";
const NAME: &str = "push.example.com";

/// nginx, which is killed when this is dropped.
pub(crate) struct Server {
    child: Option<Child>,
    port: u16,
    certificate: String,
}

impl Server {
    /// None, and said so, where it is not installed.
    pub(crate) fn installed() -> Option<Self> {
        if fs::exists(PROGRAM).unwrap_or(false) {
            return Some(Self { child: None, port: free_port(), certificate: String::new() });
        }
        assert!(std::env::var_os("CI").is_none(), "nginx is not installed, and CI must not skip");
        eprintln!("SKIPPED: nginx is not installed (apt-get install nginx-light); the example was not looked at");
        None
    }

    /// Starts it in front of the daemon that listens at `port`.
    pub(crate) fn start(mut self, site: &Site, port: u16) -> Self {
        let folder = site.path("nginx");
        fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={NAME}")])
            .args(["-addext", &format!("subjectAltName=DNS:{NAME}"), "-keyout"])
            .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        self.certificate = certificate.display().to_string();
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md")).unwrap();
        let example = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let example = example
            .replace("listen 443 ssl", &format!("listen 127.0.0.1:{} ssl", self.port))
            .replace("/etc/ssl/push.example.com.pem", &self.certificate)
            .replace("/etc/ssl/push.example.com.key", &key.display().to_string())
            .replace("127.0.0.1:8473", &format!("127.0.0.1:{port}"));
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{example}\n}}\n",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let log = fs::File::create(folder.join("stderr")).unwrap();
        let child = Command::new(PROGRAM).arg("-p").arg(&folder).arg("-c").arg(&file).stderr(log).spawn().unwrap();
        self.child = Some(child);
        eventually("nginx", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop));
        self
    }

    /// Status and body of a request by curl.
    #[track_caller]
    pub(crate) fn curl(&self, path: &str, args: &[&str]) -> (u16, String) {
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "50", "--cacert", &self.certificate, "--write-out", "\n%{http_code}"])
            .args(["--resolve", &format!("{NAME}:{}:127.0.0.1", self.port)])
            .args(args)
            .arg(format!("https://{NAME}:{}{path}", self.port))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("curl: {output:?}"));
        (status.parse().unwrap_or_default(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
