"""What this machine lets its user have: the name of the command, port 25, the usual place of the spool."""

import os
import shlex
import shutil
import socket
import sys
from pathlib import Path

from relay.inbound.admission import Listener
from relay.other_user import nearest

OWN_PORT = 2525
"""Where devices connect if the usual port is kept for root."""


def called() -> str:
    """How this command was called, so that it can be called so again: `relay`, or `.venv/bin/python -m relay`."""
    word = Path(sys.argv[0])
    if word.name != "__main__.py":
        found = shutil.which(word.name)
        return word.name if found and Path(found) == word.absolute() else shlex.quote(sys.argv[0])
    python = Path(sys.executable)
    if shutil.which(python.name) == str(python):
        return f"{python.name} -m relay"
    here = Path.cwd()
    return f"{shlex.quote(str(python.relative_to(here) if python.is_relative_to(here) else python))} -m relay"


def listen() -> str:
    """Where to listen if the usual address is not for this user; "" if it is, or if somebody else has it."""
    usual = Listener()
    try:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((usual.host, usual.port))
    except PermissionError:
        return f"{usual.host}:{OWN_PORT}"
    except OSError:
        return ""
    return ""


def spool(folder: Path) -> str:
    """The file beside the configuration, if the usual place is not ours to write; else ""."""
    usual = Path("/var/lib/relay")
    return "" if os.access(nearest(usual), os.W_OK | os.X_OK) else str(folder / "spool" / "spool.db")
