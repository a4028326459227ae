-- Format 5: messages that wait to be delivered.

CREATE TABLE outbox_message (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,         -- ULID: sorts by the time it came
    origin     TEXT    NOT NULL,                -- name of the task, cli or api
    key        TEXT,                            -- idempotency key; once per origin
    channels   TEXT    NOT NULL,                -- JSON: the chain, ["wecom","mail"]
    position   INTEGER NOT NULL,                -- place in the chain, from 0
    channel    TEXT    NOT NULL,                -- the one at that place
    priority   INTEGER NOT NULL,                -- 0 urgent, 1 high, 2 normal, 3 low
    content    TEXT    NOT NULL,                -- JSON
    state      TEXT    NOT NULL,                -- waiting, claimed, sent, dead, expired
    created    INTEGER NOT NULL,
    not_before INTEGER,
    expires    INTEGER,
    due        INTEGER NOT NULL,                -- from when on it may be claimed: not_before, the next try, or the end of the lease
    lease      TEXT,                            -- of the claim that it is delivered under
    claimed    INTEGER,                         -- when it was claimed last
    attempts   INTEGER NOT NULL DEFAULT 0,
    ended      INTEGER,                         -- when it was sent, dead or expired
    reason     TEXT                             -- why it waits again, is dead, or expired
) STRICT;

CREATE UNIQUE INDEX outbox_keys ON outbox_message (origin, key) WHERE key IS NOT NULL;
-- A claim reads one stretch of it for each priority, however many messages there are.
CREATE INDEX outbox_open ON outbox_message (channel, priority, ended, due, state) WHERE ended IS NULL;
CREATE INDEX outbox_expiring ON outbox_message (expires) WHERE ended IS NULL AND expires IS NOT NULL;
CREATE INDEX outbox_over ON outbox_message (ended) WHERE ended IS NOT NULL;
CREATE INDEX outbox_dead ON outbox_message (state) WHERE state = 'dead';

CREATE TABLE outbox_attempt (
    message     INTEGER NOT NULL REFERENCES outbox_message (number) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,               -- from 1
    at          INTEGER NOT NULL,               -- when it began
    channel     TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,               -- sent, retry, refused, lost
    code        TEXT,                           -- of the provider
    reason      TEXT,
    provider_id TEXT,                           -- what the provider calls the message
    took        INTEGER,                        -- milliseconds
    PRIMARY KEY (message, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox_channel (
    name         TEXT    NOT NULL PRIMARY KEY,
    paused_until INTEGER NOT NULL,
    reason       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 5;
