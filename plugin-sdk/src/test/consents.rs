//! `consents` of the test host: what the test says that users accept.

use std::collections::BTreeMap;

use super::{World, with};
use crate::bindings::upkeep::plugin::consents::{Ask, Taking};
use crate::host::{HostError, HostResult};

/// Account, template and user.
type Of = (String, String, String);

/// The ledger of the test.
#[derive(Default)]
pub(crate) struct Consents {
    remaining: BTreeMap<Of, u32>,
    /// By message.
    taken: BTreeMap<String, Of>,
}

impl Consents {
    pub(crate) fn set(&mut self, account: &str, template: &str, user: &str, remaining: u32) {
        self.remaining.insert((account.to_owned(), template.to_owned(), user.to_owned()), remaining);
    }

    fn knows(&self, account: &str, template: &str) -> bool {
        self.remaining.keys().any(|(a, t, _)| a == account && t == template)
    }

    fn of(&mut self, ask: &Ask) -> Option<(Of, &mut u32)> {
        let of = (ask.account.clone(), ask.template.clone(), ask.user.clone());
        self.remaining.get_mut(&of).map(|remaining| (of, remaining))
    }

    fn take(&mut self, ask: &Ask) -> Taking {
        if self.taken.contains_key(&ask.message) {
            return Taking::Taken;
        }
        if !self.knows(&ask.account, &ask.template) {
            return Taking::Unknown;
        }
        match self.of(ask) {
            Some((_, remaining)) if *remaining == u32::MAX => Taking::LongTerm,
            Some((of, remaining)) if *remaining > 0 => {
                *remaining -= 1;
                self.taken.insert(ask.message.clone(), of);
                Taking::Taken
            }
            _ => Taking::Nothing,
        }
    }
}

fn act<R>(act: impl FnOnce(&mut Consents) -> R) -> HostResult<R> {
    with(|World { consents, .. }| {
        match consents {
        Some(consents) => Ok(act(consents)),
        None => Err(HostError::Denied(
            "the test host has no consents: give it some with `Host::new().consents(account, template, user, remaining)`"
                .to_owned(),
        )),
    }
    })
}

pub(crate) fn remaining(account: &str, template: &str, user: &str) -> HostResult<Option<u32>> {
    act(|consents| {
        let of = (account.to_owned(), template.to_owned(), user.to_owned());
        let remaining = consents.remaining.get(&of).copied();
        remaining.or_else(|| consents.knows(account, template).then_some(0))
    })
}

pub(crate) fn take(asks: &[Ask]) -> HostResult<Vec<Taking>> {
    act(|consents| asks.iter().map(|ask| consents.take(ask)).collect())
}

pub(crate) fn give_back(messages: &[String]) -> HostResult<()> {
    act(|consents| {
        for message in messages {
            if let Some(of) = consents.taken.remove(message)
                && let Some(remaining) = consents.remaining.get_mut(&of)
            {
                *remaining += 1;
            }
        }
    })
}

pub(crate) fn used_up(asks: &[Ask]) -> HostResult<()> {
    act(|consents| {
        for ask in asks {
            consents.taken.remove(&ask.message);
            if let Some((_, remaining)) = consents.of(ask) {
                *remaining = 0;
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::HostError;
    use crate::consents::{Ask, Taking, give_back, remaining, take, used_up};
    use crate::test::Host;

    #[test]
    fn counts_as_the_real_host_does() {
        let _host = Host::new().consents("wx1", "t", "u", 2).consents("wx1", "long", "u", u32::MAX);
        let ask = |message: &str| Ask::new(message, "wx1", "t", "u");
        assert_eq!(
            take([ask("a"), ask("a"), ask("b"), ask("c")]).unwrap(),
            [Taking::Taken, Taking::Taken, Taking::Taken, Taking::Nothing]
        );
        give_back(["a", "c"]).unwrap();
        assert_eq!(remaining("wx1", "t", "u"), Ok(Some(1)));
        used_up([ask("b")]).unwrap();
        give_back(["b"]).unwrap();
        assert_eq!(remaining("wx1", "t", "u"), Ok(Some(0)));
        assert_eq!((remaining("wx1", "t", "v"), remaining("wx1", "x", "u")), (Ok(Some(0)), Ok(None)));
        let others =
            [Ask::new("d", "wx1", "long", "u"), Ask::new("e", "wx1", "x", "u"), Ask::new("f", "wx1", "t", "v")];
        assert_eq!(take(others).unwrap(), [Taking::LongTerm, Taking::Unknown, Taking::Nothing]);
        let _without = Host::new();
        assert!(matches!(take([ask("a")]), Err(HostError::Denied(_))));
    }
}
