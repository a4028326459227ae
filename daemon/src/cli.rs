//! The command line: what the operator asks, and how the answer looks.
//!
//! `upkeep daemon` and `upkeep run --standalone` are the daemon; `check`, `schema`, `schedule`, `plugin` and `backup`
//! work on files; all others ask the daemon over its socket (`client`). Answers go to standard output, as text for
//! people or with `--json` for programs; progress and errors go to standard error.
//!
//! | module     | holds                                        |
//! |------------|----------------------------------------------|
//! | `place`    | where configuration and socket are           |
//! | `failure`  | exit codes and errors                        |
//! | `screen`   | colours, times, durations, sizes             |
//! | `table`    | tables                                       |
//! | `report`   | what a plugin summed up                      |
//! | `progress` | a run while it lasts                         |
//! | others     | one command each, as they are named          |

mod ack;
mod alerts;
pub mod backup;
mod cancel;
pub mod check;
mod digest;
mod egress;
pub mod failure;
mod findings;
mod history;
mod list;
mod logs;
mod place;
mod plan;
pub mod plugin;
mod progress;
mod push;
mod reload;
mod report;
mod run;
pub mod schedule;
pub mod schema;
pub mod screen;
mod show;
mod stats;
mod status;
pub mod table;
mod undo;

use std::io::{self, IsTerminal, Write};

use clap::{Parser, Subcommand};
use serde::Serialize;

use self::failure::{EXIT_CODES, Exit, Failure};
use self::place::Place;
use self::screen::Screen;
use crate::config::check::Surroundings;
use crate::config::diagnostic::{Diagnostics, Style};
use crate::config::load::examine;
use crate::config::repositories::{self, TaskRepositories};
use crate::config::schedule::ScheduleSettings;
use crate::telemetry;

/// Maintenance of a backend server: sandboxed tasks on schedule
#[derive(Debug, Parser)]
#[command(name = "upkeep", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Status(status::StatusArgs),
    List(list::ListArgs),
    Run(run::RunArgs),
    Apply(plan::ApplyArgs),
    Undo(undo::UndoArgs),
    Cancel(cancel::CancelArgs),
    History(history::HistoryArgs),
    Show(show::ShowArgs),
    Logs(logs::LogsArgs),
    Findings(findings::FindingsArgs),
    Alerts(alerts::AlertsArgs),
    Ack(ack::AckArgs),
    Digest(digest::DigestArgs),
    Push(push::PushArgs),
    Egress(egress::EgressArgs),
    Stats(stats::StatsArgs),
    Reload(reload::ReloadArgs),
    Check(check::CheckArgs),
    Schedule(schedule::ScheduleArgs),
    Schema(schema::SchemaArgs),
    Backup(backup::BackupArgs),
    Plugin(plugin::PluginArgs),
    /// Run as the daemon, in the foreground
    Daemon,
}

impl Cli {
    /// Does what was asked for. What goes wrong is told on standard error.
    pub fn run(self) -> Exit {
        crate::memory::keep_nothing_large();
        let colour = io::stderr().is_terminal() && screen::colours_wanted();
        let started = telemetry::start(self.log_level(), colour).map_err(|error| {
            let help = "set it to error, warn, info, debug or trace, or to a list such as `upkeep=debug,sqlx=info`";
            Failure::new(Exit::Usage, error.to_string(), help).into()
        });
        crate::memory::keep_to_itself();
        started
            .and_then(|()| self.verb.run(&self.place, &mut io::stdout()))
            .unwrap_or_else(|error| failure::report(error, colour, &mut io::stderr()))
    }

    /// The daemon tells what it does. A command that only asks is silent unless something is wrong.
    fn log_level(&self) -> &'static str {
        if matches!(self.verb, Verb::Daemon) { "info" } else { "warn" }
    }
}

impl Verb {
    fn run(self, place: &Place, out: &mut (dyn Write + Send)) -> anyhow::Result<Exit> {
        match self {
            Self::Status(args) => wait(args.run(place, out)),
            Self::List(args) => wait(args.run(place, out)),
            Self::Run(args) => args.run(place, out),
            Self::Apply(args) => args.run(place, out),
            Self::Undo(args) => args.run(place, out),
            Self::Cancel(args) => wait(args.run(place, out)),
            Self::History(args) => wait(args.run(place, out)),
            Self::Show(args) => wait(args.run(place, out)),
            Self::Logs(args) => wait(args.run(place, out)),
            Self::Findings(args) => wait(args.run(place, out)),
            Self::Alerts(args) => wait(args.run(place, out)),
            Self::Ack(args) => wait(args.run(place, out)),
            Self::Digest(args) => wait(args.run(place, out)),
            Self::Push(args) => wait(args.run(place, out)),
            Self::Egress(args) => wait(args.run(place, out)),
            Self::Stats(args) => wait(args.run(place, out)),
            Self::Reload(args) => wait(args.run(place, out)),
            Self::Check(args) => check(&args, place, out),
            Self::Schedule(args) => schedule(&args, place, out),
            Self::Schema(args) => Ok(schema::schema(&args, out).map(|()| Exit::Done)?),
            Self::Plugin(args) => {
                args.run(out).map(|()| Exit::Done).map_err(|error| Failure::found(Exit::Internal, error))
            }
            Self::Backup(args) => backup(&args, place, out),
            Self::Daemon => daemon(place),
        }
    }
}

fn check(args: &check::CheckArgs, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let variable = |name: &str| std::env::var(name).ok();
    let style = Style::suited(io::stdout().is_terminal(), variable);
    let surroundings = Surroundings::of_process(&variable, false);
    let code = check::check(args, &place.config_dir(), &surroundings, &host(), style, out)?;
    Ok(if code == check::FINE { Exit::Done } else { Exit::Usage })
}

fn schedule(args: &schedule::ScheduleArgs, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let host = host();
    let variable = |name: &str| std::env::var(name).ok();
    let now = crate::clock::now();
    let place_of = |timezone| schedule::Place { timezone, host: &host, now };
    let Some(name) = &args.task else {
        return print_slots(args, None, place_of(place.timezone()), out);
    };
    let dir = place.config_dir();
    let examined = examine(&dir, &Surroundings::of_process(&variable, false));
    let Some(task) = examined.config.tasks.get(&**name) else {
        let message = format!("there is no valid task `{name}` in {}", dir.display());
        return Err(
            Failure::new(Exit::NotFound, message, "`upkeep check` shows what there is, and what is wrong").into()
        );
    };
    print_slots(args, Some(&task.triggers), place_of(task.schedule.timezone()), out)
}

fn print_slots(
    args: &schedule::ScheduleArgs,
    task: Option<&ScheduleSettings>,
    place: schedule::Place<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let printed = schedule::schedule(args, task, place, out);
    printed.map(|()| Exit::Done).map_err(|error| Failure::found(Exit::Usage, error))
}

fn backup(args: &backup::BackupArgs, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if let Some(drill) = args.drill() {
        return drill.run(place, out);
    }
    let (tasks, problems) =
        if args.is_bare() { (Vec::new(), Diagnostics(Vec::new())) } else { repositories::read(&place.config_dir()) };
    if !problems.0.is_empty() {
        let variable = |name: &str| std::env::var(name).ok();
        let style = Style::suited(io::stderr().is_terminal(), variable);
        writeln!(io::stderr(), "{}\n", problems.render(style).trim_end())?;
    }
    let repositories: Vec<_> = tasks
        .iter()
        .flat_map(|TaskRepositories { task, repositories, dumps }| {
            repositories.iter().map(move |(name, grant)| backup::TaskRepository { task, name, grant, dumps })
        })
        .collect();
    if args.release().is_none() && args.lists().is_none() {
        return backup::backup(args, &repositories, &stdout_screen(), out);
    }
    let (client, state_dir, screen) = (place.client()?, place.state_dir(), stdout_screen());
    if let Some(args) = args.release() {
        return wait(backup::release::run(args, &repositories, &client, &state_dir, &screen, out));
    }
    let listed = backup::backup(args, &repositories, &screen, out);
    let holds = wait(async { Ok(backup::release::known(&client, &state_dir).await) })?;
    backup::release::write(&holds, args.lists().flatten(), &screen, out)?;
    listed
}

/// Name of this machine.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn daemon(place: &Place) -> anyhow::Result<Exit> {
    daemon_runtime()?.block_on(crate::daemon::serve(&place.config_dir(), place.own_socket()))?;
    Ok(Exit::Done)
}

/// For the loop, the API and the journal; guests run on threads of their own.
fn daemon_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("upkeep").enable_all().build()
}

/// Waits for a conversation with the daemon.
fn wait<T>(conversation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(conversation)
}

/// Writes an answer as it came over the API.
fn write_json<T: Serialize>(value: &T, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Standard output, now.
fn stdout_screen() -> Screen {
    Screen::of_stdout(crate::clock::now())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_anywhere() {
        let parsed = Cli::try_parse_from(["upkeep", "status", "--socket", "/tmp/s", "--config", "/tmp/c"]).unwrap();
        assert_eq!(parsed.place.config_dir(), std::path::Path::new("/tmp/c"));
        assert_eq!(parsed.place.socket().unwrap(), std::path::Path::new("/tmp/s"));
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for wrong in [
            &["upkeep", "run", "t", "--standalone", "--detach"][..],
            &["upkeep", "run"],
            &["upkeep", "history", "--outcome", "bad"],
            &["upkeep"],
        ] {
            assert_eq!(Cli::try_parse_from(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn help_names_commands_and_exit_codes() {
        insta::assert_snapshot!(Cli::command().render_long_help());
    }
}
