//! `upkeep push send`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use clap::Args;
use url::Url;

use super::NOBODY;
use crate::api::{PushOrigin, PushRequest};
use crate::cli::failure::{Exit, Failure};
use crate::cli::screen::{Screen, line};
use crate::cli::{stdout_screen, write_json};
use crate::client::Client;
use crate::clock::Timestamp;
use crate::config::duration;
use crate::record::outbox::{Content, EnqueueOutcome, Enqueued, MessageLevel, Priority};

/// The largest text that is read from standard input; the daemon allows less than that.
const LARGEST: u64 = 64 << 10;

/// Put a message into the outbox; it is durable when this is over, and delivered by the task that does so
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The text, in Markdown; `-`, or nothing where neither --title nor --template says enough: from standard input
    text: Vec<String>,
    /// One line above the text
    #[arg(long)]
    title: Option<String>,
    /// The chain of channels: each is tried after the one before has refused for good
    #[arg(long = "channel", short, required = true, value_delimiter = ',', value_name = "A,B")]
    channels: Vec<String>,
    /// Whom it is for, as the channels name people; left out: whoever the channel reaches
    #[arg(long, value_name = "RECIPIENT")]
    to: Option<String>,
    /// How much it matters
    #[arg(long, value_enum, default_value_t)]
    level: MessageLevel,
    /// Which messages go first
    #[arg(long, value_enum, default_value_t)]
    priority: Priority,
    /// Idempotency key: the same message given again with it changes nothing
    #[arg(long)]
    key: Option<String>,
    /// Not before then: 2h, "2026-11-24 08:00", 2026-11-24T00:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Not from then on, written likewise; a span of time counts from --at
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    expires: Option<String>,
    /// The template that the channel fills in
    #[arg(long)]
    template: Option<String>,
    /// A field of the template; may be given several times
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field, requires = "template")]
    fields: Vec<(String, String)>,
    /// What it is about: messages of one group may be shown together
    #[arg(long)]
    group: Option<String>,
    /// Where there is more
    #[arg(long, value_name = "URL", value_parser = link)]
    link: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

impl SendArgs {
    pub(super) async fn run(self, client: &Client, out: &mut dyn Write) -> anyhow::Result<()> {
        let screen = stdout_screen();
        let (json, key) = (self.json, self.key.clone());
        let request = self.request(&screen, &mut io::stdin(), io::stdin().is_terminal())?;
        let enqueued = client.push(&request, key.as_deref()).await?;
        if json {
            return write_json(&enqueued, out);
        }
        write(&request, &enqueued, out)?;
        if enqueued.outcome == EnqueueOutcome::New && !client.tasks().await?.tasks.iter().any(|task| task.delivers) {
            // What cannot be told cannot be told.
            let _ = writeln!(io::stderr(), "warning: it waits: {NOBODY}");
        }
        Ok(())
    }

    /// `input` is read when the arguments hold no text.
    fn request(self, screen: &Screen, input: &mut dyn Read, is_terminal: bool) -> anyhow::Result<PushRequest> {
        let named = self.title.is_some() || self.template.is_some();
        let text = match self.text.join(" ") {
            text if text == "-" || (text.is_empty() && !named) => {
                if is_terminal && text.is_empty() {
                    let help = "give a text, --title or --template; `-` reads the text from here";
                    return Err(Failure::new(Exit::Usage, "the message says nothing", help).into());
                }
                let mut text = Vec::new();
                input.take(LARGEST + 1).read_to_end(&mut text)?;
                if text.len() as u64 > LARGEST {
                    let help = "send its beginning, and say by --link where the rest is";
                    return Err(Failure::new(Exit::Usage, "the text has more than 64 KiB", help).into());
                }
                readable(&text).trim_end().to_owned()
            }
            text => text,
        };
        let not_before = self.at.as_deref().map(|text| moment("--at", text, screen.now, screen)).transpose()?;
        let start = not_before.unwrap_or(screen.now);
        let expires = self.expires.as_deref().map(|text| moment("--expires", text, start, screen)).transpose()?;
        let mut fields = BTreeMap::new();
        for (name, value) in self.fields {
            if let Some(first) = fields.insert(name.clone(), value) {
                let message = format!("--field: `{name}` is given twice, first as `{first}`");
                return Err(Failure::new(Exit::Usage, message, "give each field once").into());
            }
        }
        let content = Content {
            title: self.title.unwrap_or_default(),
            text,
            level: self.level,
            to: self.to,
            template: self.template,
            fields,
            group: self.group,
            link: self.link,
        };
        let (channels, priority, origin) = (self.channels, self.priority, PushOrigin::Cli);
        Ok(PushRequest { origin, channels, priority, not_before, expires, content })
    }
}

/// A text of standard input. What is not UTF-8 in it is replaced: a message with gaps is better than none.
fn readable(text: &[u8]) -> Cow<'_, str> {
    let readable = String::from_utf8_lossy(text);
    if matches!(readable, Cow::Owned(_)) {
        let note = "warning: standard input is not UTF-8; what could not be read stands as \u{fffd}: `iconv -f gbk -t utf-8` in front of it helps";
        // What cannot be told cannot be told.
        let _ = writeln!(io::stderr(), "{note}");
    }
    readable
}

/// An address that a message may lead to.
fn link(text: &str) -> Result<String, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(text.to_owned()),
        _ => Err("write an address, such as https://shop.example/orders/4711".to_owned()),
    }
}

/// Reads a moment: a span of time from `start` on, a time with an offset, a local time, or the first moment of a day.
fn moment(option: &str, text: &str, start: Timestamp, screen: &Screen) -> Result<Timestamp, Failure> {
    if let Ok(span) = duration::parse(text) {
        let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp(start.0.saturating_add(span)));
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc().into());
    }
    let formats = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
    let midnight = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN));
    let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()).or_else(midnight);
    local.and_then(|local| screen.moment(local)).ok_or_else(|| {
        let help = "write it as `2h`, `2026-11-24 08:00` or `2026-11-24T00:00:00Z`";
        Failure::new(Exit::Usage, format!("{option}: `{text}` is not a time"), help)
    })
}

fn write(request: &PushRequest, enqueued: &Enqueued, out: &mut dyn Write) -> io::Result<()> {
    let Enqueued { id, outcome } = enqueued;
    match outcome {
        EnqueueOutcome::New => {
            let chain: Vec<_> = request.channels.iter().map(|channel| line(channel)).collect();
            writeln!(out, "Enqueued {id} for {}", chain.join(", then "))
        }
        EnqueueOutcome::Known | EnqueueOutcome::Different => {
            writeln!(out, "Known already, nothing was changed: {id}")
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::screen::tests::pipe;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SendArgs,
    }

    fn request(args: &[&str], input: &str, is_terminal: bool) -> anyhow::Result<PushRequest> {
        let line = Line::try_parse_from(["send", "--channel", "wecom,mail"].iter().chain(args))?;
        line.args.request(&pipe(), &mut input.as_bytes(), is_terminal)
    }

    #[test]
    fn a_message_comes_from_arguments_and_input() {
        let all = request(
            &[
                "disk",
                "full",
                "--title",
                "web-1",
                "--to",
                "ops",
                "--level",
                "critical",
                "--priority",
                "urgent",
                "--at",
                "2026-11-24 08:00",
                "--expires",
                "2h",
                "--template",
                "alert",
                "--field",
                "disk=/srv=1",
                "--field",
                "free=0",
                "--group",
                "disk",
                "--link",
                "https://a.example/",
            ],
            "",
            true,
        );
        let all = all.unwrap();
        assert_eq!(all.channels, ["wecom", "mail"]);
        // 2026-11-24 00:00 UTC, which is 08:00 in Shanghai.
        assert_eq!(all.not_before, Some(Timestamp(1_795_478_400_000)));
        assert_eq!(all.expires, Some(Timestamp(1_795_478_400_000 + 7_200_000)));
        assert_eq!(all.content.fields["disk"], "/srv=1");
        assert_eq!((all.content.text.as_str(), all.content.level), ("disk full", MessageLevel::Critical));
        assert_eq!((all.priority, all.origin), (Priority::Urgent, PushOrigin::Cli));

        assert_eq!(request(&[], "from a pipe\n\n", false).unwrap().content.text, "from a pipe");
        let gbk = Line::try_parse_from(["send", "--channel", "mail"]).unwrap();
        let gbk = gbk.args.request(&pipe(), &mut &b"\xb4\xc5 full\n"[..], false).unwrap();
        assert_eq!(gbk.content.text, "\u{fffd}\u{fffd} full", "what can be read is not lost");
        assert_eq!(request(&["-", "--title", "t"], "from a pipe\n", true).unwrap().content.text, "from a pipe");
        assert_eq!(request(&["--title", "t"], "not read", false).unwrap().content.text, "");
        assert_eq!(
            request(&["x", "--expires", "1h"], "", false).unwrap().expires,
            Some(Timestamp(pipe().now.0 + 3_600_000))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (args, says) in [
            (&[][..], "says nothing"),
            (&["x", "--at", "tomorrow"], "--at: `tomorrow` is not a time"),
            (&["x", "--expires", "25:00"], "--expires"),
            (&["x", "--template", "t", "--field", "none"], "NAME=VALUE"),
            (&["x", "--field", "a=b"], "--template"),
            (&["x", "--template", "t", "--field", "a=b", "--field", "a=c"], "`a` is given twice, first as `b`"),
            (&["x", "--link", "see there"], "write an address"),
            (&["x", "--at", "-5m"], "--at: `-5m` is not a time"),
            (&["x", "--level", "loud"], "possible values: info, warn, error, critical"),
        ] {
            let error = request(args, "", true).unwrap_err().to_string();
            assert!(error.contains(says), "{args:?}: {error}");
        }
        assert!(Line::try_parse_from(["send", "x"]).is_err(), "a channel has to be named");
    }
}
