//! What a keeper knows, and what follows from it. Pure: time and answers are arguments.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::{self, Given, Refusal};
use crate::clock::Timestamp;
use crate::config::secret::SecretValue;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// How long before its end a token is renewed: from then on WeChat gives out the next one, and both work.
const EARLY: i64 = 5 * MINUTE;
/// How long WeChat takes no second forced renewal.
const APART: i64 = 30 * SECOND;
/// Forced renewals of a day in Beijing.
const MOST_FORCED: usize = 20;
/// Tokens and secrets of the past that are still looked for in answers.
const MOST_PAST: usize = 32;

/// A token that a request may carry.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) value: Arc<SecretValue>,
    /// Its number: who was refused says with which.
    pub(crate) number: u64,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The status of HTTP.
    pub(crate) status: u16,
    /// The body. When it holds no token, it holds no secret either.
    pub(crate) body: Bytes,
    /// What was asked with.
    pub(crate) secret: Arc<SecretValue>,
}

/// Why there is no token.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// What WeChat said, for who would have got as much from it himself; none when it could not be asked.
    pub(crate) answer: Option<(u16, Bytes)>,
    /// WeChat's code.
    pub(crate) code: Option<i64>,
    /// What is wrong, and what helps.
    pub(crate) reason: String,
    /// Nobody asks again before.
    pub(crate) until: Timestamp,
    /// The secret that was refused: another one is tried at once.
    pub(crate) secret: Option<Arc<SecretValue>>,
}

#[derive(Debug)]
struct Held {
    token: Token,
    got: Timestamp,
    until: Timestamp,
    /// From then on the next one is asked for.
    renew: Timestamp,
    /// Whether WeChat gave it back after it was refused: only force helps.
    is_stuck: bool,
}

/// What there is to do for who wants a token.
#[derive(Debug)]
pub(super) enum Need {
    /// This is the one. `renew`: the next one should be asked for meanwhile.
    Use { token: Token, renew: bool },
    /// Somebody has to ask.
    Ask { force: bool },
    /// There is none, and it is of no use to ask now.
    Stop(Trouble),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    held: Option<Held>,
    /// Tokens and secrets that were used, newest last.
    past: VecDeque<Arc<SecretValue>>,
    seen: u64,
    trouble: Option<Trouble>,
    failures: u32,
    /// When renewals were forced, of this day.
    forced: Vec<Timestamp>,
    asked: Option<Timestamp>,
    tokens: u64,
}

impl State {
    /// What there is to do for who wants a token, and was refused with the one of this number.
    pub(super) fn need(&self, now: Timestamp, refused: Option<u64>) -> Need {
        let trouble = self.trouble.as_ref().filter(|trouble| now < trouble.until);
        let Some(held) = &self.held else { return trouble.cloned().map_or(Need::Ask { force: false }, Need::Stop) };
        if refused == Some(held.token.number) {
            return match trouble {
                Some(trouble) => Need::Stop(trouble.clone()),
                None if !held.is_stuck => Need::Ask { force: false },
                None => match self.may_force(now) {
                    Ok(()) => Need::Ask { force: true },
                    Err(trouble) => Need::Stop(trouble),
                },
            };
        }
        if now < held.until {
            return Need::Use { token: held.token.clone(), renew: held.renew <= now && trouble.is_none() };
        }
        trouble.cloned().map_or(Need::Ask { force: false }, Need::Stop)
    }

    /// Whether one more renewal may be forced. The pauses double, so that a day's twenty last for the day.
    fn may_force(&self, now: Timestamp) -> Result<(), Trouble> {
        let today: Vec<Timestamp> = self.forced.iter().copied().filter(|at| day(*at) == day(now)).collect();
        let stop = |until: i64, why: &str| {
            let reason = format!("WeChat refuses the token that it gives, and {why}");
            Err(Trouble { answer: None, code: None, reason, until: Timestamp(until), secret: None })
        };
        if today.len() >= MOST_FORCED {
            return stop((day(now) + 1) * 24 * HOUR - 8 * HOUR, "a new one was forced as often as it allows in a day");
        }
        let pauses = u32::try_from(today.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let pause = APART.saturating_mul(1_i64 << pauses.min(16)).min(HOUR);
        match today.last() {
            Some(last) if now.0 < last.0 + pause => stop(last.0 + pause, "a new one was forced a moment ago"),
            _ => Ok(()),
        }
    }

    /// Somebody asks.
    pub(super) fn asks(&mut self, now: Timestamp, force: bool) {
        self.asked = Some(now);
        if force {
            self.forced.retain(|at| day(*at) == day(now));
            self.forced.push(now);
        }
    }

    /// Takes what came of it. `refused`: it was asked for because the token was refused.
    pub(super) fn take(&mut self, now: Timestamp, asked: &Asked, refused: bool) -> Result<Token, Trouble> {
        self.remember(&asked.secret);
        match answer::read(asked, now) {
            Given::Token(value, life) => {
                self.forget();
                Ok(self.hold(now, value, life, refused))
            }
            Given::None(Refusal { reason, until, is_lasting }) => {
                let pause = self.pause(is_lasting, reason.code);
                let trouble = Trouble {
                    answer: Some((asked.status, asked.body.clone())),
                    code: reason.code,
                    reason: reason.to_string(),
                    until: until.unwrap_or(Timestamp(now.0 + pause)).max(Timestamp(now.0 + SECOND)),
                    secret: is_lasting.then(|| Arc::clone(&asked.secret)),
                };
                self.trouble = Some(trouble.clone());
                Err(trouble)
            }
        }
    }

    /// WeChat could not be asked.
    pub(super) fn fail(&mut self, now: Timestamp, reason: String) -> Trouble {
        let until = Timestamp(now.0 + self.pause(false, None));
        let trouble = Trouble { answer: None, code: None, reason, until, secret: None };
        self.trouble = Some(trouble.clone());
        trouble
    }

    /// How long nobody asks again: it doubles.
    fn pause(&mut self, is_lasting: bool, code: Option<i64>) -> i64 {
        let (first, most) = match code {
            // Somebody may be adding the address this minute.
            Some(40164) => (MINUTE, 5 * MINUTE),
            _ if is_lasting => (MINUTE, HOUR),
            _ => (SECOND, 30 * SECOND),
        };
        let pause = first.saturating_mul(1_i64 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The secret has been exchanged: what was said of the one before does not count any more.
    pub(super) fn forgive(&mut self, refused: &Arc<SecretValue>) {
        let is_it = |trouble: &Trouble| trouble.secret.as_ref().is_some_and(|it| Arc::ptr_eq(it, refused));
        if self.trouble.as_ref().is_some_and(is_it) {
            self.forget();
        }
    }

    /// What was wrong does not count any more.
    pub(super) fn forget(&mut self) {
        (self.trouble, self.failures) = (None, 0);
    }

    fn hold(&mut self, now: Timestamp, value: SecretValue, life: i64, refused: bool) -> Token {
        let until = Timestamp(now.0 + life);
        // One that lasts for less than that is renewed at half its time.
        let renew = Timestamp(now.0 + if life > EARLY { life - EARLY } else { life / 2 });
        let is_same = self.held.as_ref().is_some_and(|held| *held.token.value == value);
        match &mut self.held {
            Some(held) if is_same => {
                (held.until, held.renew) = (until, renew);
                held.is_stuck |= refused;
                held.token.clone()
            }
            _ => {
                self.tokens += 1;
                let token = Token { value: Arc::new(value), number: self.tokens };
                self.remember(&token.value);
                self.held = Some(Held { token: token.clone(), got: now, until, renew, is_stuck: false });
                token
            }
        }
    }

    fn remember(&mut self, value: &Arc<SecretValue>) {
        // What is used again is not forgotten before what was used once.
        if let Some(known) = self.past.iter().position(|known| known == value).and_then(|at| self.past.remove(at)) {
            return self.past.push_back(known);
        }
        if self.past.len() == MOST_PAST {
            self.past.pop_front();
        }
        self.past.push_back(Arc::clone(value));
        self.seen += 1;
    }

    /// All that must not be seen: tokens and secrets, old ones too.
    pub(super) fn past(&self) -> Vec<Arc<SecretValue>> {
        self.past.iter().cloned().collect()
    }

    /// How many different values were ever among [`Self::past`].
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// When the token was given and until when it works, when it was last asked for, how many there were, how many of today were
    /// forced, and what is wrong.
    pub(super) fn told(&self, now: Timestamp) -> Told<'_> {
        Told {
            got: self.held.as_ref().map(|held| held.got),
            expires: self.held.as_ref().map(|held| held.until),
            asked: self.asked,
            tokens: self.tokens,
            forced_today: self.forced.iter().filter(|at| day(**at) == day(now)).count(),
            trouble: self.trouble.as_ref().filter(|trouble| now < trouble.until),
        }
    }
}

/// What may be shown.
pub(super) struct Told<'s> {
    pub(super) got: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) asked: Option<Timestamp>,
    pub(super) tokens: u64,
    pub(super) forced_today: usize,
    pub(super) trouble: Option<&'s Trouble>,
}

/// The number of the day in Beijing.
fn day(at: Timestamp) -> i64 {
    (at.0 + 8 * HOUR).div_euclid(24 * HOUR)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    /// Half past three in the afternoon of 2026-11-24 in Beijing.
    const NOW: i64 = 1_795_505_400_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(NOW + seconds * SECOND)
    }

    fn secret(text: &str) -> Arc<SecretValue> {
        Arc::new(SecretValue::new(Zeroizing::new(text.to_owned())))
    }

    fn answer(body: &str) -> Asked {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Asked { status: 200, body, secret: secret("the app's secret") }
    }

    fn gives(token: &str, seconds: i64) -> Asked {
        answer(&format!(r#"{{"access_token":"{token}","expires_in":{seconds}}}"#))
    }

    fn refuses(code: i64) -> Asked {
        let words = match code {
            40164 => "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist",
            _ => "refused",
        };
        answer(&format!(r#"{{"errcode":{code},"errmsg":"{words} rid: 5f0a7e2b-1c2d3e4f-00112233"}}"#))
    }

    /// A word for what there is to do.
    fn need(state: &State, seconds: i64, refused: Option<u64>) -> String {
        match state.need(at(seconds), refused) {
            Need::Use { token, renew } => format!("use {}{}", token.value.reveal(), if renew { ", renew" } else { "" }),
            Need::Ask { force } => if force { "force" } else { "ask" }.to_owned(),
            Need::Stop(trouble) => format!("stop for {} s", (trouble.until.0 - at(seconds).0) / SECOND),
        }
    }

    #[test]
    fn a_token_is_renewed_by_time_while_the_old_one_works() {
        let mut state = State::default();
        assert_eq!(need(&state, 0, None), "ask");
        state.take(at(0), &gives("token-one", 7_200), false).unwrap();
        for (seconds, expected) in [
            (0, "use token-one"),
            (6_899, "use token-one"),
            (6_900, "use token-one, renew"),
            (7_199, "use token-one, renew"),
            (7_200, "ask"),
        ] {
            assert_eq!(need(&state, seconds, None), expected, "{seconds}");
        }
        // Nobody renews what could not be renewed a moment ago, as long as there is a token.
        state.fail(at(6_900), "no connection".to_owned());
        assert_eq!(
            (need(&state, 6_900, None), need(&state, 6_901, None)),
            ("use token-one".into(), "use token-one, renew".into())
        );
        state.take(at(6_950), &gives("token-two", 7_200), false).unwrap();
        assert_eq!(need(&state, 7_300, None), "use token-two");
        assert_eq!(state.told(at(7_300)).tokens, 2);
        // One that lasts for less than the time that it is renewed early.
        state.take(at(7_400), &gives("token-three", 200), false).unwrap();
        assert_eq!(
            (need(&state, 7_499, None), need(&state, 7_500, None)),
            ("use token-three".into(), "use token-three, renew".into())
        );
    }

    #[test]
    fn a_refused_token_is_renewed_once_and_forced_only_when_it_comes_back() {
        let mut state = State::default();
        let first = state.take(at(0), &gives("token-one", 7_200), false).unwrap();
        assert_eq!(need(&state, 1, Some(first.number)), "ask");
        state.take(at(1), &gives("token-two", 7_200), true).unwrap();
        // Ninety-nine others were refused with the first one.
        assert_eq!(need(&state, 1, Some(first.number)), "use token-two");
        let second = first.number + 1;
        state.take(at(2), &gives("token-two", 7_100), true).unwrap();
        assert_eq!(need(&state, 2, Some(second)), "force");
        state.asks(at(2), true);
        state.take(at(2), &gives("token-three", 7_200), true).unwrap();
        assert_eq!(
            (need(&state, 2, Some(second)), need(&state, 2, None)),
            ("use token-three".into(), "use token-three".into())
        );
        // WeChat refuses that too: 30 seconds apart, then longer.
        let third = second + 1;
        state.take(at(3), &gives("token-three", 7_200), true).unwrap();
        assert_eq!(
            (need(&state, 3, Some(third)), need(&state, 31, Some(third))),
            ("stop for 29 s".into(), "stop for 1 s".into())
        );
        assert_eq!(need(&state, 32, Some(third)), "force");
        state.asks(at(32), true);
        assert_eq!(
            (need(&state, 91, Some(third)), need(&state, 92, Some(third))),
            ("stop for 1 s".into(), "force".into())
        );
        // Whoever was not refused goes on with what there is.
        assert_eq!(need(&state, 33, None), "use token-three");
    }

    #[test]
    fn forced_renewals_last_for_a_day() {
        let mut state = State::default();
        let token = state.take(at(0), &gives("token-one", 7_200), false).unwrap();
        state.take(at(0), &gives("token-one", 7_200), true).unwrap();
        let (mut seconds, mut times) = (0, Vec::new());
        while times.len() < 20 {
            match state.need(at(seconds), Some(token.number)) {
                Need::Ask { force: true } => {
                    state.asks(at(seconds), true);
                    times.push(seconds);
                }
                Need::Stop(trouble) => seconds = (trouble.until.0 - NOW) / SECOND,
                other => panic!("{other:?}"),
            }
            // A day of Beijing is over.
            assert!(seconds < 8 * 3_600 + 1_800 || times.len() < 20, "{times:?}");
            if seconds >= 8 * 3_600 + 1_800 {
                break;
            }
        }
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 30), "{times:?}");
        assert!((10..=20).contains(&times.len()), "{times:?}");
        let mut state = State::default();
        state.take(at(0), &gives("token-one", 86_400), false).unwrap();
        state.take(at(0), &gives("token-one", 86_400), true).unwrap();
        (0..20).for_each(|minute| state.asks(at(minute * 60), true));
        // Until midnight there, eight and a half hours after half past three.
        assert_eq!(need(&state, 20 * 3_600 / 10, Some(1)), format!("stop for {} s", 8 * 3_600 + 1_800 - 7_200));
        assert_eq!(need(&state, 8 * 3_600 + 1_800, Some(1)), "force");
    }

    #[test]
    fn what_wechat_says_instead_of_a_token_is_remembered() {
        for (code, pauses) in [
            (-1, [1, 2, 4]),
            (40013, [60, 120, 240]),
            (40125, [60, 120, 240]),
            (40243, [60, 120, 240]),
            (40001, [60, 120, 240]),
            (40164, [60, 120, 240]),
            (45009, [30_600, 30_599, 30_597]),
            (45011, [60, 60, 60]),
            (89503, [3_600, 3_600, 3_600]),
            (89506, [86_400, 86_400, 86_400]),
            (89507, [3_600, 3_600, 3_600]),
        ] {
            let mut state = State::default();
            let mut seconds = 0;
            let mut found = Vec::new();
            for _ in 0..3 {
                let trouble = state.take(at(seconds), &refuses(code), false).unwrap_err();
                let pause = (trouble.until.0 - at(seconds).0) / SECOND;
                assert_eq!(need(&state, seconds, None), format!("stop for {pause} s"), "{code}");
                assert_eq!(need(&state, seconds + pause, None), "ask", "{code}");
                found.push(pause);
                seconds += if code == 45009 { found.len() as i64 } else { pause };
                assert_eq!((trouble.code, trouble.answer.is_some()), (Some(code), true));
                assert!(trouble.reason.contains("rid 5f0a7e2b-1c2d3e4f-00112233"), "{}", trouble.reason);
            }
            assert_eq!(found, pauses, "{code}");
            // All is well again, and the next trouble begins anew.
            state.take(at(seconds), &gives("token-one", 7_200), false).unwrap();
            assert_eq!(need(&state, seconds, None), "use token-one");
        }
        let mut state = State::default();
        let reason = state.take(at(0), &refuses(40164), false).unwrap_err().reason;
        assert!(reason.contains("1.2.3.4: add it to the allow-list"), "{reason}");
        for _ in 0..9 {
            state.take(at(0), &refuses(40125), false).unwrap_err();
        }
        assert_eq!(need(&state, 0, None), "stop for 3600 s", "an hour at the most");
    }

    #[test]
    fn another_secret_is_tried_at_once() {
        let mut state = State::default();
        let wrong = state.take(at(0), &refuses(40125), false).unwrap_err().secret.unwrap();
        state.forgive(&secret("another one"));
        assert_eq!(need(&state, 0, None), "stop for 60 s");
        state.forgive(&wrong);
        assert_eq!(need(&state, 0, None), "ask");
        // A quota has nothing to do with the secret.
        assert!(state.take(at(0), &refuses(45009), false).unwrap_err().secret.is_none());
    }

    #[test]
    fn an_answer_without_a_token_is_no_token() {
        for body in [
            "",
            "{}",
            "[]",
            "<html>",
            "null",
            r#"{"access_token":""}"#,
            r#"{"access_token":"short"}"#,
            r#"{"access_token":"with a space in it","expires_in":7200}"#,
            r#"{"access_token":null,"expires_in":7200}"#,
            r#"{"errcode":0,"errmsg":"ok"}"#,
        ] {
            let mut state = State::default();
            let trouble = state.take(at(0), &answer(body), false).unwrap_err();
            assert_eq!(need(&state, 0, None), "stop for 1 s", "{body}: {trouble:?}");
        }
        let mut state = State::default();
        let asked = Asked { status: 502, ..gives("token-one", 7_200) };
        assert!(state.take(at(0), &asked, false).is_err());
        // A life that nobody would believe, and one that is not told.
        state.take(at(0), &gives("token-one", i64::MAX), false).unwrap();
        assert_eq!(
            (need(&state, 86_399, None), need(&state, 86_400, None)),
            ("use token-one, renew".into(), "ask".into())
        );
        state.take(at(0), &answer(r#"{"access_token":"token-two"}"#), false).unwrap();
        assert_eq!(need(&state, 7_200, None), "ask");
    }

    #[test]
    fn tokens_and_secrets_of_the_past_are_known() {
        let mut state = State::default();
        for number in 0..40 {
            state.take(at(number), &gives(&format!("token-{number:02}"), 7_200), false).unwrap();
        }
        let past: Vec<String> = state.past().iter().map(|value| value.reveal().to_owned()).collect();
        assert_eq!((past.len(), past[0].as_str()), (32, "token-09"));
        assert_eq!((past[30].as_str(), past[31].as_str()), ("the app's secret", "token-39"));
        assert_eq!(state.seen(), 41);
        assert!(!format!("{state:?}").contains("token-39"), "{state:?}");
    }
}
