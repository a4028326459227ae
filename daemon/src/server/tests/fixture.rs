//! A server on a socket of its own, a journal, and a loop that answers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::clock::Timestamp;
use crate::command::{
    Acknowledged, AlertStatus, Command, CommandError, NextSlot, NextTelling, OpenAlerts, Reloaded, Running, Status,
    TaskStatus, Tested, WrittenDigest,
};
use crate::event::Events;
use crate::findings::identifier;
use crate::outcome::Outcome;
use crate::record::alert::{Acknowledgement, Alert};
use crate::record::consent::{ConsentEvent, ConsentNews};
use crate::record::egress::{Egress, EgressResult};
use crate::record::finding::{FindingState, Life};
use crate::record::outbox::{EnqueueOutcome, Enqueued, MessageLevel};
use crate::record::{
    Finding, Level, LogRecord, Metric, MetricValue, Phase, Report, Run, RunId, Severity, Slot, SlotDecision, Step,
    StepPhase, Trigger,
};
use crate::removal;
use crate::removal::aside::Aside;
use crate::removal::carry_out::{Means, carry_out};
use crate::removal::document::{self, Origin, PlannedStep};
use crate::removal::plan::{Action, Item, Kind, Plan, Writer};
use crate::removal::protect::Protected;
use crate::root::{Root, modified_ns};
use crate::server::{ServerState, Socket, serve};
use crate::stats::Keeping;
use crate::stats::keeper::{Keeper, view};
use crate::store::{Hold, Resend, Store, Transition};

/// 2026-11-23 03:30:00 UTC, when the first run of the story was due.
pub(super) const DUE: i64 = 1_795_404_600_000;

pub(super) struct Fixture {
    pub(super) socket: PathBuf,
    pub(super) client: Client,
    pub(super) store: Store,
    pub(super) events: Events,
    heard: Arc<Mutex<Vec<String>>>,
    shutdown: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
    the_loop: JoinHandle<()>,
    dir: tempfile::TempDir,
}

/// The identifier of the `n`th run of the story; each is of another millisecond.
pub(super) fn run_id(n: u8) -> RunId {
    RunId(format!("01KARX{n:04}6Z7QW3M5T8V2B4C9").into())
}

/// The identifier of the `n`th message of the story.
pub(super) fn message_id(n: u8) -> String {
    format!("01KARY{n:04}2D5H8J4K6N9P3Q7R")
}

/// One message that is dead after its two channels refused it, and one that waits; the channel `wecom` is paused. 2026-11-23
/// 03:30 UTC is when all of it was; the times to come are far away, so that they do not pass.
const MESSAGES: &str = "\
    INSERT INTO outbox_message (id, origin, key, channels, position, channel, priority, content, state, created, due, attempts, \
                                ended, reason) \
    VALUES ('01KARY00012D5H8J4K6N9P3Q7R', 'backup-app', 'backup-2026-11-23', '[\"wecom\",\"mail\"]', 1, 'mail', 1, \
            '{\"title\":\"1 file could not be read\",\"level\":\"warn\",\"group\":\"backup\"}', 'dead', 1795404602000, \
            1795404602000, 2, 1795404603000, '550 5.1.1 no such mailbox'); \
    INSERT INTO outbox_message (id, origin, channels, position, channel, priority, content, state, created, not_before, due) \
    VALUES ('01KARY00022D5H8J4K6N9P3Q7R', 'api', '[\"wecom\"]', 0, 'wecom', 2, '{\"text\":\"good morning\",\"level\":\"info\"}', \
            'waiting', 1795404602500, 4102444800000, 4102444800000); \
    INSERT INTO outbox_attempt (message, attempt, at, channel, outcome, code, reason, took) \
    SELECT number, 1, 1795404602100, 'wecom', 'refused', '93000', 'invalid webhook url', 84 \
    FROM outbox_message WHERE key = 'backup-2026-11-23'; \
    INSERT INTO outbox_attempt (message, attempt, at, channel, outcome, code, reason, took) \
    SELECT number, 2, 1795404602600, 'mail', 'refused', '550', '550 5.1.1 no such mailbox', 400 \
    FROM outbox_message WHERE key = 'backup-2026-11-23'; \
    INSERT INTO outbox_channel (name, paused_until, reason) \
    VALUES ('wecom', 4102444800000, 'api freq out of limit')";

pub(super) fn run(n: u8) -> Run {
    Run::queued(run_id(n), "backup-app", Trigger::Schedule, Timestamp(DUE), Timestamp(DUE + 3))
}

fn step(ordinal: u32, title: &str, weight: u64) -> Step {
    let first = ordinal == 0;
    Step {
        ordinal,
        id: format!("step-{ordinal}"),
        title: title.into(),
        weight,
        input: "{}".into(),
        phase: if first { StepPhase::Running } else { StepPhase::Pending },
        started: first.then_some(Timestamp(DUE + 30)),
        ended: None,
        output: None,
        error: None,
    }
}

impl Fixture {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("upkeep.sock");
        let store = Store::open_dir(&dir.path().join("state")).await.unwrap();
        let events = Events::default();
        let (commands, questions) = mpsc::channel(16);
        let heard = Arc::default();
        let the_loop = tokio::spawn(answer(questions, Arc::clone(&heard), store.clone()));
        let state_dir = dir.path().join("state");
        let state = ServerState::new(commands, store.read().clone(), events.clone(), state_dir.into());
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(Socket::bind(&socket, None).unwrap(), state, shutdown.clone()));
        let client = Client::new(&socket);
        Self { socket, client, store, events, heard, shutdown, server, the_loop, dir }
    }

    /// What reached the loop and changes something.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.server.await.unwrap().unwrap();
    }

    /// The loop goes away, the server stays.
    pub(super) async fn stop_loop(&self) {
        self.the_loop.abort();
        while !self.the_loop.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// A run that waits.
    pub(super) async fn queue(&self, n: u8) {
        self.store.commit(vec![Transition::Queue(vec![run(n)])]).await.unwrap();
    }

    /// A run that executes the first of two steps.
    pub(super) async fn begin(&self, n: u8) {
        self.queue(n).await;
        let (run, at, fingerprint) = (run_id(n), Timestamp(DUE + 10), "5e884898da28".to_owned());
        let steps = vec![step(0, "back up the database", 10), step(1, "back up uploads", 20)];
        let begin = vec![Transition::Start { run: run.clone(), at, fingerprint }, Transition::Plan { run, steps }];
        self.store.commit(begin).await.unwrap();
    }

    /// One run that is over, one that waits, and two slots.
    pub(super) async fn story(&self) {
        self.begin(1).await;
        let run = || run_id(1);
        let log = |step, level, message: &str, fields| LogRecord {
            run: run(),
            at: Timestamp(DUE + 40),
            step,
            level,
            message: message.into(),
            fields,
        };
        let path = vec![("path".to_owned(), "uploads/a.jpg".to_owned())];
        let logs = vec![log(None, Level::Info, "2 steps", vec![]), log(Some(1), Level::Warn, "cannot read", path)];
        let at = Timestamp(DUE + 2_000);
        let done = |ordinal, next| Transition::FinishStep { run: run(), ordinal, at, result: Ok("{}".into()), next };
        let report = Report { summary: "2 files, 3 new".into(), findings: vec![finding()], ..Report::default() };
        let metrics = vec![Metric { name: "files".into(), labels: vec![], value: MetricValue::Counter(2.0) }];
        let outcome = Outcome::Succeeded;
        let slot = |due, decision, reason: &str, run| Slot {
            task: "backup-app".into(),
            due: Timestamp(due),
            decision,
            reason: reason.into(),
            run,
        };
        let before = slot(DUE - 86_400_000, SlotDecision::Missed, "the daemon was down", None);
        let slots = vec![before, slot(DUE, SlotDecision::Ran, "cron 30 3 * * *", Some(run()))];
        self.store
            .commit(vec![
                Transition::Log(logs),
                done(0, Some(1)),
                done(1, None),
                Transition::Finish { run: run(), at, outcome, report: Some(report), metrics },
                Transition::Decide(slots),
                Transition::Lives(vec![life()]),
            ])
            .await
            .unwrap();
        self.queue(2).await;
        assert!(self.store.hold(&hold()).await.unwrap());
        self.store.egress(&request()).await.unwrap();
        self.store.consent_news("wxba5fad812f8e6fb9", vec![news()], Timestamp(DUE + 3_000)).await.unwrap();
        for sql in MESSAGES.split("; ") {
            self.store.sql(sql).await.unwrap();
        }
        self.removed();
        self.counted();
    }

    /// The task `web` has counted a few lines.
    fn counted(&self) {
        let file = self.dir.path().join("state/private/web.sqlite");
        let mut keeper = Keeper::new(&file, "shop", "Asia/Shanghai");
        let days = [0, 0, 0, 1, 1].into_iter().zip(["/", "/cart", "/", "/", "/"]).zip([1, 1, 2, 1, 3]);
        keeper.count(
            days.zip(0..)
                .map(|(((day, page), visitor), at)| view(DUE / 1_000 + (day - 1) * 86_400 + at * 60, visitor, page)),
        );
        keeper.lines(5, 0, 1);
        let mut keeper = Keeper::new(&file, "shop-events", "Asia/Shanghai");
        let event = |day: i64, user: u64, name| (DUE / 1_000 + day * 86_400 + user.cast_signed(), user, name);
        let (view, cart, pay) = ("view_item", "add_to_cart", "pay");
        let first = [(1, view), (2, view), (3, view), (2, cart), (3, cart), (3, pay)];
        let later = [event(-2, 1, view), event(-2, 4, view), event(0, 2, view)];
        let all: Vec<_> = first.iter().map(|it| event(-3, it.0, it.1)).chain(later).collect();
        keeper.count_events(&all, Some(("order", &[view, cart, pay])));
        keeper.lines(9, 0, 0);
    }

    /// The first run has planned to remove a file of `uploads`, and moved one aside.
    fn removed(&self) {
        let folder = removal::folder(&self.dir.path().join("state")).join(&*run_id(1).0);
        let item = |path: &str, stat: Option<rustix::fs::Stat>| Item {
            path: path.into(),
            kind: Kind::File,
            action: Action::Remove,
            size: 4,
            modified_ns: stat.map_or(1_787_000_000_000_000_000, |stat| modified_ns(&stat)),
            device: stat.map_or(65_024, |stat| stat.st_dev),
            inode: stat.map_or(1_204, |stat| stat.st_ino),
            unless_linked: None,
            rule: "uploads that broke off".into(),
            reason: "97 days old".into(),
        };
        let root = self.dir.path().join("uploads");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("a.part"), "part").unwrap();
        let root = Root::open(&root).unwrap();
        let stat = root.stat(Path::new("a.part")).unwrap();
        let planned = |item: Item, path: &Path| {
            let mut writer = Writer::new(&folder, "uploads", path).unwrap();
            writer.add(&item).unwrap();
            writer.finish().unwrap();
            Plan::open(&folder, "uploads").unwrap().unwrap()
        };
        let plan = planned(item("a.part", Some(stat)), root.path());
        let protected = Protected::new(root.path(), [], &[]).unwrap();
        let aside = Some(Aside::open(&root, &folder, "uploads", Timestamp(i64::MAX)).unwrap());
        let cancel = CancellationToken::new();
        let means = Means { root: &root, protected: &protected, aside, cancel: &cancel, tell: &|| {} };
        assert_eq!(carry_out(&plan, means).unwrap().removed.items, 1);
        // What is shown must be the same on each machine.
        planned(item("tmp/a.part", None), Path::new("/srv/app/uploads"));
        let origin = Origin {
            upkeep_plan: document::FORMAT,
            task: "cleanup".into(),
            host: "web-1".into(),
            run: run_id(1).to_string(),
            made: Timestamp(DUE + 40),
            fingerprint: "5e884898da28".into(),
            steps: vec![PlannedStep {
                id: "uploads".into(),
                title: "uploads: remove 1 file, 4 B".into(),
                weight: 1,
                input: "{}".into(),
            }],
        };
        document::keep(&origin, &folder).unwrap();
    }
}

async fn answer(mut questions: mpsc::Receiver<Command>, heard: Arc<Mutex<Vec<String>>>, store: Store) {
    let hear = |text: String| heard.lock().unwrap().push(text);
    while let Some(command) = questions.recv().await {
        match command {
            Command::Status(reply) => drop(reply.send(status())),
            Command::List(reply) => drop(reply.send(vec![task("cleanup"), task("backup-app"), task("web")])),
            Command::Figures(reply) => {
                let names = ["backup-app", "cleanup", "web"];
                drop(reply.send(names.map(|it| Keeping::private(it, chrono_tz::Asia::Shanghai)).to_vec()));
            }
            Command::Run { task, reply, .. } if task != "backup-app" => {
                drop(reply.send(Err(CommandError::NoTask { task })));
            }
            Command::Run { task, dry_run, plan, by, reply } => {
                let given = if plan.is_some() { " with a plan" } else { "" };
                hear(format!("run {task} dry_run={dry_run} by={by}{given}"));
                drop(reply.send(Ok(run_id(9))));
            }
            Command::Cancel { run, by, reply } => {
                hear(format!("cancel {run} by={by}"));
                drop(reply.send(Ok(())));
            }
            Command::Release { task, url, by, reply } => {
                hear(format!("release {task} {url:?} by={by}"));
                drop(reply.send(Ok(if task == "backup-app" { vec![hold()] } else { vec![] })));
            }
            Command::Ignore { entry, reply } => {
                hear(format!("ignore {} until={} by={}", entry.id, entry.until, entry.by));
                drop(reply.send(Ok(())));
            }
            Command::Heed { id, by, reply } => {
                hear(format!("heed {id} by={by}"));
                drop(reply.send(Ok(true)));
            }
            Command::Enqueue { origin, message, by, reply } => {
                let (key, channels) = (message.key.clone().unwrap_or_default(), message.channels.join(","));
                hear(format!("enqueue {channels} {} key={key} origin={origin} by={by}", message.content.title));
                let known = store.outbox_enqueue("story", vec![*message], Timestamp(DUE)).await.unwrap().remove(0);
                let id = if known.outcome == EnqueueOutcome::New { message_id(9) } else { known.id };
                drop(reply.send(Ok(Enqueued { id, ..known })));
            }
            Command::Resend { which, by, reply } => {
                hear(format!("resend {which:?} by={by}"));
                drop(reply.send(Ok(u64::from(which != Resend::One(message_id(2))))));
            }
            Command::ResumeChannel { channel, by, reply } => {
                hear(format!("resume {channel} by={by}"));
                drop(reply.send(Ok(channel == "wecom")));
            }
            Command::DropMessage { id, by, reply } => {
                hear(format!("drop {id} by={by}"));
                drop(reply.send(Ok(id == message_id(1))));
            }
            Command::Alerts(reply) => {
                let next = Some(NextTelling { at: Timestamp(4_102_444_800_000), what: "reminded".into() });
                let alerts = vec![AlertStatus { alert: alert(), next }];
                drop(reply.send(OpenAlerts { told: true, journal_error: None, silenced: None, alerts }));
            }
            Command::Acknowledge { key: Some(key), reply, .. } if key != "task/backup-app" => {
                drop(reply.send(Err(CommandError::NoAlert { key, keys: Vec::new() })));
            }
            Command::Acknowledge { key, acknowledgement, reply } => {
                let Acknowledgement { by, note, .. } = acknowledgement;
                hear(format!("acknowledge {key:?} note={note:?} by={by}"));
                drop(reply.send(Ok(Acknowledged { alerts: vec![alert()] })));
            }
            Command::TestAlert { by, reply } => {
                hear(format!("test alerts by={by}"));
                let channels = vec!["wecom".to_owned(), "mail".to_owned()];
                drop(reply.send(Ok(vec![Tested { message: message_id(9), channels }])));
            }
            Command::Digest { reply, .. } => {
                let (from, to) = (Timestamp(DUE), Timestamp(DUE + 86_400_000));
                let text = "**All is well** on web-1, 2026-11-24 03:30 (UTC), for 1d\n\n**Runs** 24 succeeded".into();
                drop(reply.send(Ok(WrittenDigest { from, to, verdict: "All is well".into(), text })));
            }
            Command::Consents { account, news, reply } => {
                drop(reply.send(Ok(store.consent_news(&account, news, Timestamp(DUE)).await.unwrap())));
            }
            Command::Reload(reply) => {
                let changed = vec!["backup-app".to_owned()];
                drop(reply.send(Ok(Reloaded { changed, ..Reloaded::default() })));
            }
        }
    }
}

fn alert() -> Alert {
    let (opened, told) = (Timestamp(DUE + 2_000), Timestamp(DUE + 32_000));
    Alert {
        key: "task/backup-app".into(),
        level: MessageLevel::Error,
        title: "Task backup-app failed".into(),
        detail: format!("failed: no space left on device (run {})", run_id(1)),
        channels: Vec::new(),
        opened,
        closed: None,
        told: Some(told),
        tellings: 1,
        times: 1,
        flapping: false,
        right_since: None,
        acknowledged: None,
        presses: true,
        remind_at: Some(Timestamp(4_102_444_800_000)),
        reminders: 0,
        escalated: 0,
        escalated_at: Some(told),
        over_untold: false,
        openings: vec![opened],
    }
}

fn hold() -> Hold {
    Hold {
        repository: "5f3c".repeat(16),
        task: "backup-app".into(),
        url: "/srv/backup/main".into(),
        reason: "uploads: 812 of 1,000 files were removed".into(),
        since: Timestamp(DUE + 1_500),
    }
}

fn news() -> ConsentNews {
    ConsentNews {
        id: "8a1f".into(),
        template: "paid-7QfGbKn0".into(),
        user: "o9AgO5Kd5ggOC-bXrbNODIiE3bGY".into(),
        event: ConsentEvent::Accepted,
        long_term: false,
        delivery: None,
    }
}

fn finding() -> Finding {
    Finding {
        id: identifier("backup-app", "unreadable"),
        state: Some(FindingState::New),
        ..Finding::new("unreadable", Severity::Low, "1 file could not be read", "")
    }
}

fn life() -> Life {
    let at = Timestamp(DUE + 2_000);
    let (task, finding, run) = ("backup-app".into(), finding(), run_id(1));
    Life { task, finding, first_seen: at, last_seen: at, changed: at, run }
}

fn request() -> Egress {
    Egress {
        id: "01KAV2E1TA0000000000000001".into(),
        run: run_id(1),
        task: "backup-app".into(),
        step: Some(0),
        at: Timestamp(DUE + 1_200),
        method: "GET".into(),
        url: "https://osv.example/npm/all.zip".into(),
        address: Some("198.51.100.7:443".into()),
        result: EgressResult::Answered,
        status: Some(200),
        sent: 0,
        received: 5_312_044,
        took_ms: Some(4_210),
        reason: None,
    }
}

fn status() -> Status {
    let running = Run { started: Some(Timestamp(DUE + 10)), phase: Phase::Executing, ..run(3) };
    Status {
        version: "0.1.0".into(),
        pid: 4242,
        since: Timestamp(DUE - 90_000_000),
        config_dir: "/etc/upkeep".into(),
        config_loaded: Timestamp(DUE - 90_000_000),
        config_error: None,
        journal_error: None,
        tasks: 3,
        disabled: 0,
        next: Some(NextSlot { task: "cleanup".into(), due: Timestamp(DUE + 900_000) }),
        running: vec![Running { run: running, steps_done: 1, steps: 2 }],
        queued: vec![],
        queue_length: 0,
        failing: vec![],
    }
}

fn task(name: &str) -> TaskStatus {
    TaskStatus {
        name: name.into(),
        description: format!("The {name} of the app"),
        plugin: if name == "web" { "stats-rollup" } else { name.split('-').next().unwrap_or(name) }.into(),
        enabled: true,
        delivers: false,
        schedule: "cron 30 3 * * *".into(),
        timezone: "Asia/Shanghai".into(),
        next: Some(Timestamp(DUE + 86_400_000)),
        last: None,
    }
}
