"""Large content in files beside the database: where it is, what becomes of it, and what is said when it is not there."""

import asyncio
import errno
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.doctor.spool_probe import file_facts
from relay.spool import open_spool
from relay.spool.contract import ContentDamaged, LeaseLost, SpoolBroken, SpoolSettings
from relay.spool.entry import Action, Order, State
from relay.spool.rows import blocks
from relay.spool.sqlite import content_files, write
from relay.spool.sqlite.content import SMALL
from relay.spool.sqlite.invariants import check_invariants
from relay.spool.sqlite.recover import save
from tests.support.spooled import an_entry, settled

A, B = "a" * 14, "b" * 14
LARGE = bytes(range(256)) * 2_000


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "spool.db"


async def opened(path, clock, **settings):
    return await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0, **settings), now=clock)


@pytest.fixture
async def spool(path, clock):
    spool = await opened(path, clock)
    yield spool
    await spool.close()
    assert check_invariants(path) == []


def folder(path: Path) -> Path:
    return path.with_name("spool.db-content")


def names(path: Path) -> list[str]:
    return sorted(one.name for one in folder(path).iterdir())


async def read(spool, queue_id: str) -> bytes:
    return b"".join((await spool.entry(queue_id)).entry.content)


async def relay_one(spool, clock) -> None:
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)


async def test_only_what_is_large_is_in_a_file(spool, path, clock):
    """A file for nobody else to read; what is small stays in the database, where many share one sync."""
    await spool.commit(an_entry(A, clock(), content=LARGE[:SMALL]))
    assert not folder(path).exists()
    await spool.commit(an_entry(B, clock(), content=LARGE[: SMALL + 1]))
    assert names(path) == ["2.eml"]
    assert (folder(path) / "2.eml").read_bytes() == LARGE[: SMALL + 1]
    assert (folder(path).stat().st_mode & 0o777, (folder(path) / "2.eml").stat().st_mode & 0o777) == (0o700, 0o600)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT DISTINCT message FROM content").fetchall() == [(1,)]
    assert (await spool.tally()).size > 2 * SMALL
    assert (await read(spool, A), await read(spool, B)) == (LARGE[:SMALL], LARGE[: SMALL + 1])


async def test_it_goes_when_nobody_wants_it(path, clock):
    """Relayed, removed by hand, or over for longer than the history is kept."""
    spool = await opened(path, clock, keep_history=timedelta(days=1))
    for name in (A, B, "c" * 14):
        await spool.commit(an_entry(name, clock(), content=LARGE))
    await relay_one(spool, clock)
    await spool.order(Order(Action.REMOVE, (B,)), clock())
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.FAILED))
    await spool.release(claim)
    await spool.notify(None, tuple(one.number for one in await spool.pending_notices()))
    await spool.close()
    assert names(path) == ["3.eml"]
    spool = await opened(path, clock, keep_history=timedelta(days=1))
    assert await read(spool, "c" * 14) == LARGE
    with pytest.raises(LeaseLost):
        await read(spool, A)
    await spool.tidy(clock.advance(days=3))
    await spool.close()
    assert names(path) == []
    assert check_invariants(path) == []


async def test_large_content_that_an_older_relay_stored_stays_where_it_is(spool, path, clock):
    """In rows: read from there, and removed from there."""
    entry = an_entry(A, clock(), content=LARGE)

    def work(db: sqlite3.Connection) -> None:
        write.add_content(db, 7, 0, blocks([LARGE]))
        write.add_entry(db, 7, entry, ())

    await spool._writer.write(work, wakes=True)
    await spool.tidy(clock())
    assert await read(spool, A) == LARGE
    await relay_one(spool, clock)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM content").fetchone() == (0,)


async def test_a_file_that_memory_does_not_know_is_found(spool, clock):
    """A commit was answered with an error, and is in the log all the same."""
    await spool.commit(an_entry(A, clock(), content=LARGE))
    spool._files._sizes.clear()
    assert await read(spool, A) == LARGE
    await spool.tidy(clock())
    assert 1 in spool._files


async def test_a_commit_that_failed_but_is_in_the_log_keeps_its_file(spool, path, clock, monkeypatch):
    """The device heard 451, the row is there all the same: the file stays, is counted once, and goes when it is relayed."""
    real = spool._writer._durable

    def fails_once(db: sqlite3.Connection) -> None:
        monkeypatch.undo()
        real(db)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(spool._writer, "_durable", fails_once)
    with pytest.raises(SpoolBroken, match="disk I/O error"):
        await spool.commit(an_entry(A, clock(), content=LARGE))
    await spool._writer.write(lambda db: None)  # behind what the refusal left to be done
    assert (1 in spool._files, spool._files.octets) == (True, len(LARGE))
    assert await read(spool, A) == LARGE
    await relay_one(spool, clock)
    await asyncio.to_thread(spool._files._remove)
    assert names(path) == []


async def test_a_sweep_looks_only_at_what_it_does_not_know(spool, path, clock):
    """No commit can be written meanwhile, and there may be a hundred thousand files."""
    for number in range(20):
        await spool.commit(an_entry(f"m{number:013d}", clock(), content=LARGE))
    (folder(path) / "99.eml").write_bytes(b"?")
    (folder(path) / "99.part").write_bytes(b"?")
    asked: list[str] = []

    def sweep(db: sqlite3.Connection) -> None:
        db.set_trace_callback(asked.append)
        try:
            spool._sweep_files(db)
        finally:
            db.set_trace_callback(None)

    await spool._writer.look(sweep)
    assert (len(asked), len(names(path))) == (1, 20)


async def test_a_symbolic_link_leads_to_the_same_spool(path, clock, tmp_path):
    """Its files, its log and its lock are where the database is, by whatever name it is opened."""
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), content=LARGE))
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with pytest.raises(SpoolBroken, match="another relay"):
        await opened(link, clock)
    await spool.close()
    assert (file_facts(link).content_lost, file_facts(link).content_unknown) == ((), ())
    spool = await opened(link, clock)
    assert await read(spool, A) == LARGE
    await spool.commit(an_entry(B, clock(), content=LARGE))
    await spool.close()
    assert names(path) == ["1.eml", "2.eml"]
    assert {one.amiss for one in save(link, tmp_path / "out")} == {""}
    assert check_invariants(link) == []


async def test_what_no_row_knows_of_is_swept_at_the_start(path, clock):
    """Only what is named as the relay names it; content that is wanted stays."""
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), content=LARGE))
    await spool.commit(an_entry(B, clock()))
    await spool.close()
    for name in ("2.eml", "9.eml", "9.part", "notes.txt", "x.eml"):
        (folder(path) / name).write_bytes(b"?")
    assert set(file_facts(path).content_unknown) == {"2.eml", "9.eml", "9.part", "notes.txt", "x.eml"}
    await (await opened(path, clock)).close()
    assert names(path) == ["1.eml", "notes.txt", "x.eml"]


@pytest.mark.parametrize("octets", [None, len(LARGE) - 1, len(LARGE) + 1])
async def test_a_file_that_is_gone_or_cut_never_passes_for_the_whole(path, clock, octets):
    """The message is called damaged, not empty; the doctor names it, unless all is well or a relay uses the spool."""
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), content=LARGE))
    await spool.close()
    assert (file_facts(path).content_lost, file_facts(path).content_unknown) == ((), ())
    file = folder(path) / "1.eml"
    file.unlink() if octets is None else file.write_bytes((LARGE + b"!")[:octets])
    assert file_facts(path).content_lost == (A,)
    spool = await opened(path, clock)
    assert file_facts(path).content_lost == ()
    with pytest.raises(ContentDamaged, match="the stored content is damaged"):
        await read(spool, A)
    await spool.order(Order(Action.REMOVE, (A,)), clock())
    await spool.close()
    assert names(path) == []


async def test_a_folder_without_its_database_is_not_swept(path, clock):
    """Somebody moved one of the two: that is said, and no mail is thrown away."""
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), content=LARGE))
    await spool.close()
    path.rename(path.with_name("elsewhere.db"))
    for _ in range(2):
        with pytest.raises(SpoolBroken, match=r"1 messages in .*spool\.db-content belong to it"):
            await opened(path, clock)
    assert names(path) == ["1.eml"]


async def test_what_is_saved_of_a_damaged_spool_has_the_files(path, clock, tmp_path):
    """Also one whose row cannot be read."""
    spool = await opened(path, clock)
    await spool.commit(replace(an_entry(A, clock(), content=LARGE), digest=""))
    await spool.commit(an_entry(B, clock(), content=LARGE[1:]))
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM message WHERE id = 2")
    saved = {one.name: (tmp_path / "out" / one.file).read_bytes() for one in save(path, tmp_path / "out")}
    assert saved == {A: LARGE, "unknown-2": LARGE[1:]}


async def test_words_that_are_no_utf_8_do_not_end_the_rescue(path, clock, tmp_path):
    """SQLite quotes the damaged name of a table in its error, which Python cannot decode."""
    spool = await opened(path, clock)
    await spool.commit(an_entry(A, clock(), content=b"saved"))
    await spool.close()
    octets = path.read_bytes()
    path.write_bytes(
        octets.replace(b"tablemessagemessage", b"tablem\xffssagemessage").replace(
            b"CREATE TABLE message", b"CREATE \xffABLE message"
        )
    )
    saved = save(path, tmp_path / "out")
    assert [(tmp_path / "out" / one.file).read_bytes() for one in saved] == [b"saved"]


async def test_the_first_large_ones_may_come_together(spool, path, clock):
    """Each finds the folder missing; it is made once, and none is refused."""
    await asyncio.gather(*(spool.commit(an_entry(f"m{n:013d}", clock(), content=LARGE)) for n in range(20)))
    assert len(names(path)) == 20


async def test_what_comes_after_the_end_is_refused(path, clock):
    """A device that still sends while the relay stops; what came of its message is swept."""
    spool = await opened(path, clock)
    arriving = spool.arrive()
    await arriving.add([LARGE])
    await spool.close()
    with pytest.raises(SpoolBroken, match="closed"):
        await arriving.add([LARGE])
    arriving.drop()
    assert names(path) == ["1.part"]
    await (await opened(path, clock)).close()
    assert names(path) == []


async def test_content_that_could_not_be_synced_is_never_kept(spool, path, clock, monkeypatch):
    """The kernel takes what a failed sync lost for clean, so the next sync of the file succeeds and proves nothing."""
    real, failed = os.fdatasync, []

    def fails_once(file: int) -> None:
        if not failed and os.readlink(f"/proc/self/fd/{file}").endswith(".part"):
            failed.append(file)
            raise OSError(errno.EIO, "Input/output error")
        real(file)

    monkeypatch.setattr(os, "fdatasync", fails_once)
    arriving, content = spool.arrive(), bytes(9_000_000)
    with pytest.raises(SpoolBroken, match="Input/output error"):
        await arriving.add([content])
    with pytest.raises(SpoolBroken, match="could not be written"):
        await spool.commit(replace(an_entry(A, clock(), content=content), content=arriving))
    assert await spool.entries() == []


async def test_content_that_was_dropped_is_never_kept(spool, path, clock, monkeypatch):
    """A second try with the same content would store a message without it."""
    arriving = spool.arrive()
    await arriving.add([LARGE])
    entry = replace(an_entry(A, clock(), content=LARGE), content=arriving)
    with monkeypatch.context() as broken:
        broken.setattr(content_files, "_sync_folder", _no_disk)
        with pytest.raises(SpoolBroken, match="Input/output error"):
            await spool.commit(entry)
    with pytest.raises(SpoolBroken, match="dropped"):
        await spool.commit(entry)
    assert await spool.entries() == []


def _no_disk(folder: Path) -> None:
    raise OSError(errno.EIO, "Input/output error", str(folder))
