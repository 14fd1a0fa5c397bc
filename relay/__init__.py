"""A relay for the LAN: takes what devices send, mends it, keeps it safe and hands it to the right upstream."""

__version__ = "0.1.0"
