"""A stored message as it goes to one upstream: repaired, traced, rewritten; never stored.  RFC 6409 s8.  Pure."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from relay.mail.address import Address
from relay.mail.device import Device, device_of
from relay.mail.device_fields import with_device
from relay.mail.outgoing import Blocks, Outgoing, unmarked, untold
from relay.mail.policy import RepairPolicy
from relay.mail.recode import seven_bit
from relay.mail.repair import RepairContext, repair, sealed_names
from relay.mail.rewrite import rewrite
from relay.spool.contract import ContentDamaged
from relay.spool.entry import Claim, Entry, Recipient
from relay.upstream.report import Report
from relay.upstream.settings import Upstream


@dataclass(frozen=True, slots=True)
class Prepared:
    """What to send, and what was changed for it, in plain words; `said` is its reverse-path and its header section.

    `signed` tells of signatures that were made for it.  `refused`: it cannot be sent there as it must be.
    """

    outgoing: Outgoing
    notes: tuple[str, ...] = ()
    said: tuple[Address | None, bytes] = (None, b"")
    signed: tuple[str, ...] = ()
    refused: Report | None = None


class _Stored:
    """The content of an entry.  While it is `sent`, each reading ends in ContentDamaged unless it was what was accepted.

    The final dot is sent after the last octet only, so the upstream never accepts damaged content.
    """

    def __init__(self, entry: Entry) -> None:
        self._entry, self.sent = entry, False

    def __iter__(self) -> Iterator[bytes]:
        return self._compared() if self.sent and self._entry.digest else iter(self._entry.content)

    def _compared(self) -> Iterator[bytes]:
        seen = hashlib.sha256()
        for block in self._entry.content:
            seen.update(block)
            yield block
        if seen.hexdigest() != self._entry.digest:
            raise ContentDamaged("the stored content is damaged: its SHA-256 is not that of what was accepted")


class _SevenBit:
    """The same message in 7-bit transfer encodings, recoded at each reading."""

    def __init__(self, message: Iterable[bytes]) -> None:
        self._message = message

    def __iter__(self) -> Iterator[bytes]:
        return iter(seven_bit(self._message))


def device_for(entry: Entry, devices: Iterable[Device]) -> Device | None:
    """Whose mail it is by today's configuration; a notice of our own is no device's, wherever it seems to come from."""
    return None if entry.notice else device_of(devices, entry.origin)


def prepare(
    claim: Claim,
    recipients: Sequence[Recipient],
    upstream: Upstream,
    *,
    hostname: str,
    policy: RepairPolicy,
    own_name: bool = False,
    eight_bit: bool = True,
    device: Device | None = None,
    at_dot: Callable[[], None] = untold,
    reading: Callable[[Blocks], Blocks] = unmarked,
) -> Prepared:
    """The same message every time it is asked for: dates and ids come from acceptance, not from now.

    Reads the content block by block, never keeps it; the cost grows with the size.  `own_name`: the upstream
    refused the sender, so the message goes in the account's own name.  `eight_bit`: it has 8BITMIME, as far as is known;
    else what is 8-bit is recoded while it is sent.  `device` is whose mail it is, if it is known.
    `at_dot` and `reading` are handed on.
    """
    entry = claim.entry
    about = RepairContext(
        queue_id=entry.queue_id,
        accepted_at=entry.accepted_at,
        hostname=hostname,
        origin=entry.origin,
        envelope=entry.envelope,
        repeated_id=claim.repeated_id,
    )
    content = _Stored(entry)
    repaired = repair(content, about, policy)
    # without `utf8`: an 8-bit sender goes in the account's name, which every upstream takes, with SMTPUTF8 or without
    own = device.sender if device else None
    path, identity = entry.envelope.reverse_path, upstream.identity
    rewritten = rewrite(repaired.message, path, identity, own_name=own_name, device_sender=own)
    message, sender, notes = rewritten.message, rewritten.reverse_path, (*repaired.notes, *rewritten.notes)
    if device:
        from_stays = message.get("from") == repaired.message.get("from")
        message, said = with_device(message, device, sealed_names(message.fields), from_stays=from_stays)
        notes = (*notes, *said)
    forward_paths = tuple(recipient.address for recipient in recipients)
    head = message.head
    is_eight_bit = repaired.eight_bit or not head.isascii()
    recoded = is_eight_bit and not eight_bit
    outgoing = Outgoing(
        queue_id=entry.queue_id,
        reverse_path=sender,
        forward_paths=forward_paths,
        content=_SevenBit(message) if recoded else message,
        size=repaired.size - len(repaired.message.head) + len(head),  # rewriting keeps the body: no need to read it again
        eight_bit=is_eight_bit and eight_bit,
        seven_bit=recoded,
        utf8=not head.isascii() or bool(sender and not sender.local.isascii()),
        origin=entry.origin,
        device=device.name if device else entry.origin.user or entry.origin.client,
        accepted_at=entry.accepted_at,
        at_dot=at_dot,
        reading=reading,
    )
    content.sent = True
    return Prepared(outgoing, notes, (sender, head))
