"""From a refusal to the person who reads of it: the whole relay, scripted upstreams, a push service.

device ──> relay ──> upstream says no ──> notice ──> another upstream that works ──> me@home.example
"""

import email
import email.policy
import json
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.device import Device
from tests.support.inprocess import ended, relay_at_home, send
from tests.support.peers import free_port
from tests.support.push import Push
from tests.support.upstream import Message, ScriptedUpstream

LETTER = b"From: nas@lan.local\r\nTo: x@far.example\r\nSubject: nightly backup\r\n\r\n3 files failed\r\n"
ME = "me@home.example"


@pytest.fixture
def push() -> Iterator[Push]:
    service = Push()
    yield service
    service.close()


def at(port: int, **more: Any) -> dict[str, Any]:
    plain = {"host": "127.0.0.1", "port": port, "tls": "none", "auth": "none", "sender": "relay@isp.example", "timeout": "5s"}
    return {**plain, **more}


def nobody_named_gone(path: str) -> str | None:
    return "550 5.1.1 The email account that you tried to reach does not exist." if path.startswith("gone") else None


def read(message: Message) -> EmailMessage:
    parsed = email.message_from_bytes(message.content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def unwrapped(part: Any) -> str:
    return " ".join(part.get_content().split())


async def the_report(upstream: ScriptedUpstream) -> Message:
    """The first DSN among what arrives there."""
    for number in range(1, 5):
        for one in await upstream.arrived(number):
            if b"multipart/report" in one.content:
                return one
    raise AssertionError("no report arrived")


async def test_a_notice_goes_by_an_upstream_that_works(tmp_path: Path) -> None:
    """The rule for the person's own mail leads to a dead upstream; the notice finds the one that works."""
    async with ScriptedUpstream(script={"RCPT": nobody_named_gone}) as good:
        settings = {
            "upstreams": {"dead": at(free_port()), "good": at(good.port)},
            "routes": [{"to": "*@far.example", "via": ["good"]}, {"via": ["dead"]}],
            "notices": {"to": ME},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            queue_id = await send(relay, "nas@lan.local", "gone@far.example", LETTER)
            await ended(relay, queue_id, "failed")
            notice = await the_report(good)  # the alarm about the dead upstream may arrive before it
            story = await ended(relay, queue_id, "failed")
    assert notice.forward_paths == [ME]
    assert notice.reverse_path == ""
    parsed = read(notice)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed["Auto-Submitted"]
    words, report, original = parsed.iter_parts()
    assert "does not exist" in unwrapped(words)
    assert b"550 5.1.1 The email account that you tried to reach does not exist." in b" ".join(report.as_bytes().split())
    assert b"nightly backup" in original.as_bytes() and b"3 files failed" not in original.as_bytes()
    assert [line["event"] for line in story["trail"]][-2:] == ["failed", "noticed"]


async def test_the_sender_is_told_if_that_is_a_real_address(tmp_path: Path) -> None:
    """A person who wrote hears of it himself; the one in charge does not."""
    async with ScriptedUpstream(script={"RCPT": nobody_named_gone}) as isp:
        settings = {"upstreams": {"isp": at(isp.port)}, "notices": {"to": ME}}
        async with relay_at_home(tmp_path, settings) as relay:
            await send(relay, "taro@isp.example", "gone@far.example", LETTER)
            (notice,) = await isp.arrived(1)
    assert notice.forward_paths == ["taro@isp.example"]


async def test_nobody_is_told_of_a_bounce_or_of_a_notice(tmp_path: Path) -> None:
    """A refused message from `<>` and a refused notice end there: no answer, and none to the answer."""
    async with ScriptedUpstream(script={"RCPT": lambda path: "550 5.1.1 no such user"}) as isp:
        settings = {"upstreams": {"isp": at(isp.port, rewrite="never")}, "notices": {"to": ME}}
        async with relay_at_home(tmp_path, settings) as relay:
            await ended(relay, await send(relay, "", "x@far.example", LETTER), "failed")
            await ended(relay, await send(relay, "nas@lan.local", "y@far.example", LETTER), "failed")
            while not (notices := [one for one in (await relay.desk.queue(None))["messages"] if one["notice"]]):
                pass
            await ended(relay, notices[0]["id"], "failed")
            known = (await relay.desk.queue(None))["messages"]
    assert [one["sender"] for one in known] == ["<>", "nas@lan.local", "<>"]
    assert [transaction.refused for transaction in isp.transactions] == [["x@far.example"], ["y@far.example"], [ME]]


async def test_a_refused_login_reaches_the_person_by_mail_and_by_push(tmp_path: Path, push: Push) -> None:
    """535: the mail goes by the next upstream, and so does the alarm; the webhook hears it too, with the cure."""
    async with ScriptedUpstream(users={"taro": "right"}) as locked, ScriptedUpstream() as good:
        settings = {
            "upstreams": {
                "locked": at(locked.port, auth="plain", username="taro", password="wrong"),
                "good": at(good.port),
            },
            "routes": [{"via": ["locked", "good"]}],
            "notices": {"to": ME, "webhook": push.url},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            queue_id = await send(relay, "taro@isp.example", "x@far.example", LETTER)
            await ended(relay, queue_id, "relayed")
            mails = {message.forward_paths[0]: message for message in await good.arrived(2)}
            async with good.changed:
                await good.changed.wait_for(lambda: push.posts)
    assert set(mails) == {"x@far.example", ME}
    alarm = unwrapped(read(mails[ME]))
    assert "535 5.7.8 bad user name or password" in alarm
    assert "To do: correct `username`" in alarm
    assert [post["event"] for post in push.posts] == ["alarm"]
    assert "locked" in push.posts[0]["message"] and "535" in push.posts[0]["text"]
    assert [right for _, _, right in locked.auths] == [False], "one try, so that no account is locked"


async def test_a_failed_message_is_kept_and_released_by_another_way(tmp_path: Path) -> None:
    """What one upstream refused for good goes out whole when a person says by which other."""
    async with ScriptedUpstream(script={"RCPT": nobody_named_gone}) as strict, ScriptedUpstream() as kind:
        settings = {"upstreams": {"strict": at(strict.port), "kind": at(kind.port)}, "routes": [{"via": ["strict"]}]}
        async with relay_at_home(tmp_path, settings) as relay:
            queue_id = await send(relay, "taro@isp.example", "gone@far.example", LETTER)
            await ended(relay, queue_id, "failed")
            await relay.desk.order("release", [queue_id], "kind")
            story = await ended(relay, queue_id, "relayed")
    assert [recipient["upstream"] for recipient in story["recipients"]] == ["kind"]
    assert next(message for message in kind.messages if message.forward_paths == ["gone@far.example"]).content.endswith(
        b"3 files failed\r\n"
    )


async def test_one_message_for_thirty_ends_in_three_transactions_and_one_notice(tmp_path: Path) -> None:
    """Three upstreams, one refused recipient: 29 relayed, one failed, one notice; nobody is sent to twice."""
    async with ScriptedUpstream(script={"RCPT": nobody_named_gone}) as a, ScriptedUpstream() as b, ScriptedUpstream() as c:
        settings = {
            "upstreams": {"a": at(a.port), "b": at(b.port), "c": at(c.port)},
            "routes": [{"to": f"*@{name}.example", "via": [name]} for name in "abc"] + [{"via": ["c"]}],
            "notices": {"to": ME},
        }
        paths = [f"{'gone' if number == 3 else 'r'}{number}@{'abc'[number % 3]}.example" for number in range(30)]
        async with relay_at_home(tmp_path, settings) as relay:
            async with await Device.connect(relay.inbound.bound[0]) as device:
                await device.reply()
                await device.dialog((b"EHLO nas\r\n", "250"), (b"MAIL FROM:<nas@lan.local>\r\n", "250"))
                await device.dialog(*((f"RCPT TO:<{path}>\r\n".encode(), "250") for path in paths))
                await device.dialog((b"DATA\r\n", "354"))
                queue_id = (await device.ask(LETTER + b".\r\n")).split()[-1]
            story = await ended(relay, queue_id, "relayed", "failed")
            await c.arrived(2)
            known = (await relay.desk.queue(None))["messages"]
    assert sorted(recipient["address"] for recipient in story["recipients"]) == sorted(paths)
    assert [one["address"] for one in story["recipients"] if one["state"] == "failed"] == ["gone3@a.example"]
    assert (len(a.transactions), len(b.transactions), len(c.transactions)) == (1, 1, 2), "the fourth is the notice"
    assert sorted(path for host in (a, b, c) for message in host.messages for path in message.forward_paths) == sorted(
        [*(path for path in paths if path != "gone3@a.example"), ME]
    )
    assert len(known) == 2


async def test_a_reload_sends_what_waits_by_the_new_routes_and_a_mistake_changes_nothing(tmp_path: Path) -> None:
    """Mail waits at a dead upstream.  A file with a mistake leaves all as it is; a right one sends the mail."""
    async with ScriptedUpstream() as good:
        settings = {"upstreams": {"dead": at(free_port()), "good": at(good.port)}, "routes": [{"via": ["dead"]}]}
        settings["retry"] = {"delays": ["1h"], "rest": ["1h"]}
        async with relay_at_home(tmp_path, settings) as relay:
            queue_id = await send(relay, "taro@isp.example", "x@far.example", LETTER)
            story = await ended(relay, queue_id, "queued")
            file = tmp_path / "config.yaml"
            whole = json.loads(file.read_text())
            file.write_text(json.dumps({**whole, "routes": [{"via": ["godo"]}]}))
            relay.reload()
            assert (await send(relay, "taro@isp.example", "y@far.example", LETTER)) != queue_id, "it still serves"
            assert good.messages == []
            file.write_text(json.dumps({**whole, "routes": [{"via": ["good"]}]}))
            relay.reload()
            story = await ended(relay, queue_id, "relayed")
            await good.arrived(2)
    assert [recipient["upstream"] for recipient in story["recipients"]] == ["good"]
