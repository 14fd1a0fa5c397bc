"""The settings: read, typed, checked, every mistake with its place."""
