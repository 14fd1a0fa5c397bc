"""A mailbox at Microsoft Graph as the person who runs the relay meets it: consent, limits, orders, notices, numbers.

device ──> relay ──> relay/cli/demo_graph.py, ScriptedUpstream;  person ──> relay oauth, queue, page, metrics
"""

import asyncio
import base64
import json

import pytest

from relay.cli.demo_graph import graph_cloud
from tests.stations.test_graph_relay import LETTER, NAS, settings, trail_of
from tests.stations.test_oauth_login import Login
from tests.support.inprocess import ended, relay_at_home, send, told
from tests.support.oauth import provider


def delegated(number):
    """An access token as Microsoft's are where a person consented: it names the scopes."""
    pieces = ({"alg": "none"}, {"scp": "Mail.Send Mail.ReadWrite", "jti": number}, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(piece).encode()).rstrip(b"=").decode() for piece in pieces)


async def waits_for(relay, queue_id, words):
    async with asyncio.timeout(15):
        while words not in trail_of(await told(relay, queue_id)):
            await asyncio.sleep(0.03)
    story = await told(relay, queue_id)
    assert [row["state"] for row in story["recipients"]] == ["queued"]


@pytest.mark.timeout(60)
async def test_a_person_consents(tmp_path):
    """Mail waits for the consent and goes at once with it; tokens are renewed; a consent that ended is told and given again."""
    with provider(form=delegated) as stub:
        async with graph_cloud(NAS) as cloud:
            cloud.tokens = stub.access_tokens
            oauth = {"client_id": "app", "tenant": "company.example", **stub.urls}
            given = settings(cloud, oauth=oauth)
            given["retry"]["rest_login"] = "1h"
            async with relay_at_home(tmp_path, given) as relay:

                async def consented(mail):
                    login = await asyncio.to_thread(Login, tmp_path / "config.yaml", "m365")
                    status, out, err = await asyncio.to_thread(login.end)
                    assert (status, err, "GTHDDWXPL" in out) == (0, "", True)
                    return await ended(relay, mail, "relayed")

                first = await send(relay, NAS, "taro@example.jp", LETTER)
                await waits_for(relay, first, "relay oauth login")
                assert cloud.requests == []
                await consented(first)
                scopes = {form["scope"] for form in stub.forms if "scope" in form and "device_code" not in form}
                wanted = f"{cloud.url}/Mail.Send {cloud.url}/Mail.ReadWrite offline_access"
                assert scopes == {wanted}

                stub.access_tokens.clear()
                story = await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
                assert [row["attempts"] for row in story["recipients"]] == [1]
                assert len(stub.asked("refresh_token")) == 1

                stub.revoke()
                last = await send(relay, NAS, "taro@example.jp", LETTER)
                await waits_for(relay, last, "AADSTS50173")
                await waits_for(relay, last, "relay oauth login")
                await consented(last)
            assert [sent.saved for sent in cloud.box] == [False] * 3


@pytest.mark.parametrize("connections", [4, 8])
async def test_four_at_a_time(tmp_path, connections):
    """Graph takes no more for one mailbox.  Who is set to more hears 429, and all mail goes all the same, once each."""
    async with graph_cloud(NAS, slow=0.1) as cloud:
        limits = {"connections": connections, "per_minute": "none"}
        async with relay_at_home(tmp_path, settings(cloud, save_to_sent=True, limits=limits)) as relay:
            await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
            mail = [await send(relay, NAS, f"user{number}@example.jp", LETTER) for number in range(12)]
            stories = [await ended(relay, one, "relayed") for one in mail]
        told_off = ["MailboxConcurrency" in trail_of(story) for story in stories]
        assert any(told_off) == (connections > 4)
        assert cloud.most_at_once == 4 if connections == 4 else cloud.most_at_once > 4
        assert len(cloud.box) == 13
        assert len({sent.recipients for sent in cloud.box}) == 13
