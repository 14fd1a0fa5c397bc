"""What `devices` costs each message, from MAIL to its end: looking the device up, and nothing else.

client -> relay in this process, its spool a file or PostgreSQL -> upstream in this process
"""

import asyncio
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import psycopg
import pytest

from relay.daemon import Relay
from relay.spool.sqlite import connections
from tests.support.device import Device
from tests.support.inprocess import relay_at_home
from tests.support.running import ROOT
from tests.support.upstream import ScriptedUpstream

STEADY = 3
"""So many messages in a row must cost the same: at first, and now and then, a relay does something else beside them."""
FOUND, LOOKED_AT = 30, 12
"""Calls at most for a device that is found, and for each that is looked at: at RCPT, at the end of DATA, in the runner."""
PLAIN = {
    "cam": {"client": "192.168.0.7", "name": "Camera"},
    "door": {"client": "192.168.1.0/24", "helo": "door*"},
    "nas": {"client": "127.0.0.1", "helo": "nas"},
}
STORMY = {**PLAIN, "cam": {"client": "192.168.0.7", "storm": {"same_within": "10m"}, "quiet": {"hours": "22:00-07:00"}}}


class Cost(NamedTuple):
    """Of a message: statements in the database, transactions, calls of the relay's own functions in the event loop's thread."""

    statements: int
    syncs: int
    calls: int


class Counted:
    """Counts while it is told to."""

    def __init__(self) -> None:
        self.statements = self.calls = 0

    def statement(self, text: object) -> None:
        self.statements += not str(text).startswith("PRAGMA")  # how much room there is, is asked now and then

    def look(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(f"{ROOT}/relay/"):
            self.calls += 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """The statements of all connections that are opened from now on."""
    here = Counted()
    connect, execute = connections.connect, psycopg.Cursor.execute

    def connected(*place: Any, **how: Any) -> Any:
        db = connect(*place, **how)
        db.set_trace_callback(here.statement)
        return db

    def executed(cursor: Any, *what: Any, **how: Any) -> Any:
        here.statement(what[0])
        return execute(cursor, *what, **how)

    monkeypatch.setattr(connections, "connect", connected)
    monkeypatch.setattr(psycopg.Cursor, "execute", executed)
    return here


async def cost(directory: Path, url: str, devices: dict[str, Any], counted: Counted) -> Cost:
    """Of each of the messages that one client sends, one after the other."""
    directory.mkdir()
    costs: list[Cost] = []
    async with ScriptedUpstream() as isp:
        upstreams = {"isp": {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}}
        spool = {"url": url or f"sqlite:{directory}/spool/spool.db", "keep_free": "1MB", "state_dir": str(directory / "state")}
        async with relay_at_home(directory, {"upstreams": upstreams, "devices": devices, "spool": spool}) as relay:
            client = await Device.connect(relay.inbound.bound[0])
            await client.reply()
            await client.dialog((b"HELO nas\r\n", "250"))
            async with asyncio.timeout(60):
                while len(costs) < STEADY or len(set(costs[-STEADY:])) > 1:
                    costs.append(await one_message(client, isp, relay, counted))
    return costs[-1]


async def one_message(client: Device, isp: ScriptedUpstream, relay: Relay, counted: Counted) -> Cost:
    syncs = getattr(relay._spool, "syncs", 0)  # of a database they are its own affair
    before, counted.statements, counted.calls = len(isp.messages), 0, 0
    sys.setprofile(counted.look)
    try:
        await client.dialog((b"MAIL FROM:<nas@isp.example>\r\n", "250"), (b"RCPT TO:<me@far.example>\r\n", "250"))
        await client.dialog((b"DATA\r\n", "354"), (b"Subject: Backup done\r\n\r\nyes\r\n.\r\n", "250"))
        await isp.arrived(before + 1)
        await asyncio.sleep(0.1)  # till its end is stored, and the runner sleeps again
    finally:
        sys.setprofile(None)
    return Cost(counted.statements, getattr(relay._spool, "syncs", 0) - syncs, counted.calls)


@pytest.mark.parametrize("backend", ["a file", "PostgreSQL"])
async def test_devices_cost_looking_them_up_and_nothing_else(
    backend: str, tmp_path: Path, counted: Counted, request: pytest.FixtureRequest
) -> None:
    """No statement and no sync more; another device's storm and quiet hours cost not one call."""
    costs = []
    for number, devices in enumerate(({}, PLAIN, STORMY)):
        url = request.getfixturevalue("postgres_server").database() if backend == "PostgreSQL" else ""
        costs.append(await cost(tmp_path / f"{number}", url, devices, counted))
    none, plain, stormy = costs
    assert (plain.statements, plain.syncs) == (none.statements, none.syncs)
    assert none.calls < plain.calls <= none.calls + FOUND + LOOKED_AT * len(PLAIN)
    assert stormy == plain
    assert none.statements > 0 and none.syncs == (2 if backend == "a file" else 0)
