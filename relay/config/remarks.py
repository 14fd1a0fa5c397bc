"""Settings that make sense and still mean less than a person may think: told at every start, never silently ignored.

One row for each such thing.  Pure.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from relay.config.config_values import Config

_LOCAL = re.compile(r"postgres(ql)?://([^/@]*@)?(/|localhost\b|127\.|\[::1\])")


@dataclass(frozen=True, slots=True)
class Remark:
    """`asked` gives the paths of the settings that it is about, none if it does not apply."""

    asked: Callable[[Config], Iterable[str]]
    text: str


def _unguarded(config: Config) -> list[str]:
    url = config.spool.url
    remote = not config.spool.file and not _LOCAL.match(url) and "sslmode=verify-" not in url
    return ["spool.url"] if remote else []


REMARKS: tuple[Remark, ...] = (
    Remark(
        _unguarded,
        "nothing proves that it is your database that answers, and mail may cross the network in the clear;"
        " add ?sslmode=verify-full&sslrootcert=FILE",
    ),
)


def remarked(config: Config) -> Iterator[tuple[str, str]]:
    """(path, text) of everything that a person should know."""
    for row in REMARKS:
        for path in row.asked(config):
            yield path, row.text
