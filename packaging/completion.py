"""Writes what bash, zsh and fish need to complete `relay`'s commands and options: static files, nothing runs at a key press.

python packaging/completion.py FOLDER      FOLDER is the root that has usr/share
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay.cli.main import make_parser
from relay.upstream.providers import NAMES

PLACES = {
    "bash": "usr/share/bash-completion/completions/relay",
    "zsh": "usr/share/zsh/vendor-completions/_relay",
    "fish": "usr/share/fish/vendor_completions.d/relay.fish",
}
KINDS = {"PATH": shtab.FILE, "FILE": shtab.FILE, "DIR": shtab.DIRECTORY, "DIRECTORY": shtab.DIRECTORY}


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions(below)


def prepared() -> argparse.ArgumentParser:
    """The parser; what it cannot know is told here: which values are files, and which names there are."""
    parser = make_parser()
    for action in actions(parser):
        if isinstance(action.metavar, str) and action.metavar in KINDS:
            action.complete = KINDS[action.metavar]  # type: ignore[attr-defined]
        if action.dest == "provider":
            action.choices = NAMES
    return parser


def main(root: Path) -> None:
    for shell, place in PLACES.items():
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shtab.complete(prepared(), shell=shell) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
