"""Writes what a settlement made certain to the log and the counters: each step of the trail and each fate once."""

from typing import Any

from relay import events
from relay.outbound.trail import words
from relay.spool.entry import Claim, Recipient, Settlement, State, TrailLine

_TOLD = frozenset({"repaired", "routed", "tried", "advised"})


def settled(claim: Claim, settlement: Settlement) -> None:
    """Notes what was done and said, in the order of the trail, then every fate, with the queue id."""
    before = {recipient.address: recipient for recipient in claim.recipients}
    for line in settlement.trail:
        _step(claim, line)
        if line.event == "relayed":
            events.took("relaying", (line.at - claim.entry.accepted_at).total_seconds())
    for recipient in settlement.outcomes:
        _fate(claim, recipient, before[recipient.address])
    if settlement.warned:
        events.note("warned", "a notice says that this message is late", queue_id=claim.entry.queue_id)
    if settlement.attention:
        text = f"a notice could not be delivered, and nobody else can be told: `relay queue show {claim.entry.queue_id}`"
        events.note("warned", text, queue_id=claim.entry.queue_id)


def _step(claim: Claim, line: TrailLine) -> None:
    """Logs one step with its details: rule, upstream, peer, TLS, mechanism, stage, text, advice."""
    details: dict[str, Any] = dict(line.details)
    event, upstream = line.event, str(details.pop("upstream", ""))
    if event == "relayed" and "code" in details:
        event = "tried"  # who took it and how; the fate of each recipient follows
    elif event == "tried" and "code" not in details:
        event = "warned"  # the sender was refused: a person should know that the account's own name goes there now
    elif event not in _TOLD and (event != "warned" or "maybe_at" not in details):
        return  # what becomes of them is told for each recipient, a delay by the settlement
    events.note(event, words(line), upstream=upstream, queue_id=claim.entry.queue_id, **details)


def _fate(claim: Claim, recipient: Recipient, before: Recipient) -> None:
    if recipient.state is State.QUEUED and recipient.attempts == before.attempts:
        return  # nobody was called; that the upstream rests was told when it went to rest
    event = "deferred" if recipient.state is State.QUEUED else recipient.state.value
    fields: dict[str, str | int] = {
        "queue_id": claim.entry.queue_id,
        "recipient": str(recipient.address),
        "attempts": recipient.attempts,
        "stage": recipient.stage,
        "code": recipient.code,
        "status": recipient.status,
        "said": recipient.said,
    }
    if recipient.maybe_at:
        fields["maybe_at"] = recipient.maybe_at
    if event == "deferred":
        fields["due_at"] = recipient.due_at.isoformat()
    events.note(event, upstream=recipient.upstream, **fields)
