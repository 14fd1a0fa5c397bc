"""A message as octets: header fields and a body, not refolded.

`b"".join(Message.parse(content))` always equals the content; the body is streamed.  RFC 5322 s2.  Pure.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

HEADER_LIMIT = 256 * 1024
"""Octets of a header section that are read; everything after them is body."""

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"(?<!\r)\r*+\n(?=[ \t])")  # possessive: a run of CRs is looked at once
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_BLANK_LINE = re.compile(rb"(?:\A|\n)(\r*\n)")


class Field:
    """One header field: its raw octets with folds and line end.  It is never changed.

    `name` is in lower case, "" if the line is no field (no colon, or a continuation of nothing).
    """

    __slots__ = ("name", "raw")

    def __init__(self, raw: bytes) -> None:
        match = _NAME.match(raw)
        self.raw = raw
        self.name = match[1].decode("ascii").lower() if match else ""

    @classmethod
    def again(cls, name: str, raw: bytes) -> "Field":
        """A field with new octets, whose name (in lower case) is known."""
        field = cls.__new__(cls)
        field.raw = raw
        field.name = name
        return field

    @classmethod
    def of(cls, name: str, value: str | bytes) -> "Field":
        """A new field; `value` is ASCII or octets, already folded if needed (CRLF and a blank)."""
        octets = value if isinstance(value, bytes) else value.encode("ascii")
        return cls(name.encode("ascii") + b": " + octets + b"\r\n")

    @property
    def label(self) -> str:
        """The name as it was written."""
        return self.raw[: len(self.name)].decode("ascii")

    @property
    def value(self) -> bytes:
        """The text after the colon, unfolded, without blanks at its ends; the whole line if it is no field."""
        rest = self.raw.partition(b":")[2] if self.name else self.raw
        bare = rest.strip()
        return _FOLD.sub(b"", bare) if b"\n" in bare else bare

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Field) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Field({self.raw!r})"


@dataclass(frozen=True)
class Message:
    """Header fields, the empty line after them (b"" if there is none), and the body, which may be iterated again.

    Iterating a message yields its octets in blocks.
    """

    fields: tuple[Field, ...]
    separator: bytes
    body: Iterable[bytes]

    @classmethod
    def parse(cls, content: Iterable[bytes]) -> "Message":
        """Splits content (which may be iterated again) at the first empty line, or after HEADER_LIMIT octets."""
        head = bytearray()
        end = None
        searched = 0
        for block in content:
            head += block
            end = _BLANK_LINE.search(head, searched)
            if end or len(head) > HEADER_LIMIT:
                break
            searched = max(head.rfind(b"\n"), 0)
        section, separator = _cut(bytes(head), end)
        return cls(fields_of(_LINE.findall(section)), separator, Rest(content, len(section) + len(separator)))

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        yield from self.body

    @cached_property
    def head(self) -> bytes:
        """The header section with the empty line after it."""
        return b"".join([field.raw for field in self.fields]) + self.separator

    @cached_property
    def size(self) -> int:
        """Octets in all; the body is read once to count them."""
        return len(self.head) + sum(map(len, self.body))

    def get(self, name: str) -> Field | None:
        """The first field of that name (in lower case)."""
        return first(self.fields, name)

    def all(self, name: str) -> tuple[Field, ...]:
        return tuple(field for field in self.fields if field.name == name)


def first(fields: Iterable[Field], name: str) -> Field | None:
    """The first field of that name (in lower case)."""
    for field in fields:
        if field.name == name:
            return field
    return None


def replaced(fields: tuple[Field, ...], new: Field, *, absent: int | None = None) -> tuple[Field, ...]:
    """The new field in the place of the first of its name; the others of that name are removed.

    If there is none, the new field goes to the place `absent`, by default the end.
    """
    names = [field.name for field in fields]
    place = names.index(new.name) if new.name in names else len(fields) if absent is None else absent
    others = [field for field in fields if field.name != new.name]
    return (*others[:place], new, *others[place:])


@dataclass(frozen=True, slots=True)
class Rest:
    """The content after its first `offset` octets; may be iterated again."""

    content: Iterable[bytes]
    offset: int

    def __iter__(self) -> Iterator[bytes]:
        skip = self.offset
        for block in self.content:
            if skip >= len(block):
                skip -= len(block)
            elif skip:
                yield bytes(block[skip:])
                skip = 0
            else:
                yield block


def _cut(head: bytes, end: re.Match[bytes] | None) -> tuple[bytes, bytes]:
    if end and end.start(1) <= HEADER_LIMIT:
        return head[: end.start(1)], end[1]
    if len(head) <= HEADER_LIMIT:
        return head, b""
    whole_lines = head.rfind(b"\n", 0, HEADER_LIMIT) + 1
    return head[: whole_lines or HEADER_LIMIT], b""


def fields_of(lines: Iterable[bytes]) -> tuple[Field, ...]:
    """One field for each line with its continuation lines."""
    units: list[list[bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and units:
            units[-1].append(line)
        else:
            units.append([line])
    return tuple(Field(b"".join(unit)) for unit in units)
