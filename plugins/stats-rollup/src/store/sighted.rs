//! Where files were seen last, and which of them are gone.

use std::collections::BTreeSet;

use upkeep_plugin::sql::Value;
use upkeep_plugin::{HostResult, parameters};

use super::{Statements, Store};
use crate::cursor::{Cursor, State};
use crate::gone::Looked;

/// The step whose pieces name the files that are told as lost. The steps of a plan have a number at the end.
const LOST: &str = "lost";

/// Files that one statement is about.
const TOGETHER: usize = 500;

impl Store {
    /// Keeps what was seen of the files of a source at the end of a run, in one transaction. Forgets those that are gone since
    /// before `old_ms`.
    pub(crate) fn sighted(
        &self,
        run: &str,
        source: &str,
        looked: &Looked,
        (now_ms, old_ms): (i64, i64),
    ) -> HostResult<()> {
        let mut statements = Statements::new();
        for same in looked.same.chunks(TOGETHER) {
            let places = vec!["?"; same.len()].join(", ");
            let ids = same.iter().map(|it| Value::from(it.as_str()));
            statements.push((
                format!("UPDATE @log_file SET updated_ms = ? WHERE source = ? AND id IN ({places})"),
                [Value::Integer(now_ms), Value::from(source)].into_iter().chain(ids).collect(),
            ));
        }
        for it in &looked.changed {
            statements.push((
                "UPDATE @log_file SET path = ?, device = ?, inode = ?, size = ?, modified_ns = ?, complete = ?, seen_by = ?,
                     updated_ms = ?
                 WHERE source = ? AND id = ?"
                    .to_owned(),
                parameters![
                    it.path.as_str(),
                    it.seen.device.cast_signed(),
                    it.seen.inode.cast_signed(),
                    it.seen.size.cast_signed(),
                    it.seen.modified_ns,
                    it.state as i64,
                    it.by.as_str(),
                    now_ms,
                    source,
                    it.id.as_str(),
                ]
                .to_vec(),
            ));
        }
        for id in &looked.lost {
            statements.push((
                "UPDATE @log_file SET complete = ? WHERE source = ? AND id = ?".to_owned(),
                parameters![State::AtRest as i64, source, id.as_str()].to_vec(),
            ));
            // When the run's end is done again after a crash, this is how it is still told.
            statements.push((
                "INSERT INTO @piece (run, step, \"key\", value) VALUES (?, ?, ?, ?)".to_owned(),
                vec![
                    Value::from(run),
                    Value::from(LOST),
                    Value::from(format!("{id}/{source}")),
                    Value::Blob(Vec::new()),
                ],
            ));
        }
        // What is there was seen just now.
        statements.push((
            "DELETE FROM @log_file WHERE source = ? AND complete <> ? AND updated_ms < ?".to_owned(),
            parameters![source, State::Open as i64, old_ms].to_vec(),
        ));
        self.commit(statements)
    }

    /// The files of a source that a run tells as lost.
    pub(crate) fn lost(&self, run: &str, source: &str) -> HostResult<Vec<Cursor>> {
        let rows = self.query("SELECT \"key\" FROM @piece WHERE run = ? AND step = ?", parameters![run, LOST])?;
        let keys: BTreeSet<String> = rows.map(|row| row?.get("key")).collect::<HostResult<_>>()?;
        let mut cursors = self.cursors(source)?;
        cursors.retain(|it| keys.contains(&format!("{}/{source}", it.id)));
        Ok(cursors)
    }
}
