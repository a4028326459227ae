//! Events of applications: who did what, and when.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use upkeep_accesslog::{Clock, EventFormat};
use upkeep_plugin::{Context, Error, Result};
use upkeep_rollup::{Event, EventPiece, Section};

use super::{Tally, When};
use crate::config::{Source, Stats};
use crate::store::Store;
use crate::store::dialect::short;

/// The period of the key that users are hashed with: it stays, since who comes back after a month is what is asked.
const FOR_EVER: i32 = 0;

/// Counts events.
pub(crate) struct Events {
    piece: EventPiece,
    key: SipHasher13,
}

impl Events {
    pub(crate) fn new(ctx: &Context, stats: &Stats, source: &str, store: &Store) -> Result<Self> {
        let piece = EventPiece::new(&stats.options(ctx), stats.funnels(source)?);
        Ok(Self {
            piece: piece.map_err(|error| Error::config(error.to_string()))?,
            key: SipHasher13::new_with_key(&store.visitor_key(source, FOR_EVER)?),
        })
    }

    /// Counts an event. `shown` is how it is told of if it cannot be counted.
    pub(crate) fn add(&mut self, time: i64, user: Option<&[u8]>, name: &str, shown: &[u8], tally: &mut Tally) {
        match tally.when(shown, time) {
            When::Never => {}
            When::Late => tally.end(shown, true),
            When::Now => {
                let user = user.map(|user| {
                    let mut hasher = self.key;
                    hasher.write(user);
                    hasher.finish()
                });
                tally.end(shown, self.piece.add(&Event { time, user, name: short(name) }));
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Section> {
        self.piece.into_sections()
    }
}

/// Counts the lines of a log of events.
pub(crate) struct EventLines {
    format: EventFormat,
    clock: Clock,
    events: Events,
}

impl EventLines {
    pub(crate) fn new(ctx: &Context, stats: &Stats, source: &Source, store: &Store) -> Result<Self> {
        Ok(Self {
            format: EventFormat::new(&source.keys.known()),
            clock: Clock::default(),
            events: Events::new(ctx, stats, &source.name, store)?,
        })
    }

    pub(crate) fn line(&mut self, line: &[u8], tally: &mut Tally) {
        match self.format.parse(line, &mut self.clock) {
            Ok(entry) => {
                let (user, name) = (entry.user.map(|it| entry.text(it)), entry.text(entry.event));
                self.events.add(entry.time, user.as_deref(), &String::from_utf8_lossy(&name), line, tally);
            }
            Err(error) => tally.malformed(line, error.to_string()),
        }
    }

    pub(crate) fn finish(self) -> Vec<Section> {
        self.events.finish()
    }
}
