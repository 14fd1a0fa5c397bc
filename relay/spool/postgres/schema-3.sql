-- Version 3: mail of a device that is merged into a digest.  The same as sqlite/schema-4.sql.

ALTER TABLE message
    ADD COLUMN merges INTEGER NOT NULL DEFAULT 0,       -- of how many messages this is the digest; 0: of none
    ADD COLUMN storm  TEXT COLLATE "C" NOT NULL DEFAULT '';  -- the digest that it waits for, or see relay.spool.entry.PASSED
CREATE INDEX message_storm ON message (storm) WHERE storm > '-';

CREATE TABLE storm (
    device TEXT PRIMARY KEY,
    memory TEXT NOT NULL                                -- JSON: what was seen of it lately, see relay.outbound.storms
);

ALTER TABLE recipient
    ADD COLUMN merged_into TEXT NOT NULL DEFAULT '',    -- the queue id of the digest
    DROP CONSTRAINT recipient_state_check,
    ADD CONSTRAINT recipient_state_check CHECK (state IN ('queued', 'held', 'relayed', 'failed', 'expired', 'merged'));
