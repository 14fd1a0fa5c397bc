"""From the spool to the upstreams."""
