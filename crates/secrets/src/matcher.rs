//! Which matcher looks at which anchor.

use crate::anchor::{Anchor, Anchors};
use crate::class::Class;
use crate::name::Telling;
use crate::rule::Id;
use crate::token::TOKENS;
use crate::view::{Found, View};
use crate::{assign, jwt, login, pem, url};

/// Who looks at the surroundings of an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matcher {
    /// The form in [`TOKENS`] with that number.
    Token(u16),
    /// A part of a name that may tell.
    Name,
    Chinese(Telling),
    BareKey,
    AuthCall,
    Url,
    Dsn,
    Sas,
    Pem,
    Putty,
    Jwt,
    Bearer,
    Telegram,
    Basic,
    Docker,
    Identified,
    Pgpass,
    /// A command, the flag that a password comes after, and whether an account and a colon come first.
    Flag(&'static str, bool),
}

/// What is no part of a word, for anchors that are words of three letters. In lower case, as all that follows an anchor.
const AFTER_WORD: &[u8] = b"_=:\"' )]>-.`,\\\t(123456789";
const ALNUM: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const URL64: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz_-";
const DIGITS: &[u8] = b"0123456789abcdef";

/// Parts of names. `pass` stands for all longer words that begin so.
const NAMES: &[&str] = &["pass", "secret", "token", "credential", "masterauth", "salt", "kennwort"];

const OTHERS: &[(&str, Matcher)] = &[
    ("密码", Matcher::Chinese(Telling::Password)),
    ("口令", Matcher::Chinese(Telling::Password)),
    ("密钥", Matcher::Chinese(Telling::Secret)),
    ("秘钥", Matcher::Chinese(Telling::Secret)),
    (".auth(", Matcher::AuthCall),
    ("@tcp(", Matcher::Dsn),
    ("@unix(", Matcher::Dsn),
    ("&sig=", Matcher::Sas),
    ("?sig=", Matcher::Sas),
    ("-----begin ", Matcher::Pem),
    ("private-lines: ", Matcher::Putty),
    ("eyjh", Matcher::Jwt),
    ("eyj0", Matcher::Jwt),
    ("eyjr", Matcher::Jwt),
    ("eyai", Matcher::Jwt),
    ("bearer ", Matcher::Bearer),
    ("basic ", Matcher::Basic),
    ("\"auth\"", Matcher::Docker),
    ("identified by", Matcher::Identified),
    (":5432:", Matcher::Pgpass),
    (":*:*:", Matcher::Pgpass),
    ("mysql", Matcher::Flag(" -p", false)),
    ("mariadb", Matcher::Flag(" -p", false)),
    ("docker login", Matcher::Flag(" -p ", false)),
    ("redis-cli", Matcher::Flag(" -a ", false)),
    ("curl", Matcher::Flag(" -u ", true)),
    ("curl", Matcher::Flag(" --user ", true)),
];

/// The last letter of a scheme and what separates it from the authority.
const SCHEMES: [&str; 36] = [
    "a://", "b://", "c://", "d://", "e://", "f://", "g://", "h://", "i://", "j://", "k://", "l://", "m://", "n://",
    "o://", "p://", "q://", "r://", "s://", "t://", "u://", "v://", "w://", "x://", "y://", "z://", "0://", "1://",
    "2://", "3://", "4://", "5://", "6://", "7://", "8://", "9://",
];

/// No anchor is longer, in bytes, with what follows it.
pub(crate) const LONGEST_ANCHOR: usize = 64;

/// The anchors of all matchers.
pub(crate) fn anchors() -> Anchors<Matcher> {
    let anchor = |text: &'static str, follow: &'static [u8], tag| Anchor { text: text.as_bytes(), follow, tag };
    let tokens = (0..).zip(TOKENS).map(|(number, token)| {
        let follow = match token.body {
            _ if token.prefix.len() > 3 => &b""[..],
            Class::Hex => DIGITS,
            _ => ALNUM,
        };
        anchor(token.prefix, follow, Matcher::Token(number))
    });
    let names = NAMES.iter().map(|text| anchor(text, b"", Matcher::Name));
    let words = ["key", "pwd"].into_iter().map(|text| anchor(text, AFTER_WORD, Matcher::Name));
    let others = OTHERS.iter().map(|(text, matcher)| anchor(text, b"", *matcher));
    let schemes = SCHEMES.iter().map(|text| anchor(text, b"", Matcher::Url));
    let telegram = [anchor(":aa", URL64, Matcher::Telegram)];
    let bare = [anchor("'key'", b"", Matcher::BareKey), anchor("\"key\"", b"", Matcher::BareKey)];
    Anchors::new(tokens.chain(names).chain(words).chain(others).chain(schemes).chain(bare).chain(telegram).collect())
}

impl Matcher {
    /// The secret around an anchor. A name of which several parts are anchors is looked at by [`assign`] itself.
    pub(crate) fn find(self, view: &View<'_>) -> Option<Found> {
        match self {
            Self::Token(number) => {
                let token = &TOKENS[usize::from(number)];
                token.find(view.data, view.start).map(|(start, end)| Found { id: token.id, start, end })
            }
            Self::Name => {
                let (start, end) = assign::name_around(view)?;
                assign::find(view, start, end)
            }
            Self::Chinese(telling) => assign::find_chinese(view, telling),
            Self::BareKey => assign::find_bare_key(&View { start: view.start + 1, end: view.end - 1, ..*view }),
            Self::AuthCall => assign::find(&View { end: view.end - 1, ..*view }, view.start + 1, view.end - 1),
            Self::Url => url::find(view),
            Self::Dsn => url::find_dsn(view),
            Self::Sas => url::find_sas(view),
            Self::Pem => pem::find(view),
            Self::Putty => pem::find_putty(view),
            Self::Jwt => jwt::find(view),
            Self::Telegram => login::find_telegram(view),
            Self::Bearer => login::find_bearer(view),
            Self::Basic => login::find_basic(view, Id::BasicAuth),
            Self::Docker => login::find_basic(view, Id::DockerAuth),
            Self::Identified => login::find_identified(view),
            Self::Pgpass => login::find_pgpass(view),
            Self::Flag(flag, is_account) => login::find_flag(view, flag, is_account),
        }
    }
}
