//! Who may work on a repository at the same time, within this process: any number of backups, or one that removes.
//!
//! A backup that begins before data is removed relies on packs that are then thought to be unneeded. The grace period of
//! [`prune`](crate::repository::prune) saves the data, but the snapshot could not be restored until the next prune finds
//! out. So they wait for each other. Other programs are told by lock files in the repository.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::repository::RepositoryError;

/// Time between two looks. What is waited for takes seconds to hours.
const PAUSE: Duration = Duration::from_millis(50);

/// How many work on a repository; `usize::MAX` stands for one that is alone.
static BUSY: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);

/// A turn at a repository, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(String);

/// Waits until nobody is alone in the repository.
pub(super) fn shared(url: &str, cancel: &CancellationToken) -> Result<Turn, RepositoryError> {
    wait(url, cancel, |users| users.checked_add(1).filter(|users| *users < usize::MAX))
}

/// Waits until nobody else is in the repository.
pub(super) fn alone(url: &str, cancel: &CancellationToken) -> Result<Turn, RepositoryError> {
    wait(url, cancel, |users| (users == 0).then_some(usize::MAX))
}

fn wait(
    url: &str,
    cancel: &CancellationToken,
    enter: impl Fn(usize) -> Option<usize>,
) -> Result<Turn, RepositoryError> {
    loop {
        let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(users) = enter(busy.get(url).copied().unwrap_or(0)) {
            busy.insert(url.to_owned(), users);
            return Ok(Turn(url.to_owned()));
        }
        drop(busy);
        if cancel.is_cancelled() {
            return Err(RepositoryError::Cancelled);
        }
        std::thread::sleep(PAUSE);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        match busy.get_mut(&self.0) {
            Some(users) if *users > 1 && *users < usize::MAX => *users -= 1,
            _ => drop(busy.remove(&self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_removes_is_alone() {
        let cancel = CancellationToken::new();
        let (one, two) = (shared("a", &cancel).unwrap(), shared("a", &cancel).unwrap());
        let _other = alone("b", &cancel).unwrap();
        let waiting = std::thread::spawn({
            let cancel = cancel.clone();
            move || alone("a", &cancel).map(drop)
        });
        drop(one);
        std::thread::sleep(PAUSE * 2);
        assert!(!waiting.is_finished(), "one is still there");
        drop(two);
        waiting.join().unwrap().unwrap();
        let _alone = alone("a", &cancel).unwrap();
        cancel.cancel();
        assert!(matches!(shared("a", &cancel), Err(RepositoryError::Cancelled)));
    }
}
