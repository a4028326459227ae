//! From the pieces of a format to the steps of a template.

use crate::escape::Escape;
use crate::format::FormatError;
use crate::slot::{Part, Slot};
use crate::template::{Literal, Step, Template};

/// A part of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Vec<u8>),
    Field(Field),
}

/// A field of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// As it is written.
    pub(super) name: String,
    /// Where.
    pub(super) at: usize,
    pub(super) slot: Slot,
    /// Of several fields for the same part of an entry that with the lowest rank is taken, and the first of these.
    pub(super) rank: u8,
    /// It has a value for each upstream.
    pub(super) is_list: bool,
}

impl Piece {
    /// A byte of text, behind what stands there already.
    pub(super) fn push_byte(pieces: &mut Vec<Self>, byte: u8) {
        match pieces.last_mut() {
            Some(Self::Text(text)) => text.push(byte),
            _ => pieces.push(Self::Text(vec![byte])),
        }
    }
}

/// Compiles pieces.
pub(super) fn template(pieces: Vec<Piece>, escape: Escape) -> Result<Template, FormatError> {
    let mut pieces = merged(pieces);
    choose(&mut pieces);
    let mut pieces = pieces.into_iter().peekable();
    let lead = match pieces.next_if(|it| matches!(it, Piece::Text(_))) {
        Some(Piece::Text(text)) => text,
        _ => Vec::new(),
    };
    let mut steps = Vec::new();
    while let Some(piece) = pieces.next() {
        let Piece::Field(field) = piece else { continue };
        let (until, is_peek) = match pieces.next_if(|it| matches!(it, Piece::Text(_))) {
            Some(Piece::Text(text)) => (text, false),
            _ => match pieces.peek() {
                None => (Vec::new(), false),
                Some(Piece::Field(next)) if next.slot == Slot::Target => (b"/".to_vec(), true),
                Some(Piece::Field(Field { at, name, .. })) => {
                    return Err(FormatError::Adjacent { at: *at, first: field.name, second: name.clone() });
                }
                Some(Piece::Text(_)) => continue,
            },
        };
        let is_bare = until.starts_with(b" ");
        if is_bare && field.slot == Slot::Agent {
            return Err(FormatError::Spaces { at: field.at, name: field.name });
        }
        let is_bare = is_bare && field.slot == Slot::Request;
        steps.push(Step { slot: field.slot, until: Literal::new(&until), is_peek, is_list: field.is_list, is_bare });
    }
    if !steps.iter().any(|it| it.slot.part() == Part::Time) {
        return Err(FormatError::NoTime);
    }
    if !steps.iter().any(|it| it.slot.part() == Part::Status) {
        return Err(FormatError::NoStatus);
    }
    Ok(Template { lead: Literal::new(&lead), steps: steps.into(), escape })
}

/// Fields that belong together as one: a path and its query, and fields side by side that nobody reads.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), &piece) {
            (Some(Piece::Field(last)), Piece::Field(next)) if goes_on(last.slot, next) => last.name += &next.name,
            (Some(Piece::Field(last)), Piece::Field(next)) if is_mark(&last.name) && next.slot == Slot::Args => {
                last.slot = Slot::Args;
                last.name += &next.name;
            }
            _ => all.push(piece),
        }
    }
    all
}

/// nginx's variable that is a question mark if there is a query.
fn is_mark(name: &str) -> bool {
    matches!(name, "$is_args" | "${is_args}")
}

fn goes_on(last: Slot, next: &Field) -> bool {
    match last {
        Slot::Target => next.slot == Slot::Args || is_mark(&next.name),
        Slot::Nothing => next.slot == Slot::Nothing,
        _ => false,
    }
}

/// Leaves one field for each part of an entry.
fn choose(pieces: &mut [Piece]) {
    let fields: Vec<(Slot, u8)> = pieces
        .iter()
        .filter_map(|it| match it {
            Piece::Field(field) => Some((field.slot, field.rank)),
            Piece::Text(_) => None,
        })
        .collect();
    let has_request = fields.iter().any(|(slot, _)| *slot == Slot::Request);
    let mut index = 0;
    for piece in pieces {
        let Piece::Field(field) = piece else { continue };
        let better = |(at, (slot, rank)): (usize, &(Slot, u8))| {
            slot.part() == field.slot.part() && (*rank < field.rank || (*rank == field.rank && at < index))
        };
        let is_doubled = fields.iter().enumerate().any(better);
        if is_doubled || (has_request && field.slot.is_of_request()) {
            field.slot = Slot::Nothing;
        }
        index += 1;
    }
}
