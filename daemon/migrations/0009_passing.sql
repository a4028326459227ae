-- Format 9: messages that have another channel go on to it while one of theirs takes nothing.

ALTER TABLE outbox_channel ADD COLUMN passes INTEGER NOT NULL DEFAULT 0;    -- whether they do; otherwise they wait

CREATE INDEX outbox_passing ON outbox_message (channel, due)
    WHERE ended IS NULL AND state = 'waiting' AND json_array_length(channels) > position + 1;

PRAGMA user_version = 9;
