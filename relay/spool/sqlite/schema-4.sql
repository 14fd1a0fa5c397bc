-- Version 4: mail of a device that is merged into a digest.

ALTER TABLE message ADD COLUMN merges INTEGER NOT NULL DEFAULT 0;     -- of how many messages this is the digest; 0: of none
ALTER TABLE message ADD COLUMN storm TEXT NOT NULL DEFAULT '';        -- the digest that it waits for, or see relay.spool.entry.PASSED
CREATE INDEX message_storm ON message (storm) WHERE storm > '-';

CREATE TABLE storm (
    device TEXT PRIMARY KEY,
    memory TEXT NOT NULL                           -- JSON: what was seen of it lately, see relay.outbound.storms
) STRICT, WITHOUT ROWID;

CREATE TABLE recipient_4 (                         -- as before, with one state more, and the digest
    message     INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    local       TEXT    NOT NULL,
    domain      TEXT    NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'held', 'relayed', 'failed', 'expired', 'merged')),
    attempts    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    upstream    TEXT    NOT NULL,
    stage       TEXT    NOT NULL,
    code        INTEGER NOT NULL,
    status      TEXT    NOT NULL,
    said        TEXT    NOT NULL,
    via         TEXT    NOT NULL,
    lost        INTEGER NOT NULL DEFAULT 0,
    fault       TEXT    NOT NULL DEFAULT '',
    peer        TEXT    NOT NULL DEFAULT '',
    maybe_at    TEXT    NOT NULL DEFAULT '',
    maybe_since INTEGER,
    merged_into TEXT    NOT NULL DEFAULT '',       -- the queue id of the digest
    PRIMARY KEY (message, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO recipient_4 SELECT message, seq, key, local, domain, state, attempts, due_at, upstream, stage, code, status, said, via,
    lost, fault, peer, maybe_at, maybe_since, '' FROM recipient ORDER BY message, seq;
DROP TABLE recipient;
ALTER TABLE recipient_4 RENAME TO recipient;
CREATE INDEX recipient_fate ON recipient (state, message)
    WHERE state = 'held' OR state = 'failed' OR state = 'expired' OR state = 'merged';
