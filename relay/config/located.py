"""YAML in which every value knows its line, and no value is anything but text until its setting types it.

Built on PyYAML's events, not on its composed nodes: a node cannot tell a written tag from a guessed one, nor where an
alias stood; and events need no recursion, however deep a file nests.  Always the pure Python parser, so that a mistake
reads the same on every machine.  Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import yaml

DEPTH = 30
"""Lists and mappings inside each other; the settings need five."""

LARGEST = 1_000_000
"""Octets; a longer file is not a configuration."""

_HINTS = (
    (re.compile(r"cannot start any token|while scanning an alias|while scanning a directive"), "put the value in quotes"),
    (re.compile(r"'[}\]]', but got '[{]'"), "put ${NAME} in quotes between { } and [ ]"),
    (re.compile(r"expected the node content, but found ':'"), "put the value in quotes"),
    (re.compile(r"mapping values are not allowed"), "put a value that contains ': ' in quotes, or check the indentation"),
    (re.compile(r"expected <block end>"), "check the indentation"),
    (re.compile(r"could not find expected ':'"), "a setting is written as 'key: value', with a blank after the colon"),
)

_TELLS_WHERE_IT_BEGAN = re.compile(r"unexpected end of stream|could not find expected ':'")
"""Errors that PyYAML notices a line or more too late."""


class Place(NamedTuple):
    """Where something stands; line and column count from 1, 0 where there is no file."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that must be put right: its place, the setting's path, and what was expected and found."""

    place: Place
    path: str
    text: str

    def __str__(self) -> str:
        return located(self.place, self.path, self.text)


def located(place: Place, path: str, text: str) -> str:
    """`file:line:column: key.path: text`; parts that are not known are left out."""
    where = f"{place.file}:{place.line}:{place.column}" if place.file else ""
    return ": ".join(part for part in (where, path, text) if part)


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar as written.  `plain` is without quotes; `commented`: a comment follows on its line."""

    place: Place
    path: str
    text: str
    plain: bool = False
    commented: bool = False
    literal: bool = False  # no ${NAME} is looked for: it came from the environment itself

    @property
    def nothing(self) -> bool:
        """A key without a value, or YAML's words for that."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")

    def words(self, *, commas: bool = True) -> tuple["Text", ...]:
        """`a, b` and `a b` are two values, where a list has to be one text."""
        return tuple(replace(self, text=word) for word in (self.text.replace(",", " ") if commas else self.text).split())


@dataclass(frozen=True, slots=True)
class Items:
    place: Place
    path: str
    items: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """`keys` tells where each key stands."""

    place: Place
    path: str
    entries: Mapping[str, "Node"] = field(default_factory=dict)
    keys: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """A value whose mistake has been told already."""

    place: Place
    path: str


Node = Text | Items | Table | Broken


def parse(octets: bytes, file: str) -> tuple[Node | None, list[Mistake]]:
    """The one document of a file and all that is wrong with its form; None is an empty file or an unreadable one."""
    if len(octets) > LARGEST:
        return None, [Mistake(Place(file, 1, 1), "", f"expected at most {LARGEST} octets, found {len(octets)}")]
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        return None, [_not_utf8(octets, file, bad.start)]
    composer = _Composer(text, file)
    root = composer.compose()
    return root, composer.mistakes


def _not_utf8(octets: bytes, file: str, start: int) -> Mistake:
    if octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Mistake(Place(file, 1, 1), "", "expected UTF-8 text, found UTF-16; save the file as UTF-8")
    before = octets[:start].decode("utf-8", "replace")
    found = f"expected UTF-8 text, found the octet 0x{octets[start]:02x}; save the file as UTF-8"
    return Mistake(_place_at(file, before), "", found)


def _place_at(file: str, before: str) -> Place:
    """The place right after the text `before`."""
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", before)
    return Place(file, len(lines), len(lines[-1]) + 1)


def segment(key: str) -> str:
    """A key as a part of a path: one printable word.  What follows a colon may be a secret (`{password:x}`)."""
    head, colon, _ = key.partition(":")
    shown = head + ":..." if colon else head
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return shown if shown.isprintable() and shown and " " not in shown else repr(shown)


class _Frame:
    """A list or mapping that is still open."""

    def __init__(self, place: Place, path: str, is_table: bool) -> None:
        self.place, self.path, self.is_table = place, path, is_table
        self.items: list[Node] = []
        self.entries: dict[str, Node] = {}
        self.keys: dict[str, Place] = {}
        self.key: str | None = None
        self.key_next = is_table
        self.keep = True

    def child_path(self) -> str:
        if not self.is_table:
            return f"{self.path}[{len(self.items)}]"
        if self.key_next or self.key is None:
            return self.path
        return f"{self.path}.{segment(self.key)}" if self.path else segment(self.key)

    def node(self) -> Node:
        if self.is_table:
            return Table(self.place, self.path, self.entries, self.keys)
        return Items(self.place, self.path, tuple(self.items))


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)
        self.mistakes: list[Mistake] = []
        self.open: list[_Frame] = []
        self.root: Node | None = None
        self.documents = 0

    def compose(self) -> Node | None:
        """Reads all events; stops at what cannot be read at all."""
        try:
            loader = yaml.SafeLoader(self.text)
        except yaml.reader.ReaderError as bad:
            self._unprintable(bad)
            return None
        try:
            while loader.check_event():
                if not self._take(loader.get_event()):  # type: ignore[no-untyped-call]
                    return None
        except yaml.MarkedYAMLError as bad:
            self._malformed(bad)
            return None
        except yaml.reader.ReaderError as bad:
            self._unprintable(bad)
            return None
        except (ValueError, OverflowError, RecursionError):
            # The scanner hands \U escapes to chr() and %YAML numbers to int() unchecked.
            mark = loader.get_mark()
            self._say(self._place(mark), "", "expected YAML, found an escape or number that cannot be")
            return None
        finally:
            loader.dispose()
        return self.root

    def _take(self, event: yaml.Event) -> bool:
        """False: no use in reading on."""
        place = self._place(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._say(place, "", "expected one document, found a second one; everything goes into the first")
                return False
        elif isinstance(event, yaml.AliasEvent):
            self._say(place, self._path(), "expected the value itself, found an alias (*); write it out, or put it in quotes")
            self._add(Broken(place, self._path()))
        elif isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, place))
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            return self._begin(event, place)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._add(self.open.pop().node())
        return True

    def _begin(self, event: yaml.CollectionStartEvent, place: Place) -> bool:
        self._plain_yaml(event, place)
        self.open.append(_Frame(place, self._path(), isinstance(event, yaml.MappingStartEvent)))
        if len(self.open) > DEPTH:
            self._say(place, "", f"expected at most {DEPTH} levels, found a value nested deeper")
            return False
        return True

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Node:
        path = self._path()
        if not self._plain_yaml(event, place):
            return Broken(place, path)
        if any("\ud800" <= char <= "\udfff" for char in event.value):
            self._say(place, path, "expected text, found half of a surrogate pair")
            return Broken(place, path)
        plain = event.style is None
        return Text(place, path, event.value, plain, commented=plain and self._comment_follows(event.end_mark))

    def _plain_yaml(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place) -> bool:
        """Tags and anchors are told without their names: `password: !x` and `password: &x` may be secrets."""
        if event.tag is not None:
            self._say(place, self._path(), "expected a plain value, found a tag (!); put the value in quotes")
        elif event.anchor is not None:
            self._say(place, self._path(), "expected a plain value, found an anchor (&); put the value in quotes")
        return event.tag is None and event.anchor is None

    def _add(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        frame = self.open[-1]
        if not frame.is_table:
            frame.items.append(node)
        elif frame.key_next:
            self._key(frame, node)
        else:
            if frame.key is not None and frame.keep:
                frame.entries[frame.key] = node
            frame.key_next = True

    def _key(self, frame: _Frame, node: Node) -> None:
        frame.key_next, frame.keep = False, True
        frame.key = node.text if isinstance(node, Text) else None
        if isinstance(node, Items | Table):
            self._say(node.place, frame.path, "expected a name before the colon, found a list or a mapping")
        if frame.key is None:
            return
        if frame.key in frame.keys:
            first = frame.keys[frame.key].line
            self._say(node.place, frame.child_path(), f"set twice; first on line {first}")
            frame.keep = False
        else:
            frame.keys[frame.key] = node.place

    def _path(self) -> str:
        return self.open[-1].child_path() if self.open else ""

    def _place(self, mark: Any) -> Place:
        return Place(self.file, mark.line + 1, mark.column + 1) if mark else Place(self.file, 1, 1)

    def _comment_follows(self, mark: Any) -> bool:
        line = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return re.match(r"[ \t]+#|(?<=[ \t])#", line[mark.column :]) is not None

    def _say(self, place: Place, path: str, text: str) -> None:
        self.mistakes.append(Mistake(place, path, text))

    def _malformed(self, bad: yaml.MarkedYAMLError) -> None:
        words = " ".join(part for part in (bad.context, bad.problem) if part)
        words = "found a tag (!)" if "undefined tag handle" in words else words  # PyYAML would repeat a part of the value
        hint = next((f"; {hint}" for pattern, hint in _HINTS if pattern.search(words)), "")
        hint = "; indent with blanks, not tabs" if "'\\t'" in words else hint
        hint = hint or self._unclosed(bad, words)
        began = _TELLS_WHERE_IT_BEGAN.search(words)
        mark = bad.context_mark if began and bad.context_mark else bad.problem_mark or bad.context_mark
        self._say(self._place(mark), "", f"expected YAML, found an error: {words}{hint}")

    def _unclosed(self, bad: yaml.MarkedYAMLError, words: str) -> str:
        """Where the bracket stands that lines further down still count into, if that is the trouble."""
        began, at = bad.context_mark, bad.problem_mark
        if not (began and at and began.line < at.line and words.startswith("while parsing a flow")):
            return ""
        return f"; the '{self.lines[began.line][began.column]}' of line {began.line + 1} is not closed"

    def _unprintable(self, bad: yaml.reader.ReaderError) -> None:
        code = bad.character if isinstance(bad.character, int) else ord(bad.character)
        where = _place_at(self.file, self.text[: bad.position])
        self._say(where, "", f"expected printable text, found the control character U+{code:04X}")
