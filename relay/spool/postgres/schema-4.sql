-- Version 4: what a message is found by, see relay.spool.search.  The same as sqlite/schema-5.sql; older rows are filled by schema.py.

ALTER TABLE message
    ADD COLUMN people TEXT NOT NULL DEFAULT '',         -- sender and recipients; a line end at the end: and more of them
    ADD COLUMN about  TEXT NOT NULL DEFAULT '',         -- the Subject, decoded
    ADD COLUMN source TEXT NOT NULL DEFAULT '';         -- the device's name and address
