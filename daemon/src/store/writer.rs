//! The one task that writes.
//!
//! It takes everything that waits into one transaction. When one caller's transitions contradict the journal, the
//! transaction is rolled back and done again caller by caller, so that only that caller fails; when the disk is full or
//! broken, all callers of the transaction fail, and nothing of it is recorded.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::Trouble;
use super::apply;
use super::consent;
use super::error::{StateError, StoreError};
use super::lock::StateLock;
use super::log_buffer::LogBuffer;
use super::outbox::{Ask, Told};
use super::rows::Statement;
use super::state::{self, StateWrite};
use super::transition::Transition;
use super::wave::Wave;
use crate::record::LogRecord;

/// How long log records may wait for a commit.
const LOG_WAITS: Duration = Duration::from_millis(200);
/// Requests of one transaction.
const MOST_REQUESTS: usize = 4_096;

type Answer<T, E = StoreError> = oneshot::Sender<Result<T, E>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Commit {
        transitions: Vec<Transition>,
        answer: Answer<()>,
    },
    State {
        task: String,
        writes: Vec<StateWrite>,
        limit_bytes: u64,
        answer: Answer<(), StateError>,
    },
    Outbox {
        ask: Ask,
        answer: Answer<Told>,
    },
    Consents {
        ask: consent::Ask,
        answer: Answer<consent::Told>,
    },
    Remove {
        statement: Statement<'static>,
        answer: Answer<u64>,
    },
    /// Rows of whose number nobody wants to know: those of one statement go together.
    Write {
        statement: Statement<'static>,
        answer: Answer<()>,
    },
    Close {
        answer: oneshot::Sender<()>,
    },
    #[cfg(test)]
    Sql {
        sql: &'static str,
        answer: Answer<u64>,
    },
}

/// What a request came to, to be answered after the commit.
#[derive(Debug)]
enum Done {
    Rows(u64),
    State(Result<(), StateError>),
    Outbox(Told),
    Consents(consent::Told),
}

pub(super) struct Writer {
    connection: SqliteConnection,
    path: PathBuf,
    logs: Arc<LogBuffer>,
    commits: Arc<AtomicU64>,
    /// How many commits changed the outbox.
    outbox: watch::Sender<u64>,
    /// Why the last commit failed, if it did.
    trouble: Trouble,
    lock: StateLock,
}

impl Writer {
    pub(super) fn new(
        connection: SqliteConnection,
        path: PathBuf,
        logs: Arc<LogBuffer>,
        commits: Arc<AtomicU64>,
        outbox: watch::Sender<u64>,
        trouble: Trouble,
        lock: StateLock,
    ) -> Self {
        Self { connection, path, logs, commits, outbox, trouble, lock }
    }

    /// Runs until it is told to close or nobody is left who could ask.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut closing = None;
        let mut open = true;
        while open {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                count = requests.recv_many(&mut batch, MOST_REQUESTS) => open = count > 0,
                () = self.logs.arrived() => {
                    if self.logs.is_empty() {
                        continue;
                    }
                    let waiting = requests.recv_many(&mut batch, MOST_REQUESTS);
                    if let Ok(count) = timeout_at(Instant::now() + LOG_WAITS, waiting).await {
                        open = count > 0;
                    }
                }
            }
            if open {
                // Callers of the commit before are being woken: a moment for them to join this one.
                tokio::task::yield_now().await;
                while batch.len() < MOST_REQUESTS
                    && let Ok(request) = requests.try_recv()
                {
                    batch.push(request);
                }
            }
            let close = |request: &mut Request| matches!(request, Request::Close { .. });
            for request in batch.extract_if(.., close) {
                if let Request::Close { answer } = request {
                    closing = Some(answer);
                    requests.close();
                }
            }
            self.commit(batch).await;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(path = %self.path.display(), %error, "the journal was not closed cleanly");
        }
        drop(self.lock);
        drop(closing);
    }

    async fn commit(&mut self, batch: Vec<Request>) {
        let logs = self.logs.take();
        if batch.is_empty() && logs.is_empty() {
            return;
        }
        let mut done = self.record(&batch, &logs).await;
        self.tell(&done);
        if matches!(done, Err(StoreError::Full { .. })) && !logs.is_empty() {
            // The log waits for room; what the callers record may be small enough.
            self.logs.put_back(logs);
            if !batch.is_empty() {
                done = self.record(&batch, &[]).await;
            }
        }
        match done {
            Ok(done) => {
                let changes = |done: &Result<Done, _>| matches!(done, Ok(Done::Outbox(told)) if told.changed());
                if done.iter().any(changes) {
                    self.outbox.send_modify(|commits| *commits += 1);
                }
                batch.into_iter().zip(done).for_each(|(request, done)| request.answer(done));
            }
            Err(error) => batch.into_iter().for_each(|request| request.answer(Err(error.clone()))),
        }
    }

    /// Says that commits fail, and when they go well again: once each, since callers try again and again.
    fn tell<T>(&mut self, done: &Result<T, StoreError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match done {
            Err(error) if trouble.is_none() => tracing::error!(%error, "a commit failed"),
            Err(error) => tracing::debug!(%error, "another commit failed"),
            Ok(_) if trouble.is_some() => tracing::info!("the journal can be written again"),
            Ok(_) => {}
        }
        *trouble = done.as_ref().err().map(ToString::to_string);
    }

    async fn record(
        &mut self,
        batch: &[Request],
        logs: &[LogRecord],
    ) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
        match self.together(batch, logs).await {
            Ok(done) => Ok(done.into_iter().map(Ok).collect()),
            Err(error) if error.concerns_one() => self.singly(batch, logs).await,
            Err(error) => Err(error),
        }
    }

    /// One transaction for all, each kind of transition in one statement.
    async fn together(&mut self, batch: &[Request], logs: &[LogRecord]) -> Result<Vec<Done>, StoreError> {
        self.execute("BEGIN IMMEDIATE").await?;
        let done = self.all_together(batch, logs).await;
        self.end(done).await
    }

    async fn all_together(&mut self, batch: &[Request], logs: &[LogRecord]) -> Result<Vec<Done>, StoreError> {
        for statement in statements(batch.iter().flat_map(Request::transitions)) {
            self.run_statement(&statement, None).await?;
        }
        for statement in Statement::together(batch.iter().filter_map(Request::written)) {
            self.run_statement(&statement, None).await?;
        }
        let mut done = Vec::with_capacity(batch.len());
        for request in batch {
            done.push(self.other(request).await?);
        }
        self.log(logs).await?;
        Ok(done)
    }

    /// One transaction for all, but each caller's transitions one by one within a savepoint.
    async fn singly(
        &mut self,
        batch: &[Request],
        logs: &[LogRecord],
    ) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
        self.execute("BEGIN IMMEDIATE").await?;
        let done = self.all_singly(batch, logs).await;
        self.end(done).await
    }

    async fn all_singly(
        &mut self,
        batch: &[Request],
        logs: &[LogRecord],
    ) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
        let mut done = Vec::with_capacity(batch.len());
        for request in batch {
            self.execute("SAVEPOINT caller").await?;
            let result = match self.one(request).await {
                Err(error) if error.concerns_one() => {
                    self.execute("ROLLBACK TO caller").await?;
                    Err(error)
                }
                other => Ok(other?),
            };
            self.execute("RELEASE caller").await?;
            done.push(result);
        }
        self.log(logs).await?;
        Ok(done)
    }

    async fn one(&mut self, request: &Request) -> Result<Done, StoreError> {
        for transition in request.transitions() {
            for statement in statements([transition]) {
                self.run_statement(&statement, Some(transition)).await?;
            }
        }
        if let Some(statement) = request.written() {
            self.run_statement(statement, None).await?;
        }
        self.other(request).await
    }

    /// `transition` is the one that the statement is for, where it is for one.
    async fn run_statement(
        &mut self,
        statement: &Statement<'_>,
        transition: Option<&Transition>,
    ) -> Result<u64, StoreError> {
        let refused = |reason| {
            let transition = transition.map(Transition::to_string).unwrap_or_default();
            Err(StoreError::Refused { transition, reason })
        };
        let mut changed = 0;
        for query in statement.queries() {
            let done = query.execute(&mut self.connection).await;
            match (done.map_err(|error| StoreError::sqlite(&self.path, error)), statement.expects) {
                (Ok(done), _) => changed += done.rows_affected(),
                (Err(error), Some((_, reason))) if error.concerns_one() => return refused(reason),
                (Err(error), _) => return Err(error),
            }
        }
        match statement.expects {
            Some((rows, reason)) if rows != changed => refused(reason),
            _ => Ok(changed),
        }
    }

    async fn log(&mut self, records: &[LogRecord]) -> Result<(), StoreError> {
        if let Some(statement) = apply::log(records) {
            let written = self.run_statement(&statement, None).await?;
            let lost = records.len() as u64 - written;
            if lost > 0 {
                tracing::warn!(lost, "log records belong to no run in the journal");
            }
        }
        Ok(())
    }

    /// What is not a transition.
    async fn other(&mut self, request: &Request) -> Result<Done, StoreError> {
        if let Request::Remove { statement, .. } = request {
            return self.run_statement(statement, None).await.map(Done::Rows);
        }
        let connection = &mut self.connection;
        let done = match request {
            Request::Commit { .. } | Request::Remove { .. } | Request::Write { .. } | Request::Close { .. } => {
                Ok(Done::Rows(0))
            }
            Request::State { task, writes, limit_bytes, .. } => {
                state::apply(connection, task, writes, *limit_bytes).await.map(Done::State)
            }
            Request::Outbox { ask, .. } => ask.apply(connection).await.map(Done::Outbox),
            Request::Consents { ask, .. } => ask.apply(connection).await.map(Done::Consents),
            #[cfg(test)]
            Request::Sql { sql, .. } => {
                sqlx::query(*sql).execute(connection).await.map(|done| Done::Rows(done.rows_affected()))
            }
        };
        done.map_err(|error| StoreError::sqlite(&self.path, error))
    }

    /// Commits what went well, and takes back what did not.
    async fn end<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let done = match done {
            Ok(done) => self.execute("COMMIT").await.map(|()| {
                self.commits.fetch_add(1, Ordering::Relaxed);
                done
            }),
            Err(error) => Err(error),
        };
        if done.is_err() {
            // SQLite may have rolled back by itself, and then says so with an error.
            let _ended = self.execute("ROLLBACK").await;
        }
        done
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let done = sqlx::query(sql).execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|error| StoreError::sqlite(&self.path, error))
    }
}

impl Request {
    fn transitions(&self) -> &[Transition] {
        match self {
            Self::Commit { transitions, .. } => transitions,
            _ => &[],
        }
    }

    fn written(&self) -> Option<&Statement<'static>> {
        match self {
            Self::Write { statement, .. } => Some(statement),
            _ => None,
        }
    }

    /// Answers, unless the caller has gone.
    fn answer(self, done: Result<Done, StoreError>) {
        let rows = |done: Result<Done, StoreError>| {
            done.map(|done| match done {
                Done::Rows(rows) => rows,
                Done::State(_) | Done::Outbox(_) | Done::Consents(_) => 0,
            })
        };
        let _gone = match self {
            Self::Commit { answer, .. } | Self::Write { answer, .. } => answer.send(done.map(|_| ())).is_err(),
            Self::State { answer, .. } => answer
                .send(match done {
                    Ok(Done::State(done)) => done,
                    Ok(Done::Rows(_) | Done::Outbox(_) | Done::Consents(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                })
                .is_err(),
            Self::Outbox { answer, .. } => answer
                .send(done.map(|done| match done {
                    Done::Outbox(told) => told,
                    Done::Rows(_) | Done::State(_) | Done::Consents(_) => Told::Rows(0),
                }))
                .is_err(),
            Self::Consents { answer, .. } => answer
                .send(done.map(|done| match done {
                    Done::Consents(told) => told,
                    Done::Rows(_) | Done::State(_) | Done::Outbox(_) => consent::Told::Done,
                }))
                .is_err(),
            Self::Remove { answer, .. } => answer.send(rows(done)).is_err(),
            Self::Close { .. } => false,
            #[cfg(test)]
            Self::Sql { answer, .. } => answer.send(rows(done)).is_err(),
        };
    }
}

fn statements<'a>(transitions: impl IntoIterator<Item = &'a Transition>) -> Vec<Statement<'a>> {
    Wave::divide(transitions).iter().flat_map(apply::statements).collect()
}
