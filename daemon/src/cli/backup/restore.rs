//! `upkeep backup restore`: what snapshots hold is given back.
//!
//! A restore puts everything below the target with its whole path, as restic does: several sources of a task then never
//! meet, and nothing lands where it came from by mistake. It says first what it will do; then it asks, if somebody is there
//! to answer.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::reach::{Chosen, Reach, WhereArgs};
use super::{TaskRepository, count, database, task_of};
use crate::cli::failure::{Exit, Failure};
use crate::cli::progress::Meter;
use crate::cli::screen::{Ink, Screen, duration, line, size};
use crate::config::dump::DumpGrant;
use crate::repository::browse::Reader;
use crate::repository::restore::{Plan, Request, Restored};
use crate::repository::{RepositoryError, Snapshot};
use crate::root::exclude::Exclude;

/// Restore below a folder; it says first what it will do
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RestoreArgs {
    /// The task that made the snapshot, or the snapshot
    #[arg(value_name = "TASK|SNAPSHOT")]
    what: String,
    /// Of a task: first digits of a snapshot, `latest` for the newest of each source, `latest:/srv/app` for that of one,
    /// "2026-11-20 12:00" for the last ones before that [default: latest]
    snapshot: Option<String>,
    /// The folder to restore below: what was in /srv/app comes to DIR/srv/app; `/` restores into the old place
    #[arg(long, value_name = "DIR", required_unless_present = "database")]
    target: Option<PathBuf>,
    /// Restore only this file or folder (absolute, as it was saved)
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// Leave out what matches, as in a .gitignore file; may be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace files that are there and are not as they were saved; others of the target stay
    #[arg(long)]
    overwrite: bool,
    /// Read what is there already, instead of trusting its size and time
    #[arg(long)]
    checksum: bool,
    /// Give files to the saved numbers of users, also where this server knows their names
    #[arg(long)]
    numeric_owner: bool,
    /// Go on although the target seems too small (files with holes need less than their size)
    #[arg(long)]
    ignore_space: bool,
    /// Load the dump of this database (`[grant.dump.NAME]`) back, by commands that are shown first; an SQLite database comes
    /// back to its place
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "exclude", "json", "target"])]
    database: Option<String>,
    /// Load it into another server: HOST, HOST:PORT or the path of its socket (PostgreSQL: of the folder that it is in),
    /// also with :PORT
    #[arg(long, value_name = "SERVER", requires = "database")]
    to_server: Option<String>,
    /// Load it with this account, since that of the task file may only read: `postgres`, for MariaDB `root`
    #[arg(long, value_name = "NAME", requires = "database")]
    user: Option<String>,
    /// File with the password of that account; left out, the server has to know it without one
    #[arg(long, value_name = "FILE", requires = "user")]
    user_password_file: Option<PathBuf>,
    /// Only show the commands that load the database
    #[arg(long, requires = "database")]
    print_only: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    pub(super) place: WhereArgs,
    /// Print one JSON object; asks nothing
    #[arg(long)]
    json: bool,
}

impl RestoreArgs {
    fn target(&self) -> &Path {
        self.target.as_deref().unwrap_or(Path::new("/"))
    }

    /// Whether everything comes to where it was.
    fn is_in_place(&self) -> bool {
        self.target() == Path::new("/")
    }
}

/// A snapshot that is restored, and what that means.
struct Part<'a> {
    chosen: Chosen<'a>,
    skip: Vec<PathBuf>,
    plan: Plan,
    reader: usize,
}

/// The JSON object of one snapshot.
#[derive(Serialize)]
struct Told<'a> {
    snapshot: &'a Snapshot,
    plan: &'a Plan,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<Restored>,
}

pub(super) fn restore(
    args: &RestoreArgs,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    if let Some(name) = &args.database {
        return restore_database(args, name, repositories, screen, out);
    }
    if args.path.as_ref().is_some_and(|path| !path.is_absolute()) {
        let help = "write it as the snapshot has it: /srv/app";
        return Err(Failure::new(Exit::Usage, "`--path` is not absolute", help).into());
    }
    let exclude = Exclude::new(&args.exclude).map_err(|error| {
        Failure::new(Exit::Usage, error, "write patterns as in a .gitignore file: `*.tmp`, `/srv/app/cache/`")
    })?;
    let reach = args.place.reach(repositories, is_task(&args.what, repositories).then_some(&args.what))?;
    let mut chosen = choose(args, repositories, &reach, screen)?;
    reach.warn();
    let databases = if args.is_in_place() { take_databases(&mut chosen) } else { Vec::new() };
    if !args.json {
        for (task, name) in &databases {
            let task = task.as_deref().unwrap_or(&args.what);
            writeln!(
                out,
                "Later, the database {name}: upkeep backup restore {task} --database {name} --user ACCOUNT\n  (ACCOUNT may make \
                 databases: for PostgreSQL `postgres`, for MariaDB `root`; Redis needs none)"
            )?;
        }
    }
    // What is put into a folder changes its time: so the folder comes after what was saved for itself in it.
    chosen.sort_by_key(|it| Reverse(it.snapshot.paths.iter().map(|path| Path::new(path).iter().count()).max()));
    if chosen.is_empty() {
        let help = "`--target DIR` gives the dumps as files";
        return Err(
            Failure::new(Exit::Usage, "dumps of database servers have no place in the file system", help).into()
        );
    }
    let mut readers: Vec<(&str, Reader)> = Vec::new();
    for it in &chosen {
        if readers.iter().all(|(url, _)| *url != it.shelf.url) {
            readers.push((&it.shelf.url, it.shelf.repository.reader().map_err(Failure::from)?));
        }
    }
    let reader_of = |it: &Chosen<'_>| readers.iter().position(|(url, _)| *url == it.shelf.url).unwrap_or(0);
    let dumps = dumps(&chosen, |it| &readers[reader_of(it)].1)?;
    let (mut parts, mut missing) = (Vec::new(), None);
    for it in chosen {
        // What was saved for itself as well comes from there, also the journals that go with it.
        let skip: Vec<_> =
            dumps.iter().filter(|(owner, _)| *owner != it.snapshot.id).map(|(_, path)| path.clone()).collect();
        let reader = reader_of(&it);
        match readers[reader].1.plan(&request(args, &exclude, it.snapshot, &skip)) {
            Ok(plan) => parts.push(Part { chosen: it, skip, plan, reader }),
            Err(error @ RepositoryError::Snapshot { .. }) => missing = Some(error),
            Err(error) => return Err(Failure::from(error).into()),
        }
    }
    if let (true, Some(error)) = (parts.is_empty(), missing) {
        let help = "`upkeep backup find NAME` shows which snapshots hold it";
        return Err(Failure { help: Some(help.to_owned()), ..Failure::from(error) }.into());
    }
    if !args.json {
        write_plan(args, &parts, screen, out)?;
    }
    for part in &parts {
        part.plan.permits(&request(args, &exclude, part.chosen.snapshot, &part.skip)).map_err(Failure::from)?;
    }
    if args.dry_run {
        if args.json {
            let told: Vec<_> =
                parts.iter().map(|it| Told { snapshot: it.chosen.snapshot, plan: &it.plan, restored: None }).collect();
            write_told(&told, out)?;
        }
        return Ok(Exit::Done);
    }
    has_room(args, &parts)?;
    if !may_go_on(args, &parts, out)? {
        writeln!(out, "nothing was done")?;
        return Ok(Exit::Unsuccessful);
    }
    let (mut exit, mut told) = (Exit::Done, Vec::new());
    for part in &parts {
        let started = Instant::now();
        let meter = Meter::new(&part.chosen.snapshot.paths.join(" "));
        let request = request(args, &exclude, part.chosen.snapshot, &part.skip);
        let restored = readers[part.reader].1.restore(&request, &part.plan, meter.tell());
        meter.clear();
        let restored = restored.map_err(Failure::from)?;
        if !restored.differences.is_empty() {
            exit = Exit::Unsuccessful;
        }
        match args.json {
            true => told.push(Told { snapshot: part.chosen.snapshot, plan: &part.plan, restored: Some(restored) }),
            false => write_restored(part, &restored, started.elapsed().as_millis(), screen, out)?,
        }
    }
    if args.json {
        write_told(&told, out)?;
    }
    Ok(exit)
}

/// Takes out the dumps of database servers, which have no place among the files; gives their tasks and names.
pub(super) fn take_databases(chosen: &mut Vec<Chosen<'_>>) -> Vec<(Option<String>, String)> {
    let mut taken = Vec::new();
    chosen.retain(|it| {
        let dump = it.snapshot.paths.iter().find_map(|path| Path::new(path).strip_prefix("/upkeep-dump").ok());
        taken.extend(dump.map(|name| (task_of(it.snapshot).map(str::to_owned), name.display().to_string())));
        dump.is_none()
    });
    taken
}

/// Loads a dump back.
fn restore_database(
    args: &RestoreArgs,
    name: &str,
    repositories: &[TaskRepository<'_>],
    screen: &Screen,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let of_task: Vec<_> = repositories.iter().filter(|it| it.task == args.what).collect();
    let Some(grant) = of_task.iter().find_map(|it| it.dumps.get(name)) else {
        let names: BTreeSet<_> = of_task.iter().flat_map(|it| it.dumps.keys()).map(String::as_str).collect();
        let message = format!("the task `{}` has no database `{name}` (`[grant.dump.{name}]`)", args.what);
        let help = match names.is_empty() {
            true => "its task file has to be there: the commands depend on the server that it names".to_owned(),
            false => format!("it has: {}", names.into_iter().collect::<Vec<_>>().join(", ")),
        };
        return Err(Failure::new(Exit::NotFound, message, help).into());
    };
    if let DumpGrant::Sqlite(path) = grant {
        if args.print_only {
            let (task, path) = (&args.what, path.display());
            writeln!(out, "upkeep backup restore {task} --path {path} --target / --overwrite")?;
            return Ok(Exit::Done);
        }
        // The name in the snapshot is the real one, where it was known.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        let file = RestoreArgs { database: None, path: Some(path), target: Some("/".into()), ..args.clone() };
        return restore(&file, repositories, screen, out);
    }
    let account = args.user.as_deref().map(|user| (user, args.user_password_file.as_deref()));
    let grant = database::elsewhere(grant, args.to_server.as_deref(), account)?;
    let reach = args.place.reach(repositories, Some(&args.what))?;
    let folder = crate::database::folder(name);
    let snapshot = args.snapshot.as_deref().unwrap_or("latest");
    let chosen = reach.one(snapshot, Some(&args.what), Some(&folder), screen)?;
    reach.warn();
    let quoted = |it: &String| format!(" --repository {}", crate::database::quoted(it.as_ref()));
    let place = args.place.repository.as_ref().map(quoted).unwrap_or_default();
    let load = database::Load {
        name,
        grant: &grant,
        chosen,
        place,
        user: args.user.as_deref(),
        replace: args.overwrite,
        print_only: args.print_only || args.dry_run,
        yes: args.yes,
    };
    database::load(&load, screen, out)
}

fn request<'a>(
    args: &'a RestoreArgs,
    exclude: &'a Exclude,
    snapshot: &'a Snapshot,
    skip: &'a [PathBuf],
) -> Request<'a> {
    Request {
        only: args.path.as_deref(),
        skip,
        exclude: Some(exclude),
        checksum: args.checksum,
        overwrite: args.overwrite,
        numeric_owner: args.numeric_owner,
        ..Request::new(snapshot, Path::new("/"), args.target())
    }
}

fn is_task(name: &str, repositories: &[TaskRepository<'_>]) -> bool {
    repositories.iter().any(|it| it.task == name)
}

/// The snapshots that are meant. The first word is a task when the task files or the snapshots know one of that name.
fn choose<'a>(
    args: &RestoreArgs,
    repositories: &[TaskRepository<'_>],
    reach: &'a Reach,
    screen: &Screen,
) -> Result<Vec<Chosen<'a>>, Failure> {
    let path = args.path.as_deref();
    if args.snapshot.is_some() || is_task(&args.what, repositories) || reach.knows(&args.what) {
        let name = args.snapshot.as_deref().unwrap_or("latest");
        return reach.each(name, Some(&args.what), path, screen);
    }
    reach.each(&args.what, None, path, screen).map_err(|failure| match failure.exit {
        Exit::Usage if failure.message.ends_with("names no snapshot") => {
            let message = format!("there is no task `{}` with a repository, and no snapshot of that name", args.what);
            Failure::new(Exit::NotFound, message, "`upkeep backup list` shows the tasks and their snapshots")
        }
        _ => failure,
    })
}

/// Files that were saved for themselves, with the snapshot that holds them; and the journals that would not fit them.
fn dumps<'r>(
    chosen: &[Chosen<'_>],
    reader: impl Fn(&Chosen<'_>) -> &'r Reader,
) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut dumps = Vec::new();
    for it in chosen {
        for path in &it.snapshot.paths {
            if reader(it).node(it.snapshot, Path::new(path)).is_ok_and(|node| node.is_file()) {
                for suffix in ["", "-wal", "-shm", "-journal"] {
                    dumps.push((it.snapshot.id.clone(), PathBuf::from(format!("{path}{suffix}"))));
                }
            }
        }
    }
    Ok(dumps)
}

fn has_room(args: &RestoreArgs, parts: &[Part<'_>]) -> Result<(), Failure> {
    let needed: u64 = parts.iter().map(|it| it.plan.write.bytes).sum();
    let Some(plan) = parts.first().map(|it| &it.plan) else { return Ok(()) };
    match plan.free {
        Some(free) if needed > free && !args.ignore_space => {
            let place = plan.place.display();
            let message = format!("{} are needed, and {} are free in {place}", size(needed), size(free));
            let help = "make room, choose another target, or restore a part with `--path`; `--ignore-space` tries it \
                        all the same";
            Err(Failure::new(Exit::Usage, message, help))
        }
        _ => Ok(()),
    }
}

/// Asks where somebody can answer. Elsewhere it goes on as long as nothing is replaced: a script that restores into an empty
/// folder needs no flag, one that replaces files says so twice.
fn may_go_on(args: &RestoreArgs, parts: &[Part<'_>], out: &mut dyn Write) -> anyhow::Result<bool> {
    let replaced: u64 = parts.iter().map(|it| it.plan.replace).sum();
    let written: u64 = parts.iter().map(|it| it.plan.write.files + it.plan.folders).sum();
    if args.yes || written == 0 && replaced == 0 {
        return Ok(true);
    }
    if !is_asked() || args.json {
        if replaced == 0 {
            return Ok(true);
        }
        let message = format!("{} would be replaced, and nobody can be asked", count(replaced, "file"));
        return Err(Failure::new(Exit::Usage, message, "add `--yes` to do it without being asked").into());
    }
    let question = if replaced > 0 { "Restore, and replace what is there?" } else { "Restore?" };
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether somebody can be asked. Tests answer nothing.
pub(super) fn is_asked() -> bool {
    !cfg!(test) && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn write_plan(args: &RestoreArgs, parts: &[Part<'_>], screen: &Screen, out: &mut dyn Write) -> std::io::Result<()> {
    let mut last = None;
    for Part { chosen, plan, .. } in parts {
        if last != Some(&chosen.shelf.url) {
            writeln!(out, "From {}", line(&chosen.shelf.url))?;
            last = Some(&chosen.shelf.url);
        }
        let what = args.path.as_ref().map_or(chosen.snapshot.paths.join(" "), |path| path.display().to_string());
        let (id, time) = (chosen.snapshot.short(), screen.minute(chosen.snapshot.time));
        let files = count(plan.write.files + plan.same.files, "file");
        let bytes = size(plan.write.bytes + plan.same.bytes);
        let ago = screen.relative(chosen.snapshot.time);
        writeln!(out, "  {} saved {time} ({ago}): {files}, {bytes}", screen.ink(Ink::Bold, id))?;
        let to = if args.is_in_place() { String::new() } else { args.target().display().to_string() };
        writeln!(out, "    {} -> {}", line(&what), line(&format!("{to}{what}")))?;
    }
    let sum = |of: fn(&Plan) -> u64| -> u64 { parts.iter().map(|it| of(&it.plan)).sum() };
    let (files, folders) = (count(sum(|it| it.write.files), "file"), count(sum(|it| it.folders), "folder"));
    let free = parts.first().and_then(|it| Some((it.plan.free?, &it.plan.place)));
    let free = free.map(|(free, place)| format!(" ({} free in {})", size(free), place.display())).unwrap_or_default();
    writeln!(out, "To write:      {files} in {folders}, {}{free}", size(sum(|it| it.write.bytes)))?;
    let same = sum(|it| it.same.files);
    if same > 0 {
        let how = if args.checksum { "read and equal" } else { "by size and time" };
        writeln!(out, "Right already: {}, {} ({how})", count(same, "file"), size(sum(|it| it.same.bytes)))?;
    }
    let replaced = sum(|it| it.replace);
    if replaced > 0 {
        let title = screen.ink(Ink::Yellow, if args.overwrite { "To replace:   " } else { "In the way:   " });
        writeln!(out, "{title} {}", count(replaced, "file"))?;
        let named: Vec<_> = parts.iter().flat_map(|it| &it.plan.replaced).take(5).collect();
        for name in &named {
            writeln!(out, "    {}", line(name))?;
        }
        if replaced > named.len() as u64 {
            writeln!(out, "    and {} more", replaced - named.len() as u64)?;
        }
    }
    let foreign = sum(|it| it.foreign);
    if foreign > 0 {
        writeln!(out, "Owners:        not set for {}: only root can", count(foreign, "entry"))?;
    }
    let mut unknown: Vec<_> = parts.iter().flat_map(|it| &it.plan.unknown_owners).map(String::as_str).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        let names = line(&unknown.join(", ")).into_owned();
        writeln!(out, "Owners:        not known here, so their numbers are used: {names}")?;
    }
    Ok(())
}

fn write_restored(
    part: &Part<'_>,
    restored: &Restored,
    milliseconds: u128,
    screen: &Screen,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let (files, folders) = (count(restored.files, "file"), count(restored.folders, "folder"));
    let took = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    let rate = u64::try_from(u128::from(part.plan.write.bytes) * 1000 / milliseconds.max(1)).unwrap_or(u64::MAX);
    let rate = if took >= 1_000 { format!(", {}/s", size(rate)) } else { String::new() };
    let (id, bytes) = (part.chosen.snapshot.short(), size(restored.bytes));
    match restored.written {
        0 => writeln!(out, "{id}: {files} in {folders}, {bytes}: nothing was left to write")?,
        _ => writeln!(out, "{id}: {files} in {folders}, {bytes}, restored in {}{rate}", duration(took))?,
    }
    let fine =
        if part.plan.same.files > 0 { "equal to what was saved" } else { "read again and equal to what was saved" };
    write_differences(&restored.differences, fine, screen, out)
}

/// What is not as it was saved, or that all is.
pub(super) fn write_differences(
    differences: &[String],
    fine: &str,
    screen: &Screen,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if differences.is_empty() {
        return writeln!(out, "  {}", screen.ink(Ink::Green, fine));
    }
    writeln!(out, "  {}", screen.ink(Ink::Red, "but not as it was saved:"))?;
    for difference in differences {
        writeln!(out, "    {}", line(difference))?;
    }
    Ok(())
}

fn write_told(told: &[Told<'_>], out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &serde_json::json!({ "snapshots": told })).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}
