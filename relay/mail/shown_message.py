"""What a person is shown of a stored message: header, text, what is attached, HTML.  With a bound for each.  Pure."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from relay.mail.charset import decode, vote
from relay.mail.encoded_words import readable
from relay.mail.file_parts import FilePart, file_parts
from relay.mail.message import Field, Message
from relay.mail.policy import RepairPolicy
from relay.mail.readable_body import MOST_TEXT, KeptPart, best_text, text_of_part

MOST_READ = 100_000_000
"""Octets of a message that are looked through."""
MOST_FIELDS = 200
LONGEST_FIELD = 2000
MOST_PARTS = 200
MOST_HTML = 1_000_000
MOST_PICTURES = 5_000_000
"""Octets of all pictures that the HTML shows."""

_MOST_TEXTS = 20
_PICTURES = frozenset({"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp", "image/bmp"})
_ACTING = re.compile(
    r"<(/?)(?=(?:meta|link|base|a|area|form|i?frame|frameset|object|embed|applet|video|audio|source|track|portal)\b)",
    re.IGNORECASE,
)
"""Tags that lead elsewhere: a browser looks names up and connects for some of them, whatever the policy of the page is."""
_SCRIPT = re.compile(r"<(/?)script\b", re.IGNORECASE)
_CID = re.compile(r"""\bcid:([^"'\s<>()]{1,200})""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """`name` is what the sender calls it, "" if nothing: never a file's name as it is; `size` in octets, decoded."""

    name: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """`fields` are name and text of header fields, `fields_left` how many more there are; so for attachments.

    `whole`: the message was read to its end.
    """

    fields: tuple[tuple[str, str], ...]
    fields_left: int
    text: str
    text_cut: bool
    html: bool
    attachments: tuple[AttachedFile, ...]
    attachments_left: int
    whole: bool


@dataclass(frozen=True, slots=True)
class FirstOctets:
    """The content up to a number of octets; may be iterated again."""

    content: Iterable[bytes]
    most: int = MOST_READ

    def __iter__(self) -> Iterator[bytes]:
        left = self.most
        for block in self.content:
            yield block[:left]
            left -= len(block)
            if left <= 0:
                return


@dataclass(slots=True)
class _Counted:
    about: FilePart
    size: int = 0


def shown_message(content: Iterable[bytes], size: int) -> ShownMessage:
    """Reads a message of `size` octets once, in blocks; the content may be iterated again."""
    message = Message.parse(FirstOctets(content))
    texts, files = list[KeptPart](), list[_Counted]()
    text: KeptPart | None = None
    file = _Counted(FilePart("", "", attached=True))
    left = cut = 0
    for event in file_parts(message):
        if isinstance(event, FilePart):
            text, file = None, _Counted(event)
            if not event.attached and len(texts) < _MOST_TEXTS:
                text = KeptPart(event, "")
                texts.append(text)
            elif len(files) < MOST_PARTS:
                files.append(file)
            else:
                left += 1
        elif text is not None:
            room = MOST_TEXT - sum(len(one.kept) for one in texts)
            cut += len(event) > room
            text.kept += event[: max(room, 0)]
        else:
            file.size += len(event)
    fields = [(one.label, shown_field(one)) for one in message.fields[:MOST_FIELDS] if one.name]
    return ShownMessage(
        fields=tuple(fields),
        fields_left=max(len(message.fields) - MOST_FIELDS, 0),
        text=best_text(texts),
        text_cut=bool(cut),
        html=any(one.about.kind == "text/html" for one in texts),
        attachments=tuple(AttachedFile(_line(one.about.name), one.about.kind, one.size) for one in files),
        attachments_left=left,
        whole=size <= MOST_READ,
    )


def shown_field(one: Field) -> str:
    """Its text for people: decoded, in one line."""
    octets = one.value[:LONGEST_FIELD]
    return readable(decode(octets, vote([octets], RepairPolicy().fallback_charset)))


def _line(text: str) -> str:
    return readable(text)[:LONGEST_FIELD]


@dataclass(slots=True)
class _Picture:
    kind: str
    kept: bytearray = field(default_factory=bytearray)


def shown_html(content: Iterable[bytes]) -> str | None:
    """The HTML of a message with its own pictures, for a frame that runs and fetches nothing; None if it has no HTML.

    It is still what a stranger wrote: only the frame's sandbox and policy make it harmless.
    """
    message = Message.parse(FirstOctets(content))
    texts, pictures = list[KeptPart](), dict[str, _Picture]()
    room, kept = MOST_PICTURES, bytearray()
    most = 0
    for event in file_parts(message):
        if isinstance(event, FilePart):
            kept, most = bytearray(), 0
            if event.kind == "text/html" and not event.attached and len(texts) < _MOST_TEXTS:
                texts.append(KeptPart(event, "", kept))
                most = MOST_HTML - sum(len(one.kept) for one in texts)
            elif event.content_id and event.kind in _PICTURES and len(pictures) < MOST_PARTS:
                pictures.setdefault(event.content_id, _Picture(event.kind, kept))
                most = room
        elif most > 0:
            piece = event[:most]
            kept += piece
            most -= len(piece)
            if texts and kept is texts[-1].kept:
                continue
            room -= len(piece)
    if not texts:
        return None
    source = "\n<hr>\n".join(text_of_part(one) for one in texts)
    inert = _SCRIPT.sub(r"<\1template", _ACTING.sub(r"<\1x-", source))
    return _CID.sub(_Pictures(pictures), inert)


class _Pictures:
    """Puts pictures where the HTML names them; one that is named again and again only as long as there is room."""

    def __init__(self, pictures: dict[str, _Picture]) -> None:
        self._pictures, self._room = pictures, 2 * MOST_PICTURES

    def __call__(self, found: re.Match[str]) -> str:
        picture = self._pictures.get(found[1])
        if picture is None or len(picture.kept) > self._room:
            return found[0]
        self._room -= len(picture.kept)
        return f"data:{picture.kind};base64,{b64encode(picture.kept).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class FieldPair:
    """A header field as it came and as it is sent, each as it is written; None where it is not there."""

    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """same, changed, added or removed."""
        if self.before is None or self.after is None:
            return "added" if self.before is None else "removed"
        return "same" if self.before == self.after else "changed"


def side_by_side(before: Sequence[Field], after: Sequence[Field]) -> list[FieldPair]:
    """The fields in the order in which they are sent, each beside what it was; what was removed comes after those."""
    rest = list(before[:MOST_FIELDS])
    pairs: list[FieldPair] = []
    for one in after[:MOST_FIELDS]:
        was = next((each for each in rest if each == one), None) or next(
            (each for each in rest if each.name == one.name and one.name), None
        )
        if was is not None:
            rest.remove(was)
        pairs.append(FieldPair(None if was is None else written(was.raw), written(one.raw)))
    return [*pairs, *(FieldPair(written(one.raw), None) for one in rest)]


def written(octets: bytes, longest: int = LONGEST_FIELD) -> str:
    """Octets as they are written: lines as lines, and what is neither a letter nor a sign by its number."""
    lines = octets[:longest].replace(b"\r\n", b"\n").decode("utf-8", "backslashreplace").rstrip("\n").split("\n")
    return "\n".join(
        "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in line) for line in lines
    )
