-- Version 5: what a message is found by, see relay.spool.search.  The index has it too: a search reads that alone, in its order.

ALTER TABLE message ADD COLUMN people TEXT NOT NULL DEFAULT '';       -- sender and recipients; "\n" at the end: and more of them
ALTER TABLE message ADD COLUMN about  TEXT NOT NULL DEFAULT '';       -- the Subject, decoded
ALTER TABLE message ADD COLUMN source TEXT NOT NULL DEFAULT '';       -- the device's name and address
DROP INDEX message_age;
UPDATE message SET (people, about, source) = (
    SELECT sought_before('people', sender, recipients, line, client), sought_before('about', sender, recipients, line, client),
        sought_before('source', sender, recipients, line, client)
    FROM (SELECT reverse_local || '@' || reverse_domain AS sender,
        (SELECT group_concat(local || '@' || domain, ' ') FROM recipient WHERE recipient.message = message.id) AS recipients,
        (SELECT said FROM trail WHERE trail.message = message.id ORDER BY number LIMIT 1) AS line));
CREATE INDEX message_age ON message (accepted_at, id, people, about, source);
