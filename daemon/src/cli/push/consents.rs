//! `upkeep push consents`: which messages users still accept, as their provider tells.

use std::io::{self, Write};

use clap::Args;

use crate::api::Consents;
use crate::cli::screen::{Ink, Screen, grouped};
use crate::cli::table::{Cell, Table};
use crate::cli::{stdout_screen, write_json};
use crate::client::{Client, ConsentQuery};
use crate::record::consent::Consent;

/// Show how many messages users still accept, what changed last first
#[derive(Debug, Args)]
pub(super) struct ConsentsArgs {
    /// Only of this account (appid)
    #[arg(long)]
    account: Option<String>,
    /// Only of this user (openid)
    #[arg(long)]
    user: Option<String>,
    /// Only to this template, by the provider's identifier
    #[arg(long)]
    template: Option<String>,
    /// At most so many users
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl ConsentsArgs {
    pub(super) async fn run(self, client: &Client, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self { account, user, template, limit, json } = self;
        let consents = client.consents(&ConsentQuery { account, user, template, limit: Some(limit) }).await?;
        if json {
            return write_json(&consents, out);
        }
        write_consents(&stdout_screen(), &consents, out)?;
        Ok(())
    }
}

fn write_consents(screen: &Screen, all: &Consents, out: &mut dyn Write) -> io::Result<()> {
    let Consents { consents, templates, more } = all;
    if templates.is_empty() {
        return writeln!(
            out,
            "Nothing is known of consents: no event has come. They come to [listen.wechat.NAME] of upkeep.toml."
        );
    }
    if consents.is_empty() {
        writeln!(out, "There are no such users.")?;
    } else {
        // Identifiers are long: where there is one account, the templates below tell which.
        let accounts = usize::from(templates.iter().any(|it| it.account != templates[0].account));
        let headings = ["ACCOUNT", "TEMPLATE", "USER", "LEFT", "LAST", "WHEN"].into_iter().skip(1 - accounts);
        let mut table = Table::new(headings, accounts);
        for consent in consents {
            let row = [
                Cell::from(consent.account.as_str()),
                consent.template.as_str().into(),
                consent.user.as_str().into(),
                left(consent),
                consent.event.name().into(),
                screen.relative(consent.changed).into(),
            ];
            table.row(row.into_iter().skip(1 - accounts));
        }
        table.write(screen, 0, out)?;
    }
    if *more {
        writeln!(out, "There are more; --account, --user and --template choose, -n shows up to 1000.")?;
    }
    writeln!(out)?;
    let mut table = Table::new(["ACCOUNT", "TEMPLATE", "USERS", "LEFT", "KNOWN SINCE"], 1);
    for template in templates {
        table.row([
            Cell::from(template.account.as_str()),
            template.template.as_str().into(),
            grouped(template.users).into(),
            grouped(template.remaining).into(),
            screen.minute(template.since).into(),
        ]);
    }
    table.write(screen, 0, out)
}

fn left(consent: &Consent) -> Cell {
    match consent {
        Consent { refused: true, .. } => Cell::new(Ink::Red, "refused"),
        Consent { remaining: 0, .. } => Cell::new(Ink::Yellow, "0"),
        Consent { long_term: true, .. } => "long-term".into(),
        Consent { remaining, .. } => remaining.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::terminal;
    use crate::clock::Timestamp;
    use crate::record::consent::{ConsentEvent, ConsentTemplate};

    fn ago(ms: i64) -> Timestamp {
        Timestamp(terminal().now.0 - ms)
    }

    #[test]
    fn the_lists() {
        let consent = |user: &str, remaining, long_term, refused, event| Consent {
            account: "wxba5fad812f8e6fb9".into(),
            template: "uWnmZ-CB7kTzVkFvJPXMJ0pXVhZkHfvWpVFOqkSg8xk".into(),
            user: user.into(),
            remaining,
            long_term,
            refused,
            event,
            changed: ago(7_200_000),
        };
        let consents = vec![
            consent("oQl3e5Zt8KyVbN2mWx7RfGh4Jd1s", 3, false, false, ConsentEvent::Accepted),
            consent("oQl3e5Zt8KyVbN2mWx7RfGh4Jd2s", 0, false, true, ConsentEvent::TurnedOff),
            consent("oQl3e5Zt8KyVbN2mWx7RfGh4Jd3s", 0, false, false, ConsentEvent::UsedUp),
            consent("oQl3e5Zt8KyVbN2mWx7RfGh4Jd4s", 1, true, false, ConsentEvent::TurnedOn),
        ];
        let template = |account: &str| ConsentTemplate {
            account: account.into(),
            template: "uWnmZ-CB7kTzVkFvJPXMJ0pXVhZkHfvWpVFOqkSg8xk".into(),
            since: ago(86_400_000),
            users: 2,
            remaining: 3,
        };
        let templates = vec![template("wxba5fad812f8e6fb9")];
        let shown = |all: &Consents| {
            let mut out = Vec::new();
            write_consents(&terminal(), all, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let all = Consents { consents, templates: templates.clone(), more: true };
        let nobody = Consents { consents: vec![], templates, more: false };
        let two = Consents { templates: vec![template("wx0"), template("wx1")], ..all.clone() };
        insta::assert_snapshot!([all, nobody, two].map(|it| shown(&it)).join("\n\n"));
        let nothing = Consents { consents: vec![], templates: vec![], more: false };
        let told =
            "Nothing is known of consents: no event has come. They come to [listen.wechat.NAME] of upkeep.toml.\n";
        assert_eq!(shown(&nothing), told);
    }
}
