"""A configuration's text without its secrets, and the text again that is meant when somebody has edited it.  Pure.

    password: hunter2        ──masked──▶    password: (hidden-1)    ──edited, restored──▶    password: hunter2

What is shown is what the description of the settings knows and does not call a secret.  All else is hidden: secrets, values
of keys that nobody knows (`pasword: ...`), and comments that look like a setting which was commented out.

A placeholder stands for its value where a secret may stand, and nowhere else: nobody can move a password to where it shows.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from relay.config.described import Setting
from relay.config.fields import without_secret
from relay.config.schema import SECTIONS

PLACEHOLDER = re.compile(r"\(hidden-([0-9]{1,6})\)")

_OWN_NAMES = frozenset({"upstreams", "devices"})
_OPEN_VALUES = frozenset({"recipients.aliases", "devices.*.header"})
_FREE = _OPEN_VALUES | {"upstreams", "devices", "listen.users"}
"""Mappings whose keys are names of one's own; of the first two the values are no settings either, and may be seen."""

_SETTINGS = {".".join(filter(None, (section.path, one.key))): one for section in SECTIONS for one in section.settings}
_KNOWN_KEYS = frozenset(part for path in (*_SETTINGS, *(one.path for one in SECTIONS)) for part in path.split("."))
_SECRET_KEYS = sorted({one.key for one in _SETTINGS.values() if one.secret}, key=len, reverse=True)
_SECRET_PATHS = frozenset(path for path, one in _SETTINGS.items() if one.secret)
_QUERY = re.compile(r"[?&][^=&\s]{1,60}=")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")

_COMMENT = re.compile(r"#[^\r\n\x85\u2028\u2029]*")
_LINE_END = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")
_SECRET_IN_COMMENT = re.compile(rf"\b(?:{'|'.join(_SECRET_KEYS)})\b[\"']?\s*[:=]\s*(?=\S)", re.IGNORECASE)
_SETTING_IN_COMMENT = re.compile(r"#+\s*(?:-\s+)?[\"']?(?P<key>[\w.@*-]{1,80})[\"']?:\s+(?=\S)")
_URL_IN_COMMENT = re.compile(r"(?<![\w+.-])(?!https?://)[A-Za-z][\w+.-]{0,40}://|(?<=- )https?://|https?://[^/\s]{1,200}@")

Exists = Callable[[str], bool]
"""Whether there is a file of this name, as the configuration would name it."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text that is not shown; `kind` is value, key or comment, `value` what YAML makes of it."""

    start: int
    end: int
    kind: str
    value: str = ""


class Misplaced(ValueError):
    """A placeholder stands where none may, or stands for nothing; `at` is its offset in the text."""

    def __init__(self, at: int) -> None:
        super().__init__("expected a value, found a placeholder, which stands for a hidden value only where a secret may stand")
        self.at = at


def general(path: Sequence[str]) -> str:
    """`upstreams.*.limits` of `upstreams`, `isp`, `limits`."""
    starred = path[0] in _OWN_NAMES if path else False
    return ".".join("*" if starred and number == 1 else key for number, key in enumerate(path))


def is_secret(path: Sequence[str], value: str, exists: Exists, *, literal: bool = False) -> bool:
    """Whether a value at this path must not be shown.  `literal`: `${NAME}` in it means nothing."""
    if not literal and _REFERENCE.fullmatch(value.strip()):
        return False
    if PLACEHOLDER.fullmatch(value):
        return True
    where = general(path)
    setting = _SETTINGS.get(where)
    if (setting and setting.names_secret) or (where.startswith("listen.users.") and path[-1].endswith("_file")):
        return not exists(value)
    if _below_secret(where):
        return True
    login, at, _ = value.rpartition("@")
    if (at and ":" in login.removeprefix("postgresql:").removeprefix("postgres:")) or _has_query(setting, value):
        return True
    return setting is None and general(path[:-1]) not in _OPEN_VALUES


def _below_secret(where: str) -> bool:
    return any(where == one or where.startswith(f"{one}.") for one in _SECRET_PATHS)


def _has_query(setting: Setting | None, value: str) -> bool:
    """Addresses of services often have a token there; that of a database has its particulars."""
    if setting and setting.holds_login:
        return "password=" in value.lower()
    return _QUERY.search(value) is not None


def spans(text: str, exists: Exists) -> list[Span]:
    """What is not shown of a text that `located.parse` finds nothing wrong with, in order."""
    found: list[Span] = []
    before = 0
    hidden_last = False
    for span, hide in _scalars(text, exists):
        found += _comments(text, before, span.start, after_secret=hidden_last)
        if hide and span.end > span.start:
            found.append(span)
        before, hidden_last = max(before, span.end), hide
    return [*found, *_comments(text, before, len(text), after_secret=hidden_last)]


@dataclass(slots=True)
class _Frame:
    path: tuple[str, ...]
    is_table: bool
    key: str | None = None
    span: tuple[int, int] = (0, 0)


def _scalars(text: str, exists: Exists) -> Iterator[tuple[Span, bool]]:
    """Every key and value, and whether it is hidden.  A key waits for its value."""
    open_: list[_Frame] = []
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            event = loader.get_event()  # type: ignore[no-untyped-call]
            frame = open_[-1] if open_ else None
            is_key = frame is not None and frame.is_table and frame.key is None
            path = frame.path + ((frame.key,) if frame.key is not None else ()) if frame else ()
            if isinstance(event, yaml.ScalarEvent):
                start, end = _index(event.start_mark), _index(event.end_mark)
                if is_key and frame:
                    frame.key, frame.span = event.value, (start, end)
                    continue
                nothing = event.style is None and event.value in ("", "~", "null", "Null", "NULL")
                if frame and frame.key is not None:
                    yield Span(*frame.span, "key", frame.key), _odd_key(frame, alone=nothing and end == start)
                    frame.key = None
                yield Span(start, end, "value", event.value), not nothing and is_secret(path, event.value, exists)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                if frame and frame.key is not None:
                    yield Span(*frame.span, "key", frame.key), _odd_key(frame)
                open_.append(_Frame(path, isinstance(event, yaml.MappingStartEvent)))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                open_.pop()
                if open_ and open_[-1].is_table:
                    open_[-1].key = None
    finally:
        loader.dispose()


def _index(mark: Any) -> int:
    return int(mark.index) if mark else 0


def _odd_key(frame: _Frame, *, alone: bool = False) -> bool:
    """Whether a key may be a secret that stands in the wrong place: `{nas, secret}`, `password hunter2`."""
    key, around = frame.key or "", general(frame.path)
    where, own_names = general((*frame.path, key)), around in _FREE
    known = where in _SETTINGS or any(one.path == where or one.path.startswith(f"{where}.") for one in SECTIONS)
    if known and not own_names:
        return False
    if alone or (_below_secret(around) and not own_names):
        return True
    return ":" in key if own_names else without_secret(key) != key


def _comments(text: str, start: int, end: int, *, after_secret: bool) -> Iterator[Span]:
    """`after_secret`: a secret stands before; what follows it on its line may be a part of it."""
    gap = text[start:end]
    for match in _COMMENT.finditer(gap):
        same_line = after_secret and not gap[: match.start()].strip(" \t")
        begin = 1 if same_line else _shown_until(match[0])
        if 0 <= begin < len(match[0]):
            yield Span(start + match.start() + begin, start + match.end(), "comment")


def _shown_until(comment: str) -> int:
    """Where that begins which may be a secret; -1 if nothing does."""
    said = [match.end() for match in [_SECRET_IN_COMMENT.search(comment)] if match]
    setting = _SETTING_IN_COMMENT.match(comment)
    said += [setting.end()] if setting and setting["key"] not in _KNOWN_KEYS else []
    said += [match.start() for match in (_URL_IN_COMMENT.search(comment), PLACEHOLDER.search(comment)) if match]
    return min(said, default=-1)


def masked(text: str, exists: Exists) -> tuple[str, list[Span]]:
    """The text to show, and what its placeholders stand for: `(hidden-1)` for the first."""
    found = spans(text, exists)
    pieces, before = [], 0
    for number, span in enumerate(found, 1):
        pieces += [text[before : span.start], f"(hidden-{number})"]
        # a block scalar ends with its line, which the placeholder must not swallow
        tail = text[span.start : span.end]
        pieces.append(tail[len(tail.rstrip("\r\n")) :][-2:])
        before = span.end
    return "".join([*pieces, text[before:]]), found


@dataclass(frozen=True, slots=True)
class Restored:
    """`text` has every value again, on the same lines as the draft.

    `shifts`: of each line the columns of its placeholders in the draft, and how much longer their values are; `values` are
    these values.
    """

    text: str
    shifts: Mapping[int, Sequence[tuple[int, int]]]
    values: Mapping[int, Sequence[str]]

    def shows(self, text: str, line: int = 0) -> bool:
        """Whether a text has a hidden value in it: a part of one of this line, or a whole one of any (0)."""
        told = text.casefold()
        if line:
            return any(part in told for value in self.values.get(line, ()) for part in _parts(value.casefold()))
        return any(value.casefold() in told for some in self.values.values() for value in some)

    def column(self, line: int, column: int) -> int:
        """The column in the draft of what stands here in `text`."""
        for begin, more in self.shifts.get(line, ()):
            if column > begin:
                column = max(begin, column - more)
        return column


def _parts(value: str) -> Sequence[str]:
    """What would be known of it where it is told in pieces, or with other quotes."""
    return re.findall(r"\w{3,}", value) or [value]


def place_at(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, counted from 1."""
    return _place(_lines(text), offset)


def _lines(text: str) -> list[int]:
    """Where each line begins."""
    return [0, *(match.end() for match in _LINE_END.finditer(text))]


def _place(lines: Sequence[int], offset: int) -> tuple[int, int]:
    number = bisect_right(lines, offset)
    return number, offset - lines[number - 1] + 1


def restored(draft: str, source: str, kept: Sequence[Span], exists: Exists) -> Restored:
    """The draft with each placeholder replaced by what it stands for; `kept` are the hidden pieces of `source`.

    Raises Misplaced.
    """
    places: list[tuple[int, int, str]] = []
    standing_for: list[str] = []
    for span in spans(draft, exists):
        match = PLACEHOLDER.fullmatch(draft, span.start, span.end)
        if match is None:
            continue  # typed anew; a placeholder with more beside it is found below
        number = int(match[1])
        old = kept[number - 1] if 0 < number <= len(kept) else None
        if old is None or old.kind != span.kind:
            raise Misplaced(match.start())
        places.append((match.start(), match.end(), _written(source, old)))
        standing_for.append(old.value or source[old.start : old.end])
    _nowhere_else(draft, {start for start, *_ in places})
    lines = _lines(draft)
    shifts: dict[int, list[tuple[int, int]]] = {}
    values: dict[int, list[str]] = {}
    pieces, standing, before, length = [], [], 0, 0
    for (start, end, value), hidden in zip(places, standing_for, strict=True):
        pieces += [draft[before:start], value]
        length += start - before
        standing.append((length, length + len(value)))
        length += len(value)
        line, column = _place(lines, start)
        shifts.setdefault(line, []).append((column, len(value) - (end - start)))
        values.setdefault(line, []).append(hidden)
        before = end
    text = "".join([*pieces, draft[before:]])
    _all_hidden(text, standing, exists, [start for start, *_ in places])
    return Restored(text, shifts, values)


def _nowhere_else(draft: str, known: set[int]) -> None:
    for match in PLACEHOLDER.finditer(draft):
        if match.start() not in known:
            raise Misplaced(match.start())


def _all_hidden(text: str, standing: Iterable[tuple[int, int]], exists: Exists, places: Sequence[int]) -> None:
    """What was put in must not show: it is a whole value, wherever it was put."""
    try:
        hidden = spans(text, exists)
    except yaml.YAMLError:
        raise Misplaced(places[0]) from None
    starts = [span.start for span in hidden]
    for (start, end), place in zip(standing, places, strict=True):
        number = bisect_right(starts, start)
        if number == 0 or hidden[number - 1].end < end:
            raise Misplaced(place)


_SAFE = re.compile(r"[A-Za-z0-9_./+=~^-]+|\"[ -!#-\[\]-~]*\"|'[ -&(-~]*'")


def _written(source: str, old: Span) -> str:
    """On one line, and right in any place; a plain value is put in quotes where its signs may mean something there."""
    raw = source[old.start : old.end]
    if old.kind == "comment" or _SAFE.fullmatch(raw):
        return raw
    in_quotes = json.dumps(old.value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in in_quotes)
