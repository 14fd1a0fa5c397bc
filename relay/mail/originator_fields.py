"""Repairs From, Date and Message-ID, the fields that every message must have.  RFC 5322 s3.6.  Pure."""

import re
from datetime import datetime, timedelta

from relay.mail.address import Address
from relay.mail.charset import decode
from relay.mail.dates import read_exact, read_lenient, write_date
from relay.mail.encoded_words import encode_text, fold, mend_words
from relay.mail.mailboxes import Mailbox, count_regular, fold_list, read_mailboxes, write_mailbox
from relay.mail.message import Field, replaced
from relay.mail.repair_context import Change, Fields, RepairCase

_ID = re.compile(rb"<[^<>\s@\x00-\x1f\x7f-\xff]+@[^<>\s@\x00-\x1f\x7f-\xff]+>")
_BARE_ID = re.compile(rb"<?\s*([^<>\s@\x00-\x1f\x7f-\xff]+@[^<>\s@\x00-\x1f\x7f-\xff]+)\s*>?")
_ID_LIMIT = 900
_SLACK = timedelta(hours=1)  # a message may have waited in the device before it came


def repair_date(fields: Fields, case: RepairCase) -> Change:
    """Exactly one Date, in RFC 5322's form and near the time of acceptance; the device's own text is kept.

    RFC 6409 s8.2 (add Date), RFC 5321 s6.4.  A DKIM-signed Date is replaced only if it cannot be read.
    """
    dates = [field for field in fields if field.name == "date"]
    exact = [field for field in dates if _exact(field, case)]
    good = [field for field in exact if _near(field, case)] or (exact[:1] if "date" in case.sealed else [])
    if good and len(dates) == 1:
        return fields, ()
    if _is_signed(dates, case) and read_lenient(_text(dates[0], case), case.zone):
        return fields, ()
    if good:
        return _replaced(fields, good[0]), ("kept one Date of several",)
    said = next((value for field in dates if (value := _text(field, case))), "")
    if not said:
        why = "the device sent none" if not dates else "the device's was empty"
        return _replaced(fields, _date(case)), (f"added Date: {why}",)
    for field in dates:
        moment = read_lenient(_text(field, case), case.zone)
        if moment and abs(moment - case.about.accepted_at) <= case.policy.date_skew + _SLACK:
            rewritten = Field.of("Date", write_date(moment))
            note = f"rewrote Date in the standard form: the device wrote {said[:60]!r}"
            return _with_original(_replaced(fields, rewritten), said), (note,)
    off = any(read_exact(_text(field, case)) or read_lenient(_text(field, case), case.zone) for field in dates)
    why = "is far from the hour of arrival" if off else "cannot be read"
    return _with_original(_replaced(fields, _date(case)), said), (f"replaced Date: {said[:60]!r} {why}",)


def _near(field: Field, case: RepairCase) -> bool:
    moment = _exact(field, case)
    return moment is not None and abs(moment - case.about.accepted_at) <= case.policy.date_skew + _SLACK


def _exact(field: Field, case: RepairCase) -> datetime | None:
    """The moment of a Date that may be sent as it is; one with octets that are not ASCII may not."""
    return read_exact(field.value.decode("ascii"), case.zone) if field.value.isascii() else None


def _date(case: RepairCase) -> Field:
    return Field.of("Date", write_date(case.arrival))


def _with_original(fields: Fields, said: str) -> Fields:
    if any(field.name == "x-original-date" for field in fields):
        return fields
    return _after(fields, "date", _as_said("X-Original-Date", said[:300]))


def _as_said(label: str, said: str) -> Field:
    """A field for the reader, with what the device said.  Encoded-words in it are whole, as in every field."""
    return Field(mend_words(fold(label, encode_text(said))))


def repair_message_id(fields: Fields, case: RepairCase) -> Change:
    """Exactly one Message-ID, `<id@host>`, that this client did not use for other content.

    RFC 6409 s8.3 (add Message-ID).  Gmail refuses mail without a valid one (550 5.7.1) and slows down senders that
    repeat one (421 4.7.28).  Ours is made from the queue id, so it is the same in every attempt.
    """
    ids = [field for field in fields if field.name == "message-id"]
    good = [field for field in ids if len(field.value) <= _ID_LIMIT and _ID.fullmatch(field.value)]
    if good and case.about.repeated_id and "message-id" not in case.sealed:
        note = "replaced Message-ID: the device used it before for another message"
        return _replaced(fields, _message_id(case)), (note,)
    if (good and len(ids) == 1) or _is_signed(ids, case):
        return fields, ()
    if good:
        return _replaced(fields, good[0]), ("kept one Message-ID of several",)
    for field in ids:
        bare = _BARE_ID.fullmatch(field.value)
        if bare and len(field.value) <= _ID_LIMIT and not case.about.repeated_id:
            mended = Field.of("Message-ID", b"<" + bare[1] + b">")
            return _replaced(fields, mended), ("set Message-ID in brackets",)
    why = (
        "replaced Message-ID: the device's is malformed"
        if any(field.value for field in ids)
        else "added Message-ID: the device sent none"
    )
    return _replaced(fields, _message_id(case)), (why,)


def _message_id(case: RepairCase) -> Field:
    return Field.of("Message-ID", f"<{case.about.queue_id}@{case.host}>")


def repair_from(fields: Fields, case: RepairCase) -> Change:
    """Exactly one From with one readable address; its other addresses go to Reply-To.

    RFC 6409 s8.8, RFC 5321 s6.4.  Gmail refuses mail with no valid address in From, or with several.
    A From of several authors with a Sender field is correct (RFC 5322 s3.6.2) and stays.
    """
    froms = [field for field in fields if field.name == "from"]
    counts = [count_regular(field.value, groups=False) for field in froms]
    has_sender = any(count_regular(field.value) == 1 for field in fields if field.name == "sender")
    if len(froms) == 1 and (counts[0] == 1 or (counts[0] > 1 and has_sender) or (counts[0] and "from" in case.sealed)):
        return fields, ()
    if _is_signed(froms, case) and any(box.address for box in read_mailboxes(froms[0].value.decode("ascii"))):
        return fields, ()
    boxes = [box for field in froms for box in read_mailboxes(_text(field, case))]
    usable = [box for box in boxes if box.address and case.may_write(box.address)]
    public = [box for box in usable if box.address and box.address.public]
    name = next((box.name for box in boxes if box.name), "")
    chosen = (
        public or [box for box in usable if box.address and box.address.qualified] or [Mailbox(name, _author(case, usable))]
    )[0]
    new = Field(fold_list("From", [write_mailbox(chosen)]))
    if froms == [new]:
        return fields, ()  # in UTF-8, but right
    mended = _replaced(fields, new)
    others = [box for box in public if box != chosen]
    if others and not any(field.name == "reply-to" for field in fields):
        mended = _after(mended, "from", Field(fold_list("Reply-To", [write_mailbox(box) for box in others])))
    return mended, (_from_note(froms, boxes, usable, chosen),)


def repair_sender(fields: Fields, case: RepairCase) -> Change:
    """Keeps a sender that is no address in a field for the reader, since it will be replaced."""
    path = case.about.envelope.reverse_path
    if path is None or path.public or not path.quoted or any(field.name == "x-original-sender" for field in fields):
        return fields, ()
    said = f"{path.local}@{path.domain}" if path.domain else path.local
    note = f"kept the device's sender, {said!r}, in X-Original-Sender"
    return (*fields, _as_said("X-Original-Sender", said)), (note,)


def _author(case: RepairCase, usable: list[Mailbox]) -> Address:
    """The envelope's sender; if it has no domain either, the bare name in From with our host name."""
    path = case.about.envelope.reverse_path
    if usable and usable[0].address and (path is None or not path.qualified):
        return Address(usable[0].address.local, case.host)
    return case.author


def _from_note(froms: list[Field], boxes: list[Mailbox], usable: list[Mailbox], chosen: Mailbox) -> str:
    if not froms:
        return f"added From {chosen.address}: the device sent none"
    if not usable:
        return f"put the address {chosen.address} into From: the device gave none that can be used"
    if len(boxes) > 1:
        return f"kept one address in From, {chosen.address}: providers refuse several"
    return "wrote From in the standard form"


def _is_signed(same: list[Field], case: RepairCase) -> bool:
    """Whether it is one field that a signature covers and that can be sent as it is, correct or not."""
    return len(same) == 1 and same[0].name in case.sealed and same[0].raw.isascii() and bool(same[0].value)


def _text(field: Field, case: RepairCase) -> str:
    return decode(field.value, case.charset)


def _replaced(fields: Fields, new: Field) -> Fields:
    return replaced(fields, new, absent=0)


def _after(fields: Fields, name: str, new: Field) -> Fields:
    place = next(place for place, field in enumerate(fields) if field.name == name) + 1
    return (*fields[:place], new, *fields[place:])
