"""From the device to the spool."""
