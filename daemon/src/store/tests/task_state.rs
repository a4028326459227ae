//! Keys and values of tasks.

use super::*;
use crate::store::{StateError, StateWrite};

fn write(key: &str, value: &str, expected: Option<u64>) -> StateWrite {
    StateWrite { key: key.to_owned(), value: Some(value.as_bytes().to_vec()), expected }
}

fn remove(key: &str, expected: Option<u64>) -> StateWrite {
    StateWrite { key: key.to_owned(), value: None, expected }
}

impl Fixture {
    async fn apply(&self, writes: Vec<StateWrite>) -> Result<(), StateError> {
        self.store.state_apply("task", writes, 1_000).await
    }

    /// Value and version.
    async fn get(&self, key: &str) -> Option<(String, u64)> {
        let value = self.store.read().state_get("task", key).await.unwrap()?;
        Some((String::from_utf8(value.value).unwrap(), value.version))
    }
}

#[tokio::test]
async fn compare_and_set() {
    let mut fixture = Fixture::new().await;
    assert_eq!(fixture.get("a").await, None);
    fixture.apply(vec![write("a", "1", Some(0)), write("b", "1", None)]).await.unwrap();
    let (_, first) = fixture.get("a").await.unwrap();
    let conflict = fixture.apply(vec![write("b", "2", None), write("a", "2", Some(0))]).await.unwrap_err();
    assert_eq!(conflict.to_string(), format!("the key `a` has changed: it has version {first}"));
    assert_eq!(fixture.get("b").await.unwrap().0, "1", "all or none");
    fixture.apply(vec![write("a", "2", Some(first))]).await.unwrap();
    let (value, second) = fixture.get("a").await.unwrap();
    assert!(value == "2" && second > first);
    fixture = fixture.reopen().await;
    assert!(matches!(fixture.apply(vec![remove("a", Some(first))]).await, Err(StateError::Conflict { .. })));
    fixture.apply(vec![remove("a", Some(second))]).await.unwrap();
    assert_eq!(fixture.get("a").await, None);
    assert!(matches!(fixture.apply(vec![remove("a", Some(second))]).await, Err(StateError::Conflict { found: 0, .. })));
    fixture.apply(vec![write("a", "3", Some(0))]).await.unwrap();
    assert!(fixture.get("a").await.unwrap().1 > second, "a version is never given twice");
}

#[tokio::test]
async fn a_task_sees_only_its_own() {
    let fixture = Fixture::new().await;
    fixture.store.state_apply("one", vec![write("key", "1", Some(0))], 100).await.unwrap();
    fixture.store.state_apply("two", vec![write("key", "2", Some(0))], 100).await.unwrap();
    let value = fixture.store.read().state_get("one", "key").await.unwrap().unwrap();
    assert_eq!(value.value, b"1");
    assert_eq!(fixture.store.read().state_keys("one", "", None, 10).await.unwrap(), ["key"]);
}

#[tokio::test]
async fn the_size_is_limited() {
    let fixture = Fixture::new().await;
    fixture.apply(vec![write("a", &"x".repeat(899), None)]).await.unwrap();
    let error = fixture.apply(vec![write("b", &"x".repeat(100), None)]).await.unwrap_err();
    assert_eq!(error.to_string(), "the state would take 1001 bytes, and 1000 are allowed");
    fixture.apply(vec![write("b", &"x".repeat(99), None)]).await.unwrap();
    // After the limit was lowered, the state can still shrink, but not grow.
    let shrink = vec![write("a", &"x".repeat(500), None)];
    fixture.store.state_apply("task", shrink, 10).await.unwrap();
    let grow = vec![write("a", &"x".repeat(501), None)];
    assert!(matches!(fixture.store.state_apply("task", grow, 10).await, Err(StateError::Limit { .. })));
    let replace = vec![remove("a", None), remove("b", None), write("c", &"x".repeat(999), None)];
    fixture.apply(replace).await.unwrap();
}

#[tokio::test]
async fn keys_in_pages() {
    let fixture = Fixture::new().await;
    let keys = ["", "a", "a/1", "a/2", "a/中", "b", "b%_"];
    fixture.apply(keys.iter().map(|key| write(key, "", None)).collect()).await.unwrap();
    let read = fixture.store.read();
    assert_eq!(read.state_keys("task", "", None, 100).await.unwrap(), keys);
    assert_eq!(read.state_keys("task", "a/", None, 2).await.unwrap(), ["a/1", "a/2"]);
    assert_eq!(read.state_keys("task", "a/", Some("a/2"), 2).await.unwrap(), ["a/中"]);
    assert_eq!(read.state_keys("task", "a", Some("0"), 1).await.unwrap(), ["a"]);
    assert_eq!(read.state_keys("task", "b%", None, 9).await.unwrap(), ["b%_"]);
    assert!(read.state_keys("task", "a", Some("b"), 9).await.unwrap().is_empty());
}
