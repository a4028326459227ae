//! An in-memory host for tests on the author's machine (`cargo test`, no sandbox, no daemon).
//!
//! Log, state, metrics, the files of a journal, the outbox, consents and tables with old rows are kept in memory; a root is a folder of the author's
//! choice, and the facts of the server are what the test says. With the feature `sqlite`, the database `private` is one of SQLite
//! in memory. Other databases and repositories need the real host: here they answer [`HostError::Unavailable`]. It checks grants of roots but is no sandbox: do not point it at files that a test must not touch.
//!
//! ```
//! use upkeep_plugin::{Context, Result, function, info, state, test::Host};
//!
//! fn count(_: &Context) -> Result<String> {
//!     let n = state::update("runs", |it: Option<u64>| it.unwrap_or(0) + 1)?;
//!     info!(runs = n, "counted");
//!     Ok(format!("run {n}"))
//! }
//!
//! # fn main() -> Result<()> {
//! let host = Host::new();
//! host.run(function(count), "{}")?;
//! assert_eq!(host.run(function(count), "{}")?.summary, "run 2");
//! assert_eq!(host.log()[1].to_string(), "info: counted runs=2");
//! # Ok(())
//! # }
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::bindings::exports::upkeep::plugin::task as wit;
use crate::journal::JournalFile;
use crate::log::Level;
use crate::sql::Value;
use crate::{Context, Entry, Error, HostError, HostResult, Report, Result};

pub(crate) mod absent;
pub(crate) mod clock;
pub(crate) mod consents;
pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod outbox;
pub(crate) mod purge;
pub(crate) mod removal;
pub(crate) mod secrets;
pub(crate) mod smtp;
#[cfg(feature = "sqlite")]
pub(crate) mod sql;
pub(crate) mod state;
pub(crate) mod system;
#[cfg(not(feature = "sqlite"))]
pub(crate) use absent::sql;
pub(crate) use absent::{drill, dump, repository};
pub use outbox::Entry as OutboxEntry;
pub use system::Facts;

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// What the host of this thread knows. One per thread, as the tests of a crate run in threads.
#[derive(Default)]
struct World {
    roots: HashMap<String, PathBuf>,
    state: BTreeMap<String, state::Slot>,
    log: Vec<Record>,
    metrics: Vec<Sample>,
    plans: BTreeMap<String, Vec<crate::removal::Candidate>>,
    blocks: Vec<crate::removal::Block>,
    journal: Option<Vec<JournalFile>>,
    outbox: Option<outbox::Outbox>,
    consents: Option<consents::Consents>,
    http: Option<http::Answerer>,
    secrets: BTreeMap<String, String>,
    /// How often may be signed yet; none: as often as asked.
    signatures: Option<u32>,
    /// Who answers mails, by the name of the server.
    smtp: BTreeMap<String, smtp::Postman>,
    /// Those that were taken.
    mails: Vec<crate::smtp::Mail>,
    facts: Facts,
    /// The database `private`.
    #[cfg(feature = "sqlite")]
    private: Option<std::rc::Rc<rusqlite::Connection>>,
    /// By database and table.
    tables: BTreeMap<(String, String), purge::Table>,
    /// That of the task which ran last, in milliseconds since 1970.
    now: i64,
}

fn with<R>(act: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(act)
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub message: String,
    /// Key and value.
    pub fields: Vec<(String, String)>,
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", format!("{:?}", self.level).trim_start_matches("Level::").to_lowercase(), self.message)?;
        self.fields.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// One number that the task gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// `count`, `gauge` or `observe`.
    pub kind: &'static str,
    /// The name of the metric.
    pub name: String,
    /// Key and value.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
}

/// The host of this thread.
#[derive(Debug)]
pub struct Host(());

impl Host {
    /// An empty host: no roots, no state. It replaces the one that this thread had.
    #[expect(clippy::new_without_default, reason = "it acts on the thread: a default would hide that")]
    pub fn new() -> Self {
        with(|world| *world = World::default());
        Self(())
    }

    /// Grants the folder `path` as the root `name`, with all rights.
    #[must_use]
    pub fn root(self, name: &str, path: impl Into<PathBuf>) -> Self {
        with(|world| world.roots.insert(name.to_owned(), path.into()));
        self
    }

    /// Grants the journal of systemd, with these files. A vacuum goes by the time at which they were last written to.
    #[must_use]
    pub fn journal(self, files: impl IntoIterator<Item = JournalFile>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_by_key(|it| it.modified_ms);
        with(|world| world.journal = Some(files));
        self
    }

    /// Grants the outbox, empty, with all rights. Its time is that of the context.
    #[must_use]
    pub fn outbox(self) -> Self {
        with(|world| world.outbox = Some(outbox::Outbox::default()));
        self
    }

    /// Grants the outbox, empty, with all rights; it takes so many messages and no more.
    #[must_use]
    pub fn outbox_of(self, most: u32) -> Self {
        with(|world| world.outbox = Some(outbox::Outbox::of(most)));
        self
    }

    /// Grants the consents of an account, and says how many messages of a template a user accepts; `u32::MAX` for a consent that is not
    /// used up. Of other templates of the account nothing is known.
    #[must_use]
    pub fn consents(self, account: &str, template: &str, user: &str, remaining: u32) -> Self {
        with(|world| world.consents.get_or_insert_default().set(account, template, user, remaining));
        self
    }

    /// The messages in the outbox, in the order in which they were enqueued.
    pub fn messages(&self) -> Vec<OutboxEntry> {
        outbox::entries()
    }

    /// Grants facts about the server. It replaces those given before.
    ///
    /// ```
    /// use upkeep_plugin::system::{self, Load};
    /// use upkeep_plugin::test::{Facts, Host};
    ///
    /// # fn main() -> upkeep_plugin::Result<()> {
    /// let load = Load { cpus: 2, one: 7.5, five: 2.0, fifteen: 1.0 };
    /// let _host = Host::new().system(Facts { load: Some(load), ..Facts::default() });
    /// assert_eq!(system::load()?.cpus, 2);
    /// assert!(system::memory().is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn system(self, facts: Facts) -> Self {
        with(|world| world.facts = facts);
        self
    }

    /// Lets requests to all addresses out, and answers them with this function.
    #[must_use]
    pub fn http(
        self,
        answerer: impl FnMut(&crate::http::Request) -> HostResult<crate::http::Response> + 'static,
    ) -> Self {
        with(|world| world.http = Some(Box::new(answerer)));
        self
    }

    /// Grants the secret `name`, to be filled into requests (whose answerer sees the placeholder, as the plugin does) and to be
    /// signed with: there its value counts.
    #[must_use]
    pub fn secret(self, name: &str, value: &str) -> Self {
        with(|world| world.secrets.insert(name.to_owned(), value.to_owned()));
        self
    }

    /// As many signatures as a run may have, and no more.
    #[must_use]
    pub fn most_signed(self, most: u32) -> Self {
        with(|world| world.signatures = Some(most));
        self
    }

    /// Grants the mail server `name`, for all senders and recipients, and answers mails with this function.
    #[must_use]
    pub fn smtp(
        self,
        name: &str,
        postman: impl FnMut(&crate::smtp::Mail) -> HostResult<crate::smtp::Answer> + 'static,
    ) -> Self {
        with(|world| world.smtp.insert(name.to_owned(), Box::new(postman)));
        self
    }

    /// The mails that a server has accepted, in the order in which they were sent.
    pub fn mails(&self) -> Vec<crate::smtp::Mail> {
        with(|world| world.mails.clone())
    }

    /// Grants a table whose old rows may go. A row is made of columns with their values; times are in milliseconds since
    /// 1970, whatever the selection says of them.
    ///
    /// ```
    /// use upkeep_plugin::purge::{self, Options, Outcome, Selection};
    /// use upkeep_plugin::test::Host;
    ///
    /// # fn main() -> upkeep_plugin::Result<()> {
    /// let rows = [10, 20, 30].map(|time| [("seen_at", time.into()), ("user", "mai".into())]);
    /// let host = Host::new().table("app", "sessions", rows);
    /// let Outcome::Done(done) =
    ///     purge::carry_out(&Selection::new("app", "sessions", "seen_at", 25), &Options::default(), None, &[])?
    /// else {
    ///     panic!("blocked")
    /// };
    /// assert_eq!((done.removed, host.rows("app", "sessions").len()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn table<'a, R>(self, database: &str, table: &str, rows: impl IntoIterator<Item = R>) -> Self
    where
        R: IntoIterator<Item = (&'a str, Value)>,
    {
        let row = |row: R| row.into_iter().map(|(column, value)| (column.to_owned(), value)).collect();
        let rows = purge::Table::new(rows.into_iter().map(row).collect());
        with(|world| world.tables.insert((database.to_owned(), table.to_owned()), rows));
        self
    }

    /// The rows that a table has now; none when there is no such table.
    pub fn rows(&self, database: &str, table: &str) -> Vec<BTreeMap<String, Value>> {
        let key = (database.to_owned(), table.to_owned());
        with(|world| world.tables.get(&key).map(|it| it.rows().to_vec()).unwrap_or_default())
    }

    /// Lets nothing be removed, as when the plan is above a ceiling.
    #[must_use]
    pub fn block(self, block: crate::removal::Block) -> Self {
        with(|world| world.blocks.push(block));
        self
    }

    /// What was proposed for removal from the root `name` so far.
    pub fn proposed(&self, name: &str) -> Vec<crate::removal::Candidate> {
        with(|world| world.plans.get(name).cloned().unwrap_or_default())
    }

    /// The context that the task gets: a task and host named `test`, at the Unix epoch, in UTC.
    pub fn context(&self) -> Context {
        Context {
            run: "00000000000000000000000000".to_owned(),
            task: "test".to_owned(),
            host: "test".to_owned(),
            timezone: "UTC".to_owned(),
            due: 0,
            now: 0,
            attempt: 1,
            dry_run: false,
        }
    }

    /// Runs a task as upkeep does: plan, each step, finish.
    ///
    /// # Errors
    /// What planning or the summing up failed with; else what the first step that failed, failed with.
    pub fn run(&self, task: impl Entry, config: &str) -> Result<Report> {
        self.run_in(&self.context(), task, config)
    }

    /// Runs a task with a context of the test's choice.
    ///
    /// # Errors
    /// As for [`Host::run`].
    pub fn run_in(&self, ctx: &Context, task: impl Entry, config: &str) -> Result<Report> {
        with(|world| world.now = ctx.now);
        let mut failure: Option<Error> = None;
        let mut outcomes = Vec::new();
        for step in task.plan(ctx, config)? {
            let output = task.execute(ctx, config, step.clone()).map_err(|error| {
                let message = error.to_string();
                failure.get_or_insert(error);
                message
            });
            outcomes.push(wit::Outcome { step, output });
        }
        let report = task.finish(ctx, config, outcomes)?;
        failure.map_or(Ok(report), Err)
    }

    /// What was logged so far.
    pub fn log(&self) -> Vec<Record> {
        with(|world| world.log.clone())
    }

    /// The numbers given so far.
    pub fn metrics(&self) -> Vec<Sample> {
        with(|world| world.metrics.clone())
    }
}

fn denied(what: &str, name: &str) -> HostError {
    HostError::Denied(format!("the test host has no {what} `{name}`: give it one with `Host::new().{what}(...)`"))
}
