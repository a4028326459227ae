//! placeholder
use crate::abi::system as abi;
use crate::capability::{Host, HostError};
impl abi::Host for Host {
    async fn get_os(&mut self) -> Result<abi::Os, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn get_disks(&mut self) -> Result<Vec<abi::Disk>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn get_memory(&mut self) -> Result<abi::Memory, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn get_load(&mut self) -> Result<abi::Load, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn get_packages(&mut self) -> Result<Vec<abi::Package>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn get_sockets(&mut self) -> Result<Vec<abi::Socket>, HostError> {
        Err(HostError::unavailable(""))
    }
    async fn get_services(&mut self) -> Result<Vec<abi::Service>, HostError> {
        Err(HostError::unavailable(""))
    }
}
