"""Content in PostgreSQL: rows of 64 KiB, written and read a few at a time, so that 50 MB never sit in memory."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice

from psycopg import Connection

from relay.spool.contract import ContentDamaged, LeaseLost, SpoolAway
from relay.spool.postgres.connections import PostgresConnections
from relay.spool.postgres.leases import SharedLease
from relay.spool.sqlite.content import ContentCache

_SLICE = 8  # blocks in one go to the server
_AHEAD = 4
_WANTED = "SELECT 1 FROM message WHERE id = %s AND kept = 1"


def add_content(
    db: Connection, connections: PostgresConnections, message: int, source: Iterable[bytes], first: int = 0
) -> Iterator[int]:
    """Writes the blocks, from number `first` on; yields how many octets each slice had."""
    blocks = iter(source)
    while piece := list(islice(blocks, _SLICE)):
        rows = [(message, seq, block) for seq, block in enumerate(piece, first)]
        with closing(db.cursor()) as cursor:
            cursor.executemany("INSERT INTO content (message, seq, data) VALUES (%s, %s, %s)", rows)
        connections.still_busy(db)
        first += len(piece)
        yield sum(map(len, piece))


class PostgresContent:
    """The octets of one message.  Iterating raises LeaseLost when they are gone, ContentDamaged, SpoolBroken.

    With a lease it raises LeaseLost also when that has ended: another relay may be sending the message by then; and
    SpoolAway when it begins while the server is away.
    """

    __slots__ = ("_cache", "_connections", "_lease", "_message", "_size")

    def __init__(
        self, connections: PostgresConnections, message: int, size: int, cache: ContentCache, lease: SharedLease | None = None
    ) -> None:
        self._connections = connections
        self._message = message
        self._size = size
        self._cache = cache
        self._lease = lease

    def __iter__(self) -> Iterator[bytes]:
        self._check()
        if self._lease is not None and self._connections.away:
            raise SpoolAway(self._connections.away)  # its settlement could not be stored: better not begin
        remembered = self._cache.find(self._message) if self._size else ()
        return self._stored() if remembered is None else iter(remembered)

    def _stored(self) -> Iterator[bytes]:
        left, seq = self._size, 0
        while left > 0:
            for block in self._blocks(seq):
                left -= len(block)
                seq += 1
                yield block
                self._check()

    def _blocks(self, seq: int) -> list[bytes]:
        def work(db: Connection) -> tuple[list[bytes], bool]:
            rows = db.execute(
                "SELECT data FROM content WHERE message = %s AND seq >= %s AND seq < %s ORDER BY seq",
                (self._message, seq, seq + _AHEAD),
                binary=True,
            )
            found = [row[0] for row in rows]
            return found, not found and bool(db.execute(_WANTED, (self._message,)).fetchone())

        found, wanted = self._connections.call(work)
        if wanted:
            raise ContentDamaged(f"the stored content is damaged: it ends at row {seq}")
        if not found:
            # never just end: half a message would be relayed as a whole one
            raise LeaseLost("the content of this message is not kept any more")
        return found

    def _check(self) -> None:
        if self._lease is not None and self._lease.over:
            raise LeaseLost("the lease of this message has ended: another relay may be sending it")
