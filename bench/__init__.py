"""Measurements: how fast, how small and how gentle the relay is.  README.md in this folder tells how to run them."""
