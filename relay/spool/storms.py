"""The values by which a spool keeps mail that a device repeats: what is remembered, what waits, what ends.  Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from relay.spool.entry import Entry, Settlement, TrailLine

MERGED_SHARE = 3
"""Merged messages may hold a third of what is free: they must not be why mail is refused."""
FORGOTTEN_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Weighed:
    """What was decided about a message: what is remembered of its device from now on, where it belongs (as in
    `Claim.storm`), and how its recipients stand.
    """

    memory: str
    storm: str
    settlement: Settlement = field(default_factory=Settlement)


Weigh = Callable[[str, str], Weighed]
"""Decides by what is remembered of the device ("" if nothing), and by the message's `storm` as it stands."""


@dataclass(frozen=True, slots=True)
class Collected:
    """A message that waits for a digest; `subject` as the device wrote it."""

    queue_id: str
    accepted_at: datetime
    subject: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Messages that end in a digest: all of `merged` wait for `storm`.  `line` goes to the trail of each.

    `remember` makes what is remembered of the device afterwards from what was before.
    """

    digest: Entry
    trail: tuple[TrailLine, ...]
    device: str
    storm: str
    merged: tuple[str, ...]
    line: TrailLine
    remember: Callable[[str], str]


class NotWaiting(Exception):
    """One of the messages does not wait for the digest any more."""
