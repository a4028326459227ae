//! What is recorded is read back the same, after the journal was closed and opened.

use proptest::prelude::*;

use super::*;
use crate::outcome::Failure;
use crate::record::{Finding, Metric, MetricValue, Report, Severity, Slot, SlotDecision, Table};
use crate::store::RunFilter;

fn outcomes() -> Vec<Outcome> {
    let message = || "why: \"quoted\", 中文, \0".to_owned();
    vec![
        Outcome::Succeeded,
        Outcome::Failed { failure: Failure::Config, message: message() },
        Outcome::Failed { failure: Failure::Transient, message: message() },
        Outcome::Failed { failure: Failure::Permanent, message: message() },
        Outcome::Trapped { message: message() },
        Outcome::TimedOut { after_ms: 90_000 },
        Outcome::LimitExceeded { limit: "memory".into(), message: message() },
        Outcome::Denied { message: message() },
        Outcome::Cancelled { by: "uid 0".into() },
        Outcome::Interrupted { message: message() },
        Outcome::Skipped { reason: message() },
    ]
}

#[tokio::test]
async fn queued_runs() {
    let mut fixture = Fixture::new().await;
    let other = RunId::new(Timestamp(1));
    let triggers = [
        Trigger::Schedule,
        Trigger::CatchUp,
        Trigger::Startup,
        Trigger::Watch { path: "/srv/app".into() },
        Trigger::After { run: other.clone() },
        Trigger::Outbox,
        Trigger::Retry { run: other },
        Trigger::Manual { by: "uid 1000".into() },
    ];
    let mut runs: Vec<Run> = (1..)
        .zip(triggers)
        .map(|(number, trigger)| Run { trigger, attempt: number, dry_run: number % 2 == 0, ..queued(5_000, "backup") })
        .collect();
    // A run can also be queued as one that is over.
    let outcome = Some(Outcome::Skipped { reason: "no room".into() });
    let (phase, started, ended) = (Phase::Done, Some(Timestamp(6_000)), Some(Timestamp(7_000)));
    let (fingerprint, resumed) = (Some("beef".into()), 3);
    runs.push(Run { phase, started, ended, outcome, fingerprint, resumed, ..queued(6_000, "backup") });
    fixture.commit(Transition::Queue(runs.clone())).await;
    fixture = fixture.reopen().await;
    for run in &runs {
        assert_eq!(fixture.run(&run.id).await, *run);
    }
    assert_eq!(fixture.store.read().run(&RunId::new(Timestamp(5_000))).await.unwrap(), None);
}

#[tokio::test]
async fn slots_and_cursors() {
    let mut fixture = Fixture::new().await;
    let slot = |due, decision, run: Option<&RunId>| Slot {
        task: "rollup".into(),
        due: Timestamp(due),
        decision,
        reason: format!("{decision:?}"),
        run: run.cloned(),
    };
    let run = RunId::new(Timestamp(30));
    let slots = vec![
        slot(10, SlotDecision::Missed, None),
        slot(20, SlotDecision::Suppressed, None),
        slot(30, SlotDecision::Ran, Some(&run)),
        slot(40, SlotDecision::Skipped, None),
    ];
    fixture.commit(Transition::Decide(slots.clone())).await;
    // The slot that became a run stays, the one that did not is replaced.
    fixture.commit(Transition::Decide(vec![slot(30, SlotDecision::Skipped, None)])).await;
    fixture.commit(Transition::Decide(vec![slot(10, SlotDecision::Ran, Some(&run))])).await;
    let observe = |tasks: &[&str], at| Transition::Observe {
        tasks: tasks.iter().map(|task| (*task).to_owned()).collect(),
        at: Timestamp(at),
    };
    fixture.commit(observe(&["rollup", "push"], 35)).await;
    fixture = fixture.reopen().await;
    let expected = [&slots[3], &slots[2], &slots[1], &slot(10, SlotDecision::Ran, Some(&run))].map(Clone::clone);
    assert_eq!(fixture.store.read().slots(Some("rollup"), 10).await.unwrap(), expected);
    assert_eq!(fixture.store.read().slots(None, 2).await.unwrap(), expected[..2]);
    assert_eq!(fixture.store.read().slots(Some("push"), 10).await.unwrap(), []);
    let cursors = fixture.store.read().cursors().await.unwrap();
    assert_eq!((cursors.len(), cursors["rollup"], cursors["push"]), (2, Timestamp(40), Timestamp(35)));
    fixture.commit(observe(&["rollup", "push"], 50)).await;
    assert_eq!(fixture.store.read().cursors().await.unwrap()["rollup"], Timestamp(50));
}

#[tokio::test]
async fn a_run_from_start_to_end() {
    let mut fixture = Fixture::new().await;
    let run = queued(100, "backup");
    let id = run.id.clone();
    fixture.commit(Transition::Queue(vec![run.clone()])).await;
    fixture.commit(start(&id, 110)).await;
    let started = Run { started: Some(Timestamp(110)), fingerprint: Some("f00d".into()), ..run };
    assert_eq!(fixture.run(&id).await, Run { phase: Phase::Planning, ..started.clone() });

    let first = Step { phase: StepPhase::Running, started: Some(Timestamp(120)), weight: 1 << 40, ..step(0) };
    let plan = vec![first.clone(), step(1), step(2)];
    fixture.commit(Transition::Plan { run: id.clone(), steps: plan.clone() }).await;
    assert_eq!(fixture.run(&id).await.phase, Phase::Executing);
    assert_eq!(fixture.steps(&id).await, plan);

    fixture.commit(start_step(&id, 1, 130)).await;
    fixture.commit(finish_step(&id, 0, 140, Some(2))).await;
    let error = Outcome::Failed { failure: Failure::Transient, message: "disk".into() };
    let result = Err(error.clone());
    fixture
        .commit(Transition::FinishStep { run: id.clone(), ordinal: 1, at: Timestamp(150), result, next: None })
        .await;
    assert_eq!(fixture.run(&id).await.phase, Phase::Executing);
    fixture.commit(finish_step(&id, 2, 160, None)).await;
    assert_eq!(fixture.run(&id).await.phase, Phase::Finishing);
    fixture = fixture.reopen().await;
    let done = |step: Step, started, ended| Step {
        phase: StepPhase::Done,
        started: Some(Timestamp(started)),
        ended: Some(Timestamp(ended)),
        output: Some(step.ordinal.to_string()),
        ..step
    };
    let failed = Step { output: None, error: Some(error), ..done(step(1), 130, 150) };
    assert_eq!(fixture.steps(&id).await, [done(first, 120, 140), failed, done(step(2), 140, 160)]);

    fixture.commit(finish(&id, 170, Outcome::Succeeded)).await;
    let (phase, outcome, ended) = (Phase::Done, Some(Outcome::Succeeded), Some(Timestamp(170)));
    assert_eq!(fixture.run(&id).await, Run { phase, outcome, ended, ..started });
    assert_eq!(fixture.store.read().unfinished().await.unwrap(), []);
}

#[tokio::test]
async fn a_plan_without_steps_has_only_its_end_before_it() {
    let fixture = Fixture::new().await;
    let id = fixture.executing(100, "idle", 0).await;
    assert_eq!(fixture.run(&id).await.phase, Phase::Finishing);
}

#[tokio::test]
async fn outcomes_end_what_still_runs() {
    let fixture = Fixture::new().await;
    for (at, outcome) in (100..).zip(outcomes()) {
        let id = fixture.executing(at, "backup", 2).await;
        fixture.commit(start_step(&id, 0, 110)).await;
        fixture.commit(finish(&id, 120, outcome.clone())).await;
        assert_eq!(fixture.run(&id).await.outcome.as_ref(), Some(&outcome));
        let steps = fixture.steps(&id).await;
        if outcome != Outcome::Succeeded {
            assert_eq!(
                (steps[0].phase, steps[0].ended, steps[0].error.as_ref()),
                (StepPhase::Done, Some(Timestamp(120)), Some(&outcome))
            );
        }
        assert_eq!(steps[1], step(1), "a step that never started is left as it was");
        let filter = RunFilter { outcome: Some(outcome.name().into()), ..RunFilter::default() };
        assert_eq!(fixture.store.read().runs(&filter, 1).await.unwrap()[0].id, id);
    }
}

#[tokio::test]
async fn report_and_metrics() {
    let mut fixture = Fixture::new().await;
    let finding = |key: &str, severity| Finding::new(key, severity, "t", "d\nd");
    let report = Report {
        summary: "2 of 3".into(),
        findings: vec![
            finding("z", Severity::Critical),
            finding("a", Severity::Info),
            finding("a", Severity::Low),
            finding("m", Severity::Medium),
            finding("h", Severity::High),
        ],
        tables: vec![Table {
            title: "T".into(),
            columns: vec!["c".into()],
            rows: vec![vec!["1".into()], vec!["中".into()]],
        }],
        text: "# Text".into(),
        ..Report::default()
    };
    let metric = |name: &str, label: &str, value| Metric {
        name: name.into(),
        labels: vec![("l".to_owned(), label.to_owned())],
        value,
    };
    let metrics = vec![
        metric("bytes", "a", MetricValue::Counter(0.1 + 0.2)),
        metric("bytes", "b", MetricValue::Counter(f64::INFINITY)),
        metric("free", "", MetricValue::Gauge(-1e300)),
        metric("seconds", "", MetricValue::Histogram { count: 3, sum: 1.5, min: 0.25, max: f64::MIN_POSITIVE }),
    ];
    let id = fixture.executing(100, "scan", 0).await;
    let (outcome, at) = (Outcome::Succeeded, Timestamp(200));
    let (run, report_given, metrics_given) = (id.clone(), Some(report.clone()), metrics.clone());
    fixture.commit(Transition::Finish { run, at, outcome, report: report_given, metrics: metrics_given }).await;
    fixture = fixture.reopen().await;
    assert_eq!(fixture.store.read().report(&id).await.unwrap(), Some(report));
    assert_eq!(fixture.store.read().metrics(&id).await.unwrap(), metrics);
    let other = fixture.over(300, "scan").await;
    assert_eq!(fixture.store.read().report(&other).await.unwrap(), None);
    assert_eq!(fixture.store.read().metrics(&other).await.unwrap(), []);
}

#[tokio::test]
async fn a_number_that_is_none_does_not_stop_a_run_from_ending() {
    let fixture = Fixture::new().await;
    let id = fixture.executing(100, "scan", 0).await;
    let metrics = vec![Metric { name: "ratio".into(), labels: Vec::new(), value: MetricValue::Gauge(f64::NAN) }];
    let (run, at, outcome) = (id.clone(), Timestamp(200), Outcome::Succeeded);
    fixture.commit(Transition::Finish { run, at, outcome, report: None, metrics }).await;
    let read = fixture.store.read().metrics(&id).await.unwrap();
    assert!(matches!(read[..], [Metric { value: MetricValue::Gauge(value), .. }] if value.is_nan()), "{read:?}");
}

#[tokio::test]
async fn logs_can_be_followed() {
    let fixture = Fixture::new().await;
    let (one, two) = (fixture.executing(1, "a", 0).await, fixture.executing(2, "b", 0).await);
    for number in 0..5 {
        fixture.store.commit(vec![log(&one, number, &format!("{number}")), log(&two, number, "other")]).await.unwrap();
    }
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    let fields = vec![("path".to_owned(), "/a b".to_owned()), ("path".to_owned(), String::new())];
    let records =
        levels.map(|level| LogRecord { level, step: Some(7), fields: fields.clone(), ..record(&one, 9, "x") });
    fixture.commit(Transition::Log(records.to_vec())).await;
    let first = fixture.store.read().logs(&one, 0, 3).await.unwrap();
    assert_eq!(first.iter().map(|(_, record)| record.message.as_str()).collect::<Vec<_>>(), ["0", "1", "2"]);
    let rest = fixture.store.read().logs(&one, first[2].0, 100).await.unwrap();
    assert_eq!(rest.len(), 7);
    assert_eq!(rest.iter().skip(2).map(|(_, record)| record).collect::<Vec<_>>(), records.iter().collect::<Vec<_>>());
    assert_eq!(fixture.store.read().logs(&one, rest[6].0, 100).await.unwrap(), []);
}

#[tokio::test]
async fn many_rows_at_once() {
    let fixture = Fixture::new().await;
    for count in [1, 2, 8, 9, 512, 513, 1_300] {
        let runs: Vec<Run> = (0..count).map(|number| queued(count, &format!("t{count}-{number}"))).collect();
        fixture.commit(Transition::Queue(runs.clone())).await;
        let id = &runs[0].id;
        fixture.commit(start(id, 1)).await;
        let steps: Vec<Step> = (0..u32::try_from(count).unwrap()).map(step).collect();
        fixture.commit(Transition::Plan { run: id.clone(), steps: steps.clone() }).await;
        assert_eq!(fixture.steps(id).await, steps);
        let transitions =
            |make: fn(&RunId, u32) -> Transition| steps.iter().map(|step| make(id, step.ordinal)).collect();
        fixture.store.commit(transitions(|id, ordinal| start_step(id, ordinal, 2))).await.unwrap();
        fixture.store.commit(transitions(|id, ordinal| finish_step(id, ordinal, 3, None))).await.unwrap();
        assert_eq!(fixture.run(id).await.phase, Phase::Finishing);
        assert!(fixture.steps(id).await.iter().all(|step| step.phase == StepPhase::Done));
        fixture.commit(finish(id, 4, Outcome::Succeeded)).await;
    }
    assert_eq!(fixture.store.read().unfinished().await.unwrap().len(), 2_345 - 7);
}

#[tokio::test]
async fn questions_about_many_runs() {
    let fixture = Fixture::new().await;
    let mut runs = Vec::new();
    for at in 1..=9 {
        runs.push(fixture.over(at * 1_000, ["a", "b", "c"][usize::try_from(at % 3).unwrap()]).await);
    }
    let waiting = queued(10_000, "a");
    fixture.commit(Transition::Queue(vec![waiting.clone()])).await;
    let read = fixture.store.read();
    let ids = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();

    assert_eq!(ids(read.runs(&RunFilter::default(), 2).await.unwrap()), [waiting.id.clone(), runs[8].clone()]);
    let of_a = RunFilter { task: Some("a".into()), ..RunFilter::default() };
    assert_eq!(ids(read.runs(&of_a, 10).await.unwrap()), [&waiting.id, &runs[8], &runs[5], &runs[2]].map(Clone::clone));
    let page = RunFilter { before: Some(runs[5].clone()), ..of_a.clone() };
    assert_eq!(ids(read.runs(&page, 10).await.unwrap()), [runs[2].clone()]);
    for (phase, count) in [(Phase::Queued, 1), (Phase::Done, 3), (Phase::Executing, 0)] {
        let filter = RunFilter { phase: Some(phase), ..of_a.clone() };
        assert_eq!(read.runs(&filter, 10).await.unwrap().len(), count, "{phase:?}");
    }
    assert_eq!(ids(read.last_run_per_task().await.unwrap()), [&waiting.id, &runs[6], &runs[7]].map(Clone::clone));
    assert_eq!(ids(read.unfinished().await.unwrap()), std::slice::from_ref(&waiting.id));
    let counts = read.count_by_phase().await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(Phase::Queued, 1), (Phase::Done, 9)]);
}

#[tokio::test]
async fn a_run_is_found_by_the_beginning_of_its_identifier() {
    let fixture = Fixture::new().await;
    let ids = ["01J0000000AAAAAAAAAAAAAAAA", "01J0000000AAAAAAAAAAAAAAAB", "01J0000001AAAAAAAAAAAAAAAA"]
        .map(|id| RunId(id.into()));
    fixture.commit(Transition::Queue(ids.iter().map(|id| Run { id: id.clone(), ..queued(1, "a") }).collect())).await;
    let read = fixture.store.read();
    assert_eq!(read.find("01j0000001").await.unwrap().as_ref(), Some(&ids[2]));
    assert_eq!(read.find(&ids[0].0).await.unwrap().as_ref(), Some(&ids[0]));
    assert_eq!(read.find("01J5").await.unwrap(), None);
    let error = read.find("01J0000000").await.unwrap_err().to_string();
    assert_eq!(error, format!("`01J0000000` fits {}, {}; write more of the identifier", ids[0], ids[1]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever a plugin writes comes back: quotes, zero bytes, other planes.
    #[test]
    fn any_text(texts in prop::collection::vec(any::<String>(), 1..40), weight in 0..=u64::MAX) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let id = fixture.executing(1, &texts[0], 0).await;
            let other = fixture.executing(1, "other", 0).await;
            let records: Vec<LogRecord> = texts
                .iter()
                .map(|text| LogRecord { fields: vec![(text.clone(), text.clone())], ..record(&id, 1, text) })
                .collect();
            fixture.commit(Transition::Log(records.clone())).await;
            let read: Vec<LogRecord> =
                fixture.store.read().logs(&id, 0, 100).await.unwrap().into_iter().map(|(_, record)| record).collect();
            assert_eq!(read, records);
            assert_eq!(fixture.run(&id).await.task, texts[0]);
            let run = queued(2, "steps");
            let id = run.id.clone();
            fixture.store.commit(vec![Transition::Queue(vec![run]), start(&id, 2)]).await.unwrap();
            let steps: Vec<Step> = (0..)
                .zip(&texts)
                .map(|(ordinal, text)| Step { input: text.clone(), title: text.clone(), id: text.clone(), weight, ..step(ordinal) })
                .collect();
            fixture.commit(Transition::Plan { run: id.clone(), steps: steps.clone() }).await;
            let most = u64::try_from(i64::MAX).unwrap();
            let steps: Vec<Step> = steps.into_iter().map(|step| Step { weight: weight.min(most), ..step }).collect();
            assert_eq!(fixture.steps(&id).await, steps);
            assert!(fixture.messages(&other).await.is_empty());
        });
    }
}
