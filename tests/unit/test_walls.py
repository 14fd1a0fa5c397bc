"""The walls of the house: who may import whom, which files touch the world, how long a file may be.

    secret | container  <  mail | events | sd_notify | other_user  <  spool | upstream  <  inbound | outbound | importers
            <  config | control | doctor | recording  <  daemon | setup  <  cli

A file imports from its own folder and from lower floors, never from a neighbour on its floor and never from above.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    "": 0,  # relay/__init__.py: the version
    "secret": 0,
    "password_hash": 0,
    "printable": 0,
    "yaml_text": 0,
    "networks": 0,
    "der": 0,
    "repeats": 0,
    "log_writer": 0,
    "mail": 1,
    "crash_points": 0,
    "detached": 1,
    "events": 1,
    "http_client": 1,
    "sd_notify": 1,
    "container": 0,
    "other_user": 1,
    "spool": 2,
    "upstream": 2,
    "inbound": 3,
    "outbound": 3,
    "importers": 3,
    "config": 4,
    "control": 4,
    "doctor": 4,
    "recording": 4,
    "daemon": 5,
    "setup": 5,
    "cli": 6,
    "__main__": 7,
}
WORLD = {
    "asyncio",
    "socket",
    "ssl",
    "sqlite3",
    "time",
    "random",
    "os",
    "structlog",
    "aiosmtpd",
    "aiosmtplib",
    "dns",
}
LONGEST = 400
FILES = sorted((ROOT / "relay").rglob("*.py"))


def name_of(file: Path) -> str:
    """`relay.mail.address`; a package bears the name of its folder."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file): file.read_text(encoding="utf-8") for file in FILES}


def room(module: str) -> str:
    """The folder (or single file) directly under relay/ that a module lives in."""
    return module.split(".")[1] if "." in module else ""


def imports(source: str, module: str, known: set[str], *, package: bool = False) -> set[str]:
    """Every module that a source names in an import, wherever in it: submodules of ours told from their attributes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")[: len(module.split(".")) - node.level + package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                found.add(deeper if deeper in known else base)
    return found


def all_imports(modules: dict[str, str]) -> dict[str, set[str]]:
    packages = {name_of(file) for file in FILES if file.name == "__init__.py"}
    return {m: imports(source, m, set(modules), package=m in packages) for m, source in modules.items()}


def ours(modules: set[str]) -> set[str]:
    return {module for module in modules if module.split(".")[0] == "relay"}


def breaches(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go up, or into a neighbour's room on the same floor."""
    wrong = []
    for module, wanted in sorted(graph.items()):
        here = room(module)
        for other in sorted(ours(wanted)):
            there = room(other)
            if here != there and FLOORS[there] >= FLOORS[here]:
                wrong.append(f"{module} imports {other}")
    return wrong


def worldly(source: str, wanted: set[str]) -> set[str]:
    """What a file that calls itself `Pure.` imports of the world."""
    if "Pure." not in (ast.get_docstring(ast.parse(source)) or "").split():
        return set()
    return {name.split(".")[0] for name in wanted} & WORLD


@cache
def graph() -> dict[str, set[str]]:
    """Who imports what; not made before a test asks, since all workers collect all files."""
    return all_imports(MODULES)


def test_every_room_has_a_floor() -> None:
    """A new folder under relay/ gets its place in the house before it gets its second file."""
    assert {room(module) for module in MODULES} <= set(FLOORS)


def test_nobody_imports_from_above_or_from_a_neighbour() -> None:
    """Imports go down, or stay in their folder: the spool stays the only door between inbound and outbound."""
    assert breaches(graph()) == []


def test_no_config_travels() -> None:
    """Stations get their own values; only config itself, set-up and the door know that there is a Config."""
    reaching = {m for m, wanted in graph().items() if any(room(other) == "config" for other in ours(wanted))}
    assert {room(module) for module in reaching} <= {"config", "daemon", "setup", "cli"}


def test_only_configurations_know_the_name_of_an_upstream() -> None:
    """`mx` is a name that the configuration reserves; everybody else asks the upstream's transport what it is."""
    knowing = {module for module, source in MODULES.items() if re.search(r"\bDIRECT\b|== \"mx\"|\"mx \"", source)}
    knowing -= {"relay.doctor.spf_check", "relay.doctor.sending_hosts"}  # `mx` is a word of SPF, too
    assert {room(module) for module in knowing} == {"config", "importers", "upstream"}
    assert {module for module in knowing if room(module) == "upstream"} == {"relay.upstream.settings"}


def test_control_and_doctor_know_no_sqlite() -> None:
    """Page, command line and doctor speak the contract's words; only the spool knows which backend there is."""
    backends = {"sqlite3", "relay.spool.sqlite.sqlite_spool", "relay.spool.postgres.postgres_spool"}
    assert {
        m: wanted & backends for m, wanted in graph().items() if room(m) in ("control", "doctor") and wanted & backends
    } == {}


def test_the_letter_knows_only_the_standard_library() -> None:
    """relay/mail is what Internet mail is: no mail server's, no relay's, no framework's notions in it."""
    third_party = {"aiosmtpd", "aiosmtplib", "dns", "jinja2", "prometheus_client", "starlette", "structlog", "uvicorn", "yaml"}
    found = {m: {w.split(".")[0] for w in wanted} & third_party for m, wanted in graph().items() if room(m) == "mail"}
    assert {m: names for m, names in found.items() if names} == {}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_pure_files_do_not_touch_the_world(module: str) -> None:
    """A module that says `Pure.` imports no clock, socket, file, randomness or log."""
    assert worldly(MODULES[module], graph()[module]) == set()


def test_no_circles() -> None:
    """What a module is made of can be read before it, in some order."""
    inner = {module: ours(wanted) - {module} for module, wanted in graph().items()}
    try:
        TopologicalSorter(inner).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_are_short_and_say_what_they_are(module: str) -> None:
    """No file is longer than 400 lines, and each opens with a sentence about itself."""
    assert MODULES[module].count("\n") <= LONGEST
    assert ast.get_docstring(ast.parse(MODULES[module]))


def test_no_two_classes_share_a_name() -> None:
    """One name, one meaning; what begins with an underscore is known in its file only."""
    trees = [ast.parse(text) for text in MODULES.values()]
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1 and not name.startswith("_")] == []


def test_the_house_has_rooms() -> None:
    """The walls are looked for where the house stands."""
    assert {"relay", "relay.mail.address", "relay.spool.contract"} <= set(MODULES)


@pytest.mark.parametrize(
    ("module", "never"),
    [
        (
            "relay.daemon",
            ("relay.daemon.services", "relay.doctor", "relay.outbound.runner", "aiosmtplib", "starlette", "uvicorn", "dns"),
        ),
        (
            "relay.daemon.services",
            (
                *("relay.control.server", "relay.control.pages", "relay.doctor.judge", "relay.doctor.gather", "dns"),
                *("jinja2", "prometheus_client", "publicsuffixlist", "starlette", "urllib.request", "uvicorn"),
            ),
        ),
    ],
)
def test_a_start_waits_for_little(module: str, never: tuple[str, ...]) -> None:
    """Devices are greeted before the office is loaded; what is seldom needed is not loaded with it."""
    line = [sys.executable, "-c", f"import sys, {module}, relay.spool.sqlite.sqlite_spool; print(*sys.modules)"]
    loaded = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert module in loaded
    assert [one for one in loaded if any(one == name or one.startswith(f"{name}.") for name in never)] == []


# The walls themselves hold: what they forbid is found in made-up files.


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("relay.inbound.server_session", "from relay.outbound.routing import Route"),
        ("relay.outbound.runner", "import relay.inbound.admission"),
        ("relay.spool.sqlite.sqlite_spool", "from relay.upstream.settings import Upstream"),
        ("relay.mail.repair", "from relay.spool import entry"),
        ("relay.upstream.pool", "def f():\n    from relay.config.settings import Config"),
        ("relay.doctor.judge", "from relay.control.client import ask"),
        ("relay.daemon", "from relay.cli.main import main"),
    ],
)
def test_a_breach_is_seen(module: str, line: str) -> None:
    """An import upwards or sideways is seen, also inside a function."""
    assert len(breaches({module: imports(line, module, set(MODULES))})) == 1


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Times.  Pure."""\nimport time', {"time"}),
        ('"""Paths.  Pure.  RFC 1."""\nfrom os.path import join', {"os"}),
        ('"""Look-ups.  Pure."""\nimport dns.resolver', {"dns"}),
        ('"""Times."""\nimport time', set()),
        ('"""Days.  Pure."""\nfrom datetime import datetime', set()),
    ],
)
def test_impurity_is_seen(source: str, found: set[str]) -> None:
    """The word in the docstring binds the file; without it nothing is promised."""
    assert worldly(source, imports(source, "relay.mail.x", set())) == found


def test_relative_imports_are_followed() -> None:
    """`from ..outbound import routing` is the same breach as its long form."""
    known = {"relay.outbound", "relay.outbound.routing"}
    assert imports("from ..outbound import routing", "relay.inbound.server_session", known) == {"relay.outbound.routing"}
    assert imports("from . import routing", "relay.outbound", known, package=True) == {"relay.outbound.routing"}
