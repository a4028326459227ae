//! `upkeep logs`

use std::fmt::Write as _;
use std::io::{self, Write};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::failure::Exit;
use super::place::Place;
use super::screen::{Ink, Screen, plain};
use super::stdout_screen;
use crate::api::LogLine;
use crate::record::{Level, LogRecord};

/// Show the log of a run
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The run, or the beginning of its identifier
    run: String,
    /// Go on until the run is over
    #[arg(long, short)]
    follow: bool,
    /// Leave out what is less than this
    #[arg(long, default_value = "trace", value_parser = level_parser())]
    level: Level,
    /// As JSON, one object per line
    #[arg(long)]
    json: bool,
}

fn level_parser() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(LEVELS.map(name))
        .map(|given| LEVELS.into_iter().find(|level| name(*level) == given).unwrap_or(Level::Trace))
}

const LEVELS: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

impl LogsArgs {
    pub(super) async fn run(self, place: &Place, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let screen = stdout_screen();
        let mut lines = place.client()?.logs(&self.run, 0, self.follow).await?;
        while let Some(line) = lines.next().await? {
            if line.record.level > self.level {
                continue;
            }
            if self.json {
                serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
                writeln!(out)?;
            } else {
                write(&screen, &line, out)?;
            }
            if self.follow {
                out.flush()?;
            }
        }
        Ok(Exit::Done)
    }
}

fn write(screen: &Screen, line: &LogLine, out: &mut dyn Write) -> io::Result<()> {
    let time = screen.ink(Ink::Dim, &screen.second(line.record.at));
    writeln!(out, "{time} {}", text(screen, &line.record))
}

/// A record without its time: level, step, message, fields.
pub(super) fn text(screen: &Screen, record: &LogRecord) -> String {
    let ink = match record.level {
        Level::Error => Ink::Red,
        Level::Warn => Ink::Yellow,
        Level::Info => Ink::Green,
        Level::Debug | Level::Trace => Ink::Dim,
    };
    let mut text = screen.ink(ink, &format!("{:<5}", name(record.level)));
    if let Some(step) = record.step {
        let _ = write!(text, " [{step}]");
    }
    let _ = write!(text, " {}", plain(&record.message).trim_end().replace('\n', "\n    "));
    for (key, value) in &record.fields {
        let quoted = value.is_empty() || value.contains([' ', '"', '=', '\n', '\t']);
        let value = if quoted { format!("{value:?}").into() } else { plain(value) };
        let _ = write!(text, " {}{value}", screen.ink(Ink::Dim, &format!("{}=", plain(key))));
    }
    text
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::history::tests::id;
    use crate::cli::screen::tests::pipe;
    use crate::clock::Timestamp;

    #[test]
    fn shows_level_step_message_and_fields() {
        let screen = pipe();
        let mut out = Vec::new();
        let mut log = |level, step, message: &str, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let at = Timestamp(screen.now.0 + 1_000);
            let record = LogRecord { run: id(1), at, step, level, message: message.into(), fields };
            write(&screen, &LogLine { id: 1, record }, &mut out).unwrap();
        };
        log(Level::Info, None, "3 steps", &[]);
        log(Level::Warn, Some(2), "cannot read", &[("path", "a b/c"), ("error", "EACCES"), ("hint", "")]);
        log(Level::Error, Some(0), "two\nlines \x1b[2J\n", &[]);
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        2026-11-23 15:04:06 info  3 steps
        2026-11-23 15:04:06 warn  [2] cannot read path="a b/c" error=EACCES hint=""
        2026-11-23 15:04:06 error [0] two
            lines \u{1b}[2J
        "#);
    }
}
