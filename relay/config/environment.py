"""The settings said by the environment, enough for one upstream: the same mapping that a file would hold.  Pure.

Each variable becomes a located value whose path is its own name, so that the sections check and blame it like a line.
"""

import re
from collections.abc import Iterator, Mapping

from relay.config.located import Broken, Items, Mistake, Node, Place, Table, Text
from relay.config.schema import EXAMPLES, SECTIONS
from relay.upstream.providers import preset_for

UPSTREAM = {
    "RELAY_PROVIDER": "provider",
    "RELAY_HOST": "host",
    "RELAY_PORT": "port",
    "RELAY_TLS": "tls",
    "RELAY_USERNAME": "username",
    "RELAY_PASSWORD": "password",
    "RELAY_PASSWORD_FILE": "password_file",
    "RELAY_SENDER": "sender",
}

SHORT = {
    "RELAY_NETWORKS": ("listen", "networks"),
    "RELAY_LISTEN": ("listen", "address"),
    "RELAY_SPOOL": ("spool", "url"),
}

LONG = {
    "_".join(filter(None, ("RELAY", section.path.upper(), setting.key.upper()))): (section.path, setting.key)
    for section in SECTIONS
    if "*" not in section.path and section.path != "routes"
    for setting in section.settings
    if f"{section.path}.{setting.key}" not in EXAMPLES
}
"""Every setting that is no name of one's own, no rule and no mapping: RELAY_<SECTION>_<KEY>."""

_SETTINGS = {**LONG, **SHORT}
NAMES = (*UPSTREAM, *_SETTINGS)

_PLACE = Place("")

NOTHING = Mistake(
    _PLACE,
    "",
    "expected a configuration file (--config, RELAY_CONFIG, ./config.yaml or /etc/relay/config.yaml), or RELAY_PROVIDER"
    " or RELAY_HOST with RELAY_USERNAME and RELAY_PASSWORD or RELAY_PASSWORD_FILE, found neither",
)


def said(environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables that are set.  Empty ones are not: compose files pass them on as `${RELAY_PORT:-}`.

    Nor are those that Docker links and Kubernetes set for any service named relay or relay-spool.
    """
    return {name: environ[name] for name in NAMES if environ.get(name) and not _is_link(name, environ[name])}


def _is_link(name: str, value: str) -> bool:
    return _is_port_of_link(value) if name == "RELAY_PORT" else name == "RELAY_SPOOL_NAME" and value.startswith("/")


def _is_port_of_link(value: str) -> bool:
    return re.match(r"(tcp|udp)://", value) is not None


def mistakes(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """What is wrong with the variables themselves."""
    variables = said(environ)
    for short, setting in SHORT.items():
        long = next(name for name in LONG if LONG[name] == setting)
        if short in variables and long in variables:
            yield Mistake(_PLACE, long, f"expected {short} or {long}, found both")
    for name, value in variables.items():
        if not _is_text(value):
            yield Mistake(_PLACE, name, "expected UTF-8 text, found other octets")
    yield from _misspelt(environ)


def _misspelt(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Variables that look like ours and are not; others may share the prefix (RELAY_PORT_25_TCP)."""
    from difflib import get_close_matches  # here: who makes no mistake does not wait for it

    for name in sorted(environ):
        if not name.startswith("RELAY_") or name in NAMES or _is_port_of_link(environ[name]):
            continue
        if close := get_close_matches(name, NAMES, n=1, cutoff=0.85):
            yield Mistake(_PLACE, name, f"no such setting; did you mean {close[0]}?")


_OF_LINKS = re.compile(r"RELAY_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP)|ENV_|NAME$)")
"""What Docker links and Kubernetes set for services named relay, relay-web, ..."""


def strange(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables with our prefix that no setting has, and that no link explains."""
    for name in sorted(environ):
        linked = _OF_LINKS.match(name) or _is_port_of_link(environ[name])
        if name.startswith("RELAY_") and name not in (*NAMES, "RELAY_CONFIG") and not linked:
            yield name


def paths(variables: Mapping[str, str]) -> dict[str, str]:
    """By the path of a setting in a file, the variable that stands for it."""
    upstream = {f"upstreams.{_upstream_name(variables)}.{key}": name for name, key in UPSTREAM.items()}
    spelt = (name for name in (*_SETTINGS, *variables) if name in _SETTINGS)
    return upstream | {".".join(filter(None, _SETTINGS[name])): name for name in spelt}


def as_table(variables: Mapping[str, str]) -> Table:
    """What a file would say for these variables."""
    sections: dict[str, dict[str, Node]] = {"": {}}
    for name, (section, key) in _SETTINGS.items():
        if name in variables:
            sections.setdefault(section, {})[key] = _text(name, variables[name])
    root = sections.pop("")
    for section, entries in sections.items():
        root[section] = _listen(entries) if section == "listen" else _table(section, entries)
    upstream = {key: _text(name, variables[name]) for name, key in UPSTREAM.items() if name in variables}
    name = _upstream_name(variables)
    root["upstreams"] = _table("upstreams", {name: _table(f"upstreams.{name}", upstream)})
    return _table("", root)


def _upstream_name(variables: Mapping[str, str]) -> str:
    preset = preset_for(variables.get("RELAY_PROVIDER", ""))
    return preset.key if preset else "upstream"


def _listen(entries: dict[str, Node]) -> Node:
    """One listener per address, all else the same for each."""
    address = entries.pop("address", None)
    if not isinstance(address, Text):
        return _table("listen", entries)
    return Items(_PLACE, address.path, tuple(_table("listen", entries | {"address": one}) for one in address.words()))


def _text(name: str, value: str) -> Node:
    return Text(_PLACE, name, value, literal=True) if _is_text(value) else Broken(_PLACE, name)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in value)  # octets that are not UTF-8 come as lone surrogates


def _table(path: str, entries: Mapping[str, Node]) -> Table:
    return Table(_PLACE, path, entries, dict.fromkeys(entries, _PLACE))
