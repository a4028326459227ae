//! The questions that can be asked of the ledger.

use sqlx::sqlite::SqliteRow;

use crate::clock::Timestamp;
use crate::record::consent::{Consent, ConsentTemplate};
use crate::store::error::StoreError;
use crate::store::read::Reader;
use crate::store::row::{self, get};

/// Whose consents [`Reader::consents`] lists. The default is all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsentFilter {
    /// Only of this account.
    pub account: Option<String>,
    /// Only of this user.
    pub user: Option<String>,
    /// Only to this template.
    pub template: Option<String>,
}

impl Reader {
    /// Users' consents, what changed last first.
    pub async fn consents(&self, filter: &ConsentFilter, limit: u32) -> Result<Vec<Consent>, StoreError> {
        let query = sqlx::query(
            "SELECT account, template, user, remaining, long_term, refused, event, changed FROM consent \
             WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR user = ?2) AND (?3 IS NULL OR template = ?3) \
             ORDER BY changed DESC, account, template, user LIMIT ?4",
        );
        let ConsentFilter { account, user, template } = filter;
        let query = query.bind(account.as_deref()).bind(user.as_deref()).bind(template.as_deref()).bind(limit);
        self.all(query, read).await
    }

    /// The templates of which there were events.
    pub async fn consent_templates(&self, filter: &ConsentFilter) -> Result<Vec<ConsentTemplate>, StoreError> {
        let query = sqlx::query(
            "SELECT account, template, since, \
                    (SELECT count(*) FROM consent c WHERE (c.account, c.template) = (t.account, t.template) AND remaining > 0) AS users, \
                    (SELECT ifnull(sum(remaining), 0) FROM consent c \
                     WHERE (c.account, c.template) = (t.account, t.template) AND NOT long_term) AS remaining \
             FROM consent_template t WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR template = ?2) \
             ORDER BY account, template",
        );
        let query = query.bind(filter.account.as_deref()).bind(filter.template.as_deref());
        let unsigned = |row: &SqliteRow, column| get(row, column).map(row::unsigned);
        self.all(query, |row| {
            Ok(ConsentTemplate {
                account: get(row, "account")?,
                template: get(row, "template")?,
                since: Timestamp(get(row, "since")?),
                users: unsigned(row, "users")?,
                remaining: unsigned(row, "remaining")?,
            })
        })
        .await
    }

    /// A user's consents to one template; none when nothing is known of the template, or of the user.
    pub async fn consent(&self, account: &str, template: &str, user: &str) -> Result<Option<Consent>, StoreError> {
        let filter = ConsentFilter {
            account: Some(account.to_owned()),
            user: Some(user.to_owned()),
            template: Some(template.to_owned()),
        };
        Ok(self.consents(&filter, 1).await?.pop())
    }
}

fn read(row: &SqliteRow) -> Result<Consent, StoreError> {
    let remaining: i64 = get(row, "remaining")?;
    Ok(Consent {
        account: get(row, "account")?,
        template: get(row, "template")?,
        user: get(row, "user")?,
        remaining: u32::try_from(remaining.max(0)).unwrap_or(u32::MAX),
        long_term: get(row, "long_term")?,
        refused: get(row, "refused")?,
        event: row::name(get(row, "event")?)?,
        changed: Timestamp(get(row, "changed")?),
    })
}
