//! No faster than the operator allows: a token bucket for each direction.
//!
//! A limit is one of the repository, not of a handle on it: steps that run side by side, and tasks that name the same
//! address with the same rate, pay into the same bucket.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::config::grant::RepositoryGrant;
use crate::config::rate::Rate;

/// How much is moved between two looks at the bucket, in bytes.
pub(crate) const PIECE: usize = 64 * 1024;
/// What may be made up for after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket. It is kept as the moment at which all that was moved so far is paid for.
#[derive(Debug)]
pub struct Bucket {
    bytes_per_second: u64,
    paid: Mutex<Instant>,
}

impl Bucket {
    /// A bucket of this rate.
    pub fn new(rate: Rate) -> Self {
        Self { bytes_per_second: rate.0.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Bytes per second.
    pub fn rate(&self) -> u64 {
        self.bytes_per_second
    }

    /// Takes `bytes` out of the bucket, and says how long to wait before they are moved.
    pub fn take(&self, bytes: usize) -> Duration {
        let now = Instant::now();
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.checked_sub(BURST).map_or(*paid, |earliest| (*paid).max(earliest));
        *paid = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        paid.saturating_duration_since(now)
    }

    /// Takes `bytes` out of the bucket and waits.
    pub fn pay(&self, bytes: usize) {
        std::thread::sleep(self.take(bytes));
    }
}

/// Name, direction and rate of what is limited.
type Limited = (String, &'static str, Rate);

/// The buckets of all that is limited at the moment.
static BUCKETS: LazyLock<Mutex<HashMap<Limited, Weak<Bucket>>>> = LazyLock::new(Mutex::default);

/// The bucket that everything of this name, direction and rate shares.
pub fn shared(name: &str, direction: &'static str, rate: Rate) -> Arc<Bucket> {
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    buckets.retain(|_, bucket| bucket.strong_count() > 0);
    let key = (name.to_owned(), direction, rate);
    if let Some(bucket) = buckets.get(&key).and_then(Weak::upgrade) {
        return bucket;
    }
    let bucket = Arc::new(Bucket::new(rate));
    buckets.insert(key, Arc::downgrade(&bucket));
    bucket
}

/// The limits of one repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    pub(super) upload: Option<Arc<Bucket>>,
    pub(super) download: Option<Arc<Bucket>>,
}

impl Limits {
    pub(super) fn of(grant: &RepositoryGrant) -> Self {
        let bucket = |direction, rate: Option<Rate>| rate.map(|rate| shared(&grant.url, direction, rate));
        Self { upload: bucket("upload", grant.upload), download: bucket("download", grant.download) }
    }
}

/// Takes `bytes` out of a bucket, if there is one, and waits.
pub(super) async fn pay(bucket: Option<&Bucket>, bytes: usize) {
    if let Some(bucket) = bucket {
        tokio::time::sleep(bucket.take(bytes)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_rate_after_a_pause_and_among_all_that_share_it() {
        let bucket = Bucket::new(Rate(1_000_000));
        std::thread::sleep(Duration::from_millis(300));
        // After a pause a tenth of a second is made up for, no more.
        let waits: Vec<_> = (0..10).map(|_| bucket.take(100_000).as_millis()).collect();
        assert!(waits[0] <= 1, "{waits:?}");
        assert!((800..=900).contains(&waits[9]), "{waits:?}");

        let one = shared("/srv/a", "upload", Rate(10));
        assert!(Arc::ptr_eq(&one, &shared("/srv/a", "upload", Rate(10))));
        for other in [shared("/srv/b", "upload", Rate(10)), shared("/srv/a", "download", Rate(10))] {
            assert!(!Arc::ptr_eq(&one, &other));
        }
    }
}
