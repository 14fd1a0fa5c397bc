"""A message that a person hands in, not a device: as the spool takes it.  Pure."""

import hashlib
from collections.abc import Callable
from datetime import datetime

from relay.control.queue_admin import BadOrder
from relay.inbound.admission import header_facts
from relay.mail.address import Address, BadAddress, parse_address
from relay.mail.envelope import Envelope, Origin
from relay.spool.entry import Detail, Entry, TrailLine

BY_HAND = Origin(client="127.0.0.1", helo="localhost", protocol="HTTP")
"""Where it comes from, for rules that ask."""


def handed_in(
    envelope: Envelope, via: str, content: bytes, at: datetime, new_id: Callable[[datetime], str]
) -> tuple[Entry, TrailLine]:
    """A message of a person's, and the first line of its trail; `via` "": as the routes say."""
    facts = header_facts(content, "")
    entry = Entry(
        queue_id=new_id(at),
        accepted_at=at,
        origin=BY_HAND,
        envelope=envelope,
        size=len(content),
        content=(content,),
        message_id=facts.message_id,
        digest=hashlib.sha256(content).hexdigest(),
        via=via,
    )
    details: dict[str, Detail] = {"size": entry.size, "subject": facts.subject}
    return entry, TrailLine(at, "accepted", f"handed in on this machine, {entry.size} octets", details)


class NoAddress(BadOrder):
    """What was typed is no address with a domain."""


def address_of(key: str, text: str) -> Address:
    """Raises NoAddress."""
    try:
        found = parse_address(text)
    except BadAddress as error:
        raise NoAddress(f"{key}: {error}") from None
    if not found.qualified:
        raise NoAddress(f"{key}: {text} has no domain")
    return found
