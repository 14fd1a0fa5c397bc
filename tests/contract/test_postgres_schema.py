"""The tables in PostgreSQL and who may touch them: schema, roles, TLS to the server, and nothing of it for others."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relay.secret import Secret
from relay.spool import open_spool
from relay.spool.contract import SpoolBroken, SpoolSettings
from relay.spool.entry import Action, Order, State, TrailLine
from relay.spool.postgres import schema
from relay.spool.postgres.schema import MIGRATIONS, RIGHTS
from relay.spool.search import Search
from tests.support.postgres import PostgresServer
from tests.support.spooled import an_entry, settled

A = "a" * 14
LARGE = tuple(bytes([number]) * 100_000 for number in range(11))


@pytest.fixture
def url(postgres_server):
    return postgres_server.database()


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


@pytest.fixture
def grants(postgres_server):
    """Takes from, or gives to, the role of `PostgresServer.lent`: `grants(url, "GRANT SELECT ON peer TO relay")`."""

    def change(url, *statements):
        schema = url.partition("search_path%3D")[2]
        for one in statements:
            PostgresServer.ask(postgres_server.url(schema), one)

    return change


@pytest.mark.parametrize("tight", [False, True], ids=["page", "tight"])
async def test_a_role_with_the_rights_of_the_page_is_enough(postgres_server, clock, grants, tight):
    """The SQL of docs/postgres.md: one role owns the tables, the relays' role may only use them.

    Tight: what the relay asks for when it starts, and nothing else.
    """
    url = postgres_server.lent()
    if tight:
        schema = url.partition("search_path%3D")[2]
        grants(url, *(f"REVOKE ALL ON ALL {what} IN SCHEMA {schema} FROM relay" for what in ("TABLES", "SEQUENCES")))
        for name, some in RIGHTS.items():
            grants(url, f"GRANT {', '.join(some)} ON {'SEQUENCE ' if name == 'lease_number' else ''}{name} TO relay")
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock)
    await spool.commit(an_entry(A, clock(), content=LARGE))
    claim = await spool.claim(clock())
    assert await spool.turn(claim, "isp", per_minute=3, per_day=3, now=clock()) is None
    await spool.settle(claim, settled(claim.recipients, State.RELAYED))
    await spool.release(claim)
    await spool.order(Order(Action.REMOVE, (A,)), clock())
    await spool.tidy(clock())
    await spool.close()
    with pytest.raises(Exception, match="permission denied"):
        PostgresServer.ask(url, "CREATE TABLE theirs (x INT)")


@pytest.mark.parametrize(
    ("taken", "cure"),
    [
        ("SELECT, DELETE ON under_way", "GRANT SELECT, DELETE ON under_way TO relay"),
        ("UPDATE ON token, token_lock", "GRANT UPDATE ON token, token_lock TO relay"),
        ("USAGE ON SEQUENCE lease_number", "GRANT USAGE ON SEQUENCE lease_number TO relay"),
        ("SELECT ON spool_version", "GRANT SELECT ON spool_version TO relay"),
    ],
)
async def test_a_right_that_lacks_is_found_before_mail_goes_out(postgres_server, clock, tmp_path, grants, taken, cure):
    """The relay does not start, names the right and what gives it; with it, it starts."""
    url = postgres_server.lent()
    grants(url, f"REVOKE {taken} FROM relay")
    with pytest.raises(SpoolBroken) as refused:
        await open_spool(SpoolSettings(url), now=clock, home=tmp_path)
    said = str(refused.value)
    assert cure in said
    assert said.count("GRANT ") == 1
    assert "docs/postgres.md" in said
    assert "again after each `relay spool prepare`" in said
    grants(url, cure)
    await (await open_spool(SpoolSettings(url), now=clock, home=tmp_path)).close()


async def test_a_role_that_may_not_see_the_schema_hears_so(postgres_server, clock, grants):
    url = postgres_server.lent()
    grants(url, f"REVOKE USAGE ON SCHEMA {url.partition('search_path%3D')[2]} FROM relay")
    with pytest.raises(SpoolBroken, match="GRANT USAGE ON SCHEMA"):
        await open_spool(SpoolSettings(url), now=clock)


@pytest.mark.parametrize(
    ("method", "asked", "cure"),
    [
        ("scram-sha-256", "", "spool.password_file, or from PGPASSWORD"),
        ("scram-sha-256", "wrong", "is the password in spool.password_file that of this role"),
        ("trust", "&sslmode=require", "`ssl = on`"),
    ],
)
async def test_a_login_that_fails_tells_what_helps(postgres_server, clock, tmp_path, monkeypatch, method, asked, cure):
    """Waiting would not: the relay does not start."""
    monkeypatch.delenv("PGPASSWORD", raising=False)
    url = postgres_server.database(tcp=True)
    rules = postgres_server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all all trust\nhost all all 127.0.0.1/32 {method}\n")
    try:
        postgres_server.stop()
        postgres_server.go_on()
        password, more = (Secret(asked), "") if asked == "wrong" else (Secret(""), asked)
        with pytest.raises(SpoolBroken) as refused:
            await open_spool(SpoolSettings(url + more, password=password), now=clock, home=tmp_path)
        assert cure in str(refused.value)
    finally:
        rules.write_text(before)
        postgres_server.stop()
        postgres_server.go_on()


async def test_a_role_without_tables_hears_who_must_make_them(postgres_server, url, clock):
    """It may not make them itself: `relay spool prepare`, by the role that owns the schema."""
    schema = url.partition("search_path%3D")[2]
    PostgresServer.ask(url, "CREATE ROLE newcomer LOGIN")
    PostgresServer.ask(url, f"GRANT USAGE ON SCHEMA {schema} TO newcomer")
    try:
        with pytest.raises(SpoolBroken, match="relay spool prepare"):
            await open_spool(SpoolSettings(postgres_server.url(schema, "newcomer")), now=clock)
    finally:
        PostgresServer.ask(url, "DROP OWNED BY newcomer")
        PostgresServer.ask(url, "DROP ROLE newcomer")


async def test_older_tables_are_brought_up_to_date(url, clock, tmp_path, monkeypatch):
    """What a new version adds is added once, by whichever relay comes first; the mail stays; if it fails nothing is changed."""
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock)
    await spool.commit(an_entry(A, clock(), content=LARGE))
    await spool.close()
    script = tmp_path / "postgres-next.sql"
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, str(script)))
    script.write_text("ALTER TABLE message ADD extra INTEGER NOT NULL DEFAULT 7; SELECT 1 / 0;")
    with pytest.raises(SpoolBroken, match="division by zero"):
        await open_spool(SpoolSettings(url), now=clock)
    assert PostgresServer.ask(url, "SELECT version FROM spool_version") == [(len(MIGRATIONS),)]
    script.write_text("ALTER TABLE message ADD extra INTEGER NOT NULL DEFAULT 7;")
    spools = await asyncio.gather(*(open_spool(SpoolSettings(url), now=clock) for _ in range(3)))
    assert b"".join((await spools[2].entry(A)).entry.content) == b"".join(LARGE)
    for spool in spools:
        await spool.close()
    assert PostgresServer.ask(url, "SELECT version FROM spool_version") == [(len(MIGRATIONS) + 1,)]
    assert PostgresServer.ask(url, "SELECT extra FROM message") == [(7,)]


async def test_tables_in_use_are_left_as_they_are(url, clock, tmp_path, monkeypatch):
    """Whoever uses them would have to wait behind us: the start ends with words, and nothing was touched."""
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock)
    await spool.close()
    script = tmp_path / "postgres-next.sql"
    script.write_text("ALTER TABLE message ADD extra INTEGER NOT NULL DEFAULT 7;")
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, str(script)))
    monkeypatch.setattr(schema, "_PATIENCE", 1)
    import psycopg

    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM message")
        with pytest.raises(SpoolBroken, match="in use for 1 seconds"):
            await open_spool(SpoolSettings(url), now=clock)
    assert PostgresServer.ask(url, "SELECT version FROM spool_version") == [(len(MIGRATIONS),)]


async def test_what_an_older_relay_stored_is_found_after_the_next_start(url, clock, tmp_path, monkeypatch):
    """In batches; also what it stored after the tables were brought up to date."""
    monkeypatch.setattr(schema, "_FILLED_AT_ONCE", 2)
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock)
    for number in range(5):
        line = TrailLine(clock(), "accepted", "", {"subject": f"Motion {number}", "device": "cam", "helo": "nas"})
        await spool.commit(an_entry(f"mail000000000{number}", clock()), (line,))
    await spool.close()
    before = PostgresServer.ask(url, "SELECT people, about, source FROM message ORDER BY id")
    PostgresServer.ask(url, "UPDATE message SET people = '', about = '', source = '' WHERE queue_id <> 'mail0000000002'")
    spool = await open_spool(SpoolSettings(url, keep_free=0), now=clock, home=tmp_path / "home")
    try:
        assert await spool.counted(None, Search(subject="motion", device="cam", address="me@example.jp")) == (5, 0)
    finally:
        await spool.close()
    assert PostgresServer.ask(url, "SELECT people, about, source FROM message ORDER BY id") == before


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
        assert await spool._connections.run(lambda db: db.pgconn.ssl_in_use)
        await spool.close()
        with pytest.raises(SpoolBroken, match="certificate verify failed"):
            await open_spool(SpoolSettings(f"{url}{tmp_path}/others.pem"), now=clock)
    finally:
        postgres_server.stop()
        postgres_server.go_on()


def test_nothing_of_it_is_loaded_without_it(tmp_path):
    """A relay with its spool in a file imports neither psycopg nor our part of it; without psycopg its lack is told."""
    script = f"""
import asyncio, sys
from datetime import UTC, datetime
import relay.daemon, relay.daemon.services, relay.cli.main, relay.cli.run, relay.cli.queue, relay.cli.oauth, relay.cli.spool
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
    assert "needs psycopg: .venv/bin/python -m pip install --require-hashes -r requirements/postgres.txt" in done.stdout
    assert "--build-arg REQUIREMENTS=requirements/postgres.txt" in done.stdout


def test_a_url_with_a_password_is_shown_without():
    """In logs and farewells."""
    assert SpoolSettings("postgresql://relay:se:cret@db/x").shown == "postgresql://relay:***@db/x"
    assert SpoolSettings("postgresql://db/x?user=a&password=secret&sslmode=require").shown == (
        "postgresql://db/x?user=a&password=***&sslmode=require"
    )
