//! How messages about alerts read: Markdown that chat robots, mail and terminals can show.

use std::fmt::Write as _;

use chrono_tz::Tz;

use crate::clock::Timestamp;
use crate::record::alert::Alert;
use crate::record::outbox::Content;

/// Alerts that a message tells one by one.
const MOST: usize = 10;

/// Bytes of what is known of one alert.
const LONGEST_DETAIL: usize = 400;

/// Bytes of a title.
const LONGEST_TITLE: usize = 160;

/// What is told of an alert, as it is from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// The alert.
    pub alert: Alert,
    /// What.
    pub what: What,
}

/// See [`Telling`]. The order is that of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Nobody has acknowledged it.
    Escalated,
    /// It is wrong.
    Opened,
    /// It goes wrong and right again and again.
    Flapping,
    /// It is still wrong.
    Reminder,
    /// It is right again.
    Over,
}

/// What a message says.
pub fn content(tellings: &[Telling], now: Timestamp, zone: Tz, host: &str) -> Content {
    let mut sorted: Vec<&Telling> = tellings.iter().collect();
    sorted.sort_by(|a, b| {
        (a.what, b.alert.level, a.alert.opened, &a.alert.key).cmp(&(
            b.what,
            a.alert.level,
            b.alert.opened,
            &b.alert.key,
        ))
    });
    let title = match sorted.as_slice() {
        [one] => format!("[{host}] {}", headline(one, now)),
        many => format!("[{host}] {}", counted(many)),
    };
    let mut text = String::new();
    for telling in sorted.iter().take(MOST) {
        if sorted.len() > 1 {
            let _ = writeln!(text, "**{}**", headline(telling, now));
        }
        text.push_str(&body(telling, zone));
        text.push('\n');
    }
    if let Some(more) = sorted.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(text, "... and {more} more: `upkeep alerts`");
    }
    let group = match sorted.as_slice() {
        [one] => one.alert.key.clone(),
        _ => "alerts".to_owned(),
    };
    Content { title, text: text.trim_end().to_owned(), group: Some(group), ..Content::default() }
}

/// `2 alerts, 1 reminder, 1 resolved`.
fn counted(tellings: &[&Telling]) -> String {
    let count = |whats: &[What]| tellings.iter().filter(|it| whats.contains(&it.what)).count();
    let parts = [
        (count(&[What::Escalated]), "not acknowledged", "not acknowledged"),
        (count(&[What::Opened, What::Flapping]), "alert", "alerts"),
        (count(&[What::Reminder]), "still wrong", "still wrong"),
        (count(&[What::Over]), "resolved", "resolved"),
    ];
    let parts = parts.into_iter().filter(|(many, ..)| *many > 0);
    parts
        .map(|(many, one, more)| format!("{many} {}", if many == 1 { one } else { more }))
        .collect::<Vec<_>>()
        .join(", ")
}

fn headline(telling: &Telling, now: Timestamp) -> String {
    let alert = &telling.alert;
    let title = one_line(&alert.title, LONGEST_TITLE);
    let since = |at: Timestamp| span(now.0 - at.0);
    match telling.what {
        What::Opened => title,
        What::Flapping => format!("Flapping: {title}"),
        What::Reminder => format!("Still: {title}, for {}", since(alert.opened)),
        What::Escalated => format!("Nobody has acknowledged for {}: {title}", since(alert.told.unwrap_or(now))),
        What::Over => format!("Resolved: {title}, after {}", span(alert.closed.unwrap_or(now).0 - alert.opened.0)),
    }
}

fn body(telling: &Telling, zone: Tz) -> String {
    let alert = &telling.alert;
    let mut text = String::new();
    if telling.what == What::Over {
        let _ = writeln!(text, "It was wrong from {} on.", minute(alert.opened, zone));
        return text;
    }
    if !alert.detail.is_empty() {
        let _ = writeln!(text, "{}", one_line(&alert.detail, LONGEST_DETAIL));
    }
    let times = if alert.times > 1 { format!(", {} times in a row", alert.times) } else { String::new() };
    let _ = write!(text, "Since {}{times}.", minute(alert.opened, zone));
    if alert.flapping {
        text.push_str(" It goes wrong and right again and again: it is over when it was right for half an hour.");
    }
    if alert.presses {
        let _ = write!(text, " To take it on: `upkeep ack {}`", alert.key);
    }
    text.push('\n');
    text
}

/// A time to the minute with its zone: `2026-11-23 03:30 (UTC+08:00)`.
pub fn minute(at: Timestamp, zone: Tz) -> String {
    let local = at.utc().with_timezone(&zone);
    let offset = local.format("%:z").to_string();
    let offset = if offset == "+00:00" { String::new() } else { offset };
    format!("{} (UTC{offset})", local.format("%Y-%m-%d %H:%M"))
}

/// A time span to the minute: `3d 4h`, `2h 10m`, `5m`, `20s`.
pub fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, 0) => format!("{hours}h"),
        (0, ..) => format!("{hours}h {minutes}m"),
        (_, 0, _) => format!("{days}d"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Text of others on one line of so many bytes at the most, with nothing that anybody would fill in.
pub fn one_line(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    // What others wrote must not become a secret on its way (decision 17).
    let line = words.collect::<Vec<_>>().join(" ").replace("{{", "{ {");
    if line.len() <= most {
        return line;
    }
    let end = (0..=most).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", line[..end].trim_end())
}
