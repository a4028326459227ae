//! One call of a plugin: a fresh instance, the call, and what became of it.

use std::sync::Arc;

use wasmtime::{Store, Trap};

use super::{GUEST_STACK, Plugin, Sandbox};
use crate::abi::task;
use crate::abi::v0_1;
use crate::capability::{Call, Host, Run};
use crate::outcome::{Failure, Outcome};
use crate::record::finding::Place;
use crate::record::{Document, Finding, Report, Severity, Step, StepPhase, Table};

/// What the plugin is told about the run.
pub type Context = task::Context;

impl Sandbox {
    /// Asks the plugin for its steps; all of them `Pending`.
    ///
    /// # Errors
    ///
    /// How the call ended when not well.
    pub async fn plan(
        &self,
        plugin: &Plugin,
        run: &Arc<Run>,
        context: &Context,
        config: &str,
    ) -> Result<Vec<Step>, Outcome> {
        let mut instance = self.instantiate(plugin, run, Call::Plan).await?;
        let result = instance.plugin.upkeep_plugin_task().call_plan(&mut instance.store, context, config).await;
        let steps = instance.judge(result)?;
        let most = run.limits.steps;
        if steps.len() > most as usize {
            let message = format!("a plan of {} steps, {most} allowed (limits.steps)", steps.len());
            return Err(Outcome::LimitExceeded { limit: "steps".into(), message });
        }
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = steps.iter().find(|step| !seen.insert(step.id.as_str())) {
            let message = format!("the plan has two steps with the id `{}`", twice.id);
            return Err(Outcome::Failed { failure: Failure::Permanent, message });
        }
        Ok(steps.into_iter().zip(0..).map(|(step, ordinal)| from_guest(step, ordinal)).collect())
    }

    /// Executes one step and gives the plugin's JSON.
    ///
    /// # Errors
    ///
    /// How the call ended when not well.
    pub async fn execute(
        &self,
        plugin: &Plugin,
        run: &Arc<Run>,
        context: &Context,
        config: &str,
        step: &Step,
    ) -> Result<String, Outcome> {
        let mut instance = self.instantiate(plugin, run, Call::Step(step.ordinal)).await?;
        let guest = to_guest(step);
        let result =
            instance.plugin.upkeep_plugin_task().call_execute(&mut instance.store, context, config, &guest).await;
        instance.judge(result)
    }

    /// Lets the plugin sum up.
    ///
    /// # Errors
    ///
    /// How the call ended when not well.
    pub async fn finish(
        &self,
        plugin: &Plugin,
        run: &Arc<Run>,
        context: &Context,
        config: &str,
        steps: &[Step],
    ) -> Result<Report, Outcome> {
        let outcomes: Vec<_> = steps
            .iter()
            .map(|step| task::Outcome {
                step: to_guest(step),
                output: match (&step.output, &step.error) {
                    (Some(output), _) => Ok(output.clone()),
                    (None, Some(error)) => Err(error.to_string()),
                    (None, None) => Err("it did not run".into()),
                },
            })
            .collect();
        let mut instance = self.instantiate(plugin, run, Call::Finish).await?;
        let result =
            instance.plugin.upkeep_plugin_task().call_finish(&mut instance.store, context, config, &outcomes).await;
        instance.judge(result).map(report)
    }

    async fn instantiate<'a>(
        &'a self,
        plugin: &'a Plugin,
        run: &Arc<Run>,
        call: Call,
    ) -> Result<Instance<'a>, Outcome> {
        let shared = &*self.shared;
        let permit = shared.instances.acquire().await.map_err(|_| Outcome::Cancelled { by: "shutdown".into() })?;
        let mut store = Store::new(&shared.engine, Host::new(Arc::clone(run), call));
        store.limiter(|host| &mut host.limiter);
        store.set_hostcall_fuel(run.limits.call.bytes());
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let ticking = shared.ticker.start();
        match plugin.pre.instantiate_async(&mut store).await {
            Ok(plugin) => Ok(Instance { plugin, store, _ticking: ticking, _permit: permit }),
            Err(error) => Err(ended(&error, store.data())),
        }
    }
}

/// A fresh instance. Fields are dropped in order: the ticker and the permit go last.
struct Instance<'a> {
    plugin: v0_1::Plugin,
    store: Store<Host>,
    _ticking: super::ticker::Ticking<'a>,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Instance<'_> {
    fn judge<T>(&self, result: wasmtime::Result<Result<T, task::Failure>>) -> Result<T, Outcome> {
        let host = self.store.data();
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(refused(host).unwrap_or_else(|| {
                let (failure, message) = match failure {
                    task::Failure::Config(message) => (Failure::Config, message),
                    task::Failure::Transient(message) => (Failure::Transient, message),
                    task::Failure::Permanent(message) => (Failure::Permanent, message),
                };
                Outcome::Failed { failure, message }
            })),
            Err(error) => Err(ended(&error, host)),
        }
    }
}

/// A limit or a denial that stands behind a failure.
fn refused(host: &Host) -> Option<Outcome> {
    if let Some((limit, message)) = host.limiter.exceeded() {
        return Some(Outcome::LimitExceeded { limit: (*limit).into(), message: message.clone() });
    }
    let denials = host.run.denials();
    (!denials.is_empty()).then(|| Outcome::Denied { message: denials.join("; ") })
}

/// How an instance ended that did not return.
fn ended(error: &wasmtime::Error, host: &Host) -> Outcome {
    if let Some(outcome) = refused(host) {
        return outcome;
    }
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        let message = format!("more than {} KiB of stack", GUEST_STACK >> 10);
        return Outcome::LimitExceeded { limit: "stack".into(), message };
    }
    let message = format!("{error:#}");
    // wasmtime keeps this error's type to itself, so its words have to do.
    if message.contains("fuel allocated for hostcalls") {
        let message = format!("more than {} handed over in one host call (limits.call)", host.run.limits.call);
        return Outcome::LimitExceeded { limit: "call".into(), message };
    }
    if message.contains("resource limit exceeded") || message.contains("exceeds the limit") {
        return Outcome::LimitExceeded { limit: "instances".into(), message };
    }
    Outcome::Trapped { message }
}

fn from_guest(step: task::Step, ordinal: u32) -> Step {
    Step {
        ordinal,
        id: step.id,
        title: step.title,
        weight: step.weight,
        input: step.input,
        phase: StepPhase::Pending,
        started: None,
        ended: None,
        output: None,
        error: None,
    }
}

fn to_guest(step: &Step) -> task::Step {
    task::Step { id: step.id.clone(), title: step.title.clone(), weight: step.weight, input: step.input.clone() }
}

fn report(report: task::Report) -> Report {
    let severity = |severity| match severity {
        task::Severity::Info => Severity::Info,
        task::Severity::Low => Severity::Low,
        task::Severity::Medium => Severity::Medium,
        task::Severity::High => Severity::High,
        task::Severity::Critical => Severity::Critical,
    };
    Report {
        summary: report.summary,
        findings: report
            .findings
            .into_iter()
            .map(|finding| Finding {
                rule: finding.rule,
                place: finding.place.map(|place| Place { path: place.path, line: place.line }),
                fix: finding.fix,
                ..Finding::new(finding.key, severity(finding.severity), finding.title, finding.detail)
            })
            .collect(),
        tables: report
            .tables
            .into_iter()
            .map(|table| Table { title: table.title, columns: table.columns, rows: table.rows })
            .collect(),
        text: report.text,
        fixed: Vec::new(),
        unseen: report.unseen,
        documents: report
            .documents
            .into_iter()
            .map(|it| Document { name: it.name, media_type: it.media_type, content: it.content })
            .collect(),
    }
}
