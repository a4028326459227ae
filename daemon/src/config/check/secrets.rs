//! Whether the sources of secrets are there, and closed to others, and whether files hold one line of text. And of the secrets of
//! `[grant.secrets]`: whether what may be done with them can be done at all. Nothing of a value is told.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::check::{Site, Surroundings, TaskFile, Telling};
use crate::config::files::in_words;
use crate::config::grant::{FilesAccess, FilesGrant};
use crate::config::secret::{Secret, SecretError};
use crate::config::secrets::{AccessToken, SecretAccess, SecretGrant, SecretPlace};
use crate::config::source::KeyPath;

pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) {
    for (name, grant) in &file.settings.grant.repository {
        check_secret(
            &mut file.telling(),
            site.surroundings,
            KeyPath::of(["grant", "repository", name, "password"]),
            &grant.password,
            Purpose::Password,
        );
        for (secret, place) in &grant.secrets {
            let key = KeyPath::of(["grant", "repository", name, "secrets", secret]);
            check_secret(&mut file.telling(), site.surroundings, key, place, Purpose::Credentials);
        }
    }
    let dumps = file.settings.grant.dump.iter().map(|(name, grant)| ("dump", name, grant.password()));
    let queried = file.settings.grant.sql.iter().map(|(name, grant)| ("sql", name, grant.password()));
    let passwords: Vec<_> = dumps.chain(queried).collect();
    for (capability, name, password) in passwords {
        if let Some((kind, secret)) = password {
            let key = KeyPath::of(["grant", capability, name, kind, "password"]);
            check_secret(&mut file.telling(), site.surroundings, key, secret, Purpose::Credentials);
        }
    }
    for (name, grant) in &file.settings.grant.smtp {
        if let Some(password) = &grant.password {
            let key = KeyPath::of(["grant", "smtp", name, "password"]);
            check_secret(&mut file.telling(), site.surroundings, key.clone(), password, Purpose::Credentials);
            if let Secret::File(path) = password {
                check_length(file, &key.key("file"), path, &[]);
                check_is_apart(file, &key.key("file"), path);
            }
        }
    }
    for (name, grant) in &file.settings.grant.secrets {
        check_granted(file, site, name, grant);
    }
}

/// A secret that is filled in or signed with.
fn check_granted(file: &mut TaskFile<'_>, site: &Site<'_>, name: &str, grant: &SecretGrant) {
    let key = KeyPath::of(["grant", "secrets", name]);
    let SecretGrant { file: path, env: _, credential: _, wechat, hosts: _, insecure: _, access, places: _ } = grant;
    if !SecretGrant::is_name(name) {
        let help = "use letters, digits, `_`, `-` and `.`: plugins write `{{secret:NAME}}`";
        file.error_at_key(key.clone(), "no placeholder could name this secret", help);
    }
    match &grant.sources()[..] {
        _ if wechat.is_some() => {}
        [] => {
            let help =
                format!("add `file = \"/etc/upkeep/secrets/{name}\"`, `env = \"NAME\"` or `credential = \"NAME\"`");
            file.error(key.clone(), "where is it? Neither `file`, `env` nor `credential` is given", help);
        }
        [source] => check_secret(&mut file.telling(), site.surroundings, key.clone(), source, Purpose::Credentials),
        [_, second, ..] => {
            file.error_at_key(
                key.key(word(second)),
                "more than one source is given: which is meant?",
                "keep one of them",
            );
        }
    }
    if let Some(path) = path {
        check_length(file, &key.key("file"), path, access);
        check_is_apart(file, &key.key("file"), path);
    }
    if let Some(token) = wechat {
        check_token(file, site, &key, grant, token);
    }
    if access.is_empty() {
        let help = "write `access = [\"fill\"]`, or remove the grant";
        file.error(key.key("access"), "no right is granted", help);
    }
    if grant.may(SecretAccess::Fill) {
        check_hosts(file, &key, grant);
    } else {
        let useless = [
            ("hosts", !grant.hosts.is_empty()),
            ("insecure", grant.insecure),
            ("places", file.document.has(&key.key("places"))),
        ];
        for (word, _) in useless.into_iter().filter(|(_, given)| *given) {
            let help = "add \"fill\" to `access`, or remove this key";
            file.error_at_key(key.key(word), "this has no meaning without the right `fill`", help);
        }
    }
}

/// An access token of WeChat.
fn check_token(file: &mut TaskFile<'_>, site: &Site<'_>, key: &KeyPath, grant: &SecretGrant, token: &AccessToken) {
    let own = key.key("wechat");
    for source in grant.sources() {
        let help = "keep one of them: `wechat` has a source of its own, for the application's secret";
        file.error_at_key(key.key(word(&source)), "an access token comes from WeChat and from nowhere else", help);
    }
    if !AccessToken::is_appid(&token.appid) {
        let help = "copy it from the console of the mini-program: `wx` and 16 letters and digits";
        file.error(own.key("appid"), "this is no appid", help);
    }
    match &token.sources()[..] {
        [] => {
            let help = "add `file = \"/etc/upkeep/secrets/NAME\"`, `env = \"NAME\"` or `credential = \"NAME\"`";
            let message = "where is the application's secret? Neither `file`, `env` nor `credential` is given";
            file.error(own.clone(), message, help);
        }
        [source] => check_secret(&mut file.telling(), site.surroundings, own.clone(), source, Purpose::Credentials),
        [_, second, ..] => {
            let message = "more than one source is given: which is meant?";
            file.error_at_key(own.key(word(second)), message, "keep one of them");
        }
    }
    if let Some(path) = &token.file {
        check_length(file, &own.key("file"), path, &[]);
        check_is_apart(file, &own.key("file"), path);
    }
    if !token.api.is_https() && !token.api.is_this_machine() {
        let help = "write `https://`: the application's secret is sent there";
        file.error(own.key("api"), "the secret could be read on the way to this server", help);
    }
    if grant.may(SecretAccess::Sign) {
        let help = "write `access = [\"fill\"]`, or leave the key out";
        file.error(key.key("access"), "nothing is signed with an access token", help);
    }
    let places = key.key("places");
    if file.document.has(&places) && grant.places != [SecretPlace::Url] {
        let help = "write `places = [\"url\"]`, or leave the key out";
        file.error(places, "WeChat takes an access token in the URL and nowhere else", help);
    }
}

/// The key that names a source.
fn word(source: &Secret) -> &'static str {
    match source {
        Secret::File(_) => "file",
        Secret::Env(_) => "env",
        Secret::Credential(_) => "credential",
    }
}

/// Where a secret may go.
fn check_hosts(file: &mut TaskFile<'_>, key: &KeyPath, grant: &SecretGrant) {
    if grant.servers().is_empty() {
        let help = "name the servers that it is for: `hosts = [\"https://api.example.com\"]`";
        let at = if file.document.has(&key.key("hosts")) { key.key("hosts") } else { key.clone() };
        file.error(at, "it may be filled in, but into no request: no server is named", help);
    }
    let http = file.settings.grant.http.as_deref();
    for (index, server) in grant.servers().iter().enumerate() {
        // The API of a token is looked at where it is named.
        let at = if grant.hosts.is_empty() { key.key("wechat") } else { key.key("hosts").index(index) };
        if !server.is_https() && !server.is_this_machine() && !grant.insecure && !grant.hosts.is_empty() {
            let help = "write `https://`, or, if the server knows no TLS and you accept that, `insecure = true`";
            file.error(at.clone(), "it could be read on the way to this server", help);
        }
        if !http.is_some_and(|http| http.allow.iter().any(|origin| origin.reaches(server))) {
            let help = match http {
                Some(_) => format!("add \"{server}/\" to `grant.http.allow`, or remove it here"),
                None => format!("add:\n\n[grant.http]\nallow = [\"{server}/\"]"),
            };
            file.error(at, "no request to this server is allowed, so it would never be filled in", help);
        }
    }
    if grant.insecure && grant.hosts.iter().all(|server| server.is_https() || server.is_this_machine()) {
        file.error_at_key(key.key("insecure"), "no server here is asked without TLS over a network", "remove this key");
    }
    if grant.places.is_empty() {
        let help = "write `places = [\"url\", \"header\"]`, or leave the key out";
        file.error(key.key("places"), "it may be filled in, but nowhere", help);
    }
}

/// Whether a secret can be found by trying. The newline at the end counts for nothing.
fn check_length(file: &mut TaskFile<'_>, key: &KeyPath, path: &Path, access: &[SecretAccess]) {
    let Ok(length) = std::fs::metadata(path).map(|it| it.len()) else { return };
    let shown = path.display();
    if length > 0 && length < SecretGrant::SHORTEST as u64 {
        let message = format!("what {shown} holds is shorter than {} bytes", SecretGrant::SHORTEST);
        file.error(key.clone(), message, "take a longer secret: this one is found by trying");
    } else if length > SecretGrant::LONGEST as u64 + 1 {
        let message = format!("what {shown} holds is longer than {} bytes", SecretGrant::LONGEST);
        file.error(key.clone(), message, "name the file that holds the secret alone");
    } else if length > 0 && length < 16 && access.contains(&SecretAccess::Sign) {
        let message = format!("what {shown} holds is shorter than 16 bytes");
        let help = "take a longer secret: from a signature a plugin could find this one by trying";
        file.warning(key.clone(), message, help);
    }
}

/// Whether the plugin is kept from reading the file itself.
fn check_is_apart(file: &mut TaskFile<'_>, key: &KeyPath, path: &Path) {
    let Ok(path) = path.canonicalize() else { return };
    let holds = |root: &Path| root.canonicalize().is_ok_and(|root| path.starts_with(root));
    let readable = |files: &&FilesGrant| files.access.contains(&FilesAccess::Read) && holds(&files.path);
    if let Some(files) = file.settings.grant.files.values().find(readable) {
        let folder = files.path.display();
        let message = format!("the plugin could read this secret itself, in the folder {folder} that it is granted");
        file.error(key.clone(), message, "keep it outside of what is granted, or use a credential of systemd");
    }
}

/// What a secret is for.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// The password of a repository, which the operator makes up.
    Password,
    /// What a server wants to know, which its operator has given.
    Credentials,
    /// What a client of upkeep proves itself with, which upkeep's operator makes up.
    Token,
}

/// Whether a secret is there, and closed to others.
pub(crate) fn check_secret(
    file: &mut Telling<'_>,
    surroundings: &Surroundings<'_>,
    key: KeyPath,
    secret: &Secret,
    purpose: Purpose,
) {
    match secret {
        Secret::File(path) => check_file(file, surroundings, key.key("file"), path, purpose),
        Secret::Env(variable) => check_variable(file, surroundings, key.key("env"), variable),
        Secret::Credential(credential) => check_credential(file, surroundings, key.key("credential"), credential),
    }
}

fn check_file(file: &mut Telling<'_>, surroundings: &Surroundings<'_>, key: KeyPath, path: &Path, purpose: Purpose) {
    let shown = path.display();
    if !path.is_absolute() {
        return file.error(key, format!("\"{shown}\" is not an absolute path"), "write the whole path, from `/` on");
    }
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let help = match purpose {
                Purpose::Password => format!(
                    "make one, readable only for the daemon's user, and keep a copy of it elsewhere (without it nothing \
                     can be restored):\n(umask 077; openssl rand -base64 32 > {shown})"
                ),
                Purpose::Token => {
                    format!(
                        "make one, readable only for the daemon's user, and give it to the client:\n(umask 077; openssl rand -hex 32 > {shown})"
                    )
                }
                Purpose::Credentials => format!(
                    "write into it what the server's operator gave you, readable only for the daemon's user:\n\
                     install -m 600 /dev/stdin {shown}"
                ),
            };
            return file.error(key, format!("the file {shown} does not exist"), help);
        }
        Err(error) => {
            let help = "run the check as the daemon's user, or correct the rights of the folder";
            return file.error_if(
                surroundings.daemon,
                key,
                format!("{shown} cannot be looked at: {}", in_words(&error)),
                help,
            );
        }
    };
    if !metadata.is_file() {
        return file.error(key, format!("{shown} is not a file"), "name the file that holds the secret");
    }
    if metadata.len() == 0 {
        file.error(key.clone(), format!("the file {shown} is empty"), "write the secret into it");
    }
    if metadata.mode() & 0o077 != 0 {
        let message = format!("{shown} is open to other users (mode {:03o})", metadata.mode() & 0o777);
        return file.error(key, message, format!("chmod 600 {shown}; if they may have read it, change the secret"));
    }
    let help = "write the secret alone into it, in one line of UTF-8 text; a newline at its end is not part of it";
    match Secret::File(path.to_owned()).read() {
        Err(SecretError::Lines(_)) => file.error(key, format!("{shown} has more than one line"), help),
        Err(SecretError::Empty(_)) if metadata.len() > 0 => {
            file.error(key, format!("{shown} holds no text, or an empty line"), help);
        }
        // Who checks need not be the daemon's user.
        _ => {}
    }
}

fn check_variable(file: &mut Telling<'_>, surroundings: &Surroundings<'_>, key: KeyPath, variable: &str) {
    let is_name = variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if variable.is_empty() || !is_name {
        // What is no name may be the secret itself: it is not repeated.
        let help = "write the variable's name only: `{ env = \"UPKEEP_PASSWORD\" }`";
        return file.error(key, "this is not the name of an environment variable", help);
    }
    if (surroundings.variable)(variable).is_none_or(|value| value.is_empty()) {
        let message = format!("the environment variable {variable} is not set");
        let help = if surroundings.daemon {
            "set it for the daemon (`EnvironmentFile=` in its unit), or use a file or a credential"
        } else {
            "it has to be set for the daemon, not here; `systemctl show -p EnvironmentFiles upkeep` names the files"
        };
        file.error_if(surroundings.daemon, key, message, help);
    }
}

fn check_credential(file: &mut Telling<'_>, surroundings: &Surroundings<'_>, key: KeyPath, credential: &str) {
    let is_name = !credential.is_empty() && !credential.contains('/') && credential != "." && credential != "..";
    if !is_name {
        let help = "write the name that `LoadCredential=NAME:/path` in the unit gives it";
        return file.error(key, "this is not the name of a credential", help);
    }
    let help = format!("add to the unit: LoadCredential={credential}:/path/of/the/secret (`systemctl edit upkeep`)");
    match (surroundings.variable)("CREDENTIALS_DIRECTORY") {
        Some(dir) if Path::new(&dir).join(credential).is_file() => {}
        Some(_) => file.error(key, format!("systemd hands over no credential {credential}"), help),
        None if surroundings.daemon => {
            file.error(key, "the daemon was not started with credentials (CREDENTIALS_DIRECTORY is not set)", help);
        }
        None => file.warning(
            key,
            format!("whether systemd hands over the credential {credential} shows only in the daemon"),
            help,
        ),
    }
}
