"""The parts of a message as files: which they are, what the sender calls them, their decoded octets.

RFC 2046, RFC 2183 s2.3, RFC 2231, RFC 2047 (in parameters, where it does not belong and often is).  Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from relay.mail.charset import decode, vote
from relay.mail.charset_names import read
from relay.mail.decoders import AsIs, Decoder, decoder
from relay.mail.encoded_words import decode_words
from relay.mail.message import Field, Message, first
from relay.mail.mime import ContentType, content_type, read_content_type, transfer_encoding
from relay.mail.mime_walk import Delimiter, Octets, PartHead, walk
from relay.mail.policy import RepairPolicy

_BODIES = frozenset({"", "text/plain", "text/html"})
_SEALS = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-encrypted"}
)
"""What belongs to a signature or an encryption, and is no file of its own."""

_PIECE = re.compile(r"\*(\d{1,3})(\*?)\Z")
_CODED = ("base64", "quoted-printable")


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part that is no container.  `name` is what the sender calls it ("" if nothing), not yet safe as a file name.

    `kind` is its content type in lower case.  `attached`: a file; else a text that is to be read with the message.
    `inline`: it may be shown with the message, also if it is a file.  `content_id`: by which HTML shows it (RFC 2392).
    """

    kind: str
    name: str
    attached: bool
    charset: str = ""
    inline: bool = True
    content_id: str = ""


def file_parts(message: Message, fallback: Sequence[str] = RepairPolicy().fallback_charset) -> Iterator[FilePart | bytes]:
    """Each part, and after it its decoded octets in blocks.  An attached message is one part, as it came.

    `fallback` has the charsets to guess from where a name is raw 8-bit text.
    """
    return _Reader(message, fallback).events()


class _Reader:
    """One reading of the message, part by part."""

    def __init__(self, message: Message, fallback: Sequence[str]) -> None:
        self.message, self.fallback = message, fallback
        self.boundaries: list[bytes] = []  # of the multiparts that are open
        self.decoder: Decoder = AsIs()
        self.silent = False  # nobody wants the octets of this part
        self.whole: int | None = None  # how many multiparts are around an attached message, which goes as it came
        self.pending: PartHead | None = None

    def events(self) -> Iterator[FilePart | bytes]:
        top = content_type(self.message.fields)
        encoding = transfer_encoding(self.message.fields)
        yield from self._head(PartHead(0, self.message.fields, b"", top, sealed=False))
        for event in walk(top, self.message.body, base64=encoding == "base64"):
            if isinstance(event, PartHead):
                yield from self._head(event)
            elif isinstance(event, Delimiter):
                yield from self._delimiter(event)
            else:
                yield from self._octets(event)
        yield from self._over()
        yield from self._closed()

    def _head(self, head: PartHead) -> Iterator[FilePart | bytes]:
        if self.whole is not None:
            self._enter(head)
            yield b"".join(field.raw for field in head.fields) + (head.separator or b"\r\n")
            return
        yield from self._over()
        if head.kind.kind == "message/rfc822" and transfer_encoding(head.fields) not in _CODED:
            self.whole = len(self.boundaries)
            yield from self._begin(head, AsIs())
        else:
            self._enter(head)
            self.pending = head

    def _enter(self, head: PartHead) -> None:
        if head.kind.boundary:
            self.boundaries.append(head.kind.boundary)

    def _delimiter(self, event: Delimiter) -> Iterator[FilePart | bytes]:
        place = self.boundaries.index(event.boundary) if event.boundary in self.boundaries else None
        if self.whole is not None and (place is None or place >= self.whole):
            if not (event.missing or event.spare):
                yield event.octets
        else:
            self.whole = None
            yield from self._over()
            yield from self._closed()
        if place is not None:
            del self.boundaries[place if event.closing else place + 1 :]

    def _octets(self, event: Octets) -> Iterator[FilePart | bytes]:
        if self.pending is not None and self.pending.number == event.number:
            if self.pending.kind.boundary:  # so deep that it is not read as a multipart
                self.boundaries.pop()
            yield from self._begin(self.pending, decoder(transfer_encoding(self.pending.fields)))
        if event.number >= 0 or self.whole is not None:
            octets = self.decoder.feed(event.block)
            if octets and not self.silent:
                yield octets

    def _over(self) -> Iterator[FilePart | bytes]:
        """A part that had no octets is a file all the same; a container is none."""
        if self.pending is not None and not self.pending.kind.boundary:
            yield from self._begin(self.pending, AsIs())
        self.pending = None

    def _closed(self) -> Iterator[bytes]:
        octets, self.decoder = self.decoder.close(), AsIs()
        if octets and not self.silent:
            yield octets

    def _begin(self, head: PartHead, undo: Decoder) -> Iterator[FilePart]:
        self.pending, self.decoder = None, undo
        self.silent = head.kind.kind in _SEALS
        if not self.silent:
            yield self._described(head)

    def _described(self, head: PartHead) -> FilePart:
        kind = head.kind
        disposition = first(head.fields, "content-disposition")
        name = name_said(head.fields, kind, self.fallback)
        inline = not (head.rest or (disposition and disposition.value.lower().startswith(b"attachment")))
        attached = not inline or bool(name) or kind.kind not in _BODIES
        cid = first(head.fields, "content-id")
        content_id = cid.value.decode("latin-1").strip("<> ") if cid else ""
        return FilePart(kind.kind, name, attached, kind.charset, inline, content_id)


def name_said(fields: Sequence[Field], kind: ContentType, fallback: Sequence[str] = RepairPolicy().fallback_charset) -> str:
    """What the sender calls the part with these header fields and this content type; "" if nothing."""
    disposition = first(fields, "content-disposition")
    said = read_content_type(b"x; " + disposition.value.partition(b";")[2]) if disposition else ContentType()
    return _param(said.params, "filename", fallback) or _param(kind.params, "name", fallback)


def _param(params: Mapping[str, str], name: str, fallback: Sequence[str]) -> str:
    """A parameter as text: RFC 2231, encoded-words, or raw octets.  `params` as `mime.ContentType` has them."""
    pieces = _pieces(params, name)
    if pieces:
        charset, octets = _extended(pieces)
        return read(octets, charset) or _guessed(octets, fallback)
    text = params.get(name, "")
    if not text.isascii() or "\x1b" in text:
        text = _guessed(text.encode("latin-1"), fallback)
    return decode_words(text)


def _pieces(params: Mapping[str, str], name: str) -> list[tuple[str, bool]]:
    """The values of `name*` or of `name*0`, `name*1*` ... in order, each with whether it is percent-encoded."""
    if f"{name}*" in params:
        return [(params[f"{name}*"], True)]
    found: dict[int, tuple[str, bool]] = {}
    for key, value in params.items():
        if key.startswith(name) and (match := _PIECE.match(key, len(name))):
            found.setdefault(int(match[1]), (value, bool(match[2])))
    return [found[number] for number in sorted(found)] if 0 in found else []


def _extended(pieces: list[tuple[str, bool]]) -> tuple[str, bytes]:
    charset, (begun, coded) = "", pieces[0]
    if coded and begun.count("'") >= 2:
        charset, _, begun = begun.split("'", 2)
    values = [(begun, coded), *pieces[1:]]
    octets = b"".join(unquote_to_bytes(text.encode("latin-1")) if coded else text.encode("latin-1") for text, coded in values)
    return charset, octets


def _guessed(octets: bytes, fallback: Iterable[str]) -> str:
    return decode(octets, vote([octets], tuple(fallback)))
