"""Entries and settlements for tests of the spool, and the spools they are tried on."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.spool.entry import Entry, NoticeKind, PendingNotice, Recipient, Settlement, State

URLS = os.environ.get("SPOOL_URLS", "sqlite:{tmp}/spool.db,postgresql:").split(",")
"""Where the contract is tried; `{tmp}` becomes a fresh directory, `postgresql:` a database of the tests' own server."""

_IN_MEMORY = "/dev/shm"


def quick_directory() -> "tempfile.TemporaryDirectory[str]":
    """For tests that sync a thousand times and ask what is stored, not whether it is safe: in memory, where there is room."""
    room = os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > 50_000_000
    return tempfile.TemporaryDirectory(dir=_IN_MEMORY if room else None)


def an_entry(
    queue_id: str,
    now: datetime,
    *,
    content: bytes | Iterable[bytes] = b"Subject: hi\r\n\r\nhello\r\n",
    to: Iterable[str] = ("me@example.jp",),
    client: str = "192.168.0.9",
    message_id: str = "",
    notice: bool = False,
    size: int | None = None,
) -> Entry:
    """An entry from a NAS, with its digest."""
    pieces = (content,) if isinstance(content, bytes) else content
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return Entry(
        queue_id=queue_id,
        accepted_at=now,
        origin=Origin(client, "nas", "0.0.0.0:25", quirks=("bare LF in commands",)),
        envelope=Envelope(Address("nas", "lan.local"), tuple(_address(one) for one in to), "8BITMIME", True),
        size=sum(map(len, pieces)) if size is None else size,
        content=pieces,
        message_id=message_id,
        digest=digest.hexdigest(),
        notice=notice,
    )


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    return Address(local, domain)


def after(recipient: Recipient, state: State, *, due_at: datetime | None = None, said: str = "so be it") -> Recipient:
    """The recipient after one more attempt."""
    return replace(
        recipient,
        state=state,
        attempts=recipient.attempts + 1,
        due_at=due_at or recipient.due_at,
        upstream="isp",
        stage="content",
        code=250,
        status="2.0.0",
        said=said,
    )


def settled(recipients: Iterable[Recipient], state: State, **how: object) -> Settlement:
    return Settlement(outcomes=tuple(after(one, state, **how) for one in recipients))  # type: ignore[arg-type]


def a_notice(queue_id: str, recipient: Recipient, now: datetime, kind: NoticeKind = NoticeKind.FAILED) -> PendingNotice:
    return PendingNotice(queue_id, kind, Address("boss", "example.jp"), recipient, now)


HOUR = timedelta(hours=1)
