//! The statements that record transitions: one per kind and wave, whatever the number of rows.
//!
//! A statement says how many rows it must change. When it changes fewer, a transition contradicts the journal (a step
//! that is over is started again, a run that is done is finished again), and nothing of the wave may stay: the writer
//! rolls back.

use super::finding;
use super::row;
use super::rows::{Statement, Value};
use super::wave::Wave;
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::record::finding::Life;
use crate::record::{Document, LogRecord, RunId, StepPhase};

/// The statements that record a wave, in their order.
pub(super) fn statements<'a>(wave: &Wave<'a>) -> Vec<Statement<'a>> {
    let mut to = Statements::default();
    to.queue(wave);
    to.decide(wave);
    to.start(wave);
    to.resume(wave);
    to.plan(wave);
    to.start_steps(&wave.steps_started);
    to.finish_steps(wave);
    to.start_steps(&wave.steps_next);
    to.finish(wave);
    to.live(wave);
    to.log(wave.logs.iter().copied());
    to.0
}

/// The statement that inserts log records, if there are any. It leaves out those of runs that are not in the journal.
pub(super) fn log(records: &[LogRecord]) -> Option<Statement<'_>> {
    let mut to = Statements::default();
    to.log(records.iter());
    to.0.pop()
}

#[derive(Default)]
struct Statements<'a>(Vec<Statement<'a>>);

impl<'a> Statements<'a> {
    fn queue(&mut self, wave: &Wave<'a>) {
        const INSERT: &str = "\
            INSERT INTO runs (id, task, \"trigger\", cause, due, queued, started, ended, attempt, dry_run, phase, \
                              outcome, detail, fingerprint, resumed) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

        let rows = wave.queued.iter().map(|run| {
            let (trigger, cause) = row::trigger(&run.trigger);
            let (outcome, detail) = row::optional(run.outcome.as_ref());
            [
                (&run.id).into(),
                (&run.task).into(),
                trigger.into(),
                cause.into(),
                run.due.into(),
                run.queued.into(),
                run.started.into(),
                run.ended.into(),
                run.attempt.into(),
                run.dry_run.into(),
                Value::name(&run.phase),
                outcome.into(),
                detail.into(),
                run.fingerprint.as_ref().into(),
                run.resumed.into(),
            ]
        });
        self.expect(INSERT, rows, "it is queued already");
    }

    fn decide(&mut self, wave: &Wave<'a>) {
        // A slot that became a run stays one, whatever else is due at the same moment.
        const INSERT: &str = "\
            INSERT INTO slots (task, due, decision, reason, run) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL \
            ON CONFLICT (task, due) DO UPDATE SET decision = excluded.decision, reason = excluded.reason, \
            run = excluded.run WHERE slots.run IS NULL";
        const MOVE: &str = "\
            INSERT INTO cursors (task, at) SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL \
            ON CONFLICT (task) DO UPDATE SET at = excluded.at WHERE excluded.at > cursors.at";

        let slots = wave.slots.iter().map(|slot| {
            let decision = Value::name(&slot.decision);
            [(&slot.task).into(), slot.due.into(), decision, (&slot.reason).into(), slot.run.as_ref().into()]
        });
        self.run(INSERT, slots);
        let decided = wave.slots.iter().map(|slot| (slot.task.as_str(), slot.due));
        let moved = decided.chain(wave.observed.iter().copied());
        self.run(MOVE, moved.map(|(task, at)| [task.into(), at.into()]));
    }

    fn start(&mut self, wave: &Wave<'a>) {
        // A run that was planning when the daemon died may start anew: nothing of it was executed.
        const UPDATE: &str = "\
            UPDATE runs SET phase = 'planning', started = v.column2, fingerprint = v.column3 \
            FROM (VALUES {rows}) v WHERE runs.id = v.column1 AND phase IN ('queued', 'planning')";

        let rows =
            wave.started.iter().map(|(run, at, fingerprint)| [(*run).into(), (*at).into(), (*fingerprint).into()]);
        self.expect(UPDATE, rows, "it is not waiting for its start");
    }

    fn resume(&mut self, wave: &Wave<'a>) {
        const UPDATE: &str = "\
            UPDATE runs SET resumed = resumed + 1, resumed_at = v.column2 \
            FROM (VALUES {rows}) v WHERE runs.id = v.column1 AND phase IN ('planning', 'executing', 'finishing')";
        const STEPS: &str = "\
            UPDATE steps SET phase = 'pending' \
            FROM (VALUES {rows}) v WHERE steps.run = v.column1 AND phase = 'running'";

        self.expect(UPDATE, wave.resumed.iter().map(|(run, at)| [(*run).into(), (*at).into()]), "it is not under way");
        self.run(STEPS, wave.resumed.iter().map(|(run, _)| [(*run).into()]));
    }

    fn plan(&mut self, wave: &Wave<'a>) {
        const UPDATE: &str = "\
            UPDATE runs SET phase = iif(v.column2 = 0, 'finishing', 'executing'), steps_left = v.column2 \
            FROM (VALUES {rows}) v WHERE runs.id = v.column1 AND phase = 'planning'";
        const INSERT: &str = "\
            INSERT INTO steps (run, ordinal, id, title, weight, input, phase, started, ended, output, outcome, detail) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

        let plans = wave.planned.iter().map(|(run, steps)| {
            let left = steps.iter().filter(|step| step.phase != StepPhase::Done).count();
            [(*run).into(), (left as u64).into()]
        });
        self.expect(UPDATE, plans, "it is not making its plan");
        let steps = wave.planned.iter().flat_map(|(run, steps)| {
            steps.iter().map(|step| {
                let (outcome, detail) = row::optional(step.error.as_ref());
                [
                    (*run).into(),
                    step.ordinal.into(),
                    (&step.id).into(),
                    (&step.title).into(),
                    step.weight.into(),
                    (&step.input).into(),
                    Value::name(&step.phase),
                    step.started.into(),
                    step.ended.into(),
                    step.output.as_ref().into(),
                    outcome.into(),
                    detail.into(),
                ]
            })
        });
        self.expect(INSERT, steps, "two of its steps have the same place");
    }

    fn start_steps(&mut self, steps: &[(&'a RunId, u32, Timestamp)]) {
        const UPDATE: &str = "\
            UPDATE steps SET phase = 'running', started = v.column3 \
            FROM (VALUES {rows}) v WHERE steps.run = v.column1 AND steps.ordinal = v.column2 AND phase = 'pending' \
            AND EXISTS (SELECT 1 FROM runs WHERE runs.id = steps.run AND runs.phase = 'executing')";

        let rows = steps.iter().map(|(run, ordinal, at)| [(*run).into(), (*ordinal).into(), (*at).into()]);
        self.expect(UPDATE, rows, "the step is not pending, or its run is not executing");
    }

    fn finish_steps(&mut self, wave: &Wave<'a>) {
        const UPDATE: &str = "\
            UPDATE steps SET phase = 'done', ended = v.column3, output = v.column4, outcome = v.column5, \
                             detail = v.column6 \
            FROM (VALUES {rows}) v WHERE steps.run = v.column1 AND steps.ordinal = v.column2 AND phase = 'running'";
        const COUNT: &str = "\
            UPDATE runs SET steps_left = steps_left - v.done, \
                            phase = iif(steps_left = v.done, 'finishing', phase) \
            FROM (SELECT column1 AS run, count(*) AS done FROM (VALUES {rows}) GROUP BY 1) v WHERE runs.id = v.run";

        let steps = wave.steps_finished.iter().map(|(run, ordinal, at, result)| {
            let (outcome, detail) = row::optional(result.as_ref().err());
            let output = result.as_ref().ok();
            [(*run).into(), (*ordinal).into(), (*at).into(), output.into(), outcome.into(), detail.into()]
        });
        self.expect(UPDATE, steps, "the step is not running");
        self.run(COUNT, wave.steps_finished.iter().map(|(run, ..)| [(*run).into()]));
    }

    fn finish(&mut self, wave: &Wave<'a>) {
        const UPDATE: &str = "\
            UPDATE runs SET phase = 'done', ended = v.column2, outcome = v.column3, detail = v.column4 \
            FROM (VALUES {rows}) v WHERE runs.id = v.column1 AND phase <> 'done'";
        // What still ran has ended with its run, in the same way.
        const STEPS: &str = "\
            UPDATE steps SET phase = 'done', ended = v.column2, outcome = v.column3, detail = v.column4 \
            FROM (VALUES {rows}) v WHERE steps.run = v.column1 AND phase = 'running'";

        let ends = || {
            wave.finished.iter().map(|end| {
                let (outcome, detail) = row::outcome(end.outcome);
                (end, [end.run.into(), end.at.into(), outcome.into(), detail.into()])
            })
        };
        self.expect(UPDATE, ends().map(|(_, row)| row), "it is not in the journal, or done already");
        self.run(STEPS, ends().filter(|(end, _)| *end.outcome != Outcome::Succeeded).map(|(_, row)| row));
        self.report(wave);
    }

    fn report(&mut self, wave: &Wave<'a>) {
        const REPORT: &str = "\
            INSERT INTO reports (run, summary, text, tables) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";
        const FINDING: &str = "\
            INSERT INTO findings (run, ordinal, id, key, severity, title, detail, rule, path, line, fix, state, ignored) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";
        const DOCUMENT: &str = "\
            INSERT OR REPLACE INTO documents (run, name, media_type, content) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";
        const METRIC: &str = "\
            INSERT OR REPLACE INTO metrics (run, name, labels, kind, value, count, min, max) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

        let reports = || wave.finished.iter().filter_map(|end| Some((end.run, end.report?)));
        let texts = reports().map(|(run, report)| {
            [run.into(), (&report.summary).into(), (&report.text).into(), row::json(&report.tables).into()]
        });
        self.run(REPORT, texts);
        let findings = reports().flat_map(|(run, report)| {
            (0u32..).zip(report.findings.iter().chain(&report.fixed)).map(move |(ordinal, finding)| {
                let [id, key, severity, title, detail, rule, path, line, fix, state, ignored] =
                    finding::columns(finding);
                [run.into(), ordinal.into(), id, key, severity, title, detail, rule, path, line, fix, state, ignored]
            })
        });
        self.run(FINDING, findings);
        let documents = reports().flat_map(|(run, report)| {
            report.documents.iter().map(move |document| {
                let Document { name, media_type, content } = document;
                [run.into(), name.into(), media_type.into(), content.into()]
            })
        });
        self.run(DOCUMENT, documents);
        let metrics = wave.finished.iter().flat_map(|end| {
            end.metrics.iter().map(|metric| {
                let [kind, value, count, min, max] = row::metric(&metric.value);
                [end.run.into(), (&metric.name).into(), row::json(&metric.labels).into(), kind, value, count, min, max]
            })
        });
        self.run(METRIC, metrics);
    }

    fn live(&mut self, wave: &Wave<'a>) {
        const UPSERT: &str = "\
            INSERT OR REPLACE INTO lives (task, id, key, severity, title, detail, rule, path, line, fix, state, ignored, \
                                          first_seen, last_seen, changed, run) \
            SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL";

        let rows = wave.lives.iter().map(|life| {
            let [id, key, severity, title, detail, rule, path, line, fix, state, ignored] =
                finding::columns(&life.finding);
            let Life { task, finding: _, first_seen, last_seen, changed, run } = life;
            let (task, first, last, changed) =
                (task.into(), (*first_seen).into(), (*last_seen).into(), (*changed).into());
            let run = run.into();
            [task, id, key, severity, title, detail, rule, path, line, fix, state, ignored, first, last, changed, run]
        });
        self.run(UPSERT, rows);
    }

    fn log(&mut self, records: impl Iterator<Item = &'a LogRecord>) {
        const INSERT: &str = "\
            INSERT INTO logs (run, at, step, level, message, fields) \
            SELECT * FROM (VALUES {rows}) WHERE EXISTS (SELECT 1 FROM runs WHERE runs.id = column1)";

        let rows = records.map(|record| {
            let fields = (!record.fields.is_empty()).then(|| row::json(&record.fields));
            let (level, message) = (Value::name(&record.level), (&record.message).into());
            [(&record.run).into(), record.at.into(), record.step.into(), level, message, fields.into()]
        });
        self.run(INSERT, rows);
    }

    /// A statement that changes one row for each given; otherwise `reason` is why not.
    fn expect<const N: usize>(
        &mut self,
        template: &'static str,
        rows: impl Iterator<Item = [Value<'a>; N]>,
        reason: &'static str,
    ) {
        let mut statement = Statement::new(template, rows);
        statement.expects = Some((statement.rows() as u64, reason));
        self.add(statement);
    }

    /// A statement that may change any number of rows.
    fn run<const N: usize>(&mut self, template: &'static str, rows: impl Iterator<Item = [Value<'a>; N]>) {
        self.add(Statement::new(template, rows));
    }

    fn add(&mut self, statement: Statement<'a>) {
        if statement.rows() > 0 {
            self.0.push(statement);
        }
    }
}
