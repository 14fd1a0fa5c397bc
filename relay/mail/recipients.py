"""Repairs address fields other than From, and fields that are allowed once or not at all.  RFC 5322 s3.6.  Pure."""

import re

from relay.mail.charset import decode
from relay.mail.encoded_words import encode_text, fold
from relay.mail.mailboxes import (
    Mailbox,
    count_regular,
    count_with_utf8,
    fold_list,
    has_group,
    read_mailboxes,
    with_commas,
    write_mailbox,
    write_name,
)
from relay.mail.message import Field, replaced
from relay.mail.repair_context import Change, Fields, RepairCase

_LISTS = frozenset({"to", "cc", "reply-to", "resent-to", "resent-cc"})
_SINGLE = frozenset({"sender", "resent-from", "resent-sender"})
_ADDRESSED = _LISTS | _SINGLE | {"bcc", "resent-bcc"}
_RECIPIENTS = frozenset({"to", "cc", "bcc"})
_MERGED = frozenset({"to", "cc", "reply-to"})
_ONCE = frozenset(
    {"sender", "subject", "in-reply-to", "references", "mime-version", "content-type", "content-transfer-encoding"}
    | {"content-id", "content-disposition"}
)


def repair_private(fields: Fields, case: RepairCase) -> Change:
    """Bcc would reveal the blind recipients (RFC 5322 s3.6.3, RFC 6409 s8); Return-Path is for delivery (RFC 5321 s4.4)."""
    private = {"bcc", "resent-bcc", "return-path"} - case.sealed
    found = list(dict.fromkeys(field.label for field in fields if field.name in private))
    if not found:
        return fields, ()
    return tuple(field for field in fields if field.name not in private), (f"removed {', '.join(found)}",)


def repair_addresses(fields: Fields, case: RepairCase) -> Change:
    """Makes address lists correct (RFC 6409 s8.8): commas, closed brackets, quoted names.  Removes empty fields (M5)."""
    kept: list[Field] = []
    notes: dict[str, None] = {}
    for field in fields:
        if field.name not in _ADDRESSED or (field.name in case.sealed and field.raw.isascii()):
            kept.append(field)
            continue
        new, note = _list(field, case)
        if new is not None:
            kept.append(new)
        if note:
            notes[note] = None
    return (tuple(kept), tuple(notes)) if notes else (fields, ())


def _list(field: Field, case: RepairCase) -> tuple[Field | None, str]:
    value = field.value
    count = count_with_utf8(value) if case.about.envelope.utf8 else count_regular(value)
    if count == 1 or (count and field.name in _LISTS):
        return field, ""
    if not value.strip(b" \t,;<>"):
        return None, f"removed the empty {field.label}"
    text = decode(value, case.charset)
    if field.name in _LISTS and (joined := with_commas(text)):
        return Field(fold_list(field.label, joined.split(", "))), f"wrote the addresses in {field.label} with commas between"
    boxes = read_mailboxes(text)
    written = [spelled for box in boxes if (spelled := _spelled(box, case))]
    if field.name in _SINGLE:
        usable = (box for box in boxes if box.address and box.address.qualified and case.may_write(box.address))
        written = [write_mailbox(box) for box in usable][:1]
    if not written:
        return None, f"removed {field.label}: no address can be read in it ({text[:60]!r})"
    new = Field(fold_list(field.label, written))
    return (field, "") if new == field else (new, f"wrote {field.label} in the standard form")


def _spelled(box: Mailbox, case: RepairCase) -> str:
    """A mailbox in its correct form; a name without an address becomes an empty group (RFC 5322 s3.4)."""
    if box.address and box.address.qualified and case.may_write(box.address):
        return write_mailbox(box)
    name = box.name.rstrip(":; ") or (str(box.address) if box.address else "")
    return f"{write_name(name)} :;" if name else ""


def repair_singletons(fields: Fields, case: RepairCase) -> Change:
    """One of each field that is allowed only once (RFC 6409 s8, RFC 5322 s3.6; Gmail and others refuse doubles).  Lists
    are joined; of others the first with a value stays.  Date, From and Message-ID have their own repairs.
    """
    count: dict[str, int] = {}
    for field in fields:
        if (field.name in _ONCE or field.name in _MERGED) and field.name not in case.sealed:
            count[field.name] = count.get(field.name, 0) + 1
    doubled = [name for name, times in count.items() if times > 1]
    if not doubled:
        return fields, ()
    for name in doubled:
        same = [field for field in fields if field.name == name]
        if name in _MERGED:
            value = b", ".join(said for field in same if (said := _without_ends(field.value)))
            new = Field.of(same[0].label, value)
        else:
            new = next((field for field in same if field.value and _meant(field)), same[0])
        fields = replaced(fields, new)
    return fields, (f"made one of several: {', '.join(doubled)}",)


def _without_ends(value: bytes) -> bytes:
    """A list without separators at its ends; a semicolon that closes a group stays."""
    return value.lstrip(b" \t,;").rstrip(b" \t," if has_group(value) else b" \t,;")


def _meant(field: Field) -> bool:
    """Whether the value of a MIME field can be read; of two fields, the readable one is kept."""
    if field.name == "content-type":
        return re.match(rb"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+[ \t]*(?:;|\(|\Z)", field.value) is not None
    if field.name == "content-transfer-encoding":
        return field.value.lower() in (b"7bit", b"8bit", b"base64", b"quoted-printable", b"binary")
    return True


def repair_recipients(fields: Fields, case: RepairCase) -> Change:
    """Adds a To field: RFC 5322 s3.6 needs none, many servers do (RFC 6409 s8).  The envelope's recipients stay private."""
    if not _RECIPIENTS.isdisjoint([field.name for field in fields]) or "to" in case.sealed:
        return fields, ()
    return (*fields, Field.of("To", "undisclosed-recipients:;")), ("added To: the device named nobody in the header",)


def repair_subject(fields: Fields, case: RepairCase) -> Change:
    """A message without any header (a UPS's test button) gets a Subject that names the device (RFC 6409 s8)."""
    if not case.headless or any(field.name == "subject" for field in fields):
        return fields, ()
    device = case.about.origin.helo or case.about.origin.client
    text = "".join(char for char in device if char.isprintable())[:100] or "a device"
    return (*fields, Field(fold("Subject", encode_text(f"Message from {text}")))), ("added Subject: the device sent none",)
