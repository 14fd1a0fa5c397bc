"""The letter: what Internet mail is.  Pure."""
