"""The spool: what was accepted stays here until its fate is known."""
