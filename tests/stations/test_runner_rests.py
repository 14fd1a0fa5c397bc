"""One bad message never stops an upstream for the others: what rests it, and who asks whether it is over.

spool (SQLite)  -->  Runner  -->  Pools.submit  -->  ScriptedUpstream
"""

import asyncio
from dataclasses import replace

from relay.outbound.routing import Route
from relay.spool.entry import State
from tests.stations.test_runner import QUICK, S, running, upstream
from tests.support.upstream import ScriptedUpstream

FULL = "550 5.4.5 Daily sending quota exceeded"


async def test_the_words_in_an_address_rest_nobody(tmp_path):
    """The server repeats a recipient that names a block list: that mail fails, the next goes at once, nobody is called."""

    def rcpt(argument: str) -> str | None:
        return "550 5.1.1 <spamhaus.pbl@isp.example>: User unknown" if "spamhaus" in argument else None

    async with ScriptedUpstream(script={"RCPT": rcpt}) as isp:
        patient = replace(QUICK, rest=(60 * S,), rest_login=60 * S)
        async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", isp.port)], retry=patient) as world:
            bad = await world.accept("spamhaus.pbl@isp.example")
            await world.until(bad, State.FAILED)
            await world.until(await world.accept("x@y.example"), State.RELAYED)
            assert world.runner.upstreams_now()[0]["resting_until"] is None
            assert world.alarms == []


async def test_a_message_that_meets_the_same_again_and_again_holds_up_nobody(tmp_path):
    """One sender's mail always meets a quota: the upstream rests once for it, then others ask first and go; it waits alone."""

    def mail(argument: str) -> str | None:
        return FULL if "camera@" in argument else None

    async with ScriptedUpstream(script={"MAIL": mail}) as isp:
        async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", isp.port)]) as world:
            camera = await world.accept("x@y.example", sender="camera@lan.example")
            async with asyncio.timeout(10):
                while not world.runner.upstreams_now()[0]["failures"]:
                    await asyncio.sleep(0.01)
            others = [await world.accept(f"u{n}@y.example", sender="nas@lan.example") for n in range(3)]
            for other in others:
                await world.until(other, State.RELAYED)
            for n in range(8):  # the camera's mail is tried again meanwhile
                await world.until(await world.accept(f"v{n}@y.example", sender="nas@lan.example"), State.RELAYED, seconds=3)
                await asyncio.sleep(0.2)
                assert world.runner.upstreams_now()[0]["failures"] == 0
            (stuck,) = (await world.spool.entry(camera)).recipients
            assert stuck.state is State.QUEUED and stuck.code == 550
            assert len(isp.messages) == 11
