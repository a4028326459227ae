//! What is wrong with a configuration, in the operator's words: file, line, key, what and the remedy.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::config::mask;
use crate::config::source::{KeyPath, Source};

/// Whether a finding keeps the configuration from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but is likely not what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub source: Arc<Source>,
    /// Bytes of the file that the message is about; none when it is about the file as a whole.
    pub span: Option<Range<usize>>,
    /// The key that the message is about; empty when there is none.
    pub key: KeyPath,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Whether what stands there may be a secret, and is not shown.
    pub is_hidden: bool,
}

impl Diagnostic {
    /// An error about `key`; the remedy and the place follow by [`Self::help`] and [`Self::at`].
    pub fn error(source: &Arc<Source>, key: KeyPath, message: impl Into<String>) -> Self {
        let (severity, message) = (Severity::Error, message.into());
        Self { severity, source: source.clone(), span: None, key, message, help: String::new(), is_hidden: false }
    }

    /// The same, but only a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Sets the place.
    #[must_use]
    pub fn at(mut self, span: Option<Range<usize>>) -> Self {
        self.span = span;
        self
    }

    /// Sets the remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// What stands there is not shown.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    /// Line and column, both from 1; columns count characters.
    pub fn position(&self) -> Option<(usize, usize)> {
        let before = self.source.text.get(..self.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

/// All that is wrong, in the order of files and lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// Number of errors.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// Number of warnings.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    /// Puts them into the order in which a person works through them: by file, then by line.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            let place = |diagnostic: &Diagnostic| diagnostic.span.as_ref().map(|span| span.start);
            // `upkeep.toml` first: what is wrong there often explains the rest.
            let rank = |name: &str| (Path::new(name).file_name() != Some("upkeep.toml".as_ref()), name.to_owned());
            (rank(&a.source.name), place(a)).cmp(&(rank(&b.source.name), place(b)))
        });
        self.0.dedup();
    }

    /// The text that people read: each with its source line, secrets masked, at most 80 columns.
    pub fn render(&self, style: Style) -> String {
        let mut theme = match style {
            Style::Plain => GraphicalTheme::unicode_nocolor(),
            Style::Colour => GraphicalTheme::unicode(),
            Style::Ascii => GraphicalTheme::none(),
        };
        // The words say more than signs do, and can be searched for.
        theme.characters.error = "error:".to_owned();
        theme.characters.warning = "warning:".to_owned();
        // Only between words: a path that was broken in two can neither be read nor pasted.
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(80)
            .with_break_words(false)
            .with_word_separator(textwrap::WordSeparator::AsciiSpace)
            .with_word_splitter(textwrap::WordSplitter::NoHyphenation)
            .with_context_lines(1)
            .with_links(false);
        let mut text = String::new();
        for diagnostic in &self.0 {
            let report = Report::of(diagnostic);
            // Writing into a string fails only when a `Display` does; the plain message still tells what is needed.
            if handler.render_report(&mut text, &report).is_err() {
                text.push_str(&diagnostic.to_string());
            }
            text.push('\n');
        }
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// One object for each, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let object = |diagnostic: &Diagnostic| {
            let position = diagnostic.position();
            serde_json::json!({
                "severity": diagnostic.severity,
                "file": diagnostic.source.name,
                "line": position.map(|(line, _)| line),
                "column": position.map(|(_, column)| column),
                "key": diagnostic.key.to_string(),
                "message": diagnostic.message,
                "help": diagnostic.help,
            })
        };
        self.0.iter().map(object).collect()
    }
}

/// One line: for logs.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source.name)?;
        if let Some((line, column)) = self.position() {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.0.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {} (help: {})", self.message, self.help.replace('\n', " "))
    }
}

/// One line for each: for logs.
impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, diagnostic) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// How [`Diagnostics::render`] draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For files, pipes and the journal.
    Plain,
    /// For a terminal.
    Colour,
    /// For a terminal whose locale knows no UTF-8.
    Ascii,
}

impl Style {
    /// The style that fits where standard output goes: `terminal` says whether that is one. `NO_COLOR` is honoured.
    pub fn suited(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name)).find(|text| !text.is_empty());
        let unicode = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        match (terminal, unicode, variable("NO_COLOR").is_some_and(|text| !text.is_empty())) {
            (true, false, _) => Self::Ascii,
            (true, true, false) => Self::Colour,
            _ => Self::Plain,
        }
    }
}

/// A diagnostic in the shape that miette draws.
#[derive(Debug)]
struct Report {
    message: String,
    help: String,
    severity: Severity,
    source: Line,
    label: Option<LabeledSpan>,
}

impl Report {
    fn of(diagnostic: &Diagnostic) -> Self {
        let text = mask::masked(&diagnostic.source);
        let text = match &diagnostic.span {
            Some(span) if diagnostic.is_hidden => mask::without(text, span),
            _ => text,
        };
        let label = diagnostic.span.clone().map(|span| {
            // A table spans many lines; its first says enough.
            let end = text[span.start..].find('\n').map_or(span.end, |newline| span.end.min(span.start + newline));
            // Where nothing is, at the end of a line, the last that is there is marked.
            let before = text[..span.start].char_indices().next_back().filter(|(_, last)| *last != '\n');
            let start = before.filter(|_| end <= span.start).map_or(span.start, |(place, _)| place);
            LabeledSpan::new_with_span(None, SourceSpan::from(start..end.max(span.start)))
        });
        let key = diagnostic.key.to_string();
        let message = match (&diagnostic.span, key.is_empty()) {
            (Some(_), true) => diagnostic.message.clone(),
            (Some(_), false) => format!("{key}: {}", diagnostic.message),
            (None, true) => format!("{}: {}", diagnostic.source.name, diagnostic.message),
            (None, false) => format!("{}: {key}: {}", diagnostic.source.name, diagnostic.message),
        };
        let (help, severity) = (diagnostic.help.clone(), diagnostic.severity);
        Self { message, help, severity, source: Line { name: diagnostic.source.name.clone(), text }, label }
    }
}

/// The text of a file, of which miette gets no more than the line in question: the lines around it say nothing about it.
#[derive(Debug)]
struct Line {
    name: String,
    text: String,
}

impl SourceCode for Line {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        let text = self.text.get(start..end).and_then(|_| self.text.get(..start)).ok_or(MietteError::OutOfBounds)?;
        let line_start = text.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.matches('\n').count();
        // Without context the place itself is asked for, with its column; with context, what to show of it.
        let (from, to, column) = if before + after == 0 {
            (start, end, text[line_start..].chars().count())
        } else {
            (line_start, self.text[end..].find('\n').map_or(self.text.len(), |newline| end + newline), 0)
        };
        let data = &self.text.as_bytes()[from..to];
        let contents = MietteSpanContents::new_named(self.name.clone(), data, (from..to).into(), line, column, 1);
        Ok(Box::new(contents))
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.label.as_ref().map(|_| &self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.label
            .as_ref()
            .map(|label| Box::new(std::iter::once(label.clone())) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}
