"""What is kept open for a while: the newest is taken first, and each is ended once."""

import asyncio

from relay.upstream.idle_pool import IdlePool


async def test_the_one_used_last_is_taken_and_what_is_no_longer_usable_is_ended():
    """Others than the wanted ones stay."""
    ended: list[str] = []
    kept = IdlePool[str](60, ended.append)
    for one in ("a1", "b1", "a2", "b2", "a3"):
        kept.keep(one)
    assert kept.take(lambda one: True) == "a3"
    assert kept.take(lambda one: one != "b2", lambda one: one.startswith("b")) == "b1"
    assert ended == ["b2"]
    kept.close()
    assert ended == ["b2", "a2", "a1"]
    assert kept.take(lambda one: True) is None


async def test_each_is_ended_when_its_own_time_is_over():
    """One that was taken and comes back has its time anew."""
    ended: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()
    started = loop.time()
    kept = IdlePool[str](0.2, lambda one: ended.append((one, loop.time() - started)))
    kept.keep("first")
    kept.keep("second")
    await asyncio.sleep(0.1)
    kept.keep(str(kept.take(lambda one: True)))
    async with asyncio.timeout(10):
        while len(ended) < 2:
            await asyncio.sleep(0.01)
    assert [one for one, _ in ended] == ["first", "second"]
    assert ended[0][1] >= 0.19 and ended[1][1] >= 0.29
