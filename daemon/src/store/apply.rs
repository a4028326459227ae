//! The statements: one per kind and wave, whatever the number of rows.
//!
//! A statement says how many rows it must change. When it changes fewer, a transition contradicts the journal (a step
//! that is over is started again, a run that is done is finished again), and nothing of the wave may stay: the writer
//! rolls back.

use serde::Serialize;

use super::row;
use super::wave::Wave;
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::run::record::{LogRecord, Run, RunId, Step, StepPhase};

/// One statement with the rows that it is for.
#[derive(Debug)]
pub(super) struct Statement {
    /// `?1` are the rows.
    pub(super) sql: &'static str,
    /// JSON: an array of arrays.
    pub(super) rows: String,
    /// How many rows it must change, and what is wrong otherwise.
    pub(super) expects: Option<(u64, &'static str)>,
}

/// The statements that record a wave, in their order.
pub(super) fn statements(wave: &Wave<'_>) -> Vec<Statement> {
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
    to.log(&wave.logs);
    to.0
}

/// The statement that inserts log records. It leaves out those of runs that are not in the journal.
pub(super) fn log(records: &[LogRecord]) -> Option<Statement> {
    let mut to = Statements::default();
    to.log(&records.iter().collect::<Vec<_>>());
    to.0.pop()
}

#[derive(Default)]
struct Statements(Vec<Statement>);

impl Statements {
    fn queue(&mut self, wave: &Wave<'_>) {
        const INSERT: &str = "\
            INSERT INTO runs (id, task, \"trigger\", cause, due, queued, started, ended, attempt, dry_run, phase, \
                              outcome, detail, fingerprint, resumed) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3, v.value->>4, v.value->>5, v.value->>6, \
                   v.value->>7, v.value->>8, v.value->>9, v.value->>10, v.value->>11, v.value->>12, v.value->>13, \
                   v.value->>14 \
            FROM json_each(?1) v";

        let rows = wave.queued.iter().map(|run| {
            let Run { id, task, due, queued, started, ended, attempt, dry_run, phase, fingerprint, resumed, .. } = run;
            let (trigger, cause) = row::trigger(&run.trigger);
            let (outcome, detail) = row::optional(run.outcome.as_ref());
            (
                id,
                task,
                trigger,
                cause,
                due,
                queued,
                started,
                ended,
                attempt,
                dry_run,
                phase,
                outcome,
                detail,
                fingerprint,
                resumed,
            )
        });
        self.run(INSERT, rows);
    }

    fn decide(&mut self, wave: &Wave<'_>) {
        // A slot that became a run stays one, whatever else is due at the same moment.
        const INSERT: &str = "\
            INSERT INTO slots (task, due, decision, reason, run) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3, v.value->>4 FROM json_each(?1) v WHERE true \
            ON CONFLICT (task, due) DO UPDATE SET decision = excluded.decision, reason = excluded.reason, \
            run = excluded.run WHERE slots.run IS NULL";
        const MOVE: &str = "\
            INSERT INTO cursors (task, at) SELECT v.value->>0, v.value->>1 FROM json_each(?1) v WHERE true \
            ON CONFLICT (task) DO UPDATE SET at = excluded.at WHERE excluded.at > cursors.at";

        let slots = wave.slots.iter().map(|slot| (&slot.task, slot.due, slot.decision, &slot.reason, &slot.run));
        self.run(INSERT, slots);
        let decided = wave.slots.iter().map(|slot| (slot.task.as_str(), slot.due));
        self.run(MOVE, decided.chain(wave.observed.iter().copied()));
    }

    fn start(&mut self, wave: &Wave<'_>) {
        // A run that was planning when the daemon died may start anew: nothing of it was executed.
        const UPDATE: &str = "\
            UPDATE runs SET phase = 'planning', started = v.value->>1, fingerprint = v.value->>2 \
            FROM json_each(?1) v WHERE runs.id = v.value->>0 AND phase IN ('queued', 'planning')";

        self.expect(UPDATE, wave.started.iter(), "it is not waiting for its start");
    }

    fn resume(&mut self, wave: &Wave<'_>) {
        const UPDATE: &str = "\
            UPDATE runs SET resumed = resumed + 1, resumed_at = v.value->>1 \
            FROM json_each(?1) v WHERE runs.id = v.value->>0 AND phase IN ('planning', 'executing', 'finishing')";
        const STEPS: &str = "\
            UPDATE steps SET phase = 'pending' \
            FROM json_each(?1) v WHERE steps.run = v.value->>0 AND phase = 'running'";

        self.expect(UPDATE, wave.resumed.iter(), "it is not under way");
        self.run(STEPS, wave.resumed.iter());
    }

    fn plan(&mut self, wave: &Wave<'_>) {
        const UPDATE: &str = "\
            UPDATE runs SET phase = iif(v.value->>1 = 0, 'finishing', 'executing'), steps_left = v.value->>1 \
            FROM json_each(?1) v WHERE runs.id = v.value->>0 AND phase = 'planning'";
        const INSERT: &str = "\
            INSERT INTO steps (run, ordinal, id, title, weight, input, phase, started, ended, output, outcome, detail) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3, v.value->>4, v.value->>5, v.value->>6, \
                   v.value->>7, v.value->>8, v.value->>9, v.value->>10, v.value->>11 \
            FROM json_each(?1) v";

        let left = |step: &&Step| step.phase != StepPhase::Done;
        let plans = wave.planned.iter().map(|(run, steps)| (run, steps.iter().filter(left).count()));
        self.expect(UPDATE, plans, "it is not making its plan");
        let steps = wave.planned.iter().flat_map(|(run, steps)| {
            steps.iter().map(move |step| {
                let Step { ordinal, id, title, input, phase, started, ended, output, .. } = step;
                let weight = row::integer(step.weight);
                let (outcome, detail) = row::optional(step.error.as_ref());
                (run, ordinal, id, title, weight, input, phase, started, ended, output, outcome, detail)
            })
        });
        self.run(INSERT, steps);
    }

    fn start_steps(&mut self, steps: &[(&RunId, u32, Timestamp)]) {
        const UPDATE: &str = "\
            UPDATE steps SET phase = 'running', started = v.value->>2 \
            FROM json_each(?1) v WHERE steps.run = v.value->>0 AND steps.ordinal = v.value->>1 AND phase = 'pending' \
            AND EXISTS (SELECT 1 FROM runs WHERE runs.id = steps.run AND runs.phase = 'executing')";

        self.expect(UPDATE, steps.iter(), "the step is not pending, or its run is not executing");
    }

    fn finish_steps(&mut self, wave: &Wave<'_>) {
        const UPDATE: &str = "\
            UPDATE steps SET phase = 'done', ended = v.value->>2, output = v.value->>3, outcome = v.value->>4, \
                             detail = v.value->>5 \
            FROM json_each(?1) v WHERE steps.run = v.value->>0 AND steps.ordinal = v.value->>1 AND phase = 'running'";
        const COUNT: &str = "\
            UPDATE runs SET steps_left = steps_left - v.done, \
                            phase = iif(steps_left = v.done, 'finishing', phase) \
            FROM (SELECT value->>0 AS run, count(*) AS done FROM json_each(?1) GROUP BY 1) v WHERE runs.id = v.run";

        let steps = wave.steps_finished.iter().map(|(run, ordinal, at, result)| {
            let (outcome, detail) = row::optional(result.as_ref().err());
            (run, ordinal, at, result.as_ref().ok(), outcome, detail)
        });
        self.expect(UPDATE, steps, "the step is not running");
        self.run(COUNT, wave.steps_finished.iter().map(|(run, ..)| (run,)));
    }

    fn finish(&mut self, wave: &Wave<'_>) {
        const UPDATE: &str = "\
            UPDATE runs SET phase = 'done', ended = v.value->>1, outcome = v.value->>2, detail = v.value->>3 \
            FROM json_each(?1) v WHERE runs.id = v.value->>0 AND phase <> 'done'";
        // What still ran has ended with its run, in the same way.
        const STEPS: &str = "\
            UPDATE steps SET phase = 'done', ended = v.value->>1, outcome = v.value->>2, detail = v.value->>3 \
            FROM json_each(?1) v WHERE steps.run = v.value->>0 AND phase = 'running'";
        const REPORT: &str = "\
            INSERT INTO reports (run, summary, text, tables) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3 FROM json_each(?1) v";
        const FINDING: &str = "\
            INSERT INTO findings (run, ordinal, key, severity, title, detail) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3, v.value->>4, v.value->>5 FROM json_each(?1) v";
        const METRIC: &str = "\
            INSERT OR REPLACE INTO metrics (run, name, labels, kind, value, count, min, max) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3, v.value->>4, v.value->>5, v.value->>6, \
                   v.value->>7 \
            FROM json_each(?1) v";

        let ends = || {
            wave.finished.iter().map(|end| {
                let (outcome, detail) = row::outcome(end.outcome);
                (end.run, end.at, outcome, detail)
            })
        };
        self.expect(UPDATE, ends(), "it is not in the journal, or done already");
        self.run(STEPS, ends().filter(|(_, _, outcome, _)| *outcome != Outcome::Succeeded.name()));
        let reports = || wave.finished.iter().filter_map(|end| Some((end.run, end.report?)));
        let texts = reports().map(|(run, report)| (run, &report.summary, &report.text, row::json(&report.tables)));
        self.run(REPORT, texts);
        let findings = reports().flat_map(|(run, report)| {
            report.findings.iter().enumerate().map(move |(ordinal, finding)| {
                (run, ordinal, &finding.key, finding.severity, &finding.title, &finding.detail)
            })
        });
        self.run(FINDING, findings);
        let metrics = wave.finished.iter().flat_map(|end| {
            end.metrics.iter().map(|metric| {
                let (kind, value, count, min, max) = row::metric(&metric.value);
                (end.run, &metric.name, row::json(&metric.labels), kind, value, count, min, max)
            })
        });
        self.run(METRIC, metrics);
    }

    fn log(&mut self, records: &[&LogRecord]) {
        const INSERT: &str = "\
            INSERT INTO logs (run, at, step, level, message, fields) \
            SELECT v.value->>0, v.value->>1, v.value->>2, v.value->>3, v.value->>4, v.value->>5 \
            FROM json_each(?1) v WHERE EXISTS (SELECT 1 FROM runs WHERE runs.id = v.value->>0)";

        let rows = records.iter().map(|record| {
            let fields = (!record.fields.is_empty()).then(|| row::json(&record.fields));
            (&record.run, record.at, record.step, record.level, &record.message, fields)
        });
        self.run(INSERT, rows);
    }

    /// A statement that changes one row of `runs` or `steps` for each given; otherwise `reason` is why not.
    fn expect<T: Serialize>(
        &mut self,
        sql: &'static str,
        rows: impl ExactSizeIterator<Item = T>,
        reason: &'static str,
    ) {
        let expects = Some((rows.len() as u64, reason));
        self.add(sql, rows, expects);
    }

    /// A statement that may change any number of rows.
    fn run<T: Serialize>(&mut self, sql: &'static str, rows: impl Iterator<Item = T>) {
        self.add(sql, rows, None);
    }

    fn add<T: Serialize>(
        &mut self,
        sql: &'static str,
        rows: impl Iterator<Item = T>,
        expects: Option<(u64, &'static str)>,
    ) {
        let mut rows = rows.peekable();
        if rows.peek().is_some() {
            self.0.push(Statement { sql, rows: row::json_rows(rows), expects });
        }
    }
}
