"""The doctor looks at a spool in PostgreSQL: a real server, with one thing wrong at a time.

gather_host ──SQL──▶ PostgreSQL of the tests' own
"""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.doctor.finding import Finding
from relay.doctor.gather import World, gather_cheaply
from relay.doctor.judge import judge
from relay.doctor.subject import Subject
from relay.spool import open_spool
from relay.spool.contract import SpoolSettings
from relay.spool.postgres.schema import MIGRATIONS
from relay.spool.queue_id import new_queue_id
from tests.support.postgres import PostgresServer
from tests.support.spooled import an_entry


def utcnow() -> datetime:
    return datetime.now(UTC)


async def examined(url: str, tmp_path: Path, **changes: object) -> list[Finding]:
    """Every finding on the spool."""
    settings = SpoolSettings(url, **changes)  # type: ignore[arg-type]
    subject = Subject("relay.test", {}, spool=settings, state_dir=tmp_path)
    findings = judge(await gather_cheaply(subject, World(root=tmp_path)), subject)
    return [one for one in findings if one.name.startswith("spool")]


async def the_one(url: str, tmp_path: Path, **changes: object) -> Finding:
    [one] = await examined(url, tmp_path, **changes)
    return one


async def test_a_spool_that_is_used_is_fine(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Version, what is stored, and which relays are there; no password in what is shown."""
    url = postgres_server.lent()
    spool = await open_spool(SpoolSettings(url, name="kitchen", keep_free=0), now=utcnow, home=tmp_path)
    found = await the_one(url.replace("relay@", "relay:s3cret@"), tmp_path)
    assert (found.name, found.grade.value) == ("spool", "ok")
    assert "PostgreSQL 1" in found.cause
    assert "kitchen" in found.cause
    assert "s3cret" not in str(found.as_json())
    await spool.close()


async def test_an_empty_database_is_fine_if_the_tables_can_be_made(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """And a problem where this role may not make them, or may not change those of an older version."""
    url = postgres_server.database()
    assert (await the_one(url, tmp_path)).grade.value == "ok"
    postgres_server.make_role()
    schema = url.partition("search_path%3D")[2]
    postgres_server.ask(url, f"GRANT USAGE ON SCHEMA {schema} TO relay")
    found = await the_one(postgres_server.url(schema, "relay"), tmp_path)
    assert (found.name, found.grade.value) == ("spool-schema", "problem")
    lent = postgres_server.lent()
    owner = lent.replace("relay@", "postgres@")
    postgres_server.ask(owner, "UPDATE spool_version SET version = 1")
    assert (await the_one(lent, tmp_path)).name == "spool-schema"
    assert (await the_one(owner, tmp_path)).grade.value == "ok"
    postgres_server.ask(owner, "UPDATE spool_version SET version = %s", len(MIGRATIONS) + 1)
    assert (await the_one(lent, tmp_path)).name == "spool-version"


@pytest.mark.parametrize("taken", ["SELECT, DELETE ON under_way", "SELECT ON spool_version", "USAGE ON SEQUENCE lease_number"])
async def test_a_right_that_lacks_is_named(postgres_server: PostgresServer, tmp_path: Path, taken: str) -> None:
    """With the GRANT that gives it."""
    url = postgres_server.lent()
    postgres_server.ask(url.replace("relay@", "postgres@"), f"REVOKE {taken} FROM relay")
    found = await the_one(url, tmp_path)
    assert (found.name, found.grade.value) == ("spool-rights", "problem")
    assert f"GRANT {taken} TO relay" in found.evidence[0]


async def test_messages_that_nobody_takes_over_are_told(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """A lease that ended long ago means that no relay runs; one that ended just now does not."""
    url = postgres_server.database()
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=utcnow, home=tmp_path)
    entry = an_entry(new_queue_id(utcnow()), utcnow())
    await spool.commit(entry)
    assert await spool.claim(utcnow())
    assert (await the_one(url, tmp_path)).name == "spool"
    await spool.close()
    late = "UPDATE message SET owner = 7, lease = 7, leased_until = clock_timestamp() - interval '{}'"
    postgres_server.ask(url, late.format("5 seconds"))
    assert (await the_one(url, tmp_path)).name == "spool"
    postgres_server.ask(url, late.format("5 minutes"))
    found = await the_one(url, tmp_path)
    assert (found.name, found.grade.value) == ("spool-leases", "warning")


async def test_clocks_that_differ_are_told(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """By how much, and which one is ahead."""
    url = postgres_server.database()
    await (await open_spool(SpoolSettings(url), now=utcnow, home=tmp_path)).close()
    subject = Subject("relay.test", {}, spool=SpoolSettings(url), state_dir=tmp_path)
    for ahead in (-10, 10):
        world = World(root=tmp_path, now=lambda ahead=ahead: utcnow() - timedelta(seconds=ahead))  # type: ignore[misc]
        [found] = [one for one in judge(await gather_cheaply(subject, world), subject) if one.name.startswith("spool")]
        assert found.name == "spool-clock"
        assert ("10 seconds ahead of" if ahead > 0 else "10 seconds behind") in found.cause


async def test_a_server_that_is_away_is_a_problem_and_milder_with_a_fallback(
    postgres_server: PostgresServer, tmp_path: Path, unused_tcp_port: int
) -> None:
    """Nobody listens there: the words say so; with a fallback it is told how much waits there."""
    away = f"postgresql://relay:s3cret@127.0.0.1:{unused_tcp_port}/relay"
    found = await the_one(away, tmp_path)
    assert (found.name, found.grade.value) == ("spool-away", "problem")
    assert "refused" in found.evidence[0]
    assert "s3cret" not in str(found.as_json())
    fallback = f"sqlite:{tmp_path}/fallback.db"
    there = await open_spool(SpoolSettings(fallback, keep_free=0), now=utcnow)
    for _ in range(3):
        await there.commit(an_entry(new_queue_id(utcnow()), utcnow()))
    await there.close()
    first, second = await examined(away, tmp_path, fallback=fallback, keep_free=0)
    assert (first.name, first.grade.value) == ("spool-away", "warning")
    assert "3 messages wait in the fallback" in first.evidence
    assert (second.name, second.grade.value, second.about) == ("spool", "ok", f"{tmp_path}/fallback.db")


async def test_a_server_that_drips_holds_nobody_up(tmp_path: Path) -> None:
    """One that takes the connection and says nothing ends with the examination's own patience."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://relay@127.0.0.1:{mute.getsockname()[1]}/relay"
        subject = Subject("relay.test", {}, spool=SpoolSettings(url), state_dir=tmp_path)
        findings = judge(await gather_cheaply(subject, World(root=tmp_path, whole=1.0)), subject)
    assert [one.name for one in findings if one.name.startswith("spool")] == ["spool-away"]
