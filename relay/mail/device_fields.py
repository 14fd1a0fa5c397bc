"""What a device's settings change in its message: display name, subject prefix, added fields.  RFC 5322, RFC 2047.  Pure."""

import re
from itertools import islice

from relay.mail.charset import decode
from relay.mail.device import Device
from relay.mail.encoded_words import encode_text, encode_word, fold, readable
from relay.mail.header_text import folded
from relay.mail.mailboxes import each_mailbox, write_name
from relay.mail.message import Field, Message, first, replaced
from relay.mail.mime import content_type

_REPLY = re.compile(r"(?i)(?:(?:re|aw|sv|antw|fw|fwd|wg|tr)(?:\[\d{1,3}\])?[ ]?[:：][ ]?)*")
_SIGNED = frozenset({"multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})
_PGP = re.compile(rb"^-----BEGIN PGP (?:SIGNED )?MESSAGE-----", re.MULTILINE)
_RESENT = "resent-"


def with_device(
    message: Message, device: Device, sealed: frozenset[str], *, from_stays: bool
) -> tuple[Message, tuple[str, ...]]:
    """The message as the device's settings want it, and notes on what was changed.  Done to it again, it stays the same.

    `sealed` are the fields that a DKIM signature covers; `from_stays`: From is what the device wrote.
    """
    fields, notes = message.fields, []
    where = f"devices.{device.name}"
    if device.display and (new := _named(fields, device.display)):
        if from_stays and ("from" in sealed or any(field.name.startswith(_RESENT) for field in fields)):
            notes.append(f"From shows no other name ({where}.name): the message is DKIM-signed, or was resent by hand")
        else:
            fields = replaced(fields, new)
            notes.append(f"From shows the name {device.display} ({where}.name)")
    if device.subject_prefix and (new := _prefixed(fields, device.subject_prefix)):
        if is_signed(message):
            notes.append(
                f"Subject stays without {device.subject_prefix.strip()} ({where}.subject_prefix): the message is signed"
            )
        else:
            fields = replaced(fields, new)
            notes.append(f"Subject begins with {device.subject_prefix.strip()} ({where}.subject_prefix)")
    names = {field.name for field in fields} | sealed
    added = [Field(fold(name, encode_text(value))) for name, value in device.header if name.lower() not in names]
    if added:
        notes.append(f"added {', '.join(field.label for field in added)} ({where}.header)")
    if not notes or (fields == message.fields and not added):
        return message, tuple(notes)
    return Message((*fields, *map(folded, added)), message.separator or b"\r\n", message.body), tuple(notes)


def is_signed(message: Message) -> bool:
    """Whether a signature of its author covers it: DKIM, S/MIME or PGP; encrypted mail counts too."""
    if any(field.name in ("dkim-signature", "domainkey-signature") for field in message.fields):
        return True
    if content_type(message.fields).kind in _SIGNED:
        return True
    return _PGP.search(next(iter(message.body), b"")) is not None


def _named(fields: tuple[Field, ...], name: str) -> Field | None:
    """The From field with this display name; None if it has it, or if there is not one author."""
    old = first(fields, "from")
    boxes = list(islice(each_mailbox(decode(old.value, "cp1252")), 2)) if old else []
    if old is None or len(boxes) != 1 or boxes[0].address is None or boxes[0].name == name:
        return None
    return Field(fold(old.label, f"{write_name(name)} <{boxes[0].address}>"))


def _prefixed(fields: tuple[Field, ...], prefix: str) -> Field | None:
    """The Subject with the prefix before it; None if it is there, also behind `Re:`."""
    old = first(fields, "subject")
    text = decode(old.value, "cp1252") if old else ""
    said = readable(text)
    if said[_end_of_replies(said) :].casefold().startswith(readable(prefix).casefold()):
        return None
    words = encode_text(text)
    encoded = words.startswith("=?")
    if prefix.isascii() and "=?" not in prefix and (prefix.endswith(" ") or not encoded):
        words = prefix + words
    else:  # blanks between two encoded-words are not shown: the one that is meant stands in the word
        words = f"{encode_word(prefix if encoded else prefix.rstrip())} {words}"
    return folded(Field(fold(old.label if old else "Subject", words.strip())))


def _end_of_replies(said: str) -> int:
    found = _REPLY.match(said)
    return found.end() if found else 0
