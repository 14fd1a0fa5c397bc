"""kill -9 while Graph has the request that sends: nothing is lost, nobody else gets it, and the trail says what may be doubled.

device ──> relay run (killed, started) ──> relay/cli/demo_graph.py, which has sent it and does not answer
                                     └──> an ISP that takes everything
"""

import asyncio
from email import message_from_bytes
from pathlib import Path

import pytest

from relay.cli.demo_graph import GraphTrouble, graph_cloud
from tests.stations.test_graph_relay import LETTER, NAS, settings
from tests.support.running import RelayProcess
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually


@pytest.mark.parametrize("sent", [True, False])
async def test_killed_while_graph_has_the_request(tmp_path: Path, sent: bool) -> None:
    """It went out or not, and nobody could know: the same mailbox sends it again under the same Message-ID, and the ISP never.

    The trail says who may get it twice.  A draft that was not sent is gone in the end.
    """
    async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
        relay = RelayProcess(tmp_path, settings(cloud, isp, timeout="30s"))
        cloud.trouble.append(GraphTrouble("/send", 0, late=sent))

        def lives() -> None:
            queue_id = relay.submit(NAS, "taro@example.jp", LETTER)
            eventually(lambda: cloud.box if sent else cloud.drafts and not cloud.trouble)
            relay.kill9()
            assert (len(cloud.box), len(cloud.drafts)) == ((1, 0) if sent else (0, 1))
            relay.start()
            relay.wait_for("relayed")
            story = relay.show(queue_id)
            (row,) = story["recipients"]
            assert (row["state"], row["upstream"]) == ("relayed", "m365")
            (warned,) = (line for line in story["trail"] if line["event"] == "warned")
            assert "m365 may have taken this message" in warned["text"]
            assert "taro@example.jp may get it twice" in warned["text"]

        await asyncio.to_thread(relay.start)
        try:
            await asyncio.to_thread(lives)
        finally:
            await asyncio.to_thread(relay.stop)
        ids = {message_from_bytes(one.content)["message-id"] for one in cloud.box}
        assert (len(cloud.box), len(ids), cloud.drafts) == (2 if sent else 1, 1, {})
        assert isp.messages == []
