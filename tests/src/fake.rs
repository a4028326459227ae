//! A fake of the providers that messages are sent to: WeChat's API, the robots of WeCom, DingTalk and Feishu, ntfy, and any
//! webhook. It is a server of HTTP within the test (or, as `cargo run -p upkeep-tests --example fake`, beside a demo), and
//! all of them answer on its one port, since their paths differ.
//!
//! Each behaves as its provider does, as far as the documentation and the SDKs tell: tokens supersede each other, consents are
//! used up, limits are kept by a window that slides, signatures are checked. On top of that a [`Script`] says which requests go
//! wrong, and how: a code, a status, no answer, an answer that comes late, a connection that breaks after the request was
//! taken. Every receiver counts what it has taken, by key, and the most that came within its windows ([`Tally`]): a test holds
//! the sender to these counts and not to what the sender thinks.
//!
//! Nothing here shares code with what is tested: limits, signatures and encryption are written a second time.
//!
//! ```no_run
//! use upkeep_tests::fake::{Fake, Fault, On};
//!
//! let fake = Fake::start();
//! fake.wechat.app("wx0123456789abcdef", "the secret of the application");
//! fake.script.add(On::path("/cgi-bin/message/subscribe/send").nth(2), Fault::Code(40001));
//! println!("api = {:?}", fake.url(""));
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

pub mod callback;
mod client;
mod clock;
mod dingtalk;
mod feishu;
mod http;
mod ntfy;
mod script;
mod setup;
mod sign;
mod tally;
mod webhook;
mod wechat;
mod wecom;

pub use client::{Client, Heard};
pub use clock::Clock;
pub use dingtalk::DingTalk;
pub use feishu::Feishu;
pub use http::{Asked, Reply};
pub use ntfy::Ntfy;
pub use script::{Fault, On, RetryAfter, Rule, Script, When};
pub use setup::Setup;
pub use tally::{Count, Tally};
pub use webhook::Webhook;
pub use wechat::{Accepted, Template, WeChat};
pub use wecom::WeCom;

/// All providers, on one port of this machine. They are gone when this is dropped.
///
/// Beside them, `GET /fake/counts` tells what was counted, and `POST /fake/script` adds [rules](Script): for scripts that do not
/// run in its process.
pub struct Fake {
    server: http::Server,
    /// What goes wrong.
    pub script: Arc<Script>,
    /// The time that all of them go by.
    pub clock: Arc<Clock>,
    /// WeChat's API.
    pub wechat: Arc<WeChat>,
    /// Robots of WeCom.
    pub wecom: Arc<WeCom>,
    /// Robots of DingTalk.
    pub dingtalk: Arc<DingTalk>,
    /// Robots of Feishu.
    pub feishu: Arc<Feishu>,
    /// Topics of ntfy.
    pub ntfy: Arc<Ntfy>,
    /// Webhooks.
    pub webhook: Arc<Webhook>,
}

/// Whoever answers requests to some paths.
pub(crate) trait Provider: Send + Sync {
    /// Whether the path is one of its own.
    fn has(&self, path: &str) -> bool;

    /// What the provider does with the request.
    fn answer(&self, asked: &Asked) -> Reply;

    /// How it refuses with a code that the script wants.
    fn refuse(&self, asked: &Asked, code: i64) -> Reply;

    /// A request that the script keeps from the provider came all the same: it counts for the limits.
    fn came(&self, asked: &Asked);

    /// All that it counts, by names such as `wecom/KEY`.
    fn tallies(&self) -> Vec<(String, Arc<Tally>)>;
}

impl Fake {
    /// Starts it on a free port.
    pub fn start() -> Self {
        Self::on(0)
    }

    /// Starts it on this port; 0 for a free one.
    pub fn on(port: u16) -> Self {
        let clock = Arc::new(Clock::new());
        let script = Arc::new(Script::new());
        let wechat = Arc::new(WeChat::new(Arc::clone(&clock)));
        let wecom = Arc::new(WeCom::new());
        let dingtalk = Arc::new(DingTalk::new());
        let feishu = Arc::new(Feishu::new());
        let ntfy = Arc::new(Ntfy::new());
        let webhook = Arc::new(Webhook::new());
        // The first that has a path answers it: `/cgi-bin/webhook/` is WeCom's, all else of `/cgi-bin/` WeChat's.
        let providers: Vec<Arc<dyn Provider>> = vec![
            Arc::clone(&webhook) as _,
            Arc::clone(&wecom) as _,
            Arc::clone(&dingtalk) as _,
            Arc::clone(&feishu) as _,
            Arc::clone(&wechat) as _,
            Arc::clone(&ntfy) as _,
        ];
        let server = http::Server::start(port, Arc::clone(&clock), Arc::clone(&script), providers);
        Self { server, script, clock, wechat, wecom, dingtalk, feishu, ntfy, webhook }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server.port()).into()
    }

    /// The address of a path on it: `/` and so on, or nothing.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }
}
