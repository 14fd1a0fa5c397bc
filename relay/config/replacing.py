"""The configuration's file replaced whole, the old one kept beside it under its time; and why that cannot be done."""

import os
import re
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from stat import S_IMODE, S_ISREG

from relay.upstream.state_file import sync

KEPT = 20
"""Old files that stay; with a twenty-first the oldest goes."""

_STAMPED = re.compile(r"\.[0-9]{8}T[0-9]{6}Z(-[0-9]{1,2})?")
_MOUNTS = Path("/proc/self/mountinfo")


class Changed(Exception):
    """The file is not the one any more that was edited."""


def hindrance(path: Path, mounts: Path = _MOUNTS) -> str:
    """Why the file cannot be replaced, in one word; "" if it can.

    unreadable | special | mounted | owner | mode | folder
    """
    try:
        real = path.resolve(strict=True)
        there = real.stat()
    except (OSError, RuntimeError):
        return "unreadable"
    if not S_ISREG(there.st_mode):
        return "special"
    if _is_mounted(real, mounts):
        return "mounted"
    if os.geteuid() not in (0, there.st_uid):
        return "owner"
    if not os.access(real, os.R_OK | os.W_OK):
        return "mode"
    return "" if os.access(real.parent, os.W_OK | os.X_OK) else "folder"


def _is_mounted(path: Path, mounts: Path) -> bool:
    """Whether it is a mount point, as `-v ./config.yaml:/etc/relay/config.yaml` makes it: nothing can take its place."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    fields = (line.split(" ") for line in lines)
    points = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), each[4]) for each in fields if len(each) > 4)
    return str(path) in points


def replace(path: Path, octets: bytes, before: bytes, now: datetime) -> str:
    """The name under which the old one is kept.  On disk when it returns; mode and owner stay.  Raises Changed, OSError."""
    real = path.resolve(strict=True)
    there = real.stat()
    new = real.with_name(f".{real.name}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(octets)
            opened.flush()
            made = os.fstat(handle)
            if (made.st_uid, made.st_gid) != (there.st_uid, there.st_gid):
                os.fchown(handle, there.st_uid, there.st_gid)
            os.fchmod(handle, S_IMODE(there.st_mode))
            os.fsync(handle)
        if real.read_bytes() != before:
            raise Changed
        old = _keep(real, now)
        new.replace(real)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    sync(real.parent)
    _tidy(real)
    return old


def _keep(real: Path, now: datetime) -> str:
    """The old one under a second name, the same file; a copy where the file system knows no second names."""
    stamped = f"{real.name}.{now:%Y%m%dT%H%M%SZ}"
    for name in (stamped, *(f"{stamped}-{number}" for number in range(2, 100))):
        try:
            os.link(real, real.with_name(name))
        except FileExistsError:
            continue
        except OSError:
            _copy(real, real.with_name(name))
        return name
    raise FileExistsError(f"{stamped} is there already")


def _copy(real: Path, old: Path) -> None:
    handle = os.open(old, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(real.read_bytes())
        opened.flush()
        os.fsync(handle)
    with suppress(OSError):
        shutil.copystat(real, old)


def _tidy(real: Path) -> None:
    with suppress(OSError):
        beside = (one for one in real.parent.iterdir() if one.name.startswith(real.name))
        for old in sorted(one for one in beside if _STAMPED.fullmatch(one.name, len(real.name)))[:-KEPT]:
            old.unlink()
