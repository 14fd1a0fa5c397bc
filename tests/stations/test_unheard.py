"""A failure notice that itself fails: the person in charge hears of it, or it is kept in view until somebody has looked."""

import asyncio
import json
import smtplib
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.peers import free_port
from tests.support.running import RelayProcess, running
from tests.support.upstream import ScriptedUpstream

NO = "550 5.1.1 no such user"


def nobody_but(known: str) -> Callable[[str], str | None]:
    return lambda argument: None if known and known in argument else NO


@asynccontextmanager
async def relaying(tmp_path: Path, known: str, **more: Any) -> AsyncIterator[tuple[RelayProcess, ScriptedUpstream]]:
    """A relay whose one upstream knows one mailbox only ("" : none at all)."""
    async with ScriptedUpstream(script={"RCPT": nobody_but(known)}) as isp:
        upstreams = {"isp": {"host": "127.0.0.1", "port": isp.port, "tls": "none", "rewrite": "never"}}
        starting = running(tmp_path, {"upstreams": upstreams, "routes": [{"via": ["isp"]}], **more})
        relay = await asyncio.to_thread(starting.__enter__)
        try:
            yield relay, isp
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


def send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        device.sendmail("taro@example.jp", ["gone@example.jp"], "Subject: backup\r\n\r\nhello\r\n")


def asked(relay: RelayProcess, *words: str) -> Any:
    done = relay.command("queue", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shown(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own page
        return str(answer.read().decode())


async def test_a_notice_that_is_refused_goes_to_the_person_in_charge(tmp_path: Path) -> None:
    """The sender's mailbox does not exist either: `notices.to` gets a notice about the notice, and nothing needs attention."""
    async with relaying(tmp_path, "boss@example.jp", notices={"to": "boss@example.jp", "digest": "1s"}) as (relay, isp):
        await asyncio.to_thread(send, relay.port)
        [mail] = await isp.arrived(1, timeout=30)
        assert mail.forward_paths == ["boss@example.jp"] and mail.reverse_path == ""
        assert b"taro@example.jp" in mail.content and b"no such user" in mail.content
        failed = await asyncio.to_thread(relay.wait_for, "failed", 2)
        lost, notice = (line["queue_id"] for line in failed)
        assert lost.encode() in mail.content, "which message the failed notice was about"
        assert await asyncio.to_thread(asked, relay, "list", "--attention") == {"messages": []}
        trail = (await asyncio.to_thread(relay.show, notice))["trail"]
        assert [line["to"] for line in trail if line["event"] == "noticed"] == ["boss@example.jp"]


async def test_a_notice_that_expires_goes_to_the_person_in_charge(tmp_path: Path) -> None:
    """The sender's server puts the notice off until its time is over."""
    retry = {"delays": ["1s"], "rest": ["1s"], "warn_after": "1s", "give_up_after": "2s"}
    more = {"notices": {"to": "boss@example.jp", "digest": "1s"}, "retry": retry}
    async with relaying(tmp_path, "boss@example.jp", **more) as (relay, isp):
        isp.script["RCPT"] = {"gone@example.jp": NO, "taro@example.jp": "450 4.2.0 greylisted"}.get
        await asyncio.to_thread(send, relay.port)
        [mail] = await isp.arrived(1, timeout=30)
        assert mail.forward_paths == ["boss@example.jp"] and b"greylisted" in mail.content
        [expired] = await asyncio.to_thread(relay.wait_for, "expired")
        trail = (await asyncio.to_thread(relay.show, expired["queue_id"]))["trail"]
        assert [line["to"] for line in trail if line["event"] == "noticed"] == ["boss@example.jp"]
        assert await asyncio.to_thread(asked, relay, "list", "--attention") == {"messages": []}


async def test_without_a_person_in_charge_it_is_kept_in_view_until_somebody_has_looked(tmp_path: Path) -> None:
    """Log, list and page show it, also after a restart and beyond the history; an acknowledgement ends that."""
    page = f"127.0.0.1:{free_port()}"
    async with relaying(tmp_path, "", web={"address": page}) as (relay, _):
        await asyncio.to_thread(send, relay.port)
        await asyncio.to_thread(relay.wait_for, "failed", 2)
        [warned] = [line for line in relay.events("warned") if "nobody else can be told" in line.get("text", "")]
        notice = warned["queue_id"]
        await asyncio.to_thread(relay.stop)
        await asyncio.to_thread(relay.start)
        [one] = (await asyncio.to_thread(asked, relay, "list", "--attention"))["messages"]
        assert (one["id"], one["attention"], one["notice"]) == (notice, True, True)
        assert "NEEDS ATTENTION" in (await asyncio.to_thread(relay.command, "queue", "show", notice)).stdout
        assert [line["attention"] for line in await asyncio.to_thread(relay.wait_for, "warned", 2) if "attention" in line] == [
            1
        ]
        assert "Nobody could be told of this failure." in await asyncio.to_thread(shown, f"http://{page}/messages/{notice}")
        assert notice in await asyncio.to_thread(shown, f"http://{page}/messages?state=attention")
        assert "1 failure needs attention" in await asyncio.to_thread(shown, f"http://{page}/")
        assert (await asyncio.to_thread(asked, relay, "acknowledge", notice))["applied"] == 1
        assert "needs attention" not in (await asyncio.to_thread(shown, f"http://{page}/messages")).lower()
        assert (await asyncio.to_thread(asked, relay, "acknowledge", "--all"))["applied"] == 0
        assert await asyncio.to_thread(asked, relay, "list", "--attention") == {"messages": []}
        [line] = [each for each in (await asyncio.to_thread(relay.show, notice))["trail"] if each["event"] == "acknowledged"]
        assert line["text"] == "a person has seen this failure"
        [event] = relay.events("acknowledged")
        assert event["queue_id"] == notice


async def test_each_message_that_a_person_holds_is_an_event_of_its_own(tmp_path: Path) -> None:
    """`held` names one message, by its queue id, whether it was named or all were meant."""
    async with relaying(tmp_path, "") as (relay, isp):
        isp.script["RCPT"] = lambda _: "450 4.2.0 greylisted"
        for _ in range(3):
            await asyncio.to_thread(send, relay.port)
        deferred = await asyncio.to_thread(relay.wait_for, "deferred", 3)
        ids = sorted({line["queue_id"] for line in deferred})
        assert (await asyncio.to_thread(relay.command, "queue", "hold", "--all")).returncode == 0
        held = await asyncio.to_thread(relay.wait_for, "held", 3)
        assert sorted(line["queue_id"] for line in held) == ids
