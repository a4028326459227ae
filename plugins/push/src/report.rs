//! What a run did, for people and for monitoring.

use serde::{Deserialize, Serialize};
use upkeep_plugin::{HostResult, Report, Result, Table, metrics};

use crate::Tallies;

/// What was done by one channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Messages that the provider took.
    pub(crate) sent: u64,
    /// Requests that were more than one message.
    pub(crate) digests: u64,
    /// Messages that this channel will never take.
    pub(crate) refused: u64,
    /// Messages that are tried again.
    pub(crate) put_off: u64,
    /// Why it is left alone.
    pub(crate) paused: Option<String>,
}

impl Tally {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Hands the numbers to the operator's monitoring.
pub(crate) fn measure(channel: &str, tally: &Tally) -> HostResult<()> {
    for (outcome, count) in [("sent", tally.sent), ("refused", tally.refused), ("put-off", tally.put_off)] {
        if count > 0 {
            #[expect(clippy::cast_precision_loss, reason = "it is exact for as many messages as there will ever be")]
            metrics::count("messages", &[("channel", channel), ("outcome", outcome)], count as f64)?;
        }
    }
    Ok(())
}

/// The report of a run, of what its steps came to.
pub(crate) fn report(done: Vec<Result<Tallies, String>>) -> Result<Report> {
    if done.is_empty() {
        return Ok(Report::new("nothing was due"));
    }
    let (mut tallies, mut failed) = (Tallies::new(), Vec::new());
    for step in done {
        match step {
            Ok(of_step) => tallies.extend(of_step),
            Err(why) => failed.push(why),
        }
    }
    if tallies.is_empty() {
        return Ok(Report::new(failed.join("; ")));
    }
    let sum = |of: fn(&Tally) -> u64| tallies.values().map(of).sum::<u64>();
    let (sent, refused, put_off) = (sum(|it| it.sent), sum(|it| it.refused), sum(|it| it.put_off));
    let mut parts = vec![format!("{} sent", counted(sent, "message"))];
    if refused > 0 {
        parts.push(format!("{refused} refused"));
    }
    if put_off > 0 {
        parts.push(format!("{put_off} to be tried again"));
    }
    let paused: Vec<&str> =
        tallies.iter().filter(|(_, it)| it.paused.is_some()).map(|(name, _)| name.as_str()).collect();
    if !paused.is_empty() {
        parts.push(format!("paused: {}", paused.join(", ")));
    }
    parts.extend(failed);
    let mut table = Table::new("Channels", ["channel", "sent", "digests", "refused", "put off", "paused"]);
    for (name, tally) in tallies.iter().filter(|(_, it)| !it.is_empty()) {
        let Tally { sent, digests, refused, put_off, paused } = tally;
        let numbers = [sent, digests, refused, put_off].map(ToString::to_string);
        let cells = [name.clone()].into_iter().chain(numbers).chain([paused.clone().unwrap_or_default()]);
        table = table.row(cells);
    }
    Ok(Report::new(parts.join(", ")).table(table))
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
