"""A long list is made and written beside the event loop."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

from starlette.requests import Request

from relay.control.api import _queue
from relay.control.desk import Desk
from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool.entry import Entry, Recipient, State, StoredEntry

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
X = Address("x", "y.example")
ENTRY = Entry("q1234567890", NOW, Origin("192.168.0.7", "n\u00e4s"), Envelope(None, (X,)), 10, [])


class Seen(tuple):
    """Recipients that tell in which thread they are looked at."""

    threads: ClassVar[set[int]] = set()

    def __iter__(self):
        self.threads.add(threading.get_ident())
        return super().__iter__()


class Shelf:
    """A spool of three messages that can only be listed."""

    async def entries(self, states, limit, *, skip=0):
        rows = Seen((replace(Recipient(X, State.QUEUED, 0, NOW), said="sp\u00e4ter"),))
        return [StoredEntry(replace(ENTRY, queue_id=f"q{number}"), rows) for number in range(3)]


class Looked:
    desk = Desk(Shelf(), lambda: NOW, frozenset, lambda _: None)


async def test_the_list_is_made_beside_the_loop():
    """Views are made in another thread, and what is written is the JSON of what the desk says."""
    request = Request({"type": "http", "query_string": b"", "headers": []})
    answer = await _queue(Looked())(request)
    assert Seen.threads and threading.get_ident() not in Seen.threads
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == await Looked.desk.queue(None)
    assert [one["id"] for one in json.loads(answer.body)["messages"]] == ["q0", "q1", "q2"]
    assert "sp\u00e4ter".encode() in answer.body
