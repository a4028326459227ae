//! `state` of the test host: a map.

use super::with;
use crate::bindings::upkeep::plugin::state::{Versioned, Write};
use crate::host::{HostError, HostResult};

/// The version outlives the value, so that a key that comes back does not look unchanged.
#[derive(Default)]
pub(crate) struct Slot {
    value: Option<Vec<u8>>,
    version: u64,
}

pub(crate) fn get(key: &str) -> HostResult<Option<Versioned>> {
    Ok(with(|world| {
        let slot = world.state.get(key)?;
        Some(Versioned { value: slot.value.clone()?, version: slot.version })
    }))
}

pub(crate) fn keys(prefix: &str, after: Option<&str>) -> HostResult<Vec<String>> {
    Ok(with(|world| {
        let all = world.state.iter().filter(|(_, slot)| slot.value.is_some()).map(|(key, _)| key);
        let wanted = all.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        wanted.take(1000).cloned().collect()
    }))
}

pub(crate) fn apply(writes: &[Write]) -> HostResult<()> {
    with(|world| {
        for write in writes {
            let slot = world.state.get(&write.key);
            let version = slot.filter(|it| it.value.is_some()).map_or(0, |it| it.version);
            if let Some(expected) = write.expected.filter(|it| *it != version) {
                let message = format!("the key `{}` has version {version}, not {expected}", write.key);
                return Err(HostError::Conflict(message));
            }
        }
        for write in writes {
            let slot = world.state.entry(write.key.clone()).or_default();
            slot.version += 1;
            slot.value.clone_from(&write.value);
        }
        Ok(())
    })
}
