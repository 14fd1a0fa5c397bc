-- Version 6: content of more than 262144 octets is in a file beside the database, relay.spool.sqlite.content_files; it has no
-- content rows then.  No table changes; the number is for older versions, which would take such content for lost.
-- What is in content rows already stays there.
SELECT 1;
