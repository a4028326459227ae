//! Looking for damage, with the right "check": the guest chooses how much is read, and learns what is lost by name. What is
//! read stays in the host.

use wasmtime::component::Resource;

use crate::abi::repository as abi;
use crate::capability::repository::Repo;
use crate::capability::{Host, HostError, blocking};
use crate::config::grant::RepositoryAccess;
use crate::repository::check::{CheckReport, Damage, Part, Reading, Severity};

impl From<Part> for abi::Part {
    fn from(Part { first, packs, bytes }: Part) -> Self {
        Self { first, packs, bytes }
    }
}

impl From<Damage> for abi::Damage {
    fn from(damage: Damage) -> Self {
        let harm = match damage.severity {
            Severity::Low => abi::Harm::None,
            Severity::High => abi::Harm::Repairable,
            Severity::Critical => abi::Harm::Loss,
        };
        Self { key: damage.key, harm, file: damage.file, title: damage.title, detail: damage.detail }
    }
}

impl From<CheckReport> for abi::CheckReport {
    fn from(report: CheckReport) -> Self {
        Self {
            snapshots: report.snapshots,
            snapshots_whole: report.snapshots_whole,
            packs: report.packs,
            bytes: report.bytes,
            packs_read: report.packs_read,
            bytes_read: report.bytes_read,
            packs_unused: report.packs_unused,
            damages: report.damages.into_iter().map(abi::Damage::from).collect(),
            duration_ms: report.duration_ms,
        }
    }
}

impl Host {
    pub(super) async fn list_parts(&mut self, handle: &Resource<Repo>) -> Result<Vec<abi::Part>, HostError> {
        let repository = self.repository_for(handle, RepositoryAccess::Check)?;
        let parts = blocking(move || repository.parts()).await??;
        Ok(parts.into_iter().map(abi::Part::from).collect())
    }

    pub(super) async fn look_for_damage(
        &mut self,
        handle: &Resource<Repo>,
        options: abi::CheckOptions,
    ) -> Result<abi::CheckReport, HostError> {
        let repository = self.repository_for(handle, RepositoryAccess::Check)?;
        let (cancel, tell) = (self.run.cancel.clone(), self.teller());
        let reading = Reading::beginning_with(options.read);
        Ok(blocking(move || repository.check(&reading, &cancel, tell)).await??.into())
    }
}
