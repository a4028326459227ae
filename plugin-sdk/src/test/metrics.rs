//! `metrics` of the test host: everything is kept.

use super::{Sample, with};
use crate::host::{HostError, HostResult};

pub(crate) fn count(name: &str, labels: &[(String, String)], by: f64) -> HostResult<()> {
    keep("count", name, labels, by)
}

pub(crate) fn gauge(name: &str, labels: &[(String, String)], value: f64) -> HostResult<()> {
    keep("gauge", name, labels, value)
}

pub(crate) fn observe(name: &str, labels: &[(String, String)], value: f64) -> HostResult<()> {
    keep("observe", name, labels, value)
}

fn keep(kind: &'static str, name: &str, labels: &[(String, String)], value: f64) -> HostResult<()> {
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !valid {
        return Err(HostError::Invalid(format!("`{name}` is no name of a metric: it must be like `files_removed`")));
    }
    with(|world| world.metrics.push(Sample { kind, name: name.to_owned(), labels: labels.to_vec(), value }));
    Ok(())
}
