"""What every spool promises; no SQL.  Pure."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from relay.mail.envelope import Origin
from relay.secret import Secret
from relay.spool.entry import (
    Claim,
    Entry,
    Heard,
    Order,
    PendingNotice,
    Postponed,
    QueueLine,
    Settlement,
    State,
    StoredEntry,
    Tally,
    TrailLine,
    TransferItem,
)
from relay.spool.search import EVERYTHING, PageKey, Search
from relay.spool.storms import Collected, Merge, Weigh, Weighed


class SpoolFull(Exception):
    """There is no room (disk full, or less free than `keep_free`); nothing was stored."""


class SpoolBroken(Exception):
    """The spool cannot be used: damaged, from a newer version, read-only, or held by another process.  The text says which."""


class SpoolAway(SpoolBroken):
    """The spool's server cannot be reached now; it may be back at any moment."""


class ContentDamaged(SpoolBroken):
    """The stored content of one message is not what was accepted."""


class LeaseLost(Exception):
    """The claim is no longer ours (removed or held by an operator meanwhile); nothing was stored."""


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """`url` names backend and place; octets for `max_message` and `keep_free`; `keep_history` of finished messages.

    Where relays share one spool (PostgreSQL): its `password` if the URL has none; `fallback` is a spool of this relay's
    own for mail that comes while that one is away ("" if none), `lease` how long a message belongs to a relay that
    shows no sign of life, `name` the name of this relay ("": the machine's name), `max_size` how many octets of mail may
    wait.  `state_dir` is where all else is kept ("": beside the spool's file).
    """

    url: str = "sqlite:/var/lib/relay/spool.db"
    max_message: int = 50_000_000
    keep_free: int = 200_000_000
    keep_history: timedelta = timedelta(days=14)
    password: Secret = field(default=Secret(""), repr=False)
    fallback: str = ""
    lease: timedelta = timedelta(seconds=60)
    name: str = ""
    max_size: int = 20_000_000_000
    state_dir: str = ""

    @property
    def file(self) -> Path | None:
        """The SQLite file; None where the spool is in PostgreSQL."""
        return _file_of(self.url)

    @property
    def fallback_file(self) -> Path | None:
        return _file_of(self.fallback)

    @property
    def home(self) -> Path:
        """Where all else is kept: `state_dir`, else beside the spool's file."""
        file = self.file or self.fallback_file
        return Path(self.state_dir) if self.state_dir else file.parent if file else Path("/var/lib/relay")

    @property
    def shown(self) -> str:
        """The URL as logs may show it: without its password."""
        return re.sub(r"(?i)(://[^/\s:@]*:)[^/\s@]*(?=@)|([?&](?:ssl)?password=)[^&]*", r"\1\2***", self.url)


def _file_of(url: str) -> Path | None:
    scheme, _, place = url.partition(":")
    return Path(place.removeprefix("//")) if scheme == "sqlite" and place.strip("/") else None


class Streaming(Protocol):
    """Large content that is stored while it comes in; without a committed entry it does not count."""

    @property
    def stored(self) -> int:
        """Octets that take up room in the spool already."""

    def __iter__(self) -> Iterator[bytes]:
        """What can be read before there is an entry."""

    async def add(self, pieces: list[bytes], *, whole: bool = False) -> None:
        """Takes the pieces out of the list; `whole`: nothing follows.

        Raises SpoolFull, SpoolBroken; then the caller must drop it.  Does nothing once it was dropped.
        """

    def drop(self) -> None:
        """Nothing of it stays, unless an entry has it.  May be called more than once."""


class HearingSpool(Protocol):
    """What is asked about devices: by the page, and for their limits at acceptance."""

    async def heard(self, since: datetime) -> list[Heard]:
        """Who sent the messages accepted since then that are still known, without notices of our own."""


class AcceptingSpool(HearingSpool, Protocol):
    """What accepting needs: room, and a durable commit."""

    @property
    def away(self) -> str:
        """Why it cannot be reached now; "" while it can, or while mail is taken all the same."""

    def room(self) -> int:
        """Octets that may still be accepted; below 0 the spool is full.  Costs no I/O worth speaking of."""

    async def kept_by_client(self) -> Mapping[str, int]:
        """Octets of devices' mail that is kept, by the client that it came from.  Looks at every message."""

    def arrive(self) -> Streaming | None:
        """A place for large content that comes in; None if this spool takes content only when it is complete."""

    async def commit(self, entry: Entry, trail: tuple[TrailLine, ...] = ()) -> None:
        """Makes the entry durable (fsynced when this returns), all recipients queued and due at once.

        Raises SpoolFull and leaves nothing behind; SpoolBroken when the medium fails.
        """


class RelayingSpool(Protocol):
    """What the queue runner needs: claims, settlements, and when the next one is due."""

    async def claim(self, now: datetime) -> Claim | None:
        """The oldest due entry that is not leased, with its due recipients; None if there is none.

        Its content is read lazily, in blocks, each time it is iterated.
        """

    async def settle(self, claim: Claim, settlement: Settlement) -> None:
        """Stores what is certain: rows, trail, notices, counters in one transaction.  The lease stays.

        Content goes when no recipient is queued, held or failed.  If the entry is a digest that is over, its messages end
        like it: merged, failed or expired.  A full disk does not raise: the settlement is
        kept in memory and tried again until it is written, and no claim is handed out meanwhile.
        Raises LeaseLost if the entry was removed meanwhile.
        """

    async def release(self, claim: Claim) -> None:
        """Gives the lease back; recipients that are still queued may be claimed again when due."""

    async def turn(
        self, claim: Claim, upstream: str, *, per_minute: int | None, per_day: int | None, now: datetime
    ) -> datetime | None:
        """When this message may go to an upstream that several relays share; None: now.

        With one relay it is always None.  Raises LeaseLost, SpoolAway.
        """

    async def wait(self, until: datetime | None) -> None:
        """Returns when something may be due: at `until` at the latest, early when work arrives (may be early)."""

    async def next_due(self) -> datetime | None:
        """When the next unleased queued recipient becomes due; None if none waits."""

    async def refused_senders(self) -> frozenset[tuple[str, str]]:
        """(upstream, sender) pairs learned from refusals in the last 30 days."""


class MergingSpool(Protocol):
    """Mail that a device repeats: what is remembered of the device, what waits, and its end in a digest."""

    async def weigh(self, claim: Claim, device: str, weigh: Weigh) -> Weighed | None:
        """Stores what `weigh` makes of what is remembered of the device, in one transaction; its answer.

        None, and nothing is stored, if no recipient of the claim is queued any more: it was merged or held meanwhile.
        `weigh` may be called more than once, in any thread.  Raises like `settle`, but SpoolFull, too.
        """

    async def collected(self, storm: str) -> list[Collected]:
        """The messages that wait for this digest, oldest first."""

    async def merge(self, merge: Merge) -> bool:
        """Ends messages as merged and queues their digest (may use the reserve), in one transaction.

        False, and nothing is stored, if one of them does not wait for it any more.  Raises like `commit`.
        """


class ViewedSpool(HearingSpool, Protocol):
    """What people and monitors read, and the orders that they give."""

    @property
    def shared(self) -> bool:
        """Whether other relays use it too."""

    @property
    def absent(self) -> str:
        """Why its database cannot be reached now, even if mail is taken all the same; "" while it can."""

    async def entries(
        self,
        states: frozenset[State] | None = None,
        limit: int = 1000,
        *,
        newest: bool = False,
        skip: int = 0,
        trail: bool = False,
    ) -> list[StoredEntry]:
        """Messages with at least one recipient in one of `states` (None: any), oldest first, without content.

        Of more than `limit` the oldest ones; with `newest` the newest ones, still oldest first; `skip` leaves out
        as many of those before.  The trails come only with `trail`.
        """

    async def listed(
        self,
        states: frozenset[State] | None,
        limit: int,
        *,
        search: Search = EVERYTHING,
        after: PageKey | QueueLine | None = None,
        skip: int = 0,
        newest: bool = False,
    ) -> list[QueueLine]:
        """A row for each recipient of the next `limit` messages with at least one recipient in one of `states` (None: any).

        Only those that `search` asks for.  Oldest first, or newest first, beginning behind `after`, with `skip` more left out.
        """

    async def counted(
        self, states: frozenset[State] | None, search: Search, among: frozenset[State] = frozenset()
    ) -> tuple[int, int]:
        """How many messages `listed` would find, and how many of them have a recipient in one of the states `among`."""

    async def tell(self, queue_id: str, line: TrailLine) -> bool:
        """Adds a line to the trail of a message; False if it is gone."""

    async def beginning(self, beginnings: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """Queue ids by what they begin with: one if there is only one or it says just that, at most two otherwise."""

    async def entry(self, queue_id: str) -> StoredEntry | None:
        """One message with its trail; its content may be iterated while it is kept."""

    async def tally(self) -> Tally: ...

    async def history(self, since: datetime, step: timedelta) -> Mapping[tuple[datetime, str], int]:
        """Trail lines by (start of the step they fall into, event) since then; steps are counted from 1970 in UTC."""

    async def lines_of(self, clients: Collection[str], events: Collection[str], limit: int) -> list[tuple[Origin, TrailLine]]:
        """Trail lines of these events of the newest `limit` messages from these clients, each with its message's origin."""

    async def postponed(self, clients: Collection[str]) -> list[Postponed]:
        """What waits on purpose of the mail of these clients."""

    async def sent_today(self, day: str) -> Mapping[str, int]:
        """Messages each upstream took on that UTC day (`2026-11-22`)."""

    async def order(self, order: Order, now: datetime) -> int:
        """Carries out an operator's order; the number of messages that it applied to."""


class NotifyingSpool(ViewedSpool, Protocol):
    """What the notifier needs: the pending notices, and the messages that they are about."""

    async def pending_notices(self) -> list[PendingNotice]:
        """The failures and delays that people have still to be told of, oldest first."""

    async def notify(
        self, notice: Entry | None, told: tuple[int, ...], trail: tuple[TrailLine, ...] = (), *, attention: bool = False
    ) -> None:
        """Queues a notice and removes the pending ones that it contains, in one transaction (None: only removes).

        `attention`: nobody could be told, so the messages need attention until a person has acknowledged them.
        """


class TransferableSpool(Protocol):
    """Messages with all their state, for another spool."""

    async def pack(self, queue_id: str) -> TransferItem | None:
        """All that is known of a message, for another spool; None if there is none of this id."""

    async def adopt(self, item: TransferItem) -> bool:
        """Takes a message over from another spool, with its state; False if it came before.  Raises like `commit`."""

    async def adopt_told(
        self, notices: tuple[PendingNotice, ...], day: str, sent: Mapping[str, int], refused: frozenset[tuple[str, str]]
    ) -> None:
        """Takes over the rest of another spool: notices of messages that are gone, counts of a day, refused senders.

        May be called more than once.
        """


class Spool(AcceptingSpool, RelayingSpool, MergingSpool, NotifyingSpool, TransferableSpool, Protocol):
    """The one place between accepting and relaying."""

    async def rebase(self, since: datetime, until: datetime, by: timedelta) -> int:
        """Moves the acceptance time, by `by`, of waiting messages that were accepted from `since` to `until` by a wrong clock.

        The number of messages moved.
        """

    async def tidy(self, now: datetime) -> None:
        """Removes what was over before `keep_history`, gives free pages back to the file system.  Not the messages of a digest
        that is not over.

        The content of merged messages goes earlier, the oldest first, where room gets short and their digest was relayed.
        """

    def adjust(self, settings: SpoolSettings) -> None:
        """Takes over `keep_free`, `keep_history` and `max_size` while it is open."""

    async def close(self) -> None:
        """Writes what is not written yet, and closes the spool."""
