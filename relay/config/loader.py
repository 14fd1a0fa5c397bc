"""From a file or the environment to a Config, or to every mistake at once."""

import os
import re
import socket
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relay.config import environment, sections, web
from relay.config.config_values import Config
from relay.config.fields import Fields, Reading, show
from relay.config.files import others_may_read
from relay.config.located import Mistake, Node, Place, Table, parse
from relay.config.remarks import remarked
from relay.config.routes import Known, read_routes
from relay.config.upstreams import read_upstream
from relay.mail.address import is_public
from relay.mail.device import Device
from relay.upstream.settings import DIRECT, DkimKey, Upstream

FALLBACK_NAME = "relay.home.arpa"
"""Our name where the machine has none that means anything: dotted, so that upstreams take it, and in the domain that
RFC 8375 sets aside for homes, so that it is nobody else's."""

_SYSTEM = Path("/etc/relay/config.yaml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """`config` is None if there are mistakes (sorted by place).  `remarks` are for the log at every start.

    `guess` is what could be read in spite of the mistakes: good enough to find a relay that is running, for nothing else.
    """

    config: Config | None
    mistakes: tuple[Mistake, ...] = ()
    remarks: tuple[str, ...] = ()
    guess: Config | None = None


def find(path_option: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file that the settings come from: --config, $RELAY_CONFIG, ./config.yaml, /etc/relay/config.yaml, and the one
    that set-up in the browser left in the state directory, unless variables name a server.

    A directory means config.yaml in it.  A file that was named need not exist (`load` says so).  None: none is there, or
    the environment has a whole one, which comes before those that nobody named.
    """
    by_variables = environment.names_a_server(environment.said(environ))
    # variables that say where mail goes come before what set-up left
    left = None if by_variables else state_dir(environ) / "config.yaml"
    named = path_option or environ.get("RELAY_CONFIG")
    if named:
        path = Path(named)
        path = path / "config.yaml" if _is(stat.S_ISDIR, path) else path
        # An image may name its configuration directory for good, and still be told everything by variables.
        empty_directory = _is(stat.S_ISDIR, Path(named)) and not _is(bool, path, barred=True)
        whole = environ.get(environment.WHOLE)
        if path_option or not empty_directory:
            return path
        if not whole and left and _is(stat.S_ISREG, left):
            return left
        return None if whole or environment.said(environ) else path
    if environ.get(environment.WHOLE):
        return None
    usual = (Path("config.yaml"), _SYSTEM)
    # what cannot be seen is guessed to be there, but not beside variables, and not in a state directory that is another user's
    looks = [(False, usual), (False, (left,) if left else ()), (True, () if by_variables else usual)]
    seen = (path for barred, some in looks for path in some if _is(stat.S_ISREG, path, barred=barred))
    return next(seen, None)  # one that can be seen first: `sudo -u relay` may be called in a home that is closed to it


def state_dir(environ: Mapping[str, str]) -> Path:
    """The state directory by the variables, as the settings read them, or its usual place: where set-up in the browser leaves
    a configuration that has no other place.
    """
    with Reading(environ, _here(), quick=True).fields(environment.of_state_dir(environ), "", Place("")) as at:
        return sections.read_spool(at).home


def missing(path_option: str | None, environ: Mapping[str, str]) -> bool:
    """Whether there is no configuration at all; one that is broken, or closed to us, is there."""
    path = find(path_option, environ)
    if path is None:
        return not environ.get(environment.WHOLE) and not environment.names_a_server(environment.said(environ))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return _is(stat.S_ISDIR, path)


def _is(kind: Callable[[int], bool], path: Path, *, barred: bool = False) -> bool:
    """Whether what is there has that kind of mode; `barred` where we may not look: a mounted directory of another user."""
    try:
        return kind(path.stat().st_mode)
    except PermissionError:
        return barred
    except (OSError, ValueError):
        return False


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    machine_name: str | None = None,
    quick: bool = False,
    called: Path | None = None,
) -> Loaded:
    """Reads the file, or without one the environment, and checks everything.  Never raises for what is in it.

    `quick`: without the checks that take a second, for verbs that only ask a relay which runs with these settings.
    `called`: the name that the file will have, where it is a draft.
    """
    name = default_hostname(socket.gethostname() if machine_name is None else machine_name)
    if path is None and (whole := environ.get(environment.WHOLE)):
        exposed = "whoever may look at the relay's environment can read it here; better name a file with the secret"
        return _from_text(os.fsencode(whole), environment.WHOLE, Reading(environ, _here(), quick=quick), name, exposed)
    if path is None:
        return _from_variables(environ, name, quick=quick)
    if _is(stat.S_ISDIR, path):
        path = path / "config.yaml"
    try:
        with path.open("rb") as opened:
            octets = opened.read(2_000_000)
    except (OSError, ValueError) as bad:
        if re.search(r"[\n{]|: ", str(path)):  # never shown: there may be secrets in it
            text = f"expected the name of a configuration file, found its text, it seems; that goes into {environment.WHOLE}"
            return Loaded(None, (Mistake(Place(""), "", text),))
        reason = getattr(bad, "strerror", None) or "not a file name"
        if isinstance(bad, PermissionError):
            from relay.other_user import as_other_user

            ours = f"the relay runs as user {os.geteuid()}, who must be able to read it and to enter its directory"
            theirs = as_other_user(path)
            reason = f"not readable for user {os.geteuid()}{theirs}" if theirs else f"{reason}: {ours}"
        return Loaded(None, (Mistake(Place(str(path), 1, 1), "", f"expected a readable file, found none ({reason})"),))
    exposed = f"every user of this machine can read it here; chmod 600 {path.name}, or name a file with the secret"
    reading = Reading(environ, path.absolute().parent, quick=quick)
    return _from_text(octets, str(called or path), reading, name, exposed if others_may_read(path) else "")


def load_text(text: str, path: Path, environ: Mapping[str, str]) -> Loaded:
    """The same for what a file is to have in it: a draft of it, which nobody can read yet."""
    name = default_hostname(socket.gethostname())
    return _from_text(text.encode("utf-8", "surrogatepass"), str(path), Reading(environ, path.absolute().parent), name, "")


def _here() -> Path:
    """The current directory, or the root where that has been removed."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/")


def _from_text(octets: bytes, source: str, reading: Reading, name: str, exposed: str) -> Loaded:
    """From the text of a file: `source` is its name, or that of the variable which has it.

    `exposed` says who else can read a secret that stands in it, if anybody.
    """
    root, reading.mistakes = parse(octets, source)
    if root is None and reading.mistakes:
        return Loaded(None, tuple(sorted(reading.mistakes, key=_order)))
    whole = [environment.WHOLE] if source != environment.WHOLE and reading.environ.get(environment.WHOLE) else []
    for variable in (*environment.said(reading.environ), *whole):
        if os.fsencode(f"${{{variable}}}") not in octets:
            reading.remark(Place(""), variable, f"not used, since the settings come from {source}")
    _remark_on_strange(reading, named_in=octets)
    config = _read(root, reading, Place(source, 1, 1), name, source)
    if (secret := reading.literal_secret) and exposed:
        reading.remark(secret.place, secret.path, exposed)
    return _loaded(config, reading)


def _from_variables(environ: Mapping[str, str], name: str, *, quick: bool) -> Loaded:
    variables = environment.said(environ)
    shut = environment.page_without_password(environ, variables)
    variables = {name: value for name, value in variables.items() if name != shut}
    names, mistakes = environment.paths(variables), list(environment.mistakes(environ))
    reading = Reading(environ, _here(), names, mistakes, quick=quick)
    if shut:
        reading.remark(Place(""), shut, "there is no page, since RELAY_WEB_PASSWORD is empty; choose a password of its own")
    _remark_on_strange(reading)
    if not environment.names_a_server(variables):
        reading.mistakes.append(environment.NOTHING)
        return _loaded(None, reading)
    table = environment.as_table(variables)
    return _loaded(_read(table, reading, Place(""), name, ""), reading)


def _loaded(config: Config | None, reading: Reading) -> Loaded:
    mistakes = tuple(sorted(dict.fromkeys(reading.mistakes), key=_order))
    if mistakes or config is None:
        return Loaded(None, mistakes, reading.told(), config)
    for path, text in remarked(config):
        reading.remark(reading.places.get(path, Place("")), reading.names.get(path, path), text)
    return Loaded(config, (), reading.told())


def _order(mistake: Mistake) -> tuple[Place, str, str]:
    return mistake.place, mistake.path, mistake.text


def _read(root: Node | None, reading: Reading, start: Place, name: str, source: str) -> Config:
    """Every section, whatever is wrong with the others."""
    with reading.fields(root, "", start) as at:
        upstreams, readable = _upstreams(at)
        spool, direct = sections.read_spool(at), sections.read_direct(at)
        listeners = sections.read_listeners(at)
        recipients = sections.read_recipients(at)
        nameservers, trusted = sections.read_nameservers(at)
        notices = sections.read_notices(at, tuple(upstreams), recipients.everything_to, readable=readable)
        routes = read_routes(at, Known(tuple(upstreams), listeners, readable, _named(at), notices.via))
        keys = _dkim(at, upstreams, spool.home, {name for route in routes for name in route.via}, readable=readable)
        return Config(
            hostname=sections.read_hostname(at, name),
            upstreams={name: _signing(one, keys) for name, one in upstreams.items()},
            listeners=listeners,
            routes=routes,
            recipients=recipients,
            retry=sections.read_retry(at),
            notices=notices,
            repair=sections.read_repair(at),
            spool=spool,
            nameservers=nameservers,
            trusted_nameservers=trusted,
            direct=_signing(direct, keys),
            dkim=keys,
            limits=sections.read_limits(at),
            web=web.read_web(at),
            devices=_devices(at),
            log=sections.read_log(at),
            source=source,
        )


def _devices(at: Fields) -> tuple[Device, ...]:
    if not at.said("devices"):
        return ()
    from relay.config.devices import read_devices

    return read_devices(at)


def _dkim(at: Fields, upstreams: Mapping[str, Upstream], home: Path, used: set[str], *, readable: bool) -> tuple[DkimKey, ...]:
    """`used` are the upstreams that rules name."""
    if not at.said("dkim"):
        return ()
    from relay.config.dkim import read_dkim

    return read_dkim(at, upstreams, home, used, readable=readable)


def _signing(upstream: Upstream, keys: tuple[DkimKey, ...]) -> Upstream:
    """The upstream with the keys of what goes there."""
    own = tuple(key for key in keys if upstream.name in key.via)
    return replace(upstream, dkim=own) if own else upstream


def _named(at: Fields) -> tuple[str, ...]:
    """The devices that rules may name: also those that have a mistake."""
    node = at.node("devices")
    return tuple(node.entries) if isinstance(node, Table) else ()


def _upstreams(at: Fields) -> tuple[dict[str, Upstream], bool]:
    """The upstreams by name, and whether the section could be read at all."""
    found: dict[str, Upstream] = {}
    with at.section("upstreams") as section:
        for name, node in section.table.entries.items():
            section.node(name)
            place = section.table.keys[name]
            path = node.path or section.path_of(name)
            if name == DIRECT:
                section.reading.mistake(place, path, f"expected another name, found '{DIRECT}', which is built in")
            elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
                text = f"expected a name of letters, digits, dots and dashes, found {show(name)}"
                section.reading.mistake(place, path, text)
            with at.reading.fields(node, node.path, node.place) as one:
                found[name] = read_upstream(name, one)
        direct_only = at.given("upstreams") and at.given("routes")  # `{}` and rules with `via: mx`
        if not found and section.sound and not direct_only:
            at.mistake("upstreams", "expected at least one server to hand mail to, found nothing")
    return found, section.sound


def _remark_on_strange(reading: Reading, named_in: bytes = b"") -> None:
    """Variables that nobody reads; a file may name any in `${...}`, and misspelt ones are mistakes already."""
    mistaken = {mistake.path for mistake in reading.mistakes}
    for variable in environment.strange(reading.environ):
        if variable not in mistaken and os.fsencode(variable) not in named_in:
            meant = environment.meant(variable)
            hint = f"; did you mean {meant}?" if meant else ""
            reading.remark(Place(""), variable, f"not read: no setting has this name{hint}")


def default_hostname(machine_name: str) -> str:
    """The machine's name if it is a full public one; never a container's id, `localhost` or a name of the LAN."""
    first = machine_name.partition(".")[0]
    is_id = re.fullmatch(r"[0-9a-f]{12}|[0-9a-f]{64}", first) is not None
    sound = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", machine_name) is not None
    return machine_name if sound and not is_id and is_public(machine_name) else FALLBACK_NAME
