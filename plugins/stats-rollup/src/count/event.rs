//! Lines of application events: who did what, and when.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use upkeep_accesslog::{Clock, EventFormat};
use upkeep_plugin::{Context, Error, Result};
use upkeep_rollup::{Event, EventPiece, Section};

use super::{Tally, When};
use crate::config::{Source, Stats};
use crate::store::Store;

/// The period of the key that users are hashed with: it stays, since who comes back after a month is what is asked.
const FOR_EVER: i32 = 0;

/// Counts events.
pub(crate) struct Events {
    format: EventFormat,
    clock: Clock,
    piece: EventPiece,
    key: SipHasher13,
}

impl Events {
    pub(crate) fn new(ctx: &Context, stats: &Stats, source: &Source, store: &Store) -> Result<Self> {
        let piece = EventPiece::new(&stats.options(ctx), stats.funnels(&source.name)?);
        Ok(Self {
            format: EventFormat::new(&source.keys.known()),
            clock: Clock::default(),
            piece: piece.map_err(|error| Error::config(error.to_string()))?,
            key: SipHasher13::new_with_key(&store.visitor_key(&source.name, FOR_EVER)?),
        })
    }

    pub(crate) fn line(&mut self, line: &[u8], tally: &mut Tally) {
        let entry = match self.format.parse(line, &mut self.clock) {
            Ok(entry) => entry,
            Err(error) => return tally.malformed(line, error.to_string()),
        };
        match tally.when(line, entry.time) {
            When::Never => {}
            When::Late => tally.end(line, true),
            When::Now => {
                let name = entry.text(entry.event);
                let user = entry.user.map(|user| {
                    let mut hasher = self.key;
                    hasher.write(&entry.text(user));
                    hasher.finish()
                });
                let name = String::from_utf8_lossy(&name);
                tally.end(line, self.piece.add(&Event { time: entry.time, user, name: &name }));
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Section> {
        self.piece.into_sections()
    }
}
