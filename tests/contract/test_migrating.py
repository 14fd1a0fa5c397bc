"""Spools of older versions, as the relay of that time wrote them: what was words then is facts now, and nothing is lost."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.mail.dsn import compose
from relay.outbound.notice_content import notified_message
from relay.outbound.trail import words
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolSettings
from relay.spool.entry import State
from relay.spool.postgres import schema as postgres_schema
from relay.spool.sqlite import schema
from tests.support.postgres import PostgresServer
from tests.support.spooled import URLS
from tests.support.world import Clock

KEPT = Path(__file__).parents[1] / "corpus" / "spools"
TRIED_AT = datetime(2026, 11, 22, 3, 1, tzinfo=UTC)
OLDER = {
    "perhaps taken by b: the line was lost": "b",
    "perhaps taken by b, which gave no reply": "b",
    "perhaps taken by b": "b",
    "perhaps taken by ": "a",
    "perhaps taken, who knows": "",
    "b said: perhaps taken by b": "",
}
"""Words that relays before that version kept, and the upstream that they name (`a` answered last)."""


@pytest.fixture(params=URLS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a spool as an older relay left it."""
    if request.param.startswith("postgres"):
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.database()
        scripts = [
            (Path(postgres_schema.__file__).with_name("schema-1.sql")).read_text(),
            (KEPT / "postgres-1.sql").read_text(),
        ]
        PostgresServer.ask(url, "CREATE TABLE spool_version (version INTEGER NOT NULL)")
        for script in ("INSERT INTO spool_version VALUES (1)", *scripts):
            PostgresServer.ask(url, script)
        return url
    path = tmp_path / "spool.db"
    schema.prepare(path, migrations=schema.MIGRATIONS[:2])
    with closing(sqlite3.connect(path)) as db:
        db.executescript((KEPT / "schema-2.sql").read_text())
    return f"sqlite:{path}"


def change(url: str, said: str) -> None:
    """Gives the message that waits for its next attempt these words, by upstream `a`."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:"))) as db:
            db.execute("UPDATE recipient SET said = ?, upstream = 'a' WHERE message = 2", (said,))
            db.commit()
    else:
        PostgresServer.ask(url, "UPDATE recipient SET said = %s, upstream = 'a' WHERE message = 2", said)


async def opened(url: str) -> Spool:
    return await open_spool(SpoolSettings(url, keep_free=0), now=Clock(TRIED_AT))


async def test_who_may_have_taken_a_message_is_known_after_the_upgrade(old: str) -> None:
    """The prefix becomes a field with its hour, the words are those of the answer, and everything else is as it was."""
    spool = await opened(old)
    stored = await spool.entry("lost0000000001")
    assert stored is not None
    for row in stored.recipients:
        assert (row.state, row.maybe_at, row.maybe_since, row.lost) == (State.QUEUED, "b", TRIED_AT, True)
        assert (row.said, row.upstream, row.stage) == ("the server closed the connection", "b", "content")
    for name, state in (("later000000001", State.QUEUED), ("failed00000001", State.FAILED), ("taken000000001", State.RELAYED)):
        other = await spool.entry(name)
        assert other is not None and {(row.state, row.maybe_at, row.maybe_since) for row in other.recipients} == {
            (state, "", None)
        }
    await spool.close()


@pytest.mark.parametrize(("said", "name"), OLDER.items(), ids=str)
async def test_older_words_name_their_upstream(old: str, said: str, name: str) -> None:
    """What earlier versions wrote is understood; what only looks alike is left as it is."""
    change(old, said)
    spool = await opened(old)
    stored = await spool.entry("later000000001")
    assert stored is not None
    assert {(row.maybe_at, row.maybe_since is not None, row.said) for row in stored.recipients} == {(name, bool(name), said)}
    await spool.close()


async def test_the_trails_of_older_versions_are_read(old: str) -> None:
    """Their words are shown as they are, and their particulars are lists like those of today."""
    spool = await opened(old)
    stored = await spool.entry("lost0000000001")
    assert stored is not None
    lines = {line.event: line for line in stored.trail}
    assert lines["accepted"].details["quirks"] == ["bare LF", "no HELO"]
    assert lines["tried"].details["to"] == ["taro@y.example", "kentaro@y.example"]
    assert lines["tried"].details["notes"] == ["slow"]
    assert lines["routed"].details["via"] == ["a", "b"]
    assert lines["repaired"].details["repairs"][0] == "added Date"  # type: ignore[index]
    assert words(lines["routed"]) == "taro@y.example, kentaro@y.example: by a, else b (rule 1: everything)"
    await spool.close()


async def test_a_failure_that_was_not_told_yet_is_told_after_the_upgrade(old: str) -> None:
    """With the server's address for each recipient, though the older version kept it in the trail only."""
    spool = await opened(old)
    pending = await spool.pending_notices()
    stored = await spool.entry("failed00000001")
    assert len(pending) == 2 and {one.recipient.said for one in pending} == {"no such user"}

    def advice(*_: object) -> None:
        return None

    told = notified_message(pending, stored, (), advice, timedelta(days=5))  # type: ignore[arg-type]
    assert [one.remote for one in told.told] == ["[192.0.2.7]"] * 2
    assert compose([told], to=pending[0].notify, hostname="r", queue_id="q", now=TRIED_AT).content.count(b"Remote-MTA") == 2
    await spool.close()
