"""What a person sees of a message: subject, sender, text, pictures.  Read once, with bounds for each.  Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.mail.body_scan import ScannedPart
from relay.mail.charset import vote
from relay.mail.charset_labels import holds_text, label_for, sample_of
from relay.mail.charset_names import read, readings
from relay.mail.encoded_words import readable
from relay.mail.file_parts import FilePart, file_parts
from relay.mail.html_text import text_of
from relay.mail.message import Message
from relay.mail.mime import ContentType
from relay.mail.policy import RepairPolicy

MOST_TEXT = 128 * 1024
"""Octets of text that are read, of all parts together."""

MOST_PICTURES = 10
MOST_OCTETS = 25_000_000
"""Of all pictures of a message together."""

_MOST_PARTS = 100
_SAMPLE = 32 * 1024  # octets of a text by which its charset is judged
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
class KeptPart:
    about: FilePart
    picture: str
    kept: bytearray = field(default_factory=bytearray)
    full: bool = False


def readable_of(content: Iterable[bytes], *, pictures: bool = True, whole: bool = True) -> Readable:
    """Reads a message, repaired or not (content may be iterated again).

    `pictures`: whether they are wanted.  `whole`: False if the content ends too early.
    """
    message = Message.parse(content)
    texts, named, images = list[KeptPart](), list[KeptPart](), list[KeptPart]()
    others, room = 0, MOST_OCTETS if pictures else 0
    part: KeptPart | None = None
    for event in file_parts(message):
        if isinstance(event, FilePart):
            part = KeptPart(event, _picture_kind(event))
            others += event.attached and not part.picture
            group = images if part.picture else named if event.attached else texts
            if len(group) < _MOST_PARTS and (group is not named or (event.inline and event.kind.startswith("text/"))):
                part.full = group is images and len(images) >= MOST_PICTURES
                group.append(part)
            else:
                part = None
        elif part is not None and part.picture:
            room = _take(part, event, room)
        elif part is not None:
            part.kept += event[: MOST_TEXT - sum(len(one.kept) for one in group)]
    if not whole and part is not None:
        part.full = True
    text = best_text(texts)
    if not text and (text := best_text(named)):  # some devices give the one text that there is a file's name
        others -= len(named)
    found = [_picture(one) for one in images if not one.full]
    return Readable(
        subject=_line(message, "subject"),
        sender=_line(message, "from"),
        text=text,
        pictures=tuple(one for one in found if len(one.content) >= _LEAST_PICTURE),
        others=others,
        too_large=sum(1 for one in images if one.full) if pictures else 0,
    )


def _picture_kind(part: FilePart) -> str:
    if part.kind in _KINDS:
        return "image/jpeg" if part.kind in ("image/jpg", "image/pjpeg") else part.kind
    ending = _ENDINGS.get(_ending(part.name))
    return f"image/{ending}" if ending and part.attached and not part.kind.startswith("text/") else ""


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _take(part: KeptPart, octets: bytes, room: int) -> int:
    """Keeps of a picture what there is room for; the room that is left."""
    if part.full:
        return room
    if len(octets) > room:
        room += len(part.kept)
        part.full, part.kept = True, bytearray()
        return room
    part.kept += octets
    return room - len(octets)


def _picture(part: KeptPart) -> Picture:
    name = part.about.name.replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if char.isprintable())[-100:] or "picture"
    if _ending(name) not in _ENDINGS:
        name = f"{name}.{part.picture.partition('/')[2].replace('jpeg', 'jpg')}"
    return Picture(name, part.picture, bytes(part.kept))


def best_text(parts: list[KeptPart]) -> str:
    """The plain text; the HTML where there is none, or where it only says that there is HTML."""
    plain = "\n\n".join(text for part in parts if part.about.kind != "text/html" and (text := text_of_part(part)))
    if plain and not (len(plain) < _LONGEST_STUB and _STUB.search(plain)):
        return plain
    return (
        "\n\n".join(text for part in parts if part.about.kind == "text/html" and (text := text_of(text_of_part(part)))) or plain
    )


def text_of_part(part: KeptPart) -> str:
    octets, said = bytes(part.kept), part.about.charset
    kind = ContentType(part.about.kind, {"charset": said})
    about = ScannedPart(1, (), kind, "", size=len(octets), sample=octets[:_SAMPLE])
    if not holds_text(about):
        return ""
    fallback = RepairPolicy().fallback_charset
    charset = label_for(about, vote([sample_of(about)], fallback), fallback=fallback) or said or "utf-8"
    text = read(octets, charset)
    if text is None:  # it may be cut in the middle of a character
        text = octets.decode(next(iter(readings(charset)), "utf-8"), "replace").rstrip("\ufffd")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _CONTROL.sub("", "\n".join(line.rstrip() for line in lines)).strip("\n")


def _line(message: Message, name: str) -> str:
    found = message.get(name)
    return readable(found.value.decode("utf-8", "replace")) if found else ""
