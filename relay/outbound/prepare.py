"""A stored message as it goes to one upstream: repaired, traced, rewritten; never stored.  RFC 6409 s8.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.mail.address import Address
from relay.mail.outgoing import Outgoing
from relay.mail.policy import RepairPolicy
from relay.mail.repair import Circumstances, repair
from relay.mail.rewrite import rewrite
from relay.spool.entry import Claim, Recipient
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class Prepared:
    """What to send, and what was changed for it, in plain words; `said` is in whose name: reverse-path and header."""

    outgoing: Outgoing
    notes: tuple[str, ...] = ()
    said: tuple[Address | None, bytes] = (None, b"")


def prepare(
    claim: Claim,
    recipients: Sequence[Recipient],
    upstream: Upstream,
    *,
    hostname: str,
    policy: RepairPolicy,
    own_name: bool = False,
) -> Prepared:
    """The same message every time it is asked for: dates and ids come from acceptance, not from now.

    Reads the content block by block, never keeps it; the cost grows with the size.  `own_name`: the upstream
    refused the sender, so the message goes in the account's own name.
    """
    entry = claim.entry
    about = Circumstances(
        queue_id=entry.queue_id,
        accepted_at=entry.accepted_at,
        hostname=hostname,
        origin=entry.origin,
        envelope=entry.envelope,
        repeated_id=claim.repeated_id,
    )
    repaired = repair(entry.content, about, policy)
    # without `utf8`: an 8-bit sender goes in the account's name, which every upstream takes, with SMTPUTF8 or without
    rewritten = rewrite(repaired.message, entry.envelope.reverse_path, upstream.identity, own_name=own_name)
    message, sender = rewritten.message, rewritten.reverse_path
    forward_paths = tuple(recipient.address for recipient in recipients)
    head = message.head
    outgoing = Outgoing(
        queue_id=entry.queue_id,
        reverse_path=sender,
        forward_paths=forward_paths,
        content=message,
        size=repaired.size - len(repaired.message.head) + len(head),  # rewriting keeps the body: no need to read it again
        eight_bit=repaired.eight_bit or not head.isascii(),
        utf8=not head.isascii() or bool(sender and not sender.local.isascii()),
    )
    return Prepared(outgoing, (*repaired.notes, *rewritten.notes), (sender, head))
