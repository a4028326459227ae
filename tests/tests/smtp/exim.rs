//! Exim as a mail server of its own: on ports of this machine, with its queue, its log and what it delivers in one folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::servers::{Certificate, Process, await_port, free_port, within};

/// The programs that it takes.
pub(crate) const PROGRAMS: [&str; 3] = ["/usr/sbin/exim4", "openssl", "python3"];

/// The account that it knows.
pub(crate) const USER: &str = "upkeep";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The server. It ends with its value.
///
/// It takes mail for all domains, from who has logged in, and delivers it into its folder. `nobody@` is refused with 550, `later@` with
/// 451, `full@` with 452, and mail whose subject is `refuse me` with 554.
pub(crate) struct Exim {
    _process: Process,
    folder: PathBuf,
    /// Offers STARTTLS.
    pub(crate) port: u16,
    /// Speaks TLS from the first byte.
    pub(crate) implicit: u16,
}

/// How it differs from what is usual.
#[derive(Default)]
pub(crate) struct Options {
    /// Without it, the server knows no TLS, and takes a password in the clear.
    pub(crate) certificate: Option<Certificate>,
    /// Seconds that it thinks about each mail.
    pub(crate) thinks: u32,
}

impl Exim {
    pub(crate) fn start(folder: &Path, options: &Options) -> Self {
        let user = if rustix::process::geteuid().is_root() { "Debian-exim".to_owned() } else { user() };
        let (port, implicit) = (free_port(), free_port());
        for part in ["spool", "log", "mail"] {
            fs::create_dir_all(folder.join(part)).expect("a folder");
        }
        let shown = folder.display();
        let tls = match &options.certificate {
            Some(Certificate { file, key }) => {
                let (file, key) = (file.display(), key.display());
                format!(
                    "tls_advertise_hosts = *\ntls_certificate = {file}\ntls_privatekey = {key}\n\
                     tls_on_connect_ports = {implicit}\nauth_advertise_hosts = ${{if def:tls_in_cipher {{*}}{{}}}}\n"
                )
            }
            None => "tls_advertise_hosts =\n".to_owned(),
        };
        let thinks = match options.thinks {
            0 => String::new(),
            seconds => format!("  warn delay = {seconds}s\n"),
        };
        let config = format!(
            "exim_path = /usr/sbin/exim4\nexim_user = {user}\nexim_group = {user}\nspool_directory = {shown}/spool\n\
             log_file_path = {shown}/log/%slog\npid_file_path = {shown}/pid\nprimary_hostname = mail.example.org\n\
             local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port} : {implicit}\n{tls}disable_ipv6\nhost_lookup =\n\
             keep_environment =\nmessage_size_limit = 1M\nsmtp_accept_max = 100\nsmtp_accept_queue_per_connection = 0\n\
             allow_utf8_domains\nacl_smtp_rcpt = rcpt\nacl_smtp_data = data\n\
             begin acl\nrcpt:\n  deny !authenticated = *\n    message = 530 5.7.0 log in first\n\
             \x20 deny local_parts = nobody\n    message = 550 5.1.1 there is no such user\n\
             \x20 defer local_parts = later\n    message = 451 4.7.1 greylisted, come back in a while\n\
             \x20 defer local_parts = full\n    message = 452 4.2.2 the mailbox is full\n\
             \x20 accept\n\
             data:\n{thinks}  deny condition = ${{if eq{{$h_subject:}}{{refuse me}}}}\n    message = 554 5.7.1 this is not wanted\n\
             \x20 accept\n\
             begin routers\nall:\n  driver = accept\n  transport = keep\n\
             begin transports\nkeep:\n  driver = appendfile\n  directory = {shown}/mail\n  maildir_format\n\
             \x20 user = {user}\n  envelope_to_add\n  return_path_add\n\
             begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  server_prompts = :\n\
             \x20 server_condition = ${{if and{{{{eq{{$auth2}}{{{USER}}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}\n\
             \x20 server_set_id = $auth2\n\
             login:\n  driver = plaintext\n  public_name = LOGIN\n  server_prompts = Username:: : Password::\n\
             \x20 server_condition = ${{if and{{{{eq{{$auth1}}{{{USER}}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}\n\
             \x20 server_set_id = $auth1\n"
        );
        fs::write(folder.join("conf"), config).expect("a file");
        // Its own user has to get in.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("a mode");
        let owned: Vec<PathBuf> = ["spool", "log", "mail"].iter().map(|part| folder.join(part)).collect();
        let keys = options.certificate.iter().map(|it| it.key.clone());
        let chown = Command::new("chown").arg(format!("{user}:")).args(owned.into_iter().chain(keys)).status();
        assert!(chown.expect("chown runs").success());
        let mut command = Command::new("/usr/sbin/exim4");
        let process = Process::spawn(command.arg("-C").arg(folder.join("conf")).arg("-bdf"), &folder.join("out"));
        let server = Self { _process: process, folder: folder.to_owned(), port, implicit };
        await_port(port, &format!("exim listens: {}", server.log()));
        server
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let read = |file: &str| fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        format!("{}{}{}", read("out"), read("log/mainlog"), read("log/rejectlog"))
    }

    /// The mails that it has delivered, one for each recipient; waits until there are so many.
    #[track_caller]
    pub(crate) fn mails(&self, count: usize) -> Vec<String> {
        let read = || {
            let files = fs::read_dir(self.folder.join("mail/new")).into_iter().flatten().flatten();
            let texts: Vec<String> = files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
            (texts.len() >= count).then_some(texts)
        };
        let mails = within(Duration::from_secs(60), &format!("{count} mails; {}", self.log()), read);
        assert_eq!(mails.len(), count, "{}", self.log());
        mails
    }

    /// The mail to this recipient.
    #[track_caller]
    pub(crate) fn mail_to(&self, recipient: &str) -> String {
        let envelope = format!("Envelope-to: {recipient}\n");
        within(Duration::from_secs(30), &format!("a mail to {recipient}"), || {
            let files = fs::read_dir(self.folder.join("mail/new")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_to_string(file.path()).ok()).find(|text| text.contains(&envelope))
        })
    }
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What is in a mail, as another program reads it.
pub(crate) fn parsed(mail: &str) -> serde_json::Value {
    const SCRIPT: &str = "\
import email, email.policy, json, sys
mail = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
body = lambda kind: (lambda part: part and part.get_content().replace('\\r\\n', '\\n'))(mail.get_body((kind,)))
known = ('From', 'To', 'Subject', 'Message-ID', 'Auto-Submitted', 'Return-path', 'Envelope-to')
print(json.dumps({'headers': {name: mail[name] and str(mail[name]) for name in known}, 'dated': mail['Date'].datetime.timestamp(),
    'type': mail.get_content_type(), 'text': body('plain'), 'html': body('html')}))
";
    let mut python = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    python.stdin.take().expect("it is piped").write_all(mail.as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {mail}"))
}
