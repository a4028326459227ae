//! Application events: lines of JSON that say who did what and when.

use crate::escape::Escape;
use crate::json::tree::{Tree, scalar};
use crate::json::{Members, Value, members};
use crate::malformed::{Malformed, Reason};
use crate::time::{Clock, Unit};

/// Where an object has what. Of several keys for the same, the first that a line has is taken; they are written as those of
/// [`JsonKeys`](crate::JsonKeys).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventKeys {
    /// Who: a text or a number.
    pub user: Vec<String>,
    /// What: a text.
    pub event: Vec<String>,
    /// When: a number, RFC 3339, or as `$time_local`.
    pub time: Vec<String>,
    /// What the time counts, if it is a number.
    pub time_unit: Unit,
    /// An object with more about the event.
    pub properties: Vec<String>,
}

impl Default for EventKeys {
    fn default() -> Self {
        let owned = |keys: &[&str]| keys.iter().map(|it| (*it).to_owned()).collect();
        Self {
            user: owned(&["user_id", "user", "uid", "openid"]),
            event: owned(&["event", "event_name", "name"]),
            time: owned(&["time", "timestamp", "ts", "@timestamp"]),
            time_unit: Unit::Auto,
            properties: owned(&["properties", "props"]),
        }
    }
}

/// An event. Texts stand as in the line; [`Escape::Json`] takes their escapes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventEntry<'a> {
    /// Who; none if nobody is named.
    pub user: Option<&'a [u8]>,
    /// What.
    pub event: &'a [u8],
    /// When, in seconds since 1970-01-01T00:00:00Z.
    pub time: i64,
    /// Milliseconds of that second, if the log has them.
    pub millis: Option<u16>,
    /// An object of JSON, from brace to brace.
    pub properties: Option<&'a [u8]>,
}

impl<'a> EventEntry<'a> {
    /// The properties one by one.
    pub fn properties(&self) -> Members<'a> {
        members(self.properties.unwrap_or(b"{}"))
    }

    /// A text of the event without its escapes; borrowed if there are none.
    pub fn text(&self, field: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        Escape::Json.unescape(field)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    User,
    Event,
    Time,
    Properties,
}

/// What the lines of a log of events look like.
#[derive(Debug, Clone)]
pub struct EventFormat {
    tree: Tree<(What, u8)>,
    unit: Unit,
}

impl EventFormat {
    /// Compiles keys.
    pub fn new(keys: &EventKeys) -> Self {
        let mut tree = Tree::new();
        for (names, what) in [
            (&keys.user, What::User),
            (&keys.event, What::Event),
            (&keys.time, What::Time),
            (&keys.properties, What::Properties),
        ] {
            for (rank, name) in (0..=u8::MAX - 1).zip(names) {
                tree.insert(name, (what, rank));
            }
        }
        Self { tree, unit: keys.time_unit }
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    ///
    /// No JSON object, no event or no time.
    pub fn parse<'a>(&self, line: &'a [u8], clock: &mut Clock) -> Result<EventEntry<'a>, Malformed> {
        let mut found: [(u8, usize, &'a [u8]); 4] = [(u8::MAX, line.len(), b""); 4];
        self.tree.walk(line, &mut |(what, rank): (What, u8), value, at| {
            let place = &mut found[what as usize];
            let text = match (what, value) {
                (What::Properties, Value::Object(it)) => Some(it),
                (What::Properties, _) => None,
                _ => scalar(value, at).unwrap_or(None).filter(|it| !it.is_empty()),
            };
            if let Some(text) = text
                && rank < place.0
            {
                *place = (rank, at, text);
            }
            Ok(())
        })?;
        let [user, event, time, properties] = found;
        let given = |(rank, _, text): (u8, usize, &'a [u8])| (rank != u8::MAX).then_some(text);
        let moment = given(time).and_then(|it| clock.any(&Escape::Json.unescape(it), self.unit));
        let moment = moment.ok_or(Malformed::new(Reason::Time, time.1))?;
        Ok(EventEntry {
            user: given(user),
            event: given(event).ok_or(Malformed::new(Reason::Event, event.1))?,
            time: moment.seconds,
            millis: moment.millis,
            properties: given(properties),
        })
    }
}
