//! Many callers share a commit, and only a failure of the disk.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn callers_share_commits() {
    let fixture = Fixture::new().await;
    let before = fixture.store.commits();
    let runs: Vec<Run> = (0..500).map(|number| queued(number, "task")).collect();
    let commits = runs.iter().map(|run| fixture.store.commit(vec![Transition::Queue(vec![run.clone()])]));
    assert!(join_all(commits).await.into_iter().all(|done| done.is_ok()));
    assert_eq!(fixture.store.read().unfinished().await.unwrap().len(), 500);
    let commits = fixture.store.commits() - before;
    assert!(commits <= 3, "500 callers at the same time took {commits} commits");
}

#[tokio::test]
async fn a_contradiction_fails_alone_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let good: Vec<RunId> = join_all((0..20).map(|number| fixture.executing(number, "good", 1))).await;
    let bad = fixture.over(100, "bad").await;
    let fresh = queued(200, "fresh");
    let before = fixture.store.commits();
    let mut requests: Vec<Vec<Transition>> = good.iter().map(|run| vec![start_step(run, 0, 1)]).collect();
    // The first of its transitions would be right, and goes with the second.
    requests.insert(7, vec![Transition::Queue(vec![fresh.clone()]), start_step(&bad, 0, 1)]);
    let done = join_all(requests.into_iter().map(|transitions| fixture.store.commit(transitions))).await;
    for (number, done) in done.iter().enumerate() {
        assert_eq!(done.is_err(), number == 7, "{number}: {done:?}");
    }
    let error = done[7].as_ref().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot record the start of step 0 of run {bad}: the step is not pending, or its run is not executing")
    );
    assert!(fixture.store.commits() - before <= 2);
    assert_eq!(fixture.store.read().run(&fresh.id).await.unwrap(), None);
    for run in &good {
        assert_eq!(fixture.steps(run).await[0].phase, StepPhase::Running);
    }
}

#[tokio::test]
async fn what_contradicts_the_journal_is_refused() {
    let fixture = Fixture::new().await;
    let (executing, over) = (fixture.executing(1, "a", 2).await, fixture.over(2, "a").await);
    let unknown = RunId::new(Timestamp(3));
    fixture.commit(start_step(&executing, 0, 1)).await;
    let resume = |run: &RunId| Transition::Resume { run: run.clone(), at: Timestamp(9) };
    let plan = |run: &RunId, steps| Transition::Plan { run: run.clone(), steps };
    for transition in [
        start(&unknown, 9),
        start(&executing, 9),
        start(&over, 9),
        plan(&unknown, vec![]),
        plan(&executing, vec![step(7)]),
        plan(&over, vec![]),
        start_step(&executing, 0, 9),
        start_step(&executing, 5, 9),
        start_step(&over, 0, 9),
        finish_step(&executing, 1, 9, None),
        finish_step(&executing, 0, 9, Some(0)),
        finish_step(&executing, 0, 9, Some(5)),
        finish_step(&over, 0, 9, None),
        resume(&unknown),
        resume(&over),
        finish(&unknown, 9, Outcome::Succeeded),
        finish(&over, 9, Outcome::Succeeded),
    ] {
        let message = fixture.refusal(transition.clone()).await;
        assert!(message.contains(&transition.to_string()), "{message}");
    }
    let twice = fixture.run(&over).await;
    let message = fixture.refusal(Transition::Queue(vec![twice])).await;
    assert_eq!(message, format!("cannot record the queueing of run {over} of a: it is queued already"));
    let planning = queued(10, "b");
    fixture.store.commit(vec![Transition::Queue(vec![planning.clone()]), start(&planning.id, 10)]).await.unwrap();
    let message = fixture.refusal(plan(&planning.id, vec![step(1), step(1)])).await;
    assert!(message.ends_with("two of its steps have the same place"), "{message}");
    assert_eq!(fixture.run(&planning.id).await.phase, Phase::Planning);
    let running = fixture.steps(&executing).await;
    assert_eq!((running[0].phase, running[1].phase), (StepPhase::Running, StepPhase::Pending));
}

#[tokio::test]
async fn transitions_of_a_run_in_one_commit_keep_their_order() {
    let fixture = Fixture::new().await;
    let run = queued(1, "a");
    let id = run.id.clone();
    let resume = Transition::Resume { run: id.clone(), at: Timestamp(5) };
    let transitions = vec![
        Transition::Queue(vec![run]),
        start(&id, 2),
        Transition::Plan { run: id.clone(), steps: (0..4).map(step).collect() },
        start_step(&id, 0, 3),
        finish_step(&id, 0, 4, Some(1)),
        finish_step(&id, 1, 5, Some(2)),
        resume,
        start_step(&id, 2, 6),
        finish_step(&id, 2, 7, None),
        start_step(&id, 3, 8),
        finish_step(&id, 3, 9, None),
        finish(&id, 10, Outcome::Succeeded),
    ];
    fixture.store.commit(transitions).await.unwrap();
    let run = fixture.run(&id).await;
    assert_eq!((run.phase, run.resumed), (Phase::Done, 1));
    assert!(fixture.steps(&id).await.iter().all(|step| step.phase == StepPhase::Done));
}

#[tokio::test]
async fn log_records_follow_without_a_commit_of_others() {
    let fixture = Fixture::new().await;
    let id = fixture.executing(1, "a", 1).await;
    let logged = Instant::now();
    fixture.store.log(vec![record(&id, 2, "one")]);
    fixture.store.log(vec![record(&RunId::new(Timestamp(9)), 2, "of a run that is not known"), record(&id, 2, "two")]);
    while fixture.messages(&id).await.len() < 2 {
        assert!(logged.elapsed() < Duration::from_secs(5), "the log was not written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(logged.elapsed() >= Duration::from_millis(190), "it waits for company");
    fixture.store.log(vec![record(&id, 3, "three")]);
    fixture.commit(start_step(&id, 0, 3)).await;
    assert_eq!(fixture.messages(&id).await, ["one", "two", "three"], "it rides on the next commit");
    fixture.store.log(vec![record(&id, 4, "four")]);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.messages(&id).await.len(), 4, "closing writes what waits");
}

#[tokio::test]
async fn a_full_disk_fails_all_callers_and_ends_when_there_is_room() {
    let fixture = Fixture::new().await;
    let id = fixture.executing(1, "a", 1).await;
    fixture.store.sql("PRAGMA max_page_count = 1").await.unwrap();
    let large = || vec![log(&id, 2, &"x".repeat(1 << 20))];
    let done = join_all((0..5).map(|_| fixture.store.commit(large()))).await;
    for done in done {
        assert!(matches!(done, Err(StoreError::Full { .. })), "{done:?}");
    }
    // The log waits for room, and does not stand in the way of what is small.
    fixture.store.log(vec![record(&id, 3, &"y".repeat(1 << 20))]);
    fixture.commit(start_step(&id, 0, 3)).await;
    assert!(fixture.messages(&id).await.is_empty());
    fixture.store.sql("PRAGMA max_page_count = 1000000").await.unwrap();
    fixture.store.commit(large()).await.unwrap();
    let mut lengths: Vec<usize> = fixture.messages(&id).await.iter().map(String::len).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [1 << 20, 1 << 20]);
}

#[tokio::test]
async fn nothing_is_recorded_after_the_end() {
    let fixture = Fixture::new().await;
    let store = fixture.store.clone();
    fixture.store.clone().close().await;
    let error = store.commit(vec![Transition::Queue(vec![queued(1, "a")])]).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
}
