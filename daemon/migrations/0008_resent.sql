-- Format 8: when a message was sent again from the beginning of its chain; tries before then do not count.

ALTER TABLE outbox_message ADD COLUMN since INTEGER;

PRAGMA user_version = 8;
