//! The ledger of requests to other servers. A request is in it before it leaves, and its end is added afterwards.

use sqlx::sqlite::SqliteRow;

use super::Store;
use super::error::StoreError;
use super::read::Reader;
use super::row::{self, get};
use super::rows::{Statement, Value};
use crate::clock::Timestamp;
use crate::record::RunId;
use crate::record::egress::Egress;

/// Which requests [`Reader::egress`] lists. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressFilter {
    /// Only of this task.
    pub task: Option<String>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only those made before this one, for the next page.
    pub before: Option<String>,
}

impl Store {
    /// Writes down that a request is about to leave, or was not let out; durable on return.
    pub async fn egress(&self, request: &Egress) -> Result<(), StoreError> {
        const INSERT: &str = "\
            INSERT INTO egress (id, run, task, step, at, method, url, address, result, status, sent, received, took, reason) \
            SELECT * FROM (VALUES {rows}) WHERE EXISTS (SELECT 1 FROM runs WHERE runs.id = column2)";
        self.write(Statement::new(INSERT, [columns(request)].into_iter())).await
    }

    /// Writes down how it ended.
    pub async fn egress_ended(&self, request: &Egress) -> Result<(), StoreError> {
        const UPDATE: &str = "\
            UPDATE egress SET address = v.column8, result = v.column9, status = v.column10, sent = v.column11, \
                              received = v.column12, took = v.column13, reason = v.column14 \
            FROM (VALUES {rows}) v WHERE egress.id = v.column1";
        self.write(Statement::new(UPDATE, [columns(request)].into_iter())).await
    }
}

fn columns(request: &Egress) -> [Value<'static>; 14] {
    let Egress { id, run, task, step, at, method, url, address, result, status, sent, received, took_ms, reason } =
        request.clone();
    [
        id.into(),
        run.to_string().into(),
        task.into(),
        step.into(),
        at.into(),
        method.into(),
        url.into(),
        address.into(),
        Value::name(&result),
        status.map(u32::from).into(),
        sent.into(),
        received.into(),
        took_ms.into(),
        reason.into(),
    ]
}

impl Reader {
    /// Requests to other servers, newest first.
    pub async fn egress(&self, filter: &EgressFilter, limit: u32) -> Result<Vec<Egress>, StoreError> {
        let query = sqlx::query(
            "SELECT id, run, task, step, at, method, url, address, result, status, sent, received, took, reason \
             FROM egress WHERE (?1 IS NULL OR task = ?1) AND (?2 IS NULL OR run = ?2) AND (?3 IS NULL OR id < ?3) \
             ORDER BY id DESC LIMIT ?4",
        );
        let run = filter.run.as_ref().map(|run| &*run.0);
        self.all(query.bind(filter.task.as_deref()).bind(run).bind(filter.before.as_deref()).bind(limit), read).await
    }
}

fn read(row: &SqliteRow) -> Result<Egress, StoreError> {
    let unsigned = |column| get(row, column).map(row::unsigned);
    Ok(Egress {
        id: get(row, "id")?,
        run: row::read_id(row, "run")?,
        task: get(row, "task")?,
        step: get(row, "step")?,
        at: Timestamp(get(row, "at")?),
        method: get(row, "method")?,
        url: get(row, "url")?,
        address: get(row, "address")?,
        result: row::name(get(row, "result")?)?,
        status: get(row, "status")?,
        sent: unsigned("sent")?,
        received: unsigned("received")?,
        took_ms: get::<Option<i64>>(row, "took")?.map(row::unsigned),
        reason: get(row, "reason")?,
    })
}
