"""What people and programs see of the spool: stored values as JSON with stable keys.  Pure."""

from datetime import datetime
from typing import Any

from relay.spool.entry import Recipient, StoredEntry, Tally, TrailLine


def stamp(moment: datetime) -> str:
    """RFC 3339, UTC, whole seconds: `2026-11-22T10:20:30Z`."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


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


def message_view(stored: StoredEntry) -> dict[str, Any]:
    """One line of `queue list`: who sends what to whom, and how far it has come."""
    entry = stored.entry
    return {
        "id": entry.queue_id,
        "sender": str(entry.envelope.reverse_path or "<>"),
        "size": entry.size,
        "accepted_at": stamp(entry.accepted_at),
        "client": entry.origin.client,
        "notice": entry.notice,
        "recipients": [recipient_view(recipient) for recipient in stored.recipients],
    }


def trail_view(line: TrailLine) -> dict[str, Any]:
    return {"at": stamp(line.at), "event": line.event, "text": line.text, **line.details}


def story_view(stored: StoredEntry) -> dict[str, Any]:
    """`queue show`: the message with its trail, in order."""
    origin = stored.entry.origin
    return {
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


def tally_view(tally: Tally) -> dict[str, Any]:
    return {
        "recipients": {state.value: count for state, count in tally.states.items()},
        "unfinished": tally.unfinished,
        "oldest": stamp(tally.oldest) if tally.oldest else None,
        "room": tally.room,
        "size": tally.size,
    }
