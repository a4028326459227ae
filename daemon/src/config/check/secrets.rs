//! Whether the sources of secrets are there, and closed to others. The values are not read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::check::{Site, TaskFile};
use crate::config::files::in_words;
use crate::config::secret::Secret;
use crate::config::source::KeyPath;

pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) {
    for (name, grant) in &file.settings.grant.repository {
        check_secret(
            file,
            site,
            KeyPath::of(["grant", "repository", name, "password"]),
            &grant.password,
            Purpose::Password,
        );
        for (secret, place) in &grant.secrets {
            let key = KeyPath::of(["grant", "repository", name, "secrets", secret]);
            check_secret(file, site, key, place, Purpose::Credentials);
        }
    }
    let dumps = file.settings.grant.dump.iter().map(|(name, grant)| ("dump", name, grant.password()));
    let queried = file.settings.grant.sql.iter().map(|(name, grant)| ("sql", name, grant.password()));
    let passwords: Vec<_> = dumps.chain(queried).collect();
    for (capability, name, password) in passwords {
        if let Some((kind, secret)) = password {
            let key = KeyPath::of(["grant", capability, name, kind, "password"]);
            check_secret(file, site, key, secret, Purpose::Credentials);
        }
    }
}

/// What a secret is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// The password of a repository, which the operator makes up.
    Password,
    /// What a server wants to know, which its operator has given.
    Credentials,
}

fn check_secret(file: &mut TaskFile<'_>, site: &Site<'_>, key: KeyPath, secret: &Secret, purpose: Purpose) {
    match secret {
        Secret::File(path) => check_file(file, site, key.key("file"), path, purpose),
        Secret::Env(variable) => check_variable(file, site, key.key("env"), variable),
        Secret::Credential(credential) => check_credential(file, site, key.key("credential"), credential),
    }
}

fn check_file(file: &mut TaskFile<'_>, site: &Site<'_>, key: KeyPath, path: &Path, purpose: Purpose) {
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
                site.surroundings.daemon,
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
        file.error(key, message, format!("chmod 600 {shown}; if they may have read it, change the secret"));
    }
}

fn check_variable(file: &mut TaskFile<'_>, site: &Site<'_>, key: KeyPath, variable: &str) {
    let is_name = variable.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if variable.is_empty() || !is_name {
        // What is no name may be the secret itself: it is not repeated.
        let help = "write the variable's name only: `{ env = \"UPKEEP_PASSWORD\" }`";
        return file.error(key, "this is not the name of an environment variable", help);
    }
    if (site.surroundings.variable)(variable).is_none_or(|value| value.is_empty()) {
        let message = format!("the environment variable {variable} is not set");
        let help = if site.surroundings.daemon {
            "set it for the daemon (`EnvironmentFile=` in its unit), or use a file or a credential"
        } else {
            "it has to be set for the daemon, not here; `systemctl show -p EnvironmentFiles upkeep` names the files"
        };
        file.error_if(site.surroundings.daemon, key, message, help);
    }
}

fn check_credential(file: &mut TaskFile<'_>, site: &Site<'_>, key: KeyPath, credential: &str) {
    let is_name = !credential.is_empty() && !credential.contains('/') && credential != "." && credential != "..";
    if !is_name {
        let help = "write the name that `LoadCredential=NAME:/path` in the unit gives it";
        return file.error(key, "this is not the name of a credential", help);
    }
    let help = format!("add to the unit: LoadCredential={credential}:/path/of/the/secret (`systemctl edit upkeep`)");
    match (site.surroundings.variable)("CREDENTIALS_DIRECTORY") {
        Some(dir) if Path::new(&dir).join(credential).is_file() => {}
        Some(_) => file.error(key, format!("systemd hands over no credential {credential}"), help),
        None if site.surroundings.daemon => {
            file.error(key, "the daemon was not started with credentials (CREDENTIALS_DIRECTORY is not set)", help);
        }
        None => file.warning(
            key,
            format!("whether systemd hands over the credential {credential} shows only in the daemon"),
            help,
        ),
    }
}
