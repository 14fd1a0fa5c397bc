"""The running relay with a mailbox at Microsoft Graph in its routes: chains, waiting, tokens, outages, kill -9.

device ──> relay ──> relay/cli/demo_graph.py, ScriptedUpstream
"""

import asyncio
import base64
import json
import os
import smtplib
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from relay import config
from relay.cli.demo_graph import GraphTrouble, graph_cloud
from relay.upstream.graph_api import GraphApi
from tests.support.inprocess import ended, relay_at_home, send, told
from tests.support.running import RelayProcess
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually

NAS = "nas@company.example"
LETTER = b"From: nas@company.example\r\nTo: taro@example.jp\r\nSubject: hi\r\n\r\nhello\r\n"


def settings(cloud, isp=None, **upstream):
    """m365 first, then a provider by SMTP if there is one."""
    m365 = {
        "provider": "outlook",
        "api": "graph",
        "url": cloud.url,
        "username": cloud.mailbox,
        "timeout": "3s",
        "limits": {"per_minute": "none"},
        "oauth": {
            "client_id": "app",
            "client_secret": cloud.secret,
            "grant": "client-credentials",
            "tenant": "company.example",
            "token_url": cloud.token_url,
        },
        **upstream,
    }
    ups = {"m365": m365}
    if isp:
        ups["isp"] = {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}
    return {"upstreams": ups, "routes": [{"via": list(ups)}], "retry": {"delays": ["1s"], "rest": ["1s"], "rest_login": "2s"}}


def trail_of(story):
    return json.dumps(story["trail"])


class TestWay:
    """From the device to the mailbox, with its story."""

    async def test_a_message_goes_and_its_story_is_told(self, tmp_path):
        """The sender is rewritten to the mailbox; Graph's words are in the trail; no token is."""
        async with graph_cloud(NAS) as cloud, relay_at_home(tmp_path, settings(cloud)) as relay:
            letter = LETTER.replace(b"nas@company", b"root@nas")
            story = await ended(relay, await send(relay, "root@nas.local", "taro@example.jp", letter), "relayed")
            [sent] = cloud.box
            assert sent.recipients == ("taro@example.jp",)
            assert b"nas@company.example" in sent.content
            assert not sent.saved
            assert "202 Accepted" in trail_of(story)
            assert not any(token in trail_of(story) for token in cloud.tokens)

    async def test_a_refused_sender_goes_in_the_accounts_own_name(self, tmp_path):
        """403 ErrorSendAsDenied, then the same message as the mailbox itself, within the attempt."""
        async with graph_cloud(NAS) as cloud:
            given = settings(cloud, sender_domains=["company.example", "club.example"])
            async with relay_at_home(tmp_path, given) as relay:
                letter = LETTER.replace(b"nas@company", b"ups@club")
                story = await ended(relay, await send(relay, "ups@club.example", "taro@example.jp", letter), "relayed")
                assert len(cloud.box) == 1
                assert b"From: " in cloud.box[0].content
                assert "ErrorSendAsDenied" in trail_of(story)

    async def test_a_token_that_became_void_is_renewed_once(self, tmp_path):
        """The relay asks its token server again, and the message goes in the same try."""
        async with graph_cloud(NAS) as cloud, relay_at_home(tmp_path, settings(cloud)) as relay:
            await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
            cloud.tokens.clear()
            story = await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
            assert [row["attempts"] for row in story["recipients"]] == [1]
            assert (len(cloud.box), cloud.granted) == (2, 2)

    async def test_two_recipients_by_two_ways(self, tmp_path):
        """Each gets one copy: the one who goes by the other upstream is taken out of To."""
        async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
            given = settings(cloud, isp)
            given["routes"] = [{"to": "*@example.jp", "via": ["isp"]}, {"via": ["m365"]}]
            async with relay_at_home(tmp_path, given) as relay:
                host, port = relay.inbound.bound[0]
                letter = LETTER.replace(b"To: taro@example.jp", b"To: taro@example.jp, boss@company.example")

                def submit():
                    with smtplib.SMTP(host, port, timeout=10) as device:
                        device.sendmail(NAS, ["taro@example.jp", "boss@company.example"], letter)

                await asyncio.to_thread(submit)
                async with asyncio.timeout(15):
                    while not (cloud.box and isp.messages):
                        await asyncio.sleep(0.05)
            assert cloud.box[0].recipients == ("boss@company.example",)
            assert isp.messages[0].forward_paths == ["taro@example.jp"]
            assert len(cloud.box) == len(isp.messages) == 1


class TestWaiting:
    """What waits, for how long, and what the next upstream gets meanwhile."""

    async def test_retry_after_is_kept(self, tmp_path):
        """The schedule says one second, Graph says five: nothing is asked of it before."""
        async with graph_cloud(NAS) as cloud, relay_at_home(tmp_path, settings(cloud)) as relay:
            cloud.trouble.append(GraphTrouble("drafts/messages", 429, "ApplicationThrottled", headers={"Retry-After": "5"}))
            began = datetime.now(UTC)
            queue_id = await send(relay, NAS, "taro@example.jp", LETTER)
            async with asyncio.timeout(10):
                while "ApplicationThrottled" not in trail_of(await told(relay, queue_id)):
                    await asyncio.sleep(0.05)
            asked = len(cloud.requests)
            other = await send(relay, NAS, "taro@example.jp", LETTER)
            await asyncio.sleep(2.5)
            assert len(cloud.requests) == asked
            await ended(relay, queue_id, "relayed")
            await ended(relay, other, "relayed")
            assert (datetime.now(UTC) - began).total_seconds() >= 5
            assert len(cloud.box) == 2

    @pytest.mark.parametrize(
        "trouble",
        [
            GraphTrouble("drafts/messages", 429, "ApplicationThrottled", headers={"Retry-After": "60"}),
            GraphTrouble("drafts/messages", 503, "ErrorServerBusy", headers={"Retry-After": "60"}),
            GraphTrouble("/send", 403, "ErrorAccessDenied"),
            GraphTrouble("/send", 507, "ErrorQuotaExceeded"),
            GraphTrouble("/messages", 413, "ErrorMessageSizeExceeded"),
        ],
        ids=lambda trouble: trouble.code,
    )
    async def test_the_next_in_the_chain_takes_it(self, tmp_path, trouble):
        """Whatever is wrong at Microsoft, the mail goes by the other upstream at once."""
        async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
            cloud.trouble.append(trouble)
            async with relay_at_home(tmp_path, settings(cloud, isp)) as relay:
                story = await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
                assert [row["upstream"] for row in story["recipients"]] == ["isp"]
                assert trouble.code in trail_of(story)
                assert (len(isp.messages), cloud.box, cloud.drafts) == (1, [], {})

    async def test_an_outage_of_the_cloud(self, tmp_path):
        """Nobody listens there: the other takes it, and once it is back it is used again."""
        async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
            async with relay_at_home(tmp_path, settings(cloud, isp)) as relay:
                await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
                await cloud.stop()
                await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
                assert (len(cloud.box), len(isp.messages)) == (1, 1)
                await cloud.start()
                await asyncio.sleep(1.2)
                await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
                assert (len(cloud.box), len(isp.messages)) == (2, 1)

    async def test_a_lost_answer_is_not_sent_by_another(self, tmp_path):
        """It may have been taken, so the other upstream must not double it."""
        async with ScriptedUpstream() as isp, graph_cloud(NAS) as cloud:
            given = settings(cloud, isp, timeout="1s", save_to_sent=True)
            cloud.trouble.append(GraphTrouble("/sendMail", 504, "GatewayTimeout"))
            async with relay_at_home(tmp_path, given) as relay:
                story = await ended(relay, await send(relay, NAS, "taro@example.jp", LETTER), "relayed")
                assert [row["upstream"] for row in story["recipients"]] == ["m365"]
                assert (len(cloud.box), isp.messages) == (1, [])


@pytest.mark.timeout(120)
async def test_kill_9_in_the_middle_of_an_upload(tmp_path):
    """Nothing was sent, so nothing can be doubled; the draft that is left goes, and the scan arrives once."""
    octets = os.urandom(4_000_000)
    pdf = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    head = b"MIME-Version: 1.0\r\nContent-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n"
    async with graph_cloud(NAS) as cloud:
        cloud.trouble.append(GraphTrouble("/upload/session-2", 0))
        relay = RelayProcess(tmp_path, {**settings(cloud, timeout="30s"), "log": {"format": "json", "level": "info"}})
        await asyncio.to_thread(relay.start)
        try:

            def submit():
                with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
                    device.sendmail(NAS, ["taro@example.jp"], LETTER.replace(b"\r\nhello\r\n", head + b"\r\n" + pdf))

            await asyncio.to_thread(submit)
            await asyncio.to_thread(eventually, lambda: ("PUT", "/upload") in cloud.requests and not cloud.trouble)
            await asyncio.to_thread(relay.kill9)
            assert len(cloud.drafts) == 1
            await asyncio.to_thread(relay.start)
            await asyncio.to_thread(relay.wait_for, "relayed")
        finally:
            await asyncio.to_thread(relay.stop)
    assert len(cloud.box) == 1
    assert cloud.drafts == {}
    message = message_from_bytes(cloud.box[0].content, policy=policy.default)
    assert [part.get_content() == octets for part in message.iter_attachments()] == [True]
    said = "\n".join(relay.lines)
    assert "upload-secret" not in said
    assert not any(token in said for token in cloud.tokens)


class TestConfiguration:
    """What `relay check` says."""

    def loaded(self, tmp_path, text):
        file = tmp_path / "config.yaml"
        file.write_text(text)
        return config.load(file, {})

    def test_the_least_that_is_needed(self, tmp_path):
        """Provider, mailbox, application: the cloud's scopes and four at a time follow."""
        found = self.loaded(
            tmp_path,
            "upstreams:\n  m365: {api: graph, username: nas@company.example, oauth: {client_id: a, tenant: c.example}}\n",
        ).config
        upstream = found.upstreams["m365"]
        oauth = upstream.login.oauth
        assert (upstream.transport.url, upstream.transport.save) == ("https://graph.microsoft.com", False)
        assert oauth.scope.split() == [
            "https://graph.microsoft.com/Mail.Send",
            "https://graph.microsoft.com/Mail.ReadWrite",
            "offline_access",
        ]
        assert upstream.limits.connections == 4

    def test_another_cloud(self, tmp_path):
        """Its token server and its scope follow from the URL."""
        oauth = (
            self.loaded(
                tmp_path,
                "upstreams:\n  m365: {api: graph, url: 'https://graph.microsoft.us/v1.0/', username: nas@company.example,\n"
                "    oauth: {client_id: a, tenant: c.example, grant: client-credentials, client_secret: secret-secret}}\n",
            )
            .config.upstreams["m365"]
            .login.oauth
        )
        assert oauth.scope == "https://graph.microsoft.us/.default"
        assert oauth.token_url == "https://login.microsoftonline.us/c.example/oauth2/v2.0/token"

    def test_more_than_four_at_a_time_is_remarked(self, tmp_path):
        """It works, but Graph answers 429 to the fifth."""
        lines = "{api: graph, username: n@c.example, oauth: {client_id: a}, limits: {connections: 5}}"
        found = self.loaded(tmp_path, f"upstreams:\n  m365: {lines}\n")
        assert found.config.upstreams["m365"].limits.connections == 5
        assert any("limits" in str(remark) and "4 at a time" in str(remark) for remark in found.remarks)

    def test_a_personal_account_knows_only_its_own_mailbox(self, tmp_path):
        """Its path is /me, not /users."""
        said = "upstreams:\n  me: {api: graph, provider: outlook.com, username: me@outlook.com, oauth: {client_id: a}}\n"
        upstream = self.loaded(tmp_path, said).config.upstreams["me"]
        api = GraphApi(upstream, upstream.transport, None, None, "token")
        assert api.base == "/v1.0/me"
        assert (upstream.login.oauth.tenant, upstream.provider) == ("consumers", "outlook.com")

    @pytest.mark.parametrize(
        ("lines", "path", "words"),
        [
            ("{api: graph, username: nas@company.example}", "upstreams.m365.oauth", "client_id"),
            ("{api: graph, oauth: {client_id: a}}", "upstreams.m365.username", "mailbox"),
            ("{api: graph, username: n@c.example, oauth: {client_id: a}, port: 25}", "upstreams.m365.port", "api: smtp"),
            ("{api: graph, username: n@c.example, oauth: {client_id: a}, password: x}", "upstreams.m365.password", "api: smtp"),
            ("{api: graph, username: n@c.example, oauth: {client_id: a}, url: 'http://a.b'}", "upstreams.m365.url", "https"),
            ("{api: graph, username: n@c.example, oauth: {client_id: a}, url: 'https://a.b/x'}", "upstreams.m365.url", "path"),
            ("{api: graph, provider: gmail, username: n@gmail.com, oauth: {client_id: a}}", "upstreams.m365.api", "Gmail"),
            ("{api: imap, host: a.b}", "upstreams.m365.api", "graph"),
            ("{host: a.b, url: 'https://graph.microsoft.com'}", "upstreams.m365.url", "api: graph"),
            ("{host: a.b, save_to_sent: true}", "upstreams.m365.save_to_sent", "api: graph"),
        ],
    )
    def test_a_mistake_has_its_place(self, tmp_path, lines, path, words):
        """Each says what was expected."""
        found = self.loaded(tmp_path, f"upstreams:\n  m365: {lines}\n").mistakes
        assert [str(one) for one in found if one.path == path and words in one.text], found
