"""The UNIX socket between the daemon and the command line."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


def listen(path: Path) -> socket.socket:
    """A listening socket that only its owner may use; a stale one of a dead daemon is replaced.

    The caller holds the spool's lock, so nobody alive listens there.  Raises OSError.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _short(path) as name:
            sock.bind(name)
    finally:
        os.umask(before)
    sock.listen(16)
    sock.setblocking(False)
    return sock


def connect(path: Path, timeout: float) -> socket.socket:
    """A connection to the daemon; `timeout` in seconds for each step.  Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        with _short(path) as name:
            sock.connect(name)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A socket's name may have 107 octets only; a longer path is reached through its folder's descriptor."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
