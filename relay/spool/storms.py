"""The values by which a spool keeps mail that a device repeats: what is remembered, what waits, what ends.  Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from relay.spool.entry import Action, Detail, Entry, Order, Recipient, Settlement, State, TrailLine
from relay.spool.rows import plain

MERGED_SHARE = 3
"""The content of merged messages may hold a third of what is free: it must not be why mail is refused."""
DROPPED_AT_ONCE = 50

MERGED_OCTETS = (
    "SELECT coalesce(sum(size), 0) FROM message WHERE kept = 1 AND id IN (SELECT message FROM recipient WHERE state = 'merged')"
)
"""Octets of the content of messages that were merged, which nobody may ever ask for."""
_NEEDED = (
    "SELECT 1 FROM recipient AS mine WHERE mine.message = message.id AND (mine.state NOT IN ('merged', 'relayed') OR EXISTS"
    " (SELECT 1 FROM message AS digest JOIN recipient AS its ON its.message = digest.id"
    " WHERE digest.queue_id = mine.merged_into AND its.state <> 'relayed'))"
)
GIVES_WAY = (
    "kept = 1 AND over_at IS NOT NULL AND id IN (SELECT message FROM recipient WHERE state = 'merged')"  # noqa: S608
    f" AND NOT EXISTS ({_NEEDED})"
)
"""The condition for messages whose content may go: they are merged, and everybody has got the digest."""
IN_OPEN_DIGEST = (
    "EXISTS (SELECT 1 FROM recipient AS mine JOIN message AS digest ON digest.queue_id = mine.merged_into"
    " WHERE mine.message = message.id AND mine.merged_into <> '' AND digest.over_at IS NULL)"
)
"""The condition for messages whose digest is not over: how they end is not known yet."""
PART_STATES = frozenset({State.MERGED, State.FAILED, State.EXPIRED})
"""The states of a recipient that is part of a digest."""


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


class Ended(NamedTuple):
    """A digest is over for one recipient; `removed`: by order, before it was sent."""

    key: str
    address: str
    state: State
    removed: bool = False


def ended(outcomes: Iterable[Recipient]) -> list[Ended]:
    """Those outcomes of a digest that are its end."""
    return [Ended(plain(one.address.key), str(one.address), one.state) for one in outcomes if one.state.over]


def no_parts(order: Order) -> str:
    """To follow the states that an order is for: a release of all or of what was found spares what is part of a digest."""
    return " AND merged_into = ''" if order.action is Action.RELEASE and not order.of_named else ""


def gave_way(now: datetime) -> TrailLine:
    """For the trail of a merged message whose content has gone before its time."""
    return TrailLine(now, "warned", details={"dropped": True, "state": State.MERGED.value})


def end_of_part(digest: str, merges: int, one: Ended, now: datetime) -> tuple[State, TrailLine]:
    """How a message ends for a recipient to whom its digest is over, and the line for its trail."""
    state = State.MERGED if one.state is State.RELAYED else one.state
    about: dict[str, Detail] = {"to": [one.address], "digest": digest, "count": merges, "removed": one.removed}
    return state, TrailLine(now, state.value, details=about)


class NotWaiting(Exception):
    """One of the messages does not wait for the digest any more."""
