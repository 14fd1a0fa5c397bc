"""The envelope of a message, and where it came from.  RFC 5321 s2.3.1, RFC 5598.  Pure."""

from dataclasses import dataclass

from relay.mail.address import Address


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom.  `reverse_path` None is the null reverse-path `<>` (RFC 5321 s4.5.5).

    `body` is the BODY parameter as said by the client ("" if it said none), `utf8` its SMTPUTF8 (RFC 6531).
    """

    reverse_path: Address | None
    forward_paths: tuple[Address, ...]
    body: str = ""
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message entered: the device as the listener saw it.

    `client` is the peer's IP address as text, `helo` what it called itself ("" if nothing), `listener` the
    address it spoke to, `protocol` RFC 3848's word for the Received field, `tls` the TLS version or "",
    `user` the name it logged in with or "", `quirks` what had to be understood for it, in plain words.
    """

    client: str
    helo: str = ""
    listener: str = ""
    protocol: str = "ESMTP"
    tls: str = ""
    user: str = ""
    quirks: tuple[str, ...] = ()
