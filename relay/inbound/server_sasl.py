"""Reads the logins of clients, PLAIN and LOGIN, as devices write them.  RFC 4616, RFC 4954.  Pure."""

import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from relay.secret import Secret


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password as octets, since a device may send what is no UTF-8."""

    user: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(***)"


def plain(response: str) -> Credentials:
    """The response of PLAIN: authorisation id, user and password with NULs between them (the id may be missing)."""
    parts = decoded(response).split(b"\0")
    if len(parts) < 2:
        return Credentials(b"", b"")
    return Credentials(parts[-2], parts[-1])


def decoded(response: str) -> bytes:
    """Decodes base64 as devices write it: without padding, with blanks, or not base64 at all (then it is taken as it is)."""
    text = "".join(response.split()).rstrip("=")
    if text == "":
        return b""
    try:
        return binascii.a2b_base64((text + "=" * (-len(text) % 4)).encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        return response.encode("utf-8")


def known(credentials: Credentials, users: Mapping[str, Secret]) -> str:
    """The user's name if the password is right, else "".  An unknown name takes the same time."""
    name = credentials.user.decode("utf-8", "replace")
    secret = users.get(name)
    expected = secret.reveal().encode("utf-8") if secret else b"\0 nobody"
    same = hmac.compare_digest(expected, credentials.password)
    return name if same and secret else ""
