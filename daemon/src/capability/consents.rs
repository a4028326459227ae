//! Users' consents to messages: a task that delivers sees how many there are, and takes one for each message. The ledger is in the
//! journal and is fed by what providers tell ([`crate::server::listen`]); a task can only make it less, or give back what it took.

use crate::abi::consents as abi;
use crate::capability::{Call, Host, HostError};
use crate::clock;
use crate::config::consents::ConsentsGrant;
use crate::record::consent::{ConsentAsk, Taking};
use crate::store::ConsentFilter;

/// Messages of one call; as many as can be claimed at once.
const MOST: usize = 1_000;

/// Longest name of a message, an account, a template or a user, in bytes.
const LONGEST: usize = 256;

impl Host {
    fn consents(&self) -> Result<ConsentsGrant, HostError> {
        match &self.run.grants.consents {
            Some(grant) => Ok(grant.clone()),
            None => self.deny("consents (the task file has no `grant.consents`)"),
        }
    }

    fn consents_of(&self, account: &str) -> Result<ConsentsGrant, HostError> {
        let grant = self.consents()?;
        if grant.allows(account) {
            return Ok(grant);
        }
        let shown: String = account.chars().take(64).collect();
        self.deny(format!("consents of `{shown}` (not in `grant.consents.accounts`)"))
    }

    /// Looks at asks that change something.
    fn asks(&self, what: &str, asks: Vec<abi::Ask>) -> Result<Vec<ConsentAsk>, HostError> {
        self.consents()?;
        self.not_planned(what)?;
        if asks.len() > MOST {
            return Err(HostError::invalid(format!("{} messages at once, and {MOST} are allowed", asks.len())));
        }
        for ask in &asks {
            self.consents_of(&ask.account)?;
            let abi::Ask { message, template, user, .. } = ask;
            if [message, template, user].iter().any(|it| it.is_empty() || it.len() > LONGEST) {
                return Err(HostError::invalid(format!(
                    "a message, a template and a user are named by 1 to {LONGEST} bytes each"
                )));
            }
        }
        let ask = |abi::Ask { message, account, template, user }| ConsentAsk { message, account, template, user };
        Ok(asks.into_iter().map(ask).collect())
    }

    /// A plan has no effect on the world.
    fn not_planned(&self, what: &str) -> Result<(), HostError> {
        match self.call {
            Call::Plan => {
                Err(HostError::invalid(format!("`consents.{what}` is for a step or for finish, not for plan")))
            }
            Call::Step(_) | Call::Finish => Ok(()),
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> HostError {
    HostError::unavailable(error.to_string())
}

impl abi::Host for Host {
    async fn remaining(&mut self, account: String, template: String, user: String) -> Result<Option<u32>, HostError> {
        self.consents_of(&account)?;
        let reader = self.run.store.read();
        let consent = reader.consent(&account, &template, &user).await.map_err(unavailable)?;
        if let Some(consent) = consent {
            let lasts = consent.long_term && consent.remaining > 0;
            return Ok(Some(if lasts { u32::MAX } else { consent.remaining }));
        }
        let filter = ConsentFilter { account: Some(account), template: Some(template), user: None };
        let known = !reader.consent_templates(&filter).await.map_err(unavailable)?.is_empty();
        Ok(known.then_some(0))
    }

    async fn take(&mut self, asks: Vec<abi::Ask>) -> Result<Vec<abi::Taking>, HostError> {
        let asks = self.asks("take", asks)?;
        let taken = self.run.store.consent_take(asks, clock::now()).await.map_err(unavailable)?;
        let taking = |taking| match taking {
            Taking::Taken => abi::Taking::Taken,
            Taking::LongTerm => abi::Taking::LongTerm,
            Taking::Nothing => abi::Taking::Nothing,
            Taking::Unknown => abi::Taking::Unknown,
        };
        Ok(taken.into_iter().map(taking).collect())
    }

    async fn give_back(&mut self, messages: Vec<String>) -> Result<(), HostError> {
        let grant = self.consents()?;
        self.not_planned("give-back")?;
        if messages.len() > MOST {
            return Err(HostError::invalid(format!("{} messages at once, and {MOST} are allowed", messages.len())));
        }
        self.run.store.consent_give_back(messages, grant.accounts, clock::now()).await.map_err(unavailable)
    }

    async fn used_up(&mut self, asks: Vec<abi::Ask>) -> Result<(), HostError> {
        let asks = self.asks("used-up", asks)?;
        self.run.store.consent_used_up(asks, clock::now()).await.map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::types::Error;
    use crate::config::grant::Grants;
    use crate::config::limits::Limits;
    use crate::record::consent::{ConsentEvent, ConsentNews};

    fn ask(message: &str, account: &str, user: &str) -> abi::Ask {
        let (message, account, user) = (message.to_owned(), account.to_owned(), user.to_owned());
        abi::Ask { message, account, template: "t".into(), user }
    }

    async fn host(folder: &std::path::Path) -> Host {
        let grant = ConsentsGrant { accounts: vec!["wx1".into()] };
        let host = Host::of(folder, Grants { consents: Some(grant), ..Grants::default() }, Limits::default()).await;
        for account in ["wx1", "wx2"] {
            let news = ConsentNews {
                id: account.into(),
                template: "t".into(),
                user: "u".into(),
                event: ConsentEvent::Accepted,
                long_term: false,
                delivery: None,
            };
            host.run.store.consent_news(account, vec![news], clock::now()).await.unwrap();
        }
        host
    }

    #[tokio::test]
    async fn a_consent_is_taken_once_and_given_back() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let mut host = host(folder.path()).await;
        let remaining = async |host: &mut Host, template: &str, user: &str| {
            host.remaining("wx1".into(), template.into(), user.into()).await.unwrap()
        };
        assert_eq!(remaining(&mut host, "t", "u").await, Some(1));
        assert_eq!(remaining(&mut host, "t", "nobody").await, Some(0));
        assert_eq!(remaining(&mut host, "other", "u").await, None);
        let asks = ["m1", "m2", "m1"].map(|message| ask(message, "wx1", "u")).to_vec();
        let taken = host.take(asks).await.unwrap();
        assert_eq!(taken, [abi::Taking::Taken, abi::Taking::Nothing, abi::Taking::Taken]);
        host.give_back(vec!["m1".into(), "m2".into()]).await.unwrap();
        assert_eq!(remaining(&mut host, "t", "u").await, Some(1));
        host.used_up(vec![ask("m3", "wx1", "u")]).await.unwrap();
        assert_eq!(remaining(&mut host, "t", "u").await, Some(0));
    }

    #[tokio::test]
    async fn other_accounts_are_out_of_reach() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let mut host = host(folder.path()).await;
        let denied = host.remaining("wx2".into(), "t".into(), "u".into()).await;
        host.expect_denied(denied, "grant.consents.accounts");
        let denied = host.take(vec![ask("m", "wx1", "u"), ask("m", "wx2", "u")]).await;
        host.expect_denied(denied, "grant.consents.accounts");
        let denied = host.used_up(vec![ask("m", "wx2", "u")]).await;
        host.expect_denied(denied, "grant.consents.accounts");
        assert_eq!(host.run.store.read().consent("wx1", "t", "u").await.unwrap().unwrap().remaining, 1);
        assert_eq!(host.run.store.read().consent("wx2", "t", "u").await.unwrap().unwrap().remaining, 1);
        let folder = tempfile::tempdir().unwrap();
        let mut without = Host::of(folder.path(), Grants::default(), Limits::default()).await;
        let denied = without.take(vec![]).await;
        without.expect_denied(denied, "grant.consents");
        let denied = without.give_back(vec![]).await;
        without.expect_denied(denied, "grant.consents");
    }

    #[tokio::test]
    async fn nothing_is_changed_while_planning_nor_by_nonsense() {
        use abi::Host as _;
        let folder = tempfile::tempdir().unwrap();
        let mut host = host(folder.path()).await;
        let many = vec![ask("m", "wx1", "u"); MOST + 1];
        for wrong in [many, vec![ask("", "wx1", "u")], vec![ask("m", "wx1", &"u".repeat(LONGEST + 1))]] {
            assert!(matches!(host.take(wrong).await, Err(HostError::Guest(Error::Invalid(_)))));
        }
        host.call = Call::Plan;
        let refused = host.take(vec![ask("m", "wx1", "u")]).await;
        assert!(matches!(refused, Err(HostError::Guest(Error::Invalid(text))) if text.contains("plan")));
        assert!(host.give_back(vec!["m".into()]).await.is_err());
        assert_eq!(host.remaining("wx1".into(), "t".into(), "u".into()).await.unwrap(), Some(1));
    }
}
