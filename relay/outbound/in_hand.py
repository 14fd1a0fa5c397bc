"""A mark for each message in hand, in a mapped file that survives kill -9 and needs no sync.

    begin ── mark(queue id, stage) ── end          death: the marks stay          the next start counts them

A message in hand when the relay died is a suspect.  It is tried again, but never two suspects at the same time: so the
next death shows which one of hundreds was the cause.  A message in hand at two deaths in a row is held.  A suspect whose
attempt ends normally is no longer one.

Every stage from routing to storing counts, since any of them may crash.  Waiting for an upstream is no stage: not for a
slot, and not for the network, so that a relay killed while it sends does not blame what it was sending.  Storing is mostly
waiting for the disk, and a relay that is killed again and again is often there: it takes more deaths to be blamed for it.
An end that was asked for does not count (SIGTERM first, then a kill).  When the machine itself went down (another boot
id), a message in hand becomes a suspect at most: power cuts alone never hold a message.  A power cut may also leave an
older state of the file: marks of messages that are done are dropped at the start.

The mark tells, too, to whom the final dot was sent, by a CRC of the name, until the answer is stored: that upstream may
have taken the message.
"""

import asyncio
import mmap
import os
import struct
import time
import zlib
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import IntEnum
from pathlib import Path

from relay.spool.entry import QUEUE_ID

DEATHS = 2
"""Deaths in a row that it takes to be held."""

STORING_DEATHS = 5
"""The same, where it was being stored at more than all but one of them."""

_PLACES = 1024  # the runner has 500 messages in hand at most, the notifier as many
_MAGIC = b"relay in hand 1\n"
_HEAD = struct.Struct("16s36sB11x")
_RECORD = struct.Struct("<32sBBBBI")
_SIZE = _HEAD.size + _PLACES * _RECORD.size
_STOPPING = 16 + 36
_DOING, _SENT_TO = 32, 36  # where they are within a record
_CRC = struct.Struct("<I")
_TOO_LONG = 600.0  # seconds; 50 MB take a small board one minute


class Doing(IntEnum):
    """What is being done with a message."""

    NOTHING = 0
    ROUTING = 1
    PREPARING = 2
    SENDING = 3
    STORING = 4
    TELLING = 5


class Mark:
    """Messages in hand.

    `deaths`: how many times in a row the relay died while one of them was in hand; `storing`: at how many of these it was
    being stored.
    """

    __slots__ = ("_doings", "_octets", "_sent_to", "deaths", "places", "since", "storing", "worked")

    def __init__(
        self, octets: "mmap.mmap | bytearray", places: tuple[int, ...], deaths: int, storing: int, sent_to: int
    ) -> None:
        self._octets, self.places, self.deaths, self.storing, self._sent_to = octets, places, deaths, storing, sent_to
        self._doings = [_offset(place) + _DOING for place in places if place >= 0]
        self.since: float | None = None
        self.worked = False

    def is_cause(self) -> bool:
        """Whether the deaths are to be blamed on it."""
        return self.deaths - self.storing >= DEATHS or self.deaths >= STORING_DEATHS

    def maybe_at(self, names: Iterable[str]) -> str:
        """To which of these it was being sent when the relay died; "" if to none."""
        return next((name for name in names if self._sent_to and _crc(name) == self._sent_to), "")

    def sent_to(self, upstream: str) -> None:
        """This one has all of it from now on; "" when its answer is stored."""
        crc = _crc(upstream) if upstream else 0
        for place in self._doings:
            _CRC.pack_into(self._octets, place - _DOING + _SENT_TO, crc)

    @contextmanager
    def at(self, doing: Doing) -> Iterator[None]:
        """The stage is marked while this lasts.  The mark stays only if the process dies."""
        octets, doings = self._octets, self._doings
        self.since = time.monotonic() if doing in (Doing.PREPARING, Doing.TELLING) else None
        for place in doings:
            octets[place] = doing  # one octet, and no system call
        try:
            yield
        finally:
            self.since = None
            for place in doings:
                octets[place] = Doing.NOTHING
        if doing is Doing.STORING:
            self.sent_to("")
        self.worked = self.worked or doing in (Doing.STORING, Doing.TELLING)

    def reading(self, blocks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        """The blocks; marked while one is made, not while it is on the network, where it stops nobody."""
        octets, doings = self._octets, self._doings
        try:
            while True:
                for place in doings:  # `at` would cost ten calls for each block
                    octets[place] = Doing.SENDING
                try:
                    block = next(blocks, None)
                finally:
                    for place in doings:
                        octets[place] = Doing.NOTHING
                if block is None:
                    return
                yield block
        finally:
            blocks.close()


class InHand:
    """The marks of this process.  Without `open` they are kept in memory only.  For the event loop's thread."""

    def __init__(self, octets: "mmap.mmap | bytearray | None" = None) -> None:
        self._octets = octets if octets is not None else bytearray(_SIZE)
        self._free = list(range(_PLACES))
        self._suspects: dict[tuple[str, bool], tuple[int, int, int, int]] = {}
        self._trial = asyncio.Lock()
        self._marks: set[Mark] = set()
        self.left: tuple[str, ...] = ()
        """Queue ids in hand when the previous process died."""

    @classmethod
    def open(cls, directory: Path) -> "InHand":
        """Counts the marks that the previous process left.  Raises OSError where there can be no such file."""
        file = os.open(directory / "in-hand", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(file).st_size != _SIZE:
                os.ftruncate(file, 0)
                os.pwrite(file, bytes(_SIZE), 0)  # written, not sparse: a full disk must not be met in a mapped page
            hands = cls(mmap.mmap(file, _SIZE))
        finally:
            os.close(file)
        hands._count(_boot_id())
        return hands

    def _count(self, boot: bytes) -> None:
        magic, last_boot, stopping = _HEAD.unpack_from(self._octets)
        found: dict[tuple[str, bool], tuple[int, int, int]] = {}
        left = []
        for place in range(_PLACES) if magic == _MAGIC else ():
            name, doing, deaths, telling, storing, sent_to = _RECORD.unpack_from(self._octets, _offset(place))
            queue_id = name.rstrip(b"\0").decode("ascii", "replace")
            if not QUEUE_ID.match(queue_id):
                continue
            if doing and not stopping:
                left.append(queue_id)
                if last_boot == boot or not deaths:
                    deaths, storing = deaths + 1, storing + (doing == Doing.STORING)
            if deaths or sent_to:
                found[queue_id, bool(telling)] = min(deaths, 255), min(storing, 255), sent_to
        image = bytearray(_SIZE)
        _HEAD.pack_into(image, 0, _MAGIC, boot, 0)
        for (queue_id, telling), (deaths, storing, sent_to) in found.items():
            place = self._free.pop()
            _RECORD.pack_into(image, _offset(place), queue_id.encode(), Doing.NOTHING, deaths, telling, storing, sent_to)
            self._suspects[queue_id, telling] = (place, deaths, storing, sent_to)
        self._octets[:] = bytes(image)
        self.left = tuple(left)

    def stopping(self) -> None:
        """The stop was asked for: a message that it interrupts is no suspect."""
        self._octets[_STOPPING] = 1

    def suspects(self) -> tuple[str, ...]:
        """Queue ids of the messages that may have crashed the relay."""
        return tuple({queue_id for queue_id, _ in self._suspects})

    def forget(self, queue_id: str) -> None:
        """The message is done or removed."""
        for telling in (False, True):
            if place := self._suspects.pop((queue_id, telling), None):
                self._clear(place[0])

    def stuck(self) -> bool:
        """Whether some message has been worked on for longer than any may take."""
        begun = min((mark.since for mark in self._marks if mark.since is not None), default=None)
        return begun is not None and time.monotonic() - begun > _too_long()

    @asynccontextmanager
    async def mark(self, *queue_ids: str, telling: bool = False) -> AsyncIterator[Mark]:
        """A mark for as long as this lasts.  A suspect waits here until no other suspect is in hand."""
        keys = [(queue_id, telling) for queue_id in queue_ids]
        suspect = any(self._suspects[key][1] for key in keys if key in self._suspects)
        if suspect:
            await self._trial.acquire()
        known = {key: self._suspects.get(key) or (self._placed(*key), 0, 0, 0) for key in keys}
        places, deaths, storing, sent_to = zip(*known.values(), strict=True)
        mark = Mark(self._octets, places, max(deaths), min(storing), max(sent_to))
        self._marks.add(mark)
        try:
            yield mark
        finally:
            self._marks.discard(mark)
            for key, (place, *_) in known.items():
                if key not in self._suspects or mark.worked:  # else the stage that may have crashed was not reached
                    self._suspects.pop(key, None)
                    self._clear(place)
            if suspect:
                self._trial.release()

    def _placed(self, queue_id: str, telling: bool) -> int:
        place = self._free.pop() if self._free else -1
        if place >= 0:
            _RECORD.pack_into(self._octets, _offset(place), queue_id.encode(), Doing.NOTHING, 0, telling, 0, 0)
        return place

    def _clear(self, place: int) -> None:
        if place >= 0:
            _RECORD.pack_into(self._octets, _offset(place), b"", Doing.NOTHING, 0, False, 0, 0)
            self._free.append(place)


def _offset(place: int) -> int:
    return _HEAD.size + place * _RECORD.size


def _crc(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "backslashreplace")) or 1


def _too_long() -> float:
    return float(os.environ.get("RELAY_TEST_STUCK_SECONDS", _TOO_LONG))  # nothing but a test sets this variable


def _boot_id() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36].ljust(36, b"\0")
    except OSError:
        return bytes(36)
