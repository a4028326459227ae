//! placeholder
use crate::abi::repository as abi;
use crate::capability::{Host, HostError};
use wasmtime::component::Resource;
/// r
pub struct Repo {}
impl abi::Host for Host {}
impl abi::HostRepo for Host {
    async fn open(&mut self, _: String) -> Result<Resource<Repo>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn backup(&mut self, _: Resource<Repo>, _: String, _: abi::BackupOptions) -> Result<abi::Summary, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn snapshots(&mut self, _: Resource<Repo>) -> Result<Vec<abi::Snapshot>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn drop(&mut self, handle: Resource<Repo>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
