//! The programs of the database servers: where they are, and which Debian package brings what is missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The programs of one kind of server.
#[derive(Debug)]
pub struct Suite {
    /// What the server is called.
    pub name: &'static str,
    /// Where Debian's server has its socket.
    pub socket: &'static str,
    /// Databases that belong to the server itself and are never dumped.
    pub own: &'static [&'static str],
    client: &'static str,
    server: &'static str,
    /// What dumping takes; of each the first name that is there.
    dump: &'static [&'static [&'static str]],
}

/// PostgreSQL.
pub const POSTGRESQL: Suite = Suite {
    name: "PostgreSQL",
    socket: "/var/run/postgresql",
    own: &["template0", "template1"],
    client: "postgresql-client",
    server: "postgresql",
    dump: &[&["pg_dump"], &["pg_dumpall"], &["psql"]],
};

/// MariaDB; MySQL's programs take its place where they are what there is.
pub const MARIADB: Suite = Suite {
    name: "MariaDB",
    socket: "/run/mysqld/mysqld.sock",
    own: &["mysql", "information_schema", "performance_schema", "sys"],
    client: "mariadb-client",
    server: "mariadb-server",
    dump: &[DUMP, CLIENT],
};

/// Redis.
pub const REDIS: Suite = Suite {
    name: "Redis",
    socket: "/run/redis/redis-server.sock",
    own: &[],
    client: "redis-tools",
    server: "redis-server",
    dump: &[&["redis-cli", "valkey-cli"]],
};

/// The names of MariaDB's dump program.
pub(super) const DUMP: &[&str] = &["mariadb-dump", "mysqldump"];

/// The names of MariaDB's client.
pub(super) const CLIENT: &[&str] = &["mariadb", "mysql"];

/// A program that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no `{program}` {}", .folder.as_ref().map_or_else(|| "on this machine".to_owned(), |it| format!("in {}", it.display())))]
pub struct MissingTool {
    /// Its name.
    pub program: &'static str,
    /// The folder of the task file, where it names one.
    pub folder: Option<PathBuf>,
    /// The Debian package that brings it.
    pub package: &'static str,
}

impl MissingTool {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match &self.folder {
            Some(_) => format!("correct `tools`, or remove it and run: apt-get install {}", self.package),
            None => format!("apt-get install {}", self.package),
        }
    }
}

/// Where programs stand.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

impl Suite {
    /// Whether all that dumping takes is there.
    ///
    /// # Errors
    ///
    /// The first that is missing.
    pub fn dump(&self, folder: Option<&Path>) -> Result<(), MissingTool> {
        self.dump.iter().try_for_each(|names| self.client(folder, names).map(drop))
    }

    /// A program of the client's package.
    pub(super) fn client(&self, folder: Option<&Path>, names: &[&'static str]) -> Result<PathBuf, MissingTool> {
        self.find(folder, names, self.client)
    }

    /// A program of the server's package.
    pub(super) fn server(&self, folder: Option<&Path>, names: &[&'static str]) -> Result<PathBuf, MissingTool> {
        self.find(folder, names, self.server)
    }

    fn find(
        &self,
        folder: Option<&Path>,
        names: &[&'static str],
        package: &'static str,
    ) -> Result<PathBuf, MissingTool> {
        let folders = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => self.folders(),
        };
        let mut all = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        let missing = MissingTool {
            program: names.first().copied().unwrap_or_default(),
            folder: folder.map(Path::to_owned),
            package,
        };
        all.find(|path| path.is_file()).ok_or(missing)
    }

    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        if self.name == POSTGRESQL.name {
            // Debian's pg_dump in PATH is a script that chooses by the clusters of this machine; the newest program dumps all
            // older servers too.
            let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
            let mut versions: Vec<(u32, PathBuf)> = versions
                .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
                .collect();
            versions.sort();
            folders.extend(versions.into_iter().rev().map(|(_, path)| path));
        }
        folders.extend(FOLDERS.iter().map(PathBuf::from));
        folders.extend(std::env::var_os("PATH").iter().flat_map(|path| std::env::split_paths(OsStr::new(path))));
        folders
    }
}
