-- Format 2: what must stay in backup repositories.

CREATE TABLE holds (
    repository TEXT    NOT NULL, -- identifier in the repository's config, 64 hexadecimal digits
    task       TEXT    NOT NULL, -- whose snapshots looked wrong
    url        TEXT    NOT NULL, -- where the repository was, for people
    reason     TEXT    NOT NULL,
    since      INTEGER NOT NULL,
    PRIMARY KEY (repository, task)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;
