//! E-mail by the servers that the task file names.
//!
//! A mail goes through these gates, in this order: it is one that can be sent ([`mail`]); its sender and each of its recipients
//! are granted; it is not too large, and the run has not sent too many; it is in the ledger; what the server's name leads to may be
//! connected to ([`connection`]). User and password stay here: they go to the server, after TLS where the grant wants that, and
//! whatever the server says is searched for the password before anybody hears it, and before anything of it is cut off.
//!
//! Connections are kept for the run, so that many mails need one login. One that the server has closed meanwhile is made again,
//! when nothing of the mail was sent by it.

mod connection;
mod mail;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, TlsParameters};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use self::connection::{Access, Connection, Trouble, Words};
use self::mail::Mail;
use crate::abi::smtp as abi;
use crate::abi::types::Error as GuestError;
use crate::capability::egress::Entry;
use crate::capability::secrets::read_source;
use crate::capability::secrets::redactor::Redactor;
use crate::capability::{Call, Host, HostError, Run, blocking};
use crate::clock;
use crate::config::grant::Grants;
use crate::config::smtp::{SmtpGrant, SmtpTls};
use crate::record::egress::EgressResult;

/// Mails of one call.
const MOST_MAILS: usize = 1_000;
/// Connections to one server at the same time.
const MOST_CONNECTIONS: usize = 4;
/// How long a server may take to say goodbye.
const LEAVE: Duration = Duration::from_secs(2);

/// The servers of one run, by name.
#[derive(Default)]
pub struct Servers(Mutex<BTreeMap<String, Arc<Server>>>);

/// A server, and what the run has of it.
struct Server {
    grant: Arc<SmtpGrant>,
    /// `grant.smtp.NAME`.
    key: String,
    sent: AtomicU32,
    opened: OnceCell<Result<Opened, Closed>>,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

/// What was read and set up for the run.
struct Opened {
    tls: Option<TlsParameters>,
    login: Option<Credentials>,
    words: Words,
}

/// Why nothing could be set up.
enum Closed {
    /// The password cannot be used.
    Unusable(String),
    /// Something else is wrong.
    Failed(String),
}

impl Servers {
    fn named(&self, grants: &Grants, name: &str) -> Option<Arc<Server>> {
        let grant = grants.smtp.get(name)?;
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(servers.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Server {
                grant: Arc::clone(grant),
                key: format!("grant.smtp.{name}"),
                sent: AtomicU32::new(0),
                opened: OnceCell::new(),
                permits: Semaphore::new(MOST_CONNECTIONS),
                idle: Mutex::default(),
            })
        })))
    }

    /// Ends all connections. Nobody sends any more.
    pub async fn close(&self) {
        let servers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut leaving = JoinSet::new();
        for server in servers.into_values() {
            for connection in std::mem::take(&mut *server.idle.lock().unwrap_or_else(PoisonError::into_inner)) {
                leaving.spawn(tokio::time::timeout(LEAVE, connection.quit()));
            }
        }
        leaving.join_all().await;
    }
}

impl Opened {
    fn new(grant: &SmtpGrant, key: &str) -> Result<Self, Closed> {
        let (mut login, mut words) = (None, Words::default());
        if let (Some(user), Some(source)) = (&grant.user, &grant.password) {
            let password = read_source(&format!("the password of `{key}`"), source).map_err(Closed::Unusable)?;
            let named = key.trim_start_matches("grant.");
            words = Words(Redactor::new([(named, password.reveal())]).map(Arc::new));
            login = Some(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        let tls = match grant.tls {
            SmtpTls::None => None,
            SmtpTls::Starttls | SmtpTls::Implicit => Some(parameters(grant, key).map_err(Closed::Failed)?),
        };
        Ok(Self { tls, login, words })
    }
}

/// Whom TLS trusts.
fn parameters(grant: &SmtpGrant, key: &str) -> Result<TlsParameters, String> {
    // The daemon links one provider; that it is set already is no matter.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = grant.server().ok_or_else(|| format!("`{key}.host` is no name of a server"))?;
    let mut builder = TlsParameters::builder(server);
    if let Some(path) = &grant.ca {
        builder = builder.certificate_store(CertificateStore::None);
        for certificate in certificates(path, key)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| {
        format!(
            "TLS cannot be used: {error}; apt-get install ca-certificates, or name the certificates with `{key}.ca`"
        )
    })
}

fn certificates(path: &Path, key: &str) -> Result<Vec<Certificate>, String> {
    let wrong =
        |reason: String| format!("the certificates in {} cannot be used (`{key}.ca`): {reason}", path.display());
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(error.to_string()))?;
    if found.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    let certificates = found.into_iter().map(|it| Certificate::from_der(it.to_vec()));
    certificates.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))
}

impl Server {
    /// Why the mail may not be sent, if it may not.
    fn denies(&self, mail: &Mail) -> Option<String> {
        let (grant, key, url) = (&self.grant, &self.key, self.grant.url());
        if !grant.allows_sender(&mail.from) {
            return Some(format!("{url}: not from {} (`{key}.from` does not hold it)", mail.from));
        }
        let recipient = mail.to.iter().find(|recipient| !grant.allows_recipient(recipient))?;
        Some(format!("{url}: not to {recipient} (`{key}.to` does not cover it)"))
    }

    /// Counts a mail; none when the run has sent as many as it may.
    fn take(&self) -> Option<()> {
        let most = self.grant.max_messages;
        let more = |sent: u32| (sent < most).then_some(sent + 1);
        self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(drop)
    }

    async fn opened(&self) -> Result<&Opened, Trouble> {
        let read = || async {
            let (grant, key) = (Arc::clone(&self.grant), self.key.clone());
            let opened = blocking(move || Opened::new(&grant, &key)).await;
            opened.unwrap_or_else(|_| Err(Closed::Failed("the host failed to set up the connection".to_owned())))
        };
        let opened = self.opened.get_or_init(read).await;
        opened.as_ref().map_err(|closed| match closed {
            // The server is not to blame.
            Closed::Unusable(reason) => Trouble::Unusable(reason.clone()),
            Closed::Failed(reason) => Trouble::Unavailable(format!("{}: {reason}", self.grant.url())),
        })
    }

    /// Sends a mail by a connection that is there, or by a new one, and notes the address that it went to. Nothing that is said of it
    /// holds the password.
    async fn send(
        &self,
        mail: &Mail,
        bytes: &[u8],
        together: bool,
        address: &mut Option<String>,
    ) -> Result<abi::Answer, Trouble> {
        let opened = self.opened().await?;
        let gone = |_| Trouble::Unavailable("the run is over".to_owned());
        let _permit = self.permits.acquire().await.map_err(gone)?;
        let Opened { tls, login, words } = opened;
        let access = Access { grant: &self.grant, key: &self.key, tls: tls.as_ref(), login: login.as_ref(), words };
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => match access.connect().await? {
                    Ok(connection) => connection,
                    Err(refused) => return Ok(refused),
                },
            };
            *address = Some(connection.address.to_string());
            // One that was kept may be gone; the others may be too, and a new one is not.
            let Some(answer) = connection.deliver(mail, bytes, together).await? else { continue };
            if connection.is_usable {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            return Ok(answer);
        }
    }
}

/// What the ledger says of an answer: codes, and none of the server's words.
fn noted(mail: &Mail, answer: &abi::Answer) -> Option<String> {
    let code = |reply: &abi::Reply| match &reply.enhanced {
        Some(enhanced) => format!("{} {enhanced}", reply.code),
        None => reply.code.to_string(),
    };
    if answer.accepted {
        let refused = answer.refused.first()?;
        let (count, all) = (answer.refused.len(), mail.to.len());
        return Some(format!("{count} of {all} recipients refused: {}", code(&refused.reply)));
    }
    let what = match answer.stage {
        abi::Stage::Connection => "the connection",
        abi::Stage::Login => "user or password",
        abi::Stage::Sender => "the sender",
        abi::Stage::Recipients => "the recipients",
        abi::Stage::Content => "the mail",
    };
    Some(format!("{what} refused: {}", code(&answer.reply)))
}

impl abi::Host for Host {
    async fn send(
        &mut self,
        server: String,
        mails: Vec<abi::Mail>,
    ) -> Result<Vec<Result<abi::Answer, GuestError>>, HostError> {
        self.not_planning("smtp.send")?;
        let Some(server) = self.run.smtp.named(&self.run.grants, &server) else {
            let name: String = server.chars().take(100).collect();
            return self.deny(format!("mail by the server `{name}` (the task file has no `grant.smtp.{name}`)"));
        };
        if mails.len() > MOST_MAILS {
            return Err(HostError::invalid(format!("{} mails, {MOST_MAILS} may be sent at once", mails.len())));
        }
        let send = |mail| send(Arc::clone(&self.run), self.call, Arc::clone(&server), mail);
        Ok(futures_util::stream::iter(mails.into_iter().map(send)).buffered(MOST_CONNECTIONS).collect().await)
    }
}

/// One mail, from its check to the end of its line in the ledger.
async fn send(run: Arc<Run>, call: Call, server: Arc<Server>, mail: abi::Mail) -> Result<abi::Answer, GuestError> {
    let together = mail.together;
    let mail = Mail::checked(mail).map_err(GuestError::Invalid)?;
    let (grant, key) = (&server.grant, &server.key);
    let url = format!("{}/?recipients={}", grant.url(), mail.to.len());
    let mut entry = Entry::new(Arc::clone(&run), call, "MAIL".to_owned(), url);
    if let Some(reason) = server.denies(&mail) {
        entry.deny(reason.clone()).await;
        return Err(GuestError::Denied(reason));
    }
    let most = grant.max_message.bytes();
    let too_large =
        |length: usize| GuestError::Invalid(format!("a mail of {length} bytes, {most} allowed ({key}.max_message)"));
    if mail.length() > most {
        return Err(too_large(mail.length()));
    }
    let bytes = mail.formatted(clock::now()).map_err(GuestError::Invalid)?;
    if bytes.len() > most {
        return Err(too_large(bytes.len()));
    }
    if server.take().is_none() {
        let most = grant.max_messages;
        return Err(GuestError::Limit(format!("this run has sent {most} mails by this server ({key}.max_messages)")));
    }
    entry.row.sent = bytes.len() as u64;
    entry.open().await.map_err(GuestError::Unavailable)?;
    let (error, reason) = match server.send(&mail, &bytes, together, &mut entry.row.address).await {
        Ok(answer) => {
            entry.row.status = Some(answer.reply.code);
            entry.end(EgressResult::Answered, noted(&mail, &answer));
            return Ok(answer);
        }
        Err(Trouble::Denied(reason)) => {
            entry.deny(reason.clone()).await;
            return Err(GuestError::Denied(reason));
        }
        Err(Trouble::Unusable(reason)) => {
            run.secrets.tell_unusable(&run, &reason);
            (GuestError::Denied(reason.clone()), reason)
        }
        Err(Trouble::Invalid(reason)) => (GuestError::Invalid(reason.clone()), reason),
        Err(Trouble::Unavailable(reason)) => (GuestError::Unavailable(reason.clone()), reason),
    };
    entry.end(EgressResult::Failed, Some(reason));
    Err(error)
}

#[cfg(test)]
mod tests;
