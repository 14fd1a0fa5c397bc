"""What people and programs see of the spool: stored values as JSON with stable keys.  Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from relay.mail.charset import decode, fits, vote
from relay.mail.words import decode_words
from relay.spool.entry import Recipient, StoredEntry, Tally, TrailLine

CHARSETS = ("utf-8", "cp932", "euc-jp", "latin-1")
SUBJECT_CUT = 390  # octets; what is longer may have been cut at acceptance


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds: `2026-11-22T10:20:30Z`."""
    return moment.isoformat()[:19] + "Z"  # strftime takes twice as long, and a list has twenty thousand of them


def sound(value: Any) -> Any:
    """The same, in text that can be written as UTF-8: a device may name itself by octets that never were any."""
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {key: sound(one) for key, one in value.items()}
        case list() | tuple():
            return [sound(one) for one in value]
    return value


def recipient_view(recipient: Recipient) -> dict[str, Any]:
    return {
        "address": str(recipient.address),
        "state": recipient.state.value,
        "attempts": recipient.attempts,
        "due_at": stamp(recipient.due_at),
        "upstream": recipient.upstream,
        "stage": recipient.stage,
        "code": recipient.code,
        "status": recipient.status,
        "said": recipient.said,
        "via": recipient.via,
    }


def message_view(stored: StoredEntry) -> Any:
    """One line of `queue list`: who sends what to whom, and how far it has come."""
    entry = stored.entry
    view = {
        "id": entry.queue_id,
        "sender": str(entry.envelope.reverse_path or "<>"),
        "size": entry.size,
        "accepted_at": stamp(entry.accepted_at),
        "client": entry.origin.client,
        "notice": entry.notice,
        "recipients": [recipient_view(recipient) for recipient in stored.recipients],
    }
    return sound(view)


def trail_view(line: TrailLine) -> dict[str, Any]:
    details = dict(line.details)
    if "subject" in details:
        details["subject"] = subject_text(str(details["subject"]))
    return {"at": stamp(line.at), "event": line.event, "text": line.text, **details}


def subject_text(subject: str) -> str:
    """A Subject as people read it, in one line: raw octets (lone surrogates) and encoded-words are decoded."""
    octets = subject.encode("utf-8", "surrogateescape")
    while octets and octets[-1] > 0x7F and len(octets) > SUBJECT_CUT and not fits(octets, "utf-8"):
        octets = octets[:-1]  # it was cut in the middle of a character
    text = decode_words(decode(octets, vote([octets], CHARSETS)))
    return "".join(char if char.isprintable() else " " for char in text).strip()


def subject_of(trail: Sequence[TrailLine]) -> str:
    return next((subject_text(str(line.details["subject"])) for line in trail if "subject" in line.details), "")


def story_view(stored: StoredEntry) -> Any:
    """`queue show`: the message with its trail, in order."""
    origin = stored.entry.origin
    story = {
        **message_view(stored),
        "subject": subject_of(stored.trail),
        "origin": {
            "client": origin.client,
            "helo": origin.helo,
            "listener": origin.listener,
            "protocol": origin.protocol,
            "tls": origin.tls,
            "user": origin.user,
            "quirks": list(origin.quirks),
        },
        "message_id": stored.entry.message_id,
        "trail": [trail_view(line) for line in stored.trail],
    }
    return sound(story)


def tally_view(tally: Tally) -> dict[str, Any]:
    return {
        "recipients": {state.value: count for state, count in tally.states.items()},
        "unfinished": tally.unfinished,
        "oldest": stamp(tally.oldest) if tally.oldest else None,
        "room": tally.room,
        "size": tally.size,
    }


def history_view(hour: datetime, counted: Mapping[tuple[datetime, str], int]) -> dict[str, Any]:
    """One hour; what was given up counts as failed."""
    failed = counted.get((hour, "failed"), 0) + counted.get((hour, "expired"), 0)
    relayed, deferred = counted.get((hour, "relayed"), 0), counted.get((hour, "deferred"), 0)
    return {"at": stamp(hour), "relayed": relayed, "deferred": deferred, "failed": failed}
