//! What the robots of groups have in common: a message without fields, as one text.

use crate::cut::{bytes, json_bytes};
use crate::digest::digest;
use crate::markdown::plain;
use crate::message::Message;
use crate::{Settings, dingtalk, feishu, ntfy, wecom};

/// Headline, text and link, without marks.
pub(crate) fn text(message: &Message) -> String {
    join([message.marked(), plain(&message.words()), message.link().unwrap_or_default().to_owned()])
}

/// Headline, text and link in the Markdown that WeCom and DingTalk show: no tables, no HTML.
pub(crate) fn markdown(message: &Message) -> String {
    let link = message.link().map(|it| format!("[{it}]({it})"));
    join([format!("### {}", message.marked()), message.words().trim_end().to_owned(), link.unwrap_or_default()])
}

fn join(parts: [String; 3]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    parts.join("\n\n")
}

/// Bytes of a digest where a provider has no limit: more than anybody reads.
const MOST: usize = 64 * 1024;

/// Several messages as one that the channel takes uncut, so that nothing is dropped without being counted. Nothing for WeChat,
/// whose messages are to one user each, and in a form.
pub(crate) fn merged(messages: &[Message], settings: &Settings) -> Option<Message> {
    // How large it is and may be, as the channel measures it.
    let measured = |message: &Message| match settings {
        Settings::WeCom(_) => {
            let (content, limit) = wecom::content(message);
            (content.chars().map(bytes).sum(), limit)
        }
        Settings::DingTalk(_) => {
            let (content, limit) = dingtalk::content(message);
            (content.chars().map(bytes).sum(), limit)
        }
        Settings::Feishu(_) => {
            let (content, limit) = feishu::content(message);
            // Whoever is called is behind it.
            let called: usize = message.to.mention.iter().map(|it| it.len() + 32).sum();
            (content.chars().map(json_bytes).sum::<usize>() + called, limit)
        }
        Settings::Ntfy(_) => (message.text.len(), ntfy::MOST),
        _ => (message.text.len(), MOST),
    };
    if matches!(settings, Settings::WechatSubscribe(_) | Settings::WechatService(_)) {
        return None;
    }
    let mut room = MOST;
    loop {
        let message = digest(messages, room);
        let (has, limit) = measured(&message);
        if has <= limit || room == 0 {
            return Some(message);
        }
        // What stands around the text, and what escapes make longer, is not known before.
        room = limit.min(room.saturating_sub((has - limit).max(room / 16 + 1)));
    }
}
