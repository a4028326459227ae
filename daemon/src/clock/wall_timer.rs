//! Temporary.
#[derive(Debug)]
#[expect(missing_docs, reason = "t")]
pub enum Wake { Due, ClockChanged }
#[derive(Debug)]
#[expect(missing_docs, reason = "t")]
pub struct WallTimer;
#[expect(missing_docs, reason = "t")]
impl WallTimer {
    pub fn new() -> std::io::Result<Self> { Ok(Self) }
    pub async fn sleep_until(&mut self, due: Option<super::Timestamp>) -> Wake {
        match due { None => std::future::pending().await, Some(due) => { let wait = (due.0 - super::now().0).max(0); tokio::time::sleep(std::time::Duration::from_millis(wait as u64)).await; Wake::Due } }
    }
}
