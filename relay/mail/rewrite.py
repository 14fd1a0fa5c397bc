"""Rewrites envelope and originator fields so that an upstream's account may send them.  RFC 6409 s8.1, RFC 5322 s3.6.2.

Providers compare the envelope sender, the From field or both with the account that logged in; devices send as
`root@nas`.  Fields that may stay are kept octet for octet.  Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice

from relay.mail.address import Address, is_public
from relay.mail.charset import decode
from relay.mail.encoded_words import encode_word, fold
from relay.mail.mailboxes import Mailbox, each_mailbox, fold_list, has_group, is_regular, write_name
from relay.mail.message import Field, Message

_MANY = 100  # mailboxes of an originator field that are read; more are no real authors
_LONGEST_ORIGINAL = 8000  # octets of an old From that are kept
_LONGEST_NAME = 200
_JUDGED = frozenset({"from", "sender", "reply-to", "to", "cc"})
_DOMAIN = re.compile(rb"@([^\s@<>(),;:\"\\]+)")


class Rewrite(Enum):
    FOREIGN = "foreign"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Identity:
    """The senders of an account: its own address, the domains whose senders may stay, and what to rewrite.

    Without `rewrite_from` a From with a public address stays.  A LAN address is replaced all the same, since no
    upstream accepts it.
    """

    sender: Address | None = None
    domains: frozenset[str] = frozenset()
    rewrite: Rewrite = Rewrite.FOREIGN
    rewrite_from: bool = True

    def may_say(self, address: Address, *, utf8: bool = False) -> bool:
        """Whether the account may send as this address: its own, or a well-formed one in one of its domains."""
        if self.sender is not None and address.key == self.sender.key:
            return True
        return address.domain.lower() in self.domains and _plain(address, utf8=utf8)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The message and reverse-path to send, and notes on what was changed."""

    message: Message
    reverse_path: Address | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """One rewriting: the new sender, how strictly it is applied, whether From is judged, and why, for the notes."""

    identity: Identity
    sender: Address
    force: bool
    utf8: bool
    judge_from: bool
    why: str


def rewrite(
    message: Message,
    reverse_path: Address | None,
    identity: Identity,
    *,
    own_name: bool = False,
    utf8: bool = False,
    device_sender: Address | None = None,
) -> Rewritten:
    """The message as this account may send it; the body and the fields that may stay keep their octets.

    `own_name`: the upstream refused the sender, so the account's own address is used everywhere, even for the null
    reverse-path.  `utf8`: the upstream has SMTPUTF8, so an 8-bit address may stay.  `device_sender` is the device's own
    address; it is used where the account may send so.  With `rewrite: never`, or without an own address, nothing else is
    changed.
    """
    own, why = False, "the account may send only as itself"
    if device_sender and not own_name and (identity.sender is None or identity.may_say(device_sender, utf8=utf8)):
        own, why = True, "the device has its own sender"
        identity = replace(identity, sender=device_sender, domains=frozenset(), rewrite=Rewrite.FOREIGN)
    sender = identity.sender
    if sender is None or identity.rewrite is Rewrite.NEVER:
        return Rewritten(message, reverse_path)
    force = own_name or identity.rewrite is Rewrite.ALWAYS
    foreign = reverse_path is not None and not identity.may_say(reverse_path, utf8=utf8)
    case = _Case(identity, sender, force, utf8, judge_from=own or foreign or reverse_path is None, why=why)
    path, notes = _envelope(reverse_path, case, foreign=foreign, own_name=own_name)
    if not identity.rewrite_from:
        force, case = False, replace(case, force=False, judge_from=False)
    kept = _why_from_stays(message)
    if kept and not force:
        return Rewritten(message, path, (*notes, kept) if notes else ())
    fields, said = _header(message.fields, case, answerable=reverse_path is not None)
    if not said:
        return Rewritten(message, path, notes)
    separator = message.separator or b"\r\n"
    return Rewritten(Message(tuple(fields), separator, message.body), path, (*notes, *said))


def _envelope(path: Address | None, case: _Case, *, foreign: bool, own_name: bool) -> tuple[Address | None, tuple[str, ...]]:
    if path is None:
        if not own_name:
            return None, ()  # a notice must not be answered by a notice (RFC 5321 s6.1)
        return case.sender, (f"the empty sender became {case.sender}: the upstream takes no mail without a sender",)
    if path.key == case.sender.key or not (foreign or case.force):
        return path, ()
    why = case.why if foreign or own_name else "this upstream always sends in the account's name"
    return case.sender, (f"sender {path} became {case.sender}: {why}",)


def _why_from_stays(message: Message) -> str:
    """Why the From field must not be changed; "" if it may."""
    names = {field.name for field in message.fields}
    if names & {"dkim-signature", "domainkey-signature"}:
        return "From stays as it is: the message is DKIM-signed"
    if any(name.startswith("resent-") for name in names):
        return "From stays as it is: the message was resent by hand"
    return ""


def _header(fields: Iterable[Field], case: _Case, *, answerable: bool) -> tuple[list[Field], list[str]]:
    """The fields with From, Sender, Reply-To, To and Cc rewritten, and the notes.  Without notes nothing was changed."""
    before = list(fields)
    notes: list[str] = []
    olds = [field for field in before if field.name == "from"]
    boxes = [box for field in olds for box in _read(field)]
    senders = [box for field in before if field.name == "sender" for box in _read(field)]
    exact = len(olds) == 1 and is_regular(olds[0].value, utf8=case.utf8)
    new = _new_from(boxes, case, exact=exact, has_sender=any(_sendable(box, case) for box in senders))
    added: list[Field] = []
    if new is not None:
        value, _, note = new
        added.append(Field(fold("From", value)))
        added += _original(before, olds)
        notes.append(note)
    after: list[Field] = []
    has_reply_to = False
    for field in before:
        if field.name not in _JUDGED:
            after.append(field)
            continue
        if field.name == "from" and new is not None:
            after += added
            added = []
            continue
        mended = _mended(field, case, notes, from_changed=new is not None)
        has_reply_to = has_reply_to or (mended is not None and field.name == "reply-to")
        after += [mended] if mended is not None else []
    after += added
    if new is not None and answerable and not has_reply_to:
        _add_reply_to(after, boxes, new[1], notes, case)
    return after, notes


def _read(field: Field) -> list[Mailbox]:
    """The first mailboxes of a field.  An address that is not written there exactly counts as none."""
    text = decode(field.value, "cp1252")
    plain = text.replace('"', "")
    boxes = islice(each_mailbox(text), _MANY)
    return [box if box.address is None or _stands(box.address, text, plain) else _nobody(box, text) for box in boxes]


def _stands(address: Address, text: str, plain: str) -> bool:
    return str(address) in text or str(address) in plain


def _nobody(box: Mailbox, text: str) -> Mailbox:
    return Mailbox(box.name or " ".join(text.split())[:_LONGEST_NAME], None, box.phrase)


def _new_from(boxes: list[Mailbox], case: _Case, *, exact: bool, has_sender: bool) -> tuple[str, Address, str] | None:
    """The From field's new value, its address and a note; None if it may stay as it is.

    `exact`: there is one From field, and it is correct.
    """
    fit = [box for box in boxes if box.address and _fits(box.address, case)]
    if case.force:
        fit = [box for box in fit if box.address and box.address.key == case.sender.key]
    stays = bool(fit) and (len(fit) == len(boxes) or not (case.force or case.judge_from))
    if stays and exact and (len(boxes) == 1 or (has_sender and not case.force)):
        return None  # one author, or several and who sent it: RFC 5322 s3.6.2
    if stays and fit[0].address:
        address = fit[0].address
        note = f"From says only {address}: upstreams take one well-formed address there"
        return _spelled(fit[0], address), address, note
    old = boxes[0] if boxes else Mailbox("", None)
    was = _words(old)
    value = _spelled(old if old.name else Mailbox(was, None), case.sender)
    note = f"From {was} became {case.sender}: {case.why}" if was else f"added From {case.sender}"
    return value, case.sender, note


def _fits(address: Address, case: _Case) -> bool:
    """Whether the address may stay: the account's own may; any public one may, too, unless From is judged."""
    if case.identity.may_say(address, utf8=case.utf8):
        return True
    return not case.judge_from and address.public and _plain(address, utf8=case.utf8)


def _sendable(box: Mailbox, case: _Case) -> bool:
    return box.address is not None and _fits(box.address, case)


def _plain(address: Address, *, utf8: bool) -> bool:
    """Whether every upstream can read it: no quoting, no encoded-word, no 8-bit octets, a domain that is a host
    name (RFC 5321 s2.3.5).
    """
    written = str(address)
    return "_" not in address.domain and not written.startswith('"') and "=?" not in written and (utf8 or address.ascii)


def _words(box: Mailbox) -> str:
    """A mailbox for a note: its address, else its name."""
    return str(box.address) if box.address is not None else box.name


def _spelled(box: Mailbox, address: Address) -> str:
    """The address with the mailbox's display name, which stays as it was written if it is correct."""
    name = box.phrase or (write_name(box.name, bare=False) if box.name else "")
    return f"{name} <{address}>" if name else str(address)


def _original(fields: list[Field], olds: list[Field]) -> list[Field]:
    """The old From field, under a name that no upstream checks."""
    if not olds or any(field.name == "x-original-from" for field in fields):
        return []
    octets = b", ".join(b" ".join(field.value.split()) for field in olds)[:_LONGEST_ORIGINAL]
    value = decode(octets, "cp1252").strip()
    if not value:
        return []
    if not (octets.isascii() and value.isprintable()) or any(len(word) > 900 for word in value.split(" ")):
        value = encode_word(value)
    return [Field(fold("X-Original-From", value))]


def _add_reply_to(fields: list[Field], boxes: list[Mailbox], author: Address, notes: list[str], case: _Case) -> None:
    """Adds a Reply-To with the old authors that have public addresses."""
    reachable: dict[str, Address] = {}
    for box in boxes:
        if box.address and box.address.public and _plain(box.address, utf8=case.utf8) and box.address.key != author.key:
            reachable.setdefault(box.address.key, box.address)
    if not reachable:
        return
    value = ", ".join(map(str, reachable.values()))
    place = max(place for place, field in enumerate(fields) if field.name in ("from", "x-original-from")) + 1
    fields.insert(place, Field(fold("Reply-To", value)))
    notes.append(f"answers go to {value} (Reply-To)")


def _mended(field: Field, case: _Case, notes: list[str], *, from_changed: bool) -> Field | None:
    """Sender, Reply-To, To or Cc as it may be sent; None if it is removed."""
    if field.name == "sender":
        return _mended_sender(field, case, notes, from_changed=from_changed)
    if field.name == "reply-to":
        return _mended_reply_to(field, notes)
    if field.name in ("to", "cc"):
        return _mended_recipients(field, notes)
    return field


def _mended_sender(field: Field, case: _Case, notes: list[str], *, from_changed: bool) -> Field | None:
    boxes = _read(field)
    address = boxes[0].address if len(boxes) == 1 else None
    if address and (
        _fits(address, case) if not (from_changed or case.force) else case.identity.may_say(address, utf8=case.utf8)
    ):
        return field
    notes.append(f"removed Sender {_words(boxes[0]) if boxes else ''}".rstrip() + f": {case.why}")
    return None


def _mended_reply_to(field: Field, notes: list[str]) -> Field | None:
    if has_group(field.value):
        return field
    boxes = _read(field)
    kept = [box for box in boxes if box.address and box.address.public]
    if kept and len(kept) == len(boxes):
        return field
    lost = ", ".join(_words(box) for box in boxes if box not in kept) or "nothing"
    notes.append(f"Reply-To no longer says {lost}: no answer from outside could reach that")
    if not kept:
        return None
    return Field(fold_list("Reply-To", [_spelled(box, box.address) for box in kept if box.address]))


def _mended_recipients(field: Field, notes: list[str]) -> Field:
    """A LAN address becomes an empty group, which shows the name but is no address (RFC 5322 s3.4)."""
    value = field.value
    if not value or has_group(value) or _is_public_list(value):
        return field
    boxes = list(each_mailbox(decode(value, "cp1252")))
    lan = [box for box in boxes if not (box.address and box.address.public)]
    if not lan:
        return field
    spelled = [
        _spelled(box, box.address) if box.address and box.address.public else write_name(_words(box), bare=False) + ":;"
        for box in boxes
    ]
    shown = ", ".join(_words(box) for box in lan[:5]) + (" ..." if len(lan) > 5 else "")
    notes.append(f"{field.label} {shown}: no address outside the LAN, so it stands there as a name only")
    return Field(fold_list(field.label, spelled))


def _is_public_list(value: bytes) -> bool:
    """Whether a list is correct and all of it public, without reading each mailbox: it may have thousands."""
    domains = {domain.decode("ascii", "replace") for domain in _DOMAIN.findall(value)}
    return all(map(is_public, domains)) and is_regular(value, utf8=True)
