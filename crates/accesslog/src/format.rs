//! Formats: what the lines of a log look like, compiled once.

mod apache;
mod compile;
mod error;
mod nginx;

pub use error::FormatError;

use crate::entry::Entry;
use crate::escape::Escape;
use crate::json::access::{JsonFormat, JsonKeys};
use crate::malformed::Malformed;
use crate::template::Template;
use crate::time::Clock;

/// The names of formats that [`Format::new`] knows, each with what it stands for.
pub const NAMES: [(&str, &str); 7] = [
    (
        "combined",
        r#"$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#,
    ),
    (
        "combined-time",
        r#"$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#,
    ),
    ("common", r#"$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent"#),
    (
        "main",
        r#"$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#,
    ),
    (
        "vhost_combined",
        r#"$host:$server_port $remote_addr $ident $remote_user [$time_local] "$request" $status $bytes_sent "$http_referer" "$http_user_agent""#,
    ),
    ("json", "lines of JSON, with the keys of `JsonKeys::default`"),
    ("caddy", "lines of JSON, with the keys of `JsonKeys::caddy`"),
];

/// What the lines of a log look like.
#[derive(Debug, Clone)]
pub struct Format(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Template(Template),
    Json(JsonFormat),
}

impl Format {
    /// A format by its name (see [`NAMES`]), or as it stands in the configuration of nginx (`log_format`) or Apache
    /// (`LogFormat`).
    ///
    /// The named ones fit both servers.
    ///
    /// # Errors
    ///
    /// A text that is neither, or a format that cannot be read without doubt: see [`FormatError`].
    pub fn new(text: &str) -> Result<Self, FormatError> {
        match text.trim() {
            "json" => Ok(Self::json(&JsonKeys::default())),
            "caddy" => Ok(Self::json(&JsonKeys::caddy())),
            name => match NAMES.iter().find(|(it, _)| *it == name) {
                Some((_, format)) => {
                    // What nginx escapes is part of what Apache does.
                    let (pieces, _) = nginx::pieces(format)?;
                    compile::template(pieces, Escape::Apache).map(|it| Self(Kind::Template(it)))
                }
                None if text.contains('$') => Self::nginx(text),
                None if text.contains('%') => Self::apache(text),
                None => Err(FormatError::Unknown { text: text.to_owned() }),
            },
        }
    }

    /// An nginx `log_format`: only its text, or the whole directive with quotes, `escape=` and all.
    ///
    /// # Errors
    ///
    /// See [`FormatError`].
    pub fn nginx(text: &str) -> Result<Self, FormatError> {
        let (pieces, escape) = nginx::pieces(text)?;
        compile::template(pieces, escape).map(|it| Self(Kind::Template(it)))
    }

    /// An Apache `LogFormat`: its text, with quotes as they are or as `\"`.
    ///
    /// # Errors
    ///
    /// See [`FormatError`].
    pub fn apache(text: &str) -> Result<Self, FormatError> {
        compile::template(apache::pieces(text)?, Escape::Apache).map(|it| Self(Kind::Template(it)))
    }

    /// Lines of JSON.
    pub fn json(keys: &JsonKeys) -> Self {
        Self(Kind::Json(JsonFormat::new(keys)))
    }
}

/// Reads lines of one log, one after the other.
#[derive(Debug, Clone)]
pub struct Parser {
    format: Format,
    clock: Clock,
}

impl Parser {
    /// A parser for lines of a format.
    pub fn new(format: Format) -> Self {
        Self { format, clock: Clock::default() }
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    ///
    /// What does not fit the format, and where. The next line is not touched by it.
    #[inline]
    pub fn parse<'a>(&mut self, line: &'a [u8]) -> Result<Entry<'a>, Malformed> {
        match &self.format.0 {
            Kind::Template(it) => it.parse(line, &mut self.clock),
            Kind::Json(it) => it.parse(line, &mut self.clock),
        }
    }
}
