"""Finds the header section: where it begins and ends, and which of its lines are fields.  Repairs its form.

RFC 6409 s8 allows a submission server to repair it; RFC 5322 s3.6, s4.5.  Pure.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

from relay.mail.line_ends import header_text, split
from relay.mail.message import HEADER_LIMIT, Field
from relay.mail.mime import content_type

_KNOWN_NAMES = (
    "date from sender reply-to to cc bcc message-id in-reply-to references subject comments keywords received return-path"
    " delivered-to mime-version mime-typ importance priority precedence sensitivity organization organisation status errors-to"
    " list-id list-unsubscribe auto-submitted dkim-signature domainkey-signature authentication-results user-agent thread-topic"
    " thread-index disposition-notification-to return-receipt-to apparently-to envelope-to lines resent-date resent-from"
    " resent-to resent-cc resent-bcc resent-message-id resent-sender"
)
_KNOWN = frozenset(_KNOWN_NAMES.split())
_NAME = rb"(?=[!-9;-~]{0,119}?[A-Za-z])[!-9;-~]{1,120}+[ \t]*+:(?!//)"
_FIELD = re.compile(_NAME)
_NO_FIELDS = re.compile(rb"(?:(?![ \t\r\n]|" + _NAME + rb")[^\r\n]++(?:\r*+\n|\r|\Z))*")
_NAME_GAP = re.compile(rb"\A([!-9;-~]+)[ \t]+:")
_NO_HEADER_NAME = re.compile(rb"[!-9;-~]*?[^A-Za-z0-9: \t_-]")  # no name of a header field has a full stop, a slash, a bracket
_MBOX = re.compile(rb">?From [^:\s]")
_MBOX_DATE = re.compile(rb"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b[^:]{1,20}\b\d\d:\d\d\b.{0,30}?\d{4}\s{0,3}\Z")
_MBOX_END = 100  # octets at the end of a line, where the date of an mbox line stands
_CLEAN = re.compile(
    rb"^(?=[!-9;-~]{0,119}?[A-Za-z])[!-9;-~]{1,120}:(?!//)[^\r\n\0]*+\r\n(?:[ \t]++[^\r\n\0 \t][^\r\n\0]*+\r\n)*", re.MULTILINE
)
_REMOVED = b"X-Removed-Line:"
_BLANK_LINES = (b"\r\n", b"\n", b"\r", b"\r\r\n")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class HeaderSection:
    """Fields with CRLF line ends.  The first `length` octets of the content are the header, the body follows.

    `missing`: the message had no header section at all.
    """

    fields: tuple[Field, ...]
    length: int
    notes: tuple[str, ...]
    missing: bool = False


def read_header(content: Iterable[bytes]) -> HeaderSection:
    """Finds the header section in the first HEADER_LIMIT octets.  Of the content only a byte order mark, an mbox `From `
    line, and blank lines before the first field are removed.
    """
    raw = _first_octets(content)
    if clean := _clean(raw):
        return clean
    notes: list[str] = []
    start = 0
    for bom in _BOMS:
        if raw.startswith(bom):
            start = len(bom)
            notes.append("removed the byte order mark before the header")
    lines = split(header_text(raw[start:HEADER_LIMIT]))
    if len(raw) > HEADER_LIMIT and lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    sizes = list(map(len, lines))
    if cleaned := b"\0" in raw:
        lines = [line.replace(b"\0", b"") for line in lines]
    return _Reader(lines, sizes, start, notes, cleaned=cleaned).read()


def _first_octets(content: Iterable[bytes]) -> bytes:
    head = bytearray()
    for block in content:
        head += block
        if len(head) > HEADER_LIMIT + 2:
            break
    return bytes(head)


def _clean(raw: bytes) -> HeaderSection | None:
    """The header section if it needs no repair, which is the usual case; None if it may need some."""
    end = raw.find(b"\r\n\r\n", 0, HEADER_LIMIT) + 2
    if end < 2:
        if len(raw) <= HEADER_LIMIT:
            return None
        end = raw.rfind(b"\n", 0, HEADER_LIMIT) + 1
    units = _CLEAN.findall(raw, 0, end)
    if sum(map(len, units)) != end or not any(_is_known(unit) for unit in reversed(units)):
        return None
    return HeaderSection(tuple(map(Field, units)), end + 2 if raw[end : end + 2] == b"\r\n" else end, ())


_OPEN_WORD = re.compile(rb"=\?[!-<>@-~]{1,60}\?[bBqQ]\?[^?]{0,998}\Z")
_WORD_INSIDE = re.compile(rb"[A-Za-z0-9+/=_]{16,998}")
_WORD_END = re.compile(rb"[!->@-~]{0,998}\?=(?:[ \t]|\Z)")


class _Reader:
    """Reads the lines of a header section once."""

    def __init__(self, lines: list[bytes], sizes: list[int], start: int, notes: list[str], *, cleaned: bool) -> None:
        self.lines = lines
        self.sizes = sizes  # as they came: NULs that were removed count as part of the header
        self.cleaned = cleaned  # whether there were any
        self.place = 0
        self.length = start
        self.notes = notes
        self.units: list[list[bytes]] = []
        self.typed: list[bytes] = []  # the lines of Content-Type
        self.boundary = (0, b"")  # how many they were when the boundary was read, and the boundary
        self.ends_well = False
        self.joined = b""  # all lines joined, and where each ends; made at the first line that is no field
        self.ends: list[int] = []

    def read(self) -> HeaderSection:
        self.skip_before_header()
        first = self.place
        before = self.length
        known_until = _last_known(self.lines, first)
        if known_until < 0:
            return HeaderSection((), before, (*self.notes, "made a header: the device sent none"), missing=True)
        ended = self.read_fields(known_until)
        if not ended and self.place < len(self.lines):
            self.notes.append("added the empty line between header and text: the device sent none")
        fields = [Field(b"".join(unit)) for unit in self.units]
        return HeaderSection(tuple(fields), self.length, tuple(self.notes))

    def take(self) -> bytes:
        line = self.lines[self.place]
        self.length += self.sizes[self.place]
        self.place += 1
        if self.cleaned and self.sizes[self.place - 1] != len(line):
            self._note("removed NUL octets from the header")
        return line

    def skip_before_header(self) -> None:
        """M41, M43: skips blank lines and an mbox separator if a field follows."""
        ahead = self.place
        mbox = False
        while ahead < len(self.lines):
            line = self.lines[ahead]
            following = self.lines[ahead + 1] if ahead + 1 < len(self.lines) else b""
            if not mbox and _MBOX.match(line) and (_MBOX_DATE.search(line[-_MBOX_END:]) or _is_known(following)):
                mbox = True
            elif line.strip(b" \t\r\n"):
                break
            ahead += 1
        if ahead == self.place or ahead == len(self.lines) or not _is_field(self.lines[ahead].lstrip(b" \t")):
            return
        self.notes.append("removed the mbox line before the header" if mbox else "removed blank lines before the header")
        while self.place < ahead:
            self.take()

    def read_fields(self, known_until: int) -> bool:
        """Reads fields up to the blank line (True) or the first line that must be body text (False)."""
        lines = self.lines
        while self.place < len(lines):
            bare = lines[self.place].rstrip(b"\r\n")
            if _FIELD.match(bare):
                if self.place > known_until and self._is_text(bare):
                    return False
                self.take_field(bare)
            elif not bare:
                self.take()
                return True
            elif bare[:1] not in (b" ", b"\t"):
                before = self.units[-1][-2] if self.units else b""
                if b"=?" in before and _OPEN_WORD.search(before) and (rest := self.word_rest()):
                    for line in rest:
                        self.take()
                        self.units[-1] += [b" ", line, b"\r\n"]
                    self._note("put together a header line that was cut inside an encoded-word")
                    continue
                if self.place >= known_until or (bare[:2] == b"--" and self._is_delimiter(bare)):
                    return False
                self.remove_run(known_until)
            elif bare.strip(b" \t"):
                self.take_continuation(bare)
            else:
                if not self._goes_on():
                    self.take()
                    self._note("took a line of blanks for the end of the header")
                    return True
                self.take()
                self._note("removed a line of blanks inside the header")
        return False

    def word_rest(self) -> list[bytes]:
        """The next lines, up to the end of the encoded-word that was cut; none if it does not end."""
        rest: list[bytes] = []
        for line in self.lines[self.place : self.place + 20]:
            rest.append(line.rstrip(b"\r\n"))
            if _WORD_END.match(rest[-1]):
                return rest
            if not _WORD_INSIDE.fullmatch(rest[-1]):
                break
        return []

    def remove_run(self, known_until: int) -> None:
        """Removes all lines in a row that are no fields; there may be a hundred thousand."""
        lines, first = self.lines, self.place
        end = first + 1
        if end < known_until and not _FIELD.match(lines[end]):
            if not self.ends:
                self.joined, self.ends = b"".join(lines), list(accumulate(map(len, lines)))
            octets = _NO_FIELDS.match(self.joined, self.ends[first], self.ends[known_until - 1])
            end = max(end, bisect_right(self.ends, octets.end())) if octets else end
        self.place = end
        size = sum(self.sizes[first:end])
        self.length += size
        if self.cleaned and size != sum(map(len, lines[first:end])):
            self._note("removed NUL octets from the header")
        self.remove(lines[first:end])

    def take_field(self, bare: bytes) -> None:
        """M30: no blank may stand between the name and the colon."""
        self.take()
        if (b" :" in bare or b"\t:" in bare) and (mended := _NAME_GAP.sub(rb"\1:", bare, count=1)) != bare:
            self._note("removed the blank between a field name and its colon")
            bare = mended
        self.units.append([bare, b"\r\n"])
        if bare[:1] in b"Cc" and bare[:12].lower() == b"content-type":
            self.typed = self.units[-1]

    def _is_delimiter(self, bare: bytes) -> bool:
        """Whether this line is the body's first boundary, without an empty line before it."""
        if not self.typed:
            return False
        if self.boundary[0] != len(self.typed):
            self.boundary = len(self.typed), content_type([Field(b"".join(self.typed))]).boundary
        return bool(self.boundary[1]) and bare.rstrip(b" \t") == b"--" + self.boundary[1]

    def _is_text(self, bare: bytes) -> bool:
        """Whether `host.name: text` after the last known field is body text; not if an empty line ends the header later."""
        if self.ends_well or not _NO_HEADER_NAME.match(bare) or _is_known(bare):
            return False
        for line in self.lines[self.place :]:
            rest = line.rstrip(b"\r\n")
            if not rest:
                self.ends_well = True
                return False
            if rest[:1] not in (b" ", b"\t") and not _FIELD.match(rest):
                return True
        return True

    def take_continuation(self, bare: bytes) -> None:
        """M42: the first line of a header cannot be a continuation, so it is a field that was indented."""
        if self.units:
            self.take()
            self.units[-1] += [bare, b"\r\n"]
        elif _is_field(bare.lstrip(b" \t")):
            self._note("removed the blanks before the first header line")
            self.take_field(bare.lstrip(b" \t"))
        else:
            self.remove([self.take()])

    def remove(self, lines: list[bytes]) -> None:
        """M29: keeps lines that are no fields in an X-Removed-Line field, one for all lines in a row."""
        text = b"\r\n ".join([line.strip(b" \t\r\n") for line in lines])
        if self.units and self.units[-1][0] == _REMOVED:
            self.units[-1] += [b" ", text, b"\r\n"]
        else:
            self.units.append([_REMOVED, b" ", text, b"\r\n"])
        self._note("moved a header line without a colon to X-Removed-Line")

    def _goes_on(self) -> bool:
        """Whether a field or its continuation follows a line of blanks."""
        for line in self.lines[self.place + 1 : self.place + 50]:
            bare = line.rstrip(b"\r\n")
            if bare.strip(b" \t") or not bare:
                return bool(bare) and (bare[:1] in (b" ", b"\t") or _is_known(bare))
        return False

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _is_field(line: bytes) -> bool:
    return _FIELD.match(line) is not None


def _is_known(line: bytes) -> bool:
    if not _is_field(line):
        return False
    name = line.partition(b":")[0].strip().decode("ascii").lower()
    return name in _KNOWN or name.startswith(("x-", "content-", "list-", "resent-", "arc-"))


def _last_known(lines: list[bytes], first: int) -> int:
    """The place of the last known field before the first blank line; -1 if there is none."""
    end = len(lines)
    for blank in _BLANK_LINES:
        with suppress(ValueError):
            end = min(end, lines.index(blank, first, end))
    for place in range(end - 1, first, -1):
        if _is_known(lines[place]):
            return place
    return first if first < end and _is_known(lines[first].lstrip(b" \t")) else -1
