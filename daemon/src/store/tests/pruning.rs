//! What is forgotten.

use std::time::Duration;

use super::*;
use crate::record::{Slot, SlotDecision};
use crate::store::{Pruned, Retention, RunFilter};

const DAY: i64 = 86_400_000;

#[tokio::test]
async fn old_runs_go_with_all_that_is_theirs() {
    let fixture = Fixture::new().await;
    let mut runs = Vec::new();
    for day in 0..10 {
        runs.push(fixture.over(day * DAY, "daily").await);
    }
    let yearly = [fixture.over(0, "yearly").await, fixture.over(1, "yearly").await, fixture.over(2, "yearly").await];
    let open = fixture.executing(0, "daily", 1).await;
    let slots = (0..10).map(|day| Slot {
        task: "daily".into(),
        due: Timestamp(day * DAY),
        decision: SlotDecision::Skipped,
        reason: "full".into(),
        run: None,
    });
    fixture.commit(Transition::Decide(slots.collect())).await;

    let retention = Retention { keep: Duration::from_secs(5 * 86_400), keep_runs: 2 };
    let now = Timestamp(9 * DAY + 1);
    // Of ten daily runs five are older than five days; of the yearly ones the two newest stay.
    assert_eq!(fixture.store.prune(now, &retention).await.unwrap(), Pruned { runs: 6, slots: 5 });
    assert_eq!(fixture.store.prune(now, &retention).await.unwrap(), Pruned::default());
    let mut kept: Vec<RunId> =
        fixture.store.read().runs(&RunFilter::default(), 100).await.unwrap().into_iter().map(|run| run.id).collect();
    kept.sort();
    let mut expected: Vec<RunId> = runs[5..].iter().chain(&yearly[1..]).chain([&open]).cloned().collect();
    expected.sort();
    assert_eq!(kept, expected);
    assert!(fixture.steps(&runs[0]).await.is_empty() && fixture.messages(&runs[0]).await.is_empty());
    assert_eq!(fixture.steps(&runs[5]).await.len(), 1);
    assert_eq!(fixture.store.read().slots(None, 100).await.unwrap().len(), 5);
    assert_eq!(fixture.store.read().cursors().await.unwrap()["daily"], Timestamp(9 * DAY), "cursors stay");
}

#[tokio::test]
async fn others_have_their_turn_meanwhile() {
    let fixture = Fixture::new().await;
    let over = Some(Outcome::Succeeded);
    let (phase, ended) = (Phase::Done, Some(Timestamp(1)));
    let runs = (0..2_500).map(|_| Run { phase, ended, outcome: over.clone(), ..queued(1, "a") }).collect();
    fixture.commit(Transition::Queue(runs)).await;
    let retention = Retention { keep: Duration::ZERO, keep_runs: 0 };
    let before = fixture.store.commits();
    let pruned = fixture.store.prune(Timestamp(2), &retention).await.unwrap();
    assert_eq!(pruned.runs, 2_500);
    assert!(fixture.store.commits() - before >= 25, "it is done in many small commits");
}
