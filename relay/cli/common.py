"""What every verb needs: the configuration, or its mistakes in words; printing."""

import argparse
import json
import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.cli.main import USAGE
from relay.printable import printable

if TYPE_CHECKING:
    from relay.config import Loaded
    from relay.config.config_values import Config


_READABLE = 1000  # entries of a list


def complain(*sentences: object) -> None:
    for sentence in sentences:
        print(sentence, file=sys.stderr)


def harmless(text: str) -> str:
    """Text from mail or servers as a terminal may show it: no control character can move the cursor or colour a lie."""
    return "\t".join(printable(part) for part in text.split("\t"))


def local_time(stamp: str) -> str:
    """The time of this machine, or of TZ: `2026-11-22 19:20:30 JST`."""
    return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def in_words(error: Exception) -> str:
    """Without the number that means nothing to people, but with the file that it is about."""
    said, place = getattr(error, "strerror", None), getattr(error, "filename", None)
    return f"{place}: {said}" if said and place else str(said or error)


def print_json(value: Any) -> None:
    """One JSON document; indented while a person may read it, for that takes four times as long."""
    long = isinstance(value, dict) and any(isinstance(part, list) and len(part) > _READABLE for part in value.values())
    text = json.dumps(value, ensure_ascii=False, indent=None if long else 2)
    print("\n".join(map(printable, text.split("\n"))))


def load_config(asked: argparse.Namespace, *, quick: bool = False) -> "Loaded":
    from relay import config

    return config.load(config.find(asked.config, os.environ), os.environ, quick=quick)


def keep_private(path: Path, text: str) -> None:
    """Writes a file whole or not at all, for our eyes only from the first moment on.  Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as opened:
        opened.write(text)
    Path(name).replace(path)


def tell_mistakes(loaded: "Loaded") -> None:
    """All of them; and to who has no configuration yet, how to come by one."""
    from relay.config.environment import NOTHING

    complain(*loaded.mistakes)
    if loaded.mistakes == (NOTHING,):
        complain(
            "`relay init` asks a few questions and writes one; `relay run --setup` asks in the browser."
            " `relay demo` shows the relay at work without one."
        )


def configured(asked: argparse.Namespace) -> "Config":
    """The configuration; with mistakes in it, prints them all and ends with 2."""
    loaded = load_config(asked)
    if loaded.config is None:
        tell_mistakes(loaded)
        sys.exit(USAGE)
    return loaded.config


def configured_or_running(asked: argparse.Namespace) -> "Config":
    """The same for who only asks a relay: one that runs goes on with its old settings, whatever the file says now."""
    loaded = load_config(asked, quick=True)
    if loaded.config is not None:
        return loaded.config
    tell_mistakes(loaded)
    if loaded.guess is None or not _answers(loaded.guess):
        sys.exit(USAGE)
    complain("The running relay keeps its old settings until these mistakes are corrected. The command uses it all the same.")
    return loaded.guess


def _answers(config: "Config") -> bool:
    from relay.control.client import Refused, Running

    try:
        Running(config.spool, timeout=5.0).relay()
    except (OSError, Refused):
        return False
    return True
