"""A spool on every URL of SPOOL_URLS, with a clock that stands still."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from tests.support.postgres import PostgresServer, check_invariants
from tests.support.spooled import URLS
from tests.support.world import Clock

Opener = Callable[..., Awaitable[Spool]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=URLS)
async def opened(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Opener]:
    """Opens the same spool, as often as the test wants, after closing the one before."""
    spools: list[Spool] = []
    shared = request.param.startswith("postgres")
    server: PostgresServer | None = request.getfixturevalue("postgres_server") if shared else None
    url = server.database() if server else request.param.format(tmp=tmp_path)

    async def opener(**settings: Any) -> Spool:
        if spools:
            await spools[-1].close()
        wanted = {"keep_free": 0, "keep_history": timedelta(days=14), **settings}
        spools.append(await open_spool(SpoolSettings(url, **wanted), now=clock))
        return spools[-1]

    yield opener
    if spools:
        await spools[-1].close()
    if server:
        assert check_invariants(url) == []


@pytest.fixture
async def spool(opened: Opener) -> Spool:
    return await opened()
