//! A connection to a mail server: made to an address that was looked at, encrypted as the grant says and in no other way,
//! logged in, and used for one mail after the other.

use std::error::Error as _;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

use super::mail::{Mail, to_lettre};
use crate::abi::smtp::{Answer, Refusal, Reply, Stage};
use crate::capability::secrets::redactor::Redactor;
use crate::config::smtp::{SmtpGrant, SmtpTls};

/// Characters of a reply that are kept.
const MOST_OF_REPLY: usize = 500;

/// Why there is no answer to a mail.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server may not be connected to.
    Denied(String),
    /// This server can never send this mail.
    Invalid(String),
    /// The password cannot be used: somebody has to mend that.
    Unusable(String),
    /// There is no connection, or it broke off.
    Unavailable(String),
}

/// What makes a connection.
pub(super) struct Access<'a> {
    pub(super) grant: &'a SmtpGrant,
    /// Where the grant stands in the task file: `grant.smtp.NAME`.
    pub(super) key: &'a str,
    pub(super) tls: Option<&'a TlsParameters>,
    pub(super) login: Option<&'a Credentials>,
    pub(super) words: &'a Words,
}

/// What makes the words of a server fit to be heard: without the password, in one line, and not too many. In this order, since of a
/// part of the password nobody would know what it is.
#[derive(Clone, Default)]
pub(super) struct Words(pub(super) Option<Arc<Redactor>>);

/// A connection that is ready for a mail.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    pub(super) address: SocketAddr,
    words: Words,
    patience: Duration,
    /// Whether a mail went through it.
    is_used: bool,
    /// Whether another one can.
    pub(super) is_usable: bool,
}

/// What a server makes of a command: a reply that is no, or nothing.
enum Failure {
    Reply(Reply),
    Broken(String),
}

impl Access<'_> {
    /// Makes a connection.
    ///
    /// # Errors
    /// The server's answer when it lets nobody in, or why there is none.
    pub(super) async fn connect(&self) -> Result<Result<Connection, Answer>, Trouble> {
        let mut last = Trouble::Unavailable(format!("{}: its name leads to no address", self.grant.url()));
        for address in self.addresses().await? {
            let connected = match tokio::time::timeout(self.grant.timeout, self.connect_to(address)).await {
                Ok(connected) => connected,
                Err(_) => Err((Stage::Connection, Failure::Broken("no answer".to_owned()))),
            };
            match connected {
                Ok(connection) => return Ok(Ok(connection)),
                Err((stage, Failure::Reply(reply))) => {
                    return Ok(Err(Answer { accepted: false, stage, reply, refused: Vec::new() }));
                }
                Err((_, Failure::Broken(reason))) => last = Trouble::Unavailable(self.told(&reason)),
            }
        }
        Err(last)
    }

    /// What the server's name leads to, all of which may be connected to.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Trouble> {
        let unavailable = |reason: String| Trouble::Unavailable(format!("{}: {reason}", self.grant.url()));
        let server = self.grant.server().ok_or_else(|| unavailable("this is no name of a server".to_owned()))?;
        let asked = tokio::net::lookup_host((server, self.grant.port()));
        let found = match tokio::time::timeout(self.grant.timeout, asked).await {
            Ok(found) => found.map_err(|error| unavailable(format!("its name cannot be resolved: {error}")))?,
            Err(_) => return Err(unavailable("its name cannot be resolved: no answer".to_owned())),
        };
        let found: Vec<SocketAddr> = found.collect();
        // As with requests: a name that leads elsewhere too is not trusted for its other addresses.
        match found.iter().find(|address| !self.grant.may_connect(address.ip())) {
            Some(address) => {
                let (url, address, key) = (self.grant.url(), address.ip(), self.key);
                Err(Trouble::Denied(format!(
                    "{url}: {address} is no public address (`{key}.networks` does not hold it)"
                )))
            }
            None => Ok(found),
        }
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<Connection, (Stage, Failure)> {
        let greeted = |error: Error| (Stage::Connection, self.words.failure(&error));
        let hello = hello(address);
        let smtp = match (self.grant.tls, self.tls) {
            (SmtpTls::Implicit, Some(tls)) => {
                let tls = Some(tls.clone());
                AsyncSmtpConnection::connect_tokio1(address, None, &hello, tls, None).await.map_err(greeted)?
            }
            (SmtpTls::Starttls, Some(tls)) => {
                let mut smtp = plain(address, &hello, self.words).await?;
                if !smtp.can_starttls() {
                    smtp.abort().await;
                    let reason = "the server offers no STARTTLS, and nothing is sent to it without TLS";
                    return Err((Stage::Connection, Failure::Broken(reason.to_owned())));
                }
                smtp.starttls(tls.clone(), &hello).await.map_err(greeted)?;
                smtp
            }
            (SmtpTls::None, _) => plain(address, &hello, self.words).await?,
            (SmtpTls::Implicit | SmtpTls::Starttls, None) => {
                return Err((Stage::Connection, Failure::Broken("TLS is not set up".to_owned())));
            }
        };
        let (patience, words) = (self.grant.timeout, self.words.clone());
        let mut connection = Connection { smtp, address, words, patience, is_used: false, is_usable: true };
        if let Some(login) = self.login {
            let refused = |error: Error| (Stage::Login, self.words.failure(&error));
            connection.smtp.auth(DEFAULT_MECHANISMS, login).await.map_err(refused)?;
        }
        Ok(connection)
    }

    /// Why there is no connection, with what to do about it.
    fn told(&self, reason: &str) -> String {
        let (url, key) = (self.grant.url(), self.key);
        match advice(reason, key) {
            Some(advice) => format!("{url}: {reason}; {advice}"),
            None => format!("{url}: {reason}"),
        }
    }
}

/// What to do about a connection that fails, by what rustls or lettre says.
fn advice(reason: &str, key: &str) -> Option<String> {
    let advice = match reason {
        it if it.contains("UnknownIssuer") => format!(
            "nobody whom this machine trusts has signed its certificate: name that of its authority with `{key}.ca`"
        ),
        it if it.contains("not valid for name") => format!("write in `{key}.host` a name that its certificate has"),
        it if it.contains("Expired") || it.contains("certificate expired") => {
            "renew the certificate of the server, or correct the clock of this machine".to_owned()
        }
        it if it.contains("no STARTTLS") => {
            format!("correct `{key}.port`, or write `tls = \"implicit\"` if that is how it speaks TLS")
        }
        it if it.contains("InvalidContentType") => {
            format!("it does not speak TLS there: correct `{key}.port`, or write `tls = \"starttls\"`")
        }
        it if it.contains("authentication mechanism") => {
            format!("it offers no login by PLAIN or LOGIN there: correct `{key}.port`, or remove `user` and `password`")
        }
        "no answer" => format!("correct `{key}.host` and `{key}.port`, or wait longer: `{key}.timeout`"),
        _ => return None,
    };
    Some(advice)
}

/// A connection without TLS, so far.
async fn plain(address: SocketAddr, hello: &ClientId, words: &Words) -> Result<AsyncSmtpConnection, (Stage, Failure)> {
    let broken = |error: io::Error| (Stage::Connection, Failure::Broken(error.to_string()));
    let stream = TcpStream::connect(address).await.map_err(broken)?;
    // A mail ends with a small piece of its own, which must not wait.
    stream.set_nodelay(true).map_err(broken)?;
    let stream = Box::new(Lines(BufReader::new(stream)));
    let connected = AsyncSmtpConnection::connect_with_transport(stream, hello).await;
    connected.map_err(|error| (Stage::Connection, words.failure(&error)))
}

/// How this machine calls itself: by its name, where that is one that others may know, and else by its address.
fn hello(server: SocketAddr) -> ClientId {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if name.contains('.') && name.split('.').all(is_name) {
        return ClientId::Domain(name);
    }
    // Nothing is sent: connecting chooses the address that would be sent from.
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let own = std::net::UdpSocket::bind(any).and_then(|socket| {
        socket.connect(server)?;
        socket.local_addr()
    });
    match own.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::default(),
    }
}

impl Connection {
    /// Sends a mail. Afterwards [`Connection::is_usable`] says whether the connection can be kept. None when it was used before,
    /// and is gone: then nothing of the mail was sent.
    pub(super) async fn deliver(
        &mut self,
        mail: &Mail,
        bytes: &[u8],
        together: bool,
    ) -> Result<Option<Answer>, Trouble> {
        let was_used = std::mem::replace(&mut self.is_used, true);
        // Until it is known: whoever drops this future leaves a connection that is in the middle of something.
        self.is_usable = false;
        let Some(answer) = self.exchange(mail, bytes, together, was_used).await? else { return Ok(None) };
        // 421: the server closes the connection.
        let is_over = answer.reply.code == 421 || answer.refused.iter().any(|it| it.reply.code == 421);
        self.is_usable = !is_over && (answer.accepted || self.ask(Rset).await.is_ok());
        Ok(Some(answer))
    }

    async fn exchange(
        &mut self,
        mail: &Mail,
        bytes: &[u8],
        together: bool,
        was_used: bool,
    ) -> Result<Option<Answer>, Trouble> {
        let no = |stage, reply, refused| Ok(Some(Answer { accepted: false, stage, reply, refused }));
        let parameters = self.parameters(mail, bytes)?;
        let from = to_lettre(&mail.from).map_err(Trouble::Invalid)?;
        match self.ask(MailFrom::new(Some(from), parameters)).await {
            Ok(_) => {}
            Err(Failure::Reply(Reply { code: 421, .. }) | Failure::Broken(_)) if was_used => return Ok(None),
            Err(Failure::Reply(reply)) => return no(Stage::Sender, reply, Vec::new()),
            Err(Failure::Broken(reason)) => return Err(self.broken(&reason)),
        }
        let mut refused = Vec::new();
        for recipient in &mail.to {
            let address = to_lettre(recipient).map_err(Trouble::Invalid)?;
            match self.ask(Rcpt::new(address, Vec::new())).await {
                Ok(_) => {}
                Err(Failure::Reply(reply)) => refused.push(Refusal { recipient: recipient.to_string(), reply }),
                Err(Failure::Broken(reason)) => return Err(self.broken(&reason)),
            }
        }
        let later = refused.iter().find(|it| (400..500).contains(&it.reply.code));
        let decides =
            if refused.len() == mail.to.len() { later.or(refused.first()) } else { later.filter(|_| together) };
        if let Some(reply) = decides.map(|it| it.reply.clone()) {
            return no(Stage::Recipients, reply, refused);
        }
        match self.ask(Data).await {
            Ok(_) => {}
            Err(Failure::Reply(reply)) => return no(Stage::Content, reply, refused),
            Err(Failure::Broken(reason)) => return Err(self.broken(&reason)),
        }
        let stage = Stage::Content;
        // The line that ends it comes with one.
        let bytes = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
        match self.within(|smtp| Box::pin(smtp.message(bytes))).await {
            Ok(reply) => Ok(Some(Answer { accepted: true, stage, reply, refused })),
            Err(Failure::Reply(reply)) => no(stage, reply, refused),
            Err(Failure::Broken(reason)) => {
                let url = self.address;
                Err(Trouble::Unavailable(format!("{url}: whether the server took the mail is not known: {reason}")))
            }
        }
    }

    /// What the server has to know before a mail with other characters than those of ASCII.
    fn parameters(&self, mail: &Mail, bytes: &[u8]) -> Result<Vec<MailParameter>, Trouble> {
        let mut parameters = Vec::new();
        if mail.is_international() {
            if !self.smtp.server_info().supports_feature(Extension::SmtpUtfEight) {
                let message = "an address has other characters than those of ASCII, which this server does not take";
                return Err(Trouble::Invalid(message.to_owned()));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        // Texts are encoded: only such an address is not in ASCII.
        if !bytes.is_ascii() {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        Ok(parameters)
    }

    fn broken(&self, reason: &str) -> Trouble {
        Trouble::Unavailable(format!("{}: the connection broke off: {reason}", self.address))
    }

    async fn ask(&mut self, command: impl Display + Send) -> Result<Reply, Failure> {
        let command = command.to_string();
        self.within(|smtp| Box::pin(smtp.command(command))).await
    }

    async fn within<'s>(
        &'s mut self,
        ask: impl FnOnce(&'s mut AsyncSmtpConnection) -> Pin<Box<dyn Future<Output = Result<Response, Error>> + Send + 's>>,
    ) -> Result<Reply, Failure> {
        match tokio::time::timeout(self.patience, ask(&mut self.smtp)).await {
            Ok(Ok(response)) => {
                let lines: Vec<&str> = response.message().collect();
                Ok(self.words.reply(response.code().into(), &lines.join(" ")))
            }
            Ok(Err(error)) => Err(self.words.failure(&error)),
            Err(_) => Err(Failure::Broken("no answer".to_owned())),
        }
    }

    /// Takes leave.
    pub(super) async fn quit(mut self) {
        // Whatever it answers: the connection ends.
        let _ = self.smtp.quit().await;
    }
}

impl Words {
    fn failure(&self, error: &Error) -> Failure {
        let mut reasons: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(reason) = source {
            let text = reason.to_string();
            if !reasons.iter().any(|known| known.contains(&text)) {
                reasons.push(text);
            }
            source = reason.source();
        }
        match error.status() {
            Some(code) => Failure::Reply(self.reply(code.into(), &reasons.join(": "))),
            None if reasons.is_empty() => Failure::Broken(self.one_line(&error.to_string())),
            None => Failure::Broken(self.one_line(&reasons.join(": "))),
        }
    }

    fn reply(&self, code: u16, text: &str) -> Reply {
        let text = self.one_line(text);
        Reply { code, enhanced: enhanced(code, &text), text }
    }

    /// What a server says, as it can be shown.
    fn one_line(&self, text: &str) -> String {
        let clean = self.0.as_ref().map(|redactor| redactor.text(text));
        let text = clean.as_deref().unwrap_or(text).chars();
        let text: String = text.map(|it| if it.is_control() { ' ' } else { it }).take(MOST_OF_REPLY).collect();
        text.trim().to_owned()
    }
}

/// The enhanced code (RFC 3463, 2) in front of a reply; it has the class of the code.
fn enhanced(code: u16, text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    let parts: Vec<&str> = word.split('.').collect();
    let is_number = |it: &str| (1..=3).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_digit());
    match parts[..] {
        [class, subject, detail] if is_number(subject) && is_number(detail) && class == (code / 100).to_string() => {
            Some(word.to_owned())
        }
        _ => None,
    }
}

/// A stream that gives no more than one line at a time. Whoever reads replies from it holds nothing that came after one: so what
/// somebody on the way adds to the reply to STARTTLS is no reply within TLS, but breaks it.
#[derive(Debug)]
struct Lines(BufReader<TcpStream>);

impl AsyncRead for Lines {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = Pin::new(&mut self.get_mut().0);
        let came = ready!(inner.as_mut().poll_fill_buf(cx))?;
        let line = came.iter().position(|byte| *byte == b'\n').map_or(came.len(), |end| end + 1);
        let length = line.min(into.remaining());
        into.put_slice(&came[..length]);
        inner.consume(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Lines {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().peer_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_are_told_from_words() {
        for (code, text, found) in [
            (550, "5.1.1 no such user", Some("5.1.1")),
            (451, "4.7.1", Some("4.7.1")),
            (250, "2.0.0 Ok: queued as 1", Some("2.0.0")),
            (550, "4.7.1 wrong class", None),
            (550, "5.1 short", None),
            (550, "5.1.1.1 long", None),
            (550, "5.1234.1 long", None),
            (550, "5.1.x no", None),
            (550, "No such user", None),
            (550, "", None),
        ] {
            assert_eq!(enhanced(code, text).as_deref(), found, "{text}");
        }
        assert_eq!(Words::default().reply(550, " a\r\nb\0 ").text, "a  b");
        assert_eq!(Words::default().one_line(&"x".repeat(1_000)).len(), MOST_OF_REPLY);
    }
    #[test]
    fn a_password_on_the_edge_is_taken_out_before_the_text_is_cut() {
        let password = "correct-horse\tbattery";
        let words = Words(Redactor::new([("smtp.main", password)]).map(Arc::new));
        for before in MOST_OF_REPLY - password.len() - 2..=MOST_OF_REPLY + 1 {
            let text = words.one_line(&format!("{}{password} and more", "x".repeat(before)));
            assert!(!text.contains("co") && text.chars().count() <= MOST_OF_REPLY, "{before}: {text}");
        }
    }
}
