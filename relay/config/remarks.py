"""Settings that are read and checked, but whose feature is still to come: told at every start, never silently ignored.

One row per feature; a row goes when its feature comes.  Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from relay.config.settings import Config


@dataclass(frozen=True, slots=True)
class Pending:
    """`asked` gives the paths of the settings that ask for the feature, none if nobody does."""

    asked: Callable[[Config], Iterable[str]]
    text: str


def _postgresql(config: Config) -> list[str]:
    return ["spool.url"] if config.spool.url.startswith("postgres") else []


PENDING: tuple[Pending, ...] = (
    Pending(_postgresql, "a spool in PostgreSQL is still to come: the relay cannot start with it yet"),
)


def pending(config: Config) -> Iterator[tuple[str, str]]:
    """(path, text) of everything that is asked for in vain."""
    for row in PENDING:
        for path in row.asked(config):
            yield path, row.text
