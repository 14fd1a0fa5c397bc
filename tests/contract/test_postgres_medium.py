"""The spool in PostgreSQL and its server: leases between relays, takeover, away and back, schema, roles, TLS."""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.spool import open_spool
from relay.spool.contract import LeaseLost, SpoolAway, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.entry import Action, Order, State
from relay.spool.postgres_schema import MIGRATIONS
from tests.support.postgres import PostgresServer, check_invariants
from tests.support.spooled import HOUR, an_entry, settled

A, B, C = "a" * 14, "b" * 14, "c" * 14
LARGE = tuple(bytes([number]) * 100_000 for number in range(11))


@pytest.fixture
def url(postgres_server):
    return postgres_server.database()


@pytest.fixture
async def relays(url, clock, tmp_path):
    """Makes relays that share one spool; `lease` in seconds."""
    made = []

    async def make(name: str, lease: float = 60, **settings):
        how = {"keep_free": 0, "name": name, "lease": timedelta(seconds=lease), **settings}
        made.append(await open_spool(SpoolSettings(url, **how), now=clock, home=tmp_path / name))
        return made[-1]

    yield make
    for spool in made:
        await spool.close()
    assert check_invariants(url) == []


def dies(spool) -> None:
    """As if the process were gone: no sign of life, and nothing is given back."""
    spool._member._watch.stop()


async def until_claimed(spool, clock, seconds=15):
    async with asyncio.timeout(seconds):
        while (claim := await spool.claim(clock())) is None:
            await spool.wait(clock() + timedelta(seconds=0.2))
            clock.advance(seconds=0.2)
    return claim


async def test_two_relays_never_have_one_message(relays, clock):
    """Both claim from the same queue at the same time; each message is in one hand, and the list tells whose."""
    one, two = await relays("one"), await relays("two")
    for number in range(60):
        await one.commit(an_entry(f"m{number:013d}", clock()))

    async def claims(spool):
        return [claim.entry.queue_id for _ in range(40) if (claim := await spool.claim(clock()))]

    ones, twos = await asyncio.gather(claims(one), claims(two))
    assert sorted(ones + twos) == [f"m{number:013d}" for number in range(60)]
    assert ones
    assert twos
    holders = {line.queue_id: line.relay for line in await two.listed(None, 100)}
    assert {holders[queue_id] for queue_id in ones} == {"one"}
    assert (await one.entry(twos[0])).relay == "two"
    assert {(peer.name, peer.alive, peer.holds) for peer in (await one.tally()).peers} == {
        ("one", True, len(ones)),
        ("two", True, len(twos)),
    }


async def test_work_is_heard_of_by_the_others(relays, clock):
    """A commit at one relay wakes the other that waits; so do an order and a release."""
    one, two = await relays("one"), await relays("two")
    assert await two.claim(clock()) is None
    waiting = asyncio.create_task(two.wait(clock() + 1000 * HOUR))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await one.commit(an_entry(A, clock()))
    async with asyncio.timeout(10):
        await waiting
    claim = await two.claim(clock())
    assert claim.entry.queue_id == A


async def test_who_dies_is_taken_over_when_its_lease_ends(relays, clock):
    """Not before; the trail says that nobody can know whether it was sent.  The old one notices before it settles."""
    dead, alive = await relays("dead", 1.5), await relays("alive", 1.5)
    await dead.commit(an_entry(A, clock(), content=LARGE))
    claim = await dead.claim(clock())
    dies(dead)
    assert await alive.claim(clock()) is None
    taken = await until_claimed(alive, clock)
    assert taken.entry.queue_id == A
    with pytest.raises(LeaseLost):
        list(claim.entry.content)
    with pytest.raises(LeaseLost, match="another relay took it over"):
        await dead.settle(claim, settled(claim.recipients, State.RELAYED))
    stored = await alive.entry(A)
    assert [one.state for one in stored.recipients] == [State.QUEUED]
    told = [line.text for line in stored.trail if line.event == "warned"]
    assert [text.startswith("uncertain: dead") for text in told] == [True, True]
    await alive.settle(taken, settled(taken.recipients, State.RELAYED))
    assert (await alive.tally()).states[State.RELAYED] == 1


async def test_a_lease_is_renewed_while_its_relay_lives(relays, clock):
    """A slow upstream may take longer than a lease."""
    slow, other = await relays("slow", 1.0), await relays("other", 1.0)
    await slow.commit(an_entry(A, clock(), content=LARGE))
    claim = await slow.claim(clock())
    await asyncio.sleep(2.5)
    assert await other.claim(clock()) is None
    assert len(b"".join(claim.entry.content)) == claim.entry.size
    await slow.settle(claim, settled(claim.recipients, State.RELAYED))


async def test_a_restart_takes_its_own_back_at_once(relays, clock, tmp_path):
    """The state directory knows who we are: nothing waits for the lease of our own former life."""
    first = await relays("office", 3600)
    await first.commit(an_entry(A, clock()))
    assert await first.claim(clock())
    dies(first)
    with pytest.raises(SpoolBroken, match="another relay uses this state directory"):
        await relays("office")
    import os

    os.close(first._member._lock)  # as the kernel does for a process that was killed
    first._member._lock = -1
    again = await relays("office", 3600)
    assert (await again.claim(clock())).entry.queue_id == A


async def test_removal_by_one_relay_ends_the_attempt_of_the_other(relays, clock):
    """What a person removes is not sent any more, wherever it was under way."""
    one, two = await relays("one"), await relays("two")
    await one.commit(an_entry(A, clock()))
    claim = await one.claim(clock())
    await two.order(Order(Action.REMOVE, (A,)), clock())
    async with asyncio.timeout(10):
        while one._leases.find(claim.lease):
            await asyncio.sleep(0.02)
    with pytest.raises(LeaseLost):
        list(claim.entry.content)


async def test_a_minute_and_a_day_are_shared(relays, clock):
    """`per_minute` and `per_day` hold for all relays together; who must wait has a time of its own, and keeps it."""
    one, two = await relays("one"), await relays("two")
    for number in range(8):
        await one.commit(an_entry(f"m{number:013d}", clock()))
    claims = [(spool, await spool.claim(clock())) for spool in (one,) * 8]
    claims = [(one if number % 2 else two, claim) for number, (_, claim) in enumerate(claims)]
    for _, claim in claims:  # both may speak for it here: whose lease it is does not matter for the counting
        two._leases.add(one._leases.find(claim.lease))

    async def turns(per_minute, per_day):
        return [await spool.turn(claim, "isp", per_minute=per_minute, per_day=per_day, now=clock()) for spool, claim in claims]

    first = await turns(3, None)
    minute = timedelta(minutes=1)
    assert first == [None] * 3 + [clock() + minute] * 3 + [clock() + 2 * minute] * 2
    clock.advance(minutes=1)
    second = await turns(3, None)
    assert second[3:6] == [None] * 3
    assert None not in second[:3] + second[6:]
    clock.advance(hours=1)
    midnight = datetime(clock().year, clock().month, clock().day, tzinfo=UTC) + timedelta(days=1)
    assert await turns(None, 5) == [None] * 5 + [midnight] * 3
    await one.settle(claims[0][1], settled(claims[0][1].recipients, State.FAILED))
    await one.release(claims[0][1])
    assert await two.turn(claims[6][1], "isp", per_minute=None, per_day=5, now=clock()) is None


async def test_a_server_that_is_away_is_no_wait(relays, clock, postgres_server):
    """Everything is refused at once; when it is back all goes on, and what was sent meanwhile is stored."""
    spool = await relays("office")
    await spool.commit(an_entry(A, clock()))
    claim = await spool.claim(clock())
    postgres_server.stop()
    try:
        with pytest.raises(SpoolAway):
            await spool.commit(an_entry(B, clock()))
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(SpoolAway):
                await spool.commit(an_entry(B, clock()))
        assert time.monotonic() - began < 2
        assert await spool.claim(clock()) is None
        assert spool.away
        assert (await spool.tally()).room == 0 or spool.away
        storing = asyncio.create_task(spool.settle(claim, settled(claim.recipients, State.RELAYED)))
        await asyncio.sleep(0.3)
        assert not storing.done()
    finally:
        postgres_server.go_on()
    async with asyncio.timeout(30):
        await storing
    assert (await spool.entry(A)).recipients[0].state is State.RELAYED
    await spool.commit(an_entry(B, clock()))
    assert not spool.away


async def test_a_server_that_says_nothing_counts_as_away(relays, clock, postgres_server):
    """A network that broke: nobody hangs up, and nobody answers.  The device hears of it after a while, then at once."""
    spool = await relays("office")
    await spool.commit(an_entry(A, clock()))
    postgres_server.freeze()
    try:
        storing = asyncio.create_task(spool.commit(an_entry(B, clock())))
        await asyncio.sleep(0.5)
        spool._link.hang_up(0.1)
        async with asyncio.timeout(30):
            with pytest.raises(SpoolAway):
                await storing
        with pytest.raises(SpoolAway):
            await spool.commit(an_entry(B, clock()))
    finally:
        postgres_server.thaw()
    async with asyncio.timeout(40):
        while spool.away:
            await asyncio.sleep(0.1)
    assert {one.entry.queue_id for one in await spool.entries()} >= {A}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_what_was_promised_outlives_the_server(relays, clock, postgres_server, how):
    """Stopped or crashed: after the restart every message that commit returned for is there, with its octets."""
    spool = await relays("office")
    for name in (A, B):
        await spool.commit(an_entry(name, clock(), content=LARGE))
    postgres_server.stop(how)
    postgres_server.go_on()
    async with asyncio.timeout(30):
        while spool.away:
            await asyncio.sleep(0.02)
    assert {one.entry.queue_id for one in await spool.entries()} == {A, B}
    assert b"".join((await spool.entry(B)).entry.content) == b"".join(LARGE)
    await spool.commit(an_entry(C, clock()))  # a connection that died unnoticed costs nothing


async def test_a_relay_starts_while_the_server_is_away_and_a_visitor_does_not(postgres_server, url, clock, tmp_path):
    """Devices hear 451 instead of nothing; who only looks hears why at once."""
    postgres_server.stop()
    try:
        with pytest.raises(SpoolAway):
            await open_spool(SpoolSettings(url), now=clock)
        spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock, home=tmp_path / "home")
        with pytest.raises(SpoolAway):
            await spool.commit(an_entry(A, clock()))
    finally:
        postgres_server.go_on()
    async with asyncio.timeout(30):
        while spool.away:
            await asyncio.sleep(0.05)
    await spool.commit(an_entry(A, clock()))
    assert (await spool.claim(clock())).entry.queue_id == A
    await spool.close()


async def test_the_fallback_takes_mail_and_gives_it_over_once(postgres_server, url, clock, tmp_path):
    """While the server is away mail waits here, through a restart too; then each message is there, and no more here."""
    settings = SpoolSettings(url, keep_free=0, name="office", fallback=f"sqlite:{tmp_path}/fallback.db")
    spool = await open_spool(settings, now=clock, home=tmp_path)
    await spool.commit(an_entry(A, clock()))
    postgres_server.stop()
    try:
        await spool.commit(an_entry(B, clock(), content=LARGE))
        assert not spool.away
        assert spool.room() > 0
        assert (await spool.entry(B)).entry.size == 1_100_000
        assert await spool.claim(clock()) is None
        await spool.close()
        spool = await open_spool(settings, now=clock, home=tmp_path)
        await spool.commit(an_entry(C, clock()))
        await spool._here.commit(an_entry(A, clock()))  # as when the line died behind the COMMIT of A
    finally:
        postgres_server.go_on()
    async with asyncio.timeout(30):
        while len(await spool._here.entries()):
            await asyncio.sleep(0.05)
    stored = {one.entry.queue_id: one for one in await spool.entries(trail=True)}
    assert set(stored) == {A, B, C}
    assert [line.text for line in stored[B].trail] == ["taken by office while the database was away"]
    assert b"".join((await spool.entry(B)).entry.content) == b"".join(LARGE)
    await spool.close()
    assert check_invariants(url) == []


async def test_a_line_that_dies_behind_the_commit_does_not_double_it(relays, clock, monkeypatch):
    """The message is looked for before it is written again."""
    from relay.spool import postgres_keeping as keeping
    from relay.spool.postgres_link import shut

    spool = await relays("office")
    real, calls = keeping.add_entry, []

    def added(db, *rest):
        calls.append(real(db, *rest))
        if len(calls) == 1:
            shut(db)
            db.execute("SELECT 1")
        return calls[-1]

    monkeypatch.setattr(keeping, "add_entry", added)
    await spool.commit(an_entry(A, clock()))
    assert len(calls) == 1
    assert [one.entry.queue_id for one in await spool.entries()] == [A]


async def test_a_newer_schema_is_left_alone(url, clock):
    """An old relay refuses the tables of a newer one, and says so."""
    await (await open_spool(SpoolSettings(url), now=clock)).close()
    PostgresServer.ask(url, "UPDATE spool_version SET version = %s", len(MIGRATIONS) + 1)
    with pytest.raises(SpoolBroken, match="newer version"):
        await open_spool(SpoolSettings(url), now=clock)
    PostgresServer.ask(url, "DROP TABLE spool_version")
    with pytest.raises(SpoolBroken, match="tables of another program"):
        await open_spool(SpoolSettings(url), now=clock)


async def test_relays_that_start_together_make_the_tables_once(url, clock):
    """Four first starts at the same moment: one makes them, the others wait."""
    spools = await asyncio.gather(*(open_spool(SpoolSettings(url), now=clock) for _ in range(4)))
    for spool in spools:
        await spool.close()
    assert PostgresServer.ask(url, "SELECT version FROM spool_version") == [(len(MIGRATIONS),)]


async def test_a_role_with_the_rights_of_the_page_is_enough(postgres_server, clock):
    """The SQL of docs/postgres.md: one role owns the tables, the relays' role may only use them."""
    page = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text()
    wanted = page.partition("<!-- rights -->")[2].partition("```sql\n")[2].partition("```")[0]
    url = postgres_server.database()
    schema = url.partition("search_path%3D")[2]
    try:
        with pytest.raises(SpoolBroken, match="relay spool prepare"):
            PostgresServer.ask(url, "CREATE ROLE relay LOGIN")
            PostgresServer.ask(url, f"GRANT USAGE ON SCHEMA {schema} TO relay")
            await open_spool(SpoolSettings(postgres_server.url(schema, "relay")), now=clock)
        await (await open_spool(SpoolSettings(url), now=clock)).close()
        for statement in filter(str.strip, wanted.replace("public", schema).split(";")):
            if "CREATE ROLE" not in statement and "DATABASE" not in statement:
                PostgresServer.ask(url, statement)
        spool = await open_spool(SpoolSettings(postgres_server.url(schema, "relay"), keep_free=0), now=clock)
        await spool.commit(an_entry(A, clock(), content=LARGE))
        claim = await spool.claim(clock())
        assert await spool.turn(claim, "isp", per_minute=3, per_day=3, now=clock()) is None
        await spool.settle(claim, settled(claim.recipients, State.RELAYED))
        await spool.release(claim)
        await spool.order(Order(Action.REMOVE, (A,)), clock())
        await spool.tidy(clock())
        await spool.close()
        with pytest.raises(Exception, match="permission denied"):
            PostgresServer.ask(postgres_server.url(schema, "relay"), "CREATE TABLE theirs (x INT)")
    finally:
        PostgresServer.ask(url, "DROP OWNED BY relay")
        PostgresServer.ask(url, "DROP ROLE relay")


async def test_the_server_proves_who_it_is(postgres_server, clock, tmp_path):
    """sslmode=verify-full: the right authority lets us in over TLS, a wrong one does not."""
    import trustme

    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ours.pem"))
    others.cert_pem.write_to_path(str(tmp_path / "others.pem"))
    proof = ours.issue_cert("127.0.0.1")
    proof.private_key_pem.write_to_path(str(postgres_server.data / "server.key"))
    proof.cert_chain_pems[0].write_to_path(str(postgres_server.data / "server.crt"))
    for name in ("server.key", "server.crt"):
        (postgres_server.data / name).chmod(0o600)
        if postgres_server.user == "nobody":
            shutil.chown(postgres_server.data / name, "nobody")
    postgres_server.stop()
    postgres_server.go_on("ssl=on")
    try:
        url = postgres_server.database(tcp=True) + "&sslmode=verify-full&sslrootcert="
        spool = await open_spool(SpoolSettings(f"{url}{tmp_path}/ours.pem"), now=clock)
        assert await spool._link.run(lambda db: db.pgconn.ssl_in_use)
        await spool.close()
        with pytest.raises(SpoolBroken, match="certificate verify failed"):
            await open_spool(SpoolSettings(f"{url}{tmp_path}/others.pem"), now=clock)
    finally:
        postgres_server.stop()
        postgres_server.go_on()


async def test_no_more_is_taken_than_may_wait(relays, clock):
    """`max_size` bounds the whole queue, `keep_free` of it is for what devices do not send."""
    spool = await relays("office", max_size=1_000_000, keep_free=100_000)
    await spool.commit(an_entry(A, clock(), content=b"x" * 800_000))
    with pytest.raises(SpoolFull):
        await spool.commit(an_entry(B, clock(), content=b"x" * 200_000))
    claim = await spool.claim(clock())
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.commit(an_entry(B, clock(), content=b"x" * 200_000))


def test_nothing_of_it_is_loaded_without_it(tmp_path):
    """A relay with its spool in a file imports neither psycopg nor our part of it; without psycopg its lack is told."""
    script = f"""
import asyncio, sys
from datetime import UTC, datetime
import relay.app, relay.app.office, relay.cli.main, relay.cli.run, relay.cli.queue, relay.cli.oauth, relay.cli.spool
from relay.spool import open_spool, open_safe
from relay.spool.contract import SpoolBroken, SpoolSettings
now = lambda: datetime.now(UTC)
async def main():
    settings = SpoolSettings("sqlite:{tmp_path}/spool.db")
    spool = await open_spool(settings, now=now)
    assert open_safe(settings) is None
    await spool.close()
    loaded = [name for name in sys.modules if name.startswith("psycopg") or "postgres" in name]
    assert not loaded, loaded
    sys.modules["psycopg"] = None
    try:
        await open_spool(SpoolSettings("postgresql://x/y"), now=now)
    except SpoolBroken as error:
        print(error)
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "needs the extra `postgres`: pip install 'lan-mail-relay[postgres]'" in done.stdout


def test_a_url_with_a_password_is_shown_without():
    """In logs and farewells."""
    assert SpoolSettings("postgresql://relay:se:cret@db/x").shown == "postgresql://relay:***@db/x"
    assert SpoolSettings("postgresql://db/x?user=a&password=secret&sslmode=require").shown == (
        "postgresql://db/x?user=a&password=***&sslmode=require"
    )
