"""The internet of field-notes.md on loopback: providers that refuse what the real ones refuse, in their words."""
