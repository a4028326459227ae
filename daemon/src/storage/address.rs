//! The address of a repository, `url` in `[grant.repository.NAME]`, and which options and secrets each kind knows.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::config::grant::RepositoryGrant;
use crate::config::suggest::nearest;

/// What an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Where it is.
    pub place: Place,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A folder of an SFTP server.
    Sftp(SftpPlace),
    /// A part of a bucket.
    S3(S3Place),
    /// A folder of a WebDAV server.
    WebDav(WebDavPlace),
}

/// `sftp://USER@HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpPlace {
    /// Who logs in; ssh decides when it is left out.
    pub user: Option<String>,
    /// Name or number of the server, or an alias of ssh's configuration.
    pub host: String,
    /// ssh decides when it is left out.
    pub port: Option<u16>,
    /// Absolute, or relative to the home of the user when the address has `/~/`.
    pub path: String,
}

/// `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
}

/// `webdavs://HOST:PORT/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebDavPlace {
    /// `https://HOST:PORT`, or `http:` for `webdav:`.
    pub endpoint: String,
    /// The folder.
    pub path: String,
}

/// What is wrong with an address, an option or a secret, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The keys below `[grant.repository.NAME]` that it is about.
    pub at: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

impl Wrong {
    fn url(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at: vec!["url".to_owned()], message: message.into(), help: help.into() }
    }
}

/// The forms that an address can have.
const FORMS: &str = "write an absolute path, `sftp://USER@HOST/PATH`, `s3://BUCKET/PREFIX`, or `webdavs://HOST/PATH`";

/// Names that one kind of storage knows.
#[derive(Debug, Clone, Copy)]
struct Keys {
    kind: &'static str,
    options: &'static [&'static str],
    secrets: &'static [&'static str],
}

const NONE: Keys = Keys { kind: "a folder", options: &[], secrets: &[] };
const SFTP: Keys = Keys { kind: "SFTP", options: &["config", "key", "known_hosts"], secrets: &[] };
const S3: Keys = Keys {
    kind: "S3",
    options: &["ca", "endpoint", "region", "storage_class", "style"],
    secrets: &["access_key_id", "secret_access_key", "session_token"],
};
const WEBDAV: Keys = Keys { kind: "WebDAV", options: &["ca", "user"], secrets: &["password", "token"] };

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// When it has no meaning, with what to write instead.
    pub fn parse(url: &str) -> Result<Self, Wrong> {
        let place = match url.split_once("://") {
            _ if url.starts_with('/') => Place::Folder(url.into()),
            Some(("sftp", rest)) => Place::Sftp(sftp(rest)?),
            Some(("s3", rest)) => Place::S3(s3(rest)?),
            Some(("webdavs", rest)) => Place::WebDav(webdav("https", rest)?),
            Some(("webdav", rest)) => Place::WebDav(webdav("http", rest)?),
            Some((scheme, _)) => {
                let known = ["sftp", "s3", "webdavs", "webdav"];
                let help = match nearest(scheme, known) {
                    Some(near) => format!("did you mean `{near}://`? {FORMS}"),
                    None => FORMS.to_owned(),
                };
                return Err(Wrong::url(format!("this build cannot reach repositories of the kind `{scheme}:`"), help));
            }
            None => match url.split_once(':') {
                // As restic writes them.
                Some(("sftp", rest)) => {
                    let (host, path) = rest.split_once(':').unwrap_or((rest, "PATH"));
                    let help = format!("write `sftp://{host}/{}`", path.trim_start_matches('/'));
                    return Err(Wrong::url("an SFTP address begins with `sftp://`", help));
                }
                Some(("s3", _)) => {
                    let help = "write `s3://BUCKET/PREFIX`, and the server under `options.endpoint`";
                    return Err(Wrong::url("an S3 address begins with `s3://`", help));
                }
                Some((scheme, _)) if !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    let message = format!("this build cannot reach repositories of the kind `{scheme}:`");
                    return Err(Wrong::url(message, FORMS));
                }
                _ => {
                    let message = format!("\"{url}\" is neither an absolute path nor an address");
                    return Err(Wrong::url(message, FORMS));
                }
            },
        };
        Ok(Self { place })
    }

    fn keys(&self) -> Keys {
        match self.place {
            Place::Folder(_) => NONE,
            Place::Sftp(_) => SFTP,
            Place::S3(_) => S3,
            Place::WebDav(_) => WEBDAV,
        }
    }

    /// Whether the options and secrets are those that this kind of storage knows and needs.
    ///
    /// # Errors
    ///
    /// The first that is wrong.
    pub fn check_keys(&self, grant: &RepositoryGrant) -> Result<(), Wrong> {
        let keys = self.keys();
        known(keys, "options", keys.options, grant.options.keys())?;
        known(keys, "secrets", keys.secrets, grant.secrets.keys())?;
        match &self.place {
            Place::Folder(_) => Ok(()),
            Place::Sftp(_) => absolute(&grant.options, &["config", "key", "known_hosts"]),
            Place::S3(_) => check_s3(grant),
            Place::WebDav(_) => check_webdav(grant),
        }
    }
}

fn known<'a>(
    keys: Keys,
    section: &str,
    names: &[&'static str],
    written: impl Iterator<Item = &'a String>,
) -> Result<(), Wrong> {
    for name in written {
        if names.contains(&name.as_str()) {
            continue;
        }
        let one = if section == "options" { "an option" } else { "a secret" };
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "remove it".to_owned(),
            None => format!("possible here: {}", names.join(", ")),
        };
        let at = vec![section.to_owned(), name.clone()];
        return Err(Wrong { at, message: format!("`{name}` is not {one} of a repository on {}", keys.kind), help });
    }
    Ok(())
}

fn absolute(options: &BTreeMap<String, String>, names: &[&str]) -> Result<(), Wrong> {
    for (name, value) in options {
        if names.contains(&name.as_str()) && !value.starts_with('/') {
            let message = format!("\"{value}\" is not an absolute path");
            let at = vec!["options".to_owned(), name.clone()];
            return Err(Wrong { at, message, help: "write the whole path, from `/` on".to_owned() });
        }
    }
    Ok(())
}

/// A section that lacks a key.
fn missing(section: &str, message: String, help: &str) -> Wrong {
    let at = if section == "options" { "options" } else { "secrets" };
    Wrong { at: vec![at.to_owned()], message, help: help.to_owned() }
}

fn check_s3(grant: &RepositoryGrant) -> Result<(), Wrong> {
    absolute(&grant.options, &["ca"])?;
    let option = |name: &str| grant.options.get(name).map(String::as_str);
    if option("endpoint").is_none() && option("region").is_none() {
        let help =
            "add `options = { endpoint = \"https://HOST\" }`, or for Amazon `options = { region = \"eu-central-1\" }`";
        return Err(missing("options", "which S3 server is meant?".to_owned(), help));
    }
    if let Some(endpoint) = option("endpoint")
        && !endpoint.starts_with("https://")
        && !endpoint.starts_with("http://")
    {
        let at = vec!["options".to_owned(), "endpoint".to_owned()];
        let message = format!("\"{endpoint}\" is not the address of a server");
        return Err(Wrong { at, message, help: format!("write \"https://{endpoint}\"") });
    }
    if let Some(style) = option("style")
        && !["path", "host"].contains(&style)
    {
        let at = vec!["options".to_owned(), "style".to_owned()];
        let help = "write \"path\" (the bucket stands in the path) or \"host\" (it stands before the server's name)";
        return Err(Wrong { at, message: format!("\"{style}\" is not a style of addresses"), help: help.to_owned() });
    }
    for name in ["access_key_id", "secret_access_key"] {
        if !grant.secrets.contains_key(name) {
            let help = "add `secrets = { access_key_id = { file = \"/etc/upkeep/secrets/s3-id\" }, secret_access_key = { file = \"/etc/upkeep/secrets/s3-key\" } }`";
            return Err(missing("secrets", format!("the secret `{name}` is missing"), help));
        }
    }
    Ok(())
}

fn check_webdav(grant: &RepositoryGrant) -> Result<(), Wrong> {
    absolute(&grant.options, &["ca"])?;
    let (user, password) = (grant.options.contains_key("user"), grant.secrets.contains_key("password"));
    if user != password {
        let (message, help) = if user {
            (
                "the option `user` has no password",
                "add `secrets = { password = { file = \"/etc/upkeep/secrets/webdav\" } }`",
            )
        } else {
            ("the secret `password` has no user", "add `options = { user = \"NAME\" }`")
        };
        return Err(missing(if user { "options" } else { "secrets" }, message.to_owned(), help));
    }
    Ok(())
}

/// Host and port of `USER@HOST:PORT`, with the user.
fn authority(text: &str, form: &str) -> Result<(Option<String>, String, Option<u16>), Wrong> {
    let help = || format!("write `{form}`");
    let (user, server) = match text.rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, text),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(Wrong::url(
            "a password does not belong into the address",
            "remove it; secrets stand under `secrets`",
        ));
    }
    let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match server.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        },
    };
    let port = match port.map(str::parse::<u16>) {
        Some(Err(_)) => return Err(Wrong::url(format!("\"{}\" is not a port", port.unwrap_or("")), help())),
        Some(Ok(port)) => Some(port),
        None => None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%');
    // What begins with a hyphen would be an option of ssh.
    if host.is_empty() || host.starts_with('-') || !host.bytes().all(plain) {
        return Err(Wrong::url(format!("\"{host}\" is not the name of a server"), help()));
    }
    if user.is_some_and(|user| user.is_empty() || user.starts_with('-') || user.chars().any(char::is_control)) {
        return Err(Wrong::url("that is not the name of a user", help()));
    }
    Ok((user.map(str::to_owned), host.to_owned(), port))
}

fn sftp(rest: &str) -> Result<SftpPlace, Wrong> {
    const FORM: &str = "sftp://USER@HOST:PORT/PATH";
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host, port) = authority(server, FORM)?;
    let path = path.trim_start_matches('/').trim_end_matches('/');
    let path = match path.strip_prefix("~/") {
        Some(below_home) => below_home.to_owned(),
        None if path == "~" || path.is_empty() => String::new(),
        None => format!("/{path}"),
    };
    if path.is_empty() {
        let help = format!("write `{FORM}`, or `sftp://USER@HOST/~/PATH` for a folder below the home");
        return Err(Wrong::url("a repository needs a folder of its own", help));
    }
    Ok(SftpPlace { user, host, port, path })
}

fn s3(rest: &str) -> Result<S3Place, Wrong> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if bucket.is_empty() || !bucket.bytes().all(plain) {
        let help = "write `s3://BUCKET/PREFIX`, and the server under `options.endpoint`";
        return Err(Wrong::url(format!("\"{bucket}\" is not the name of a bucket"), help));
    }
    Ok(S3Place { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
}

fn webdav(scheme: &str, rest: &str) -> Result<WebDavPlace, Wrong> {
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host, port) = authority(server, "webdavs://HOST:PORT/PATH")?;
    if let Some(user) = user {
        let help = format!("write it as `options = {{ user = \"{user}\" }}`");
        return Err(Wrong::url("the user does not belong into the address", help));
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(WebDavPlace { endpoint: format!("{scheme}://{host}{port}"), path: path.trim_matches('/').to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;

    fn place(url: &str) -> Place {
        Address::parse(url).unwrap().place
    }

    #[test]
    fn addresses_are_read() {
        let sftp = |user: Option<&str>, host: &str, port, path: &str| {
            Place::Sftp(SftpPlace { user: user.map(str::to_owned), host: host.into(), port, path: path.into() })
        };
        assert_eq!(place("/srv/backup"), Place::Folder("/srv/backup".into()));
        assert_eq!(place("sftp://me@host:2222/srv/b"), sftp(Some("me"), "host", Some(2222), "/srv/b"));
        assert_eq!(place("sftp://host//srv/b/"), sftp(None, "host", None, "/srv/b"));
        assert_eq!(place("sftp://me@[::1]:22/~/b"), sftp(Some("me"), "::1", Some(22), "b"));
        let s3 = |prefix: &str| Place::S3(S3Place { bucket: "b.c".into(), prefix: prefix.into() });
        assert_eq!((place("s3://b.c"), place("s3://b.c/x/y/")), (s3(""), s3("x/y")));
        let webdav = WebDavPlace { endpoint: "https://host:8443".into(), path: "dav/b".into() };
        assert_eq!(place("webdavs://host:8443/dav/b"), Place::WebDav(webdav));
    }

    #[test]
    fn what_has_no_meaning_is_refused_with_a_remedy() {
        for (url, told) in [
            ("srv/backup", "neither an absolute path nor an address"),
            ("rest:http://host/", "`rest:"),
            ("sfpt://host/x", "did you mean `sftp://`"),
            ("sftp:me@host:/srv/b", "write `sftp://me@host/srv/b`"),
            ("s3:host/bucket", "write `s3://BUCKET/PREFIX`"),
            ("sftp://host", "a folder of its own"),
            ("sftp://host/~", "a folder of its own"),
            ("sftp://-oProxyCommand=x/y", "not the name of a server"),
            ("sftp://host:no/y", "\"no\" is not a port"),
            ("sftp://me:secret@host/y", "a password does not belong"),
            ("s3:///x", "not the name of a bucket"),
            ("webdavs://me@host/x", "options = { user = \"me\" }"),
        ] {
            let wrong = Address::parse(url).unwrap_err();
            assert!(wrong.to_string().contains(told) && !wrong.to_string().contains("secret@"), "{url}: {wrong}");
        }
    }

    #[test]
    fn options_and_secrets_are_those_of_the_kind() {
        let check = |url: &str, options: &[(&str, &str)], secrets: &[&str]| {
            let mut grant = RepositoryGrant::new(url, Secret::Env("P".into()));
            grant.options = options.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            grant.secrets = secrets.iter().map(|name| (name.to_string(), Secret::Env("S".into()))).collect();
            Address::parse(url).unwrap().check_keys(&grant).map_err(|wrong| (wrong.at.join("."), wrong.to_string()))
        };
        let both = ["access_key_id", "secret_access_key"];
        assert_eq!(check("/srv/b", &[], &[]), Ok(()));
        assert_eq!(check("sftp://h/b", &[("key", "/k"), ("known_hosts", "/h")], &[]), Ok(()));
        assert_eq!(check("s3://b", &[("endpoint", "http://[::1]:9000")], &both), Ok(()));
        assert_eq!(check("webdav://h", &[("user", "me")], &["password"]), Ok(()));
        for (found, at, told) in [
            (check("/srv/b", &[("key", "/k")], &[]), "options.key", "a folder; remove it"),
            (check("sftp://h/b", &[("keys", "/k")], &[]), "options.keys", "did you mean `key`?"),
            (check("sftp://h/b", &[("key", "k")], &[]), "options.key", "not an absolute path"),
            (check("sftp://h/b", &[], &["password"]), "secrets.password", "not a secret"),
            (check("s3://b", &[], &both), "options", "which S3 server"),
            (check("s3://b", &[("region", "x")], &both[..1]), "secrets", "`secret_access_key` is missing"),
            (check("s3://b", &[("endpoint", "h:9000")], &both), "options.endpoint", "write \"https://h:9000\""),
            (check("webdav://h", &[("user", "me")], &[]), "options", "has no password"),
        ] {
            let (found_at, text) = found.unwrap_err();
            assert!(found_at == at && text.contains(told), "{found_at}: {text}");
        }
    }
}
