//! placeholder
use crate::abi::sql as abi;
use crate::capability::{Host, HostError};
use wasmtime::component::Resource;
/// c
pub struct Connection {}
/// r
pub struct Rows {}
impl abi::Host for Host {}
impl abi::HostConnection for Host {
    async fn open(&mut self, _: String) -> Result<Resource<Connection>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn query(
        &mut self,
        _: Resource<Connection>,
        _: String,
        _: Vec<abi::Value>,
    ) -> Result<Resource<Rows>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn execute(&mut self, _: Resource<Connection>, _: String, _: Vec<abi::Value>) -> Result<u64, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn batch(
        &mut self,
        _: Resource<Connection>,
        _: Vec<(String, Vec<abi::Value>)>,
    ) -> Result<Vec<u64>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn drop(&mut self, handle: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
impl abi::HostRows for Host {
    async fn columns(&mut self, _: Resource<Rows>) -> wasmtime::Result<Vec<String>> {
        Ok(vec![])
    }
    async fn next(&mut self, _: Resource<Rows>, _: u32) -> Result<Vec<Vec<abi::Value>>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn drop(&mut self, handle: Resource<Rows>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
