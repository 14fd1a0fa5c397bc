"""A device's message made fit to be sent: only what is broken is mended, and every change is named.

RFC 6409 s8 and RFC 5321 s6.4 allow it to the first server on a message's way.  What is right stays octet for octet.  Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from relay.mail.charset import vote
from relay.mail.circumstances import Case, Change, Circumstances, Fields
from relay.mail.fieldtext import repair_blank_folds, repair_controls, repair_false_label, repair_long_lines, repair_raw_text
from relay.mail.head import read_head
from relay.mail.lines import blocks, crlf
from relay.mail.message import Message, Rest
from relay.mail.originator import repair_date, repair_from, repair_message_id
from relay.mail.policy import RepairPolicy
from relay.mail.recipients import repair_addresses, repair_private, repair_recipients, repair_singletons, repair_subject
from relay.mail.trace import received

__all__ = ["Circumstances", "Repaired", "repair"]

REPAIRS: tuple[Callable[[Fields, Case], Change], ...] = (
    repair_controls,
    repair_blank_folds,
    repair_private,
    repair_singletons,
    repair_date,
    repair_message_id,
    repair_from,
    repair_addresses,
    repair_recipients,
    repair_subject,
    repair_raw_text,
    repair_false_label,
    repair_long_lines,
)


@dataclass(frozen=True, slots=True)
class Repaired:
    """The mended message and what was done to it, in plain words and in order.

    `eight_bit`: some octet is over 127.  `size` counts octets.
    """

    message: Message
    notes: tuple[str, ...]
    eight_bit: bool
    size: int


@dataclass(frozen=True, slots=True)
class _Mended:
    body: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        for block in blocks(self.body):
            yield crlf(block.replace(b"\0", b""))


def repair(content: Iterable[bytes], about: Circumstances, policy: RepairPolicy) -> Repaired:
    """Mends the message and puts our Received field in front; `content` is read several times, never kept whole."""
    head = read_head(content)
    case = Case(
        about, policy, charset=vote((field.value for field in head.fields), policy.fallback_charset), headless=head.missing
    )
    fields, notes = head.fields, list(head.notes)
    for step in REPAIRS:
        fields, said = step(fields, case)
        notes += said
    trace = received(about.queue_id, about.accepted_at, case.host, about.origin, hide_client=policy.hide_client)
    body = _Mended(Rest(content, head.length))
    message = Message((trace, *fields), b"\r\n", body)
    eight_bit = any(not block.isascii() for block in body)
    return Repaired(message, tuple(notes), eight_bit, message.size)
