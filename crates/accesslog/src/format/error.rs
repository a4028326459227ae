//! Why a text is no format.

/// Why a text is no format, and what to do about it. Places are bytes of the text, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Neither a name nor a format.
    #[error(
        "`{text}` is no format; write `combined`, `combined-time`, `common`, `main`, `vhost_combined`, `json` or `caddy`, \
         or the text of nginx's log_format or Apache's LogFormat"
    )]
    Unknown {
        /// What it is.
        text: String,
    },
    /// Nothing tells where the first of two fields ends.
    #[error(
        "at byte {at}: nothing stands between `{first}` and `{second}`, so where the first ends is ambiguous; \
         put a space or a quote between them"
    )]
    Adjacent {
        /// Where the second begins.
        at: usize,
        /// A field.
        first: String,
        /// And the next.
        second: String,
    },
    /// A field that has spaces in it, and ends at a space.
    #[error("at byte {at}: `{name}` can have spaces, and here it ends at one; put quotes around it")]
    Spaces {
        /// Where the field begins.
        at: usize,
        /// The field.
        name: String,
    },
    /// Without it nothing can be counted.
    #[error("the format has no time; add `[$time_local]`, `$time_iso8601` or `$msec` (nginx), or `%t` (Apache)")]
    NoTime,
    /// Without it nothing can be told from errors.
    #[error("the format has no status; add `$status` (nginx) or `%>s` (Apache)")]
    NoStatus,
    /// A field without a name, or a name that does not end.
    #[error("at byte {at}: {sign} with no name behind it; name a field, or write {instead}", instead = if *.sign == "`%`" { "`%%`" } else { "the text without it" })]
    NoName {
        /// Where.
        at: usize,
        /// What begins a field.
        sign: &'static str,
    },
    /// A brace or a quote that is not closed.
    #[error("at byte {at}: {sign} is not closed; add the other one")]
    Open {
        /// Where it stands.
        at: usize,
        /// Which one.
        sign: &'static str,
    },
    /// An `escape=` that nginx does not know.
    #[error("`escape={name}` is not known; write `escape=default`, `escape=json` or `escape=none`")]
    Escape {
        /// What it says.
        name: String,
    },
    /// A directive that Apache does not know.
    #[error(
        "at byte {at}: `{name}` is no directive of Apache's LogFormat that is known; remove it, or write its text as it is in the log"
    )]
    Directive {
        /// Where it begins.
        at: usize,
        /// The directive.
        name: String,
    },
    /// A form of time that is not read.
    #[error(
        "at byte {at}: times as `{name}` cannot be read; write `%t`, `%{{sec}}t`, `%{{msec}}t`, `%{{usec}}t` \
         or `%{{%Y-%m-%dT%H:%M:%S%z}}t`"
    )]
    TimeForm {
        /// Where it begins.
        at: usize,
        /// The directive.
        name: String,
    },
}
