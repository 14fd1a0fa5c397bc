"""What is read from files beside the settings: secrets, and who else may read a file."""

import os
import stat
from pathlib import Path

LARGEST_SECRET = 65536
"""Octets; enough for any token, and an end for /dev/zero."""


class Unreadable(Exception):
    """A secret's file cannot be used; the text says why and never what is in it."""


def read_secret(path: Path) -> str:
    """The one line of text in a file, without its trailing newline.  Raises Unreadable."""
    text = _read(path).rstrip("\r\n")
    if not text:
        raise Unreadable("empty")
    if any(char in text for char in "\0\r\n"):
        raise Unreadable("more than one line")
    return text


def read_secrets(path: Path) -> dict[int, str]:
    """The lines of a file by their number, without empty ones and comments (#).  Raises Unreadable."""
    lines = {number: line.strip() for number, line in enumerate(_read(path).splitlines(), 1)}
    found = {number: line for number, line in lines.items() if line and not line.startswith("#")}
    if not found:
        raise Unreadable("empty")
    return found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            octets = opened.read(LARGEST_SECRET + 1)
    except PermissionError:
        from relay.other_user import as_other_user

        whose = as_other_user(path) or ", as whom the relay runs"
        raise Unreadable(f"not readable for user {os.geteuid()}{whose}") from None
    except (OSError, ValueError) as bad:
        raise Unreadable(getattr(bad, "strerror", None) or "not a file name") from None
    if len(octets) > LARGEST_SECRET:
        raise Unreadable("larger than 64 KiB")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8 text") from None


def from_home(name: str) -> Path:
    """The path that is meant; `~` as a shell means it, which leaves the name of a user that is not there as it is."""
    return Path(os.path.expanduser(name))


def is_file(path: Path) -> bool:
    """Whether there is such a file, as far as we may look."""
    return os.path.isfile(path)


def others_may_read(path: Path) -> bool:
    """Whether every user of this machine may read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
