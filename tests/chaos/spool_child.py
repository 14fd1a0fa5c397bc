"""A process that accepts and settles without pause and says what it has promised, until it is killed."""

import asyncio
import os
import sys
from datetime import UTC, datetime

from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.entry import State
from relay.spool.queue_id import new_queue_id
from tests.support.spooled import an_entry, settled

FATES = (State.RELAYED, State.RELAYED, State.FAILED, State.HELD)


def now() -> datetime:
    return datetime.now(UTC)


def content_of(queue_id: str, octets: int) -> bytes:
    """Content that can be told from any other's."""
    return (queue_id.encode() * (octets // len(queue_id) + 1))[:octets]


def promise(word: str, queue_id: str) -> None:
    os.write(1, f"{word} {queue_id}\n".encode())  # one write, so a kill never leaves half a promise


async def accept(spool, sizes) -> None:
    for octets in sizes:
        queue_id = new_queue_id(now())
        await spool.commit(an_entry(queue_id, now(), content=content_of(queue_id, octets), to=("a@x.jp", "b@x.jp")))
        promise("accepted", queue_id)


async def relay(spool) -> None:
    number = 0
    while True:
        claim = await spool.claim(now())
        if claim is None:
            await spool.wait(None)
            continue
        number += 1
        state = FATES[number % len(FATES)]
        promise("attempted", claim.entry.queue_id)
        await spool.settle(claim, settled(claim.recipients, state))
        promise(state.value, claim.entry.queue_id)
        await spool.release(claim)


async def main(url: str) -> None:
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=now)
    endless = iter(lambda: 2_000, None)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(accept(spool, endless))
        tasks.create_task(accept(spool, iter(lambda: 700_000, None)))
        tasks.create_task(relay(spool))
        tasks.create_task(relay(spool))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
