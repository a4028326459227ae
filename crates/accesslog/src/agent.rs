//! User agents: who asks, with what, on what.
//!
//! A user agent is words, many of them lies: Chrome says that it is Safari, WeChat that it is Chrome, Googlebot that it is all of
//! them. So each word is looked up in one table ([`product`]), and the word with the highest rank tells what the agent is.
//! Classifying takes about as long as reading some lines, and a log has few agents: callers keep what came out, by the text.

mod device;
mod product;

use product::{Product, Rank};

/// What kind of program asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A browser, or a browser within an app that nobody knows.
    Browser,
    /// An app that shows pages within itself: WeChat, Alipay and so on.
    App,
    /// A crawler, a fetcher of previews, or a scanner.
    Bot,
    /// A program or a library that people use to make requests.
    Tool,
    /// Something that looks whether the server is alive.
    Monitor,
    /// None of these can be told.
    Unknown,
}

/// On what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// iPhone, iPad or iPod.
    Ios,
    /// Android.
    Android,
    /// HarmonyOS, with or without Android below it.
    HarmonyOs,
    /// Windows.
    Windows,
    /// macOS.
    MacOs,
    /// Linux, also that of Chromebooks.
    Linux,
    /// The developer tools of WeChat, wherever they run.
    Devtools,
    /// Another one, or not told.
    Other,
}

/// What a user agent says. What is borrowed stands in it as it is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agent<'a> {
    /// What kind of program asks.
    pub kind: Kind,
    /// Its usual name: `Chrome`, `WeChat`, `Googlebot`, `curl`; `other` if none is known.
    pub name: &'static str,
    /// The version of what is named.
    pub version: Option<&'a [u8]>,
    /// On what it runs.
    pub platform: Platform,
    /// The model of the device, as far as it is told: `iPhone`, `SM-S918B`.
    pub model: Option<&'a [u8]>,
    /// The version of WeChat, if it is WeChat.
    pub wechat: Option<&'a [u8]>,
    /// Whether a mini program asks, of WeChat, Alipay or another one.
    pub is_mini_program: bool,
    /// The mini program's identifier, where the text has it.
    pub mini_program: Option<&'a [u8]>,
}

impl<'a> Agent<'a> {
    /// Tells what a user agent says, which must be without escapes.
    pub fn new(text: &'a [u8]) -> Self {
        let found = product::find(text);
        let platform = device::platform(text);
        let (kind, name, version) = match &found.best {
            Some((product, version)) => named(text, platform, product, *version, &found),
            None if found.is_other_bot => (Kind::Bot, "other", None),
            None if platform == Platform::Ios && has(text, "AppleWebKit") => (Kind::Browser, "iOS WebView", None),
            None => (Kind::Unknown, "other", None),
        };
        let is_mini_program = has(text, "miniProgram") || has(text, "MiniProgram") || has(text, "swan/");
        Self {
            kind,
            name,
            version,
            platform,
            model: device::model(text, platform),
            wechat: found.wechat.filter(|_| matches!(name, "WeChat" | "WeChat DevTools")),
            is_mini_program,
            mini_program: behind(text, "miniProgram/").or_else(|| behind(text, "MiniProgram/")).and_then(identifier),
        }
    }

    /// The number before the first point of the version.
    pub fn major(&self) -> Option<&'a [u8]> {
        self.version.and_then(|it| it.split(|it| *it == b'.').next())
    }
}

/// Names that depend on more than one word.
fn named<'a>(
    text: &'a [u8],
    platform: Platform,
    product: &Product,
    version: Option<&'a [u8]>,
    found: &product::Found<'a>,
) -> (Kind, &'static str, Option<&'a [u8]>) {
    match (product.name, product.rank) {
        ("Chrome", _) if has(text, "ArkWeb/") => (Kind::Browser, "ArkWeb", behind(text, "ArkWeb/").and_then(number)),
        ("Weibo", _) => (Kind::App, "Weibo", version.or_else(|| behind(text, "weibo__").and_then(number))),
        ("Chrome", _) if has(text, "; wv)") => (Kind::Browser, "Android WebView", version),
        ("Safari", _) if platform == Platform::Android => (Kind::Browser, "Android Browser", found.version),
        ("Safari", _) if platform == Platform::Ios && found.version.is_none() => (Kind::Browser, "iOS WebView", None),
        ("Safari", _) => (Kind::Browser, "Safari", found.version),
        ("Internet Explorer", _) => (
            Kind::Browser,
            product.name,
            behind(text, "rv:").and_then(number).or(behind(text, "MSIE ").and_then(number)),
        ),
        (name, Rank::Bot) => (Kind::Bot, name, version),
        (name, Rank::Monitor) => (Kind::Monitor, name, version),
        (name, Rank::Tool) => (Kind::Tool, name, version),
        (name, Rank::Devtools | Rank::Suite | Rank::App) => (Kind::App, name, version),
        (name, Rank::Brand | Rank::Family | Rank::Engine) => (Kind::Browser, name, version),
    }
}

fn has(text: &[u8], part: &str) -> bool {
    behind(text, part).is_some()
}

/// What stands behind a part of a text. Texts are short and looked through for many parts, so that preparing a better search for
/// each of them takes longer than this one.
fn behind<'a>(text: &'a [u8], part: &str) -> Option<&'a [u8]> {
    let first = part.as_bytes().first()?;
    let mut rest = text;
    while let Some(hit) = memchr::memchr(*first, rest) {
        if let Some(behind) = rest[hit..].strip_prefix(part.as_bytes()) {
            return Some(behind);
        }
        rest = &rest[hit + 1..];
    }
    None
}

/// Digits and points at the begin of a text.
fn number(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|it| !it.is_ascii_digit() && *it != b'.').unwrap_or(text.len());
    let number = &text[..end];
    number.first().filter(|it| it.is_ascii_digit()).map(|_| number.strip_suffix(b".").unwrap_or(number))
}

/// Letters and digits at the begin of a text, some of each.
fn identifier(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|it| !it.is_ascii_alphanumeric()).unwrap_or(text.len());
    let is_one = end >= 8 && text[..end].iter().any(u8::is_ascii_digit);
    is_one.then_some(&text[..end])
}
