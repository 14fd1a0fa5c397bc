"""Postfix's main.cf: logical lines, and values with their `$names` expanded.  postconf(5).  Pure."""

import re
from collections.abc import Iterator, Mapping

from relay.importers.plan import Source

_DEFAULTS = {
    "config_directory": "/etc/postfix",
    "default_database_type": "hash",
    "mydestination": "$myhostname, localhost.$mydomain, localhost",
    "myorigin": "$myhostname",
    "default_transport": "smtp",
    "relay_transport": "relay",
    "inet_interfaces": "all",
}
_DEEPEST = 20
_NAME = re.compile(r"\$(?:\$|(?P<bare>\w+)|\{(?P<braced>[^{}?:=!<>]+)\}|\((?P<round>\w+)\))")
_IF = re.compile(r"\$\{(?P<name>\w+)(?P<sign>[?:])(?:\{(?P<in>[^{}]*)\}(?::\{(?P<else>[^{}]*)\})?|(?P<plain>[^{}]*))\}")


def logical_lines(source: Source) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each logical line, with its continuation lines, without comments."""
    number, text = 0, ""
    for current, line in enumerate(source.text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t" and text:
            text += " " + line.strip()
            continue
        if text:
            yield number, text
        number, text = current, line.rstrip()
    if text:
        yield number, text


class MainCf:
    """The settings of one main.cf.  It remembers which names were read."""

    def __init__(self, source: Source, overrides: Mapping[str, str] | None = None) -> None:
        self.source = source
        self._values: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._asked: set[str] = set()
        for number, text in logical_lines(source):
            name, equals, value = text.partition("=")
            if equals and re.fullmatch(r"\w+", name.strip()):
                self._values[name.strip()] = value.strip()
                self._lines[name.strip()] = number
        self._values |= overrides or {}

    def with_overrides(self, overrides: Mapping[str, str]) -> "MainCf":
        """The same settings with master.cf's overrides for one transport (`-o name=value`)."""
        changed = MainCf(self.source, self._values | dict(overrides))
        changed._asked = self._asked
        return changed

    def said(self, name: str) -> bool:
        """Whether the file itself has the setting, and not empty."""
        self._asked.add(name)
        return bool(self._values.get(name))

    def get(self, name: str, default: str = "") -> str:
        """The value with every name in it expanded; `default` if the file does not have it."""
        self._asked.add(name)
        return self._expand(self._raw(name, default), 0)

    def flag(self, name: str) -> bool:
        return self.get(name).lower() in ("yes", "true", "1", "on")

    def words(self, name: str) -> list[str]:
        return [word for word in re.split(r"[\s,]+", self.get(name)) if word]

    def where(self, name: str) -> str:
        return self.source.at(self._lines[name]) if name in self._lines else self.source.name

    def unlooked(self, but: frozenset[str]) -> list[str]:
        """The names that were not read, except those in `but`."""
        return [name for name in self._values if name not in self._asked and name not in but]

    def _raw(self, name: str, default: str = "") -> str:
        if name in self._values:
            return self._values[name]
        if name == "mydomain":
            return self.get("myhostname").partition(".")[2] or "localdomain"
        return default or _DEFAULTS.get(name, "")

    def _expand(self, text: str, depth: int) -> str:
        if "$" not in text or depth > _DEEPEST:
            return text

        def choose(match: re.Match[str]) -> str:
            said = bool(self._expand(self._raw(match["name"]), depth + 1))
            if match["sign"] == "?":
                chosen = (match["in"] if match["in"] is not None else match["plain"]) if said else match["else"] or ""
            else:
                chosen = "" if said else match["in"] if match["in"] is not None else match["plain"]
            return self._expand(chosen or "", depth + 1)

        def fill(match: re.Match[str]) -> str:
            name = match["bare"] or match["braced"] or match["round"]
            return "$" if not name else self._expand(self._raw(name.strip()), depth + 1)

        return _NAME.sub(fill, _IF.sub(choose, text))
