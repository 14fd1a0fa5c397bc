"""A file beside the spool, replaced whole: either the old or the new one is there, whatever happens."""

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from threading import Lock

_writing = defaultdict[Path, Lock](Lock)


def replace_file(path: Path, like: Path, octets: bytes) -> None:
    """On disk when it returns, mode 0600, with the owner of `like`.  Blocks; raises OSError.

    The new one is written beside it under a name that is always the same, so that no crash leaves a heap of secrets.  So
    two threads must not write it at once: the one would put in place what the other has begun.
    """
    with _writing[path]:
        _replace(path, like, octets)


def _replace(path: Path, like: Path, octets: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            belongs_like(like, handle)
            opened.write(octets)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """What was written to the file or folder is on disk when it returns.  Blocks; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def belongs_like(other: Path, handle: int) -> None:
    """What root makes on a person's behalf (`sudo relay oauth login`) must be readable for the daemon's user."""
    if os.geteuid() == 0:
        owner = other.stat()
        with suppress(OSError):  # CIFS and the like give every file to one user anyway
            os.fchown(handle, owner.st_uid, owner.st_gid)
