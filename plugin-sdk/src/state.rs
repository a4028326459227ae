//! What the task remembers from run to run: keys and values, seen by this task alone.
//!
//! Values are anything that serde knows, stored as JSON, or plain bytes. Every key has a version that grows with each
//! write (0: it does not exist), so that parallel steps can see that another was faster:
//!
//! ```
//! use upkeep_plugin::{HostError, state};
//!
//! # fn main() -> Result<(), HostError> {
//! state::put("cursor", &42_u64)?;
//! assert_eq!(state::get::<u64>("cursor")?, Some(42));
//!
//! let seen = state::get_versioned::<u64>("cursor")?.expect("it was just written");
//! state::put("cursor", &43_u64)?;
//! assert!(matches!(state::compare_and_set("cursor", seen.version, &99_u64), Err(HostError::Conflict(_))));
//!
//! // Reads, changes and writes, again where another step was faster.
//! assert_eq!(state::update("cursor", |it: Option<u64>| it.unwrap_or(0) + 1)?, 44);
//!
//! // All or none.
//! state::Batch::new().put("a", &1)?.put_new("b", &2)?.remove("cursor").apply()?;
//! assert_eq!(state::keys("")?, ["a", "b"]);
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::upkeep::plugin::state::Write;
use crate::host::{HostError, HostResult, state as host};

/// A value and the version of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Grows with every write of the key.
    pub version: u64,
}

/// The value of `key`, where it has one.
///
/// # Errors
/// [`HostError::Invalid`] when what is stored is no `T`.
pub fn get<T: DeserializeOwned>(key: &str) -> HostResult<Option<T>> {
    Ok(get_versioned(key)?.map(|it| it.value))
}

/// The value of `key` and its version.
///
/// # Errors
/// [`HostError::Invalid`] when what is stored is no `T`.
pub fn get_versioned<T: DeserializeOwned>(key: &str) -> HostResult<Option<Versioned<T>>> {
    let Some(found) = host::get(key)? else { return Ok(None) };
    let value = serde_json::from_slice(&found.value)
        .map_err(|error| HostError::Invalid(format!("the state under `{key}` is of another type: {error}")))?;
    Ok(Some(Versioned { value, version: found.version }))
}

/// The bytes under `key`, as [`put_bytes`] wrote them.
///
/// # Errors
/// As the host says.
pub fn get_bytes(key: &str) -> HostResult<Option<Versioned<Vec<u8>>>> {
    Ok(host::get(key)?.map(|it| Versioned { value: it.value, version: it.version }))
}

/// Writes `value` under `key`.
///
/// # Errors
/// [`HostError::Limit`] when the task's state would grow too large.
pub fn put<T: Serialize + ?Sized>(key: &str, value: &T) -> HostResult<()> {
    Batch::new().put(key, value)?.apply()
}

/// Writes bytes as they are under `key`.
///
/// # Errors
/// [`HostError::Limit`] when the task's state would grow too large.
pub fn put_bytes(key: &str, value: Vec<u8>) -> HostResult<()> {
    host::apply(&[Write { key: key.to_owned(), value: Some(value), expected: None }])
}

/// Writes `value` only while `key` has the version `expected`; 0: only while it does not exist.
///
/// # Errors
/// [`HostError::Conflict`] when it has another.
pub fn compare_and_set<T: Serialize + ?Sized>(key: &str, expected: u64, value: &T) -> HostResult<()> {
    Batch::new().put_if(key, expected, value)?.apply()
}

/// Replaces the value of `key` by what `change` makes of it, and returns that. `change` is called again when another
/// step wrote the key in between.
///
/// # Errors
/// As [`get`] and [`put`].
pub fn update<T: Serialize + DeserializeOwned>(key: &str, mut change: impl FnMut(Option<T>) -> T) -> HostResult<T> {
    loop {
        let seen = get_versioned::<T>(key)?;
        let version = seen.as_ref().map_or(0, |it| it.version);
        let value = change(seen.map(|it| it.value));
        match compare_and_set(key, version, &value) {
            Err(HostError::Conflict(_)) => {}
            done => return done.map(|()| value),
        }
    }
}

/// Removes `key`; nothing happens when it does not exist.
///
/// # Errors
/// As the host says.
pub fn remove(key: &str) -> HostResult<()> {
    Batch::new().remove(key).apply()
}

/// All keys that start with `prefix`, in order.
///
/// # Errors
/// As the host says.
pub fn keys(prefix: &str) -> HostResult<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = host::keys(prefix, all.last().map(String::as_str))?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Writes that are done all or not at all.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is written before `apply`"]
pub struct Batch(Vec<Write>);

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value`, whatever is there.
    ///
    /// # Errors
    /// [`HostError::Invalid`] when serde cannot write the value as JSON.
    pub fn put<T: Serialize + ?Sized>(self, key: &str, value: &T) -> HostResult<Self> {
        self.write(key, value, None)
    }

    /// Writes `value`, provided that the key does not exist.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_new<T: Serialize + ?Sized>(self, key: &str, value: &T) -> HostResult<Self> {
        self.write(key, value, Some(0))
    }

    /// Writes `value`, provided that the key has the version `expected`.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_if<T: Serialize + ?Sized>(self, key: &str, expected: u64, value: &T) -> HostResult<Self> {
        self.write(key, value, Some(expected))
    }

    /// Removes the key.
    pub fn remove(mut self, key: &str) -> Self {
        self.0.push(Write { key: key.to_owned(), value: None, expected: None });
        self
    }

    /// Removes the key, provided that it has the version `expected`.
    pub fn remove_if(mut self, key: &str, expected: u64) -> Self {
        self.0.push(Write { key: key.to_owned(), value: None, expected: Some(expected) });
        self
    }

    /// Does all of it, or nothing.
    ///
    /// # Errors
    /// [`HostError::Conflict`] naming the key whose version is another; [`HostError::Limit`] when the task's state
    /// would grow too large.
    pub fn apply(self) -> HostResult<()> {
        host::apply(&self.0)
    }

    fn write<T: Serialize + ?Sized>(mut self, key: &str, value: &T, expected: Option<u64>) -> HostResult<Self> {
        let value = serde_json::to_vec(value)
            .map_err(|error| HostError::Invalid(format!("the value for `{key}` cannot be stored: {error}")))?;
        self.0.push(Write { key: key.to_owned(), value: Some(value), expected });
        Ok(self)
    }
}
