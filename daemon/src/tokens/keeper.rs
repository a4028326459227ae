//! One application's token: whoever wants it waits for the same request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::state::{Asked, Need, State, Token, Trouble};
use crate::clock::{self, Timestamp};
use crate::config::http::Server;
use crate::config::secret::SecretValue;
use crate::record::token::{KeptToken, TokenTrouble};

/// Times that one caller waits for a token. Two are needed when it was refused: for the one that comes back, and for the one
/// that is forced; the others are for flights that were given up.
const ROUNDS: u32 = 6;

/// Who asks WeChat in the name of a run.
pub(crate) trait Ask: Send + Sync + 'static {
    /// Asks for the token, by force for another one than before. None when the run ends before there is an answer.
    fn ask(self: Arc<Self>, force: bool) -> BoxFuture<'static, Option<Result<Asked, String>>>;

    /// The application's secret as it is now.
    fn secret(self: Arc<Self>) -> BoxFuture<'static, Option<SecretValue>>;

    /// Lets the work go on when nobody waits for it any more.
    fn spawn(&self, work: BoxFuture<'static, ()>);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    appid: String,
    api: String,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    flight: Option<Flight>,
    flights: u64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("state", &self.state).finish_non_exhaustive()
    }
}

/// A request that is under way, for all who wait for it.
#[derive(Clone)]
struct Flight {
    number: u64,
    landed: Shared<BoxFuture<'static, Landed>>,
}

/// What came of it; none when it was given up.
type Landed = Option<Result<Token, Trouble>>;

/// The next thing to do for a caller.
enum Next {
    Done(Result<Token, Trouble>),
    Wait(Flight),
}

impl Keeper {
    pub(super) fn new(appid: &str, api: &Server) -> Self {
        Self { appid: appid.to_owned(), api: api.to_string(), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token, asked for if need be. `refused` is the number of the one that a request was just refused with: as long as it is
    /// the one that is kept, another is asked for.
    pub(crate) async fn token(self: &Arc<Self>, asker: &Arc<dyn Ask>, refused: Option<u64>) -> Result<Token, Trouble> {
        let mut may_forgive = true;
        for _ in 0..ROUNDS {
            let flight = match self.next(asker, refused) {
                Next::Wait(flight) => flight,
                Next::Done(Err(Trouble { secret: Some(secret), .. })) if std::mem::take(&mut may_forgive) => {
                    // Whoever exchanged a wrong secret need not wait.
                    let current = Arc::clone(asker).secret().await;
                    if current.is_some_and(|current| current != *secret) {
                        self.lock().state.forgive(&secret);
                    }
                    continue;
                }
                Next::Done(done) => return done,
            };
            match flight.landed.await {
                // The one that was refused: next time it is forced.
                Some(Ok(token)) if Some(token.number) == refused => {}
                Some(done) => return done,
                None => {}
            }
        }
        let reason = "the token was asked for again and again, and none came".to_owned();
        Err(Trouble { answer: None, code: None, reason, until: clock::now(), secret: None })
    }

    fn next(self: &Arc<Self>, asker: &Arc<dyn Ask>, refused: Option<u64>) -> Next {
        let mut inner = self.lock();
        let now = clock::now();
        match (inner.state.need(now, refused), inner.flight.clone()) {
            (Need::Use { token, renew }, flight) => {
                if renew && flight.is_none() {
                    self.start(&mut inner, asker, now, false, false);
                }
                Next::Done(Ok(token))
            }
            (_, Some(flight)) => Next::Wait(flight),
            (Need::Ask { force }, None) => Next::Wait(self.start(&mut inner, asker, now, force, refused.is_some())),
            (Need::Stop(trouble), None) => Next::Done(Err(trouble)),
        }
    }

    /// Sends a request on its way.
    fn start(
        self: &Arc<Self>,
        inner: &mut Inner,
        asker: &Arc<dyn Ask>,
        now: Timestamp,
        force: bool,
        refused: bool,
    ) -> Flight {
        inner.flights += 1;
        inner.state.asks(now, force);
        let number = inner.flights;
        let (tell, told) = tokio::sync::oneshot::channel();
        let (keeper, asking) = (Arc::clone(self), Arc::clone(asker));
        asker.spawn(Box::pin(async move {
            // It is over, also when this ends in a way that nobody thought of.
            let over = Over { keeper: &keeper, number };
            let came = asking.ask(force).await;
            let landed = keeper.land(came, refused);
            drop(over);
            // All who waited may be gone.
            let _ = tell.send(landed);
        }));
        let landed = async move { told.await.ok().flatten() }.boxed().shared();
        let flight = Flight { number, landed };
        inner.flight = Some(flight.clone());
        flight
    }

    fn land(&self, came: Option<Result<Asked, String>>, refused: bool) -> Landed {
        let now = clock::now();
        let mut inner = self.lock();
        let landed = match came? {
            Ok(asked) => inner.state.take(now, &asked, refused),
            Err(reason) => Err(inner.state.fail(now, reason)),
        };
        drop(inner);
        let appid = &self.appid;
        match &landed {
            Ok(token) => tracing::debug!(appid, number = token.number, "WeChat gave the access token"),
            Err(trouble) => {
                tracing::warn!(appid, until = %trouble.until, "WeChat gave no access token: {}", trouble.reason)
            }
        }
        Some(landed)
    }

    /// All that must not be seen of it: tokens and secrets, old ones too.
    pub(crate) fn past(&self) -> Vec<Arc<SecretValue>> {
        self.lock().state.past()
    }

    /// How many different values were ever among [`Self::past`].
    pub(crate) fn seen(&self) -> u64 {
        self.lock().state.seen()
    }

    /// What was wrong does not count any more.
    pub(super) fn try_again(&self) {
        self.lock().state.forget();
    }

    /// What may be shown.
    pub(super) fn kept(&self) -> KeptToken {
        let inner = self.lock();
        let told = inner.state.told(clock::now());
        let trouble = told.trouble.map(|trouble| TokenTrouble {
            code: trouble.code,
            reason: trouble.reason.clone(),
            until: trouble.until,
        });
        KeptToken {
            appid: self.appid.clone(),
            api: self.api.clone(),
            got: told.got,
            expires: told.expires,
            asked: told.asked,
            tokens: told.tokens,
            forced_today: u32::try_from(told.forced_today).unwrap_or(u32::MAX),
            trouble,
        }
    }
}

/// Makes way for the next request when this one is over.
struct Over<'k> {
    keeper: &'k Keeper,
    number: u64,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut inner = self.keeper.lock();
        if inner.flight.as_ref().is_some_and(|flight| flight.number == self.number) {
            inner.flight = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use bytes::Bytes;
    use zeroize::Zeroizing;

    use super::*;

    /// What comes of a request.
    type Script = Box<dyn Fn(u32, bool) -> Option<Result<String, String>> + Send + Sync>;

    /// Asks nobody, and takes ten milliseconds for it.
    struct Scripted {
        script: Script,
        asked: AtomicU32,
        forced: AtomicU32,
        secret: Mutex<&'static str>,
    }

    fn value(text: &str) -> SecretValue {
        SecretValue::new(Zeroizing::new(text.to_owned()))
    }

    impl Ask for Scripted {
        fn ask(self: Arc<Self>, force: bool) -> BoxFuture<'static, Option<Result<Asked, String>>> {
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
                self.forced.fetch_add(u32::from(force), Ordering::SeqCst);
                let secret = Arc::new(value(*self.secret.lock().unwrap()));
                let body = (self.script)(number, force)?;
                Some(body.map(|body| Asked { status: 200, body: Bytes::from(body), secret }))
            }
            .boxed()
        }

        fn secret(self: Arc<Self>) -> BoxFuture<'static, Option<SecretValue>> {
            let secret = value(*self.secret.lock().unwrap());
            async move { Some(secret) }.boxed()
        }

        fn spawn(&self, work: BoxFuture<'static, ()>) {
            tokio::spawn(work);
        }
    }

    fn scripted(
        script: impl Fn(u32, bool) -> Option<Result<String, String>> + Send + Sync + 'static,
    ) -> (Arc<Keeper>, Arc<Scripted>, Arc<dyn Ask>) {
        let keeper = Arc::new(Keeper::new("wx0123456789abcdef", &"https://api.weixin.qq.com".parse().unwrap()));
        let (asked, forced, secret) = (AtomicU32::new(0), AtomicU32::new(0), Mutex::new("first secret"));
        let scripted = Arc::new(Scripted { script: Box::new(script), asked, forced, secret });
        (keeper, Arc::clone(&scripted), scripted)
    }

    fn token(number: u32) -> Option<Result<String, String>> {
        Some(Ok(format!(r#"{{"access_token":"token-number-{number}","expires_in":7200}}"#)))
    }

    async fn hundred(keeper: &Arc<Keeper>, asker: &Arc<dyn Ask>, refused: Option<u64>) -> Vec<String> {
        let each = (0..100).map(|_| {
            let (keeper, asker) = (Arc::clone(keeper), Arc::clone(asker));
            tokio::spawn(async move {
                match keeper.token(&asker, refused).await {
                    Ok(token) => token.value.reveal().to_owned(),
                    Err(trouble) => trouble.reason,
                }
            })
        });
        let mut all = Vec::new();
        for one in each.collect::<Vec<_>>() {
            all.push(one.await.unwrap());
        }
        all
    }

    fn all(found: &[String], expected: &str) -> bool {
        found.len() == 100 && found.iter().all(|it| it == expected)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_hundred_who_want_a_token_cause_one_request() {
        let (keeper, scripted, asker) = scripted(|number, _| token(number));
        assert!(all(&hundred(&keeper, &asker, None).await, "token-number-1"));
        // And a hundred who were refused with it, one more.
        assert!(all(&hundred(&keeper, &asker, Some(1)).await, "token-number-2"));
        assert!(all(&hundred(&keeper, &asker, Some(1)).await, "token-number-2"));
        assert_eq!((scripted.asked.load(Ordering::SeqCst), scripted.forced.load(Ordering::SeqCst)), (2, 0));
        assert_eq!(keeper.kept().tokens, 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_comes_back_refused_is_forced_once() {
        let forced = AtomicU32::new(0);
        let script = move |_, force| token(forced.fetch_add(u32::from(force), Ordering::SeqCst) + u32::from(force));
        let (keeper, scripted, asker) = scripted(script);
        assert!(all(&hundred(&keeper, &asker, None).await, "token-number-0"));
        assert!(all(&hundred(&keeper, &asker, Some(1)).await, "token-number-1"));
        assert_eq!((scripted.asked.load(Ordering::SeqCst), scripted.forced.load(Ordering::SeqCst)), (3, 1));
        // And when that is refused as well, nobody gets anything from asking.
        let found = hundred(&keeper, &asker, Some(2)).await;
        assert!(found.iter().all(|it| it.contains("forced a moment ago")), "{found:?}");
        assert_eq!((scripted.asked.load(Ordering::SeqCst), keeper.kept().forced_today), (4, 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn all_who_wait_share_a_failure() {
        let (keeper, scripted, asker) = scripted(|_, _| Some(Err("no connection".to_owned())));
        assert!(all(&hundred(&keeper, &asker, None).await, "no connection"));
        assert!(all(&hundred(&keeper, &asker, None).await, "no connection"));
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 1);
        assert_eq!(keeper.kept().trouble.unwrap().reason, "no connection");
    }

    #[tokio::test]
    async fn a_dead_secret_is_not_asked_again_until_it_is_another() {
        let dead = r#"{"errcode":40125,"errmsg":"invalid appsecret rid: 1-2-3"}"#;
        let (keeper, scripted, asker) =
            scripted(move |number, _| if number == 1 { Some(Ok(dead.to_owned())) } else { token(number) });
        for _ in 0..3 {
            let trouble = keeper.token(&asker, None).await.unwrap_err();
            assert_eq!((trouble.code, &trouble.answer.unwrap().1[..]), (Some(40125), dead.as_bytes()));
        }
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 1);
        *scripted.secret.lock().unwrap() = "second secret";
        assert_eq!(keeper.token(&asker, None).await.unwrap().value.reveal(), "token-number-2");
        let past: Vec<String> = keeper.past().iter().map(|value| value.reveal().to_owned()).collect();
        assert_eq!(past, ["first secret", "second secret", "token-number-2"]);
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_the_one_who_asked_is_gone() {
        // The run of the first one is cancelled, and the second one's request ends in a panic.
        let (keeper, scripted, asker) = scripted(|number, _| match number {
            1 => None,
            2 => panic!("a bug"),
            number => token(number),
        });
        assert!(all(&hundred(&keeper, &asker, None).await, "token-number-3"));
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 3);
        // Whoever is dropped while waiting takes nothing along.
        let (keeper, scripted, asker) = self::scripted(|number, _| token(number));
        let gone = tokio::time::timeout(Duration::from_millis(1), keeper.token(&asker, None)).await;
        assert!(gone.is_err());
        assert_eq!(keeper.token(&asker, None).await.unwrap().value.reveal(), "token-number-1");
        assert_eq!(scripted.asked.load(Ordering::SeqCst), 1);
    }
}
