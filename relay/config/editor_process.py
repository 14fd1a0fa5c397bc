"""Looks at the configuration, checks a draft of it and saves one, in a process of its own.

relay ── request, pickled ──▶ python -m relay.config.editor_process ── answer as JSON ──▶ relay

A draft may name any file as a secret's, a pipe without an end too, and PyYAML takes its time: neither is to stop the relay.
No secret leaves this process: a placeholder stands for each, and what it stands for is read from the file again.
"""

import hashlib
import json
import os
import pickle
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from relay.config import environment
from relay.config.config_values import Config
from relay.config.files import from_home
from relay.config.hidden import Misplaced, Restored, Span, masked, place_at, restored, spans
from relay.config.loader import load, load_text
from relay.config.located import LARGEST, Mistake, Place, parse
from relay.config.origins import origins
from relay.config.replacing import Changed, hindrance, replace
from relay.detached import give_way

LARGEST_DRAFT = 200_000
"""Octets of a text that can be edited here."""

MOST_TOLD = 200
"""Mistakes; who has more begins at the top."""

_ALONE = 30
"""Seconds after which the process ends by itself: a relay that died cannot end it.  More than editor.PATIENCE."""

_HIDDEN = "expected something else, found a hidden value: `relay check` on the relay's machine says what is wrong with it"

_SECTION_OF = {"listeners": "listen", "nameservers": "dns", "trusted_nameservers": "dns", "direct": "mx"}


@dataclass(frozen=True, slots=True)
class Request:
    """`work`: look, check or save.  `running` is the configuration in force; `text` the draft, `stamp` of what it was made."""

    work: str
    running: Config
    environ: Mapping[str, str]
    text: str = ""
    stamp: str = ""


def answer(asked: Request) -> dict[str, Any]:
    """What the page is told."""
    if asked.work == "look":
        return _look(asked)
    if asked.running.source in ("", environment.WHOLE):
        return {"saved": False, "refused": "variables", "mistakes": [], "remarks": []}
    return _check(asked) if asked.work == "check" else _save(asked)


def _look(asked: Request) -> dict[str, Any]:
    source = asked.running.source
    whole = source == environment.WHOLE
    path = Path(source) if source and not whole else None
    loaded = load(path, asked.environ)
    waiting = _waiting(asked.running, loaded.config) if loaded.config else []
    told = {"source": source, "waiting": waiting, "mistakes": _told(loaded.mistakes), "remarks": list(loaded.remarks)}
    if path is None and not whole:
        rows = origins(environment.as_table(environment.said(asked.environ)), _Exists(Path.cwd())) if loaded.config else []
        return {**told, "settings": rows, "text": None, "stamp": "", "read_only": "variables"}
    octets = _octets(path) if path else os.fsencode(asked.environ.get(environment.WHOLE, ""))
    exists = _Exists(path.absolute().parent if path else Path.cwd())
    node, mistakes = parse(octets, source)
    rows = origins(node, exists) if loaded.config else []  # with a mistake in it, it is not what is in force
    reason = "whole" if path is None else hindrance(path)
    if not reason and mistakes:
        reason = "form"
    if not reason and len(octets) > LARGEST_DRAFT:
        reason = "large"
    if not reason:
        text, kept = masked(octets.decode("utf-8-sig"), exists)
        return {**told, "settings": rows, "text": text, "stamp": _stamp(octets, kept), "read_only": reason}
    return {**told, "settings": rows, "text": None, "stamp": "", "read_only": reason}


def _octets(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(LARGEST + 1)
    except OSError:
        return b""


def _waiting(running: Config, read: Config) -> list[str]:
    """The sections in which the file says something else than what is in force."""
    names = [each.name for each in fields(Config) if each.name != "source"]
    changed = [name for name in names if getattr(running, name) != getattr(read, name)]
    return list(dict.fromkeys(_SECTION_OF.get(name, name) for name in changed))


class _Exists:
    """Whether a file is there, named as the configuration names it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> bool:
        try:
            return bool(name.strip()) and os.path.lexists(self._folder / from_home(name.strip()))
        except ValueError:
            return False


def _check(asked: Request) -> dict[str, Any]:
    """{"mistakes", "remarks"} of the draft."""
    path = Path(asked.running.source)
    return _checked(asked, *_hidden(path, _octets(path)))[1]


def _hidden(path: Path, octets: bytes) -> tuple[str, list[Span]]:
    """The text and what is hidden of it; neither where it has a mistake of form."""
    if parse(octets, str(path))[1]:
        return "", []
    source = octets.decode("utf-8-sig")
    return source, spans(source, _Exists(path.absolute().parent))


def _checked(asked: Request, source: str, kept: list[Span]) -> tuple[str, dict[str, Any]]:
    """The text that is meant, and what `relay check` says of it; "" where it cannot be told what is meant."""
    path, draft = Path(asked.running.source), asked.text.replace("\r\n", "\n")
    octets = draft.encode("utf-8", "surrogatepass")
    if len(octets) > LARGEST_DRAFT:
        return "", _only(Mistake(Place(str(path), 1, 1), "", f"expected at most {LARGEST_DRAFT} octets, found {len(octets)}"))
    mistakes = parse(octets, str(path))[1]
    if mistakes:
        return "", {"mistakes": _told(mistakes), "remarks": []}
    try:
        meant = restored(draft, source, kept, _Exists(path.absolute().parent))
    except Misplaced as wrong:
        return "", _only(Mistake(Place(str(path), *place_at(draft, wrong.at)), "", str(wrong)))
    loaded = load_text(meant.text, path, asked.environ)
    remarks = [_HIDDEN if meant.shows(one) else one for one in loaded.remarks]
    return meant.text, {"mistakes": _told(loaded.mistakes, meant), "remarks": remarks}


def _only(mistake: Mistake) -> dict[str, Any]:
    return {"mistakes": _told((mistake,)), "remarks": []}


def _told(mistakes: "tuple[Mistake, ...] | list[Mistake]", meant: Restored | None = None) -> list[dict[str, Any]]:
    return [
        {
            "line": one.place.line,
            "column": meant.column(one.place.line, one.place.column) if meant else one.place.column,
            "path": one.path,
            "text": _HIDDEN if meant and meant.shows(one.text, one.place.line) else one.text,
        }
        for one in mistakes[:MOST_TOLD]
    ]


def _save(asked: Request) -> dict[str, Any]:
    path = Path(asked.running.source)
    if reason := hindrance(path):
        return {"saved": False, "refused": reason, "mistakes": [], "remarks": []}
    before = _octets(path)
    source, kept = _hidden(path, before)
    if _stamp(before, kept) != asked.stamp:
        return {"saved": False, "refused": "changed", "mistakes": [], "remarks": []}
    text, told = _checked(asked, source, kept)
    if not text or told["mistakes"]:
        return {"saved": False, "refused": "mistakes", **told}
    if b"\r\n" in before:
        text = text.replace("\n", "\r\n")
    try:
        kept_as = replace(path, text.encode("utf-8"), before, datetime.now(UTC))
    except Changed:
        return {"saved": False, "refused": "changed", **told}
    except OSError as error:
        return {"saved": False, "refused": "disk", "words": error.strerror or type(error).__name__, **told}
    return {"saved": True, "refused": "", "kept_as": kept_as, **told}


def _stamp(octets: bytes, kept: list[Span]) -> str:
    """Of the text and of what its placeholders stand for: that depends on which files are there, too."""
    return hashlib.sha256(octets + repr([(one.start, one.end) for one in kept]).encode()).hexdigest()


def main() -> None:
    signal.alarm(_ALONE)
    answers, sys.stdout = sys.stdout, sys.stderr
    give_way()
    said = json.dumps(answer(pickle.loads(sys.stdin.buffer.read())))  # noqa: S301 - from the relay itself
    answers.write(said)
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
