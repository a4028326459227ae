//! One run from its permit to its outcome: plan, steps in parallel, finish.
//!
//! Every transition is durable before it is acted on. A run that is resumed after a crash begins where its journal ends:
//! without a plan it makes one, with a plan it executes the steps that are not over, and never one that is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::capability;
use crate::clock::{self, Timestamp};
use crate::config::load::Task;
use crate::event::{Event, Events};
use crate::findings::{self, Ignore};
use crate::outcome::{Failure, Outcome};
use crate::record::finding::Life;
use crate::record::{Level, LogRecord, Phase, Report, Run, RunId, Step, StepPhase, Table};
use crate::removal::document::{self, Origin, PlannedStep};
use crate::run::cancel::{Cancel, Reason};
use crate::run::planned;
use crate::sandbox::call::Context;
use crate::sandbox::{Plugin, Sandbox};
use crate::store::{Store, StoreError, Transition};
use crate::tokens::Keepers;

/// What all runs of a daemon share.
#[derive(Clone)]
pub struct Runner {
    /// Where guests run.
    pub sandbox: Sandbox,
    /// The journal.
    pub store: Store,
    /// Who is told.
    pub events: Events,
    /// Name of the host.
    pub host: Arc<str>,
    /// The state directory.
    pub state_dir: Arc<std::path::Path>,
    /// Access tokens that are kept.
    pub keepers: Keepers,
}

/// A run that has its permit.
pub struct Job {
    /// The run as the journal has it.
    pub run: Run,
    /// The task as it was when the run got its permit; a reload does not change it any more.
    pub task: Arc<Task>,
    /// Its plugin.
    pub plugin: Arc<Plugin>,
    /// Ends it.
    pub cancel: Cancel,
    /// The steps that the journal has of a run that is resumed.
    pub resumed: Option<Vec<Step>>,
    /// The task's time zone.
    pub timezone: chrono_tz::Tz,
    /// How far it is.
    pub tally: Arc<Tally>,
}

/// How far a run is, for whoever asks meanwhile.
#[derive(Debug, Default)]
pub struct Tally {
    /// Steps in all; 0 while the plan is made.
    pub steps: AtomicU32,
    /// Steps that are over.
    pub done: AtomicU32,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The run is over, and the journal knows it.
    Over(Outcome),
    /// The daemon stops; the run stays in the journal for the next start.
    Left,
}

/// How long is waited before the journal is tried again: first, and at most.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// See [`FIRST_PAUSE`].
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a run ends with.
type Conclusion = (Outcome, Option<Report>);

impl Runner {
    /// Carries a run to its end. Spawn it on [`Sandbox::handle`].
    pub async fn run(&self, job: Job) -> Ended {
        let started = std::time::Instant::now();
        let scratch = self.scratch(&job);
        // A timeout ends the host calls and nothing else: `job.cancel` stays with who may cancel the run.
        let calls = job.cancel.token().child_token();
        let shared = Arc::new(
            capability::Run::new(
                job.run.id.clone(),
                Arc::clone(&job.task.name),
                Arc::clone(&job.task.grants),
                Arc::clone(&job.task.limits),
                self.store.clone(),
                scratch.clone(),
                calls.clone(),
                self.events.clone(),
            )
            .with_private(self.state_dir.join("private"))
            .with_removals(&self.state_dir, Arc::clone(&job.task.safeguards))
            .with_keepers(self.keepers.clone()),
        );
        let timeout = job.task.timeout;
        let conclusion = tokio::select! {
            biased;
            reason = job.cancel.cancelled() => match reason {
                Reason::Shutdown => None,
                Reason::By(by) => Some((Outcome::Cancelled { by }, None)),
            },
            () = tokio::time::sleep(timeout) => {
                // Host calls that are still at work on other threads look at the token.
                calls.cancel();
                Some((Outcome::TimedOut { after_ms: millis(timeout) }, None))
            }
            worked = self.work(&job, &shared) => Some(worked.unwrap_or_else(|error| {
                (Outcome::Interrupted { message: format!("the journal could not be written: {error}") }, None)
            })),
        };
        shared.smtp.close().await;
        shared.ledger.settle().await;
        shared.outbox.release(&self.store).await;
        // What is missing was not made, or is somebody's open file that goes with its last handle.
        let _ = std::fs::remove_dir_all(&scratch);
        let Some((outcome, report)) = conclusion else { return Ended::Left };
        let (outcome, report, lives) = match report {
            Some(report) if !job.run.dry_run => self.settle(&job, outcome, report).await,
            report => (outcome, report, Vec::new()),
        };
        self.conclude(&shared, started.elapsed(), &outcome, report.as_ref());
        self.record_end(&job, &shared, &outcome, report, lives).await
    }

    fn scratch(&self, job: &Job) -> PathBuf {
        self.state_dir.join("scratch").join(&*job.run.id.0)
    }

    async fn work(&self, job: &Job, shared: &Arc<capability::Run>) -> Result<Conclusion, StoreError> {
        let run = &job.run.id;
        let now = clock::now();
        let context = self.context(job, now);
        let steps = match &job.resumed {
            Some(steps) => {
                self.commit(run, vec![Transition::Resume { run: run.clone(), at: now }]).await?;
                shared.say(now, Level::Warn, "resumed after the daemon was gone".into());
                let mut steps = steps.clone();
                steps
                    .iter_mut()
                    .filter(|step| step.phase == StepPhase::Running)
                    .for_each(|step| step.phase = StepPhase::Pending);
                steps
            }
            None => {
                let fingerprint = job.task.fingerprint.to_string();
                self.commit(run, vec![Transition::Start { run: run.clone(), at: now, fingerprint }]).await?;
                Vec::new()
            }
        };
        let mut steps = steps;
        if steps.is_empty() {
            self.phase(job, Phase::Planning);
            steps = match self.plan(job, shared, &context).await {
                Ok(steps) => steps,
                Err(outcome) => return Ok((outcome, None)),
            };
            if job.run.dry_run {
                self.commit(run, vec![Transition::Plan { run: run.clone(), steps: steps.clone() }]).await?;
                return Ok((Outcome::Succeeded, Some(plan_report(&steps))));
            }
            let now = clock::now();
            for step in steps.iter_mut().take(parallel(&job.task)) {
                step.phase = StepPhase::Running;
                step.started = Some(now);
            }
            self.commit(run, vec![Transition::Plan { run: run.clone(), steps: steps.clone() }]).await?;
        }
        self.phase(job, Phase::Executing);
        let weight = steps.iter().map(|step| step.weight).sum();
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let over = steps.iter().filter(|step| step.phase == StepPhase::Done).count();
        job.tally.steps.store(count, Ordering::Relaxed);
        job.tally.done.store(u32::try_from(over).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.events.send(Event::Planned { run: run.clone(), steps: count, weight });
        self.execute(job, shared, &context, &mut steps).await?;

        self.phase(job, Phase::Finishing);
        let report = self.sandbox.finish(&job.plugin, shared, &context, &job.task.config_json, &steps).await;
        Ok(match (failed(&steps), report) {
            (None, Ok(report)) => (Outcome::Succeeded, Some(report)),
            (None, Err(outcome)) => (outcome, None),
            (Some(outcome), report) => (outcome, report.ok()),
        })
    }

    /// The steps: those of the plan that the run was given, or those that the plugin plans. What is to be removed stands
    /// in files by then.
    async fn plan(&self, job: &Job, shared: &Arc<capability::Run>, context: &Context) -> Result<Vec<Step>, Outcome> {
        let mut origin = Origin {
            upkeep_plan: document::FORMAT,
            task: job.run.task.clone(),
            host: self.host.to_string(),
            run: job.run.id.to_string(),
            made: clock::now(),
            fingerprint: job.task.fingerprint.to_string(),
            steps: Vec::new(),
        };
        let (run, this) = (Arc::clone(shared), origin.clone());
        if let Some(steps) = waiting(move || planned::prepare(&run, &this)).await? {
            return Ok(steps);
        }
        let steps = self.sandbox.plan(&job.plugin, shared, context, &job.task.config_json).await?;
        origin.steps = steps.iter().map(PlannedStep::from).collect();
        let (run, dry_run) = (Arc::clone(shared), job.run.dry_run);
        waiting(move || planned::complete(&run, &origin, dry_run)).await?;
        Ok(steps)
    }

    /// Executes all steps that are not over, some at a time.
    async fn execute(
        &self,
        job: &Job,
        shared: &Arc<capability::Run>,
        context: &Context,
        steps: &mut [Step],
    ) -> Result<(), StoreError> {
        let parallel = parallel(&job.task);
        let mut waiting: std::collections::VecDeque<usize> =
            (0..steps.len()).filter(|&step| steps[step].phase != StepPhase::Done).collect();
        let mut executing = JoinSet::new();
        while executing.len() < parallel
            && let Some(next) = waiting.pop_front()
        {
            // A fresh plan has its first steps running already; a resumed one does not.
            if steps[next].phase == StepPhase::Pending {
                self.start_step(job, &mut steps[next]).await?;
            }
            self.spawn(&mut executing, job, shared, context, &steps[next]);
        }
        while let Some(joined) = executing.join_next().await {
            let (ordinal, result) = match joined {
                Ok(done) => done,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let now = clock::now();
            let next = waiting.pop_front();
            let finish = Transition::FinishStep {
                run: job.run.id.clone(),
                ordinal: steps[ordinal].ordinal,
                at: now,
                result: result.clone(),
                next: next.map(|next| steps[next].ordinal),
            };
            self.commit(&job.run.id, vec![finish]).await?;
            self.step_ended(job, shared, &mut steps[ordinal], now, result);
            if let Some(next) = next {
                steps[next].phase = StepPhase::Running;
                steps[next].started = Some(now);
                self.spawn(&mut executing, job, shared, context, &steps[next]);
            }
        }
        Ok(())
    }

    /// Commits what a run has come to. A full disk is waited for: what was worked for is not thrown away.
    async fn commit(&self, run: &RunId, transitions: Vec<Transition>) -> Result<(), StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.commit(transitions.clone()).await {
                Err(error @ StoreError::Full { .. }) => {
                    if pause == FIRST_PAUSE {
                        tracing::error!(%run, "a run waits for room: {error}");
                        self.say(run, format!("the run waits for room: {error}"));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }

    async fn start_step(&self, job: &Job, step: &mut Step) -> Result<(), StoreError> {
        let at = clock::now();
        let run = &job.run.id;
        self.commit(run, vec![Transition::StartStep { run: run.clone(), ordinal: step.ordinal, at }]).await?;
        step.phase = StepPhase::Running;
        step.started = Some(at);
        Ok(())
    }

    fn spawn(
        &self,
        executing: &mut JoinSet<(usize, Result<String, Outcome>)>,
        job: &Job,
        shared: &Arc<capability::Run>,
        context: &Context,
        step: &Step,
    ) {
        let (sandbox, plugin, shared) = (self.sandbox.clone(), Arc::clone(&job.plugin), Arc::clone(shared));
        let (context, task, step) = (context.clone(), Arc::clone(&job.task), step.clone());
        let run = job.run.id.clone();
        let (title, weight) = (step.title.clone(), step.weight);
        self.events.send(Event::StepStarted { run, ordinal: step.ordinal, title, weight });
        executing.spawn(async move {
            let result = sandbox.execute(&plugin, &shared, &context, &task.config_json, &step).await;
            (step.ordinal as usize, result)
        });
    }

    fn step_ended(
        &self,
        job: &Job,
        shared: &capability::Run,
        step: &mut Step,
        now: Timestamp,
        result: Result<String, Outcome>,
    ) {
        step.phase = StepPhase::Done;
        step.ended = Some(now);
        job.tally.done.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(output) => step.output = Some(output),
            Err(outcome) => {
                shared.say(now, Level::Error, format!("step `{}` {outcome}", step.id));
                step.error = Some(outcome);
            }
        }
        let (run, error) = (job.run.id.clone(), step.error.clone());
        self.events.send(Event::StepEnded { run, ordinal: step.ordinal, weight: step.weight, error });
    }

    /// Sees what was found against what is known. Findings may fail a run that went well.
    async fn settle(&self, job: &Job, outcome: Outcome, report: Report) -> (Outcome, Option<Report>, Vec<Life>) {
        let (task, at) = (&*job.task.name, clock::now());
        let journal = self.store.read();
        let (lives, ignores) = match (journal.lives(Some(task)).await, journal.ignores(Some(task)).await) {
            (Ok(lives), Ok(ignores)) => (lives, ignores),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(task, "what is known of its findings cannot be read; they stay as they are: {error}");
                return (outcome, Some(report), Vec::new());
            }
        };
        let mut entries = Ignore::of(&job.task.findings);
        entries.extend(ignores.into_iter().map(Ignore::from));
        let settled = findings::settle(
            findings::Round {
                task,
                run: &job.run.id,
                at,
                today: at.utc().with_timezone(&job.timezone).date_naive(),
                known: lives,
                ignores: &entries,
                settings: &job.task.findings,
                complete: outcome == Outcome::Succeeded,
            },
            report,
        );
        let outcome = match settled.gate {
            Some(message) if outcome == Outcome::Succeeded => Outcome::Failed { failure: Failure::Permanent, message },
            _ => outcome,
        };
        (outcome, Some(settled.report), settled.lives)
    }

    /// Says how it ended, in the run's log.
    fn conclude(&self, shared: &capability::Run, took: Duration, outcome: &Outcome, report: Option<&Report>) {
        let now = clock::now();
        let dropped = shared.log.dropped();
        if dropped > 0 {
            shared.say(now, Level::Warn, format!("{dropped} log records were dropped (limits.log, limits.log_rate)"));
        }
        let took = humantime::format_duration(Duration::from_millis(millis(took)));
        let level = if *outcome == Outcome::Succeeded { Level::Info } else { Level::Error };
        let summary = report.map(|report| format!(": {}", report.summary)).unwrap_or_default();
        shared.say(now, level, format!("{outcome} in {took}{summary}"));
    }

    /// Records the end, however long the journal takes to be writable again: nothing vanishes.
    async fn record_end(
        &self,
        job: &Job,
        shared: &capability::Run,
        outcome: &Outcome,
        report: Option<Report>,
        lives: Vec<Life>,
    ) -> Ended {
        let metrics = shared.metrics.lock().unwrap_or_else(std::sync::PoisonError::into_inner).snapshot();
        let finish =
            Transition::Finish { run: job.run.id.clone(), at: clock::now(), outcome: outcome.clone(), report, metrics };
        tokio::select! {
            () = self.insist(&job.run.id, vec![Transition::Lives(lives), finish]) => {}
            Reason::Shutdown = job.cancel.cancelled() => return Ended::Left,
        }
        self.events.send(Event::Ended {
            run: job.run.id.clone(),
            task: job.task.name.to_string(),
            outcome: outcome.clone(),
        });
        Ended::Over(outcome.clone())
    }

    /// Ends a run that never started or cannot go on.
    pub async fn abandon(&self, run: &Run, outcome: Outcome) -> Ended {
        let at = clock::now();
        let finish =
            Transition::Finish { run: run.id.clone(), at, outcome: outcome.clone(), report: None, metrics: Vec::new() };
        self.insist(&run.id, vec![finish]).await;
        self.events.send(Event::Ended { run: run.id.clone(), task: run.task.clone(), outcome: outcome.clone() });
        Ended::Over(outcome)
    }

    /// Commits an end, again and again while the journal cannot be written.
    async fn insist(&self, run: &RunId, end: Vec<Transition>) {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.store.commit(end.clone()).await {
            if pause == FIRST_PAUSE {
                tracing::error!(%run, "the end of a run cannot be recorded; it is tried again until it can: {error}");
                self.say(run, format!("the run's end cannot be recorded; it is tried again until it can: {error}"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Warns whoever follows the run. Its log has the record too, as soon as there is room.
    fn say(&self, run: &RunId, message: String) {
        let record =
            LogRecord { run: run.clone(), at: clock::now(), step: None, level: Level::Warn, message, fields: vec![] };
        self.events.log(&record);
        self.store.log(vec![record]);
    }

    fn context(&self, job: &Job, now: Timestamp) -> Context {
        Context {
            run: job.run.id.to_string(),
            task: job.run.task.clone(),
            host: self.host.to_string(),
            timezone: job.timezone.name().to_owned(),
            due: job.run.due.0,
            now: now.0,
            attempt: job.run.attempt,
            dry_run: job.run.dry_run,
        }
    }

    fn phase(&self, job: &Job, phase: Phase) {
        if self.events.heard() {
            self.events.send(Event::Phase { run: job.run.id.clone(), task: job.run.task.clone(), phase });
        }
    }
}

/// Does work that waits for a disk on a thread made for waiting.
async fn waiting<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Steps of one run that are executed at the same time.
fn parallel(task: &Task) -> usize {
    // Asking costs half a dozen system calls: the limits of the control group are read from files.
    static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    match task.parallel {
        0 => *CORES,
        parallel => parallel as usize,
    }
}

/// How a run ends whose steps ended so: as the first that failed, with how many others.
fn failed(steps: &[Step]) -> Option<Outcome> {
    let mut errors = steps.iter().filter_map(|step| step.error.as_ref().map(|error| (step, error)));
    let (step, first) = errors.next()?;
    let others = errors.count();
    let place = match others {
        0 => format!("step `{}`: ", step.id),
        others => format!("step `{}` and {others} more: ", step.id),
    };
    let mut outcome = first.clone();
    if let Outcome::Failed { message, .. }
    | Outcome::Trapped { message }
    | Outcome::Denied { message }
    | Outcome::LimitExceeded { message, .. } = &mut outcome
    {
        message.insert_str(0, &place);
    }
    Some(outcome)
}

/// The plan of a dry run, as a report.
fn plan_report(steps: &[Step]) -> Report {
    let rows = steps.iter().map(|step| vec![step.id.clone(), step.title.clone(), step.weight.to_string()]).collect();
    Report {
        summary: match steps.len() {
            1 => "would execute 1 step".into(),
            count => format!("would execute {count} steps"),
        },
        tables: vec![Table {
            title: "plan".into(),
            columns: ["step", "what", "weight"].map(String::from).into(),
            rows,
        }],
        ..Report::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A retry of a run that ended so, when the task has attempts left: the wait before it.
pub fn retry_after(task: &Task, attempt: u32, outcome: &Outcome) -> Option<Duration> {
    let retry = &task.retry;
    if !outcome.is_transient() || attempt > retry.attempts {
        return None;
    }
    let doubled = retry.backoff.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    Some(doubled.min(retry.max_backoff))
}

/// An outcome that means a bug of the host, from a panic's payload.
pub fn host_bug(payload: &(dyn std::any::Any + Send)) -> Outcome {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without words".into());
    Outcome::Failed { failure: Failure::Permanent, message: format!("upkeep itself broke, which is a bug: {text}") }
}
