"""The spool: what was accepted stays here until its fate is known."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from relay.spool.contract import Spool, SpoolBroken, SpoolSettings


async def open_spool(settings: SpoolSettings, *, now: Callable[[], datetime]) -> Spool:
    """Opens the spool that `settings.url` names.  Raises SpoolBroken with the reason in words."""
    scheme, _, place = settings.url.partition(":")
    if scheme == "sqlite" and place.strip("/"):
        from relay.spool.sqlite import SqliteSpool  # lazy: values of the spool are used where no file is

        return await SqliteSpool.open(Path(place.removeprefix("//")), settings, now)
    if scheme in ("postgresql", "postgres"):
        raise SpoolBroken("postgresql comes with a later version; use sqlite:/path/to/spool.db")
    raise SpoolBroken(f"expected a spool like sqlite:/var/lib/relay/spool.db, found {scheme!r}")
