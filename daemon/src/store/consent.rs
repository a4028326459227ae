//! The ledger of consents: which messages users still accept. Providers do not tell how many there are; they tell when one comes, and
//! the ledger counts.
//!
//! What is told again counts once, by the hash of what it says. What is taken is taken for a message, by its identifier, so that
//! whoever was killed between taking and sending, and tries the same message again, finds the consent that is its own already.
//! Taking, giving back and news are each one commit in the writer, so that two messages never take the same one.
//!
//! | module  | holds                          |
//! |---------|--------------------------------|
//! | `write` | the statements of each step    |
//! | `read`  | the questions                  |

mod read;
mod write;

use sqlx::SqliteConnection;

use super::Store;
use super::error::StoreError;
use super::rows::Statement;
use super::writer::Request;
use crate::clock::Timestamp;
use crate::record::consent::{ConsentAsk, ConsentNews, Taking};

pub use self::read::ConsentFilter;

/// For how long what is told again is known, milliseconds. Providers give up after minutes.
const TOLD_AGAIN: i64 = 2 * 86_400_000;

/// What the writer is asked to do with consents.
#[derive(Debug)]
pub(super) enum Ask {
    News { account: String, news: Vec<ConsentNews>, now: Timestamp },
    Take { asks: Vec<ConsentAsk>, now: Timestamp },
    GiveBack { messages: Vec<String>, accounts: Vec<String>, now: Timestamp },
    UsedUp { asks: Vec<ConsentAsk>, now: Timestamp },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Told {
    /// How many of the news were new.
    News(u64),
    Taken(Vec<Taking>),
    Done,
}

impl Ask {
    /// Does it within the transaction that is open.
    pub(super) async fn apply(&self, connection: &mut SqliteConnection) -> Result<Told, sqlx::Error> {
        match self {
            Self::News { account, news, now } => write::news(connection, account, news, *now).await.map(Told::News),
            Self::Take { asks, now } => write::take(connection, asks, *now).await.map(Told::Taken),
            Self::GiveBack { messages, accounts, now } => {
                write::give_back(connection, messages, accounts, *now).await.map(|()| Told::Done)
            }
            Self::UsedUp { asks, now } => write::used_up(connection, asks, *now).await.map(|()| Told::Done),
        }
    }
}

impl Store {
    /// Takes in what a provider tells of an account; durable on return. Returns how many of them had not been told before.
    pub async fn consent_news(&self, account: &str, news: Vec<ConsentNews>, now: Timestamp) -> Result<u64, StoreError> {
        match self.consents(Ask::News { account: account.to_owned(), news, now }).await? {
            Told::News(count) => Ok(count),
            Told::Taken(_) | Told::Done => Ok(0),
        }
    }

    /// Takes a consent for each message, in order. A message that has one already keeps it.
    pub async fn consent_take(&self, asks: Vec<ConsentAsk>, now: Timestamp) -> Result<Vec<Taking>, StoreError> {
        match self.consents(Ask::Take { asks, now }).await? {
            Told::Taken(taken) => Ok(taken),
            Told::News(_) | Told::Done => Ok(Vec::new()),
        }
    }

    /// Gives back what was taken for messages that were not sent. Only of these accounts.
    pub async fn consent_give_back(
        &self,
        messages: Vec<String>,
        accounts: Vec<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.consents(Ask::GiveBack { messages, accounts, now }).await.map(drop)
    }

    /// The provider says that these users have none left.
    pub async fn consent_used_up(&self, asks: Vec<ConsentAsk>, now: Timestamp) -> Result<(), StoreError> {
        self.consents(Ask::UsedUp { asks, now }).await.map(drop)
    }

    /// Forgets users of whom nothing was heard since `cutoff`, and what was told so long ago that it is not told again.
    pub async fn consent_prune(&self, cutoff: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        const DELETES: [&str; 3] = [
            "DELETE FROM consent WHERE EXISTS (SELECT 1 FROM (VALUES {rows}) v WHERE consent.changed < v.column1)",
            "DELETE FROM consent_taken WHERE EXISTS (SELECT 1 FROM (VALUES {rows}) v WHERE consent_taken.at < v.column1)",
            "DELETE FROM consent_delivery WHERE EXISTS (SELECT 1 FROM (VALUES {rows}) v WHERE consent_delivery.at < v.column1)",
        ];
        const TOLD: &str = "DELETE FROM consent_event WHERE EXISTS (SELECT 1 FROM (VALUES {rows}) v WHERE consent_event.at < v.column1)";
        for delete in DELETES {
            self.remove(Statement::new(delete, [[cutoff.into()]].into_iter())).await?;
        }
        let told = Timestamp(now.0.saturating_sub(TOLD_AGAIN));
        self.remove(Statement::new(TOLD, [[told.into()]].into_iter())).await.map(drop)
    }

    async fn consents(&self, ask: Ask) -> Result<Told, StoreError> {
        self.ask(|answer| Request::Consents { ask, answer }).await?
    }
}
