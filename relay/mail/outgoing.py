"""A message as it is about to leave.  Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from relay.mail.address import Address


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One transaction's worth: repaired, rewritten content, and the envelope to say before it.

    `content` may be iterated more than once; every line of it ends in CRLF and none is over 998 octets (dot-stuffing
    is the sender's business, not done here).  `size` counts its octets.  `eight_bit`: some octet is over 127, so
    without 8BITMIME at the upstream it must go through `transfer.seven_bit` first.  `utf8`: the sender or the header
    needs SMTPUTF8; a forward-path that does is known by itself.  `at_dot` is called just before the final dot is written.
    """

    queue_id: str
    reverse_path: Address | None
    forward_paths: tuple[Address, ...]
    content: Iterable[bytes]
    size: int
    eight_bit: bool = False
    utf8: bool = False
    at_dot: Callable[[], None] = field(default=lambda: None, compare=False)
