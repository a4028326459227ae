-- Format 6: alerts and digests.

CREATE TABLE alerts (
    key          TEXT    NOT NULL PRIMARY KEY, -- task/backup, finding/scan/3f3a91c0d5b7e244
    level        TEXT    NOT NULL,             -- info, warn, error, critical
    title        TEXT    NOT NULL,
    opened       INTEGER NOT NULL,             -- since when it is wrong
    closed       INTEGER,                      -- since when it is right again
    told         INTEGER,                      -- when it was told first
    tellings     INTEGER NOT NULL,             -- in how many messages
    acknowledged TEXT,                         -- by whom
    alert        TEXT    NOT NULL              -- JSON: all of it
) STRICT, WITHOUT ROWID;

CREATE TABLE digests (
    at    INTEGER NOT NULL PRIMARY KEY,        -- when it was sent; what happened before is in it
    facts TEXT    NOT NULL                     -- JSON: what later digests compare with
) STRICT;

-- Dead messages that somebody should know of; the condition is that of the question, to the letter.
CREATE INDEX outbox_lost ON outbox_message (channel, ended)
    WHERE state = 'dead' AND origin <> 'upkeep' AND content ->> 'level' IN ('warn', 'error', 'critical');

PRAGMA user_version = 6;
