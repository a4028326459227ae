//! placeholder
use crate::abi::{dump as abi, repository::Summary};
use crate::capability::{Host, HostError, repository::Repo};
use wasmtime::component::Resource;
impl abi::Host for Host {
    async fn to_repository(&mut self, _: String, _: Resource<Repo>, _: Vec<String>) -> Result<Summary, HostError> {
        Err(HostError::unavailable(""))
    }
}
