"""Content of finished messages that is still in the file, until the next transaction that writes content.

Removing it in the settlement's own transaction would write six more pages; together with the next message's content it costs
next to nothing, since that one reuses the pages.  It is never read meanwhile (relay/spool/sqlite/content.py), and
`write.sweep` removes what a crash leaves.  Only for the holder of the writing connection.
"""

import sqlite3
from collections.abc import Callable

from relay.spool.sqlite import write
from relay.spool.sqlite.connections import Room
from relay.spool.sqlite.content import SMALL
from relay.spool.sqlite.jobs import Job
from relay.spool.sqlite.writer import Writer

MESSAGES = 32
OCTETS = 1_000_000
"""More than that does not wait for the next message: it takes up room."""

_SHORT = 16_000_000  # octets that may still be accepted: with less, nothing waits


class Leftovers:
    """What is to be removed; `transactions` tells how many have been written so far."""

    def __init__(self, room: Room, transactions: Callable[[], int]) -> None:
        self._room = room
        self._transactions = transactions
        self._sizes: dict[int, int] = {}
        self._removed_in = -1

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, message: int, octets: int) -> None:
        """After the settlement is durable."""
        self._sizes[message] = octets

    def keep_few(self, writer: Writer) -> None:
        """Has them removed at once where several settlements of one transaction have left more than may wait."""
        if len(self._sizes) > MESSAGES or sum(self._sizes.values()) > OCTETS:
            writer.leave(Job(self.remove, after=self.forgotten))  # said several times it is done once: they share a transaction

    def enough(self, octets: int) -> bool:
        """Whether a settlement that ends a message of so many octets should remove all of them with it."""
        waiting = sum(self._sizes.values()) + octets
        return octets > SMALL or waiting > OCTETS or len(self._sizes) >= MESSAGES or self._room.left() < _SHORT

    def remove(self, db: sqlite3.Connection, also: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Within a transaction, once in each; the messages to be `forgotten` when that is durable."""
        if self._removed_in == self._transactions() and not also:
            return ()
        self._removed_in = self._transactions()
        messages = (*self._sizes, *also)
        if messages:
            write.drop_content(db, messages)
        return messages

    def forgotten(self, messages: tuple[int, ...]) -> None:
        for message in messages:
            self._sizes.pop(message, None)
