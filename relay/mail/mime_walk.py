"""Walks through the parts of a body block by block: part headers, octets, delimiters.  RFC 2046 s5.1.  Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from relay.mail.line_ends import blocks, crlf
from relay.mail.message import Field, fields_of
from relay.mail.mime import ContentType, content_type, transfer_encoding, untorn

BETWEEN = -1
"""The number for preamble and epilogue, which are no parts."""

_HEAD_LIMIT = 64 * 1024
_DEPTH = 30  # more levels than that are an attack on readers, not a message
MOST_PARTS = 1000
"""Likewise.  Everything after them is one more part, the rest, whose inside is not read."""

_GLUED = 8  # a boundary at least so long is no accident in the middle of a line
_LINE = re.compile(rb"[^\r\n]*(?:\r+\n?|\n|\Z)")
_AFTER = re.compile(rb"(--)?[ \t]*(?:\r+\n?|\n|\Z)")
_END = re.compile(rb"\r?\n\Z|\r\Z")
_FIELD = re.compile(rb"[!-9;-~]{1,120}[ \t]*:")
_MORE_FIELDS = re.compile(rb"(?:(?!--)[^\r\n]{1,200}\r?\n){0,2}?content-[a-z-]{2,30}[ \t]*:", re.IGNORECASE)
_MENDS = 5  # torn lines of one head that are put together


@dataclass(frozen=True, slots=True)
class PartHead:
    """The header of part `number` with CRLF line ends; `sealed`: it lies in a multipart/signed.

    `separator` is b"" if no empty line followed; `unseparated`: text followed at once.  `mended`: the fields were changed.
    `rest`: it has no header, and is everything after the most parts.
    """

    number: int
    fields: tuple[Field, ...]
    separator: bytes
    kind: ContentType
    sealed: bool
    rest: bool = False
    unseparated: bool = False
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Octets:
    """Octets of part `number` (or BETWEEN) as they came, but without the line end that belongs to a delimiter."""

    number: int
    block: bytes


@dataclass(frozen=True, slots=True)
class Delimiter:
    """A delimiter line; `lead` is the line end before it.  `missing`: it is not there but should be.

    `sealed`: a missing one that must not be added, since it would change a multipart/signed.
    `spare`: it closes a multipart whose own end is in the rest; it is needed only if the rest is encoded.
    """

    lead: bytes
    boundary: bytes
    closing: bool
    missing: bool = False
    glued: bool = False
    spare: bool = False
    sealed: bool = False

    @property
    def octets(self) -> bytes:
        """The line end before it, and the line."""
        return self.lead + b"--" + self.boundary + (b"--\r\n" if self.closing else b"\r\n")


Event = PartHead | Octets | Delimiter


@dataclass(slots=True)
class _Level:
    boundary: bytes
    sealed: bool
    digest: bool
    opened: bool = False


def walk(top: ContentType, body: Iterable[bytes], *, base64: bool = False, sealed: bool = False) -> Iterator[Event]:
    """The events of a body whose top-level header says `top`; `base64`: that header says so too.

    `sealed`: a signature covers all of it, as a multipart/signed does its parts.
    """
    walker = _Walker(top, base64=base64, sealed=sealed)
    for block in blocks(body):
        yield from walker.feed(block)
    yield from walker.close()


class _Walker:
    """State between two blocks."""

    def __init__(self, top: ContentType, *, base64: bool, sealed: bool) -> None:
        self.levels: list[_Level] = []
        self.number = 0
        self.current = 0
        self.base64 = base64
        self.held = b""
        self.at_line_start = True
        self.head: list[bytes] | None = None
        self.head_size = 0
        self.mends = 0
        self.embedded = False  # the header is that of a message in a message
        self.sealed = sealed
        self.nexts: dict[tuple[bytes, bool], int] = {}
        self.left: list[bytes] = []  # boundaries of the multiparts that were open where the rest began
        self._enter(top, identity=not base64)

    def _enter(self, kind: ContentType, *, identity: bool) -> None:
        """Prepares for what follows a header of this type."""
        sealed = self.sealed or kind.kind == "multipart/signed"
        if kind.boundary and len(self.levels) < _DEPTH:
            self.levels.append(_Level(kind.boundary, sealed, kind.kind == "multipart/digest"))
            self.current = BETWEEN
        elif kind.kind == "message/rfc822" and identity and self.number < MOST_PARTS:
            self._begin_head(sealed=self.sealed, embedded=True)
        else:
            self.current = self.number

    def _begin_head(self, *, sealed: bool, embedded: bool) -> None:
        self.head, self.head_size, self.mends, self.sealed, self.embedded = [], 0, 0, sealed, embedded

    def feed(self, block: bytes) -> Iterator[Event]:
        self.nexts.clear()
        place = 0
        while place < len(block):
            if self.head is not None:
                place, events = self._head_line(block, place)
                yield from events
                continue
            found = self._find(block, place)
            yield from self._text(block[place : found[0]] if found else block[place:])
            if not found:
                break
            start, end, level, closing = found
            glued = not self._starts_line(block, start)
            yield from self._delimit(level, closing=closing, glued=glued)
            place = end
        self.at_line_start = block[-1:] in (b"\r", b"\n")

    def close(self) -> Iterator[Event]:
        if self.head is not None:
            yield self._end_head(b"")
        lead = self.held or (b"" if self.at_line_start else b"\r\n")
        if self.held and not any(level.opened for level in self.levels):
            yield Octets(self.current, self.held)
        while self.levels:
            level = self.levels.pop()
            if level.opened:
                yield Delimiter(lead, level.boundary, closing=True, missing=True, sealed=level.sealed)
                lead = b""
        for boundary in reversed(self.left):
            yield Delimiter(b"\r\n", boundary, closing=True, spare=True)

    def _text(self, octets: bytes) -> Iterator[Event]:
        if not octets:
            return
        match = _END.search(octets[-2:]) if octets[-1:] in (b"\r", b"\n") else None
        end = len(octets) - (len(match[0]) if match else 0)
        # CR CR LF is one line end
        while octets[-1:] == b"\n" and octets[end - 1 : end] == b"\r":
            end -= 1
        if self.held or end:
            yield Octets(self.current, self.held + octets[:end])
        self.held = octets[end:]

    def _starts_line(self, block: bytes, place: int) -> bool:
        return block[place - 1 : place] in (b"\r", b"\n") if place else self.at_line_start

    def _find(self, block: bytes, start: int) -> tuple[int, int, int, bool] | None:
        """The next delimiter line: its start and end, its level, and whether it closes the multipart."""
        best: tuple[int, int, int, bool] | None = None
        for number, level in enumerate(self.levels):
            found = self._next_of(level.boundary, block, start)
            if found >= 0 and (best is None or found < best[0]):
                match = _AFTER.match(block, found + 2 + len(level.boundary))
                if match:
                    best = (found, _one_end(block, match), number, match[1] is not None)
        return best

    def _next_of(self, boundary: bytes, block: bytes, start: int) -> int:
        # a boundary within a line counts in some parts only; each of the two answers is searched once in a block
        glued = self.current != BETWEEN and (self.base64 or len(boundary) >= _GLUED)
        place = self.nexts.get((boundary, glued), -2)
        if place == -1 or place >= start:
            return place
        place = _mark(boundary, block, start)
        while place >= 0 and not self._may_delimit(block, place, glued=glued):
            place = _mark(boundary, block, place + 1)
        self.nexts[boundary, glued] = place
        return place

    def _may_delimit(self, block: bytes, place: int, *, glued: bool) -> bool:
        return self._starts_line(block, place) or (glued and block[place - 1 : place] != b"-")

    def _delimits(self, block: bytes, place: int) -> bool:
        """Whether a delimiter begins here, inside a part's header."""
        if not (block.startswith(b"--", place) and self._starts_line(block, place)):
            return False
        marks = [b"--" + level.boundary for level in self.levels]
        return any(block.startswith(mark, place) and _AFTER.match(block, place + len(mark)) for mark in marks)

    def _delimit(self, number: int, *, closing: bool, glued: bool) -> Iterator[Event]:
        lead, self.held = self.held, b""
        if glued:
            lead = b"\r\n"
        while len(self.levels) > number + 1:
            inner = self.levels.pop()
            if inner.opened:
                yield Delimiter(lead, inner.boundary, closing=True, missing=True, sealed=inner.sealed)
                lead = b""
        level = self.levels[number]
        level.opened = True
        yield Delimiter(lead, level.boundary, closing, glued=glued)
        if closing:
            self.levels.pop()
            self.current = BETWEEN
            self.base64 = False
        elif self.number >= MOST_PARTS:
            self.left = [each.boundary for each in self.levels if each.opened]
            self.levels = []
            self.base64 = False
            self.number += 1
            self.current = self.number
            yield PartHead(self.number, (), b"", ContentType(), level.sealed, rest=True)
        else:
            self._begin_head(sealed=level.sealed, embedded=False)

    def _head_line(self, block: bytes, place: int) -> tuple[int, list[Event]]:
        match = _LINE.match(block, place)
        end = _one_end(block, match) if match else len(block)
        line = block[place:end]
        if self._delimits(block, place):
            return place, [self._end_head(b"")]
        bare = line.rstrip(b"\r\n")
        if not bare:
            return end, [self._end_head(b"\r\n")]
        if self.head_size > _HEAD_LIMIT:
            return place, [self._end_head(b"")]
        if not ((bare[:1] in (b" ", b"\t") and self.head) or _FIELD.match(bare)):
            if self.sealed or not self._mend(bare, block, end):
                unseparated = not self.sealed and bool(self.head or not self.embedded)
                return place, [self._end_head(b"", unseparated=unseparated)]
        elif self.head is not None:
            self.head.append(crlf(line) if line != bare else bare + b"\r\n")
        self.head_size += len(line)
        return end, []

    def _mend(self, bare: bytes, block: bytes, end: int) -> bool:
        """Takes a line that is no field, if it is the rest of the field before it or stands between fields."""
        head = self.head
        if not head or self.mends >= _MENDS:
            return False
        start = next((place for place in range(len(head) - 1, 0, -1) if head[place][:1] not in (b" ", b"\t")), 0)
        if joined := untorn(b"".join(head[start:]).rstrip(b"\r\n \t"), bare):
            head[start:] = [joined + b"\r\n"]
        elif _MORE_FIELDS.match(block, end):
            head.append(b"X-Removed-Line: " + bare + b"\r\n")
        else:
            return False
        self.mends += 1
        return True

    def _end_head(self, separator: bytes, *, unseparated: bool = False) -> Event:
        fields = fields_of(self.head or [])
        self.head = None
        self.number += 1
        kind = content_type(fields)
        if not kind.said and not self.embedded and self.levels and self.levels[-1].digest:
            kind = ContentType("message/rfc822")  # what says nothing there (RFC 2046 s5.1.5)
        encoding = transfer_encoding(fields)
        self.base64 = encoding == "base64"
        mended = self.mends > 0
        head = PartHead(self.number, fields, separator, kind, self.sealed, unseparated=unseparated, mended=mended)
        self._enter(kind, identity=encoding not in ("base64", "quoted-printable"))
        return head


def _one_end(block: bytes, match: re.Match[bytes]) -> int:
    """Where a line ends; each of several CRs without an LF ends a line of its own."""
    end = match.end()
    if block[end - 1 : end] == b"\r":
        bare = match[0].rstrip(b"\r")
        return match.start() + len(bare) + 1
    return end


def _mark(boundary: bytes, block: bytes, start: int) -> int:
    """Where `--boundary` next ends a line, with only `--` and blanks after it; -1 if nowhere."""
    mark = b"--" + boundary
    place = block.find(mark, start)
    while place >= 0 and not _AFTER.match(block, place + len(mark)):
        place = block.find(mark, place + 1)
    return place
