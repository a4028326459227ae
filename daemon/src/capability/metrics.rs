//! Counters, gauges and histograms of one run. They are stored with its end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::PoisonError;

use crate::abi;
use crate::capability::{Host, HostError};
use crate::record::{Metric, MetricValue};

/// The series of one run. A label set is one series; their number is limited.
#[derive(Debug)]
pub struct Registry {
    series: BTreeMap<(String, Vec<(String, String)>), MetricValue>,
    most: u32,
}

/// Why a value was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The name or label is not of the form that Prometheus and this house use.
    #[error("`{0}` is not a metric or label name; write it as `[a-z][a-z0-9_]*`")]
    Name(String),
    /// Not a number, infinite, or a counter that would fall.
    #[error("`{name}`: {value} cannot be recorded; a value is finite, and a counter only grows")]
    Value {
        /// The series.
        name: String,
        /// What was to be recorded.
        value: String,
    },
    /// The name is already of another kind.
    #[error("`{0}` was recorded as another kind before; a name is a counter, a gauge or a histogram")]
    Kind(String),
    /// Too many series.
    #[error("more than {0} series (limits.metrics)")]
    Full(u32),
}

/// Which kind a call records.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Registry {
    /// No series yet, `most` at the end.
    pub fn new(most: u32) -> Self {
        Self { series: BTreeMap::new(), most }
    }

    fn record(
        &mut self,
        kind: Kind,
        name: String,
        mut labels: Vec<(String, String)>,
        value: f64,
    ) -> Result<(), MetricError> {
        for text in std::iter::once(&name).chain(labels.iter().map(|(key, _)| key)) {
            let mut bytes = text.bytes();
            let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
            if !first || !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                return Err(MetricError::Name(text.clone()));
            }
        }
        if !value.is_finite() || (matches!(kind, Kind::Counter) && value < 0.0) {
            return Err(MetricError::Value { name, value: value.to_string() });
        }
        labels.sort();
        let full = self.series.len() >= self.most as usize;
        match self.series.entry((name, labels)) {
            Entry::Vacant(_) if full => Err(MetricError::Full(self.most)),
            Entry::Vacant(slot) => {
                slot.insert(match kind {
                    Kind::Counter => MetricValue::Counter(value),
                    Kind::Gauge => MetricValue::Gauge(value),
                    Kind::Histogram => MetricValue::Histogram { count: 1, sum: value, min: value, max: value },
                });
                Ok(())
            }
            Entry::Occupied(mut slot) => {
                match (kind, slot.get_mut()) {
                    (Kind::Counter, MetricValue::Counter(sum)) => *sum += value,
                    (Kind::Gauge, MetricValue::Gauge(last)) => *last = value,
                    (Kind::Histogram, MetricValue::Histogram { count, sum, min, max }) => {
                        *count += 1;
                        *sum += value;
                        *min = min.min(value);
                        *max = max.max(value);
                    }
                    _ => return Err(MetricError::Kind(slot.key().0.clone())),
                }
                Ok(())
            }
        }
    }

    /// All series, by name and labels.
    pub fn snapshot(&self) -> Vec<Metric> {
        self.series
            .iter()
            .map(|((name, labels), value)| Metric { name: name.clone(), labels: labels.clone(), value: value.clone() })
            .collect()
    }
}

impl Host {
    fn record(&mut self, kind: Kind, name: String, labels: Vec<(String, String)>, value: f64) -> Result<(), HostError> {
        if !self.run.grants.metrics {
            return self.deny("metrics (the task file does not set `grant.metrics = true`)");
        }
        let outcome = self.run.metrics.lock().unwrap_or_else(PoisonError::into_inner).record(kind, name, labels, value);
        match outcome {
            Ok(()) => Ok(()),
            Err(full @ MetricError::Full(_)) => self.exceed("metrics", full.to_string()),
            Err(error) => Err(HostError::invalid(error.to_string())),
        }
    }
}

impl abi::metrics::Host for Host {
    async fn count(&mut self, name: String, labels: Vec<(String, String)>, by: f64) -> Result<(), HostError> {
        self.record(Kind::Counter, name, labels, by)
    }

    async fn gauge(&mut self, name: String, labels: Vec<(String, String)>, value: f64) -> Result<(), HostError> {
        self.record(Kind::Gauge, name, labels, value)
    }

    async fn observe(&mut self, name: String, labels: Vec<(String, String)>, value: f64) -> Result<(), HostError> {
        self.record(Kind::Histogram, name, labels, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_by_label_set_whatever_the_order_of_labels() {
        let mut registry = Registry::new(10);
        let label = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        registry.record(Kind::Counter, "files".into(), vec![label("a", "1"), label("b", "2")], 2.0).unwrap();
        registry.record(Kind::Counter, "files".into(), vec![label("b", "2"), label("a", "1")], 3.0).unwrap();
        registry.record(Kind::Histogram, "seconds".into(), vec![], 4.0).unwrap();
        registry.record(Kind::Histogram, "seconds".into(), vec![], 1.0).unwrap();
        let values: Vec<_> = registry.snapshot().into_iter().map(|metric| metric.value).collect();
        assert_eq!(
            values,
            [MetricValue::Counter(5.0), MetricValue::Histogram { count: 2, sum: 5.0, min: 1.0, max: 4.0 }]
        );
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        let mut registry = Registry::new(1);
        let mut record = |kind, name: &str, value| registry.record(kind, name.into(), vec![], value);
        assert_eq!(record(Kind::Counter, "Files", 1.0), Err(MetricError::Name("Files".into())));
        assert!(matches!(record(Kind::Gauge, "files", f64::NAN), Err(MetricError::Value { .. })));
        assert!(matches!(record(Kind::Counter, "files", -1.0), Err(MetricError::Value { .. })));
        assert_eq!(record(Kind::Counter, "files", 1.0), Ok(()));
        assert_eq!(record(Kind::Gauge, "files", 1.0), Err(MetricError::Kind("files".into())));
        assert_eq!(record(Kind::Gauge, "other", 1.0), Err(MetricError::Full(1)));
    }
}
