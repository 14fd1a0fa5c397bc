"""Where set-up in the browser writes, and what the environment has said already: it goes into the file, by reference."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relay import config
from relay.config import environment, scalars
from relay.config.config_values import Config
from relay.config.files import from_home
from relay.config.schema import SECTIONS
from relay.other_user import nearest, place_for
from relay.setup import here
from relay.yaml_text import listed, quoted

PAGE = "0.0.0.0:8025"
"""Where the page of set-up answers, if RELAY_WEB names no other address."""

_FILES = ("_file", "_cert", "_key", "_dir")
_LISTS = {f"{section.path}.{one.key}" for section in SECTIONS for one in section.settings if one.several}


class CannotSetUp(Exception):
    """There can be no set-up; the text says why and what to do."""


class SetupBroken(Exception):
    """The page of set-up ended by itself; the text says so."""


@dataclass(frozen=True, slots=True)
class SetupPlace:
    """`target` is the configuration's file, `state_dir` where all else is kept.

    `references` are settings of the environment, as YAML by their paths.  `base` is the configuration that they make with a
    server that does not exist.  `listen` and `spool` are what must be written beside them.  `own_password`: the page's
    password is one of the environment.
    """

    target: Path
    state_dir: Path
    references: Mapping[str, str]
    base: Config
    listen: str = ""
    spool: str = ""
    own_password: bool = False


def wanted(option: bool, environ: Mapping[str, str]) -> bool:
    """Whether a person asks for set-up: `--setup`, or RELAY_SETUP=yes.  Raises CannotSetUp."""
    said = environ.get(environment.SETUP, "")
    try:
        return option or (said == "1" or scalars.flag(said) if said else False)
    except scalars.Wrong:
        raise CannotSetUp(f"{environment.SETUP}: expected yes or no, found {said!r}") from None


def find_place(path_option: str | None, environ: Mapping[str, str]) -> SetupPlace:
    """Where there is no configuration.  Makes the state directory.  Raises CannotSetUp."""
    said = environment.said(environ)
    own = {path: name for path, name in environment.paths(said).items() if name in said and not path.startswith("upstreams.")}
    base = _base(environ, own)
    target, state_dir = _target(path_option, environ, base.spool.home)
    if os.path.lexists(target) and not os.path.isfile(target):
        what = "a link to a file that is not there" if not os.path.exists(target) else "no file"
        raise CannotSetUp(
            f"{target}: the settings cannot be written there, since it is {what}; remove it, or name another file"
        )
    spool = ""
    if not _writable(base.spool.home) and not {"spool.url", "spool.state_dir"} & set(own):
        spool = here.spool(target.parent)
        state_dir = Path(spool).parent if spool else state_dir
    for folder in (state_dir, target.parent):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotSetUp(f"{folder}: {error.strerror or error}{place_for(folder, error, 'RELAY_SPOOL')}") from error
    references = {path: _reference(path, name, said[name]) for path, name in own.items()}
    listen = "" if "listen.address" in own else here.listen()
    addresses = said.get(own.get("listen.address", ""), "")
    if (words := addresses.replace(",", " ").split()) and words != [addresses]:
        listen = " ".join(words)
        del references["listen.address"]
    own_password = bool({"web.password", "web.password_file"} & set(own))
    return SetupPlace(target, state_dir, references, base, listen, spool, own_password)


def _base(environ: Mapping[str, str], own: Mapping[str, str]) -> Config:
    """What the variables say, with a server that is made up: so they are checked before anybody types anything."""
    asked = {"RELAY_HOST": "mail.isp.example", **{name: environ[name] for name in own.values()}}
    if "web.address" not in own:
        asked["RELAY_WEB_ADDRESS"] = PAGE
    if not {"web.password", "web.password_file"} & set(own):
        asked["RELAY_WEB_PASSWORD"] = "not chosen yet"  # noqa: S105 - for the check only
    loaded = config.load(None, asked)
    mistakes = [*loaded.mistakes, *environment.mistakes(environ)]
    if loaded.config is None or mistakes:
        raise CannotSetUp("\n".join(map(str, dict.fromkeys(mistakes))))
    if not loaded.config.web.address:
        raise CannotSetUp("set-up needs the page, but RELAY_WEB switches it off")
    return loaded.config


def _target(path_option: str | None, environ: Mapping[str, str], home: Path) -> tuple[Path, Path]:
    """The file to write and the state directory, as far as they can be written."""
    named = path_option or environ.get("RELAY_CONFIG")
    kept = home / "config.yaml"
    if named:
        folder = _is_folder(Path(named))
        target = (Path(named) / "config.yaml" if folder else Path(named)).absolute()
        if _writable(target.parent):
            return target, home
        if path_option or not folder:
            raise CannotSetUp(f"{target} cannot be written by user {os.geteuid()}; name a place that can, or make it writable")
    if _writable(home):
        return kept.absolute(), home
    if named or not _writable(Path.cwd()):
        raise CannotSetUp(
            f"{home} cannot be written by user {os.geteuid()}; mount a volume there, or name a file with --config"
        )
    return Path("config.yaml").absolute(), home


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _writable(folder: Path) -> bool:
    return os.access(nearest(folder), os.W_OK | os.X_OK)


def _reference(path: str, name: str, value: str) -> str:
    """`${NAME}`, so that a change of the variable counts later, too; lists and relative file names as they are now."""
    if path.endswith(_FILES) and not from_home(value.strip()).is_absolute():
        return quoted(str(Path(value.strip()).absolute()))
    words = value.replace(",", " ").split()
    return listed(words) if path in _LISTS and words != [value] else f'"${{{name}}}"'
