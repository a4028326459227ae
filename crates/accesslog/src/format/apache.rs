//! Apache's `LogFormat`.

use crate::format::FormatError;
use crate::format::compile::{Field, Piece};
use crate::slot::Slot;
use crate::time::Unit;

/// What a directive holds, and its rank among those that hold the same. Its letters are those of Apache's documentation; those
/// that are not read here are passed over.
fn directive(letter: char, argument: Option<&str>) -> Option<(Slot, u8)> {
    let header = argument.map(str::to_ascii_lowercase);
    Some(match (letter, header.as_deref()) {
        ('h', _) | ('a', None) => (Slot::Address, 0),
        ('a', Some(_)) => (Slot::Nothing, 0),
        ('v', _) => (Slot::Host, 2),
        ('V', _) => (Slot::Host, 1),
        ('i', Some("host")) => (Slot::Host, 0),
        ('i', Some("referer")) => (Slot::Referrer, 0),
        ('i', Some("user-agent")) => (Slot::Agent, 0),
        ('i', Some("x-forwarded-for")) => (Slot::Forwarded, 0),
        ('i', Some("x-real-ip" | "cf-connecting-ip")) => (Slot::Forwarded, 1),
        ('u', _) => (Slot::User, 0),
        ('r', _) => (Slot::Request, 0),
        ('m', _) => (Slot::Method, 0),
        ('U', _) => (Slot::Target, 0),
        ('q', _) => (Slot::Args, 0),
        ('H', _) => (Slot::Protocol, 0),
        // `%s` of an internal redirect is that of the first request, `%>s` that of the last.
        ('s', _) => (Slot::Status, 1),
        ('b' | 'B', _) => (Slot::Bytes, 0),
        ('O', _) => (Slot::Bytes, 1),
        ('D', _) => (Slot::Duration(Unit::Micros), 0),
        ('T', Some("us")) => (Slot::Duration(Unit::Micros), 0),
        ('T', Some("ms")) => (Slot::Duration(Unit::Millis), 1),
        ('T', _) => (Slot::Duration(Unit::Seconds), 2),
        (
            'A' | 'C' | 'e' | 'f' | 'i' | 'I' | 'k' | 'l' | 'L' | 'M' | 'n' | 'o' | 'p' | 'P' | 'R' | 'S' | 'X' | 'x'
            | 'c',
            _,
        ) => (Slot::Nothing, 0),
        _ => return None,
    })
}

/// What a time holds, and whether it stands in brackets.
fn time(argument: Option<&str>) -> Option<(Slot, u8, bool)> {
    let form = argument.map(|it| it.strip_prefix("begin:").or(it.strip_prefix("end:")).unwrap_or(it));
    Some(match form {
        None | Some("") => (Slot::LocalTime, 1, true),
        Some("%d/%b/%Y:%H:%M:%S %z" | "%d/%b/%Y:%T %z") => (Slot::LocalTime, 1, false),
        Some("%FT%T%z" | "%Y-%m-%dT%H:%M:%S%z" | "%F %T %z" | "%Y-%m-%d %H:%M:%S %z" | "%Y-%m-%dT%T%z") => {
            (Slot::IsoTime, 1, false)
        }
        Some("sec" | "%s") => (Slot::EpochTime(Unit::Seconds), 2, false),
        Some("msec") => (Slot::EpochTime(Unit::Millis), 0, false),
        Some("usec") => (Slot::EpochTime(Unit::Micros), 0, false),
        Some(_) => return None,
    })
}

/// The pieces of a `LogFormat`.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    let bytes = text.as_bytes();
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at).copied() {
        match (byte, bytes.get(at + 1)) {
            (b'\\', Some(next @ (b'"' | b'\\' | b't' | b'n'))) => {
                let byte = match next {
                    b't' => b'\t',
                    b'n' => b'\n',
                    other => *other,
                };
                Piece::push_byte(&mut pieces, byte);
                at += 2;
            }
            (b'%', Some(b'%')) => {
                Piece::push_byte(&mut pieces, b'%');
                at += 2;
            }
            (b'%', _) => at = field(text, at, &mut pieces)?,
            _ => {
                Piece::push_byte(&mut pieces, byte);
                at += 1;
            }
        }
    }
    Ok(pieces)
}

/// Reads `%>s`, `%!200,304{Referer}i` and the like; tells where it ends.
fn field(text: &str, begin: usize, pieces: &mut Vec<Piece>) -> Result<usize, FormatError> {
    let none = FormatError::NoName { at: begin, sign: "`%`" };
    let mut at = begin + 1;
    let mut argument = None;
    let (mut is_last, mut is_trailer) = (false, false);
    let letter = loop {
        let Some(next) = text[at..].chars().next() else { return Err(none) };
        match next {
            '0'..='9' | ',' | '!' | '<' => at += 1,
            '>' => {
                is_last = true;
                at += 1;
            }
            '{' => {
                let Some(length) = text[at..].find('}') else {
                    return Err(FormatError::Open { at, sign: "`{`" });
                };
                argument = Some(&text[at + 1..at + length]);
                at += length + 1;
            }
            // `%^FU`, `%^{name}ti` and the like, which end with two letters.
            '^' => {
                is_trailer = true;
                at += 1;
            }
            letter => {
                at += letter.len_utf8();
                break letter;
            }
        }
    };
    if is_trailer {
        at += text[at..].chars().next().map_or(0, char::len_utf8);
        let field = Field { name: text[begin..at].to_owned(), at: begin, slot: Slot::Nothing, rank: 0, is_list: false };
        pieces.push(Piece::Field(field));
        return Ok(at);
    }
    let name = text[begin..at].to_owned();
    if letter == 't' {
        let (slot, rank, is_bracketed) =
            time(argument).ok_or(FormatError::TimeForm { at: begin, name: name.clone() })?;
        if is_bracketed {
            Piece::push_byte(pieces, b'[');
        }
        pieces.push(Piece::Field(Field { name, at: begin, slot, rank, is_list: false }));
        if is_bracketed {
            Piece::push_byte(pieces, b']');
        }
    } else {
        let (slot, rank) =
            directive(letter, argument).ok_or(FormatError::Directive { at: begin, name: name.clone() })?;
        let rank = rank - u8::from(slot == Slot::Status && is_last);
        pieces.push(Piece::Field(Field { name, at: begin, slot, rank, is_list: false }));
    }
    Ok(at)
}
