//! Users' consents that a task may take: whether it is known whose, and whether anybody tells of them.

use crate::config::check::{Site, TaskFile};
use crate::config::source::KeyPath;

pub(crate) fn check(file: &mut TaskFile<'_>, site: &Site<'_>) {
    let Some(consents) = &file.settings.grant.consents else { return };
    let key = KeyPath::of(["grant", "consents", "accounts"]);
    if consents.accounts.is_empty() {
        file.error(key.clone(), "no account is named", "write its appid: `accounts = [\"wx0123456789abcdef\"]`");
    }
    let listen = site.settings.listen.as_ref();
    for (index, account) in consents.accounts.iter().enumerate() {
        let is_told = listen.is_some_and(|listen| listen.wechat.values().any(|it| it.appid == *account));
        if !is_told {
            let help = "add a section [listen.wechat.NAME] with this appid to upkeep.toml: the events of message push tell of consents";
            let message = "nobody tells upkeep of the consents of this account's users, so nothing is known of them";
            file.warning(key.index(index), message, help);
        }
    }
}
