"""The spool: what was accepted stays here until its fate is known."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from relay.spool.contract import Spool, SpoolBroken, SpoolSettings

if TYPE_CHECKING:
    from relay.spool.postgres.shared_tokens import PostgresTokenStore


async def open_spool(settings: SpoolSettings, *, now: Callable[[], datetime], home: Path | None = None) -> Spool:
    """Opens the spool that `settings.url` names.  `home` is the state directory of a relay; None: a command that only looks.

    Raises SpoolBroken with the reason in words.
    """
    if settings.file:
        from relay.spool.sqlite.sqlite_spool import SqliteSpool  # lazy: values of the spool are used where no file is

        return await SqliteSpool.open(settings.file, settings, now)
    scheme = settings.url.partition(":")[0]
    if scheme in ("postgresql", "postgres"):
        return await _shared(settings, now, home)
    raise SpoolBroken(f"expected a spool like sqlite:/var/lib/relay/spool.db, found {scheme!r}")


async def _shared(settings: SpoolSettings, now: Callable[[], datetime], home: Path | None) -> Spool:
    try:
        from relay.spool.postgres.postgres_spool import PostgresSpool  # lazy: who needs no PostgreSQL need not have its library
    except ImportError as error:
        raise SpoolBroken(
            "a spool in PostgreSQL needs psycopg: .venv/bin/python -m pip install --require-hashes -r"
            " requirements/postgres.txt, where the relay was cloned; for the image, docker build --build-arg"
            f" REQUIREMENTS=requirements/postgres.txt ({error})"
        ) from error
    if settings.fallback and home is not None:
        from relay.spool.postgres.fallback import PostgresWithFallback

        return await PostgresWithFallback.open(settings, now, home)
    return await PostgresSpool.open(settings, now, home)


def open_safe(settings: SpoolSettings) -> "PostgresTokenStore | None":
    """The shared token store of relays that share a spool; None where the spool is a file.

    Raises SpoolBroken where the library is missing.
    """
    if settings.file:
        return None
    try:
        from relay.spool.postgres.shared_tokens import PostgresTokenStore
    except ImportError as error:
        raise SpoolBroken(f"a spool in PostgreSQL needs psycopg: requirements/postgres.txt has it ({error})") from error
    return PostgresTokenStore(settings)
