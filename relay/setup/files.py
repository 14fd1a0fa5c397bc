"""A configuration and the secrets beside it, as files: each whole or not at all, mode 0600, on disk.  Blocks."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

from relay.upstream.state_file import replace_file


def keep(target: Path, text: str, secrets: Mapping[str, str], check: Callable[[], None] = lambda: None) -> None:
    """Writes the secrets by their file names, and then the configuration: nothing is configured before all is there.

    Files that the secrets replace stay as NAME.before.  `check` is called before the configuration is written.  What it
    raises, or an OSError, is raised when the secrets are as they were.
    """
    folder = target.parent
    with ExitStack() as undo:
        for name, secret in secrets.items():
            file, octets = folder / name, f"{secret}\n".encode("utf-8", "surrogateescape")
            if not (os.path.isfile(file) and file.read_bytes() == octets):
                undo.callback(_put_back, file, _set_aside(file))
            replace_file(file, folder, octets)
        check()
        if not os.path.lexists(target):
            undo.callback(_put_back, target, None)
        replace_file(target, folder, text.encode("utf-8", "surrogateescape"))
        undo.pop_all()


def _set_aside(file: Path) -> Path | None:
    """Where the file is now, if there was one.  Raises OSError."""
    if not os.path.lexists(file):
        return None
    names = (file.with_name(f"{file.name}.before{number or ''}") for number in count())
    return file.rename(next(name for name in names if not os.path.lexists(name)))


def _put_back(file: Path, aside: Path | None) -> None:
    with suppress(OSError):
        aside.replace(file) if aside else file.unlink()
