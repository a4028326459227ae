//! What WeChat tells by itself: users' consents, what became of messages, and that a user wrote.
//!
//! WeChat asks once by GET whether somebody is there, and then tells by POST ("message push"). In safe mode, the body is
//! encrypted and all of it signed; without, the signature covers the time alone, and whoever has seen one request can make up
//! others. So an endpoint that has a key takes encrypted bodies only.
//!
//! This is the host's part: it has the values of token and key. It answers a GET with what [`Callback::greet`] returns, and a POST
//! with an empty body once what [`Callback::open`] returned is stored; WeChat tells again within seconds what is not answered,
//! so what is stored twice must count once ([`Push::id`]).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::moment::{MINUTE, SECOND};

mod body;
mod crypt;
mod event;
mod query;

pub use event::{Choice, Event, Push, Sent, Status};
pub use query::Query;

/// Bytes of a body; WeChat's have a few thousand.
pub const MOST: usize = 1024 * 1024;

/// How far WeChat's clock and this machine's may be apart. What is older is somebody's who recorded it.
pub const TOLERANCE: i64 = 10 * MINUTE;

/// Base64 as WeChat writes it: keys have bits behind their end, and padding is there or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why something that claims to come from WeChat is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The token is not set.
    #[error("the token of message push is empty: set it as in the mini-program's console")]
    NoToken,
    /// The key is none.
    #[error("the EncodingAESKey is not 43 characters of base64: copy it from the mini-program's console")]
    NoKey,
    /// A parameter is missing.
    #[error("the parameter {0} is missing: this did not come from WeChat, or a proxy dropped the query")]
    Missing(&'static str),
    /// It is signed by somebody else, or not at all.
    #[error(
        "the signature is wrong: the token differs from the one in the mini-program's console, or this did not come from WeChat"
    )]
    Signature,
    /// It was signed long ago, or will be.
    #[error(
        "it was signed {0} seconds away from this machine's time: set the clock, or somebody sent again what he recorded"
    )]
    Stale(i64),
    /// The word to be repeated is none.
    #[error("the parameter echostr has characters that WeChat does not use")]
    Echo,
    /// It is not encrypted, and should be.
    #[error("the body is not encrypted: choose safe mode in the mini-program's console, as there is a key here")]
    NotEncrypted,
    /// It is encrypted, and there is no key.
    #[error("the body is encrypted: set the EncodingAESKey from the mini-program's console")]
    Encrypted,
    /// It cannot be decrypted.
    #[error("the body cannot be decrypted: the EncodingAESKey differs from the one in the mini-program's console")]
    Decrypt,
    /// It is for another application.
    #[error("the body is for the appid {0:?}, not for this one")]
    Appid(String),
    /// It is too large.
    #[error("the body has more than {MOST} bytes")]
    TooLarge,
    /// It is neither JSON nor XML, or lacks what each of them has.
    #[error("the body cannot be read: {0}")]
    Body(&'static str),
}

/// One endpoint of message push.
pub struct Callback {
    token: String,
    key: Option<[u8; 32]>,
    appid: String,
}

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callback")
            .field("appid", &self.appid)
            .field("encrypted", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

/// An answer that is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The message, encrypted.
    pub encrypt: String,
    /// Signs all of it.
    pub signature: String,
    /// Seconds since 1970.
    pub timestamp: i64,
    /// A number that is used once.
    pub nonce: u64,
}

impl Callback {
    /// An endpoint with the token, the EncodingAESKey (none for plain mode) and the appid of the mini-program's console.
    pub fn new(token: &str, key: Option<&str>, appid: &str) -> Result<Self, CallbackError> {
        if token.is_empty() {
            return Err(CallbackError::NoToken);
        }
        let key = key.map(|text| {
            let bytes = if text.len() == 43 { LENIENT.decode(text).ok() } else { None };
            bytes.and_then(|it| <[u8; 32]>::try_from(it).ok()).ok_or(CallbackError::NoKey)
        });
        Ok(Self { token: token.to_owned(), key: key.transpose()?, appid: appid.to_owned() })
    }

    /// What to answer to a GET: the word that WeChat sent, if it was WeChat.
    pub fn greet(&self, query: &Query, now: i64) -> Result<String, CallbackError> {
        self.verify(query, now)?;
        let echo = query.echostr.as_deref().ok_or(CallbackError::Missing("echostr"))?;
        // The signature does not cover it: nothing is repeated that a browser could take for a page.
        if echo.len() > 512 || !echo.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_=+/".contains(&it)) {
            return Err(CallbackError::Echo);
        }
        Ok(echo.to_owned())
    }

    /// What a POST tells.
    pub fn open(&self, query: &Query, body: &[u8], now: i64) -> Result<Push, CallbackError> {
        event::read(&body::read(&self.message(query, body, now)?)?)
    }

    /// The message of a POST, as it is written.
    pub fn message(&self, query: &Query, body: &[u8], now: i64) -> Result<Vec<u8>, CallbackError> {
        if body.len() > MOST {
            return Err(CallbackError::TooLarge);
        }
        let encrypted = || -> Result<Option<String>, CallbackError> {
            let envelope = body::read(body)?;
            Ok(envelope.get("Encrypt").and_then(serde_json::Value::as_str).map(str::to_owned))
        };
        let Some(key) = &self.key else {
            self.verify(query, now)?;
            return if query.msg_signature.is_some() && encrypted()?.is_some() {
                Err(CallbackError::Encrypted)
            } else {
                Ok(body.to_vec())
            };
        };
        let (timestamp, nonce) = self.when(query)?;
        let signature = query.msg_signature.as_deref().ok_or(CallbackError::NotEncrypted)?;
        let encrypted = encrypted()?.ok_or(CallbackError::NotEncrypted)?;
        compare(signature, &self.signature(&[timestamp, nonce, &encrypted]))?;
        fresh(timestamp, now)?;
        let (message, appid) = crypt::open(key, &encrypted)?;
        if appid != self.appid.as_bytes() {
            return Err(CallbackError::Appid(String::from_utf8_lossy(&appid).chars().take(64).collect()));
        }
        Ok(message)
    }

    /// Encrypts an answer. `random` must be just that, and `timestamp` is in seconds.
    pub fn seal(&self, message: &[u8], timestamp: i64, nonce: u64, random: [u8; 16]) -> Result<Sealed, CallbackError> {
        let key = self.key.as_ref().ok_or(CallbackError::NoKey)?;
        let encrypt = crypt::seal(key, random, message, self.appid.as_bytes())?;
        let signature = self.signature(&[&timestamp.to_string(), &nonce.to_string(), &encrypt]);
        Ok(Sealed { encrypt, signature, timestamp, nonce })
    }

    fn when<'a>(&self, query: &'a Query) -> Result<(&'a str, &'a str), CallbackError> {
        let timestamp = query.timestamp.as_deref().ok_or(CallbackError::Missing("timestamp"))?;
        Ok((timestamp, query.nonce.as_deref().ok_or(CallbackError::Missing("nonce"))?))
    }

    /// The signature of the query alone.
    fn verify(&self, query: &Query, now: i64) -> Result<(), CallbackError> {
        let (timestamp, nonce) = self.when(query)?;
        let signature = query.signature.as_deref().ok_or(CallbackError::Missing("signature"))?;
        compare(signature, &self.signature(&[timestamp, nonce]))?;
        fresh(timestamp, now)
    }

    /// SHA-1 of the token and the texts, sorted and put together.
    fn signature(&self, texts: &[&str]) -> String {
        let mut all: Vec<&str> = texts.iter().copied().chain([self.token.as_str()]).collect();
        all.sort_unstable();
        Sha1::digest(all.concat()).iter().map(|it| format!("{it:02x}")).collect()
    }
}

/// Compares in a time that does not tell how much of it is right.
fn compare(theirs: &str, ours: &str) -> Result<(), CallbackError> {
    let same = theirs.len() == ours.len() && bool::from(theirs.as_bytes().ct_eq(ours.as_bytes()));
    if same { Ok(()) } else { Err(CallbackError::Signature) }
}

fn fresh(timestamp: &str, now: i64) -> Result<(), CallbackError> {
    let at: i64 = timestamp.parse().map_err(|_| CallbackError::Missing("timestamp"))?;
    let away = now.saturating_sub(at.saturating_mul(SECOND));
    if away.saturating_abs() <= TOLERANCE { Ok(()) } else { Err(CallbackError::Stale(away / SECOND)) }
}

impl Sealed {
    /// As a body in JSON.
    pub fn json(&self) -> String {
        let Self { encrypt, signature, timestamp, nonce } = self;
        serde_json::json!({ "Encrypt": encrypt, "MsgSignature": signature, "TimeStamp": timestamp, "Nonce": nonce.to_string() }).to_string()
    }

    /// As a body in XML. All values are of characters that mean nothing there.
    pub fn xml(&self) -> String {
        let Self { encrypt, signature, timestamp, nonce } = self;
        format!(
            "<xml><Encrypt>{encrypt}</Encrypt><MsgSignature>{signature}</MsgSignature><TimeStamp>{timestamp}</TimeStamp>\
             <Nonce>{nonce}</Nonce></xml>"
        )
    }
}

#[cfg(test)]
mod tests;
