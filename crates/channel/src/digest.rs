//! One message for several, when there are more than a channel takes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::markdown::plain;
use crate::message::{EVERYBODY, Level, MOST_CALLED, Message, Recipients, one_line};

/// What a digest is about, if its messages are not all about the same.
const MIXED: &str = "digest";
/// Characters of a message's line.
const MOST_OF_LINE: usize = 160;
/// What there is of one group.
struct Group<'a> {
    /// With its numbers.
    head: String,
    messages: Vec<&'a Message>,
}

/// One message that tells of all: how many there are by level and group, and a line for each. Where not all fit into `room` bytes of
/// Markdown, first the words behind the titles are left out, and then lines, those of the least important messages first. What
/// has no line is counted, always. The worst comes first. It is meant for the messages themselves: in a digest of digests, each counts
/// as one.
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
    let most = lines(&groups, room, headed_words).filter(|it| it.count == messages.len());
    let lines = most.or_else(|| lines(&groups, room, Message::headline)).unwrap_or_default();
    let text = shown(&groups, &lines, room);
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
        link: same(Message::link),
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
    let mut groups: Vec<Group<'_>> = Vec::with_capacity(by_name.len());
    for (name, mut messages) in by_name {
        messages.sort_by_key(|it| (Reverse(it.level), it.at));
        let name = if name.is_empty() { "(no group)".to_owned() } else { shortened(&one_line(name), 80) };
        let head = format!("**{name}**: {} ({})\n", messages.len(), levels(messages.iter().copied()));
        groups.push(Group { head, messages });
    }
    groups.sort_by_key(|it| (Reverse(it.messages.first().map(|it| it.level)), Reverse(it.messages.len())));
    groups
}

/// Lines of messages, the most important ones first.
#[derive(Default)]
struct Lines {
    /// By the place of the group.
    of_group: BTreeMap<usize, Vec<String>>,
    /// How many there are.
    count: usize,
}

/// As many lines as fit together with the heads of their groups and what counts the rest; nothing where not even one does.
fn lines(groups: &[Group<'_>], room: usize, line: impl Fn(&Message) -> String) -> Option<Lines> {
    let mut order: Vec<(usize, &Message)> =
        groups.iter().enumerate().flat_map(|(at, group)| group.messages.iter().map(move |it| (at, *it))).collect();
    // Within a level by group, so that few groups need a head; within a group by age.
    order.sort_by_key(|(at, it)| (Reverse(it.level), *at));
    let mut all = Lines::default();
    let (mut size, mut remarks, mut fitting) = (0, 0, 0);
    let (mut left, mut left_groups) = (order.len(), groups.len());
    for (at, message) in &order {
        let (group, line) = (&groups[*at], format!("- {}\n", shortened(&line(message), MOST_OF_LINE)));
        let lines = all.of_group.entry(*at).or_default();
        if lines.is_empty() {
            size += group.head.len() + 1;
            left -= group.messages.len();
            left_groups -= 1;
        } else {
            remarks -= group.remark(lines.len()).len();
        }
        size += line.len();
        lines.push(line);
        all.count += 1;
        remarks += group.remark(lines.len()).len();
        if size > room {
            break;
        }
        // The last line of a group can be shorter than the remark in whose place it stands.
        if size + remarks + rest(left, left_groups).len() <= room {
            fitting = all.count;
        }
    }
    for (at, _) in order[fitting..all.count].iter().rev() {
        if let Some(lines) = all.of_group.get_mut(at) {
            lines.pop();
        }
    }
    all.of_group.retain(|_, lines| !lines.is_empty());
    all.count = fitting;
    (fitting > 0).then_some(all)
}

/// Groups that have lines, with these; then the heads of others as far as there is room, and how many more there are.
fn shown(groups: &[Group<'_>], lines: &Lines, room: usize) -> String {
    let mut blocks: BTreeMap<usize, String> =
        lines.of_group.iter().map(|(at, lines)| (*at, groups[*at].shown(lines))).collect();
    let mut size: usize = blocks.values().map(String::len).sum();
    let mut left_groups = groups.len() - blocks.len();
    let without = |it: &(usize, &Group<'_>)| !lines.of_group.contains_key(&it.0);
    let mut left: usize = groups.iter().enumerate().filter(without).map(|(_, it)| it.messages.len()).sum();
    for (at, group) in groups.iter().enumerate().filter(without) {
        let (block, after) = (group.shown(&[]), rest(left - group.messages.len(), left_groups - 1));
        if size + block.len() + after.len() > room {
            break;
        }
        (size, left, left_groups) = (size + block.len(), left - group.messages.len(), left_groups - 1);
        blocks.insert(at, block);
    }
    let text: String = blocks.into_values().collect();
    text + &rest(left, left_groups)
}

impl Group<'_> {
    /// The remark of the messages that have no line; without any lines, the head has the number.
    fn remark(&self, lines: usize) -> String {
        match self.messages.len() - lines {
            0 => String::new(),
            _ if lines == 0 => String::new(),
            missing => format!("- … and {missing} more\n"),
        }
    }

    fn shown(&self, lines: &[String]) -> String {
        format!("{}{}{}\n", self.head, lines.concat(), self.remark(lines.len()))
    }
}

/// What a message says in one line: its headline, and the words of its text behind it.
fn headed_words(message: &Message) -> String {
    let (headline, words) = (message.headline(), one_line(&plain(&message.words())));
    match words.strip_prefix(headline.trim_end_matches('…')) {
        // Without a title, the headline is the beginning of the text.
        Some(_) => words,
        None if words.is_empty() => headline,
        None => format!("{headline}: {words}"),
    }
}

/// The remark of what has no lines at all.
fn rest(messages: usize, groups: usize) -> String {
    match groups {
        0 => String::new(),
        1 => format!("… and {messages} more of one group\n"),
        _ => format!("… and {messages} more of {groups} groups\n"),
    }
}

/// How many of each level, the worst first: `2 critical, 1 info`.
fn levels<'a>(messages: impl Iterator<Item = &'a Message>) -> String {
    let mut counts: BTreeMap<Reverse<Level>, usize> = BTreeMap::new();
    messages.for_each(|it| *counts.entry(Reverse(it.level)).or_default() += 1);
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
