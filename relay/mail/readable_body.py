"""What a person sees of a message: subject, sender, text, pictures.  Read once, with bounds for each.  Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.mail.charset_names import read, readings
from relay.mail.encoded_words import readable
from relay.mail.html_text import text_of
from relay.mail.message import Field, Message, first
from relay.mail.mime import ContentType, content_type, transfer_encoding
from relay.mail.mime_walk import BETWEEN, Octets, PartHead, walk
from relay.mail.part_content import Decoder, decoder_for, file_name

MOST_TEXT = 128 * 1024
"""Octets of one text part that are read."""

MOST_PICTURES = 10
MOST_OCTETS = 25_000_000
"""Of all pictures of a message together."""

_LEAST_PICTURE = 200  # octets; a smaller one counts who opened the mail
_ENDINGS = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png", "gif": "gif", "webp": "webp", "bmp": "bmp", "heic": "heic"}
_KINDS = frozenset(f"image/{name}" for name in (*_ENDINGS.values(), "jpg", "pjpeg", "heif", "tiff", "avif"))
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_STUB = re.compile(r"\bhtml\b", re.IGNORECASE)
_LONGEST_STUB = 250


@dataclass(frozen=True, slots=True)
class Picture:
    """`kind` is its media type, `name` has an ending that fits."""

    name: str
    kind: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Readable:
    """`others` counts attachments that are no pictures, `too_large` pictures for which there was no room."""

    subject: str = ""
    sender: str = ""
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    others: int = 0
    too_large: int = 0


@dataclass(slots=True)
class _Part:
    kind: ContentType
    decoder: Decoder
    name: str
    picture: str
    kept: bytearray = field(default_factory=bytearray)
    full: bool = False


def readable_of(content: Iterable[bytes], *, pictures: bool = True, whole: bool = True) -> Readable:
    """Reads a repaired message (content may be iterated again).

    `pictures`: whether they are wanted.  `whole`: False if the content ends too early.
    """
    message = Message.parse(content)
    top = content_type(message.fields)
    coded = transfer_encoding(message.fields) == "base64"
    parts: dict[int, _Part] = {}
    others = _Counted(pictures=0 if pictures else MOST_PICTURES)
    if not top.multipart:
        _begin(parts, 0, message.fields, top, others)
    for event in walk(top, message.body, base64=coded):
        if isinstance(event, PartHead) and not event.rest:
            _begin(parts, event.number, event.fields, event.kind, others)
        elif isinstance(event, Octets) and event.number != BETWEEN and event.number in parts:
            _take(parts[event.number], parts[event.number].decoder.feed(event.block), others)
    for part in parts.values():
        _take(part, part.decoder.close(), others)
    if not whole and parts:
        next(reversed(parts.values())).full = True
    found = [_picture(part) for part in parts.values() if part.picture and not part.full]
    return Readable(
        subject=_line(message.fields, "subject"),
        sender=_line(message.fields, "from"),
        text=_best([part for part in parts.values() if not part.picture]),
        pictures=tuple(one for one in found if len(one.content) >= _LEAST_PICTURE),
        others=others.attachments,
        too_large=sum(1 for part in parts.values() if part.picture and part.full) if pictures else 0,
    )


@dataclass(slots=True)
class _Counted:
    attachments: int = 0
    pictures: int = 0
    octets: int = 0


def _begin(parts: dict[int, _Part], number: int, fields: tuple[Field, ...], kind: ContentType, counted: _Counted) -> None:
    if kind.multipart or kind.kind == "message/rfc822":
        return
    name, said = file_name(fields), first(fields, "content-disposition")
    attached = bool(said and said.value.lower().startswith(b"attachment"))
    picture = _picture_kind(kind.kind, name)
    is_text = kind.kind in ("", "text/plain", "text/html") and not (attached and name)
    if not picture and not is_text:
        counted.attachments += 1
        return
    counted.pictures += bool(picture)
    part = _Part(kind, decoder_for(transfer_encoding(fields)), name, picture)
    part.full = counted.pictures > MOST_PICTURES
    parts[number] = part


def _picture_kind(kind: str, name: str) -> str:
    if kind in _KINDS:
        return "image/jpeg" if kind in ("image/jpg", "image/pjpeg") else kind
    ending = _ENDINGS.get(name.rpartition(".")[2].lower()) if "." in name else None
    return f"image/{ending}" if ending and not kind.startswith("text/") and kind else ""


def _take(part: _Part, octets: bytes, counted: _Counted) -> None:
    if part.full:
        return
    if not part.picture:
        part.kept += octets[: MOST_TEXT - len(part.kept)]
        return
    counted.octets += len(octets)
    if counted.octets > MOST_OCTETS:
        counted.octets -= len(octets) + len(part.kept)
        part.full, part.kept = True, bytearray()
        return
    part.kept += octets


def _picture(part: _Part) -> Picture:
    ending = part.picture.partition("/")[2].replace("jpeg", "jpg")
    fits = _ENDINGS.get(part.name.rpartition(".")[2].lower()) if "." in part.name else None
    return Picture(part.name if fits else f"{part.name or 'picture'}.{ending}", part.picture, bytes(part.kept))


def _best(parts: list[_Part]) -> str:
    """The plain text; the HTML where there is none, or where it only says that there is HTML."""
    plain = "\n\n".join(text for part in parts if part.kind.kind != "text/html" and (text := _text(part)))
    if plain and not (len(plain) < _LONGEST_STUB and _STUB.search(plain)):
        return plain
    return "\n\n".join(text for part in parts if part.kind.kind == "text/html" and (text := text_of(_text(part)))) or plain


def _text(part: _Part) -> str:
    octets, charset = bytes(part.kept), part.kind.charset or "utf-8"
    text = read(octets, charset)
    if text is None:  # it may be cut in the middle of a character
        text = octets.decode(next(iter(readings(charset)), "utf-8"), "replace").rstrip("\ufffd")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", "\n".join(line.rstrip() for line in text.split("\n"))).strip("\n")


def _line(fields: tuple[Field, ...], name: str) -> str:
    found = first(fields, name)
    return readable(found.value.decode("utf-8", "replace")) if found else ""
