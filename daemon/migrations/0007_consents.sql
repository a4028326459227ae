-- Format 7: users' consents to messages, as their provider tells of them.

CREATE TABLE consent (
    account   TEXT    NOT NULL,                 -- appid
    template  TEXT    NOT NULL,                 -- the provider's id of the template
    user      TEXT    NOT NULL,                 -- openid
    remaining INTEGER NOT NULL,                 -- messages that the user still accepts; of a long-term consent 1 or 0
    long_term INTEGER NOT NULL,                 -- 1: it is not used up
    refused   INTEGER NOT NULL,                 -- 1: the user has turned messages off
    event     TEXT    NOT NULL,                 -- what happened last: accepted, declined, turned-off, turned-on, delivered, failed,
                                                -- taken, given-back, used-up
    changed   INTEGER NOT NULL,                 -- when
    PRIMARY KEY (account, template, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX consent_changed ON consent (changed);

CREATE TABLE consent_template (
    account  TEXT    NOT NULL,
    template TEXT    NOT NULL,
    since    INTEGER NOT NULL,                  -- the first event: nothing is known of what was before
    PRIMARY KEY (account, template)
) STRICT, WITHOUT ROWID;

-- Each event counts once, however often it is told. The key is a hash, so that it names nobody.
CREATE TABLE consent_event (
    id TEXT    NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX consent_event_at ON consent_event (at);

-- A consent that was taken for a message, which takes it once, however often it is tried.
CREATE TABLE consent_taken (
    message  TEXT    NOT NULL PRIMARY KEY,      -- its id in the outbox
    account  TEXT    NOT NULL,
    template TEXT    NOT NULL,
    user     TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX consent_taken_at ON consent_taken (at);

-- What the provider says became of messages that it took.
CREATE TABLE consent_delivery (
    account  TEXT    NOT NULL,
    message  TEXT    NOT NULL,                  -- the provider's id
    template TEXT    NOT NULL,
    code     INTEGER,                           -- 0: delivered
    status   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (account, message)
) STRICT, WITHOUT ROWID;

CREATE INDEX consent_delivery_at ON consent_delivery (at);

PRAGMA user_version = 7;
