"""The settings said by the environment, enough for one upstream: the same mapping that a file would hold.  Pure.

Each variable becomes a located value whose path is its own name, so that the sections check and blame it like a line.
"""

import re
from collections.abc import Iterator, Mapping

from relay.config.located import Broken, Items, Mistake, Node, Place, Table, Text
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
KEYS = {key: name for name, key in UPSTREAM.items()}
"""What a key of the upstream is called here."""

ELSEWHERE = (
    "RELAY_NETWORKS",
    "RELAY_HOSTNAME",
    "RELAY_NOTICES_TO",
    "RELAY_LISTEN",
    "RELAY_SPOOL",
    "RELAY_RECIPIENTS_EVERYTHING_TO",
)
NAMES = (*UPSTREAM, *ELSEWHERE)

_PLACE = Place("")

NOTHING = Mistake(
    _PLACE,
    "",
    "expected a configuration file (--config, RELAY_CONFIG, ./config.yaml or /etc/relay/config.yaml), or RELAY_PROVIDER"
    " or RELAY_HOST with RELAY_USERNAME and RELAY_PASSWORD or RELAY_PASSWORD_FILE, found neither",
)


def said(environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables that are set.  Empty ones are not: compose files pass them on as `${RELAY_PORT:-}`.

    Nor is `tcp://...` in RELAY_PORT: Docker links and Kubernetes set that for any service named relay.
    """
    return {name: environ[name] for name in NAMES if environ.get(name) and not _is_link(name, environ[name])}


def _is_link(name: str, value: str) -> bool:
    return name == "RELAY_PORT" and re.match(r"(tcp|udp)://", value) is not None


def misspelt(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """Variables that look like ours and are not; others may share the prefix (RELAY_PORT_25_TCP)."""
    from difflib import get_close_matches  # here: who makes no mistake does not wait for it

    for name in sorted(environ):
        if not name.startswith("RELAY_") or name in NAMES:
            continue
        if close := get_close_matches(name, NAMES, n=1, cutoff=0.85):
            yield Mistake(_PLACE, name, f"no such setting; did you mean {close[0]}?")


_OF_LINKS = re.compile(r"RELAY_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP)|ENV_|NAME$)")
"""What Docker links and Kubernetes set for services named relay, relay-web, ..."""


def strange(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables with our prefix that no setting has, and that no link explains."""
    for name in sorted(environ):
        linked = _OF_LINKS.match(name) or re.match(r"(tcp|udp)://", environ[name])
        if name.startswith("RELAY_") and name not in (*NAMES, "RELAY_CONFIG") and not linked:
            yield name


def as_table(variables: Mapping[str, str]) -> Table:
    """What a file would say for these variables."""
    upstream = {key: _text(name, variables[name]) for name, key in UPSTREAM.items() if name in variables}
    entries: dict[str, Node] = {"upstreams": _table({_upstream_name(variables): _table(upstream)})}
    if "RELAY_HOSTNAME" in variables:
        entries["hostname"] = _text("RELAY_HOSTNAME", variables["RELAY_HOSTNAME"])
    if "RELAY_NOTICES_TO" in variables:
        entries["notices"] = _table({"to": _text("RELAY_NOTICES_TO", variables["RELAY_NOTICES_TO"])})
    if "RELAY_SPOOL" in variables:
        entries["spool"] = _table({"url": _text("RELAY_SPOOL", variables["RELAY_SPOOL"])})
    if "RELAY_RECIPIENTS_EVERYTHING_TO" in variables:
        name = "RELAY_RECIPIENTS_EVERYTHING_TO"
        entries["recipients"] = _table({"everything_to": Items(_PLACE, name, tuple(_words(name, variables)))})
    if "RELAY_LISTEN" in variables or "RELAY_NETWORKS" in variables:
        entries["listen"] = _listen(variables)
    return _table(entries)


def _upstream_name(variables: Mapping[str, str]) -> str:
    preset = preset_for(variables.get("RELAY_PROVIDER", ""))
    return preset.key if preset else "upstream"


def _listen(variables: Mapping[str, str]) -> Node:
    """One listener per address, all for the same networks."""
    shared: dict[str, Node] = {}
    if "RELAY_NETWORKS" in variables:
        shared["networks"] = Items(_PLACE, "RELAY_NETWORKS", tuple(_words("RELAY_NETWORKS", variables)))
    addresses = list(_words("RELAY_LISTEN", variables))
    if not addresses:
        return _table(shared)
    return Items(_PLACE, "RELAY_LISTEN", tuple(_table(shared | {"address": address}) for address in addresses))


def _words(name: str, variables: Mapping[str, str]) -> Iterator[Node]:
    """`a, b` and `a b` are two values."""
    return (_text(name, word) for word in re.split(r"[\s,]+", variables.get(name, "")) if word)


def _text(name: str, value: str) -> Node:
    try:
        value.encode()
    except UnicodeEncodeError:  # octets that are not UTF-8 come as lone surrogates
        return Broken(_PLACE, name)
    return Text(_PLACE, name, value, literal=True)


def _table(entries: Mapping[str, Node]) -> Table:
    return Table(_PLACE, "", entries, dict.fromkeys(entries, _PLACE))
