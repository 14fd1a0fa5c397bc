"""The spool in one SQLite file."""
