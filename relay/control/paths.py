"""Where a relay keeps its things: everything lies beside the spool.  Pure."""

from pathlib import Path

from relay.spool.contract import SpoolSettings


def state_dir(settings: SpoolSettings) -> Path:
    """The folder of certificate, tokens and control socket: that of the spool's file, unless another one is set."""
    return settings.home


def control_socket(settings: SpoolSettings) -> Path:
    return state_dir(settings) / "control.sock"
