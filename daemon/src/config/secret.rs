//! Where a secret comes from. Its value is never in a configuration file, a log or an error.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The source of a secret; exactly one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("examples" = [{ "file": "/etc/upkeep/secrets/main" }]))]
pub enum Secret {
    /// A file that only its owner can read. A newline at the end is not part of the secret.
    File(PathBuf),
    /// An environment variable of the daemon.
    Env(String),
    /// A credential of systemd (`LoadCredential=`), by its name.
    Credential(String),
}

/// A secret's value. It does not show itself, and nothing is left of it in the memory that it was in.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// A secret that came in some other way than from a [`Secret`].
    pub(crate) fn new(value: Zeroizing<String>) -> Self {
        Self(value)
    }

    /// The value, for the place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret file {} cannot be read: {source}; make it with `install -m 600 /dev/stdin {}`", path.display(), path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others can read the file too.
    #[error("the secret file {} can be read by others than its owner; run `chmod 600 {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is no such variable, or it is not text.
    #[error("the environment variable `{0}` is not set; set it with `Environment=` or `EnvironmentFile=` in the unit")]
    Variable(String),
    /// systemd passed no credentials at all.
    #[error("systemd passed no credential `{0}`; name it with `LoadCredential={0}:/path` in the unit")]
    Credential(String),
    /// Nothing is in it, or not text.
    #[error("{0} holds no secret; it is one line of UTF-8 text")]
    Empty(String),
    /// Lines are in it.
    #[error(
        "{0} has more than one line; a secret is one line of UTF-8 text, and a newline at its end is not part of it"
    )]
    Lines(String),
}

/// Longest secret that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

impl Secret {
    /// Reads the secret now. A file is read again each time, so that it can be exchanged while upkeep runs.
    ///
    /// # Errors
    ///
    /// See [`SecretError`]; none shows any part of the secret.
    pub fn read(&self) -> Result<SecretValue, SecretError> {
        match self {
            Self::File(path) => read_file(path, true),
            Self::Env(name) => match std::env::var(name) {
                Ok(value) => trimmed(value.into_bytes(), || format!("the environment variable `{name}`")),
                Err(_) => Err(SecretError::Variable(name.clone())),
            },
            Self::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                // systemd made the folder for this service alone.
                Some(folder) if !name.contains('/') => read_file(&PathBuf::from(folder).join(name), false),
                _ => Err(SecretError::Credential(name.clone())),
            },
        }
    }
}

fn read_file(path: &std::path::Path, private: bool) -> Result<SecretValue, SecretError> {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    if private && file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned() });
    }
    // At once as large as it gets, so that no part of it stays behind where it was before.
    let mut bytes = Vec::with_capacity(usize::try_from(LONGEST).unwrap_or(0));
    file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    trimmed(bytes, || format!("the secret file {}", path.display()))
}

/// Text without the newline at its end.
fn trimmed(bytes: Vec<u8>, place: impl Fn() -> String) -> Result<SecretValue, SecretError> {
    let text = Zeroizing::new(String::from_utf8(bytes).map_err(|_| SecretError::Empty(place()))?);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => Err(SecretError::Empty(place())),
        // No header takes it, no server was told of it, and whoever reads by lines has another secret.
        lines if lines.contains(['\n', '\r']) => Err(SecretError::Lines(place())),
        secret => Ok(SecretValue(Zeroizing::new(secret.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let secret = Secret::File(path.clone());
        assert!(matches!(secret.read(), Err(SecretError::File { .. })));
        std::fs::write(&path, "pass word \r\n").unwrap();
        for mode in [0o640, 0o604] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(secret.read(), Err(SecretError::Exposed { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(secret.read().unwrap().reveal(), "pass word ");
        assert_eq!(format!("{:?}", secret.read().unwrap()), "SecretValue(…)");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Empty(_))));
        std::fs::write(&path, [0xff; 20]).unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Empty(_))));
        for lines in ["one\ntwo\n", "one\n\n", "one\r\ntwo", "\none"] {
            std::fs::write(&path, lines).unwrap();
            assert!(matches!(secret.read(), Err(SecretError::Lines(_))), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_set_is_named() {
        let missing = Secret::Env("UPKEEP_TEST_NOT_SET".into()).read().unwrap_err();
        assert!(missing.to_string().contains("UPKEEP_TEST_NOT_SET"), "{missing}");
        assert!(matches!(Secret::Credential("../x".into()).read(), Err(SecretError::Credential(_))));
    }
}
