//! The capabilities that need the real host. They are here so that a plugin compiles and links natively.

use crate::host::{HostError, HostResult};

fn absent<T>(capability: &str) -> HostResult<T> {
    let message = format!("the test host has no `{capability}`: try the plugin with `upkeep run TASK --standalone`");
    Err(HostError::Unavailable(message))
}

/// A resource that nobody can hold, because opening one fails.
#[derive(Debug)]
pub(crate) enum Never {}

pub(crate) mod repository {
    use super::{HostResult, Never, absent};
    use crate::repository::{
        BackupOptions, CheckOptions, CheckReport, CopySummary, Hold, Part, PruneOptions, PruneSummary, Snapshot,
        Summary,
    };

    #[derive(Debug)]
    pub(crate) struct Repo(Never);

    impl Repo {
        pub(crate) fn open(_: &str) -> HostResult<Self> {
            absent("repository")
        }

        pub(crate) fn open_copy(_: &str, _: &Self) -> HostResult<Self> {
            absent("repository")
        }

        pub(crate) fn copy(&self, _: &Self, _: &[String]) -> HostResult<CopySummary> {
            match self.0 {}
        }

        pub(crate) fn backup(&self, _: &str, _: &BackupOptions) -> HostResult<Summary> {
            match self.0 {}
        }

        pub(crate) fn snapshots(&self) -> HostResult<Vec<Snapshot>> {
            match self.0 {}
        }

        pub(crate) fn forget(&self, _: &[String]) -> HostResult<()> {
            match self.0 {}
        }

        pub(crate) fn prune(&self, _: PruneOptions) -> HostResult<PruneSummary> {
            match self.0 {}
        }

        pub(crate) fn hold(&self, _: &str) -> HostResult<bool> {
            match self.0 {}
        }

        pub(crate) fn holds(&self) -> HostResult<Vec<Hold>> {
            match self.0 {}
        }

        pub(crate) fn parts(&self) -> HostResult<Vec<Part>> {
            match self.0 {}
        }

        pub(crate) fn check(&self, _: &CheckOptions) -> HostResult<CheckReport> {
            match self.0 {}
        }
    }
}

pub(crate) mod dump {
    use super::{HostResult, absent, repository};
    use crate::dump::Saved;

    pub(crate) fn to_repository(_: &str, _: &repository::Repo, _: &[String]) -> HostResult<Saved> {
        absent("dump")
    }
}

pub(crate) mod drill {
    use super::{HostResult, Never, absent, repository};
    use crate::drill::{Answer, Facts, ForeignKeys, LoadFacts, Tally};

    #[derive(Debug)]
    pub(crate) struct Restored(Never);

    #[derive(Debug)]
    pub(crate) struct Database(Never);

    impl Restored {
        pub(crate) fn restore(_: &repository::Repo, _: &str, _: &str) -> HostResult<Self> {
            absent("drill")
        }

        pub(crate) fn facts(&self) -> Facts {
            match self.0 {}
        }

        pub(crate) fn count(&self, _: &[String]) -> HostResult<Tally> {
            match self.0 {}
        }

        pub(crate) fn checksum(&self, _: &str) -> HostResult<String> {
            match self.0 {}
        }
    }

    impl Database {
        pub(crate) fn load(_: &repository::Repo, _: &str, _: &str) -> HostResult<Self> {
            absent("drill")
        }

        pub(crate) fn facts(&self) -> LoadFacts {
            match self.0 {}
        }

        pub(crate) fn query(&self, _: &str, _: &str) -> HostResult<Answer> {
            match self.0 {}
        }

        pub(crate) fn foreign_keys(&self, _: &str) -> HostResult<ForeignKeys> {
            match self.0 {}
        }
    }
}

#[cfg(not(feature = "sqlite"))]
pub(crate) mod sql {
    use super::{HostResult, Never, absent};
    use crate::sql::{Dialect, Value};

    #[derive(Debug)]
    pub(crate) struct Connection(Never);

    #[derive(Debug)]
    pub(crate) struct Rows(Never);

    impl Connection {
        pub(crate) fn open(_: &str) -> HostResult<Self> {
            absent("sql")
        }

        pub(crate) fn dialect(&self) -> Dialect {
            match self.0 {}
        }

        pub(crate) fn query(&self, _: &str, _: &[Value]) -> HostResult<Rows> {
            match self.0 {}
        }

        pub(crate) fn execute(&self, _: &str, _: &[Value]) -> HostResult<u64> {
            match self.0 {}
        }

        pub(crate) fn batch(&self, _: &[(String, Vec<Value>)]) -> HostResult<Vec<u64>> {
            match self.0 {}
        }
    }

    impl Rows {
        pub(crate) fn columns(&self) -> Vec<String> {
            match self.0 {}
        }

        pub(crate) fn next(&self, _: u32) -> HostResult<Vec<Vec<Value>>> {
            match self.0 {}
        }
    }
}
