-- The spool in one SQLite file.  Times are microseconds since 1970 in UTC.
--
-- Invariants, each checked by relay/spool/sqlite/invariants.py:
--   1  a message has at least one recipient; a recipient belongs to a message
--   2  message.due_at is the earliest due_at of its queued recipients, NULL if none is queued
--   3  message.over_at is NULL exactly while a recipient is queued or held
--   4  kept = 1 while a recipient is queued, held, failed or expired (merged: until room gets short); then the content rows
--      are numbered from 0
--      without a gap and hold `size` octets, inflated; kept = 0 means that nobody is shown a content row any more: those that
--      are left go with the next message's content, with tidy, at the end; opening the spool sweeps what a crash left
--   5  a content row belongs to a message.  Only a commit in hand, or one cut off by a crash, leaves others for a
--      while: large content is written in slices before the message; opening the spool sweeps what is left over

CREATE TABLE message (
    id             INTEGER PRIMARY KEY,            -- the order of commits
    queue_id       TEXT    NOT NULL UNIQUE,
    accepted_at    INTEGER NOT NULL,
    client         TEXT    NOT NULL,               -- also in origin; here for the search for repeated Message-IDs
    origin         TEXT    NOT NULL,               -- JSON
    reverse_local  TEXT,                           -- NULL: the null reverse-path
    reverse_domain TEXT,
    body           TEXT    NOT NULL,
    utf8           INTEGER NOT NULL,
    size           INTEGER NOT NULL,
    message_id     TEXT    NOT NULL,
    digest         TEXT    NOT NULL,
    notice         INTEGER NOT NULL,
    repeated       INTEGER NOT NULL,               -- its client used this Message-ID before, for other content to one of these
    warned         INTEGER NOT NULL DEFAULT 0,
    settled        INTEGER NOT NULL DEFAULT 0,     -- number of the last settlement: one that was retried counts once
    kept           INTEGER NOT NULL DEFAULT 1,
    due_at         INTEGER,
    over_at        INTEGER
) STRICT;
CREATE INDEX message_due ON message (due_at, accepted_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX message_unfinished ON message (accepted_at) WHERE over_at IS NULL;
CREATE INDEX message_over ON message (over_at) WHERE over_at IS NOT NULL;
CREATE INDEX message_age ON message (accepted_at, id);
CREATE INDEX message_repeated ON message (client, message_id) WHERE message_id <> '';

CREATE TABLE content (
    id      INTEGER PRIMARY KEY,
    message INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    data    BLOB    NOT NULL,                      -- 65,536 octets, the last one what is left
    UNIQUE (message, seq)
) STRICT;

CREATE TABLE recipient (
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
    PRIMARY KEY (message, seq),
    UNIQUE (message, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_state ON recipient (state, message);

CREATE TABLE trail (
    number  INTEGER PRIMARY KEY,
    message INTEGER NOT NULL REFERENCES message ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    event   TEXT    NOT NULL,
    said    TEXT    NOT NULL                       -- JSON: text and details
) STRICT;
CREATE INDEX trail_message ON trail (message, number);

CREATE TABLE notice (                              -- outlives its message: a failure is told even if the message is removed
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id      TEXT    NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('failed', 'delayed')),
    notify_local  TEXT    NOT NULL,
    notify_domain TEXT    NOT NULL,
    recipient     TEXT    NOT NULL,                -- JSON: as it stood when its fate was settled
    made_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX notice_message ON notice (queue_id);

CREATE TABLE sent_per_day (
    day      TEXT    NOT NULL,
    upstream TEXT    NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (day, upstream)
) STRICT, WITHOUT ROWID;

CREATE TABLE refused_sender (
    upstream TEXT    NOT NULL,
    sender   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (upstream, sender)
) STRICT, WITHOUT ROWID;
