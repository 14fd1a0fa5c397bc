"""A mailbox at Microsoft Graph as the person who runs the relay meets it: consent, limits, orders, notices, numbers.

device ──> relay ──> relay/cli/demo_graph.py, ScriptedUpstream;  person ──> relay oauth, queue, page, metrics
"""

import asyncio
import json
from email import message_from_bytes, policy

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.cli.demo_graph import GraphTrouble, graph_cloud
from tests.stations.test_graph_relay import LETTER, NAS, settings, trail_of
from tests.stations.test_oauth_login import Login
from tests.support.inprocess import ended, relay_at_home, send, told
from tests.support.oauth import jwt, provider
from tests.support.running import RelayProcess
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually, until

BOSS = "boss@company.example"


def delegated(number):
    """An access token where a person consented: it names the scopes."""
    return jwt(scp="Mail.Send Mail.ReadWrite", jti=number)


async def waits_for(relay, queue_id, words):
    story = await until(lambda: told(relay, queue_id), lambda story: words in trail_of(story))
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
    async with graph_cloud(NAS) as cloud:
        limits = {"connections": connections, "per_minute": "none"}
        async with relay_at_home(tmp_path, settings(cloud, save_to_sent=True, limits=limits)) as relay:
            await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
            cloud.answering.clear()
            mail = [await send(relay, NAS, f"user{number}@example.jp", LETTER) for number in range(9)]
            await until(lambda: len(cloud.requests) >= 1 + min(connections, 5))
            await asyncio.sleep(0.3)
            assert (cloud.most_at_once > 4) == (connections > 4)
            cloud.answering.set()
            stories = [await ended(relay, one, "relayed") for one in mail]
        told_off = ["MailboxConcurrency" in trail_of(story) for story in stories]
        assert any(told_off) == (connections > 4)
        assert len(cloud.box) == 10
        assert len({sent.recipients for sent in cloud.box}) == 10


def numbers(relay):
    """What a monitor gets of the mailbox."""
    families = text_string_to_metric_families(relay.page("/metrics"))
    found = [one for family in families for one in family.samples if one.labels == {"upstream": "m365"}]
    return {one.name.removeprefix("relay_upstream_"): one.value for one in found}


@pytest.mark.timeout(60)
async def test_orders_notices_limits_and_numbers(tmp_path):
    """A notice goes by Graph, and so does what is released by it; limits hold, and trouble shows on page and monitor."""
    async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
        isp.script["RCPT"] = "550 5.1.1 no such user"
        given = settings(cloud, isp, limits={"per_minute": 3})
        given["routes"] = [{"to": [BOSS], "via": ["m365"]}, {"via": ["isp"]}]
        given["notices"] = {"to": BOSS, "via": ["m365"], "digest": "1s"}
        relay = RelayProcess(tmp_path, {**given, "web": {"address": "127.0.0.1:0"}})

        def story():
            failed = relay.submit("root@nas.local", "gone@example.jp", LETTER)
            eventually(lambda: cloud.box)
            done = relay.command("queue", "release", failed, "--via", "m365")
            assert done.returncode == 0, done.stderr
            eventually(lambda: len(cloud.box) == 2)
            relay.wait_for("relayed", 2)
            told = numbers(relay)
            assert (told["up"], told["login_ok"], told["sent_today"], told["in_flight"]) == (1, 1, 2, 0)
            assert told["token_expiry_timestamp_seconds"] > 0
            assert "202 Accepted" in relay.page(f"/messages/{failed}")

            relay.submit(NAS, BOSS, LETTER)
            last = relay.submit(NAS, BOSS, LETTER)
            relay.wait_for("relayed", 3)
            (row,) = json.loads(relay.page(f"/api/queue/{last}"))["recipients"]
            assert (row["state"], row["attempts"]) == ("queued", 0)
            assert "m365" in relay.page("/")
            given["upstreams"]["m365"]["limits"] = {"per_minute": "none"}
            cloud.trouble.append(GraphTrouble("drafts/messages", 403, "ErrorAccessDenied", "Access is denied."))
            relay.configure({**relay.config, **given})
            relay.reload()
            relay.wait_for("rested")
            told = numbers(relay)
            assert (told["up"], told["login_ok"]) == (0, 0)
            shown = relay.page("/") + relay.page(f"/messages/{last}")
            assert "ErrorAccessDenied: Access is denied." in shown
            assert "admin consent" in shown
            eventually(lambda: any(sent.recipients == (BOSS,) for sent in cloud.box[3:]))
            assert numbers(relay)["up"] == 1

        await asyncio.to_thread(relay.start)
        try:
            await asyncio.to_thread(story)
        finally:
            await asyncio.to_thread(relay.stop)
    notice, released, *_ = cloud.box
    assert (notice.recipients, released.recipients) == ((BOSS,), ("gone@example.jp",))
    read = message_from_bytes(notice.content, policy=policy.default)
    assert read.get_content_type() == "multipart/report"
    assert read["from"].addresses[0].addr_spec == NAS
    assert "gone@example.jp" in read.get_body(("plain",)).get_content()
    assert not any(sent.saved for sent in cloud.box)
