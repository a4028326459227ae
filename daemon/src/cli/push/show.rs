//! `upkeep push list` and `upkeep push show`.

use std::io::{self, Write};

use clap::Args;

use super::{NOBODY, headline};
use crate::api::{MessageDetail, Messages};
use crate::cli::history::{abbreviate, abbreviation};
use crate::cli::screen::{Ink, Screen, duration, grouped, line, plain};
use crate::cli::table::{Cell, Table};
use crate::cli::{stdout_screen, write_json};
use crate::client::{Client, MessageQuery};
use crate::record::RunId;
use crate::record::outbox::{
    Attempt, AttemptOutcome, ChannelCounts, Content, DeliveryReport, Message, MessageLevel, MessageState,
};

/// List messages, newest first, and how many wait in each channel
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those that stand there
    #[arg(long, value_enum)]
    state: Option<MessageState>,
    /// Only those whose turn it is, or was last, with this channel
    #[arg(long)]
    channel: Option<String>,
    /// At most so many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those before this one
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(self, client: &Client, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self { state, channel, limit, before, json } = self;
        let messages = client.messages(&MessageQuery { state, channel, limit: Some(limit), before }).await?;
        if json {
            return write_json(&messages, out);
        }
        write_list(&stdout_screen(), &messages, out)?;
        let waits = messages.channels.iter().any(|channel| channel.due > 0);
        if waits && !client.tasks().await?.tasks.iter().any(|task| task.delivers) {
            writeln!(out, "\nThey wait: {NOBODY}")?;
        }
        Ok(())
    }
}

fn write_list(screen: &Screen, all: &Messages, out: &mut dyn Write) -> io::Result<()> {
    let Messages { messages, channels, next } = all;
    if messages.is_empty() {
        writeln!(out, "There are no such messages.")?;
    } else {
        let ids: Vec<RunId> = messages.iter().map(|message| RunId(message.id.as_str().into())).collect();
        let length = abbreviation(&ids.iter().collect::<Vec<_>>());
        let mut table = Table::new(["MESSAGE", "CAME", "STATE", "CHANNEL", "TRIES", "FROM", "WHAT"], 6);
        for (message, id) in messages.iter().zip(&ids) {
            table.row([
                Cell::from(abbreviate(id, length)),
                screen.relative(message.created).into(),
                state(message.state),
                message.channel().into(),
                message.attempts.to_string().into(),
                message.origin.as_str().into(),
                headline(message).into(),
            ]);
        }
        table.write(screen, 0, out)?;
    }
    if let Some(next) = next {
        writeln!(out, "Older ones: --before {next}")?;
    }
    if !channels.is_empty() {
        writeln!(out)?;
        write_channels(screen, channels, out)?;
        if channels.iter().any(|channel| channel.paused_until.is_some()) {
            writeln!(out, "Once that is put right, `upkeep push resume CHANNEL` ends a pause.")?;
        }
    }
    if messages.iter().any(|message| message.state == MessageState::Dead) {
        writeln!(out, "`upkeep push resend ID` sends a dead one again, `--dead` all of them.")?;
    }
    Ok(())
}

fn write_channels(screen: &Screen, channels: &[ChannelCounts], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(["CHANNEL", "DUE", "LATER", "CLAIMED", "PAUSED"], 4);
    for channel in channels {
        let paused = channel.paused_until.map(|until| {
            let reason = channel.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            Cell::new(Ink::Yellow, format!("until {} ({}){reason}", screen.minute(until), screen.relative(until)))
        });
        table.row([
            Cell::from(channel.channel.as_str()),
            grouped(channel.due).into(),
            grouped(channel.later).into(),
            grouped(channel.claimed).into(),
            paused.unwrap_or_else(|| "-".into()),
        ]);
    }
    table.write(screen, 0, out)
}

fn state(state: MessageState) -> Cell {
    let ink = match state {
        MessageState::Waiting | MessageState::Claimed => Ink::None,
        MessageState::Sent => Ink::Green,
        MessageState::Dead => Ink::Red,
        MessageState::Expired => Ink::Yellow,
    };
    Cell::new(ink, state.name())
}

pub(super) fn write_message(screen: &Screen, detail: &MessageDetail, out: &mut dyn Write) -> io::Result<()> {
    let MessageDetail { message, attempts } = detail;
    let Content { title, text, level, to, template, fields, group, link } = &message.content;
    let key = |key: &str| screen.ink(Ink::Bold, &format!("{key:<9}"));
    writeln!(out, "{} {}", key("message"), line(&message.id))?;
    writeln!(out, "{} {}", key("from"), line(&message.origin))?;
    // The state has a colour of its own, which is no part of the message.
    writeln!(out, "{} {}", key("state"), stands(screen, message))?;
    let mut pair = |name: &str, value: &str| writeln!(out, "{} {}", key(name), line(value));
    if let Some(reason) = &message.reason {
        pair("because", reason)?;
    }
    pair("channels", &chain(message))?;
    let mut optional = |key: &str, value: Option<&str>| value.map_or(Ok(()), |value| pair(key, value));
    optional("to", to.as_deref())?;
    optional("key", message.key.as_deref())?;
    optional("group", group.as_deref())?;
    optional("link", link.as_deref())?;
    optional("template", template.as_deref())?;
    optional("level", (*level != MessageLevel::Info).then(|| level_name(*level)))?;
    optional("came", Some(&screen.second(message.created)))?;
    optional("not before", message.not_before.map(|at| screen.second(at)).as_deref())?;
    optional("expires", message.expires.map(|at| screen.second(at)).as_deref())?;
    optional("times", Some(&screen.zone_note()))?;
    if !title.is_empty() || !text.is_empty() {
        writeln!(out)?;
    }
    if !title.is_empty() {
        writeln!(out, "{}", screen.ink(Ink::Bold, &line(title)))?;
    }
    if !text.is_empty() {
        writeln!(out, "{}", plain(text))?;
    }
    if !fields.is_empty() {
        writeln!(out, "\n{}", screen.ink(Ink::Bold, "Fields"))?;
        let mut table = Table::new(["FIELD", "VALUE"], 1);
        fields.iter().for_each(|(name, value)| table.row([Cell::from(name.as_str()), value.as_str().into()]));
        table.write(screen, 2, out)?;
    }
    if !attempts.is_empty() {
        writeln!(out, "\n{}", screen.ink(Ink::Bold, "Attempts"))?;
        attempt_table(screen, attempts).write(screen, 2, out)?;
        for attempt in attempts {
            if let Some(why) = said(screen, attempt) {
                writeln!(out, "  {}", screen.ink(Ink::Dim, &format!("{}: {}", attempt.attempt, line(&why))))?;
            }
        }
    }
    Ok(())
}

/// Why it did not go through, or what the provider calls it and said of it later.
fn said(screen: &Screen, attempt: &Attempt) -> Option<String> {
    let taken = attempt.provider_id.as_ref().map(|id| format!("taken as {id}"));
    let why = attempt.reason.clone().or(taken)?;
    let Some(DeliveryReport { at, code, status }) = &attempt.report else { return Some(why) };
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Some(format!("{why}; {}: {status}{code}", screen.second(*at)))
}

fn stands(screen: &Screen, message: &Message) -> String {
    let name = state(message.state).shown(screen);
    match (message.state, message.ended) {
        (MessageState::Waiting, _) if message.due > screen.now => format!("{name}, {}", screen.relative(message.due)),
        (MessageState::Claimed, _) => format!("{name}, until {}", screen.second(message.due)),
        (_, Some(ended)) => format!("{name}, {}", screen.second(ended)),
        (_, None) => name,
    }
}

/// The chain, with the channel whose turn it is in brackets.
fn chain(message: &Message) -> String {
    let channels = message.channels.iter().zip(0..);
    let names = channels.map(|(channel, place)| match place == message.position && message.channels.len() > 1 {
        true => format!("[{channel}]"),
        false => channel.clone(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn level_name(level: MessageLevel) -> &'static str {
    match level {
        MessageLevel::Info => "info",
        MessageLevel::Warn => "warn",
        MessageLevel::Error => "error",
        MessageLevel::Critical => "critical",
    }
}

fn attempt_table(screen: &Screen, attempts: &[Attempt]) -> Table {
    let mut table = Table::new(["#", "AT", "CHANNEL", "TOOK", "OUTCOME", "CODE"], 2);
    for attempt in attempts {
        let (ink, outcome) = match attempt.outcome {
            AttemptOutcome::Sent => (Ink::Green, "sent"),
            AttemptOutcome::Retry => (Ink::Yellow, "retry"),
            AttemptOutcome::Throttled => (Ink::Yellow, "throttled"),
            AttemptOutcome::Refused => (Ink::Red, "refused"),
            AttemptOutcome::Lost => (Ink::Yellow, "lost"),
            AttemptOutcome::Passed => (Ink::Yellow, "passed"),
        };
        let took = attempt.took_ms.map(|took| duration(i64::try_from(took).unwrap_or(i64::MAX)));
        table.row([
            Cell::from(attempt.attempt.to_string()),
            screen.second(attempt.at).into(),
            attempt.channel.as_str().into(),
            took.unwrap_or_else(|| "-".to_owned()).into(),
            Cell::new(ink, outcome),
            attempt.code.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;

    use super::*;
    use crate::cli::history::tests::id;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::record::outbox::Priority;

    fn ago(ms: i64) -> Timestamp {
        Timestamp(terminal().now.0 - ms)
    }

    fn message(number: u8, state: MessageState) -> Message {
        let ended = matches!(state, MessageState::Sent | MessageState::Dead | MessageState::Expired);
        Message {
            id: id(number).to_string(),
            origin: "orders".into(),
            key: None,
            channels: vec!["wechat".into(), "wecom".into(), "mail".into()],
            position: 0,
            priority: Priority::Normal,
            state,
            created: ago(i64::from(number) * 90_000),
            since: ago(i64::from(number) * 90_000),
            not_before: None,
            expires: None,
            due: ago(-42_000),
            attempts: u32::from(number),
            tries: u32::from(number),
            ended: ended.then(|| ago(1_000)),
            reason: None,
            content: Content { title: "Your order was sent".into(), ..Content::default() },
        }
    }

    fn shown(write: impl FnOnce(&Screen, &mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&terminal(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| measure_text_width(line) <= 80), "{text}");
        text
    }

    #[test]
    fn tells_what_waits_and_what_became_of_the_rest() {
        let mut messages: Vec<_> = MessageState::ALL.into_iter().zip(0..).map(|(it, n)| message(n, it)).collect();
        messages[3].position = 2;
        messages[4].content = Content {
            text: "\n# Disk\nThe disk of web-1 is full, and has been for a week, which nobody saw\n".into(),
            ..Content::default()
        };
        let channel = |name: &str, due, paused_until: Option<Timestamp>| ChannelCounts {
            channel: name.into(),
            due,
            later: 3,
            claimed: 1,
            paused_until,
            reason: paused_until.map(|_| "45009: reach max api daily quota limit".into()),
        };
        let channels = vec![channel("mail", 12_345, None), channel("wechat", 2, Some(ago(-32_000_000)))];
        let all = Messages { messages, channels, next: Some(id(4).to_string()) };
        insta::assert_snapshot!(shown(|screen, out| write_list(screen, &all, out)));
        let none = Messages { messages: vec![], channels: vec![], next: None };
        assert_eq!(shown(|screen, out| write_list(screen, &none, out)), "There are no such messages.\n");
    }

    #[test]
    fn shows_every_attempt() {
        let attempt = |attempt, channel: &str, outcome, reason: Option<&str>| Attempt {
            attempt,
            at: ago(i64::from(10 - attempt) * 61_000),
            channel: channel.into(),
            outcome,
            code: reason.map(|_| "43101".into()),
            reason: reason.map(str::to_owned),
            provider_id: None,
            took_ms: (outcome != AttemptOutcome::Lost).then_some(118),
            report: None,
        };
        let report = DeliveryReport { at: ago(5_000), code: Some(0), status: "success".into() };
        let refused = "user refuse to accept the msg rid: 5f3c5f3c-5f3c5f3c-5f3c5f3c";
        let sent = Attempt {
            provider_id: Some("2101483940183752704".into()),
            report: Some(report),
            ..attempt(4, "wecom", AttemptOutcome::Sent, None)
        };
        let attempts = vec![
            attempt(1, "wechat", AttemptOutcome::Lost, None),
            attempt(2, "wechat", AttemptOutcome::Retry, Some("system error")),
            attempt(3, "wechat", AttemptOutcome::Refused, Some(refused)),
            sent,
        ];
        let fields = [("thing1", "T-shirt"), ("amount2", "¥12.00")].map(|(name, value)| (name.into(), value.into()));
        let message = Message {
            position: 1,
            key: Some("order-4711-sent".into()),
            expires: Some(ago(-3_600_000)),
            content: Content {
                title: "Your order was sent".into(),
                text: "It comes **tomorrow**.\n\nSee you!".into(),
                level: MessageLevel::Warn,
                to: Some("oABC-openid".into()),
                template: Some("order-sent".into()),
                fields: fields.into(),
                group: None,
                link: Some("https://shop.example/orders/4711".into()),
            },
            ..message(1, MessageState::Sent)
        };
        insta::assert_snapshot!(shown(|screen, out| write_message(screen, &MessageDetail { message, attempts }, out)));
        let waiting = MessageDetail { message: message_waiting(), attempts: vec![] };
        insta::assert_snapshot!(shown(|screen, out| write_message(screen, &waiting, out)));
    }

    fn message_waiting() -> Message {
        Message { reason: Some("connection refused".into()), ..message(2, MessageState::Waiting) }
    }
}
