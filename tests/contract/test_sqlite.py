"""The SQLite spool and its medium: locks, modes, other schemas, a full disk, a failing one."""

import asyncio
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from relay.spool import open_spool
from relay.spool.contract import SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.entry import Action, Order, Settlement, State, TrailLine
from relay.spool.sqlite import connections, schema, write
from relay.spool.sqlite.invariants import check_invariants
from relay.spool.sqlite.sqlite_spool import SqliteSpool
from tests.support.spooled import HOUR, a_notice, after, an_entry, settled
from tests.support.world import Clock

LARGE = tuple(bytes([number]) * 100_000 for number in range(11))
A, B = "a" * 14, "b" * 14


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "made" / "here" / "spool.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def spool(path, clock):
    spool = await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0), now=clock)
    yield spool
    await spool.close()
    assert check_invariants(path) == []


async def limit_pages(spool: SqliteSpool, more: int | None) -> None:
    """Lets the file grow by `more` pages and no further (None: as it likes)."""

    def work(db: sqlite3.Connection) -> None:
        count = db.execute("PRAGMA page_count").fetchall()[0][0]
        db.execute(f"PRAGMA max_page_count = {1 << 30 if more is None else count + more}").fetchall()

    await spool._writer.look(work)


@contextmanager
def files_limited_to(octets: int):
    """A medium that refuses every write beyond `octets` of a file: SQLite sees an I/O error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def until_claimed(spool, clock):
    """The next claim, as the runner gets it: with a wait between tries."""
    async with asyncio.timeout(20):
        while (claim := await spool.claim(clock())) is None:
            await spool.wait(clock())
    return claim


async def test_only_the_owner_can_read(spool, path, clock):
    """Directory 0700, files 0600: mail is nobody else's business."""
    await spool.commit(an_entry(A, clock()))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == dict.fromkeys(
        ["spool.db", "spool.db-wal", "spool.db-shm", "spool.db.lock"], 0o600
    )


async def test_a_second_relay_is_told_who_holds_the_spool(spool, path, clock):
    """The refusal names the process."""
    with pytest.raises(SpoolBroken, match=rf"another relay \(pid {os.getpid()}\) uses this spool"):
        await open_spool(SpoolSettings(f"sqlite:{path}"), now=clock)
    await spool.commit(an_entry(A, clock()))


async def test_the_lock_goes_with_its_holder(path, clock):
    """After close, and after a failed start, the spool can be opened again."""
    for _ in range(2):
        spool = await open_spool(SpoolSettings(f"sqlite:{path}"), now=clock)
        await spool.close()
        await spool.close()
    with pytest.raises(SpoolBroken, match="closed"):
        await spool.commit(an_entry(A, clock()))


async def test_a_newer_schema_is_left_alone(spool, path, clock):
    """An old relay refuses the file of a newer one, says so, and changes no octet of it."""
    await spool.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(SpoolBroken, match="newer version"):
        await open_spool(SpoolSettings(f"sqlite:{path}"), now=clock)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")


@pytest.mark.parametrize("what", ["a letter, not a database" * 100, "CREATE TABLE theirs (x)"])
async def test_the_file_of_another_program_is_left_alone(tmp_path, clock, what):
    """Neither text nor a foreign database is taken for a spool."""
    path = tmp_path / "spool.db"
    if what.startswith("CREATE"):
        with closing(sqlite3.connect(path)) as db:
            db.execute(what)
    else:
        path.write_text(what)
    before = path.read_bytes()
    with pytest.raises(SpoolBroken, match=r"another program|no spool: it is no database; nothing was touched. Set `spool.url`"):
        await open_spool(SpoolSettings(f"sqlite:{path}"), now=clock)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql:/x", "expected a spool like sqlite:"),
        ("sqlite:", "expected a spool like sqlite:"),
        ("sqlite:/proc/nowhere/spool.db", "writable"),
    ],
)
async def test_a_spool_that_cannot_be_is_refused_in_words(clock, url, words):
    """Unknown backends, no place, a place that cannot be written."""
    with pytest.raises(SpoolBroken, match=words):
        await open_spool(SpoolSettings(url), now=clock)


async def test_the_medium_is_set_up_for_power_loss(spool):
    """WAL, synced at every commit, shrinking files, on an SQLite that knows STRICT tables."""

    def pragmas(db: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "auto_vacuum", "foreign_keys", "user_version", "secure_delete")
        return [db.execute(f"PRAGMA {name}").fetchall()[0][0] for name in names]

    assert await spool._writer.look(pragmas) == ["wal", 2, 2, 1, len(schema.MIGRATIONS), 0]


async def test_commits_that_wait_together_share_a_sync(spool, clock):
    """Group commit: many messages, few fsyncs."""
    before = spool.syncs
    await asyncio.gather(*(spool.commit(an_entry(f"m{n:013d}", clock())) for n in range(100)))
    assert spool.syncs - before < 20


async def test_claiming_costs_no_sync(spool, clock):
    """A lease lives in memory."""
    await spool.commit(an_entry(A, clock()))
    before = spool.syncs
    await spool.release(await spool.claim(clock()))
    assert spool.syncs == before


@pytest.mark.parametrize("content", [b"x" * 200_000, b"y" * 262_144])
async def test_a_full_file_refuses_and_keeps_nothing(spool, clock, content):
    """SQLITE_FULL in a commit is SpoolFull; smaller messages go on being accepted, no octet of the refused one stays."""
    await spool.commit(an_entry(A, clock()))
    await limit_pages(spool, 25)
    with pytest.raises(SpoolFull):
        await spool.commit(an_entry(B, clock(), content=content))
    await spool.commit(an_entry("c" * 14, clock()))
    assert [s.entry.queue_id for s in await spool.entries()] == [A, "c" * 14]
    await limit_pages(spool, None)
    await spool.commit(an_entry(B, clock(), content=content))


async def test_what_is_too_large_does_not_cost_its_neighbours(spool, clock):
    """In one group commit on a nearly full file the small ones are stored."""
    await limit_pages(spool, 40)
    entries = [an_entry(f"m{n:013d}", clock(), content=b"x" * (250_000 if n == 3 else 100)) for n in range(6)]
    results = await asyncio.gather(*map(spool.commit, entries), return_exceptions=True)
    assert [type(one) for one in results] == [type(None)] * 3 + [SpoolFull] + [type(None)] * 2


async def test_a_settlement_survives_a_full_file(spool, clock):
    """It is kept in memory, nothing is claimed meanwhile, and it is written once there is room."""
    for name in (A, B):
        await spool.commit(an_entry(name, clock()))
    claim = await spool.claim(clock())
    await limit_pages(spool, 0)
    long_words = Settlement((after(claim.recipients[0], State.RELAYED, said="ok " * 20_000),), sent="isp")
    await spool.settle(claim, long_words)
    await spool.settle(claim, Settlement(sent="isp"))
    await spool.release(claim)
    assert await spool.claim(clock()) is None
    assert (await spool.entry(A)).recipients[0].state is State.QUEUED
    await limit_pages(spool, None)
    assert (await until_claimed(spool, clock)).entry.queue_id == B
    assert (await spool.entry(A)).recipients == long_words.outcomes
    assert await spool.sent_today(f"{clock():%Y-%m-%d}") == {"isp": 2}


async def test_a_settlement_that_is_tried_twice_counts_once(spool, clock):
    """An I/O error after the commit reached the disk leads to a second try; it must not double trail, count, notice."""
    await spool.commit(an_entry(A, clock()))
    claim = await spool.claim(clock())
    outcome = after(claim.recipients[0], State.FAILED)
    line = TrailLine(clock(), "failed", "550")
    settlement = Settlement((outcome,), (line,), (a_notice(A, outcome, clock()),), sent="isp")
    await spool.settle(claim, settlement)
    lease = spool._leases.of(claim)
    await spool._writer.write(
        lambda db: write.settle(db, lease.message, settlement, step=lease.step, vias=lease.vias, now=clock())
    )
    assert (await spool.entry(A)).trail == (line,)
    assert await spool.sent_today(f"{clock():%Y-%m-%d}") == {"isp": 1}
    assert len(await spool.pending_notices()) == 1


async def test_a_file_that_was_only_begun_is_completed(path, clock):
    """Power lost between making the file and its tables: the next start goes on from there."""
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    spool = await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0), now=clock)
    await spool.commit(an_entry(A, clock()))
    assert await spool._writer.look(lambda db: db.execute("PRAGMA auto_vacuum").fetchall()) == [(2,)]
    await spool.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_tidying_does_not_wait_for_who_reads(spool, path, clock):
    """A reader in the middle of a long look keeps neither tidy nor devices waiting."""
    await spool.commit(an_entry(A, clock()))
    with closing(connections.reader(path)) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM message").fetchall()
        await spool.commit(an_entry(B, clock()))
        begun = time.monotonic()
        await spool.tidy(clock())
        assert time.monotonic() - begun < 5
        await spool.commit(an_entry("c" * 14, clock()))


async def test_waiting_with_a_settlement_owed_does_not_spin(spool, clock):
    """While nothing may be claimed, `wait` takes its time although work is due."""
    for name in (A, B):
        await spool.commit(an_entry(name, clock()))
    claim = await spool.claim(clock())
    await limit_pages(spool, 0)
    await spool.settle(claim, Settlement((after(claim.recipients[0], State.RELAYED, said="ok " * 20_000),)))
    begun = time.monotonic()
    assert await spool.claim(clock()) is None
    await spool.wait(clock())
    assert time.monotonic() - begun > 0.5
    await limit_pages(spool, None)
    await until_claimed(spool, clock)


async def test_a_failing_medium_is_used_again_when_it_is_back(spool, path, clock):
    """An I/O error refuses mail with SpoolBroken, keeps what was settled, and goes away by itself."""
    for name in (A, B):
        await spool.commit(an_entry(name, clock()))
    claim = await spool.claim(clock())
    with files_limited_to(1024):
        with pytest.raises(SpoolBroken):
            await spool.commit(an_entry("c" * 14, clock()))
        with pytest.raises(SpoolBroken):
            await spool.commit(an_entry("d" * 14, clock(), content=LARGE))
        await spool.settle(claim, replace(settled(claim.recipients, State.RELAYED), sent="isp"))
        assert await spool.claim(clock()) is None
    assert (await until_claimed(spool, clock)).entry.queue_id == B
    assert (await spool.entry(A)).recipients[0].state is State.RELAYED
    assert await spool.sent_today(f"{clock():%Y-%m-%d}") == {"isp": 1}
    await spool.commit(an_entry("c" * 14, clock()))


@pytest.mark.parametrize("action", [Action.HOLD, Action.RETRY, Action.RELEASE, Action.REMOVE])
async def test_an_order_for_one_message_does_not_read_the_others(spool, clock, action):
    """Devices wait meanwhile: counted in steps of SQLite, of which reading each other recipient would take several."""
    await spool.commit(an_entry(A, clock(), to=[f"u{number}@x.example" for number in range(5000)]))
    await spool.commit(an_entry(B, clock()))
    counted: list[int] = []

    def work(db: sqlite3.Connection) -> None:
        db.set_progress_handler(lambda: counted.append(100), 100)
        try:
            write.carry_out(db, Order(action, (B,)), clock())
        finally:
            db.set_progress_handler(None, 0)

    await spool._writer.write(work)
    assert sum(counted) < 2500


async def test_ten_thousand_messages_are_listed_and_claimed_at_once(spool, clock):
    """A long queue costs neither the person who looks nor the runner; in processor time, whatever else the machine does."""
    await asyncio.gather(*(spool.commit(an_entry(f"m{n:013d}", clock(), to=("a@x.jp", "b@x.jp"))) for n in range(10_000)))
    begun = time.process_time()
    assert len(await spool.entries(limit=100_000)) == 10_000
    listed = time.process_time()
    for _ in range(300):
        assert await spool.claim(clock())
    claimed = time.process_time()
    assert listed - begun < 2  # a third of a second when the machine is not shared
    assert claimed - listed < 3


async def test_a_large_message_costs_little_memory_and_stalls_nobody(path, clock):
    """50 MB pass with a few MB of memory, while small messages are accepted beside it."""
    script = """
import asyncio, resource, sys
from datetime import UTC, datetime
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from tests.support.spooled import an_entry

def now():
    return datetime.now(UTC)

class Content:
    def __iter__(self):
        return (bytes([n % 256]) * 100_000 for n in range(500))

async def main():
    spool = await open_spool(SpoolSettings("sqlite:" + sys.argv[1], keep_free=0), now=now)
    await spool.commit(an_entry("a" * 14, now()))
    entry = an_entry("b" * 14, now(), content=Content(), size=50_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    large = asyncio.create_task(spool.commit(entry))
    beside = 0
    while not large.done():
        await spool.commit(an_entry(f"m{beside:013d}", now()))
        beside += 1
    await large
    read = sum(map(len, (await spool.entry("b" * 14)).entry.content))
    await spool.close()
    print(read, beside, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, path], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    read, beside, grown = map(int, done.stdout.split())
    assert read == 50_000_000
    assert beside >= 10
    assert grown < 20_000  # KiB


async def test_free_pages_go_back_to_the_file_system(spool, path, clock):
    """After a large message has gone, tidy shrinks the file; until then its pages count as room.  The log keeps its size."""
    await spool.commit(an_entry(A, clock(), content=LARGE * 5))
    await spool.order(Order(Action.REMOVE, (A,)), clock())
    before = spool.room()
    await spool.tidy(clock())
    assert path.stat().st_size < 500_000
    assert path.with_name("spool.db-wal").stat().st_size <= connections.LOG + 1_000_000
    assert before > 5_000_000


async def test_what_a_crash_left_of_a_large_message_is_swept(spool, path, clock):
    """Slices without their message are gone after the next start."""
    await spool.commit(an_entry(A, clock()))
    await spool.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("INSERT INTO content (message, seq, data) VALUES (77, 0, x'00'), (77, 1, x'00')")
    assert any("5: content" in line for line in check_invariants(path))
    again = await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0), now=clock)
    assert [s.entry.queue_id for s in await again.entries()] == [A]
    await again.close()


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        ("DELETE FROM recipient", "1"),
        ("UPDATE message SET due_at = due_at + 1", "2"),
        ("UPDATE message SET due_at = NULL", "2"),
        ("UPDATE message SET over_at = 1", "3"),
        ("UPDATE message SET kept = 0", "4"),
        ("DELETE FROM content", "4"),
        ("UPDATE content SET data = x'00'", "4"),
        ("UPDATE content SET seq = 1", "4"),
        ("DELETE FROM message", "5"),
        ("INSERT INTO trail (message, at, event, said) VALUES (99, 0, 'x', '[]')", "1"),
    ],
)
async def test_every_broken_invariant_is_found(tmp_path, clock, damage, number):
    """The check used by the chaos tests can fail."""
    path = tmp_path / "spool.db"
    spool = await open_spool(SpoolSettings(f"sqlite:{path}", keep_free=0), now=clock)
    await spool.commit(an_entry(A, clock() - HOUR))
    await spool.close()
    assert check_invariants(path) == []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(damage)
    assert any(line.startswith(number) for line in check_invariants(path))


@pytest.mark.parametrize("action", [Action.HOLD, Action.REMOVE])
async def test_what_was_found_before_an_order_is_not_handed_out_after_it(spool, clock, action):
    """The loop is so busy that the order waits already when it hears what the file held before it."""
    for number in range(5):
        await spool.commit(an_entry(f"message{number}", clock()))
    await spool.order(Order(Action.RETRY, by_hand=False), clock())  # the file is asked again

    claimed, order = (asyncio.create_task(one) for one in (spool.claim(clock()), spool.order(Order(action), clock())))
    while not spool._writer._handed_over:
        await asyncio.sleep(0)
    time.sleep(0.2)  # the thread has answered before the loop listens
    assert await order == 5
    await claimed  # None, or one that was handed out before, if the machine was slower still
    assert await spool.claim(clock()) is None


async def test_mail_with_8_bit_addresses_wakes_the_runner_too(spool, clock):
    """What is kept otherwise than it came is found by asking, at once and not at the next beat."""
    assert await spool.claim(clock()) is None
    wait = asyncio.create_task(spool.wait(None))
    await spool.commit(an_entry(A, clock(), to=("m\u00fcller@x.jp",)))
    await asyncio.wait_for(wait, 5)
    assert (await spool.claim(clock())).entry.queue_id == A


async def test_what_moved_here_is_claimed_as_it_stands(spool, path, clock):
    """Of a message that another spool has half relayed, only the rest is handed out."""
    await spool.commit(an_entry(A, clock(), to=("a@x.jp", "b@x.jp")))
    claim = await spool.claim(clock())
    await spool.settle(claim, Settlement((after(claim.recipients[0], State.RELAYED),)))
    await spool.release(claim)
    other = await open_spool(SpoolSettings(f"sqlite:{path.parent}/other.db", keep_free=0), now=clock)
    try:
        assert await other.claim(clock()) is None
        assert await other.adopt(await spool.pack(A))
        assert [str(one.address) for one in (await other.claim(clock())).recipients] == ["b@x.jp"]
    finally:
        await other.close()


async def test_a_row_that_cannot_be_read_keeps_no_lease_of_others(spool, path, clock):
    """Once it is gone, the messages before it are handed out without a restart."""
    await spool.commit(an_entry(A, clock()))
    await spool.commit(an_entry(B, clock()))
    await spool.order(Order(Action.RETRY, by_hand=False), clock())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE message SET origin = '{' WHERE queue_id = ?", (B,))
    with pytest.raises(ValueError, match="Expecting property name"):
        await spool.claim(clock())
    await spool.order(Order(Action.REMOVE, (B,)), clock())
    assert (await spool.claim(clock())).entry.queue_id == A
