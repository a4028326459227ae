//! The statements of each step, within the transaction that is open. Each is for one user: what comes together is little.

use sqlx::{Row, SqliteConnection};

use crate::clock::Timestamp;
use crate::record::consent::{ConsentAsk, ConsentEvent, ConsentNews, Taking};

pub(super) async fn news(
    connection: &mut SqliteConnection,
    account: &str,
    news: &[ConsentNews],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut count = 0;
    for one in news {
        let seen = sqlx::query("INSERT INTO consent_event (id, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
            .bind(&one.id)
            .bind(now.0)
            .execute(&mut *connection)
            .await?;
        if seen.rows_affected() > 0 {
            count += 1;
            one_of_news(connection, account, one, now).await?;
        }
    }
    Ok(count)
}

async fn one_of_news(
    connection: &mut SqliteConnection,
    account: &str,
    news: &ConsentNews,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let ConsentNews { id: _, template, user, event, long_term, delivery } = news;
    sqlx::query("INSERT INTO consent_template (account, template, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")
        .bind(account)
        .bind(template)
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    if let Some(delivery) = delivery.as_ref().filter(|it| !it.message.is_empty()) {
        sqlx::query(
            "INSERT INTO consent_delivery (account, message, template, code, status, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (account, message) DO UPDATE SET code = excluded.code, status = excluded.status, at = excluded.at",
        )
        .bind(account)
        .bind(&delivery.message)
        .bind(template)
        .bind(delivery.code)
        .bind(&delivery.status)
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    }
    // What a row becomes: of one that is there, and of none.
    let (remaining, refused, first) = match event {
        ConsentEvent::Accepted if *long_term => ("1", "0", 1),
        ConsentEvent::Accepted => ("remaining + 1", "0", 1),
        ConsentEvent::TurnedOn if *long_term => ("1", "0", 1),
        ConsentEvent::TurnedOn => ("remaining", "0", 0),
        ConsentEvent::TurnedOff => ("0", "1", 0),
        _ => ("remaining", "refused", 0),
    };
    let sql = format!(
        "INSERT INTO consent (account, template, user, remaining, long_term, refused, event, changed) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (account, template, user) DO UPDATE SET \
         remaining = {remaining}, long_term = excluded.long_term, refused = {refused}, event = excluded.event, \
         changed = excluded.changed"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(account)
        .bind(template)
        .bind(user)
        .bind(first)
        .bind(*long_term)
        .bind(*event == ConsentEvent::TurnedOff)
        .bind(event.name())
        .bind(now.0)
        .execute(connection)
        .await
        .map(drop)
}

pub(super) async fn take(
    connection: &mut SqliteConnection,
    asks: &[ConsentAsk],
    now: Timestamp,
) -> Result<Vec<Taking>, sqlx::Error> {
    let mut taken = Vec::with_capacity(asks.len());
    for ask in asks {
        taken.push(take_one(connection, ask, now).await?);
    }
    Ok(taken)
}

async fn take_one(connection: &mut SqliteConnection, ask: &ConsentAsk, now: Timestamp) -> Result<Taking, sqlx::Error> {
    let ConsentAsk { message, account, template, user } = ask;
    let known = sqlx::query(
        "SELECT t.since, c.remaining, c.long_term, \
                EXISTS (SELECT 1 FROM consent_taken k WHERE k.message = ?4 AND k.account = ?1 AND k.template = ?2 AND k.user = ?3) \
         FROM consent_template t LEFT JOIN consent c ON (c.account, c.template, c.user) = (t.account, t.template, ?3) \
         WHERE t.account = ?1 AND t.template = ?2",
    )
    .bind(account)
    .bind(template)
    .bind(user)
    .bind(message)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(known) = known else { return Ok(Taking::Unknown) };
    if known.try_get(3)? {
        return Ok(Taking::Taken);
    }
    let (remaining, long_term): (Option<i64>, Option<bool>) = (known.try_get(1)?, known.try_get(2)?);
    if remaining.is_none_or(|remaining| remaining <= 0) {
        return Ok(Taking::Nothing);
    }
    if long_term == Some(true) {
        // So that one that is in use is not forgotten.
        change(connection, ask, "remaining = remaining", ConsentEvent::Taken, now).await?;
        return Ok(Taking::LongTerm);
    }
    change(connection, ask, "remaining = remaining - 1", ConsentEvent::Taken, now).await?;
    sqlx::query(
        "INSERT INTO consent_taken (message, account, template, user, at) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (message) DO UPDATE SET account = excluded.account, template = excluded.template, user = excluded.user, \
         at = excluded.at",
    )
    .bind(message)
    .bind(account)
    .bind(template)
    .bind(user)
    .bind(now.0)
    .execute(connection)
    .await?;
    Ok(Taking::Taken)
}

pub(super) async fn give_back(
    connection: &mut SqliteConnection,
    messages: &[String],
    accounts: &[String],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let accounts = crate::store::row::json(accounts);
    for message in messages {
        let row = sqlx::query(
            "DELETE FROM consent_taken WHERE message = ?1 AND account IN (SELECT value FROM json_each(?2)) \
             RETURNING account, template, user",
        )
        .bind(message)
        .bind(&accounts)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { continue };
        let ask = ConsentAsk {
            message: message.clone(),
            account: row.try_get(0)?,
            template: row.try_get(1)?,
            user: row.try_get(2)?,
        };
        // A user who has turned messages off meanwhile has none back.
        let more = "remaining = iif(refused OR long_term, remaining, remaining + 1)";
        change(connection, &ask, more, ConsentEvent::GivenBack, now).await?;
    }
    Ok(())
}

pub(super) async fn used_up(
    connection: &mut SqliteConnection,
    asks: &[ConsentAsk],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for ask in asks {
        sqlx::query("DELETE FROM consent_taken WHERE message = ?1 AND account = ?2")
            .bind(&ask.message)
            .bind(&ask.account)
            .execute(&mut *connection)
            .await?;
        // Where there are no events, nothing would ever make it more again.
        change(connection, ask, "remaining = 0", ConsentEvent::UsedUp, now).await?;
    }
    Ok(())
}

/// Changes a row that is there.
async fn change(
    connection: &mut SqliteConnection,
    ask: &ConsentAsk,
    what: &'static str,
    event: ConsentEvent,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "UPDATE consent SET {what}, event = ?4, changed = ?5 WHERE account = ?1 AND template = ?2 AND user = ?3"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&ask.account)
        .bind(&ask.template)
        .bind(&ask.user)
        .bind(event.name())
        .bind(now.0)
        .execute(connection)
        .await
        .map(drop)
}
