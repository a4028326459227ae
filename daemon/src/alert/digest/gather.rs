//! Finds out what a digest tells. What cannot be found out is told as such, and holds up nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;

use super::{BackupDone, BackupFacts, DiskFacts, Facts, FindingFacts, Kept, MessageFacts, TaskFacts, TrafficFacts};
use crate::capability::system;
use crate::clock::Timestamp;
use crate::outcome::Outcome;
use crate::record::alert::Alert;
use crate::record::finding::{FindingState, Life};
use crate::record::outbox::MessageState;
use crate::record::{Metric, MetricValue, Run, Severity};
use crate::stats::{self, Figures, Keeping, Level, Question};
use crate::store::{Reader, StoreError};

/// How long the time before is that says what is usual.
const USUAL_MS: i64 = 14 * DAY_MS;

/// How far back growth is measured, and how little time says nothing.
const GROWTH_MS: (i64, i64) = (7 * DAY_MS, DAY_MS / 2);

const DAY_MS: i64 = 24 * 3600 * 1000;

/// What smaller disks hold is not looked at: they are made for something else.
const SMALLEST_DISK: u64 = 256 << 20;

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Name of the machine.
    pub host: String,
    /// The zone in which times are told.
    pub zone: Tz,
    /// What happened from then on.
    pub from: Timestamp,
    /// Until now.
    pub to: Timestamp,
    /// All tasks.
    pub tasks: Vec<String>,
    /// Those that may use a backup repository.
    pub with_repository: Vec<String>,
    /// Where tasks keep figures.
    pub figures: Vec<Keeping>,
    /// The state directory.
    pub state_dir: Arc<Path>,
    /// Why nothing can be recorded at this time.
    pub journal_error: Option<String>,
}

/// Finds it out. Also gives what later digests compare with.
pub async fn gather(journal: &Reader, asked: Asked) -> (Facts, Kept) {
    let Asked { host, zone, from, to, journal_error, .. } = asked.clone();
    let mut unknown = Vec::new();
    let mut noted = |what: &str, error: &dyn std::fmt::Display| unknown.push(format!("{what}: {error}"));
    let (tasks, missed) = or_default(runs(journal, &asked).await, "runs", &mut noted);
    let backups = or_default(backups(journal, &asked).await, "backups", &mut noted);
    let findings = or_default(findings(journal, &asked).await, "findings", &mut noted);
    let messages = or_default(messages(journal, &asked).await, "messages", &mut noted);
    let alerts = or_default(alerts(journal).await, "alerts", &mut noted);
    let (kept, disks) = or_default(disks(journal, to, &asked.state_dir).await, "disks", &mut noted);
    let reading = tokio::task::spawn_blocking(move || traffic(&asked)).await;
    let (traffic, errors) = reading.unwrap_or_default();
    errors.iter().for_each(|error| noted("traffic", error));
    let facts = Facts {
        host,
        zone,
        from,
        to,
        tasks,
        missed,
        backups,
        disks,
        findings,
        traffic,
        messages,
        alerts,
        journal_error,
        unknown,
    };
    (facts, kept)
}

fn or_default<T: Default>(
    found: Result<T, StoreError>,
    what: &str,
    noted: &mut impl FnMut(&str, &dyn std::fmt::Display),
) -> T {
    found.unwrap_or_else(|error| {
        noted(what, &error);
        T::default()
    })
}

type Runs = (Vec<TaskFacts>, Vec<(String, u64)>);

async fn runs(journal: &Reader, asked: &Asked) -> Result<Runs, StoreError> {
    let now = journal.runs_between(asked.from, asked.to).await?;
    let mut usual = journal.runs_between(Timestamp(asked.from.0.saturating_sub(USUAL_MS)), asked.from).await?;
    let names: Vec<&str> = asked.tasks.iter().map(String::as_str).collect();
    let ends = journal.last_ends(&names).await?;
    let failing = ends.into_iter().filter_map(|(run, _)| {
        let run: Run = run?;
        let outcome = run.outcome.filter(|outcome| *outcome != Outcome::Succeeded)?;
        Some((run.task, outcome.to_string()))
    });
    let mut failing: BTreeMap<String, String> = failing.collect();
    let tasks = now.into_iter().map(|(task, runs)| TaskFacts {
        outcomes: runs.outcomes,
        took_ms: runs.took_ms,
        usual_ms: usual.remove(&task).and_then(|it| it.took_ms),
        failing: failing.remove(&task),
        task,
    });
    let mut tasks: Vec<TaskFacts> = tasks.collect();
    // Those that failed before and have not come since.
    tasks.extend(failing.into_iter().map(|(task, why)| TaskFacts { task, failing: Some(why), ..TaskFacts::default() }));
    tasks.sort_by(|a, b| a.task.cmp(&b.task));
    Ok((tasks, journal.missed_between(asked.from, asked.to).await?))
}

async fn backups(journal: &Reader, asked: &Asked) -> Result<Vec<BackupFacts>, StoreError> {
    let mut backups = Vec::new();
    for task in &asked.with_repository {
        let Some(run) = journal.last_success(task).await? else {
            backups.push(BackupFacts { task: task.clone(), at: asked.to, done: BackupDone::Never });
            continue;
        };
        let metrics = journal.metrics(&run.id).await?;
        if let (Some(at), Some(done)) = (run.ended, done(&metrics)) {
            backups.push(BackupFacts { task: task.clone(), at, done });
        }
    }
    Ok(backups)
}

/// What a run did with a repository, as its metrics tell.
fn done(metrics: &[Metric]) -> Option<BackupDone> {
    let sum = |name: &str| {
        let values = metrics.iter().filter(|metric| metric.name == name).map(|metric| match metric.value {
            MetricValue::Counter(value) | MetricValue::Gauge(value) => value,
            MetricValue::Histogram { sum, .. } => sum,
        });
        let values: Vec<f64> = values.collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>())
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, and casts saturate")]
    let whole = |value: f64| value.max(0.0) as u64;
    if let (Some(files), Some(added)) = (sum("backup_files"), sum("backup_added_bytes")) {
        return Some(BackupDone::Saved { files: whole(files), added: whole(added) });
    }
    if let Some(damages) = sum("repository_check_damages") {
        return Some(BackupDone::Checked { damages: whole(damages) });
    }
    let failed = sum("restore_drill_failed_sources")?;
    let took_ms = whole(sum("restore_drill_seconds").unwrap_or(0.0) * 1000.0);
    Some(BackupDone::Drilled { failed: whole(failed), took_ms })
}

async fn findings(journal: &Reader, asked: &Asked) -> Result<FindingFacts, StoreError> {
    let mut facts = FindingFacts::default();
    for Life { task, finding, changed, .. } in journal.grave_lives(Severity::Info).await? {
        let is_news = changed >= asked.from && changed < asked.to;
        if finding.state == Some(FindingState::Fixed) {
            facts.fixed += u64::from(is_news);
        } else if finding.ignored.is_none() && asked.tasks.contains(&task) {
            *facts.open.entry(finding.severity).or_default() += 1;
            if is_news {
                facts.new.push((finding.severity, finding.title, task));
            }
        }
    }
    facts.new.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    Ok(facts)
}

async fn messages(journal: &Reader, asked: &Asked) -> Result<MessageFacts, StoreError> {
    let ended = journal.messages_since(asked.from).await?;
    let count = |state| ended.get(&state).copied().unwrap_or(0);
    let waiting = journal.outbox_counts(asked.to).await?.iter().map(|channel| channel.due).sum();
    Ok(MessageFacts {
        sent: count(MessageState::Sent),
        dead: count(MessageState::Dead),
        expired: count(MessageState::Expired),
        waiting,
    })
}

async fn alerts(journal: &Reader) -> Result<Vec<Alert>, StoreError> {
    let mut alerts = journal.alerts().await?;
    alerts.retain(Alert::is_open);
    alerts.sort_by(|a, b| (b.level, a.opened).cmp(&(a.level, b.opened)));
    Ok(alerts)
}

async fn disks(journal: &Reader, now: Timestamp, state_dir: &Path) -> Result<(Kept, Vec<DiskFacts>), StoreError> {
    let look = || {
        let disks = system::disks(Path::new("/"))?;
        let used =
            |mount: &str| rustix::fs::statvfs(mount).map(|it| it.f_blocks.saturating_sub(it.f_bfree) * it.f_frsize);
        Ok(disks.into_iter().filter_map(|disk| used(&disk.mount).ok().map(|used| (disk, used))).collect::<Vec<_>>())
    };
    let found = tokio::task::spawn_blocking(look).await;
    let found = found.map_err(|error| error.to_string()).and_then(|found| found);
    let found = found.map_err(StoreError::Nonsense)?;
    let before = journal.digests(Timestamp(now.0.saturating_sub(GROWTH_MS.0))).await?;
    let before: Vec<(Timestamp, Kept)> = before
        .into_iter()
        .filter(|digest| digest.at.0 <= now.0.saturating_sub(GROWTH_MS.1))
        .filter_map(|digest| Some((digest.at, serde_json::from_str(&digest.facts).ok()?)))
        .collect();
    let (mut kept, mut disks, mut seen) = (Kept::default(), Vec::new(), Vec::new());
    let holds_state = |mount: &str| state_dir.starts_with(mount);
    let own = found.iter().map(|(disk, _)| disk.mount.clone()).filter(|it| holds_state(it)).max_by_key(String::len);
    for (disk, used) in found {
        let is_made_up = ["tmpfs", "ramfs", "squashfs", "iso9660"].contains(&disk.filesystem.as_str());
        let is_left_out = is_made_up || disk.total < SMALLEST_DISK || disk.read_only;
        // The one that upkeep itself needs is looked at, whatever it is.
        if (is_left_out && own.as_ref() != Some(&disk.mount)) || seen.contains(&disk.device) {
            continue;
        }
        seen.push(disk.device);
        // The oldest says most: what a single day brings is chance.
        let oldest = before.iter().find_map(|(at, kept)| Some((*at, *kept.used.get(&disk.mount)?)));
        let a_day = oldest.map(|(at, then)| {
            let grown = i128::from(used) - i128::from(then);
            i64::try_from(grown * i128::from(DAY_MS) / i128::from((now.0 - at.0).max(1))).unwrap_or(0)
        });
        kept.used.insert(disk.mount.clone(), used);
        disks.push(DiskFacts { mount: disk.mount, total: disk.total, available: disk.available, used, a_day });
    }
    disks.sort_by_key(|disk| std::cmp::Reverse(disk.percent()));
    Ok((kept, disks))
}

/// Traffic of the last whole day, and of the same weekday before. Reads files and asks servers.
fn traffic(asked: &Asked) -> (Vec<TrafficFacts>, Vec<String>) {
    let (mut traffic, mut errors) = (Vec::new(), Vec::new());
    for keeping in &asked.figures {
        let now = asked.to.utc().with_timezone(&keeping.zone).naive_local();
        let Some(day) = now.date().checked_sub_days(Days::new(1)) else { continue };
        let figures_of = |day: NaiveDate| -> Result<Vec<(String, Figures)>, stats::StatsError> {
            let day = Some(day.to_string());
            let question = Question { from: day.clone(), to: day, by: Some(Level::Day), ..Question::default() };
            let task = Some(keeping.task.as_str());
            let stats = stats::answer(&asked.state_dir, &asked.figures, task, &question, |_| now)?;
            Ok(stats.sources.into_iter().map(|source| (source.source, source.total)).collect())
        };
        match figures_of(day) {
            Ok(found) => {
                let before = day.checked_sub_days(Days::new(7)).map(&figures_of).and_then(Result::ok);
                let mut before: BTreeMap<String, Figures> = before.into_iter().flatten().collect();
                let had_traffic = |figures: &Figures| figures.requests > 0;
                traffic.extend(found.into_iter().filter(|(_, figures)| had_traffic(figures)).map(
                    |(source, figures)| {
                        let before = before.remove(&source).filter(had_traffic);
                        TrafficFacts { source, day: day.to_string(), figures, before }
                    },
                ));
            }
            // Most tasks keep none.
            Err(stats::StatsError::None { .. }) => {}
            Err(error) => errors.push(error.to_string()),
        }
    }
    (traffic, errors)
}
