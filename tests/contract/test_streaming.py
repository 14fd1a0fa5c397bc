"""Large content that is stored while it comes: what an entry gets of it, and what stays of it without one."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest

from relay.spool import open_spool
from relay.spool.contract import SpoolFull, SpoolSettings
from relay.spool.sqlite.invariants import check_invariants
from tests.support.spooled import an_entry

CONTENT = bytes(range(251)) * 12_000  # 3 MB


@pytest.fixture
async def spool(tmp_path, clock):
    spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=0), now=clock)
    yield spool
    await spool.close()


def rows(tmp_path):
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        return db.execute("SELECT count(*) FROM content").fetchone()[0]


def files(tmp_path):
    folder = tmp_path / "spool.db-content"
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def entry(queue_id, clock, arriving, size):
    return replace(an_entry(queue_id, clock(), content=b"", size=size), content=arriving)


async def come_in(spool, content, step=100_000):
    arriving = spool.arrive()
    for place in range(0, len(content), step):
        await arriving.add([content[place : place + step]])
    await arriving.add([], whole=True)
    return arriving


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_048_576, 1_048_577, len(CONTENT)])
@pytest.mark.parametrize("step", [7_001, 65_536, 524_288, 3_000_000])
async def test_it_is_the_content_of_its_entry(spool, clock, tmp_path, size, step):
    """However the pieces are cut: octet for octet, in rows without a gap or in a file."""
    arriving = await come_in(spool, CONTENT[:size], step)
    await spool.commit(entry("a" * 14, clock, arriving, size))
    assert b"".join((await spool.claim(clock())).entry.content) == CONTENT[:size]
    arriving.drop()  # too late: it is the entry's
    await spool.commit(an_entry("b" * 14, clock()))
    assert b"".join((await spool.entry("a" * 14)).entry.content) == CONTENT[:size]
    assert check_invariants(tmp_path / "spool.db") == []


async def test_a_transaction_is_all_that_its_commit_needs(spool, clock):
    """The device waits for its 250 no longer than with a small message."""
    arriving = await come_in(spool, CONTENT)
    before = spool.syncs
    await spool.commit(entry("a" * 14, clock, arriving, len(CONTENT)))
    assert spool.syncs == before + 1


async def test_without_an_entry_nothing_stays(spool, clock, tmp_path):
    """A line that is lost, a refusal at the end: what was written goes, and what comes for it later is not taken."""
    arriving, other = await come_in(spool, CONTENT), await come_in(spool, CONTENT)
    assert arriving.stored > 1_000_000
    arriving.drop()
    arriving.drop()
    await arriving.add([CONTENT])
    await spool.commit(entry("b" * 14, clock, other, len(CONTENT)))
    assert rows(tmp_path) == 0
    assert len(files(tmp_path)) == 1
    assert b"".join((await spool.entry("b" * 14)).entry.content) == CONTENT


async def test_what_is_dropped_while_it_is_written_goes_too(spool, clock, tmp_path):
    """The line is lost while a slice is on its way to the disk: it goes behind that, and nothing is promised any more."""
    arriving = spool.arrive()
    writing = asyncio.create_task(arriving.add([CONTENT]))
    await asyncio.sleep(0)
    arriving.drop()
    await writing
    await spool.commit(an_entry("b" * 14, clock()))
    assert (rows(tmp_path), files(tmp_path)) == (1, [])
    assert spool._committer.arriving == frozenset()


async def test_what_comes_in_is_spared_when_the_spool_is_tidied(spool, clock):
    """A slow device may take longer than an hour."""
    arriving = spool.arrive()
    await arriving.add([CONTENT[:2_000_000]])
    await spool.tidy(clock())
    await arriving.add([CONTENT[2_000_000:]], whole=True)
    await spool.commit(entry("a" * 14, clock, arriving, len(CONTENT)))
    assert b"".join((await spool.entry("a" * 14)).entry.content) == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
async def test_a_wrong_size_is_refused_and_leaves_nothing(spool, clock, tmp_path, size):
    """Size and content must agree, or a reader could not tell the whole from a part."""
    arriving = await come_in(spool, CONTENT)
    with pytest.raises(ValueError, match="size"):
        await spool.commit(entry("a" * 14, clock, arriving, size))
    await spool.commit(an_entry("b" * 14, clock()))
    assert (rows(tmp_path), files(tmp_path)) == (1, [])


async def test_a_queue_id_that_is_taken_leaves_nothing(spool, clock, tmp_path):
    """The entry is refused within the transaction that has the rest of its content."""
    await spool.commit(an_entry("a" * 14, clock(), content=b"first"))
    arriving = await come_in(spool, CONTENT)
    with pytest.raises(ValueError, match="taken"):
        await spool.commit(entry("a" * 14, clock, arriving, len(CONTENT)))
    await spool.commit(an_entry("b" * 14, clock()))
    assert (rows(tmp_path), files(tmp_path)) == (2, [])


async def test_the_reserve_is_not_for_what_comes_in(tmp_path, clock):
    """Less than `keep_free` is left: not even a slice is written."""
    spool = await open_spool(SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=1 << 62), now=clock)
    arriving = spool.arrive()
    with pytest.raises(SpoolFull):
        await arriving.add([CONTENT])
    arriving.drop()
    await spool.close()
    assert (rows(tmp_path), files(tmp_path)) == (0, [])


async def test_a_commit_that_is_cancelled_is_there_or_is_not(spool, clock, tmp_path):
    """Whatever was written when the caller went away: a whole message or nothing of it."""
    for turns in range(6):
        arriving = await come_in(spool, CONTENT)
        name = f"m{turns:013d}"
        task = asyncio.create_task(spool.commit(entry(name, clock, arriving, len(CONTENT))))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        arriving.drop()
    await spool.commit(an_entry("b" * 14, clock()))
    assert check_invariants(tmp_path / "spool.db") == []


async def test_a_commit_that_is_cancelled_before_it_is_written_is_whole_or_not_there(spool, clock, tmp_path):
    """The disk is busy, the caller goes away: what is written afterwards all the same has all of its content."""
    arriving = await come_in(spool, CONTENT)
    busy = asyncio.create_task(spool._writer.write(lambda _db: time.sleep(0.3)))
    await asyncio.sleep(0.1)
    task = asyncio.create_task(spool.commit(entry("a" * 14, clock, arriving, len(CONTENT))))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, busy, return_exceptions=True)
    await spool.commit(an_entry("b" * 14, clock()))
    assert check_invariants(tmp_path / "spool.db") == []


async def test_a_crash_leaves_nothing_behind(tmp_path, clock):
    """What was on its way when the power failed is swept at the next start."""
    settings = SpoolSettings(f"sqlite:{tmp_path}/spool.db", keep_free=0)
    spool = await open_spool(settings, now=clock)
    await come_in(spool, CONTENT)
    await spool.close()
    assert files(tmp_path)
    await (await open_spool(settings, now=clock)).close()
    assert files(tmp_path) == []
