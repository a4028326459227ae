//! What the daemon says about itself, on standard error.
//!
//! Under systemd a line begins with its priority in angle brackets (sd-daemon(3)) and has neither time nor colour:
//! the journal knows both. Elsewhere a line has the local time and the level. `UPKEEP_LOG` sets what is said: a level,
//! or directives such as `upkeep=debug,sqlx=info`.

use std::fmt;
use std::os::unix::fs::MetadataExt;

use chrono::Local;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// The value of `UPKEEP_LOG` has no meaning.
#[derive(Debug, thiserror::Error)]
#[error("UPKEEP_LOG is `{wanted}`: {error}")]
pub struct BadFilter {
    wanted: String,
    error: String,
}

/// Starts to listen to what is said, from `level` on where `UPKEEP_LOG` says nothing else. For the whole process; where
/// somebody listens already, nothing changes.
///
/// # Errors
///
/// When `UPKEEP_LOG` cannot be understood.
pub fn start(level: &str, colour: bool) -> Result<(), BadFilter> {
    let wanted = std::env::var("UPKEEP_LOG").ok().filter(|wanted| !wanted.is_empty());
    let wanted = wanted.unwrap_or_else(|| level.to_owned());
    let filter = match EnvFilter::builder().parse(&wanted) {
        Ok(filter) => filter,
        Err(error) => return Err(BadFilter { wanted, error: error.to_string() }),
    };
    let form = if is_journal() { Form::Journal } else { Form::Terminal { colour } };
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(form).finish();
    let _already = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// Whether standard error goes to systemd's journal: it then is the file that `JOURNAL_STREAM` names.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|own| named == format!("{}:{}", own.dev(), own.ino()))
}

/// How a line looks.
#[derive(Debug, Clone, Copy)]
enum Form {
    Journal,
    Terminal { colour: bool },
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let target = metadata.target();
        let foreign = if target.starts_with("upkeep") { String::new() } else { format!("{target}: ") };
        let line = format!("{foreign}{}{}", text.message, text.fields);
        match self {
            Self::Journal => write!(writer, "{}", journal(*metadata.level(), &line)),
            Self::Terminal { colour } => {
                let time = crate::clock::now().utc().with_timezone(&Local);
                let (dim, reset) = if *colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
                let (name, ink) = level(*metadata.level());
                let ink = if *colour { ink } else { "" };
                writeln!(writer, "{dim}{}{reset} {ink}{name:<5}{reset} {line}", time.format("%Y-%m-%d %H:%M:%S%.3f"))
            }
        }
    }
}

/// Each line of the text with the priority before it.
fn journal(level: Level, text: &str) -> String {
    let priority = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    text.lines().map(|line| format!("<{priority}>{line}\n")).collect()
}

fn level(level: Level) -> (&'static str, &'static str) {
    match level {
        Level::ERROR => ("error", "\x1b[31m"),
        Level::WARN => ("warn", "\x1b[33m"),
        Level::INFO => ("info", "\x1b[32m"),
        Level::DEBUG => ("debug", "\x1b[2m"),
        Level::TRACE => ("trace", "\x1b[2m"),
    }
}

/// The message, and the fields as `key=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if value.contains([' ', '"', '\n']) { self.record_debug(field, &value) } else { self.record(field, &value) }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record(field, &format_args!("{value:?}"));
    }
}

impl Text {
    fn record(&mut self, field: &Field, value: &dyn fmt::Display) {
        match field.name() {
            "message" => self.message = value.to_string(),
            name => self.fields.push_str(&format!(" {name}={value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn said(form: Form) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).event_format(form).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(tasks = 7, folder = "/etc/upkeep", why = "it said so", "ready");
            tracing::warn!("two\nlines");
            tracing::error!(target: "sqlx", "no disk");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_journal_gets_priorities_on_every_line() {
        insta::assert_snapshot!(said(Form::Journal), @r#"
        <6>ready tasks=7 folder=/etc/upkeep why="it said so"
        <4>two
        <4>lines
        <3>sqlx: no disk
        "#);
    }

    #[test]
    fn a_terminal_gets_time_and_level() {
        let plain = said(Form::Terminal { colour: false });
        let first = plain.lines().next().unwrap();
        assert!(first.ends_with(" info  ready tasks=7 folder=/etc/upkeep why=\"it said so\""), "{first}");
        assert!(!plain.contains('\x1b'));
        assert!(said(Form::Terminal { colour: true }).contains("\x1b[32minfo \x1b[0m ready"));
    }
}
