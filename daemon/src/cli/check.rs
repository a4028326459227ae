//! `upkeep check`: validates everything and runs nothing.

use std::io::Write;
use std::path::Path;

use clap::Args;

use crate::config::check::Surroundings;
use crate::config::diagnostic::Style;
use crate::config::load::{Examined, Task, examine};
use crate::schedule::Seed;

/// Validate the configuration without running anything
///
/// Looks at upkeep.toml, every task file, the plugins' manifests, the grants, and whether the folders, databases and
/// secrets that are named exist. Exits with 0 when nothing is wrong (warnings are shown), with 2 otherwise.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Exit code when nothing is wrong.
pub const FINE: u8 = 0;
/// Exit code when the configuration cannot be used.
pub const WRONG: u8 = 2;

/// Checks the configuration in `dir` and prints what was found; gives the exit code.
///
/// # Errors
///
/// When `out` cannot be written to.
pub fn check(
    args: &CheckArgs,
    dir: &Path,
    surroundings: &Surroundings<'_>,
    host: &str,
    style: Style,
    out: &mut dyn Write,
) -> std::io::Result<u8> {
    let examined = examine(dir, surroundings);
    let code = if examined.diagnostics.has_errors() { WRONG } else { FINE };
    if args.json {
        print_json(&examined, host, surroundings, out)?;
    } else {
        print_text(&examined, host, surroundings, style, out)?;
    }
    Ok(code)
}

fn print_text(
    examined: &Examined,
    host: &str,
    surroundings: &Surroundings<'_>,
    style: Style,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let Examined { config, diagnostics, files } = examined;
    if !diagnostics.0.is_empty() {
        writeln!(out, "{}\n", diagnostics.render(style).trim_end())?;
    }
    let width = config.tasks.keys().map(|name| name.len()).max().unwrap_or(0).min(32);
    for task in config.tasks.values() {
        let next = next(task, host, surroundings);
        writeln!(out, "  ok  {:width$}  {}", task.name, next)?;
    }
    let tasks = match files {
        1 => "1 task".to_owned(),
        count => format!("{count} tasks"),
    };
    let number = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    };
    let found = [(diagnostics.errors(), "error"), (diagnostics.warnings(), "warning")];
    let found: Vec<String> =
        found.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| number(count, what)).collect();
    let verdict = match (diagnostics.has_errors(), found.is_empty()) {
        (true, _) => format!("{}; {} of {tasks} fine", found.join(" and "), config.tasks.len()),
        (false, false) => format!("{tasks}, fine with {}", found.join(" and ")),
        (false, true) => format!("{tasks}, all fine"),
    };
    writeln!(out, "{}: {verdict}", config.dir.display())
}

fn print_json(
    examined: &Examined,
    host: &str,
    surroundings: &Surroundings<'_>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let tasks = examined.config.tasks.values().map(|task| {
        let due = task.schedule.slots(Seed::of(host, &task.name), surroundings.now).next().map(|slot| slot.due);
        serde_json::json!({
            "name": task.name,
            "plugin": { "name": task.plugin.manifest.name, "version": task.plugin.manifest.version },
            "enabled": task.enabled,
            "next": due.filter(|_| task.enabled),
        })
    });
    let object = serde_json::json!({
        "config": examined.config.dir,
        "ok": !examined.diagnostics.has_errors(),
        "files": examined.files,
        "tasks": tasks.collect::<Vec<_>>(),
        "diagnostics": examined.diagnostics.to_json(),
    });
    writeln!(out, "{object:#}")
}

/// What a task waits for, in a few words.
fn next(task: &Task, host: &str, surroundings: &Surroundings<'_>) -> String {
    if !task.enabled {
        return "disabled".to_owned();
    }
    let slot =
        task.schedule.slots(Seed::of(host, &task.name), surroundings.now).find(|slot| slot.decision.name() == "run");
    let mut waits: Vec<String> = slot
        .map(|slot| format!("next {} {}", slot.local.format("%Y-%m-%d %H:%M:%S"), task.schedule.timezone()))
        .into_iter()
        .collect();
    waits.extend(task.triggers.startup.then(|| "at start".to_owned()));
    waits.extend(task.triggers.watch.iter().map(|path| format!("on change of {}", path.display())));
    waits.extend(task.triggers.after.iter().map(|after| format!("after {}", after.task)));
    waits.extend(task.triggers.outbox.then(|| "on messages to deliver".to_owned()));
    if waits.is_empty() { "by hand only".to_owned() } else { waits.join(", ") }
}
