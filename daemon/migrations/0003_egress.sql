-- Format 3: requests to other servers.

CREATE TABLE egress (
    id       TEXT    NOT NULL PRIMARY KEY, -- ULID: sorts by the time it was made
    run      TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    task     TEXT    NOT NULL,
    step     INTEGER,                      -- ordinal; NULL: plan or finish
    at       INTEGER NOT NULL,
    method   TEXT    NOT NULL,
    url      TEXT    NOT NULL,             -- scheme, host, port and path; never a query
    address  TEXT,                         -- what was connected to
    result   TEXT    NOT NULL,             -- open, answered, denied, failed
    status   INTEGER,
    sent     INTEGER NOT NULL,             -- bytes of the body
    received INTEGER NOT NULL,             -- bytes of the body
    took     INTEGER,                      -- milliseconds
    reason   TEXT                          -- why it was denied or failed
) STRICT, WITHOUT ROWID;

CREATE INDEX egress_by_run ON egress (run);
CREATE INDEX egress_by_task ON egress (task);

PRAGMA user_version = 3;
