"""The values that the spool stores and returns: an entry, its recipients, a claim, a settlement.  Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.reply import Answer, Fault, readable

QUEUE_ID = re.compile(r"[0-9A-Za-z]{8,32}\Z")
BEGINNING = re.compile(r"[0-9A-Za-z]{4,32}\Z")
"""A unique beginning of a queue id, which a person may give instead of the whole."""

Content = Iterable[bytes]
"""The octets of a message in blocks.  May be iterated more than once, each time from the start."""


class State(Enum):
    """The state of one recipient.  "Deferred" is not a state: it is queued with attempts > 0 (RFC 3464 s2.3.3)."""

    QUEUED = "queued"
    HELD = "held"
    RELAYED = "relayed"
    FAILED = "failed"
    EXPIRED = "expired"
    MERGED = "merged"

    @property
    def over(self) -> bool:
        return self not in (State.QUEUED, State.HELD)


PASSED, ORDERED = "-", "!"
"""In `Claim.storm`: the message goes by itself, for it was the first of its kind; or at any hour, since a person said so."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted message: octets as received, kept until every recipient's fate is recorded.

    `size` counts octets of `content`.  `message_id` is the value of its Message-ID field ("" if none) and
    `digest` the SHA-256 of its content in hex: together they show a device that repeats one id for different mail.
    `notice` marks a message of our own (a DSN or a digest of them); no notice is ever made about such a message.
    `merges`: it is a digest of so many messages of a device, made by this relay (0: a message as it came).
    `via`: the recipients begin with this order (see Recipient); read again, only they have it.
    """

    queue_id: str
    accepted_at: datetime
    origin: Origin
    envelope: Envelope
    size: int
    content: Content = field(repr=False, compare=False)
    message_id: str = ""
    digest: str = ""
    notice: bool = False
    merges: int = 0
    via: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path and what has become of it so far.

    `upstream`, `stage`, `code`, `status`, `said` are of the last answer ("" and 0 before the first attempt);
    `via` is an operator's order to use this upstream instead of the routes ("" if none); `due_at` is when the
    next attempt may begin (meaningless once the state is over).  `lost`, `fault`: the words are the relay's own, not a
    server's (see Answer); `peer` is the server's `address:port`.  `maybe_at` is the upstream whose final reply was lost at
    `maybe_since`: it may have taken the message, so no other is asked for now ("" if there is none).  `merged_into` is the
    queue id of the digest that the message is part of ("" if it is part of none): it ends MERGED, or FAILED or EXPIRED with it.
    """

    address: Address
    state: State
    attempts: int
    due_at: datetime
    upstream: str = ""
    stage: str = ""
    code: int = 0
    status: str = ""
    said: str = ""
    via: str = ""
    lost: bool = False
    fault: Fault | None = None
    peer: str = ""
    maybe_at: str = ""
    maybe_since: datetime | None = None
    merged_into: str = ""

    @property
    def quoted(self) -> bool:
        """Whether `said` is what a server said."""
        return bool(self.code) and not self.lost and self.fault is None

    def due(self, now: datetime) -> bool:
        """Whether it waits for an attempt that may begin by now."""
        return self.state is State.QUEUED and self.due_at <= now


Detail = str | int | float | bool | None | list[str]


@dataclass(frozen=True, slots=True)
class TrailLine:
    """One line in the trail of a message: when, which event (relay.events), and its details.

    `text` is "" where the text is made of the details when the line is shown (outbound/trail.py).
    """

    at: datetime
    event: str
    text: str = ""
    details: Mapping[str, Detail] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """An entry and those of its recipients that are due, ours until settled and released.

    `repeated_id`: the same client used this Message-ID before for other content to one of the recipients.
    `warned`: its delay notice was sent.  `storm`: the digest that it waits for, PASSED, ORDERED, or "" (not decided).
    """

    entry: Entry
    recipients: tuple[Recipient, ...]
    lease: int
    repeated_id: bool = False
    warned: bool = False
    storm: str = ""


class NoticeKind(Enum):
    FAILED = "failed"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True)
class PendingNotice:
    """A failure (or delay) that a person has still to be told of; it becomes part of exactly one notice.

    `notify` is who is told; `recipient` is as it stood when the fate was settled.  `number` is the spool's own
    (0 until stored).
    """

    queue_id: str
    kind: NoticeKind
    notify: Address
    recipient: Recipient
    made_at: datetime
    number: int = 0


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one step of an attempt made certain; stored in one transaction.

    `outcomes` are the recipients as they now stand, `notices` what has still to be told, `sent` the upstream
    that took the message ("" if none did; counts for its daily quota), `refused_sender` (upstream, sender) where
    the upstream refused that sender as such, `warned` that the delay warning of this message is among `notices`;
    `attention`: it failed and nobody can be told, so it is shown until a person has acknowledged it.
    """

    outcomes: tuple[Recipient, ...] = ()
    trail: tuple[TrailLine, ...] = ()
    notices: tuple[PendingNotice, ...] = ()
    sent: str = ""
    refused_sender: tuple[str, str] | None = None
    warned: bool = False
    attention: bool = False


class Action(Enum):
    """What an operator can order."""

    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    REMOVE = "remove"
    ACKNOWLEDGE = "acknowledge"


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's order.  `queue_ids` None means every message it can apply to; `via` goes with RELEASE.

    RETRY: queued recipients are due now; if by hand, the delays begin anew.  HOLD: queued -> held.  RELEASE: held, failed,
    expired or (of named messages) merged -> queued, due now, by `via` or else by the routes, whatever was ordered before; of
    all messages, not those that ended with their digest.  REMOVE deletes the message with its trail; what an unsent digest
    stands for has failed then.  ACKNOWLEDGE: a person has seen a failure that nobody could be told of.  The trail shows
    orders that a person gave (`by_hand`).

    `named` False: a search found them, so what is left out of an order for all is left out.  `sought` are the states that
    were searched for (None: any): what waits in another one is neither removed nor released by `via`.
    """

    action: Action
    queue_ids: tuple[str, ...] | None = None
    via: str = ""
    by_hand: bool = True
    named: bool = True
    sought: frozenset[State] | None = None

    @property
    def of_named(self) -> bool:
        """Whether a person named each message."""
        return self.named and self.queue_ids is not None


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A message as people see it: the entry, every recipient and the trail in order.

    `relay` is the relay that has a claim on it, where several share the spool ("": none, or only one); `attention`: it
    failed, nobody could be told, and nobody has acknowledged it; `together`: how many wait for the same digest.
    """

    entry: Entry
    recipients: tuple[Recipient, ...]
    trail: tuple[TrailLine, ...] = ()
    relay: str = ""
    attention: bool = False
    together: int = 0


class QueueLine(NamedTuple):
    """One row of a queue list: a recipient and the facts of its message.  Flat, since a list may have tens of thousands.

    `message` is the spool's own number; the sender's parts are None for the null reverse-path; `state` is a State's value;
    `relay` is the relay that has a claim on the message, where several share the spool; `subject` as the device wrote it;
    `device` is its name in the configuration, "" if it had none; `helo` what it calls itself.
    """

    message: int
    queue_id: str
    accepted_at: datetime
    client: str
    sender_local: str | None
    sender_domain: str | None
    size: int
    notice: int
    local: str
    domain: str
    state: str
    attempts: int
    due_at: datetime
    upstream: str
    stage: str
    code: int
    status: str
    said: str
    via: str
    lost: int = 0
    fault: str = ""
    peer: str = ""
    maybe_at: str = ""
    maybe_since: datetime | None = None
    merged_into: str = ""
    relay: str = ""
    attention: int = 0
    merges: int = 0
    subject: str = ""
    device: str = ""
    helo: str = ""


class Heard(NamedTuple):
    """How many messages came from one origin in a time, and when the last one was accepted."""

    origin: Origin
    messages: int
    last: datetime


class Postponed(NamedTuple):
    """Messages of one origin that wait on purpose: for the digest `storm`, or for the end of quiet hours ("" or a digest).

    `fault` says for which; `queue_id` is one of them, `due_at` when the first of them is looked at again.
    """

    origin: Origin
    storm: str
    fault: Fault
    messages: int
    due_at: datetime
    queue_id: str


@dataclass(frozen=True, slots=True)
class TransferItem:
    """A message that moves from one spool to another: all that is known of it.

    `kept`: its content is still there; `over_at` when its last recipient's fate was known; `notices` are
    the pending ones about it; `storm` as in a Claim.
    """

    stored: StoredEntry
    kept: bool
    repeated: bool
    warned: bool
    over_at: datetime | None
    notices: tuple[PendingNotice, ...] = ()
    storm: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """One of several relays that share a spool: when it last showed a sign of life, how many claims it has."""

    name: str
    seen_at: datetime
    alive: bool
    holds: int


@dataclass(frozen=True, slots=True)
class Tally:
    """The spool in numbers: recipients by state, messages unfinished, room left in octets; `oldest` is when the oldest of
    these that does not wait on purpose was accepted.

    `peers` are the relays that share it; empty where there is one only.  `attention` counts failed messages that nobody
    could be told of and nobody has acknowledged.  `postponed` are recipients that wait on purpose: for the end of quiet
    hours, or for a digest.
    """

    states: Mapping[State, int]
    unfinished: int
    oldest: datetime | None
    room: int
    size: int
    peers: tuple[Peer, ...] = ()
    attention: int = 0
    postponed: int = 0


def outcome(
    before: Recipient,
    answer: Answer,
    upstream: str,
    *,
    state: State,
    due_at: datetime,
    peer: str = "",
    maybe: tuple[str, datetime] | None = None,
) -> Recipient:
    """The recipient after an attempt, with the text of the answer.

    `maybe` is the upstream that may have taken the message, and since when (None: none).
    """
    maybe_at, maybe_since = maybe or ("", None)
    return Recipient(
        address=before.address,
        state=state,
        attempts=before.attempts + 1,
        due_at=due_at,
        upstream=upstream,
        stage=answer.stage.value,
        code=answer.reply.code,
        status=answer.reply.status,
        said=readable(answer.reply.text),
        via=before.via,
        lost=answer.lost,
        fault=answer.fault,
        peer=peer,
        maybe_at=maybe_at,
        maybe_since=maybe_since,
    )
