-- Format 1 of upkeep's journal; docs/store.md explains it to readers.
-- Times are milliseconds since the Unix epoch, UTC. A table of children goes with its run (ON DELETE CASCADE).
-- Each migration ends with its own number as user_version, which an older upkeep refuses to touch.

CREATE TABLE runs (
    id          TEXT    NOT NULL PRIMARY KEY, -- ULID: sorts by the time it was queued
    task        TEXT    NOT NULL,
    "trigger"   TEXT    NOT NULL,             -- schedule, catch-up, startup, watch, after, retry, manual
    cause       TEXT,                         -- the path, the other run, or who asked
    due         INTEGER NOT NULL,
    queued      INTEGER NOT NULL,
    started     INTEGER,
    ended       INTEGER,
    attempt     INTEGER NOT NULL,
    dry_run     INTEGER NOT NULL,             -- 0 or 1
    phase       TEXT    NOT NULL,             -- queued, planning, executing, finishing, done
    outcome     TEXT,                         -- succeeded, failed, ...; set when done
    detail      TEXT,                         -- JSON: the whole outcome, where it says more than its name
    fingerprint TEXT,                         -- SHA-256 over plugin, config, grants and limits
    resumed     INTEGER NOT NULL,             -- how often, after crashes
    resumed_at  INTEGER,
    steps_left  INTEGER NOT NULL DEFAULT 0    -- steps that are not done
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_by_task ON runs (task);     -- with the id behind it, as in every index of this table
CREATE INDEX runs_open ON runs (id) WHERE ended IS NULL;

CREATE TABLE steps (
    run     TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,                 -- place in the plan, from 0
    id      TEXT    NOT NULL,                 -- the plugin's
    title   TEXT    NOT NULL,
    weight  INTEGER NOT NULL,
    input   TEXT    NOT NULL,                 -- JSON of the plugin
    phase   TEXT    NOT NULL,                 -- pending, running, done
    started INTEGER,
    ended   INTEGER,
    output  TEXT,                             -- JSON of the plugin, when it went well
    outcome TEXT,                             -- failed, trapped, ...; when it did not
    detail  TEXT,                             -- JSON: the whole of that outcome
    PRIMARY KEY (run, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE slots (
    task     TEXT    NOT NULL,
    due      INTEGER NOT NULL,
    decision TEXT    NOT NULL,                -- ran, skipped, missed, suppressed
    reason   TEXT    NOT NULL,
    run      TEXT,                            -- the run that it became
    PRIMARY KEY (task, due)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    task TEXT    NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL                     -- slots up to here are decided
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    id      INTEGER PRIMARY KEY,
    run     TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    step    INTEGER,                          -- ordinal; NULL: plan, finish or the host
    level   TEXT    NOT NULL,                 -- error, warn, info, debug, trace
    message TEXT    NOT NULL,
    fields  TEXT                              -- JSON: [["key", "value"], ...]
) STRICT;

CREATE INDEX logs_by_run ON logs (run);

CREATE TABLE reports (
    run     TEXT NOT NULL PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    summary TEXT NOT NULL,
    text    TEXT NOT NULL,                    -- Markdown
    tables  TEXT NOT NULL                     -- JSON: [{"title": ..., "columns": [...], "rows": [[...], ...]}, ...]
) STRICT, WITHOUT ROWID;

CREATE TABLE findings (
    run      TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    ordinal  INTEGER NOT NULL,                -- place in the report, from 0
    key      TEXT    NOT NULL,                -- the same finding has the same key in each run
    severity TEXT    NOT NULL,                -- info, low, medium, high, critical
    title    TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    PRIMARY KEY (run, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE metrics (
    run    TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name   TEXT NOT NULL,
    labels TEXT NOT NULL,                     -- JSON: [["key", "value"], ...], sorted
    kind   TEXT NOT NULL,                     -- counter, gauge, histogram
    value  REAL,                              -- of a histogram: the sum; NULL: not a number
    count  INTEGER,                           -- of a histogram: the number of observations
    min    REAL,
    max    REAL,
    PRIMARY KEY (run, name, labels)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    task    TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    value   BLOB    NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (task, key)
) STRICT;

CREATE TABLE state_usage (
    task    TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,                 -- the highest ever given to a key of the task: none comes twice
    bytes   INTEGER NOT NULL                  -- keys and values of the task
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 0x75706b70;           -- "upkp"
PRAGMA user_version = 1;
