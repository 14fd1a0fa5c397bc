"""The life of the spool's file: older ones, the size of the log, content that waits for its removal."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolBroken, SpoolSettings
from relay.spool.entry import Action, Order, Settlement, State, TrailLine
from relay.spool.sqlite import connections, read, schema, wal
from relay.spool.sqlite.invariants import check_invariants
from relay.spool.sqlite.leftovers import MESSAGES
from relay.spool.sqlite.recover import save
from relay.spool.sqlite.sqlite_spool import SqliteSpool
from tests.support.spooled import a_notice, after, an_entry, settled
from tests.support.world import Clock

A, B = "a" * 14, "b" * 14
FATES = {f"{state.value:0<14}": state for state in State if state is not State.MERGED}  # which no older version knows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ample(monkeypatch) -> None:
    """A disk with room, whatever this machine has."""
    monkeypatch.setattr(connections, "free_octets", lambda path: 50_000_000_000)


async def opened(path: Path, clock: Clock) -> SqliteSpool:
    spool = await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0), now=clock)
    assert isinstance(spool, SqliteSpool)
    return spool


async def asked(spool: SqliteSpool, query: str) -> list[tuple[object, ...]]:
    return await spool._writer.look(lambda db: db.execute(query).fetchall())


async def waiting(spool: SqliteSpool) -> list[int]:
    """Messages that have content in the file."""
    return [message for (message,) in await asked(spool, "SELECT DISTINCT message FROM content ORDER BY message")]


def content_of(name: str) -> bytes:
    return name.encode() * 8_000


async def relayed(spool: SqliteSpool, clock: Clock, queue_id: str, content: bytes) -> None:
    await spool.commit(an_entry(queue_id, clock.advance(seconds=1), content=content))
    claim = await spool.claim(clock())
    assert claim
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)


async def a_spool_of_version_1(path: Path, clock: Clock) -> None:
    """A file as 0.1.0 made it, with a message of each fate."""
    newer = path.with_name("newer.db")
    spool = await opened(newer, clock)
    for name in FATES:
        await spool.commit(an_entry(name, clock(), content=content_of(name), to=("me@example.jp", "you@example.jp")))
    claims = [await spool.claim(clock()) for _ in FATES]
    for claim, state in zip(claims, FATES.values(), strict=True):
        if state.over:
            outcomes = tuple(after(one, state) for one in claim.recipients)
            told = (a_notice(claim.entry.queue_id, outcomes[0], clock()),) if state is State.FAILED else ()
            line = TrailLine(clock(), state.value, "so be it")
            await spool.settle(claim, Settlement(outcomes, (line,), told, sent="isp"))
        await spool.release(claim)
    held = tuple(name for name, state in FATES.items() if state is State.HELD)
    await spool.order(Order(Action.HOLD, held), clock())
    await spool.close()
    schema.prepare(path, 4096, schema.MIGRATIONS[:1])
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("ATTACH ? AS newer", (str(newer),))
        for table in ("message", "recipient", "trail", "notice", "sent_per_day"):
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})").fetchall())
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")  # noqa: S608 - our own names
        assert db.execute("SELECT sum(packed) FROM newer.content").fetchall() == [(0,)]
        db.execute("INSERT INTO main.content (message, seq, data) SELECT message, seq, data FROM newer.content")


async def test_an_older_spool_is_brought_up_to_date_and_relays(path, clock):
    """Everything that was in it is in it: recipients, contents, trails, notices; it keeps its pages, and goes on."""
    await a_spool_of_version_1(path, clock)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchall() == [(1,)]
        before = db.execute("SELECT * FROM recipient ORDER BY message, seq").fetchall()
    spool = await opened(path, clock)
    assert await asked(spool, "PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
    assert await asked(spool, "PRAGMA page_size") == [(4096,)]
    assert [row[: len(before[0])] for row in await asked(spool, "SELECT * FROM recipient ORDER BY message, seq")] == before
    assert (await spool.tally()).states == {**dict.fromkeys(FATES.values(), 2), State.MERGED: 0}
    for name, state in FATES.items():
        stored = await spool.entry(name)
        assert {one.state for one in stored.recipients} == {state}
        assert [line.event for line in stored.trail] == ([state.value] if state.over or state is State.HELD else [])
        if state is not State.RELAYED:
            assert b"".join(stored.entry.content) == content_of(name)
    assert len(await spool.pending_notices()) == 1
    assert await spool.order(Order(Action.RELEASE), clock()) == 3
    while claim := await spool.claim(clock()):
        assert b"".join(claim.entry.content) == content_of(claim.entry.queue_id)
        await spool.settle(claim, settled(claim.recipients, State.RELAYED))
        await spool.release(claim)
    await relayed(spool, clock, A, b"a new one")
    assert (await spool.tally()).states[State.RELAYED] == 2 * len(FATES) + 1
    await spool.close()
    assert check_invariants(path) == []


async def test_an_older_spool_is_forgotten_in_time(path, clock):
    """What is over goes after keep_history, whether it was accepted long ago or by a clock that ran ahead."""
    await a_spool_of_version_1(path, clock)
    spool = await opened(path, clock)
    clock.advance(days=400)
    await relayed(spool, clock, A, b"by a clock that runs ahead")
    clock.advance(days=-360)
    await spool.tidy(clock())
    left = {one.entry.queue_id for one in await spool.entries()}
    assert left == {name for name, state in FATES.items() if not state.over or state is State.FAILED} | {A}
    await spool.close()


async def test_a_message_accepted_by_a_clock_that_ran_ahead_is_forgotten(path, clock):
    """It was over before it was accepted, by the clocks of those hours."""
    spool = await opened(path, clock)
    clock.advance(days=4000)
    await spool.commit(an_entry(A, clock()))
    claim = await spool.claim(clock())
    clock.advance(days=-4000)
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)
    await spool.tidy(clock.advance(days=15))
    assert await spool.entries() == []
    await spool.close()


async def test_many_recipients_are_settled_each_by_its_own_row(path, clock):
    """Of a long list each gets its fate, whatever the order in which they come."""
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), to=[f"m{number}@example.jp" for number in range(300)]))
    claim = await spool.claim(clock())
    fates = [State.RELAYED if number % 3 else State.FAILED for number in range(300)]
    outcomes = tuple(after(one, state, said=one.address.local) for one, state in zip(claim.recipients, fates, strict=True))
    await spool.settle(claim, Settlement(tuple(reversed(outcomes))))
    assert (await spool.entry(A)).recipients == outcomes
    await spool.close()


async def test_the_log_has_its_size_before_it_is_needed(path, clock, ample):
    """Laid out at the start, kept by tidy; and what is in it is found after a crash, zeros or not."""
    spool = await opened(path, clock)
    log = path.with_name("spool.db-wal")
    while log.stat().st_size < connections.LOG:
        await spool.commit(an_entry(f"m{log.stat().st_size:013d}", clock()))
    await spool.tidy(clock())
    assert connections.LOG <= log.stat().st_size < connections.LOG + 8192
    await spool.commit(an_entry(A, clock()))
    with closing(sqlite3.connect(path)):  # as a crash would leave it: copied while it is open
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())
        copy.with_name("copy.db-wal").write_bytes(log.read_bytes())
    await spool.close()
    again = await opened(copy, clock)
    assert await again.entry(A)
    await again.close()
    assert check_invariants(copy) == []


async def test_a_small_disk_has_a_small_log(path, clock, monkeypatch):
    """Where there is little room, none is taken in advance, and the log is emptied by tidy."""
    monkeypatch.setattr(connections, "free_octets", lambda path: 300_000_000)
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock()))
    assert await asked(spool, "PRAGMA wal_autocheckpoint") < [(connections.LOG // 1048,)]
    await spool.tidy(clock())
    assert path.with_name("spool.db-wal").stat().st_size == 0
    await spool.close()


async def test_content_that_nobody_wants_goes_with_the_next_message(path, clock, ample):
    """Nobody is shown it meanwhile; a crash, tidy or the end take it away too."""
    spool = await opened(path, clock)
    await relayed(spool, clock, A, b"x" * 3000)
    assert await waiting(spool) == [1]
    spool._cache.forget(1)
    with pytest.raises(LeaseLost, match="not kept any more"):
        b"".join((await spool.entry(A)).entry.content)
    await relayed(spool, clock, B, b"y" * 3000)
    assert await waiting(spool) == [2]
    await spool.tidy(clock())
    assert await waiting(spool) == []
    await relayed(spool, clock, "c" * 14, b"z" * 3000)
    await spool.close()
    assert check_invariants(path) == []


async def test_what_waits_for_its_removal_is_bounded(path, clock, ample):
    """A queue that drains without new mail gives its room back; large content goes at once."""
    spool = await opened(path, clock)
    count = 3 * MESSAGES
    for number in range(count):
        await spool.commit(an_entry(f"m{number:013d}", clock(), content=b"x" * 3000))
    await spool.commit(an_entry("n" * 14, clock(), content=(b"x" * 100_000,) * 4))
    most = 0
    while claim := await spool.claim(clock()):
        await spool.settle(claim, settled(claim.recipients, State.RELAYED))
        await spool.release(claim)
        over = (await spool.tally()).states[State.RELAYED]
        most = max(most, len(await waiting(spool)) - (count + 1 - over))
    assert 0 < most <= MESSAGES
    assert len(await waiting(spool)) <= MESSAGES
    await spool.close()
    assert list(path.with_name("spool.db-content").iterdir()) == []


async def test_content_left_by_a_crash_is_neither_exported_nor_kept(path, clock, tmp_path):
    """What everybody has is not to be sent again by hand; the next start removes it."""
    spool = await opened(path, clock)
    await relayed(spool, clock, A, b"x" * 3000)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO content (message, seq, data) VALUES (1, 0, ?)", (b"x" * 3000,))
    assert any(line.startswith("4") for line in check_invariants(path))
    assert [(one.name, one.file, one.amiss) for one in save(path, tmp_path / "out")] == [(A, "", "")]
    again = await opened(path, clock)
    assert await waiting(again) == []
    await again.close()
    assert check_invariants(path) == []


async def test_a_removal_that_is_taken_back_is_done_later(path, clock, ample):
    """The message that was to take the content with it is refused: it stays until the next one."""
    spool = await opened(path, clock)
    await relayed(spool, clock, A, b"x" * 3000)
    with pytest.raises(ValueError, match="taken"):
        await spool.commit(an_entry(A, clock()))
    assert await waiting(spool) == [1]
    await spool.commit(an_entry(B, clock() + timedelta(seconds=1)))
    assert 1 not in await waiting(spool)
    await spool.close()


async def test_text_is_stored_deflated_and_comes_back_whole(path, clock, tmp_path):
    """Octet for octet, to the runner, to people, to an export; a damaged one is an error, not a letter."""
    content = b"Subject: log\r\n\r\n" + b"one line of a log\r\n" * 500
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), content=content))
    ((octets,),) = await asked(spool, "SELECT sum(length(data)) FROM content")
    assert octets < len(content) // 4
    spool._cache.forget(1)
    assert b"".join((await spool.entry(A)).entry.content) == content
    await spool.close()
    assert check_invariants(path) == []
    (saved,) = save(path, tmp_path / "out")
    assert (tmp_path / "out" / saved.file).read_bytes() == content
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE content SET data = substr(data, 1, length(data) - 1)")
    assert any(line.startswith("4") for line in check_invariants(path))
    again = await opened(path, clock)
    with pytest.raises(SpoolBroken, match="stored content is damaged"):
        b"".join((await again.claim(clock())).entry.content)
    await again.close()
    (lost,) = save(path, tmp_path / "again")
    assert "0 of" in lost.amiss


async def test_zeros_are_laid_out_only_while_nobody_else_writes(path, clock, ample):
    """A person with SQLite's shell is in the middle of something when the relay starts: no octet of the log is touched then."""
    spool = await opened(path, clock)
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as person, closing(connections.writer(path)) as db:
        connections.be_impatient(db)
        person.execute("BEGIN IMMEDIATE")
        assert wal._slice_of_zeros(db, path) is False
        person.execute("COMMIT")
        person.execute("UPDATE message SET warned = 0")
        before = Path(f"{path}-wal").stat().st_size
        assert wal._slice_of_zeros(db, path) is True
        assert Path(f"{path}-wal").stat().st_size > before
        person.execute("INSERT INTO refused_sender VALUES ('isp', 'x@y.jp', 1)")
        assert db.execute("SELECT count(*) FROM refused_sender").fetchall() == [(1,)]


async def test_many_settlements_at_once_leave_no_more_than_may_wait(path, clock, ample):
    """They share a transaction, so none of them can count the others; what is over the bound goes right after it."""
    spool = await opened(path, clock)
    claims = []
    for number in range(2 * MESSAGES):
        await spool.commit(an_entry(f"{number:0>14}", clock.advance(seconds=1)))
        claims.append(await spool.claim(clock()))
    await asyncio.gather(*(spool.settle(claim, settled(claim.recipients, State.RELAYED)) for claim in claims))
    await spool._writer.look(lambda db: None)  # behind whatever was submitted
    assert len(await waiting(spool)) <= MESSAGES
    await spool.close()


async def test_what_is_durable_is_promised_though_the_room_cannot_be_counted(path, clock, monkeypatch):
    """The count comes behind the COMMIT: a 452 for a message that is stored would bring it twice."""
    spool = await opened(path, clock)

    def broken(db: sqlite3.Connection, path: Path) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(read, "room_within", broken)
    await spool.commit(an_entry(A, clock()))
    assert (await spool.claim(clock())).entry.queue_id == A
    await spool.close()


@pytest.mark.parametrize("place", [8, 12, 16])
async def test_a_damaged_older_spool_is_not_rewritten(path, clock, place):
    """It is looked at before it is brought up to date: the older relay, and the export, find it as it was."""
    await a_spool_of_version_1(path, clock)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    octets = bytearray(path.read_bytes())
    octets[place * 4096 : (place + 1) * 4096] = b"\xa5" * 4096
    path.write_bytes(octets)
    with pytest.raises(SpoolBroken, match="damaged"):
        await opened(path, clock)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchall() == [(1,)]


async def test_an_older_spool_without_its_first_block_is_exported_with_its_recipients(path, clock, tmp_path):
    """The tables of version 1 do not all begin where those of today do."""
    await a_spool_of_version_1(path, clock)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.write(b"\xa5" * 4096)
    saved = {one.name: one for one in save(path, tmp_path / "out")}
    assert set(saved) == set(FATES)
    assert all(len(one.stored.recipients) == 2 and not one.amiss for one in saved.values())
