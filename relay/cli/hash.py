"""`relay hash`: makes the hash of a device's password, for `listen.users`."""

import argparse
import getpass
import os
import secrets
import sys

from relay.cli.common import complain, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.password_hash import hash_of

_TIMES = 3
_LONGEST = 1000  # octets


class _Unfit(Exception):
    """What was given is no password; the words say why."""


def call(asked: argparse.Namespace) -> int:
    try:
        password = _asked() if sys.stdin is not None and sys.stdin.isatty() else _read()
    except _Unfit as why:
        complain(f"relay hash: {why}")
        return USAGE
    except EOFError:
        complain("relay hash: expected a password, found the end of the input")
        return USAGE
    if password is None:
        complain(f"The two were different {_TIMES} times; nothing was made.")
        return PROBLEM
    made = str(hash_of(password, secrets.token_bytes(16)))
    if asked.json:
        print_json({"hash": made})
    else:
        print(made)
    return FINE


def _asked() -> bytes | None:
    """Twice, without showing it; None if the two were different each time."""
    for _ in range(_TIMES):
        first = _fit(os.fsencode(getpass.getpass("Password of the device: ")))
        if os.fsencode(getpass.getpass("Once more: ")) == first:
            return first
        complain("The two are different.")
    return None


def _read() -> bytes:
    """The one line on standard input."""
    octets = sys.stdin.buffer.read(_LONGEST + 3) if sys.stdin is not None else b""
    return _fit(octets.removesuffix(b"\n").removesuffix(b"\r"))


def _fit(password: bytes) -> bytes:
    if not password:
        raise _Unfit("expected a password, found nothing")
    if len(password) > _LONGEST:
        raise _Unfit(f"expected a password of at most {_LONGEST} octets, found a longer one")
    if any(octet in password for octet in b"\0\r\n"):
        raise _Unfit("expected a password on one line, found more")
    return password
