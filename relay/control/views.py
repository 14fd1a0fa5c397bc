"""What people and programs see of the spool: stored values as JSON with stable keys.  Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

from relay.mail.address import Address
from relay.mail.encoded_words import kept_subject
from relay.outbound.trail import words
from relay.spool.entry import Peer, QueueLine, Recipient, StoredEntry, Tally, TrailLine


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
        "lost": recipient.lost,
        "fault": recipient.fault.value if recipient.fault else "",
        "peer": recipient.peer,
        "maybe_at": recipient.maybe_at,
        "maybe_since": stamp(recipient.maybe_since) if recipient.maybe_since else None,
        "merged_into": recipient.merged_into,
        "quoted": recipient.quoted,
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
        "device": _detail(stored.trail, "device"),
        "helo": entry.origin.helo,
        "notice": entry.notice,
        "merges": entry.merges,
        "subject": subject_of(stored.trail),
        "attention": stored.attention,
        **_under_way(stored.relay),
        **({"together": stored.together} if stored.together else {}),
        "recipients": [recipient_view(recipient) for recipient in stored.recipients],
    }
    return sound(view)


def list_view(lines: Iterable[QueueLine]) -> list[dict[str, Any]]:
    """The same as `message_view` for each message of a list, whose lines stand together."""
    found: list[dict[str, Any]] = []
    message = None
    for line in lines:
        if line.message != message:
            message = line.message
            recipients: list[dict[str, Any]] = []
            found.append(
                {
                    "id": line.queue_id,
                    "sender": "<>" if line.sender_local is None else _written(line.sender_local, line.sender_domain or ""),
                    "size": line.size,
                    "accepted_at": stamp(line.accepted_at),
                    "client": line.client,
                    "device": line.device,
                    "helo": sound(line.helo),
                    "notice": bool(line.notice),
                    "merges": line.merges,
                    "subject": subject_text(line.subject) if line.subject else "",
                    "attention": bool(line.attention),
                    **_under_way(line.relay),
                    "recipients": recipients,
                }
            )
        recipients.append(
            {
                "address": _written(line.local, line.domain),
                "state": line.state,
                "attempts": line.attempts,
                "due_at": stamp(line.due_at),
                "upstream": line.upstream,
                "stage": line.stage,
                "code": line.code,
                "status": line.status,
                "said": line.said,
                "via": line.via,
                "lost": bool(line.lost),
                "fault": line.fault,
                "peer": line.peer,
                "maybe_at": line.maybe_at,
                "maybe_since": stamp(line.maybe_since) if line.maybe_since else None,
                "merged_into": line.merged_into,
                "quoted": bool(line.code) and not line.lost and not line.fault,
            }
        )
    return found


def _under_way(relay: str) -> dict[str, str]:
    """Which relay has it under way, where several share the spool."""
    return {"relay": relay} if relay else {}


@lru_cache(maxsize=1024)
def _written(local: str, domain: str) -> str:
    """The few addresses that most of a list is about are written once."""
    return str(Address(local, domain))


def trail_view(line: TrailLine) -> dict[str, Any]:
    details = dict(line.details)
    if "subject" in details:
        details["subject"] = subject_text(str(details["subject"]))
    return {"at": stamp(line.at), "event": line.event, "text": words(line), **details}


def retold(line: Mapping[str, Any], zone: tzinfo | None) -> str:
    """The text of a line as `trail_view` gives it, with the times of this zone; None is that of this machine."""
    told = str(line["text"])
    times = {name: line[name] for name in ("due_at", "since") if line.get(name)}
    if not times:
        return told
    again = TrailLine(datetime.fromisoformat(line["at"]), line["event"], details=line)
    if sound(words(again)) != told:  # an older relay's own text
        return told
    there = {name: datetime.fromisoformat(at).astimezone(zone).isoformat() for name, at in times.items()}
    return str(sound(words(replace(again, details={**line, **there}))))


def subject_text(subject: str) -> str:
    """A Subject as people read it, in one line: raw octets (lone surrogates) and encoded-words are decoded."""
    return "".join(char if char.isprintable() else " " for char in kept_subject(subject)).strip()


def subject_of(trail: Sequence[TrailLine]) -> str:
    return subject_text(_detail(trail, "subject"))


def _detail(trail: Sequence[TrailLine], name: str) -> str:
    return next((str(line.details[name]) for line in trail if name in line.details), "")


def story_view(stored: StoredEntry) -> Any:
    """`queue show`: the message with its trail, in order."""
    origin = stored.entry.origin
    story = {
        **message_view(stored),
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
        **({"postponed": tally.postponed} if tally.postponed else {}),
        **({"attention": tally.attention} if tally.attention else {}),
        **({"relays": [_peer(one) for one in tally.peers]} if tally.peers else {}),
    }


def _peer(one: Peer) -> dict[str, Any]:
    return {"name": one.name, "seen_at": stamp(one.seen_at), "alive": one.alive, "holds": one.holds}


def history_view(hour: datetime, counted: Mapping[tuple[datetime, str], int]) -> dict[str, Any]:
    """One hour; what was given up counts as failed."""
    failed = counted.get((hour, "failed"), 0) + counted.get((hour, "expired"), 0)
    relayed, deferred = counted.get((hour, "relayed"), 0), counted.get((hour, "deferred"), 0)
    return {"at": stamp(hour), "relayed": relayed, "deferred": deferred, "failed": failed}
