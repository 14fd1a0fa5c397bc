"""What a notice says about failures and delays, out of what the spool knows.  Pure."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from relay.mail.address import Address
from relay.mail.dsn import Notice, NotifiedMessage, RecipientStatus
from relay.mail.envelope import Envelope, Origin
from relay.mail.message import Field, Message
from relay.mail.reply import Answer, Reply, Stage
from relay.networks import without_port
from relay.outbound.replies import Advice
from relay.outbound.webhook import body_of
from relay.spool.entry import Detail, Entry, NoticeKind, PendingNotice, Recipient, State, StoredEntry, TrailLine

_STAGES = frozenset(stage.value for stage in Stage)

Advise = Callable[[Answer, str], Advice]
"""The advice on an answer of the upstream of that name."""


@dataclass(frozen=True, slots=True)
class NoticePolicy:
    """`to` is the person in charge (None: nobody), `webhook` a URL that gets a JSON POST ("" if none);
    failures that follow the first within `digest` are told together.  `senders`: who sent the mail is told, if possible.
    `via`: upstreams that notices to `to` go by first."""

    to: Address | None = None
    webhook: str = field(default="", repr=False)  # may have a password or a secret topic in it
    digest: timedelta = timedelta(minutes=15)
    senders: bool = True
    via: tuple[str, ...] = ()

    @property
    def chains(self) -> dict[Address, tuple[str, ...]]:
        """Which upstreams come first for notices to whom."""
        return {self.to: self.via} if self.to and self.via else {}


def notified_message(
    about: Sequence[PendingNotice],
    stored: StoredEntry | None,
    fields: tuple[Field, ...],
    advise: Advise,
    give_up_after: timedelta | None,
) -> NotifiedMessage:
    """The part of a notice about one message.  `stored` None: an operator removed it meanwhile."""
    said = tuple(recipient_status(pending, stored, advise, give_up_after) for pending in about)
    if stored is None:
        return NotifiedMessage(about[0].queue_id, about[0].made_at, None, said)
    told_of = next((line.details["about"] for line in stored.trail if "about" in line.details), None)
    ids = tuple(told_of) if isinstance(told_of, list) else ()
    entry, sender = stored.entry, stored.entry.envelope.reverse_path
    return NotifiedMessage(entry.queue_id, entry.accepted_at, sender, said, entry.origin.client, fields, ids, entry.merges)


def recipient_status(
    pending: PendingNotice, stored: StoredEntry | None, advise: Advise, give_up_after: timedelta | None
) -> RecipientStatus:
    """The part of a notice about one recipient, with advice on the last answer."""
    recipient = pending.recipient
    failed = pending.kind is NoticeKind.FAILED
    remote = host_of(recipient.peer) or _last_host(pending, stored)
    answer = answer_of(recipient)
    advice = None if answer is None else advise(answer, recipient.upstream)
    until = stored.entry.accepted_at + give_up_after if stored and give_up_after and not failed else None
    return RecipientStatus(
        recipient=recipient.address,
        failed=failed,
        expired=recipient.state is State.EXPIRED,
        code=recipient.code,
        status=recipient.status,
        said=recipient.said,
        upstream=recipient.upstream,
        quoted=recipient.quoted,
        maybe_at=recipient.maybe_at,
        remote=remote,
        attempts=recipient.attempts,
        tried_at=pending.made_at if recipient.attempts else None,
        retry_until=until,
        cause="" if advice is None else advice.cause if failed else f"{advice.cause} {advice.done}",
        remedy="" if advice is None else advice.remedy,
    )


def answer_of(recipient: Recipient) -> Answer | None:
    """The last answer that the recipient got; None if there was none."""
    if not recipient.code or recipient.stage not in _STAGES:
        return None
    reply = Reply(recipient.code, recipient.status, recipient.said)
    return Answer(Stage(recipient.stage), reply, recipient.lost, recipient.fault)


def host_of(peer: str) -> str:
    """`address:port` as a DSN has it: `[address]`."""
    host = without_port(peer)
    return f"[{'IPv6:' if ':' in host else ''}{host}]" if host else ""


def _last_host(pending: PendingNotice, stored: StoredEntry | None) -> str:
    """The same from the trail, for a failure that an older version stored."""
    upstream, address = pending.recipient.upstream, str(pending.recipient.address)
    for line in reversed(stored.trail if stored else ()):
        details = line.details
        to = details.get("to", [])
        known = upstream and details.get("upstream") == upstream and "peer" in details
        if known and isinstance(to, list) and address in to:
            return host_of(str(details.get("peer") or ""))
    return ""


def fields_of(stored: StoredEntry) -> tuple[Field, ...]:
    """The header of a stored message, read from the spool; none if its content is gone."""
    try:
        return Message.parse(stored.entry.content).fields
    except Exception:  # whatever the spool raises: a notice without the header is better than none
        return ()


def entry_of(notice: Notice, queue_id: str, whom: Address, hostname: str, now: datetime) -> Entry:
    """A notice as an ordinary message in the queue; its null reverse-path keeps it from being answered by another."""
    return Entry(
        queue_id=queue_id,
        accepted_at=now,
        origin=Origin(client="127.0.0.1", helo=hostname, protocol="SMTP"),
        envelope=Envelope(None, (whom,)),
        size=len(notice.content),
        content=(notice.content,),
        message_id=notice.message_id,
        digest=hashlib.sha256(notice.content).hexdigest(),
        notice=True,
    )


def accepted(notice: Notice, whom: Address, now: datetime, about: Sequence[str] = ()) -> TrailLine:
    """The first line in a notice's own trail; `about` are the queue ids of the messages that it tells of."""
    details: dict[str, Detail] = {"size": len(notice.content), "subject": notice.subject, "about": list(about)}
    return TrailLine(now, "accepted", f"a notice of our own to {whom}: {notice.subject}", details)


def push_body(messages: Sequence[NotifiedMessage], notice: Notice, hostname: str) -> dict[str, Any]:
    """A notice as a push: the same text, and the failures one by one for programs."""
    failures = [
        {
            "queue_id": message.queue_id,
            "sender": str(message.sender or "<>"),
            "recipient": str(told.recipient),
            "subject": message.subject,
            "upstream": told.upstream,
            "code": told.code,
            "status": told.status,
            "said": told.said,
            "cause": told.cause,
            "remedy": told.remedy,
        }
        for message in messages
        for told in message.told
    ]
    event = "failed" if any(told.failed for message in messages for told in message.told) else "delayed"
    return body_of(notice.subject, notice.text, event=event, host=hostname, failures=failures)
