"""The settings said by the environment: one upstream and all single values, as a file would say them.  Pure.

Each variable becomes a located value whose path is its own name, so that the sections check and blame it like a line.
RELAY_CONFIG_YAML is a whole file instead.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from relay.config import hosts
from relay.config.located import Broken, Items, Mistake, Node, Place, Table, Text
from relay.config.scalars import Wrong
from relay.config.schema import EXAMPLES, SECTIONS
from relay.config.web import web_address
from relay.networks import without_port
from relay.upstream.providers import preset_for

WHOLE = "RELAY_CONFIG_YAML"
"""The text of a configuration file."""

SETUP = "RELAY_SETUP"
"""`yes`: where there is no configuration, the page asks for one."""

SHORT = {
    "RELAY_PROVIDER": "upstreams.*.provider",
    "RELAY_HOST": "upstreams.*.host",
    "RELAY_PORT": "upstreams.*.port",
    "RELAY_TLS": "upstreams.*.tls",
    "RELAY_USERNAME": "upstreams.*.username",
    "RELAY_PASSWORD": "upstreams.*.password",
    "RELAY_PASSWORD_FILE": "upstreams.*.password_file",
    "RELAY_SENDER": "upstreams.*.sender",
    "RELAY_NETWORKS": "listen.networks",
    "RELAY_LISTEN": "listen.address",
    "RELAY_SPOOL": "spool.url",
    "RELAY_WEB": "web.address",
}


def _variable(path: str) -> str:
    return f"RELAY_{path.replace('upstreams.*', 'upstream').replace('.', '_')}".upper()


_EVERY = [".".join(filter(None, (section.path, one.key))) for section in SECTIONS for one in section.settings]

LONG = {_variable(path): path for path in _EVERY if path not in EXAMPLES and not path.startswith(("routes.", "devices."))}
"""Every single value: RELAY_<SECTION>_<KEY>, and RELAY_UPSTREAM_<KEY> for the one upstream."""

ONLY_WHOLE = {
    _variable(path): path for path in ("upstreams", "routes", "devices", *_EVERY) if path in EXAMPLES and "*" not in path
}
"""Rules, and mappings with names of one's own: no variable, since a single text cannot say them."""

_SETTINGS = {**LONG, **SHORT}
NAMES = tuple(_SETTINGS)

_SERVERS = {f"upstreams.*.{key}" for key in ("provider", "host", "push", "push_file", "folder")}

_PLACE = Place("")

NOTHING = Mistake(
    _PLACE,
    "",
    "expected a configuration file (--config, RELAY_CONFIG, ./config.yaml or /etc/relay/config.yaml), or its text in"
    f" {WHOLE}, or RELAY_PROVIDER or RELAY_HOST with RELAY_USERNAME and RELAY_PASSWORD or RELAY_PASSWORD_FILE, found none",
)


def said(environ: Mapping[str, str]) -> dict[str, str]:
    """Our variables that are set.  Empty ones are not: compose files pass them on as `${RELAY_PORT:-}`.

    Nor are those that Docker links and Kubernetes set for any service named relay or relay-spool.
    """
    return {name: environ[name] for name in NAMES if environ.get(name) and not _is_link(name, environ[name])}


def of_state_dir(environ: Mapping[str, str]) -> Table:
    """What a file would say of the state directory's place for these variables."""
    places = ("spool.url", "spool.fallback", "spool.state_dir")
    return as_table({name: value for name, value in said(environ).items() if _SETTINGS[name] in places})


def page_without_password(environ: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """RELAY_WEB, or its long name, where its password is passed on empty, as compose.yaml does if nobody chose one; else ""."""
    if environ.get("RELAY_WEB_PASSWORD") != "" or {"RELAY_WEB_PASSWORD_FILE", "RELAY_WEB_USER_HEADER"} & variables.keys():
        return ""
    addresses = {name: variables[name] for name in ("RELAY_WEB", "RELAY_WEB_ADDRESS") if name in variables}
    return next((name for name, value in addresses.items() if _is_open(value)), "")


def _is_open(value: str) -> bool:
    """Whether this is an address of the page that others reach; what is no address is told of where it is read."""
    try:
        address = web_address(value)
        return bool(address) and not hosts.is_loopback(without_port(address))
    except (Wrong, ValueError):
        return False


def names_a_server(variables: Mapping[str, str]) -> bool:
    """Whether they say where mail goes."""
    return any(_SETTINGS[name] in _SERVERS for name in variables)


def _is_link(name: str, value: str) -> bool:
    return _is_port_of_link(value) if name.endswith("_PORT") else name == "RELAY_SPOOL_NAME" and value.startswith("/")


def _is_port_of_link(value: str) -> bool:
    return re.match(r"(tcp|udp)://", value) is not None


def mistakes(environ: Mapping[str, str]) -> Iterator[Mistake]:
    """What is wrong with the variables themselves."""
    variables = said(environ)
    for short, path in SHORT.items():
        long = _variable(path)
        if short in variables and long in variables:
            yield Mistake(_PLACE, long, f"expected {short} or {long}, found both")
    for name, value in variables.items():
        if not _is_text(value):
            yield Mistake(_PLACE, name, "expected UTF-8 text, found other octets")
    for name in _unknown(environ):
        if name in ONLY_WHOLE:
            yield Mistake(_PLACE, name, f"expected {ONLY_WHOLE[name]} in a file or in {WHOLE}, found a variable of its own")
        elif (name.endswith("_NAME") or not _OF_LINKS.match(name)) and (name in _A_FILE or _nearest(name, 0.85)):
            yield Mistake(_PLACE, name, f"no such setting; did you mean {meant(name)}?")


_A_FILE = dict.fromkeys(("RELAY_CONFIG_FILE", "RELAY_CONFIG_PATH", "RELAY_CONFIG_DIR", f"{WHOLE}_FILE"), "RELAY_CONFIG")
"""What people expect the variable to be called that names the file."""

_OF_LINKS = re.compile(r"RELAY_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP)|ENV_|NAME$)")
"""What Docker links and Kubernetes set for services named relay, relay-web, ..."""


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables with our prefix that no setting has; others may share it (RELAY_PORT_25_TCP)."""
    for name in sorted(environ):
        known = name in _SETTINGS or name in ("RELAY_CONFIG", WHOLE, SETUP) or _is_port_of_link(environ[name])
        if name.startswith("RELAY_") and not known:
            yield name


def strange(environ: Mapping[str, str]) -> list[str]:
    """The same without those that links explain."""
    return [name for name in _unknown(environ) if not _OF_LINKS.match(name)]


def meant(name: str) -> str:
    """The name that may have been meant, or "": RELAY_API, RELAY_SENDER_ADDRESS, RELAY_SMTP_HOST are what people expect."""
    own, shorter = name.replace("RELAY_", "RELAY_UPSTREAM_", 1), name.rpartition("_")[0]
    if name in ONLY_WHOLE:
        return WHOLE
    ends = (one for one in SHORT if name.endswith(one.removeprefix("RELAY")))
    likely = (one for one in (own, shorter) if one in NAMES)
    certain = _A_FILE.get(name) or _nearest(name, 0.9)
    return certain or next(likely, "") or next(ends, "") or _nearest(name, 0.6, "RELAY_")


def _nearest(name: str, cutoff: float, prefix: str = "") -> str:
    """The name of ours that is most like it, the prefix that all have left aside."""
    from difflib import get_close_matches  # here: who makes no mistake does not wait for it

    names = [one.removeprefix(prefix) for one in (*NAMES, "RELAY_CONFIG", WHOLE, SETUP)]
    return "".join(f"{prefix}{one}" for one in get_close_matches(name.removeprefix(prefix), names, n=1, cutoff=cutoff))


def paths(variables: Mapping[str, str]) -> dict[str, str]:
    """By the path of a setting in a file, the variable that stands for it."""
    spelt = (name for name in (*_SETTINGS, *variables) if name in _SETTINGS)
    upstream = f"upstreams.{_upstream_name(variables)}"
    sections = {"upstreams.*.pop": "RELAY_UPSTREAM_POP_HOST", "upstreams.*.oauth": "RELAY_UPSTREAM_OAUTH_CLIENT_ID"}
    found = sections | {_SETTINGS[name]: name for name in spelt}
    return {path.replace("upstreams.*", upstream): name for path, name in found.items()}


def as_table(variables: Mapping[str, str]) -> Table:
    """What a file would say for these variables."""
    upstream = _upstream_name(variables)
    said = {
        tuple(upstream if part == "*" else part for part in path.split(".")): _text(name, variables[name])
        for name, path in _SETTINGS.items()
        if name in variables
    }
    return _table("", said)


def _upstream_name(variables: Mapping[str, str]) -> str:
    preset = preset_for(variables.get("RELAY_PROVIDER") or variables.get("RELAY_UPSTREAM_PROVIDER") or "")
    return preset.key if preset else "upstream"


def _table(path: str, said: Mapping[tuple[str, ...], Node]) -> Table:
    """The mapping at `path`; `said` has its values by the rest of their paths."""
    inner: dict[str, dict[tuple[str, ...], Node]] = {}
    for (key, *rest), node in said.items():
        inner.setdefault(key, {})[tuple(rest)] = node
    entries = {key: _node(f"{path}.{key}" if path else key, below) for key, below in inner.items()}
    return Table(_PLACE, path, entries, dict.fromkeys(entries, _PLACE))


def _node(path: str, below: Mapping[tuple[str, ...], Node]) -> Node:
    if () in below:
        return below[()]
    table = _table(path, below)
    address = table.entries.get("address")
    if path != "listen" or not isinstance(address, Text):
        return table
    # One listener for each address, all else the same.
    each = tuple(replace(table, entries={**table.entries, "address": one}) for one in address.words())
    return Items(_PLACE, address.path, each)


def _text(name: str, value: str) -> Node:
    return Text(_PLACE, name, value, literal=True) if _is_text(value) else Broken(_PLACE, name)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in value)  # octets that are not UTF-8 come as lone surrogates
