//! Repositories that are reached by HTTP through opendal: S3 and all that speaks like it, and WebDAV.
//!
//! An object of S3 appears when it is whole. A WebDAV server may keep the half of a file whose sender went away, so there
//! a file is sent under another name and moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use opendal::services::{S3, Webdav};
use opendal::{Buffer, Error, ErrorKind, HttpTransporter, Operator};

use crate::config::secret::SecretValue;
use crate::storage::address::{S3Place, WebDavPlace};
use crate::storage::http::{self, Transport};
use crate::storage::throttle::Limits;
use crate::storage::wait::persist;
use crate::storage::{ConnectError, Entry, Fault, LOCKS, StorageError, Store};

type Options = BTreeMap<String, String>;
type Secrets<'a> = BTreeMap<&'a str, SecretValue>;

#[derive(Debug)]
pub(super) struct Objects {
    operator: Operator,
    kind: Kind,
    /// The server, for messages.
    server: Arc<str>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    S3,
    WebDav,
}

/// A part of a bucket.
pub(super) fn s3(
    place: &S3Place,
    options: &Options,
    secrets: &Secrets<'_>,
    limits: Limits,
) -> Result<Objects, ConnectError> {
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let secret = |name: &str| secrets.get(name).map_or("", SecretValue::reveal);
    // Whatever lies about in the environment and in ~/.aws is of another program.
    let mut builder = S3::default()
        .bucket(&place.bucket)
        .root(&format!("/{}", place.prefix))
        .access_key_id(secret("access_key_id"))
        .secret_access_key(secret("secret_access_key"))
        .session_token(secret("session_token"))
        .default_storage_class(option("storage_class"))
        .disable_config_load()
        .disable_ec2_metadata();
    let region = option("region");
    builder = builder.region(if region.is_empty() { "us-east-1" } else { region });
    let amazon = format!("https://s3.{region}.amazonaws.com");
    let endpoint = if option("endpoint").is_empty() { &amazon } else { option("endpoint") };
    builder = builder.endpoint(endpoint);
    if option("style") == "host" || (option("style").is_empty() && option("endpoint").is_empty()) {
        builder = builder.enable_virtual_host_style();
    }
    let operator = Operator::new(builder).map_err(|error| ConnectError::Address(told(&error)))?;
    let server = format!("the bucket {} on {endpoint}", place.bucket);
    let transport = Transport::new(endpoint, options.get("ca"), limits.clone())?;
    Ok(Objects::new(operator, Kind::S3, server, transport, limits))
}

/// A folder of a WebDAV server.
pub(super) fn webdav(
    place: &WebDavPlace,
    options: &Options,
    secrets: &Secrets<'_>,
    limits: Limits,
) -> Result<Objects, ConnectError> {
    let mut builder = Webdav::default().endpoint(&place.endpoint).root(&format!("/{}", place.path));
    if let (Some(user), Some(password)) = (options.get("user"), secrets.get("password")) {
        builder = builder.username(user).password(password.reveal());
    }
    if let Some(token) = secrets.get("token") {
        builder = builder.token(token.reveal());
    }
    let operator = Operator::new(builder).map_err(|error| ConnectError::Address(told(&error)))?;
    let transport = Transport::new(&place.endpoint, options.get("ca"), limits.clone())?;
    Ok(Objects::new(operator, Kind::WebDav, format!("the server {}", place.endpoint), transport, limits))
}

impl Objects {
    fn new(operator: Operator, kind: Kind, server: String, transport: Transport, limits: Limits) -> Self {
        let context = operator.context().with_http_transport(HttpTransporter::new(transport));
        Self { operator: operator.with_context(context), kind, server: server.into(), limits }
    }

    fn run<T: Send + 'static, F>(
        &self,
        action: &'static str,
        path: &str,
        (bytes, rate): (u64, Option<u64>),
        work: impl Fn(Operator, String) -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = opendal::Result<T>> + Send + 'static,
    {
        persist(&self.server, bytes, rate, || {
            let (server, shown) = (Arc::clone(&self.server), path.to_owned());
            let working = work(self.operator.clone(), path.to_owned());
            async move { working.await.map_err(|error| failure(action, &shown, &server, &error)) }
        })
    }
}

/// What an error says, without the context that opendal adds for its developers.
fn told(error: &Error) -> String {
    let mut text = error.message().to_owned();
    if let Some(source) = std::error::Error::source(error) {
        let source = source.to_string();
        if !source.is_empty() && !text.contains(&source) {
            text = format!("{text}: {source}");
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const WITH_TLS: &str = "write `https://` (WebDAV: `webdavs://`)";

fn failure(action: &str, path: &str, server: &str, error: &Error) -> StorageError {
    let text = told(error);
    let is = |code: &str| text.contains(code);
    let (fault, reason) = match error.kind() {
        _ if is("NoSuchBucket") => {
            (Fault::Other, "there is no such bucket; make it, or correct the address".to_owned())
        }
        _ if is("InvalidAccessKeyId") || is("SignatureDoesNotMatch") || is("InvalidToken") => (
            Fault::Refused,
            "the server does not accept the credentials; correct the files or variables under `secrets`".to_owned(),
        ),
        _ if is("RequestTimeTooSkewed") => (Fault::Other, "the clock of this machine is wrong; correct it".to_owned()),
        ErrorKind::NotFound => (Fault::Missing, "it is not there".to_owned()),
        ErrorKind::PermissionDenied => (
            Fault::Refused,
            "the server refuses it; are the credentials right, and do they have this right?".to_owned(),
        ),
        _ if is("Unauthorized") || is("status: 401") => (
            Fault::Refused,
            "the server does not accept the credentials; correct `options.user` and `secrets.password`".to_owned(),
        ),
        ErrorKind::RateLimited => (Fault::Passing, text),
        _ if is("HTTP request to an HTTPS server") => {
            (Fault::Other, format!("the server speaks TLS there; {WITH_TLS}, or correct the port"))
        }
        // As a server ends it that expected TLS, or one that is about to stop.
        _ if server.contains("http://") && is("connection closed before message completed") => {
            (Fault::Passing, format!("{text}; if the server speaks TLS there, {WITH_TLS}"))
        }
        _ if let Some(advice) = http::advice(&text) => (Fault::Other, format!("{text}; {advice}")),
        _ if error.is_temporary() => (Fault::Passing, text),
        _ => (Fault::Other, text),
    };
    StorageError::new(fault, format!("{path} in {server} cannot be {action}: {reason}"))
}

impl Store for Objects {
    fn make(&self) -> Result<(), StorageError> {
        if self.kind == Kind::S3 {
            return Ok(());
        }
        for part in ["data", "index", "keys", "snapshots", LOCKS] {
            let folder = format!("{part}/");
            self.run("made", &folder, (0, None), |operator, path| async move { operator.create_dir(&path).await })?;
        }
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<Entry>, StorageError> {
        let is_s3 = self.kind == Kind::S3;
        let listed = self.run("listed", &format!("{folder}/"), (0, None), move |operator, path| async move {
            let mut entries = Vec::new();
            let mut folders = vec![path];
            while let Some(folder) = folders.pop() {
                // A WebDAV server need not be willing to list all depths at once.
                let mut lister = operator.lister_with(&folder).recursive(is_s3).await?;
                while let Some(entry) = lister.try_next().await? {
                    if entry.metadata().is_dir() {
                        if entry.path() != folder && !is_s3 {
                            folders.push(entry.path().to_owned());
                        }
                    } else {
                        entries.push(Entry { name: entry.name().to_owned(), size: entry.metadata().content_length() });
                    }
                }
            }
            Ok(entries)
        });
        match listed {
            Err(error) if error.fault == Fault::Missing => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let found = self.run("read", path, (0, None), |operator, path| async move {
            operator.stat(&path).await.map(|metadata| metadata.content_length())
        });
        match found {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.fault == Fault::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &str, range: Option<(u64, u64)>) -> Result<Bytes, StorageError> {
        let rate = self.limits.download.as_ref().map(|bucket| bucket.rate());
        let length = range.map_or(0, |(_, length)| length);
        let bytes = self.run("read", path, (length, rate), move |operator, path| async move {
            match range {
                Some((offset, length)) => operator.read_with(&path).range(offset..offset + length).await,
                None => operator.read(&path).await,
            }
        })?;
        if range.is_some() && bytes.len() as u64 != length {
            let message = format!("{path} in {} is shorter than it should be", self.server);
            return Err(StorageError::new(Fault::Other, message));
        }
        Ok(bytes.to_bytes())
    }

    fn write(&self, path: &str, content: Vec<Bytes>) -> Result<(), StorageError> {
        let content = Buffer::from(content);
        let rate = self.limits.upload.as_ref().map(|bucket| bucket.rate());
        let by_move = self.kind == Kind::WebDav;
        self.run("written", path, (content.len() as u64, rate), move |operator, path| {
            let content = content.clone();
            async move {
                if !by_move {
                    return operator.write(&path, content).await.map(drop);
                }
                let unfinished = format!("{path}-tmp-{}", ulid::Ulid::generate());
                let written = match operator.write(&unfinished, content).await {
                    Ok(_) => operator.rename(&unfinished, &path).await,
                    Err(error) => Err(error),
                };
                if written.is_err() {
                    let _ = operator.delete(&unfinished).await;
                }
                written
            }
        })
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.run("removed", path, (0, None), |operator, path| async move { operator.delete(&path).await })
    }
}
