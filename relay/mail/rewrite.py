"""Envelope and originator fields as an upstream's account may say them.  RFC 6409 s8.  Pure."""

from dataclasses import dataclass
from enum import Enum

from relay.mail.address import Address


class Rewrite(Enum):
    FOREIGN = "foreign"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an account may be: its own address, the domains whose senders may stay as they are, and what to rewrite."""

    sender: Address | None = None
    domains: frozenset[str] = frozenset()
    rewrite: Rewrite = Rewrite.FOREIGN
    rewrite_from: bool = True
