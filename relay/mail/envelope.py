"""The envelope of a message, and where it came from.  RFC 5321 s2.3.1, RFC 5598.  Pure."""

from dataclasses import dataclass

from relay.mail.address import Address


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender and recipients.  `reverse_path` None is the null reverse-path `<>` (RFC 5321 s4.5.5).

    `body` is the BODY parameter as said by the client ("" if it said none), `utf8` its SMTPUTF8 (RFC 6531).
    """

    reverse_path: Address | None
    forward_paths: tuple[Address, ...]
    body: str = ""
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from: the client as the listener saw it.

    `client` is its IP address as text, `helo` its name in HELO ("" if none), `listener` the address it connected to,
    `protocol` the name of RFC 3848 for the Received field, `tls` the TLS version or "", `user` the login name or "",
    `quirks` what the client did wrong, as sentences.
    """

    client: str
    helo: str = ""
    listener: str = ""
    protocol: str = "ESMTP"
    tls: str = ""
    user: str = ""
    quirks: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """What the device is called: who logged in, else the client's address."""
        return self.user or self.client
