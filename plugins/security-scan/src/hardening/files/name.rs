//! What a file is by its name.

/// Kinds of files that matter by where they lie and who may read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Perhaps a private key: its content decides.
    Key,
    Environment,
    Repository,
    Dump,
    Database,
    Credentials,
    AdminTool,
    Copy,
    AuthorizedKeys,
}

impl Class {
    /// The check that tells when everybody may read it.
    pub(super) fn readable(self) -> Option<&'static str> {
        match self {
            Self::Environment => Some("env-readable"),
            Self::Dump => Some("dump-readable"),
            Self::Credentials => Some("credentials-readable"),
            _ => None,
        }
    }

    /// The check that tells when a web server shows it.
    pub(super) fn in_web(self) -> Option<&'static str> {
        match self {
            Self::Environment => Some("env-in-web"),
            Self::Repository => Some("repository-in-web"),
            Self::Dump => Some("dump-in-web"),
            Self::Database => Some("database-in-web"),
            Self::Credentials => Some("credentials-in-web"),
            Self::AdminTool => Some("admin-tool-in-web"),
            Self::Copy => Some("source-copy-in-web"),
            Self::Key | Self::AuthorizedKeys => None,
        }
    }

    /// The check that tells when its group or everybody may write to it.
    pub(super) fn writable(self) -> Option<&'static str> {
        (self == Self::AuthorizedKeys).then_some("authorized-keys-writable")
    }
}

const KEYS: [&str; 4] = ["id_rsa", "id_ecdsa", "id_ed25519", "id_dsa"];
const CREDENTIALS: [&str; 7] =
    [".pgpass", ".my.cnf", ".netrc", ".git-credentials", ".htpasswd", ".dockercfg", ".s3cfg"];
const TOOLS: [&str; 6] = ["phpinfo.php", "info.php", "adminer.php", "phpmyadmin", "test.php", "shell.php"];
const EXAMPLES: [&str; 4] = [".example", ".sample", ".template", ".dist"];
const ARCHIVES: [&str; 6] = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".7z"];
const PACKED: [&str; 5] = [".gz", ".zst", ".xz", ".bz2", ".zip"];

/// By the last part of the path, and for a few the folder that it lies in.
pub(super) fn class(path: &str, is_folder: bool) -> Option<Class> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if is_folder {
        return match name.as_str() {
            ".git" | ".svn" | ".hg" => Some(Class::Repository),
            "phpmyadmin" => Some(Class::AdminTool),
            _ => None,
        };
    }
    let stored = |of: &str, named: &str| folder.rsplit('/').next() == Some(of) && name == named;
    match name.as_str() {
        "authorized_keys" | "authorized_keys2" => Some(Class::AuthorizedKeys),
        it if KEYS.contains(&it) || ends(&[".key", ".pem", ".ppk"]) => Some(Class::Key),
        it if it == ".env" || it.starts_with(".env.") => (!ends(&EXAMPLES)).then_some(Class::Environment),
        it if CREDENTIALS.contains(&it) || stored(".aws", "credentials") || stored(".docker", "config.json") => {
            Some(Class::Credentials)
        }
        it if TOOLS.contains(&it) || it.starts_with("adminer-") && it.ends_with(".php") => Some(Class::AdminTool),
        it if ["backup", "dump"].iter().any(|start| it.starts_with(start)) && ends(&ARCHIVES) => Some(Class::Dump),
        it => {
            let bare = PACKED.iter().find_map(|ending| it.strip_suffix(ending)).unwrap_or(it);
            match bare.rsplit_once('.').map(|(_, ending)| ending) {
                Some("dump" | "rdb" | "pgdump") => Some(Class::Dump),
                // Migrations are a part of the source; a dump is packed, or named so.
                Some("sql") if bare != it || ["backup", "dump"].iter().any(|word| it.contains(word)) => {
                    Some(Class::Dump)
                }
                Some("sqlite" | "sqlite3" | "db" | "mdb") => Some(Class::Database),
                Some("bak" | "old" | "orig" | "swp" | "swo" | "save") => Some(Class::Copy),
                _ => it.ends_with('~').then_some(Class::Copy),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_files_are() {
        for (path, expected) in [
            ("config/tls/server.key", Some(Class::Key)),
            ("home/.ssh/id_ed25519", Some(Class::Key)),
            ("home/.ssh/id_ed25519.pub", None),
            (".env", Some(Class::Environment)),
            ("app/.env.production", Some(Class::Environment)),
            ("app/.env.example", None),
            ("app/environment.ts", None),
            ("data/app.sql.gz", Some(Class::Dump)),
            ("dump-2026.sql", Some(Class::Dump)),
            ("migrations/0001_users.sql", None),
            ("backup-2026.tar.gz", Some(Class::Dump)),
            ("dist/app.tar.gz", None),
            ("db/app.sqlite3", Some(Class::Database)),
            (".aws/credentials", Some(Class::Credentials)),
            ("docs/credentials", None),
            ("public/index.php~", Some(Class::Copy)),
            ("public/config.php.bak", Some(Class::Copy)),
            ("public/adminer-4.8.1.php", Some(Class::AdminTool)),
            (".ssh/authorized_keys", Some(Class::AuthorizedKeys)),
        ] {
            assert_eq!(class(path, false), expected, "{path}");
        }
        assert_eq!(class("public/.git", true), Some(Class::Repository));
        assert_eq!(class("public/.github", true), None);
    }
}
