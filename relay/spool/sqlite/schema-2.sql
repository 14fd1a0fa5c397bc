-- Version 2: a message dirties fewer pages, each of which is written to the log and later to the file (docs/decisions.md).

ALTER TABLE content ADD COLUMN packed INTEGER NOT NULL DEFAULT 0;  -- 1: data is deflated (RFC 1950); what is short is mostly text

DROP INDEX message_over;                           -- message_age finds what is old, too: nothing is over before it was accepted

DROP INDEX message_unfinished;                     -- message_due knows those with a queued recipient, recipient_fate the held ones

DROP INDEX recipient_state;
CREATE TABLE recipient_2 (                         -- as before, without UNIQUE (message, key): each is added once, by add_entry
    message  INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    seq      INTEGER NOT NULL,
    key      TEXT    NOT NULL,                     -- Address.key: two spellings of one mailbox have one fate
    local    TEXT    NOT NULL,
    domain   TEXT    NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('queued', 'held', 'relayed', 'failed', 'expired')),
    attempts INTEGER NOT NULL,
    due_at   INTEGER NOT NULL,
    upstream TEXT    NOT NULL,
    stage    TEXT    NOT NULL,
    code     INTEGER NOT NULL,
    status   TEXT    NOT NULL,
    said     TEXT    NOT NULL,
    via      TEXT    NOT NULL,
    PRIMARY KEY (message, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO recipient_2 SELECT message, seq, key, local, domain, state, attempts, due_at, upstream, stage, code, status, said, via
    FROM recipient ORDER BY message, seq;
DROP TABLE recipient;
ALTER TABLE recipient_2 RENAME TO recipient;
-- Only of those whose fate is unusual: the queued ones are found by their message (message_due), relayed are all others.
CREATE INDEX recipient_fate ON recipient (state, message) WHERE state = 'held' OR state = 'failed' OR state = 'expired';
