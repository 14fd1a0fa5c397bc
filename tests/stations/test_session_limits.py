"""What devices may use: sessions, messages, octets, time, room; and how the listeners come and go."""

import asyncio
import base64
import contextlib
import gc
import random
import resource
import socket
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network

import pytest

from relay.inbound import connection, content_pace, session_slots
from relay.inbound.admission import ClientLimits, ListenAuth, ListenTls, Recipients
from relay.secret import Secret
from relay.spool.contract import SpoolBroken, SpoolFull
from relay.spool.entry import Action, Heard, Order
from relay.spool.sqlite.streaming import SqliteStreaming
from tests.support.device import Device, untrusting
from tests.support.inbound import HERE, receiving


async def gone(relay) -> None:
    """Waits until nobody is in."""
    async with asyncio.timeout(5):
        while relay.inbound._state.sessions:
            await asyncio.sleep(0.01)


async def test_sessions_are_limited_in_all_and_per_client(tmp_path, monkeypatch):
    """421 4.7.0 names the limit; a place that becomes free is given to the next."""
    limits = ClientLimits(connections=3, per_client=2)
    async with receiving(tmp_path, monkeypatch, limits=limits) as relay:
        first, _ = await relay.device(source="127.0.0.2"), await relay.device(source="127.0.0.2")
        third = await Device.connect(relay.address, source="127.0.0.2")
        assert "limits.per_client" in await third.reply()
        await third.close()
        await relay.device(source="127.0.0.3")
        fourth = await Device.connect(relay.address, source="127.0.0.4")
        assert (await fourth.reply()).startswith("421 4.7.0")
        await fourth.close()
        await first.dialog((b"QUIT\r\n", "221"))
        async with asyncio.timeout(5):
            while len(relay.inbound._state.sessions) > 2:
                await asyncio.sleep(0.01)
        await relay.device(source="127.0.0.2")


async def test_a_flood_of_messages_is_slowed_down(tmp_path, monkeypatch):
    """450 4.7.1 per client and minute; another client is served, and so is this one a minute later."""
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(messages_per_minute=3)) as relay:
        device = await relay.device()
        for _ in range(3):
            assert (await device.submit(b"x\r\n")).startswith("250")
        await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "450 4.7.1"))
        other = await relay.device(source="127.0.0.9")
        assert (await other.submit(b"x\r\n")).startswith("250")
        relay.clock.advance(seconds=61)
        assert (await device.submit(b"x\r\n")).startswith("250")


async def test_too_large_is_refused_by_what_is_said_and_by_what_arrives(tmp_path, monkeypatch):
    """552 5.3.4 at MAIL for a SIZE over the limit, else after the end of data; the session goes on."""
    async with receiving(tmp_path, monkeypatch, max_message=1000) as relay:
        device = await relay.device()
        await device.dialog((b"MAIL FROM:<a@b.c> SIZE=1001\r\n", "552 5.3.4"))
        assert (await device.submit(b"x" * 998 + b"\r\n")).startswith("250")
        assert (await device.submit(b"x" * 999 + b"\r\n")).startswith("552 5.3.4")
        assert (await device.submit(b"x" * 500_000 + b"\r\n")).startswith("552 5.3.4")
        assert (await device.submit(b"x\r\n")).startswith("250")
        assert [len(content) for content in await relay.contents()] == [1000, 3]


async def test_mail_in_a_circle_is_refused(tmp_path, monkeypatch):
    """554 5.4.6 for too many hops, or for our own name too often."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        assert (await device.submit(b"Received: from a by b\r\n" * 51 + b"\r\n")).startswith("554 5.4.6")
        assert (await device.submit(b"Received: from a\r\n by RELAY.test\r\n" * 4 + b"\r\n")).startswith("554 5.4.6")
        assert (await device.submit(b"Received: from a by relay.test\r\n" * 2 + b"\r\n")).startswith("250")


async def test_idle_clients_are_dismissed_and_dripping_does_not_help(tmp_path, monkeypatch):
    """One command has the whole time, an octet now and then does not renew it."""
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(idle=timedelta(seconds=0.4))) as relay:
        device = await relay.device()
        dripping = asyncio.create_task(device.say(b"NOOP" * 10, at_a_time=1, pause=0.05))
        assert (await device.reply(1.5)).startswith("421 4.4.2")
        dripping.cancel()
        assert await device.reply() == ""
        talking = await relay.device()
        for _ in range(4):
            await asyncio.sleep(0.2)
            await talking.dialog((b"NOOP\r\n", "250"))


ENVELOPE = ((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))


async def test_in_data_a_living_link_renews_the_time(tmp_path, monkeypatch):
    """A slow upload lives, much longer than one command may take; one that stops is dropped."""
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(idle=timedelta(seconds=0.4))) as relay:
        device = await relay.device()
        await device.dialog(*ENVELOPE)
        await device.say(b"123456789012\r\n" * 10 + b".\r\n", at_a_time=14, pause=0.15)
        assert (await device.reply()).startswith("250")
        await device.dialog(*ENVELOPE)
        await device.say(b"x\r\n")
        assert (await device.reply(2)).startswith("421 4.4.2")
        await gone(relay)
        assert len(await relay.entries()) == 1


async def test_in_data_an_octet_now_and_then_does_not_renew_the_time(tmp_path, monkeypatch):
    """A place is not held by dripping; what dripped so far is thrown away."""
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(idle=timedelta(seconds=0.5))) as relay:
        device = await relay.device()
        await device.dialog(*ENVELOPE)
        dripping = asyncio.create_task(device.say(b"x" * 100, at_a_time=1, pause=0.1))
        assert (await device.reply(2)).startswith("421 4.4.2")
        dripping.cancel()
        await gone(relay)
        assert await relay.entries() == []


async def test_a_slow_disk_is_not_the_slowness_of_the_device(tmp_path, monkeypatch):
    """While the spool takes its time the device owes nothing; and it may use all of its own time afterwards."""

    class Slow(SqliteStreaming):
        async def add(self, pieces, *, whole=False):
            await asyncio.sleep(0.8)
            await super().add(pieces, whole=whole)

    monkeypatch.setattr("relay.spool.sqlite.commit.SqliteStreaming", Slow)
    limits = ClientLimits(idle=timedelta(seconds=0.6))
    async with receiving(tmp_path, monkeypatch, limits=limits, max_message=5_000_000) as relay:
        device = await relay.device()
        await device.dialog(*ENVELOPE)
        await device.say((b"x" * 78 + b"\r\n") * 25_000)
        await asyncio.sleep(0.3)
        assert (await device.ask(b".\r\n")).startswith("250")


@pytest.mark.parametrize("holding", ["silence", "data", "noop", "handshake"])
async def test_strangers_cannot_hold_all_places(tmp_path, monkeypatch, holding):
    """Five addresses have all places, saying nothing, or little, or what leads nowhere: a NAS is served all the same."""
    monkeypatch.setattr(session_slots, "GIVES_WAY_AFTER", 0.3)
    monkeypatch.setattr(session_slots, "NOTHING_DONE", 0.3)
    limits = ClientLimits(connections=10, per_client=2)
    tls = ListenTls.IMPLICIT if holding == "handshake" else ListenTls.OFF
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=tls), HERE, limits=limits) as relay:

        async def hold(device: Device) -> None:
            with contextlib.suppress(ConnectionError, AssertionError):
                if holding != "handshake":
                    await device.reply()
                if holding == "data":
                    await device.dialog(*ENVELOPE)
                while holding in ("data", "noop"):
                    await device.say(b"x" if holding == "data" else b"NOOP\r\n")
                    await asyncio.sleep(0.05)

        strangers = [await Device.connect(relay.address, source=f"127.0.0.{number // 2 + 2}") for number in range(10)]
        held = [asyncio.create_task(hold(device)) for device in strangers]
        await asyncio.sleep(0.5)
        async with await Device.connect(relay.inbound.bound[1], source="127.0.0.99") as nas:
            assert (await nas.reply()).startswith("220")
            await nas.dialog((b"EHLO nas\r\n", "250"))
            assert (await nas.submit(b"Subject: x\r\n\r\nfrom the NAS\r\n")).startswith("250")
        for task in held:
            task.cancel()


async def test_in_a_network_of_ipv6_the_silent_give_way_to_one_another(tmp_path, monkeypatch):
    """One machine cannot shut out the others of its /64; an IPv4 address that has all of its places is told to wait."""
    monkeypatch.setattr(session_slots, "GIVES_WAY_AFTER", 0.2)
    monkeypatch.setattr(session_slots, "PATIENCE", 0.3)
    async with receiving(tmp_path, monkeypatch, replace(HERE, host="::1"), HERE, limits=ClientLimits(per_client=2)) as relay:
        for number, greeting in ((0, "220"), (1, "421 4.7.0")):
            for _ in range(2):
                silent = await Device.connect(relay.inbound.bound[number])
                assert (await silent.reply()).startswith("220")
            await asyncio.sleep(0.4)
            late = await Device.connect(relay.inbound.bound[number])
            assert (await late.reply()).startswith(greeting)


async def test_who_sends_in_earnest_keeps_its_place(tmp_path, monkeypatch):
    """All places are taken by uploads that come well: nobody is sent away for a newcomer, which is told to try again."""
    monkeypatch.setattr(session_slots, "GIVES_WAY_AFTER", 0.2)
    monkeypatch.setattr(session_slots, "NOTHING_DONE", 0.2)
    monkeypatch.setattr(session_slots, "PATIENCE", 0.3)
    monkeypatch.setattr(content_pace, "BRISK_FOR", 0.05)
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(connections=2)) as relay:
        busy = [await relay.device(source="127.0.0.2") for _ in range(2)]
        for device in busy:
            await device.dialog(*ENVELOPE)
        line = b"x" * 98 + b"\r\n"
        saying = asyncio.gather(*(device.say(line * 60, at_a_time=100, pause=0.02) for device in busy))
        await asyncio.sleep(0.4)
        newcomer = await Device.connect(relay.address, source="127.0.0.9")
        assert (await newcomer.reply()).startswith("421 4.7.0")
        await saying
        for device in busy:
            assert (await device.ask(b".\r\n")).startswith("250")


async def test_a_burst_of_one_device_is_served_in_turn(tmp_path, monkeypatch):
    """Forty connections at once with twenty places: all of the mail arrives; only who waits too long is told 421."""

    async def send(relay, number: int) -> str:
        async with await Device.connect(relay.address, source="127.0.0.7") as device:
            if not (greeting := await device.reply()).startswith("220"):
                return greeting
            await device.dialog((b"EHLO cam\r\n", "250"))
            await asyncio.sleep(0.1)
            return await device.submit(b"Subject: %d\r\n\r\n" % number)

    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(per_client=4)) as relay:
        replies = await asyncio.gather(*(send(relay, number) for number in range(40)))
        assert [reply[:3] for reply in replies] == ["250"] * 40
        assert len(await relay.entries()) == 40
        for _ in range(4):
            await relay.device(source="127.0.0.7")
        late = await Device.connect(relay.address, source="127.0.0.7")
        assert (await late.reply(5)).startswith("421 4.7.0")


async def test_who_waits_for_a_place_is_bounded_and_taken_by_who_has_fewest(tmp_path, monkeypatch):
    """The queue is no longer than there are places; a client that asks for less gets in before one that asks for more."""
    monkeypatch.setattr(session_slots, "PATIENCE", 2.0)
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(connections=3, per_client=3)) as relay:
        greedy = [await relay.device(source="127.0.0.2") for _ in range(3)]
        waiting = [await Device.connect(relay.address, source="127.0.0.2") for _ in range(3)]
        await asyncio.sleep(0.1)
        modest = await Device.connect(relay.address, source="127.0.0.3")
        assert (await waiting[-1].reply(1)).startswith("421 4.7.0")  # its turn in the queue went to the other one
        await greedy[0].dialog((b"QUIT\r\n", "221"))
        assert (await modest.reply(1)).startswith("220")
        await greedy[1].dialog((b"QUIT\r\n", "221"))
        assert (await waiting[0].reply(1)).startswith("220")


async def test_a_stop_reaches_who_waits_for_a_place(tmp_path, monkeypatch):
    """The stop does not wait for those in the queue."""
    monkeypatch.setattr(session_slots, "PATIENCE", 60)
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(connections=1)) as relay:
        await relay.device()
        waiting = await Device.connect(relay.address)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await relay.inbound.stop(grace=2)
        assert (await waiting.reply()).startswith("421 4.3.2")


async def test_a_device_gone_mad_does_not_take_the_room_of_the_others(tmp_path, monkeypatch):
    """452 at its share, before and within the content, told once; the NAS is served; mail that was relayed does not count."""
    told: list[str] = []
    room = {"left": 1_000_000}
    clock = {"now": 0.0}
    async with receiving(
        tmp_path, monkeypatch, limits=ClientLimits(share=40), alarm=lambda _text, cause: told.append(cause)
    ) as relay:
        monkeypatch.setattr(relay.spool, "room", lambda: room["left"])
        monkeypatch.setattr(relay.inbound._state.shares, "_clock", lambda: clock["now"])

        async def sent(source: str, octets: int) -> str:
            async with await relay.device(source=source) as device:
                reply = await device.submit(b"x" * (octets - 2) + b"\r\n")
            room["left"] -= octets if reply.startswith("250") else 0
            clock["now"] += 60
            return reply

        for _ in range(3):
            assert (await sent("127.0.0.2", 120_000)).startswith("250")
        assert (await sent("127.0.0.2", 120_000)).startswith("452 4.3.1 your mail that waits takes more than 40 %")
        mad = await relay.device(source="127.0.0.2")
        await mad.dialog((b"MAIL FROM:<a@b.c> SIZE=50000\r\n", "452 4.3.1"))
        assert (await sent("127.0.0.3", 300_000)).startswith("250")
        assert told == ["share of 127.0.0.2"]
        for line in await relay.spool.entries():
            await relay.spool.order(Order(Action.REMOVE, (line.entry.queue_id,)), relay.clock())
        room["left"] = 1_000_000
        clock["now"] += 60
        assert (await sent("127.0.0.2", 120_000)).startswith("250")


async def test_a_full_spool_is_said_before_and_after_the_content(tmp_path, monkeypatch):
    """452 4.3.1, and nothing is kept."""
    async with receiving(tmp_path, monkeypatch, keep_free=10**15) as relay:
        device = await relay.device()
        await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "452 4.3.1"))
        assert await relay.entries() == []


class TroubledSpool:
    """A spool whose medium fails in a chosen way, or not; it stands for the disk, not for our code."""

    def __init__(self, trouble: Exception | None) -> None:
        self.trouble = trouble

    def room(self) -> int:
        return 10**9

    async def kept_by_client(self) -> dict[str, int]:
        return {}

    async def heard(self, _since: datetime) -> list[Heard]:
        return []

    async def commit(self, entry, trail=()):
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("trouble", "expected", "event"),
    [
        (SpoolFull("disk full"), "452 4.3.1", "refused"),
        (SpoolBroken("read-only"), "452 4.3.0", "broken"),
        (RuntimeError("secret detail\r\n250 ok"), "451 4.3.0", "broken"),
    ],
)
async def test_trouble_inside_is_a_temporary_reply_without_details(tmp_path, monkeypatch, trouble, expected, event):
    """Never a 500 with the exception's text: a device would drop its mail for that."""
    async with receiving(tmp_path, monkeypatch, spool=TroubledSpool(trouble)) as relay:
        device = await relay.device()
        reply = await device.submit(b"x\r\n")
        assert reply.startswith(expected)
        assert "secret" not in reply
        assert len(relay.events(event)) >= 1
        assert (await device.submit(b"x\r\n")).startswith(expected)


async def test_a_trouble_is_told_once_however_long_it_lasts(tmp_path, monkeypatch):
    """A disk that is full for days, and a device gone mad for days, are told once; when they come back, again."""
    told: list[str] = []
    spool = TroubledSpool(SpoolFull("disk full"))
    alarm = {"alarm": lambda _text, cause: told.append(cause)}
    async with receiving(tmp_path, monkeypatch, spool=spool, limits=ClientLimits(messages_per_minute=1), **alarm) as relay:

        async def submitted(source: str) -> str:
            device = await relay.device(source=source)
            reply = await device.submit(b"x\r\n")
            await device.close()
            return reply

        for _ in range(4):
            assert (await submitted("127.0.0.2")).startswith("452 4.3.1")
            relay.clock.advance(hours=25)
        assert told == ["spool full"]
        spool.trouble = SpoolBroken("read-only")
        assert (await submitted("127.0.0.2")).startswith("452 4.3.0")
        assert told == ["spool full", "spool broken"]
        spool.trouble = None
        assert (await submitted("127.0.0.2")).startswith("250")
        spool.trouble = SpoolFull("disk full")
        assert (await submitted("127.0.0.3")).startswith("452 4.3.1")
        assert told == ["spool full", "spool broken", "spool full"]
        spool.trouble, told[:] = None, []
        for _ in range(4):
            relay.clock.advance(hours=23)
            device = await relay.device(source="127.0.0.4")
            assert (await device.submit(b"x\r\n")).startswith("250")
            await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "450 4.7.1"))
        assert told == ["flood from 127.0.0.4"]
        relay.clock.advance(hours=25)
        assert (await submitted("127.0.0.4")).startswith("250")
        device = await relay.device(source="127.0.0.4")
        await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "450 4.7.1"))
        assert told == ["flood from 127.0.0.4"] * 2


async def test_fifty_devices_at_once(tmp_path, monkeypatch):
    """Each sends four messages; all are in the spool, each once."""

    async def send(relay, number: int) -> None:
        async with await relay.device() as device:
            for count in range(4):
                assert (await device.submit(b"Subject: %d-%d\r\n\r\nx\r\n" % (number, count))).startswith("250")

    async with receiving(tmp_path, monkeypatch) as relay:
        await asyncio.gather(*(send(relay, number) for number in range(50)))
        contents = await relay.contents()
        assert len(contents) == len(set(contents)) == 200


async def test_a_thousand_messages_in_one_session(tmp_path, monkeypatch):
    """A pool that never says QUIT is served to the end."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        envelope = b"MAIL FROM:<a@b.c>\r\nRCPT TO:<me@example.jp>\r\nDATA\r\n"
        for number in range(1000):
            await device.say(envelope)
            assert [(await device.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
            assert (await device.ask(b"%d\r\n.\r\n" % number)).startswith("250")
        assert (await relay.spool.tally()).unfinished == 1000


async def test_a_large_message_costs_little_memory(tmp_path, monkeypatch):
    """50 MB pass with a few MB more than before, octet for octet."""
    block = b"0123456789abcdef" * 4 + b"\r\n"
    count = 50_000_000 // len(block)
    async with receiving(tmp_path, monkeypatch, max_message=60_000_000) as relay:
        device = await relay.device()
        await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        many = block * 1000
        for _ in range(count // 1000):
            await device.say(many)
        assert (await device.ask(b".\r\n", 60)).startswith("250")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB
        [line] = await relay.spool.entries()
        assert line.entry.size == count // 1000 * 1000 * len(block)
        stored = await relay.spool.entry(line.entry.queue_id)
        assert sum(len(piece) for piece in stored.entry.content) == line.entry.size
    assert [file.name for file in (tmp_path / "state").iterdir()] == []


async def test_stop_dismisses_the_idle_and_lets_data_in_hand_end(tmp_path, monkeypatch):
    """421 to who waits; the message that is coming in is still answered 250; new ones find the door closed."""
    async with receiving(tmp_path, monkeypatch) as relay:
        idle, busy = await relay.device(), await relay.device()
        await busy.dialog((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))
        stopping = asyncio.create_task(relay.inbound.stop(grace=5.0))
        assert (await idle.reply()).startswith("421 4.3.2")
        with pytest.raises(ConnectionError):
            await Device.connect(relay.address)
        await busy.dialog((b"x\r\n.\r\n", "250"))
        assert (await busy.reply()).startswith("421")
        await asyncio.wait_for(stopping, 5)
        assert await relay.contents() == [b"x\r\n"]


async def test_stop_does_not_wait_longer_than_its_grace(tmp_path, monkeypatch):
    """A device that stopped in the middle of its message is aborted."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))
        await asyncio.wait_for(relay.inbound.stop(grace=0.2), 3)
        assert not relay.inbound._state.sessions


async def test_a_reload_reaches_new_sessions(tmp_path, monkeypatch):
    """Limits, recipients, networks and our name change at once; so does TLS, on the same socket."""
    async with receiving(tmp_path, monkeypatch) as relay:
        listener = replace(HERE, networks=(ip_network("127.0.0.8/32"),))
        left = await relay.reload(listener, hostname="new.test", recipients=Recipients("example.jp"), max_message=99)
        assert left == []
        outside = await Device.connect(relay.address)
        assert (await outside.reply()).startswith("554 5.7.1")
        device = await Device.connect(relay.address, source="127.0.0.8")
        assert await device.reply() == "220 new.test ESMTP"
        await device.dialog((b"MAIL FROM:<a@b.c> SIZE=100\r\n", "552"), (b"MAIL FROM:<a@b.c>\r\n", "250"))
        await device.dialog((b"RCPT TO:<root>\r\n", "250"))
        assert await relay.reload(replace(HERE, tls=ListenTls.STARTTLS)) == []
        later = await relay.device(b"")
        assert "STARTTLS" in await later.ask(b"EHLO x\r\n")


async def test_a_reload_ends_sessions_that_would_not_be_let_in_any_more(tmp_path, monkeypatch):
    """Idle or in the middle of a message; a promise that is being made is kept first; the others stay."""
    committing, go_on = asyncio.Event(), asyncio.Event()
    async with receiving(tmp_path, monkeypatch) as relay:
        commit = relay.spool.commit

        async def slowly(entry, trail=()):
            committing.set()
            await go_on.wait()
            await commit(entry, trail)

        monkeypatch.setattr(relay.spool, "commit", slowly)
        idle, busy, promised = [await relay.device(source="127.0.0.7") for _ in range(3)]
        other = await relay.device(source="127.0.0.8")
        for device in (busy, promised):
            await device.dialog(*ENVELOPE)
        await busy.say(b"half of it\r\n")
        await promised.say(b"x\r\n.\r\n")
        await committing.wait()
        await relay.reload(replace(HERE, networks=(ip_network("127.0.0.8/32"),)))
        assert (await idle.reply()).startswith("421 4.7.1")
        assert (await busy.reply()).startswith("421 4.7.1")
        go_on.set()
        assert (await promised.reply()).startswith("250")
        assert (await promised.reply()).startswith("421 4.7.1")
        assert (await other.submit(b"y\r\n")).startswith("250")
        assert await relay.contents() == [b"x\r\n", b"y\r\n"]


async def test_a_reload_ends_sessions_whose_login_counts_no_more(tmp_path, monkeypatch):
    """A password that was changed, a user who is gone, a login that is asked for now."""
    users = {"nas": Secret("one"), "cam": Secret("two")}
    required = replace(HERE, auth=ListenAuth.REQUIRED, users=users)
    async with receiving(tmp_path, monkeypatch, required, replace(HERE, host="127.0.0.2")) as relay:
        devices = {}
        for name, password in (("nas", b"one"), ("cam", b"two")):
            devices[name] = await relay.device()
            line = b"AUTH PLAIN " + base64.b64encode(b"\0" + name.encode() + b"\0" + password) + b"\r\n"
            await devices[name].dialog((line, "235"))
        free = await Device.connect(relay.inbound.bound[1])
        await free.reply()
        changed = {"nas": Secret("new"), "cam": Secret("two")}
        await relay.reload(replace(required, users=changed), replace(required, host="127.0.0.2"))
        assert (await devices["nas"].reply()).startswith("421 4.7.0 your login")
        assert (await free.reply()).startswith("421 4.7.0 a login")
        assert (await devices["cam"].submit(b"x\r\n")).startswith("250")


async def test_a_port_in_use_is_named_with_the_cure(tmp_path, monkeypatch):
    """The start fails as a whole, and nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: port {port} is in use"):
            async with receiving(tmp_path, monkeypatch, HERE, replace(HERE, port=port)):
                pass


async def test_dual_stack_sees_ipv4_clients_as_ipv4(tmp_path, monkeypatch):
    """`[::]` takes both families; ::ffff:127.0.0.1 is 127.0.0.1."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no dual-stack IPv6")
    async with receiving(tmp_path, monkeypatch, replace(HERE, host="::")) as relay:
        device = await Device.connect(("127.0.0.1", relay.address[1]))
        assert (await device.reply()).startswith("220")
        await device.submit(b"x\r\n")
        [entry] = await relay.entries()
        assert (entry.origin.client, entry.origin.listener) == ("127.0.0.1", "[::]:0")


async def test_a_client_that_reads_nothing_is_dropped(tmp_path, monkeypatch):
    """Commands without end and no reply read: memory stays bounded, the session ends by its time limit."""
    monkeypatch.setattr(connection, "_FLUSH", 0.1)
    async with receiving(tmp_path, monkeypatch, limits=ClientLimits(idle=timedelta(seconds=0.5))) as relay:
        device = await relay.device()
        with pytest.raises((ConnectionError, TimeoutError)):
            async with asyncio.timeout(20):
                while True:
                    await device.say(b"HELP\r\n" * 10_000)
        await gone(relay)


async def test_port_checks_leave_no_trace(tmp_path, monkeypatch):
    """Connect and hang up, politely or not: no event, nothing left open."""
    async with receiving(tmp_path, monkeypatch) as relay:
        for _ in range(5):
            (await Device.connect(relay.address)).reset()
        await (await Device.connect(relay.address)).close()
        await gone(relay)
        assert relay.noted == []


SCRAPS = [
    *(b"EHLO x", b"MAIL FROM:<a@b.c>", b"RCPT TO:<me@example.jp>", b"DATA", b"RSET", b"AUTH LOGIN", b"AUTH PLAIN", b"QUIT"),
    *(b"STARTTLS\r\n", b"\r\n", b"\n", b"\r", b".", b"\r\n.\r\n", b"\0", b"\xff\xfb", b"<", b">", b":", b" ", b"x" * 70_000),
]


async def test_garbage_from_many_devices_breaks_nothing(tmp_path, monkeypatch):
    """Scraps of SMTP in any order, half-closes and resets: no surprise inside, nobody left, the next device is served."""
    dice = random.Random(7)

    async def babble(relay) -> None:
        device = await Device.connect(relay.address)
        with contextlib.suppress(OSError):
            for _ in range(dice.randint(1, 20)):
                await device.say(
                    b"".join(dice.choices(SCRAPS, k=dice.randint(1, 6))) + dice.choice([b"\r\n", b"\n", b"", b"\r"])
                )
            if dice.random() < 0.5:
                device.half_close()
        if dice.random() < 0.3:
            device.reset()
        await device.close()

    limits = ClientLimits(idle=timedelta(seconds=1), per_client=100)
    async with receiving(tmp_path, monkeypatch, limits=limits) as relay:
        for _ in range(4):
            await asyncio.gather(*(babble(relay) for _ in range(25)))
        await gone(relay)
        assert relay.events("broken") == []
        device = await relay.device()
        assert (await device.submit(b"x\r\n")).startswith("250")


async def test_octets_without_a_line_end_cost_no_memory(tmp_path, monkeypatch):
    """40 MB in one command line, then 40 MB in one content line: thrown away as they come, answered truly."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(40):
            await device.say(b"x" * 1_000_000)
        await device.dialog((b"\r\n", "500 5.5.6"), (b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"))
        await device.dialog((b"DATA\r\n", "354"))
        for _ in range(40):
            await device.say(b"x" * 1_000_000)
        await device.dialog((b"\r\n.\r\n", "552 5.3.4"))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


async def test_a_client_that_is_gone_leaves_no_timer(tmp_path, monkeypatch):
    """Who hangs up with commands still unread is done with when they are read; nothing of it waits for `idle` to pass."""
    async with receiving(tmp_path, monkeypatch, replace(HERE, tls=ListenTls.IMPLICIT)) as relay:
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*relay.address, ssl=untrusting())
            assert (await reader.readline()).startswith(b"220")
            [session] = relay.inbound._state.sessions
            writer.write(b"EHLO nas\r\n" + b"NOOP\r\n" * 500)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            await gone(relay)
            assert session._timeout_handle is None
