"""Values to the columns of a row and back, and content to rows of 64 KiB.  Pure."""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from relay.mail.address import Address
from relay.mail.envelope import Envelope, Origin
from relay.mail.reply import POSTPONED as FAULTS
from relay.mail.reply import Fault
from relay.spool.entry import (
    ORDERED,
    Content,
    Entry,
    Heard,
    NoticeKind,
    PendingNotice,
    Postponed,
    QueueLine,
    Recipient,
    State,
    TrailLine,
)

BLOCK = 65_536
"""Octets in one content row."""

PACKED_UP_TO = 16_384
"""Octets up to which a block is deflated: longer ones are mostly pictures, and not worth the time."""

_WORTH_IT = 256  # octets that must be saved
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

MESSAGE_COLUMNS = (
    "id, queue_id, accepted_at, origin, reverse_local, reverse_domain, body, utf8, size, message_id, digest, notice,"
    " repeated, warned, settled, merges, storm"
)
RECIPIENT_COLUMNS = (
    "local, domain, state, attempts, due_at, upstream, stage, code, status, said, via, lost, fault, peer, maybe_at,"
    " maybe_since, merged_into"
)
LISTED = "id, queue_id, accepted_at, client, reverse_local, reverse_domain, size, notice"
FIRST_LINE = "(SELECT said FROM trail WHERE trail.message = chosen.id ORDER BY number LIMIT 1)"
"""The first trail line of each chosen message: it has the subject."""

TOGETHER = (
    "CASE WHEN storm > '-' THEN (SELECT count(*) FROM message AS other WHERE other.storm > '-' AND other.storm = message.storm"
    " AND other.due_at IS NOT NULL) ELSE 0 END"
)
"""How many messages wait for the digest that this one waits for."""
POSTPONED = f"fault IN ({', '.join(repr(one.value) for one in FAULTS)})"
WAITING_ON_PURPOSE = (
    "SELECT origin, storm, fault, count(DISTINCT message.id), min(recipient.due_at), min(queue_id) FROM {together}"  # noqa: S608
    f" WHERE message.due_at IS NOT NULL AND storm <> '{ORDERED}' AND state = 'queued' AND {POSTPONED} AND client {{those}}"
    " GROUP BY origin, storm, fault"
)
"""What a person did not order to go, of clients that `those` says; `together` joins each message with its recipients."""

ADDED = {"lost": 0, "fault": "", "peer": "", "maybe_at": "", "maybe_since": None, "merged_into": ""}
"""The columns of a recipient that older versions do not have."""
MESSAGE_ADDED = {"merges": 0, "storm": ""}
"""Those of a message."""


def micros(moment: datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def plain(text: str) -> str:
    """Text that can be stored: octets that were never UTF-8 (lone surrogates) become `\\udc8f`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row with all its texts as they can be stored; almost always they can."""
    if "".join(map(str, row.values())).isascii():
        return row
    return {name: plain(value) if isinstance(value, str) else value for name, value in row.items()}


def blocks(content: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets in blocks of 64 KiB; the last one is what is left, none is empty."""
    held: list[bytes] = []
    size = 0
    for piece in content:
        held.append(piece)
        size += len(piece)
        if size < BLOCK:
            continue
        joined = b"".join(held)
        end = size - size % BLOCK
        held = [joined[end:]]
        size -= end
        for place in range(0, end, BLOCK):
            yield joined[place : place + BLOCK]
    if size:
        yield b"".join(held)


def packed(block: bytes) -> tuple[bytes, int]:
    """A block as it is stored, and whether it is deflated (RFC 1950): fewer octets are written sooner."""
    if len(block) <= PACKED_UP_TO:
        deflated = zlib.compress(block, 1)
        if len(deflated) + _WORTH_IT <= len(block):
            return deflated, 1
    return block, 0


def unpacked(data: bytes, deflated: int) -> bytes:
    """The block again.  Raises ValueError if it is damaged."""
    if not deflated:
        return data
    try:
        inflater = zlib.decompressobj()
        block = inflater.decompress(data, PACKED_UP_TO)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not inflater.eof:
        raise ValueError("a deflated block has no end")
    return block


def entry_row(entry: Entry) -> dict[str, Any]:
    """The columns of `message` that are known when an entry is committed."""
    reverse = entry.envelope.reverse_path
    return _plain_row(
        {
            "queue_id": entry.queue_id,
            "accepted_at": micros(entry.accepted_at),
            "client": entry.origin.client,
            "origin": _origin_text(entry.origin),
            "reverse_local": reverse and reverse.local,
            "reverse_domain": reverse and reverse.domain,
            "body": entry.envelope.body,
            "utf8": int(entry.envelope.utf8),
            "size": entry.size,
            "message_id": entry.message_id,
            "digest": entry.digest,
            "notice": int(entry.notice),
            "merges": entry.merges,
            "due_at": micros(entry.accepted_at),
        }
    )


@lru_cache(maxsize=256)
def _origin_text(origin: Origin) -> str:
    return json.dumps(asdict(origin))


@lru_cache(maxsize=1024)
def _origin(text: str) -> Origin:
    """The same few devices send most of what is listed."""
    origin = json.loads(text)
    origin["quirks"] = tuple(origin["quirks"])
    return Origin(**origin)


def row_entry(row: Sequence[Any], forward_paths: tuple[Address, ...], content: Content) -> Entry:
    """The entry of a row of MESSAGE_COLUMNS."""
    return Entry(
        queue_id=row[1],
        accepted_at=moment(row[2]),
        origin=_origin(row[3]),
        envelope=Envelope(
            reverse_path=None if row[4] is None else Address(row[4], row[5]),
            forward_paths=forward_paths,
            body=row[6],
            utf8=bool(row[7]),
        ),
        size=row[8],
        content=content,
        message_id=row[9],
        digest=row[10],
        notice=bool(row[11]),
        merges=row[15],
    )


def as_stored(entry: Entry, recipients: Sequence[Recipient], content: Content) -> Entry | None:
    """The entry as `row_entry` would return it, without reading; None if some text is stored differently from how it came."""
    path = entry.envelope.reverse_path
    addresses = [recipient.address for recipient in recipients]
    texts = (entry.message_id, entry.origin.client, entry.envelope.body, str(path), *map(str, addresses))
    if not "".join(texts).isascii():
        return None
    envelope = entry.envelope
    if envelope.forward_paths != tuple(addresses):
        envelope = replace(envelope, forward_paths=tuple(addresses))
    return replace(entry, envelope=envelope, content=content)


def recipient_row(recipient: Recipient) -> dict[str, Any]:
    """A recipient by column; `key` is what it is found by."""
    address = recipient.address
    return _plain_row(
        {
            "key": address.key,
            "local": address.local,
            "domain": address.domain,
            "state": recipient.state.value,
            "attempts": recipient.attempts,
            "due_at": micros(recipient.due_at),
            "upstream": recipient.upstream,
            "stage": recipient.stage,
            "code": recipient.code,
            "status": recipient.status,
            "said": recipient.said,
            "via": recipient.via,
            "lost": int(recipient.lost),
            "fault": recipient.fault.value if recipient.fault else "",
            "peer": recipient.peer,
            "maybe_at": recipient.maybe_at,
            "maybe_since": recipient.maybe_since and micros(recipient.maybe_since),
            "merged_into": recipient.merged_into,
        }
    )


def row_recipient(row: Sequence[Any]) -> Recipient:
    """The recipient of a row of RECIPIENT_COLUMNS."""
    local, domain, state, attempts, due_at, upstream, stage, code, status, said, via, lost, fault, peer, *rest = row
    maybe_at, since, merged_into = rest
    address, at = Address(local, domain), moment(due_at)
    own = (bool(lost), _fault(fault), peer, maybe_at, None if since is None else moment(since), merged_into)
    return Recipient(address, State(state), attempts, at, upstream, stage, code, status, said, via, *own)


def _fault(value: str) -> Fault | None:
    """None also for one that only a newer version knows."""
    try:
        return Fault(value) if value else None
    except ValueError:
        return None


def row_heard(row: Sequence[Any]) -> Heard:
    """A row of an origin, its messages, and when the last was accepted."""
    return Heard(_origin(row[0]), row[1], moment(row[2]))


def row_postponed(row: Sequence[Any]) -> Postponed:
    """A row of WAITING_ON_PURPOSE."""
    return Postponed(_origin(row[0]), row[1], Fault(row[2]), row[3], moment(row[4]), row[5])


def row_told(row: Sequence[Any]) -> tuple[Origin, TrailLine]:
    """A row of an origin and a trail line."""
    return _origin(row[0]), row_trail(*row[1:])


_ACCEPTED_AT, _DUE_AT, _MAYBE_SINCE = map(QueueLine._fields.index, ("accepted_at", "due_at", "maybe_since"))


def row_line(row: Sequence[Any]) -> QueueLine:
    """A row of a list: what is shown of the message, RECIPIENT_COLUMNS, the relay that has it, its trail's first line."""
    values = [*row[:-1], *first_line(row[-1] or "")]
    for place in (_ACCEPTED_AT, _DUE_AT, _MAYBE_SINCE):
        values[place] = None if row[place] is None else moment(row[place])
    return QueueLine._make(values)


@lru_cache(maxsize=256)
def first_line(said: str) -> tuple[str, str, str]:
    """The Subject, the device's name, and what it calls itself, in the first line of a trail."""
    if '"subject"' not in said:
        return "", "", ""
    details = json.loads(said)[1]
    return str(details.get("subject", "")), str(details.get("device", "")), str(details.get("helo", ""))


def trail_row(line: TrailLine) -> tuple[int, str, str]:
    return micros(line.at), line.event, json.dumps([line.text, dict(line.details)])


_WERE_JOINED = {"to": ", ", "notes": "; ", "quirks": "; "}
"""Details that are lists now, and the separator that older versions joined them by."""
_MORE = re.compile(r" and \d+ more\Z")


def row_trail(at: int, event: str, said: str) -> TrailLine:
    """A line as it is written today; what an older version wrote as one text is split here, and nowhere else."""
    text, details = json.loads(said)
    if text and event in _OF_AN_ATTEMPT:
        for name, mark in _WERE_JOINED.items():
            if isinstance(details.get(name), str):
                details[name] = [one for one in _MORE.sub("", details[name]).split(mark) if one]
        if event == "repaired" and "repairs" not in details:
            details["repairs"] = text.split("; ")
        if event == "routed" and isinstance(details.get("via"), str):
            details["via"] = [one for one in details["via"].split(", ") if one]
    return TrailLine(moment(at), event, text, details)


_OF_AN_ATTEMPT = frozenset({"accepted", "repaired", "routed", "tried", "relayed", "deferred", "failed", "expired", "held"})


def notice_row(notice: PendingNotice) -> dict[str, Any]:
    return {
        "queue_id": notice.queue_id,
        "kind": notice.kind.value,
        "notify_local": plain(notice.notify.local),
        "notify_domain": plain(notice.notify.domain),
        "recipient": json.dumps(recipient_row(notice.recipient)),
        "made_at": micros(notice.made_at),
    }


def row_notice(row: Sequence[Any]) -> PendingNotice:
    """The notice of a row: number, queue_id, kind, notify_local, notify_domain, recipient, made_at."""
    number, queue_id, kind, local, domain, recipient, made_at = row
    columns = {**ADDED, **json.loads(recipient)}
    del columns["key"]
    return PendingNotice(
        queue_id=queue_id,
        kind=NoticeKind(kind),
        notify=Address(local, domain),
        recipient=row_recipient([columns[name] for name in RECIPIENT_COLUMNS.split(", ")]),
        made_at=moment(made_at),
        number=number,
    )
