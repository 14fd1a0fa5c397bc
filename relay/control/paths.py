"""Where a relay keeps its things: everything lies beside the spool.  Pure."""

from pathlib import Path

from relay.spool.contract import SpoolSettings


def state_dir(settings: SpoolSettings) -> Path:
    """The folder of certificate, tokens and control socket: that of the spool's file, unless another one is set."""
    if settings.state_dir:
        return Path(settings.state_dir)
    file = settings.file or settings.fallback_file
    return file.parent if file else Path("/var/lib/relay")


def control_socket(settings: SpoolSettings) -> Path:
    return state_dir(settings) / "control.sock"
