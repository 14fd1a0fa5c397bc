"""Where a relay keeps its things: everything lies beside the spool.  Pure."""

from pathlib import Path

from relay.spool.contract import SpoolSettings


def control_socket(settings: SpoolSettings) -> Path:
    return settings.home / "control.sock"
