"""A chain of three kinds through the outage of each: Microsoft Graph, then the phone, then the provider by SMTP.

device ──> relay ──> relay/cli/demo_graph.py, ntfy on loopback, ScriptedUpstream
"""

import asyncio
import json

from relay.cli.demo_graph import graph_cloud
from tests.stations.test_graph_relay import NAS, settings
from tests.support.inprocess import ended, relay_at_home, send, told
from tests.support.push_services import NEEDS_APPRISE, Ntfy, serving
from tests.support.upstream import ScriptedUpstream

pytestmark = NEEDS_APPRISE

TOPIC = "office-alarms-x7"
REST = 1.2  # seconds; the rest in `settings` is 1 s


def letter(number):
    return f"From: {NAS}\r\nTo: taro@example.jp\r\nSubject: mail {number}\r\n\r\nhello\r\n".encode()


async def test_m365_phone_and_isp_through_the_outage_of_each(tmp_path):
    """Each message goes once: by the first that works; what nobody takes waits, and goes when one is back."""
    with serving(Ntfy()) as ntfy:
        async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
            given = settings(cloud, isp)
            given["upstreams"]["phone"] = {"push": f"ntfy://127.0.0.1:{ntfy.port}/{TOPIC}", "timeout": "5s"}
            given["routes"] = [{"via": ["m365", "phone", "isp"]}]
            async with relay_at_home(tmp_path, given) as relay:
                numbers = iter(range(1, 99))

                async def mail():
                    return await send(relay, NAS, "taro@example.jp", letter(next(numbers)))

                async def goes_by():
                    story = await ended(relay, await mail(), "relayed")
                    assert TOPIC not in json.dumps(story)
                    return story["recipients"][0]["upstream"]

                assert await goes_by() == "m365"
                await cloud.stop()
                assert await goes_by() == "phone"
                ntfy.refuse(503, times=1000)
                assert await goes_by() == "isp"
                isp.script["MAIL"] = "451 4.3.2 not now"
                waits = await mail()
                async with asyncio.timeout(20):
                    while "not now" not in json.dumps((await told(relay, waits))["trail"]):
                        await asyncio.sleep(0.05)
                assert (await told(relay, waits))["recipients"][0]["state"] == "queued"
                await cloud.start()
                story = await ended(relay, waits, "relayed")
                assert story["recipients"][0]["upstream"] == "m365"
                ntfy.fail.clear()
                isp.script.clear()
                await asyncio.sleep(REST)
                assert await goes_by() == "m365"
                await cloud.stop()
                await asyncio.sleep(REST)
                assert await goes_by() == "phone"
            subjects = [[line for line in one.content.split(b"\r\n") if line.startswith(b"Subject")] for one in cloud.box]
            assert subjects == [[b"Subject: mail 1"], [b"Subject: mail 4"], [b"Subject: mail 5"]]
            assert [one.title for one in ntfy.pushed] == ["mail 2", "mail 6"]
            assert [b"Subject: mail 3" in one.content for one in isp.messages] == [True]
