//! Maven: tokens with what separates them, by the version order specification in Maven's POM reference.
//!
//! The specification pads the shorter version with nulls. Here the end is a token of its own between the words that
//! come before a release and those after it: nulls are only left where a number follows, so that both ways give one
//! order, and this one is total by its form.

use std::cmp::Ordering;

use super::digits;

#[derive(Debug, Clone)]
pub(super) struct Maven {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
struct Token {
    after_hyphen: bool,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Number(String),
    Word(String),
}

/// In order; the release itself is the empty one.
const QUALIFIERS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];

impl Maven {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // `${version}` and `LATEST` are names for versions.
        let is_version = |it: char| it.is_ascii_graphic() && !"${}".contains(it);
        if !text.chars().all(is_version) || !text.contains(|it: char| it.is_ascii_digit()) {
            return None;
        }
        let lower = text.to_ascii_lowercase();
        let mut tokens: Vec<Token> = Vec::new();
        let mut after_hyphen = false;
        for (at, run) in lower.split_inclusive(['.', '-']).enumerate() {
            let bare = run.trim_end_matches(['.', '-']);
            push(&mut tokens, bare, after_hyphen && at > 0);
            after_hyphen = run.ends_with('-');
        }
        trim(&mut tokens);
        Some(Self { tokens })
    }
}

/// Adds the tokens of what stands between two separators: from digits to letters and back there is a hyphen.
fn push(tokens: &mut Vec<Token>, run: &str, after_hyphen: bool) {
    if run.is_empty() {
        tokens.push(Token { after_hyphen, value: Value::Number(String::new()) });
    }
    let (mut rest, mut after_hyphen) = (run, after_hyphen);
    while !rest.is_empty() {
        let (number, after) = digits::split(rest);
        let (word, after) = after.split_at(after.bytes().take_while(|it| !it.is_ascii_digit()).count());
        if !number.is_empty() {
            let value = Value::Number(number.trim_start_matches('0').to_owned());
            tokens.push(Token { after_hyphen, value });
        }
        if !word.is_empty() {
            // A word after a dot is as one after a hyphen.
            let value = Value::Word(qualifier(word, !after.is_empty()).to_owned());
            tokens.push(Token { after_hyphen: true, value });
        }
        (rest, after_hyphen) = (after, true);
    }
}

fn qualifier(word: &str, before_number: bool) -> &str {
    match word {
        "a" if before_number => "alpha",
        "b" if before_number => "beta",
        "m" if before_number => "milestone",
        "cr" => "rc",
        "ga" | "final" | "release" => "",
        word => word,
    }
}

/// Removes nulls at the end and before hyphens; the first token stays.
fn trim(tokens: &mut Vec<Token>) {
    let is_null = |it: &Token| matches!(&it.value, Value::Number(text) | Value::Word(text) if text.is_empty());
    let mut end = tokens.len();
    loop {
        let mut start = end;
        while start > 1 && is_null(&tokens[start - 1]) {
            start -= 1;
        }
        tokens.drain(start..end);
        match tokens[..start].iter().rposition(|it| it.after_hyphen) {
            Some(hyphen) if hyphen > 0 => end = hyphen,
            _ => return,
        }
    }
}

/// Where a token is among others, apart from its value; none is the end.
fn rank(token: Option<&Token>) -> usize {
    const END: usize = QUALIFIERS.len();
    match token.map(|it| (&it.value, it.after_hyphen)) {
        None => END,
        Some((Value::Word(word), _)) => match QUALIFIERS.iter().position(|it| it == word) {
            Some(place) if place < 5 => place,
            Some(place) => END + place,
            None => 2 * END,
        },
        Some((Value::Number(_), true)) => 2 * END + 1,
        Some((Value::Number(_), false)) => 2 * END + 2,
    }
}

impl Ord for Maven {
    fn cmp(&self, other: &Self) -> Ordering {
        for at in 0.. {
            let (one, other) = (self.tokens.get(at), other.tokens.get(at));
            let by_value = || match (one.map(|it| &it.value), other.map(|it| &it.value)) {
                (Some(Value::Number(one)), Some(Value::Number(other))) => digits::compare(one, other),
                (Some(Value::Word(one)), Some(Value::Word(other))) => one.cmp(other),
                _ => Ordering::Equal,
            };
            let order = rank(one).cmp(&rank(other)).then_with(by_value);
            if order.is_ne() || one.is_none() {
                return order;
            }
        }
        Ordering::Equal
    }
}

order!(Maven);
