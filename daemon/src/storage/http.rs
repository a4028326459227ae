//! HTTP for the kinds of storage that opendal reaches: TLS by rustls with the certificates of the system, and bodies that
//! keep to the limits.
//!
//! opendal hands a whole file to its transport. So the rate is kept here, where the file becomes pieces.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use reqwest::Client;

use crate::storage::throttle::{Bucket, Limits, PIECE};
use crate::storage::{ConnectError, throttle};

#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client,
    limits: Limits,
}

impl Transport {
    /// For a server at `endpoint`: with the certificates of the system, or those of the file `ca` alone.
    pub(super) fn new(endpoint: &str, ca: Option<&String>, limits: Limits) -> Result<Self, ConnectError> {
        // The daemon links one provider; that it is set already is what the second repository finds.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("upkeep/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = ca {
            let wrong =
                |reason: String| ConnectError::Address(format!("the certificates in {path} cannot be used: {reason}"));
            let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&text).map_err(|error| wrong(error.to_string()))?;
            if certificates.is_empty() {
                return Err(wrong("there is none in it".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        } else if !endpoint.starts_with("https://") {
            // A system without any certificates is no obstacle where none is needed.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| {
            ConnectError::Address(format!(
                "TLS cannot be used: {}; apt-get install ca-certificates, or name the certificates to trust with `options.ca`",
                chain(&error)
            ))
        })?;
        Ok(Self { client, limits })
    }
}

/// An error with its reasons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        let reason_text = reason.to_string();
        if !text.contains(&reason_text) {
            text = format!("{text}: {reason_text}");
        }
        source = reason.source();
    }
    text
}

fn failed(what: &'static str, error: reqwest::Error) -> Error {
    // The address stands in the message of the repository already; in that of a signed request it would be long.
    let error = error.without_url();
    let reasons = chain(&error);
    let lasting = error.is_builder() || advice(&reasons).is_some();
    Error::new(ErrorKind::Unexpected, what).with_temporary(!lasting).set_source(anyhow::anyhow!(reasons))
}

/// What to do about a connection that fails because of TLS, by what rustls or the server says.
pub(super) fn advice(reasons: &str) -> Option<&'static str> {
    const OVER: &str = "renew the certificate of the server, or correct the clock of this machine";
    const CASES: [(&str, &str); 8] = [
        (
            "UnknownIssuer",
            "nobody whom this machine trusts has signed it; name the certificate of its authority with `options.ca`, or \
             install that for the whole system (/usr/local/share/ca-certificates/NAME.crt, then update-ca-certificates)",
        ),
        ("not valid for name", "address the server by a name that its certificate has, or get one with this name"),
        ("certificate expired", OVER),
        ("certificate: Expired", OVER),
        ("certificate not valid yet", "correct the clock of this machine, or that of the server's authority"),
        (
            "CaUsedAsEndEntity",
            "it is that of an authority, which no server may use as its own; make one with `CA:FALSE`, signed by itself \
             or by the authority",
        ),
        (
            "InvalidContentType",
            "the server does not speak TLS there; correct the port, or write `http://` (WebDAV: `webdav://`)",
        ),
        ("certificate", "name the certificates to trust with `options.ca`"),
    ];
    CASES.iter().find(|(said, _)| reasons.contains(said)).map(|(_, advice)| *advice)
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (parts, body) = request.into_parts();
        let uri = parts.uri.clone();
        let url = reqwest::Url::parse(&uri.to_string())
            .map_err(|error| Error::new(ErrorKind::ConfigInvalid, "the address has no meaning").set_source(error))?;
        let is_head = parts.method == http::Method::HEAD;
        let mut request = self.client.request(parts.method, url).headers(parts.headers);
        if !body.is_empty() {
            request = request.body(reqwest::Body::wrap(Upload {
                rest: body,
                bucket: self.limits.upload.clone(),
                paid: false,
                pause: None,
            }));
        }
        let answer = request.send().await.map_err(|error| failed("no connection", error))?;
        let length = (!is_head).then(|| answer.content_length()).flatten();
        let mut head = Response::builder().status(answer.status()).version(answer.version()).extension(uri);
        if let Some(headers) = head.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let bucket = self.limits.download.clone();
        let stream = answer.bytes_stream().map_err(|error| failed("the answer broke off", error));
        let stream = stream.try_filter(|bytes| std::future::ready(!bytes.is_empty())).then(move |piece| {
            let bucket = bucket.clone();
            async move {
                if let Ok(bytes) = &piece {
                    throttle::pay(bucket.as_deref(), bytes.len()).await;
                }
                piece.map(Buffer::from)
            }
        });
        head.body(HttpBody::new(Box::pin(stream), length))
            .map_err(|error| Error::new(ErrorKind::Unexpected, "the answer has no meaning").set_source(error))
    }
}

/// A body that is sent no faster than its bucket lets it.
struct Upload {
    rest: Buffer,
    bucket: Option<Arc<Bucket>>,
    /// Whether the next piece is paid for.
    paid: bool,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.chunk().len().min(PIECE);
        if let (Some(bucket), false) = (&self.bucket, self.paid) {
            self.pause = Some(Box::pin(tokio::time::sleep(bucket.take(length))));
            self.paid = true;
        }
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        self.paid = false;
        Poll::Ready(Some(Ok(Frame::data(self.rest.copy_to_bytes(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::CertificateError;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_has_a_remedy() {
        let at = |second| UnixTime::since_unix_epoch(Duration::from_secs(second));
        let (expected, presented) = (ServerName::try_from("a.example").unwrap(), vec!["b.example".to_owned()]);
        for (error, told) in [
            (CertificateError::UnknownIssuer, "`options.ca`"),
            (CertificateError::NotValidForNameContext { expected, presented }, "by a name that its certificate has"),
            (CertificateError::ExpiredContext { time: at(9), not_after: at(5) }, "renew"),
            (CertificateError::Expired, "renew"),
            (CertificateError::NotValidYetContext { time: at(5), not_before: at(9) }, "clock"),
            (CertificateError::BadSignature, "`options.ca`"),
        ] {
            let said = rustls::Error::InvalidCertificate(error).to_string();
            assert!(advice(&said).is_some_and(|it| it.contains(told)), "{said}: {:?}", advice(&said));
        }
        let said = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType).to_string();
        assert!(advice(&said).is_some_and(|it| it.contains("does not speak TLS")), "{said}");
        assert_eq!(advice("connection refused"), None);
    }
}
