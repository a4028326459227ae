//! One message for several, when there are more than a channel takes.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::message::{EVERYBODY, Level, MOST_CALLED, Message, Recipients, one_line};

/// What a digest is about, if its messages are not all about the same.
const MIXED: &str = "digest";
/// Characters of a message's line.
const MOST_OF_LINE: usize = 160;
/// Lines of one group, so that a single one does not push all others out.
const MOST_LINES: usize = 5;

/// What there is of one group.
struct Group<'a> {
    name: &'a str,
    messages: Vec<&'a Message>,
}

/// One message that tells of all: how many there are by level and group, and the first line of as many as fit into `room` bytes of
/// Markdown. What does not fit is counted, always. The worst comes first. It is meant for the messages themselves: in a digest of
/// digests, each counts as one.
///
/// The id follows from those of the messages, so that the same ones, merged again after a crash, are the same digest. Recipients
/// are those that all messages share, apart from who is called by name: whom any of them calls, or all if that are too many.
///
/// Below some 200 bytes, nothing but the numbers fits, and they stand there whatever the room.
pub fn digest(messages: &[Message], room: usize) -> Message {
    if let [one] = messages {
        return one.clone();
    }
    let groups = groups(messages);
    let title = format!("{} messages: {}", messages.len(), levels(messages.iter()));
    let mut text = String::new();
    let mut told = 0;
    for (at, group) in groups.iter().enumerate() {
        let (left, left_groups) = (messages.len() - told, groups.len() - at);
        let lines = group.lines();
        // The most that fits, with the rest still counted behind it.
        let rest = rest(left - group.messages.len(), left_groups - 1);
        let fitting = (1..=lines.len())
            .rev()
            .map(|it| group.shown(&lines[..it]))
            .find(|it| text.len() + it.len() + rest.len() <= room);
        let Some(block) = fitting else {
            text.push_str(&self::rest(left, left_groups));
            told = messages.len();
            break;
        };
        text.push_str(&block);
        told += group.messages.len();
    }
    debug_assert_eq!(told, messages.len());
    let same = |value: fn(&Message) -> Option<&str>| {
        let first = messages.first().and_then(value)?;
        messages.iter().all(|it| value(it) == Some(first)).then(|| first.to_owned())
    };
    Message {
        id: id(messages),
        group: same(|it| Some(&it.group)).filter(|it| !it.is_empty()).unwrap_or_else(|| MIXED.to_owned()),
        level: messages.iter().map(|it| it.level).max().unwrap_or_default(),
        title,
        text: text.trim_end().to_owned(),
        link: same(|it| it.link.as_deref()),
        to: recipients(messages),
        template: None,
        at: messages.iter().map(|it| it.at).max().unwrap_or_default(),
    }
}

fn groups(messages: &[Message]) -> Vec<Group<'_>> {
    let mut by_name: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
    for message in messages {
        by_name.entry(&message.group).or_default().push(message);
    }
    let mut groups: Vec<Group<'_>> = by_name.into_iter().map(|(name, messages)| Group { name, messages }).collect();
    for group in &mut groups {
        group.messages.sort_by_key(|it| (std::cmp::Reverse(it.level), it.at));
    }
    groups.sort_by_key(|it| {
        (std::cmp::Reverse(it.messages.first().map(|it| it.level)), std::cmp::Reverse(it.messages.len()))
    });
    groups
}

impl Group<'_> {
    /// The group's head, and the first lines of its messages.
    fn lines(&self) -> Vec<String> {
        let name = if self.name.is_empty() { "(no group)".to_owned() } else { shortened(&one_line(self.name), 80) };
        let mut lines =
            vec![format!("**{name}**: {} ({})\n", self.messages.len(), levels(self.messages.iter().copied()))];
        lines.extend(
            self.messages.iter().take(MOST_LINES).map(|it| format!("- {}\n", shortened(&it.headline(), MOST_OF_LINE))),
        );
        lines
    }

    /// The lines, with a remark of the messages that have none.
    fn shown(&self, lines: &[String]) -> String {
        let missing = self.messages.len() - (lines.len() - 1);
        let remark = match missing {
            0 => String::new(),
            // The head has the number.
            _ if lines.len() == 1 => String::new(),
            _ => format!("- … and {missing} more\n"),
        };
        format!("{}{remark}\n", lines.concat())
    }
}

/// The remark of what has no lines at all.
fn rest(messages: usize, groups: usize) -> String {
    if messages == 0 { String::new() } else { format!("… and {messages} more of {groups} groups\n") }
}

/// How many of each level, the worst first: `2 critical, 1 info`.
fn levels<'a>(messages: impl Iterator<Item = &'a Message>) -> String {
    let mut counts: BTreeMap<std::cmp::Reverse<Level>, usize> = BTreeMap::new();
    messages.for_each(|it| *counts.entry(std::cmp::Reverse(it.level)).or_default() += 1);
    let words: Vec<String> = counts.iter().map(|(level, count)| format!("{count} {}", level.0.name())).collect();
    words.join(", ")
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn id(messages: &[Message]) -> String {
    let mut ids: Vec<&str> = messages.iter().map(|it| it.id.as_str()).collect();
    ids.sort_unstable();
    let hash = Sha256::digest(ids.join("\n").as_bytes());
    let digits: String = hash.iter().take(16).map(|it| format!("{it:02x}")).collect();
    format!("digest-{digits}")
}

fn recipients(messages: &[Message]) -> Recipients {
    let Some(first) = messages.first() else { return Recipients::default() };
    let mut mention: Vec<String> = messages.iter().flat_map(|it| it.to.mention.iter().cloned()).collect();
    mention.sort_unstable();
    mention.dedup();
    if mention.len() > MOST_CALLED {
        mention = vec![EVERYBODY.to_owned()];
    }
    Recipients {
        openid: first
            .to
            .openid
            .clone()
            .filter(|it| messages.iter().all(|message| message.to.openid.as_ref() == Some(it))),
        mail: if messages.iter().all(|it| it.to.mail == first.to.mail) { first.to.mail.clone() } else { Vec::new() },
        mention,
    }
}
