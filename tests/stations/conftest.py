"""What tests of sending submit with."""

from collections.abc import AsyncIterator

import pytest

from relay.upstream.pool import Pools
from relay.upstream.transports import Means, Transports


@pytest.fixture
async def pools() -> AsyncIterator[Pools]:
    made = Pools(hostname="relay.test")
    yield made
    await made.close()


@pytest.fixture
async def transports() -> AsyncIterator[Transports]:
    made = Transports(Means("relay.test"))
    yield made
    await made.close()
