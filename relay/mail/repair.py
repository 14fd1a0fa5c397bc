"""Repairs a device's message so that it can be sent: only what is wrong is changed, and every change has a note.

RFC 6409 s8 and RFC 5321 s6.4 allow this to a submission server.  What is correct stays octet for octet.  Pure.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from relay.mail.body import examine, mend, terms_for
from relay.mail.header_reader import read_header
from relay.mail.header_text import (
    can_be_sent,
    repair_blank_folds,
    repair_controls,
    repair_false_label,
    repair_long_lines,
    repair_raw_text,
    repair_torn_words,
)
from relay.mail.message import Message, Rest
from relay.mail.originator_fields import repair_date, repair_from, repair_message_id, repair_sender
from relay.mail.policy import RepairPolicy
from relay.mail.recipients import repair_addresses, repair_private, repair_recipients, repair_singletons, repair_subject
from relay.mail.repair_context import Change, Fields, RepairCase, RepairContext
from relay.mail.trace import received

__all__ = ["RepairContext", "Repaired", "repair"]

_SIGNED = re.compile(rb";h=([A-Za-z0-9:_-]+)", re.IGNORECASE)

Repair = Callable[[Fields, RepairCase], Change]

FIRST: tuple[Repair, ...] = (repair_controls, repair_blank_folds, repair_torn_words, repair_private, repair_singletons)
"""Repairs that come before the body is read, since they change what the header says about it."""

THEN: tuple[Repair, ...] = (
    repair_date,
    repair_message_id,
    repair_from,
    repair_sender,
    repair_addresses,
    repair_recipients,
    repair_subject,
    repair_raw_text,
    repair_false_label,
    repair_long_lines,
)
"""Repairs that need the charset for which header and body voted."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """The repaired message, and notes on what was changed, in order.

    `eight_bit`: some octet is over 127.  `size` counts octets.  `utf8`: an address in the header needs SMTPUTF8.
    """

    message: Message
    notes: tuple[str, ...]
    eight_bit: bool
    size: int
    utf8: bool = False


def repair(content: Iterable[bytes], about: RepairContext, policy: RepairPolicy) -> Repaired:
    """Repairs the message and puts our Received field in front.  `content` is read several times, not kept in memory."""
    head = read_header(content)
    case = RepairCase(about, policy, sealed=sealed_names(head.fields), headless=head.missing)
    fields, notes = _apply(FIRST, head.fields, case, head.notes)
    examined = examine(fields, Rest(content, head.length))
    terms = terms_for(examined, fields, policy.fallback_charset, signed=bool(case.sealed))
    mended = mend(examined, fields, terms)
    case = RepairCase(about, policy, terms.charset, case.sealed, case.headless)
    fields, notes = _apply(THEN, mended.fields, case, (*notes, *mended.notes))
    trace = received(about.queue_id, about.accepted_at, case.host, about.origin, hide_client=policy.hide_client)
    message = Message((trace, *fields), b"\r\n", mended.body)
    size = len(message.head) + mended.size if mended.size >= 0 else message.size
    raw_header = not message.head.isascii()
    return Repaired(message, notes, mended.eight_bit or raw_header, size, utf8=raw_header)


def _apply(repairs: Iterable[Repair], fields: Fields, case: RepairCase, notes: tuple[str, ...]) -> Change:
    for step in repairs:
        fields, said = step(fields, case)
        notes += said
    return fields, notes


def sealed_names(fields: Fields) -> frozenset[str]:
    """The names of the fields that DKIM signatures cover (RFC 6376 s3.5, h=); empty if there is no signature.

    Without those that cannot be sent as they are: there the signature is lost already.
    """
    names: set[str] = set()
    for field in fields:
        if field.name == "dkim-signature":
            names.add(field.name)
            match = _SIGNED.search(re.sub(rb"\s+", b"", field.value))
            names.update(match[1].decode("ascii", "replace").lower().split(":") if match else ())
    if not names:
        return frozenset()
    lost = {field.name for field in fields if field.name in names and not can_be_sent(field)}
    return frozenset(names - lost | names & {"dkim-signature"})
