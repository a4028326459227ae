//! WeChat's access tokens, kept by the host: one [`Keeper`] for each application, for all tasks and runs of this daemon.
//!
//! A token is asked for when the first request needs it, renewed by time while the old one still works, and renewed when WeChat
//! refuses it: whoever was refused says which token that was, and only when that is still the one that is kept, somebody asks,
//! once, for all who wait. It is asked for by `/cgi-bin/stable_token`, which gives the same token to all who know the secret, so
//! that a second server takes nothing away; a new one is forced only when the very token comes back that was refused.
//!
//! What WeChat answers in the place of a token (a wrong secret, an address that is not in the allow-list, a quota) is
//! remembered, and told to whoever asks meanwhile: a secret that is dead does not use up the quota of the day.
//!
//! Tokens are in memory only. How the request is made is the business of who asks ([`Ask`]); here is no network.

mod answer;
mod keeper;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::keeper::{Ask, Keeper};
pub(crate) use self::state::{Asked, Token, Trouble};
use crate::config::secrets::AccessToken;
use crate::record::token::KeptToken;

/// All keepers of a daemon.
#[derive(Debug, Clone, Default)]
pub struct Keepers(Arc<Mutex<BTreeMap<Place, Arc<Keeper>>>>);

/// An application of WeChat and the address of its API.
type Place = (String, String);

fn place(token: &AccessToken) -> Place {
    (token.appid.clone(), token.api.to_string())
}

impl Keepers {
    /// The keeper for the application that a task file names.
    pub(crate) fn of(&self, token: &AccessToken) -> Arc<Keeper> {
        let mut keepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(keepers.entry(place(token)).or_insert_with(|| Arc::new(Keeper::new(&token.appid, &token.api))))
    }

    /// Forgets the applications that no task file names any more. Runs that are under way go on with theirs.
    pub fn retain<'t>(&self, named: impl IntoIterator<Item = &'t AccessToken>) {
        let named: BTreeSet<Place> = named.into_iter().map(place).collect();
        let mut keepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|place, _| named.contains(place));
    }

    /// Somebody has put something right: whatever was wrong, WeChat is asked again.
    pub fn try_again(&self) {
        let keepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.values().for_each(|keeper| keeper.try_again());
    }

    /// What is kept, by appid. Keepers that were never asked are not among them.
    pub fn kept(&self) -> Vec<KeptToken> {
        let keepers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.values().map(|keeper| keeper.kept()).filter(|kept| kept.asked.is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_no_task_names_is_forgotten() {
        let token = |appid: &str| {
            let text = format!("appid = \"{appid}\"\nfile = \"/etc/upkeep/secrets/shop\"");
            toml::from_str::<AccessToken>(&text).unwrap()
        };
        let (shop, game) = (token("wx0123456789abcdef"), token("wx1123456789abcdef"));
        let keepers = Keepers::default();
        let (shop_keeper, game_keeper) = (keepers.of(&shop), keepers.of(&game));
        keepers.retain([&shop]);
        assert!(Arc::ptr_eq(&keepers.of(&shop), &shop_keeper));
        assert!(!Arc::ptr_eq(&keepers.of(&game), &game_keeper));
    }
}
