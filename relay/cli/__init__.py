"""The `relay` command, one file per verb as typed."""
