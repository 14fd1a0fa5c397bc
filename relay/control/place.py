"""Where a relay keeps its things: everything lies beside the spool.  Pure."""

from pathlib import Path

from relay.spool.contract import SpoolSettings


def state_dir(settings: SpoolSettings) -> Path:
    """The folder of spool, certificate, tokens and control socket."""
    scheme, _, place = settings.url.partition(":")
    return Path(place).parent if scheme == "sqlite" else Path("/var/lib/relay")


def control_socket(settings: SpoolSettings) -> Path:
    return state_dir(settings) / "control.sock"
