"""Which settings are in force and where each comes from: file and line, environment variable, or the default.  Pure."""

import re
from collections.abc import Iterator
from typing import Any

from relay.config.described import Section, Setting
from relay.config.hidden import Exists, is_secret
from relay.config.located import Items, Node, Table, Text, segment
from relay.config.schema import SECTIONS

_NAMES = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LONGEST = 500


def origins(root: Node | None, exists: Exists) -> list[dict[str, Any]]:
    """A row for each setting of each section, in the order of the pages; of a secret no value.

    {"section", "key", "value", "secret", "from": file | environment | default, "line", "variables", "otherwise"}
    """
    return [
        row for section in SECTIONS for keys, table in _tables(root, section) for row in _rows(section, keys, table, exists)
    ]


def _tables(root: Node | None, section: Section) -> Iterator[tuple[tuple[str, ...], Table | None]]:
    """Each mapping that the section describes, with the keys that lead there; one that is not there is told as well."""
    parts = section.path.split(".") if section.path else []
    places: list[tuple[tuple[str, ...], Node | None]] = [((), root)]
    for part in parts:
        inner: list[tuple[tuple[str, ...], Node | None]] = []
        for keys, node in places:
            entries = node.entries if isinstance(node, Table) else {}
            wanted = list(entries) if part == "*" else [part]
            inner += [((*keys, key), entries.get(key)) for key in wanted]
        places = inner
    for keys, node in places:
        if isinstance(node, Items):
            for number, item in enumerate(node.items):
                if isinstance(item, Table):
                    yield (*keys[:-1], f"{keys[-1]}[{number}]"), item
        elif isinstance(node, Table) or len(parts) < 3:  # of an upstream's own sections only those that are there
            yield keys, node if isinstance(node, Table) else None


def _rows(section: Section, keys: tuple[str, ...], table: Table | None, exists: Exists) -> Iterator[dict[str, Any]]:
    path = tuple(re.sub(r"\[\d+\]\Z", "", key) for key in keys)
    for setting in section.settings:
        node = table.entries.get(setting.key) if table else None
        nothing = node is None or (isinstance(node, Text) and node.nothing)
        yield {
            "section": ".".join(map(segment, keys)),
            "key": setting.key,
            **(_default(setting) if nothing or node is None else _said(node, (*path, setting.key), exists)),
        }


def _default(setting: Setting) -> dict[str, Any]:
    value = None if setting.otherwise else setting.default.strip('"')
    return {
        "value": value,
        "secret": setting.secret,
        "from": "default",
        "line": 0,
        "variables": [],
        "otherwise": setting.otherwise,
    }


def _said(node: Node, path: tuple[str, ...], exists: Exists) -> dict[str, Any]:
    texts = list(_texts(node, path))
    secret = any(is_secret(where, text.text, exists, literal=text.literal) for where, text in texts)
    literal = next((text.path for _, text in texts if text.literal), "")
    variables = [literal] if literal else [name for _, text in texts for name in _NAMES.findall(text.text)]
    return {
        "value": None if secret else _shown(node)[:_LONGEST],
        "secret": secret,
        "from": "environment" if literal else "file",
        "line": node.place.line,
        "variables": list(dict.fromkeys(variables)),
        "otherwise": "",
    }


def _texts(node: Node, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Text]]:
    if isinstance(node, Text):
        yield path, node
    elif isinstance(node, Items):
        for item in node.items:
            yield from _texts(item, path)
    elif isinstance(node, Table):
        for key, entry in node.entries.items():
            yield from _texts(entry, (*path, key))


def _shown(node: Node) -> str:
    if isinstance(node, Text):
        return node.text
    if isinstance(node, Items):
        return ", ".join(map(_shown, node.items))
    return ", ".join(f"{key}: {_shown(entry)}" for key, entry in node.entries.items()) if isinstance(node, Table) else ""
