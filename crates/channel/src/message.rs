//! What is to be told, whatever it is told by.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refused::Refused;

/// How much it matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the field's")]
pub enum Level {
    #[default]
    Info,
    Warn,
    Error,
    Critical,
}

impl Level {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Something that is to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The idempotency key: who was told it already is not told again. 1 to 200 visible characters of ASCII.
    pub id: String,
    /// What it is about, such as `disk-full/var`.
    #[serde(default)]
    pub group: String,
    /// How much it matters.
    #[serde(default)]
    pub level: Level,
    /// One line, no Markdown.
    #[serde(default)]
    pub title: String,
    /// Markdown.
    #[serde(default)]
    pub text: String,
    /// Where more is to be seen: a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Who is told. Who is in a robot's group is told without being named.
    #[serde(default)]
    pub to: Recipients,
    /// The values for a form that the provider has, for channels that know nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// When it was said, milliseconds since 1970.
    #[serde(default)]
    pub at: i64,
}

/// Who is told, by what the channels call them: a message that goes from one channel to the next finds its people in each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recipients {
    /// A user of the mini-program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// Addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mail: Vec<String>,
    /// Who is called by name in the robot's group: phone numbers for DingTalk, phone numbers or user ids for WeCom, open ids for
    /// Feishu; `@all` calls everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mention: Vec<String>,
}

impl Recipients {
    /// Takes a list of names apart, which are separated by spaces, commas or both: `@NAME` is called by name in a group
    /// (`@all`: everybody), what has an `@` further behind is an address of mail, and anything else a user of the mini-program.
    ///
    /// # Errors
    /// When there are two users: a message to one goes to one.
    pub fn parse(list: &str) -> Result<Self, Refused> {
        let mut to = Self::default();
        for name in list.split([' ', ',', '\t', '\n']).filter(|it| !it.is_empty()) {
            match name.strip_prefix('@') {
                _ if name == EVERYBODY => to.mention.push(name.to_owned()),
                Some(called) => to.mention.push(called.to_owned()),
                None if name.contains('@') => to.mail.push(name.to_owned()),
                None if to.openid.is_none() => to.openid = Some(name.to_owned()),
                None => {
                    let rule = "one user at the most, addresses of mail and names with an @ in front";
                    return Err(Refused::rule("to", rule));
                }
            }
        }
        Ok(to)
    }
}

/// The name by which everybody in a group is called.
pub const EVERYBODY: &str = "@all";

/// The values for a form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its name in the channel's settings.
    pub name: String,
    /// Values by the provider's key, such as `thing3`.
    pub fields: BTreeMap<String, String>,
    /// The page of the mini-program that opens, with its parameters; without one the template's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// Characters of an id.
const MOST_OF_ID: usize = 200;
/// Names that are called; more would fill the message.
pub(crate) const MOST_CALLED: usize = 100;
/// Bytes of such a name.
const MOST_OF_NAME: usize = 100;
/// Characters of a headline: more than any chat shows in one.
const MOST_OF_HEADLINE: usize = 200;
/// Bytes of a URL; what browsers and chats take for sure.
const MOST_OF_LINK: usize = 2000;

impl Message {
    /// What every channel asks of a message: an id that fits into a header, something to say, and names that leave room.
    pub fn check(&self) -> Result<(), Refused> {
        if self.id.is_empty() {
            return Err(Refused::Empty { field: "id".into() });
        }
        if !self.id.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(Refused::rule("id", "visible characters of ASCII"));
        }
        if self.id.len() > MOST_OF_ID {
            return Err(Refused::TooLong {
                field: "id".into(),
                limit: MOST_OF_ID,
                unit: "characters",
                has: self.id.len(),
            });
        }
        if self.template.is_none() && self.title.trim().is_empty() && self.text.trim().is_empty() {
            return Err(Refused::Empty { field: "title".into() });
        }
        let called = &self.to.mention;
        if called.len() > MOST_CALLED {
            return Err(Refused::TooLong {
                field: "to.mention".into(),
                limit: MOST_CALLED,
                unit: "names",
                has: called.len(),
            });
        }
        if called.iter().any(|it| {
            it.is_empty() || it.len() > MOST_OF_NAME || it.chars().any(|it| it.is_control() || it.is_whitespace())
        }) {
            return Err(Refused::rule("to.mention", format!("names of up to {MOST_OF_NAME} bytes, without spaces")));
        }
        Ok(())
    }

    /// The link, if it is one: where it is only an addition, what is none is left out.
    pub(crate) fn link(&self) -> Option<&str> {
        self.checked_link().ok().flatten()
    }

    /// The link, for a channel that shows nothing without it.
    pub(crate) fn checked_link(&self) -> Result<Option<&str>, Refused> {
        match self.link.as_deref() {
            Some(link) if link.len() > MOST_OF_LINK => {
                Err(Refused::TooLong { field: "link".into(), limit: MOST_OF_LINK, unit: "bytes", has: link.len() })
            }
            Some(link) if !is_link(link) => Err(Refused::rule(
                "link",
                "a URL that begins with http:// or https://, without spaces, brackets and quotes",
            )),
            link => Ok(link),
        }
    }

    /// The title in one line, or the first words of the text, or the template's name; of more than 200 characters the first, with `…` at the end.
    pub fn headline(&self) -> String {
        let mut title = one_line(&self.title);
        if title.is_empty() {
            let text = crate::markdown::plain(&self.text);
            title = text.lines().map(one_line).find(|it| !it.is_empty()).unwrap_or_default();
        }
        if let Some(template) = self.template.as_ref().filter(|_| title.is_empty()) {
            title = one_line(&template.name);
        }
        if let Some((end, _)) = title.char_indices().nth(MOST_OF_HEADLINE) {
            title.truncate(end);
            title.push('…');
        }
        title
    }

    /// The text, or where there is none what the template says: a channel without forms has nothing else to show. Nothing where the
    /// headline is the whole text.
    pub(crate) fn words(&self) -> Cow<'_, str> {
        if self.title.trim().is_empty() && self.text.trim() == self.headline() {
            return Cow::Borrowed("");
        }
        match &self.template {
            Some(template) if self.text.trim().is_empty() => template
                .fields
                .iter()
                .map(|(key, value)| format!("- {key}: {}\n", one_line(value)))
                .collect::<String>()
                .into(),
            _ => Cow::Borrowed(self.text.trim()),
        }
    }

    /// The headline, with the level in front unless it is just told.
    pub(crate) fn marked(&self) -> String {
        match self.level {
            Level::Info => self.headline(),
            level => format!("[{}] {}", level.name(), self.headline()),
        }
    }
}

/// Whether a text can stand as a link in Markdown, HTML and JSON alike.
fn is_link(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|it| !it.is_empty() && !it.starts_with('/'))
        && text.chars().all(|it| !it.is_whitespace() && !it.is_control() && !"()<>[]{}\"'`\\|^".contains(it))
}

/// All of it in one line, with single spaces.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|it: char| it.is_whitespace() || it.is_control()).filter(|it| !it.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message { id: "m-1".into(), title: "Backup failed".into(), ..Message::default() }
    }

    #[test]
    fn asks_for_an_id_that_fits_into_a_header() {
        assert_eq!(message().check(), Ok(()));
        for id in ["", "a b", "a\r\nEvil: 1", "日", &"x".repeat(201)] {
            assert!(Message { id: id.into(), ..message() }.check().is_err(), "{id:?}");
        }
    }

    #[test]
    fn asks_for_something_to_say() {
        let said = Message { title: " ".into(), text: "\n".into(), ..message() }.check();
        assert_eq!(said.unwrap_err().to_string(), "title is empty: write something into it");
    }

    #[test]
    fn asks_for_names_that_leave_room() {
        let calling =
            |mention: Vec<String>| Message { to: Recipients { mention, ..Recipients::default() }, ..message() }.check();
        assert_eq!(calling(vec!["日".repeat(33); 100]), Ok(()));
        for mention in
            [vec!["a".into(); 101], vec!["a".repeat(101)], vec![String::new()], vec!["a b".into()], vec!["a\n".into()]]
        {
            assert!(calling(mention).is_err());
        }
    }

    #[test]
    fn knows_links_that_are_links() {
        let with = |link: &str| Message { link: Some(link.into()), ..message() };
        let good = "https://ops.example.org/runs/7?x=1&y=%20#z";
        assert_eq!(with(good).link(), Some(good));
        for link in
            ["javascript:alert(1)", "https://", "https:///x", "http://a b", "https://a/)[x](https://evil", "ftp://a"]
        {
            let message = with(link);
            assert_eq!((message.check(), message.link()), (Ok(()), None), "{link:?}");
            assert!(message.checked_link().is_err(), "{link:?}");
        }
        assert!(with(&format!("https://a/{}", "x".repeat(2000))).link().is_none());
    }

    #[test]
    fn takes_recipients_apart() {
        let to = Recipients::parse("o7esq5OI1Uej, ops@example.org @13800138000,@all\tdev@example.org").unwrap();
        assert_eq!(to.openid.as_deref(), Some("o7esq5OI1Uej"));
        assert_eq!(to.mail, ["ops@example.org", "dev@example.org"]);
        assert_eq!(to.mention, ["13800138000", "@all"]);
        assert_eq!(Recipients::parse(" , ").unwrap(), Recipients::default());
        assert_eq!(
            Recipients::parse("o1 o2").unwrap_err().to_string(),
            "to must be one user at the most, addresses of mail and names with an @ in front"
        );
    }

    #[test]
    fn has_a_headline_in_any_case() {
        assert_eq!(Message { title: " a\r\n b\u{7}c ".into(), ..message() }.headline(), "a b c");
        assert_eq!(
            Message { title: String::new(), text: "\n# *Disk* full\nmore".into(), ..message() }.headline(),
            "Disk full"
        );
        assert_eq!(Message { title: "日".repeat(201), ..message() }.headline(), "日".repeat(200) + "…");
    }
}
