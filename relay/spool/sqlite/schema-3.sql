-- Version 3: facts have columns of their own (they were words in `said`).

ALTER TABLE recipient ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;     -- the connection ended there: the words are the relay's own
ALTER TABLE recipient ADD COLUMN fault TEXT NOT NULL DEFAULT '';      -- what the relay found itself, see relay.mail.reply.Fault
ALTER TABLE recipient ADD COLUMN peer TEXT NOT NULL DEFAULT '';       -- the server's address:port
ALTER TABLE recipient ADD COLUMN maybe_at TEXT NOT NULL DEFAULT '';   -- the upstream that may have taken it: its final reply was lost
ALTER TABLE recipient ADD COLUMN maybe_since INTEGER;                 -- when that was; NULL where maybe_at is ''

-- The last attempt is the one whose final reply was lost: the next ordinary answer replaced those words.
UPDATE recipient SET maybe_at = upstream, lost = 1, said = ltrim(substr(said, 29), ': ')
    WHERE state <> 'relayed' AND said LIKE 'uncertain, perhaps delivered%' AND upstream <> '';
UPDATE recipient SET lost = 1, maybe_at = coalesce(nullif(substr(substr(said, 18), 1,
        instr(replace(replace(replace(replace(substr(said, 18), ':', ' '), ',', ' '), ';', ' '), '(', ' ') || ' ', ' ') - 1), ''), upstream)
    WHERE state <> 'relayed' AND said LIKE 'perhaps taken by %';
UPDATE recipient SET maybe_since = coalesce(
        (SELECT max(at) FROM trail WHERE trail.message = recipient.message AND event = 'tried'),
        (SELECT accepted_at FROM message WHERE id = recipient.message))
    WHERE maybe_at <> '';

ALTER TABLE message ADD COLUMN attention INTEGER NOT NULL DEFAULT 0;  -- 1: it failed, nobody could be told, nobody has looked
CREATE INDEX message_attention ON message (id) WHERE attention = 1;
