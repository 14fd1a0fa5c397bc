"""A long list is made and written beside the event loop, piece by piece."""

import json
import threading
from datetime import UTC, datetime
from typing import ClassVar

from starlette.requests import Request

from relay.control import queue_admin as desks
from relay.control.api import _queue
from relay.control.queue_admin import QueueAdmin
from relay.control.views import list_view, message_view
from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool.entry import Entry, QueueLine, Recipient, State, StoredEntry

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def line(number: int, *, sender: tuple[str, str] | tuple[None, None] = ("n s", "y.example"), seq: int = 0) -> QueueLine:
    head = (number, f"q{number}", NOW, "192.168.0.7", *sender, 10, sender[0] is None)
    return QueueLine(*head, f"x{seq}", "y.example", "queued", 1, NOW, "isp", "mail", 451, "4.3.0", "sp\u00e4ter", "")


class Seen(list):
    """Lines that tell in which thread they are looked at."""

    threads: ClassVar[set[int]] = set()

    def __iter__(self):
        self.threads.add(threading.get_ident())
        return super().__iter__()


class Shelf:
    """A spool of five messages that can only be listed."""

    async def listed(self, states, limit, *, search, after=None, skip=0):
        behind = (after.message + 1 if after else 0) + skip

        return Seen(line(number) for number in range(behind, min(behind + limit, 5)))


class Looked:
    desk = QueueAdmin(Shelf(), lambda: NOW, frozenset, lambda _: None)


async def answered(words: bytes = b"") -> bytes:
    answer = await _queue(Looked())(Request({"type": "http", "query_string": words, "headers": []}))
    assert answer.headers["content-type"] == "application/json"
    return b"".join([piece async for piece in answer.body_iterator])


async def test_the_list_is_made_beside_the_loop(monkeypatch):
    """Views are made in another thread, and the pieces together are the JSON of what the desk says."""
    monkeypatch.setattr(desks, "PAGE", 2)
    body = await answered()
    assert Seen.threads and threading.get_ident() not in Seen.threads
    assert json.loads(body) == await Looked.desk.queue(None)
    assert [one["id"] for one in json.loads(body)["messages"]] == ["q0", "q1", "q2", "q3", "q4"]
    assert "sp\u00e4ter".encode() in body


async def test_a_list_begins_and_ends_where_it_is_told_to(monkeypatch):
    """`limit` and `skip` hold across the pieces; an empty list is a whole document too."""
    monkeypatch.setattr(desks, "PAGE", 2)
    for words, ids in ((b"limit=3&skip=1", ["q1", "q2", "q3"]), (b"limit=0", []), (b"skip=9", []), (b"skip=4", ["q4"])):
        assert [one["id"] for one in json.loads(await answered(words))["messages"]] == ids, words


def test_a_line_of_the_list_shows_what_the_message_shows():
    """The quick way and `queue show` tell the same of a message, and several recipients are one message's."""
    for sender, address in (((None, None), None), (("n s", "y.example"), Address("n s", "y.example"))):
        people = (Address("x0", "y.example"), Address("x1", "y.example"))
        rows = tuple(Recipient(who, State.QUEUED, 1, NOW, "isp", "mail", 451, "4.3.0", "sp\u00e4ter") for who in people)
        entry = Entry("q7", NOW, Origin("192.168.0.7"), Envelope(address, people), 10, [], notice=address is None)
        lines = [line(7, sender=sender), line(7, sender=sender, seq=1)]
        assert list_view(lines) == [message_view(StoredEntry(entry, rows))]
