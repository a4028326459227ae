//! A real nginx that takes requests and writes down who asked.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::wait::eventually;

/// An nginx of Debian, on a port of its own. It ends when this is dropped.
pub struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Nginx {
    /// Starts one. Its access log has a line for each request: status, path and `idempotency-key`. `server` is what stands in the
    /// section of that name.
    #[track_caller]
    pub fn start(server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        let at = folder.path().display();
        let config = format!(
            "daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes 1;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
                 log_format keys '$status $request_uri $http_idempotency_key';\n\
                 access_log {at}/access.log keys;\n\
                 client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
                 uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi; keepalive_requests 1000000;\n\
                 server {{ listen 127.0.0.1:{port}; {server} }}\n\
             }}\n"
        );
        fs::write(folder.path().join("nginx.conf"), config).expect("a configuration can be written");
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = spawned.expect("nginx can be started: apt-get install nginx-light");
        let nginx = Self { child, folder, port };
        eventually("nginx", || TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
        nginx
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The lines of the access log: status, path, key.
    pub fn log(&self) -> Vec<[String; 3]> {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            std::array::from_fn(|_| words.next().unwrap_or_default())
        };
        text.lines().map(line).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("access.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it when it is asked, not when it is killed.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
