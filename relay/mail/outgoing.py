"""A message as it is about to leave.  Pure."""

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from relay.mail.address import Address
from relay.mail.envelope import Origin

Blocks = Generator[bytes, None, None]

_NOWHERE = Origin("")
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def untold() -> None:
    """For an `at_dot` that nobody waits for."""


def unmarked(blocks: Blocks) -> Blocks:
    """The same blocks, for a `reading` that notes nothing."""
    return blocks


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The message of one transaction: repaired and rewritten content, and its envelope.

    `content` may be iterated more than once.  Every line ends in CRLF and has at most 998 octets; it is not dot-stuffed.
    `size` counts its octets.  `eight_bit`: some octet is over 127, so the upstream must have 8BITMIME.  `seven_bit`: it was
    recoded for one that has not, and `size` is what it was before.  `utf8`: the sender or the header needs SMTPUTF8;
    forward-paths are checked by themselves.  `at_dot` is called just before the final dot is written.  `reading` hands blocks
    on, and notes while one is made.  `origin` and `accepted_at` tell where it came from and when, the same at every attempt;
    `device` is the name of the device, else who logged in, else the client's address.
    """

    queue_id: str
    reverse_path: Address | None
    forward_paths: tuple[Address, ...]
    content: Iterable[bytes]
    size: int
    eight_bit: bool = False
    seven_bit: bool = False
    utf8: bool = False
    origin: Origin = _NOWHERE
    device: str = ""
    accepted_at: datetime = _LONG_AGO
    at_dot: Callable[[], None] = field(default=untold, compare=False)
    reading: Callable[[Blocks], Blocks] = field(default=unmarked, compare=False)
