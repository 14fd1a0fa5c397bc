"""What a setting's text means: durations, sizes, ports, words, charsets.  Pure.

Each converter takes the text as written and gives the value, or raises Wrong with what was expected.
"""

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import Enum
from typing import TypeVar

from relay.mail.charset_names import codec_of

E = TypeVar("E", bound=Enum)
T = TypeVar("T")
Convert = Callable[[str], T]


class Wrong(Exception):
    """`expected` completes "expected ..."; `hint` follows what was found."""

    def __init__(self, expected: str, hint: str = "") -> None:
        super().__init__(expected)
        self.expected, self.hint = expected, hint


def near(word: str, words: Iterable[str], likeness: float = 0.6) -> str:
    """`did you mean 'x'?`, or "" if nothing is near."""
    from difflib import get_close_matches  # here: who makes no mistake does not wait for it

    close = get_close_matches(word.lower(), list(words), n=1, cutoff=likeness)
    return f"did you mean '{close[0]}'?" if close else ""


def listing(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *rest, last = words
    return f"{', '.join(rest)} or {last}" if rest else last


def text(value: str) -> str:
    """One line of text that is not empty."""
    if not value.strip():
        raise Wrong("text")
    if not value.isprintable():
        raise Wrong("one line of text without control characters")
    return value


def flag(value: str) -> bool:
    """YAML 1.1's words for yes and no, because people write them."""
    word = value.lower()
    if word in ("true", "yes", "on"):
        return True
    if word in ("false", "no", "off"):
        return False
    raise Wrong("true or false")


def choice(kind: type[E]) -> Callable[[str], E]:
    """One of an Enum's values, in any case."""
    words = [str(member.value) for member in kind]

    def convert(value: str) -> E:
        word = value.strip().lower()
        if word not in words:
            raise Wrong(listing(words), near(word, words, 0.7))  # "tls: on" is not meant as none
        return kind(word)

    return convert


def one_of(*words: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        word = value.strip().lower()
        if word not in words:
            raise Wrong(listing(words), near(word, words, 0.7))
        return word

    return convert


def number(low: int, high: int) -> Callable[[str], int]:
    def convert(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            raise Wrong(f"a number from {low} to {high}")
        return int(value)

    return convert


def no_limit_or(convert: Callable[[str], int]) -> Callable[[str], int | None]:
    """`none` takes a preset's limit away."""

    def unlimited(value: str) -> int | None:
        return None if value.lower() == "none" else convert(value)

    return unlimited


def port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise Wrong("a port from 1 to 65535")
    return int(value)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MOST = timedelta(days=3650)


def duration(least: timedelta = timedelta(seconds=1), most: timedelta = _MOST) -> Callable[[str], timedelta]:
    """`30s`, `5m`, `4h`, `2d`, `1w` and sums of them, largest unit first (`1h30m`)."""

    def convert(value: str) -> timedelta:
        word = value.strip().lower()
        parts = re.findall(r"([0-9]{1,9})([smhdw])", word)
        units = [_UNITS[unit] for _, unit in parts]
        if not parts or "".join(map("".join, parts)) != word or units != sorted(set(units), reverse=True):
            hint = f"say the unit: {word}s, {word}m, {word}h or {word}d" if re.fullmatch(r"[0-9]{1,9}", word) else ""
            raise Wrong("a duration such as 30s, 5m, 4h or 2d", hint)
        seconds = sum(int(count) * _UNITS[unit] for count, unit in parts)
        if not least.total_seconds() <= seconds <= most.total_seconds():
            raise Wrong(f"a duration from {_say(least)} to {_say(most)}")
        return timedelta(seconds=seconds)

    return convert


def _say(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


_SIZES = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZES |= {f"{letter}b": _SIZES[letter] for letter in "kmgt"}
_SIZES |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)}


def size(least: int = 1, most: int = 10**15) -> Callable[[str], int]:
    """Octets: `50MB` is 50,000,000, `10MiB` is 10,485,760; a bare number counts octets."""

    def convert(value: str) -> int:
        match = re.fullmatch(r"([0-9]{1,15})(\.[0-9]{1,3})?\s*([a-z]{0,3})", value.strip().lower())
        if not match or match[3] not in _SIZES:
            raise Wrong("a size such as 500kB, 50MB or 10MiB")
        octets = int(match[1]) * _SIZES[match[3]]
        if match[2]:
            octets += int(match[2][1:]) * _SIZES[match[3]] // 10 ** (len(match[2]) - 1)
        if not least <= octets <= most:
            raise Wrong(f"a size from {_octets(least)} to {_octets(most)}")
        return octets

    return convert


def percent(value: str) -> int:
    match = re.fullmatch(r"([0-9]{1,3}) ?%", value.strip())
    if not match or not 1 <= int(match[1]) <= 100:
        raise Wrong("a share from 1% to 100%")
    return int(match[1])


def _octets(count: int) -> str:
    for unit in ("TB", "GB", "MB", "kB"):
        if count and count % _SIZES[unit.lower()] == 0:
            return f"{count // _SIZES[unit.lower()]}{unit}"
    return f"{count}B"


def fingerprint(value: str) -> str:
    """A certificate's SHA-256, as browsers and `openssl x509 -fingerprint` print it: hex in lower case."""
    bare = re.sub(r"(?i)^\s*sha-?256(\s+fingerprint)?\s*[:=]", "", value)
    bare = re.sub(r"[\s:]", "", bare).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", bare):
        hint = "that looks like SHA-1" if re.fullmatch(r"[0-9a-f]{40}", bare) else ""
        raise Wrong("a SHA-256 fingerprint of 64 hex digits", hint)
    return bare


def label(value: str) -> str:
    """A name for people: one word, not too long."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise Wrong("a name of letters, digits, dots and hyphens")
    return value


def charset(value: str) -> str:
    name = value.strip().lower()
    if name != "auto" and not codec_of(name):
        raise Wrong("the name of a charset such as utf-8 or cp932")
    return name


def spool_url(value: str) -> str:
    """`sqlite:PATH`, `postgresql://...`, or just a path."""
    bare = value.strip()
    if re.match(r"postgres(ql)?://\S+\Z", bare):
        return bare
    path = re.sub(r"\Asqlite:(//(?=/))?", "", bare)
    if path and path != ":memory:" and path.isprintable() and "://" not in path and (path != bare or "/" in path):
        return f"sqlite:{path}"
    raise Wrong("sqlite:/path/to/spool.db or postgresql://...")
