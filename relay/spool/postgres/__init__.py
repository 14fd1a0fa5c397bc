"""The spool in PostgreSQL, shared by several relays."""
