"""A configuration and the secrets beside it, as files: each whole or not at all, mode 0600, on disk.  Blocks."""

from collections.abc import Mapping
from pathlib import Path

from relay.upstream.state_file import replace_file


def keep(target: Path, text: str, secrets: Mapping[str, str]) -> None:
    """Writes the secrets by their file names, and then the configuration: nothing is configured before all is there.

    Raises OSError.
    """
    folder = target.parent
    for name, secret in secrets.items():
        replace_file(folder / name, folder, f"{secret}\n".encode("utf-8", "surrogateescape"))
    replace_file(target, folder, text.encode("utf-8", "surrogateescape"))
