"""What a settlement made certain, told to log and counters: each fate once."""

from relay import events
from relay.spool.entry import Claim, Recipient, Settlement, State


def settled(claim: Claim, settlement: Settlement) -> None:
    """Notes every fate in a stored settlement with its queue id."""
    before = {recipient.address: recipient for recipient in claim.recipients}
    for line in settlement.trail:
        if line.event == "repaired":
            events.note("repaired", line.text, queue_id=claim.entry.queue_id, upstream=str(line.details.get("upstream", "")))
        elif line.details.get("own_name") and line.event == "tried" and "code" not in line.details:
            events.note("warned", line.text, queue_id=claim.entry.queue_id, upstream=str(line.details.get("upstream", "")))
        elif line.event == "relayed":
            events.took("relaying", (line.at - claim.entry.accepted_at).total_seconds())
    for recipient in settlement.outcomes:
        _fate(claim, recipient, before[recipient.address])
    if settlement.warned:
        events.note("warned", "the sender is told that this message is late", queue_id=claim.entry.queue_id)


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
    if event == "deferred":
        fields["due_at"] = recipient.due_at.isoformat()
    events.note(event, upstream=recipient.upstream, **fields)
