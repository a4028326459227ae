-- Format 4: findings beyond one run, and documents.

ALTER TABLE findings ADD COLUMN id      TEXT;    -- 16 hexadecimal digits, the same in each run
ALTER TABLE findings ADD COLUMN rule    TEXT;
ALTER TABLE findings ADD COLUMN path    TEXT;
ALTER TABLE findings ADD COLUMN line    INTEGER; -- from 1
ALTER TABLE findings ADD COLUMN fix     TEXT;
ALTER TABLE findings ADD COLUMN state   TEXT;    -- new, known, returned, fixed
ALTER TABLE findings ADD COLUMN ignored TEXT;    -- JSON: {"reason": ..., "until": "2027-03-31"}

CREATE TABLE lives (
    task       TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    severity   TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    rule       TEXT,
    path       TEXT,
    line       INTEGER,
    fix        TEXT,
    state      TEXT    NOT NULL,
    ignored    TEXT,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    changed    INTEGER NOT NULL,               -- since when it is in its state
    run        TEXT    NOT NULL,               -- that saw it last; it may be forgotten by now
    PRIMARY KEY (task, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ignores (
    id     TEXT    NOT NULL PRIMARY KEY,       -- of the finding
    task   TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    until  TEXT    NOT NULL,                   -- the last day: 2027-03-31
    "by"   TEXT    NOT NULL,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    run        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    media_type TEXT NOT NULL,
    content    TEXT NOT NULL,
    PRIMARY KEY (run, name)
) STRICT;

PRAGMA user_version = 4;
