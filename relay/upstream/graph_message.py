"""A message as Microsoft Graph takes it: who gets it stands in its header, and large attachments go by themselves.  Pure.

Graph has no envelope: it sends to whoever stands in To, Cc and Bcc.  A request has at most 4 MB, and a message in MIME form
is sent in base64; what is larger becomes a draft without its large attachments, which are added one by one.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace

from relay.mail.address import Address, with_a_labels
from relay.mail.decoders import decoder
from relay.mail.encoded_words import decode_words
from relay.mail.file_parts import name_said
from relay.mail.mailboxes import Mailbox, fold_list, read_mailboxes, write_mailbox
from relay.mail.message import Field, Message, first
from relay.mail.mime import ContentType, content_type, transfer_encoding
from relay.mail.mime_walk import BETWEEN, Delimiter, Event, Octets, PartHead, walk
from relay.mail.recode import mime_fields
from relay.upstream.file_names import extension_for

LARGEST_REQUEST = 4_000_000
"""Octets of one request's body.  Microsoft says 4 MB."""

LARGEST_ATTACHMENT = 150_000_000
"""Octets of one attachment that an upload session takes."""

_NAMED = ("to", "cc", "bcc")
_MOST_TOLD = 20
_LONGEST_NAME = 200
_EMPTY_PART = b"Content-Type: text/plain\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message whose To, Cc and Bcc name exactly those of this transaction, by how many octets it grew, what was changed."""

    message: Message
    grown: int = 0
    notes: tuple[str, ...] = ()


def addressed(content: Iterable[bytes], paths: Sequence[Address]) -> Addressed:
    """Takes out whoever is no recipient of this transaction, and adds those that no field names as Bcc."""
    message = Message.parse(content)
    wanted = {key(path): path for path in paths}
    missing, fields, notes = dict(wanted), list[Field](), list[str]()
    for field in message.fields:
        if field.name not in _NAMED:
            fields.append(field)
            continue
        boxes = read_mailboxes(field.value.decode("utf-8", "surrogateescape"))
        kept = [box for box in boxes if box.address is None or key(box.address) in wanted]
        for box in kept:
            missing.pop(key(box.address) if box.address else "", None)
        if len(kept) == len(boxes):
            fields.append(field)
            continue
        gone = [str(box.address) for box in boxes if box not in kept]
        notes.append(f"took {_told(gone)} out of {field.label}: Graph would send it to them too, and this is not for them")
        if named := [box for box in kept if box.address]:
            fields.append(Field(fold_list(field.label, map(_written, named))))
    if missing:
        notes.append(f"added {_told(list(map(str, missing.values())))} as Bcc: Graph sends only to those that are named")
        fields = _with_bcc(fields, list(missing.values()))
    changed = replace(message, fields=tuple(fields)) if notes else message
    return Addressed(changed, len(changed.head) - len(message.head), tuple(notes))


def _with_bcc(fields: list[Field], added: Sequence[Address]) -> list[Field]:
    old = [field.value.decode("utf-8", "surrogateescape") for field in fields if field.name == "bcc"]
    boxes = [box for value in old for box in read_mailboxes(value)]
    texts = [_written(box) for box in boxes if box.address] + [str(with_a_labels(path)) for path in added]
    return [*(field for field in fields if field.name != "bcc"), Field(fold_list("Bcc", texts))]


def key(address: Address) -> str:
    """Equal for equal mailboxes: Exchange takes no notice of the case of an address."""
    with suppress(UnicodeError):
        address = with_a_labels(address)
    return f"{address.local}@{address.domain}".lower()


def _written(box: Mailbox) -> str:
    return f"{box.phrase} <{box.address}>" if box.phrase else write_mailbox(box)


def _told(names: Sequence[str]) -> str:
    more = len(names) - _MOST_TOLD
    return ", ".join(names[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


def request_size(octets: int) -> int:
    """How many octets of a request so many octets of a message are, in base64."""
    return (octets + 2) // 3 * 4


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that can go by itself.  `size` is its octets decoded, `encoded` as they are in the message.

    `number` is that of `mime_walk`, 0 for the whole body; `text`: it is (a form of) the text that people read.
    """

    number: int
    name: str
    kind: str
    content_id: str
    inline: bool
    encoding: str
    text: bool
    size: int = 0
    encoded: int = 0


def attachments_of(message: Message) -> tuple[Attachment, ...]:
    """The parts that can go by themselves, in order; all of the body is read."""
    found: dict[int, Attachment] = {}
    sizes: dict[int, list[int]] = {}
    decoders = {}
    for number, event in _events(message):
        if number not in found:
            part = _attachment(number, event, message)
            if part is None:
                continue
            found[number], sizes[number], decoders[number] = part, [0, 0], decoder(part.encoding)
        if _own_head(number, event):
            continue
        octets = _octets(event)
        sizes[number][0] += len(decoders[number].feed(octets))
        sizes[number][1] += len(octets)
    return tuple(
        replace(part, size=sizes[number][0] + len(decoders[number].close()), encoded=sizes[number][1])
        for number, part in found.items()
    )


def taken_out(parts: Sequence[Attachment], size: int) -> tuple[Attachment, ...] | None:
    """Which parts go by themselves so that the rest of a message of `size` octets is small enough; None if nothing helps.

    The largest first; the text that people read only if nothing else helps.
    """
    chosen, left = set[int](), size
    for part in sorted(parts, key=lambda part: (part.text, -part.encoded)):
        if request_size(left) <= LARGEST_REQUEST:
            break
        chosen.add(part.number)
        left -= part.encoded
    if request_size(left) > LARGEST_REQUEST:
        return None
    return tuple(part for part in parts if part.number in chosen)


def without(message: Message, numbers: AbstractSet[int]) -> Iterator[bytes]:
    """The message without these parts; a multipart that loses all of its own gets an empty text."""
    if 0 in numbers:
        fields = [field for field in message.fields if not field.name.startswith("content-")]
        yield b"".join(field.raw for field in fields) + _EMPTY_PART
        return
    yield message.head
    opening: Delimiter | None = None
    parts: dict[bytes, int] = {}
    for number, event in _events(message):
        if isinstance(event, Delimiter) and number == BETWEEN:
            if opening is not None:
                yield _octets(opening)
            opening = None
            if not event.closing:
                opening = event
                continue
            if not parts.get(event.boundary):
                yield b"\r\n--" + event.boundary + b"\r\n" + _EMPTY_PART
            yield _octets(event)
        elif number in numbers:
            opening = None
        else:
            if opening is not None:
                parts[opening.boundary] = parts.get(opening.boundary, 0) + 1
                yield _octets(opening)
                opening = None
            yield _octets(event)


def contents(message: Message, parts: Sequence[Attachment]) -> Iterator[bytes]:
    """The decoded octets of these parts, one part after the other in the message's order."""
    encodings = {part.number: part.encoding for part in parts}
    current, undo = BETWEEN, decoder("")
    for number, event in _events(message):
        if number != current:
            yield undo.close()
            current, undo = number, decoder(encodings.get(number, ""))
        if number in encodings and not _own_head(number, event):
            yield undo.feed(_octets(event))
    yield undo.close()


def _events(message: Message) -> Iterator[tuple[int, Event]]:
    """Each event of the body with the number of the part that it belongs to; -1 for what is between parts.

    A message inside the message, and a signed multipart, are one part with all that is in them.
    """
    top = content_type(mime_fields(message.fields))
    whole = 0 if top.kind == "message/rfc822" or _sealed(top) else None
    within: tuple[int, bytes] | None = None
    opened: list[bytes] = []
    for event in walk(top, message.body, base64=transfer_encoding(message.fields) == "base64"):
        if whole is not None:
            yield whole, event
            continue
        if isinstance(event, Delimiter):
            if within and event.boundary != within[1]:
                yield within[0], event
                continue
            within = None
            while event.boundary in opened:
                opened.pop()
            if not event.closing:
                opened.append(event.boundary)
            yield BETWEEN, event
        elif within:
            yield within[0], event
        else:
            if isinstance(event, PartHead) and (event.kind.kind == "message/rfc822" or _sealed(event.kind)):
                within = event.number, opened[-1] if opened else b""
            yield event.number, event


def _own_head(number: int, event: Event) -> bool:
    """Whether this is the header of the part itself, not of a message inside; that of the whole is no event."""
    return isinstance(event, PartHead) and 0 < event.number == number


def _sealed(kind: ContentType) -> bool:
    return kind.kind == "multipart/signed"


def _octets(event: Event) -> bytes:
    if isinstance(event, Octets):
        return event.block
    if isinstance(event, Delimiter):
        return b"" if event.missing and event.spare else event.octets
    return b"".join(field.raw for field in event.fields) + event.separator


def _attachment(number: int, event: Event, message: Message) -> Attachment | None:
    """What begins with this event, if it can go by itself: a multipart cannot, nor what is signed."""
    if number == 0:
        fields, kind, signed = message.fields, content_type(mime_fields(message.fields)), False
    elif isinstance(event, PartHead):
        fields, kind, signed = event.fields, event.kind, event.sealed
    else:
        return None
    if signed or kind.multipart or number < 0:
        return None
    said = first(fields, "content-disposition")
    disposition = said.value.split(b";")[0].strip().lower() if said else b""
    identity = first(fields, "content-id")
    content_id = identity.value.decode("ascii", "ignore").strip("<> \t") if identity else ""
    name = _last(name_said(fields, kind))
    text = kind.text and disposition != b"attachment" and not name
    return Attachment(
        number,
        name or _own_name(kind, fields),
        _written_kind(kind),
        content_id,
        bool(content_id) and disposition != b"attachment",
        transfer_encoding(fields),
        text,
    )


def _last(name: str) -> str:
    """A name without folders and control characters, and not too long."""
    bare = name.replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in bare if char.isprintable()).strip()[:_LONGEST_NAME]


def _written_kind(kind: ContentType) -> str:
    charset = f"; charset={kind.charset}" if kind.text and kind.charset.isalnum() else ""
    return (kind.kind or "text/plain") + charset


def _own_name(kind: ContentType, fields: Sequence[Field]) -> str:
    if kind.kind == "message/rfc822":
        return "message.eml"
    stem = "text" if kind.text else "attachment"
    described = first(fields, "content-description")
    if described and (words := decode_words(described.value.decode("latin-1"))).isprintable() and len(words) < 100:
        stem = words.replace("/", "-").replace("\\", "-")
    return stem + extension_for(kind.kind, b"")
