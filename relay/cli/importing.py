"""`relay import`: another relay's files become a configuration that passes `check`; passwords go into files beside it."""

import argparse
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from shlex import quote

from relay import config
from relay.cli.common import complain, harmless, keep_private, print_json
from relay.cli.main import FINE, PROBLEM, USAGE
from relay.config.files import from_home
from relay.importers.device_users import is_users_file, read_users
from relay.importers.docker_postfix import is_compose, is_env_file, move_docker_postfix
from relay.importers.plan import NothingToMove, Plan, Source
from relay.importers.postfix import move_postfix, tables_as_main_cf
from relay.importers.qmail import move_qmail
from relay.importers.writing import Written, written
from relay.password_hash import hash_of, is_hash
from relay.secret import Secret
from relay.setup.answers import mailbox
from relay.setup.here import called

LARGEST = 4_000_000
"""Octets of one file; a transport table of a large site has a hundred thousand lines."""

SHOWN = 40
"""Rules that are told; the file has them all."""


ASKED = 3
"""Times, for an answer that will do."""


class CannotImport(Exception):
    """A file that was named cannot be read; the text says why."""


def call(asked: argparse.Namespace) -> int:
    """Exit status: 0 if a configuration was written; what could not be carried over is told, and is no failure."""
    command = f"relay import {asked.system}"
    try:
        plan = (_postfix if asked.system == "postfix" else _qmail)([Path(name) for name in asked.file])
    except (CannotImport, NothingToMove) as error:
        complain(f"{command}: {error}")
        return USAGE
    if wrong := mailbox(asked.notices_to) if asked.notices_to else "":
        complain(f"{command}: --notices-to: {wrong}")
        return USAGE
    plan.notices_to = asked.notices_to or plan.notices_to or _asked_for_notices(asked)
    if not plan.notices_to:
        plan.warn("notices", "nobody is told when mail fails: add `notices: {to: ADDRESS}`, or import again with --notices-to")
    _hash(plan)
    found = written(plan)
    folder = from_home(asked.output)
    texts = {
        "config.yaml": found.text,
        **found.certificates,
        **{name: f"{one.reveal()}\n" for name, one in found.secrets.items()},
    }
    taken = [str(folder / name) for name in texts if os.path.exists(folder / name)]
    if taken and not asked.force:
        text = "nothing was written; --output DIR writes elsewhere, --force writes over it"
        complain(f"{command}: {', '.join(taken)} {'is' if len(taken) == 1 else 'are'} there already: {text}")
        return USAGE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mistakes, remarks = _tried(folder, texts)
        if mistakes:
            complain(f"{command}: this would not pass `relay check`, so nothing was written:", *mistakes)
            return PROBLEM
        for name in [*(name for name in texts if name != "config.yaml"), "config.yaml"]:
            keep_private(folder / name, texts[name])
    except OSError as error:
        complain(f"{command}: {folder} cannot be written: {error.strerror or error}")
        return USAGE
    if asked.json:
        print_json(_as_json(plan, found, folder, remarks))
    else:
        print("\n".join(harmless(line) for line in _told(plan, found, folder, remarks)))
    return FINE


def _asked_for_notices(asked: argparse.Namespace) -> str:
    """Who is told when mail fails, which few other relays' files say; "" where nobody can be asked, or nobody is wanted."""
    if asked.json or sys.stdin is None or not sys.stdin.isatty():
        return ""
    for _ in range(ASKED):
        try:
            said = input("Who is told when mail fails (an address; empty: nobody): ").strip()
        except EOFError:
            return ""
        if not (wrong := mailbox(said) if said else ""):
            return said
        complain(wrong)
    return ""


def _hash(plan: Plan) -> None:
    """Passwords of devices go into the configuration as hashes."""
    for name, secret in plan.users.items():
        if not is_hash(secret.reveal()):
            plan.users[name] = Secret(str(hash_of(secret.reveal().encode("utf-8", "surrogateescape"), secrets.token_bytes(16))))


def _tried(folder: Path, texts: dict[str, str]) -> tuple[list[str], list[str]]:
    """Mistakes and remarks of the configuration, read as `relay check` would."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".import-") as trial:  # mode 0700
        for name, text in texts.items():
            keep_private(Path(trial, name), text)
        loaded = config.load(Path(trial, "config.yaml"), os.environ)
        mistakes, remarks = ([str(one).replace(f"{trial}/", "") for one in some] for some in (loaded.mistakes, loaded.remarks))
        return mistakes, _condensed(remarks)


def _condensed(remarks: list[str]) -> list[str]:
    """Upstreams without a sender of their own are told of together."""
    found = [(re.search(r"(?<!\S)upstreams\.(\S+)\.sender: ", one), one) for one in remarks]
    bare, rest = [match[1] for match, _ in found if match], [one for match, one in found if not match]
    if not bare:
        return rest
    text = "senders stay as the devices write them, root@nas too; set `sender` where the server wants an address of its own"
    return [*rest, f"upstream{'s' if len(bare) > 1 else ''} {', '.join(bare)}: {text}"]


# ---- reading ---------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Source:
    """Raises CannotImport."""
    try:
        with path.open("rb") as opened:
            octets = opened.read(LARGEST + 1)
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise CannotImport(f"{path}: {reason}") from None
    if b"\0" in octets:
        raise CannotImport(f"{path} is a database; the text that it was made from is needed (the name without .db or .lmdb)")
    if len(octets) > LARGEST:
        raise CannotImport(f"{path} is larger than {LARGEST // 1_000_000} MB")
    return Source(path.name, octets.decode("utf-8", "replace").removeprefix("\ufeff"))


def _maybe(path: Path) -> Source | None:
    try:
        return _read(path) if os.path.isfile(path) else None
    except (CannotImport, OSError):
        return None


def _postfix(paths: list[Path]) -> Plan:
    """The plan of main.cf and its tables, or of a container's variables.  Raises CannotImport, NothingToMove."""
    folders = [path for path in paths if os.path.isdir(path)]
    paths = [path / "main.cf" if path in folders else path for path in paths]
    sources = {path: _read(path) for path in paths}
    users = [source for path, source in sources.items() if path.name not in ("main.cf", "master.cf") and is_users_file(source)]
    sources = {path: source for path, source in sources.items() if source not in users}
    plan = _postfix_without_users(sources, list(sources))
    for source in users:
        read_users(source, plan)
        plan.read.append(source.name)
        plan.warn(source.name, "who logged in stands in the configuration behind a #: with it every device must log in")
    return plan


def _postfix_without_users(sources: dict[Path, Source], paths: list[Path]) -> Plan:
    for path, source in sources.items():
        if is_compose(source) or is_env_file(source):
            return move_docker_postfix(source, _finder(path.parent, sources, "/"))
    main_path = next((path for path in paths if path.name == "main.cf"), None)
    main_path = main_path or next((path for path, source in sources.items() if _like_main_cf(source)), None)
    if main_path is None:
        return _without_main_cf(sources)
    folder = main_path.parent
    master = next((source for path, source in sources.items() if path.name == "master.cf"), _maybe(folder / "master.cf"))
    plan = move_postfix(sources[main_path], _finder(folder, sources, "/etc/postfix"), master)
    for path, source in sources.items():
        if source.name not in plan.read and path.name != "master.cf":
            plan.drop(source.name, f"{main_path.name} names no such table, so it was not read")
    return plan


def _like_main_cf(source: Source) -> bool:
    names = ("relayhost", "transport_maps", "mynetworks", "smtp_sasl_auth_enable", "smtp_tls_security_level")
    return any(line.partition("=")[0].strip() in names for line in source.text.splitlines())


def _without_main_cf(sources: dict[Path, Source]) -> Plan:
    text = tables_as_main_cf([path.name for path in sources])
    if not text:
        wanted = "expected main.cf, or a folder with it, or an env or compose file of boky/postfix"
        raise NothingToMove(f"{', '.join(map(str, sources))}: not known to say where mail goes; {wanted}")
    plan = move_postfix(Source("(no main.cf)", text), _finder(next(iter(sources)).parent, sources, "/"))
    plan.warn("", "there was no main.cf among the files: relayhost, mynetworks and TLS levels are not known")
    return plan


def _finder(folder: Path, sources: dict[Path, Source], home: str) -> Callable[[str], Source | None]:
    """Looks among the files that were named, then beside main.cf, then (on the machine itself) at the path as it is written."""

    def find(said: str) -> Source | None:
        path = Path(said)
        given = next((source for one, source in sources.items() if one == path), None)
        given = given or next((source for one, source in sources.items() if one.name == path.name), None)
        if given or not said:
            return given
        inside = path.relative_to(home) if path.is_relative_to(home) else None if path.is_absolute() else path
        beside = (_maybe(folder / inside) if inside else None) or _maybe(folder / path.name)
        at_home = folder.absolute().is_relative_to("/etc")
        return beside or (_maybe(path) if path.is_absolute() and at_home else None)

    return find


def _qmail(paths: Iterable[Path]) -> Plan:
    """The plan of a control folder or of files from one.  Raises CannotImport, NothingToMove."""
    files: dict[str, Source] = {}
    for path in paths:
        if os.path.isdir(path):
            inside = (one for one in _files(path) if not one.name.endswith((".cdb", "~", ".pem")))
            files |= {one.name: source for one in inside if (source := _maybe(one))}
        else:
            files[path.name] = _read(path)
    return move_qmail(files)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CannotImport(f"{folder}: {error.strerror or error}") from None


# ---- telling ---------------------------------------------------------------------------------------------------------


def _told(plan: Plan, found: Written, folder: Path, remarks: list[str]) -> list[str]:
    target = folder / "config.yaml"
    lines = [
        f"{target}: written, and fine ({_count(len(found.names), 'upstream')}, {_count(len(found.rules), 'rule')})",
        f"read: {', '.join(plan.read)}",
    ]
    lines += [f"{folder / name}: a secret, readable for you only" for name in found.secrets]
    lines += [f"{folder / name}: a certificate authority to trust" for name in found.certificates]
    lines += _part("Upstreams:", [f"{name}: {place}" for name, place in found.names.items()])
    more = [f"... and {len(found.rules) - SHOWN} more"] if len(found.rules) > SHOWN else []
    lines += _part("Rules:", [*found.rules[:SHOWN], *more])
    lines += _part("Carried over:", plan.done)
    lines += _part("Different from now on, look at it:", [*plan.look, *remarks])
    lines += _part("NOT carried over:", plan.left)
    command, named = called(), f"--config {quote(str(target))}"
    lines += ["", f"Next: {command} explain {named} --from SENDER --to RECIPIENT   (which upstream would take it?)"]
    return [*lines, f"      {command} doctor {named}   (do the servers accept it?)"]


def _part(title: str, sentences: list[str]) -> list[str]:
    return ["", title, *(f"  {sentence}" for sentence in sentences)] if sentences else []


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _as_json(plan: Plan, found: Written, folder: Path, remarks: list[str]) -> dict[str, object]:
    return {
        "config": str(folder / "config.yaml"),
        "secrets": [str(folder / name) for name in found.secrets],
        "upstreams": dict(found.names),
        "rules": list(found.rules),
        "read": plan.read,
        "carried_over": plan.done,
        "look_at": [*plan.look, *remarks],
        "not_carried_over": plan.left,
    }
