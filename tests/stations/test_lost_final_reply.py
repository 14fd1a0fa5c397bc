"""The running relay after a lost final reply, on both spools: whatever that upstream says and people do next, nobody else
is asked, until `retry.warn_after` is over; then another one is, and the trail says so."""

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import PostgresServer
from tests.support.running import RelayProcess, running
from tests.support.spooled import URLS
from tests.support.upstream import DROP, Action, ScriptedUpstream

PATIENCE = 15  # seconds of warn_after; every follow-up below is over long before

pytestmark = pytest.mark.timeout(240)


class World:
    """A relay with a chain of two upstreams; `second` must never be spoken to before the time."""

    def __init__(self, relay: RelayProcess, first: ScriptedUpstream, second: ScriptedUpstream) -> None:
        self.relay, self.first, self.second = relay, first, second
        self.number = 0

    async def lose(self, *, then_refused: bool = False) -> str:
        """Sends a message whose final reply the first upstream does not give; its queue id.

        `then_refused`: that upstream takes no other until its script says otherwise, however long orders take.
        """
        self.number += 1
        if then_refused:
            usual = iter([None])
            self.first.script["MAIL"] = lambda _: next(usual, "451 4.3.0 not now")
        self.first.script["DOT"] = [DROP]
        queue_id = await asyncio.to_thread(self._send)
        await self.until(lambda: self.told(queue_id, "deferred"))
        return queue_id

    def _send(self) -> str:
        with smtplib.SMTP("127.0.0.1", self.relay.port, timeout=20) as device:
            device.ehlo("nas")
            device.mail("nas@example.jp")
            device.rcpt("taro@example.jp")
            code, words = device.data(f"Subject: {self.number}\r\nMessage-ID: <{self.number}@nas>\r\n\r\nhello\r\n")
        assert code == 250
        return words.decode().split()[-1]

    def told(self, queue_id: str, event: str) -> list[dict[str, Any]]:
        return [line for line in self.relay.events(event) if line.get("queue_id") == queue_id]

    async def until(self, true: Callable[[], Any], seconds: float = 12) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.02)

    async def order(self, *words: str) -> None:
        done = await asyncio.to_thread(self.relay.command, "queue", *words)
        assert done.returncode == 0, done.stderr

    async def answered(self, step: str, reply: Action) -> None:
        """The first upstream says this twice, and nothing else comes of it."""
        queue_id = await self.lose()
        self.first.script[step] = [reply, reply]
        await self.until(lambda: not self.first.script[step])
        await self.taken(queue_id)

    async def taken(self, queue_id: str) -> None:
        """In the end the first upstream takes it, with the Message-ID that it knows; the other never heard of it."""
        await self.until(lambda: self.told(queue_id, "relayed"))
        assert self.told(queue_id, "relayed")[0]["upstream"] == "first"
        assert self.second.connections == [], "another upstream was asked after a lost final reply"
        assert [b"Message-ID: <%d@nas>" % self.number in each.content for each in self.first.messages[-1:]] == [True]


@pytest.fixture(params=URLS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    shared = request.param.startswith("postgres")
    server: PostgresServer | None = request.getfixturevalue("postgres_server") if shared else None
    url = server.database() if server else request.param.format(tmp=tmp_path)
    async with ScriptedUpstream(name="first") as first, ScriptedUpstream(name="second") as second:
        upstreams = {
            one.name: {"host": "127.0.0.1", "port": one.port, "tls": "none", "timeout": "3s", "rewrite": "never"}
            for one in (first, second)
        }
        config = {
            "upstreams": upstreams,
            "routes": [{"via": ["first", "second"]}],
            "retry": {"delays": ["1s"], "rest": ["1s"], "warn_after": f"{PATIENCE}s"},
            "spool": {"url": url, "keep_free": "1MB"},
        }
        starting = running(tmp_path, config)
        relay = await asyncio.to_thread(starting.__enter__)
        try:
            yield World(relay, first, second)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


async def test_whatever_comes_next_nobody_else_is_asked(world: World) -> None:
    """Each answer and each order that used to free the message, one after the other on one relay."""
    for step, reply in (
        ("CONNECT", "421 4.3.2 too busy"),
        ("MAIL", "421 4.3.2 not now"),
        ("MAIL", "451 4.3.0 try again later"),
        ("RCPT", "450 4.2.0 greylisted"),
        ("DOT", "451 4.3.0 not now"),
        ("DOT", DROP),
    ):
        await world.answered(step, reply)

    queue_id = await world.lose()  # nothing listens there for a while
    await world.first.close()
    await world.until(lambda: any("refused" in str(line.get("said")) for line in world.told(queue_id, "deferred")))
    await world.first.__aenter__()
    await world.taken(queue_id)

    queue_id = await world.lose()
    world.first.script["RCPT"] = ["450 4.2.0 greylisted"] * 2
    await asyncio.to_thread(world.relay.stop)
    await asyncio.to_thread(world.relay.start)
    await world.taken(queue_id)

    queue_id = await world.lose()
    await asyncio.to_thread(world.relay.kill9)
    world.first.script["MAIL"] = ["451 4.3.0 not now"]
    await asyncio.to_thread(world.relay.start)
    await world.taken(queue_id)

    queue_id = await world.lose(then_refused=True)
    await asyncio.to_thread(world.relay.reload)
    await world.order("retry", queue_id)
    await world.order("retry", "--all")
    del world.first.script["MAIL"]
    await world.taken(queue_id)

    queue_id = await world.lose(then_refused=True)
    await world.order("hold", queue_id)
    del world.first.script["MAIL"]
    world.first.script["RCPT"] = ["450 4.2.0 greylisted"]
    await world.order("release", queue_id)
    await world.taken(queue_id)

    queue_id = await world.lose()  # the rules name that upstream no more
    world.first.script["RCPT"] = ["450 4.2.0 greylisted"]
    world.relay.configure({**world.relay.config, "routes": [{"via": ["second"]}]})
    await asyncio.to_thread(world.relay.reload)
    await world.taken(queue_id)


async def test_after_long_enough_another_one_is_asked_and_the_trail_says_so(world: World) -> None:
    """An upstream that stays away does not keep the message for ever."""
    queue_id = await world.lose(then_refused=True)
    await asyncio.sleep(PATIENCE - 5)
    assert world.second.connections == []
    await world.until(lambda: world.told(queue_id, "relayed"))
    assert world.told(queue_id, "relayed")[0]["upstream"] == "second"
    story = await asyncio.to_thread(world.relay.show, queue_id)
    [line] = [line for line in story["trail"] if line["event"] == "warned" and "maybe_at" in line]
    assert (line["maybe_at"], line["to"], line["upstream"]) == ("first", ["taro@example.jp"], "second")
    assert "first may have taken this message" in line["text"] and "may get it twice" in line["text"]


async def test_who_orders_another_upstream_is_told_the_risk(world: World) -> None:
    """`release --via` by a person comes before the wait, and says what may come of it."""
    queue_id = await world.lose(then_refused=True)
    await world.order("hold", queue_id)
    done = await asyncio.to_thread(world.relay.command, "queue", "release", queue_id, "--via", "second")
    assert done.returncode == 0
    assert f"{queue_id}: first may have taken it" in done.stdout + done.stderr
    await world.until(lambda: world.told(queue_id, "relayed"))
    assert world.told(queue_id, "relayed")[0]["upstream"] == "second"
    assert any("an operator ordered it" in line["text"] for line in world.told(queue_id, "warned"))
