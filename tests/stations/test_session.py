"""Devices talk to the receiving half over real sockets; what they meant is in the spool before they hear 250."""

import asyncio
import contextlib
import re
from dataclasses import replace
from ipaddress import ip_network

import pytest

from relay.inbound import connection, data_reader
from relay.inbound.admission import ClientLimits, Recipients
from relay.mail.address import Address
from relay.mail.reply import Reply
from tests.support.device import Device
from tests.support.inbound import HERE, names, receiving

MAIL = b"Subject: disk\r\nMessage-ID: <1@nas>\r\n\r\nfine\r\n"


@pytest.fixture
async def relay(tmp_path, monkeypatch):
    async with receiving(tmp_path, monkeypatch) as running:
        yield running


async def test_a_message_is_in_the_spool_when_the_device_hears_250(relay):
    """Envelope, origin, octets and digest are kept as they came, and the trail begins."""
    device = await relay.device()
    reply = await device.submit(MAIL)
    assert reply == "250 2.0.0 queued as test0000000001"
    [entry] = await relay.entries()
    assert b"".join(entry.content) == MAIL
    assert entry.size == len(MAIL)
    assert entry.message_id == "<1@nas>"
    assert entry.envelope.reverse_path == Address("nas", "nas.local")
    assert (entry.origin.client, entry.origin.helo, entry.origin.protocol) == ("127.0.0.1", "nas", "ESMTP")
    stored = await relay.spool.entry("test0000000001")
    assert [line.event for line in stored.trail] == ["accepted"]
    assert len(relay.events("accepted")) == 1
    await device.dialog((b"QUIT\r\n", "221"))


async def test_the_banner_is_one_line_and_offers_are_few(relay):
    """Devices parse badly: one line of banner, one keyword a line."""
    device = await Device.connect(relay.address)
    assert await device.reply() == "220 relay.test ESMTP"
    offered = (await device.ask(b"ehlo x\r\n")).split("\n")
    assert offered == [
        "250-relay.test",
        "250-SIZE 1000000",
        "250-8BITMIME",
        "250-ENHANCEDSTATUSCODES",
        "250-PIPELINING",
        "250-SMTPUTF8",
        "250 AUTH LOGIN PLAIN",
    ]


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        (b"MAIL FROM: <a@b.c>", Address("a", "b.c")),
        (b"mail from:a@b.c size=36", Address("a", "b.c")),
        (b"MAIL FROM:<a@b.c> AUTH=<> RET=HDRS XFOO=1", Address("a", "b.c")),
        (b"MAIL a@b.c", Address("a", "b.c")),
        (b'MAIL FROM:"My NAS" <a@b.c>', Address("a", "b.c")),
        (b"MAIL\tFROM:<<a@b.c>>;", Address("a", "b.c")),
        (b"MAIL FROM:<@x,@y:a@b.c>", Address("a", "b.c")),
        (b"MAIL FROM:<nas@>", Address("nas")),
        (b"MAIL FROM:root", Address("root")),
        (b"MAIL FROM: < >", None),
        (b"MAIL FROM:<>", None),
    ],
)
async def test_senders_are_understood_as_they_were_meant(relay, mail, expected):
    """Whatever stands around the address, the address is found; `<>` stays the null reverse-path."""
    device = await relay.device()
    await device.dialog(
        (mail + b"\r\n", "250 "), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"), (b"x\r\n.\r\n", "250")
    )
    [entry] = await relay.entries()
    assert entry.envelope.reverse_path == expected


async def test_commands_without_what_they_need_are_refused(relay):
    """MAIL without a path, and what follows a MAIL that was not taken."""
    device = await relay.device()
    await device.dialog((b"MAIL\r\n", "501 5.5.4"), (b"RCPT TO:<a@b.c>\r\n", "503 5.5.1"), (b"DATA\r\n", "503 5.5.1"))


async def test_recipients_are_completed_and_expanded(tmp_path, monkeypatch):
    """Aliases in any case, bare names, doubles; an empty one is refused and the others go on."""
    me = Address("me", "example.jp")
    recipients = Recipients("example.jp", {"Root": (me,), "*@nas.local": (me, Address("you", "example.jp"))})
    async with receiving(tmp_path, monkeypatch, recipients=recipients) as relay:
        device = await relay.device()
        await device.dialog(
            (b"MAIL FROM:<nas@nas.local>\r\n", "250"),
            (b"RCPT TO:<ROOT>\r\n", "250"),
            (b"RCPT TO:<x@NAS.local>\r\n", "250"),
            (b"RCPT TO:<>\r\n", "501 5.1.3"),
            (b"RCPT TO:<me@EXAMPLE.jp>\r\n", "250"),
            (b"RCPT TO:<a@b.example, bob>\r\n", "250"),
            (b"DATA\r\n", "354"),
            (b"x\r\n.\r\n", "250"),
        )
        assert names(await relay.entries()) == [["me@example.jp", "you@example.jp", "a@b.example", "bob@example.jp"]]


async def test_replies_are_ascii(tmp_path, monkeypatch):
    """What a reply quotes of 8-bit or control octets is question marks: many a device reads replies as ASCII."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        await device.ask(b"MAIL FROM:<a@b.example>\r\n")
        reply = await device.ask(b"RCPT TO:<(\xe3\x81\x82\x80nas@nas.local>\r\n")
        assert reply.startswith("501 5.1.3 ")
        assert re.fullmatch(r"[ -~]+", reply)


async def test_refusals_of_recipients_name_the_cure(tmp_path, monkeypatch):
    """Bare names without a default domain, 8-bit letters without SMTPUTF8, and what the routes refuse."""

    def may_route(sender, recipient, origin):
        assert origin.client == "127.0.0.1"
        return Reply(550, "5.7.1", "not from here") if recipient.domain == "spam.example" else None

    async with receiving(tmp_path, monkeypatch, may_route=may_route, limits=ClientLimits(recipients=2)) as relay:
        device = await relay.device()
        await device.dialog(
            (b"MAIL FROM:<nas@nas.local>\r\n", "250"),
            (b"RCPT TO:<root>\r\n", "550 5.1.1 .*recipients.default_domain"),
            (b"RCPT TO:<a@spam.example>\r\n", "550 5.7.1 not from here"),
            (b"RCPT TO:<b\xc3\xbccher@example.jp>\r\n", "553 5.6.7"),
            (b"RCPT TO:<b\xfccher@example.jp>\r\n", "553 5.6.7"),
            (b"RCPT TO:<1@example.jp>\r\n", "250"),
            (b"RCPT TO:<2@example.jp>\r\n", "250"),
            (b"RCPT TO:<2@example.jp>\r\n", "250"),
            (b"RCPT TO:<3@example.jp>\r\n", "452 4.5.3"),
            (b"RSET\r\n", "250"),
            (b"MAIL FROM:<nas@nas.local> SMTPUTF8\r\n", "250"),
            (b"RCPT TO:<b\xc3\xbccher@example.jp>\r\n", "250"),
        )
        assert await relay.entries() == []


async def test_a_crlf_client_ends_by_crlf_dot_crlf_only(relay):
    """curl, LuaSocket and uMail send an unstuffed LF.LF inside; what looks like commands after it is content."""
    device = await relay.device()
    content = b"Subject: t\n\nline1\n.\nMAIL FROM:<evil@x.y>\nRCPT TO:<evil@x.y>\nDATA\n.\r\nline2\n\r\n"
    assert (await device.submit(content)).startswith("250")
    assert await relay.contents() == [content]


async def test_a_client_without_cr_may_end_by_lf_dot_lf_and_then_only_quit(relay):
    """A shell script that speaks LF is served; commands smuggled behind its dot are thrown away."""
    device = await relay.device(b"")
    await device.say(b"HELO x\nMAIL FROM:root\nRCPT TO:me@example.jp\nDATA\n")
    assert [(await device.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
    await device.say(b"Subject: t\n\n..dots\n.\nMAIL FROM:<evil@x.y>\nRCPT TO:<evil@x.y>\nDATA\nx\n.\n")
    assert (await device.reply()).startswith("250 2.0.0 queued")
    assert (await device.reply()).startswith("421 ")
    assert await device.reply() == ""
    assert await relay.contents() == [b"Subject: t\n\n.dots\n"]
    again = await relay.device(b"HELO x\n")
    await again.dialog(
        (b"MAIL FROM:root\n", "250"), (b"RCPT TO:me@example.jp\n", "250"), (b"DATA\n", "354"), (b"x\n.\n", "250")
    )
    await again.dialog((b"QUIT\n", "221"))


async def test_silence_after_a_lone_dot_ends_the_message(relay, monkeypatch):
    """A CRLF client that ends by LF.LF and waits is understood after a while; then it may only quit."""
    monkeypatch.setattr(data_reader, "SILENCE", 0.2)
    device = await relay.device()
    await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))
    assert (await device.ask(b"Subject: t\r\n\r\nx\n.\n")).startswith("250")
    assert await relay.contents() == [b"Subject: t\r\n\r\nx\n"]
    assert (await device.ask(b"RSET\r\n")).startswith("421")


async def test_bare_cr_commands_are_understood_after_a_silence(relay, monkeypatch):
    """Neither a server that hangs nor a lost mail; a slow CRLF client is not mistaken for one."""
    monkeypatch.setattr(connection, "_CR_SILENCE", 0.05)
    monkeypatch.setattr(data_reader, "SILENCE", 0.1)
    slow = await relay.device(b"")
    await slow.dialog((b"HELO x\r", "250"), (b"\nNOOP\r\n", "250"))
    assert await slow.silence(0.1)
    device = await relay.device(b"")
    await device.dialog(
        (b"HELO x\r", "250"),
        (b"MAIL FROM:root\r", "250"),
        (b"RCPT TO:me@example.jp\r", "250"),
        (b"DATA\r", "354"),
        (b"a\rb\r.\r", "250"),
    )
    assert await relay.contents() == [b"a\rb\r"]


async def test_a_whole_session_in_one_packet_and_a_half_close_lose_nothing(relay):
    """`printf ... | nc -N`: everything at once, then the sending side is shut; all replies still come."""
    device = await Device.connect(relay.address)
    await device.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<me@example.jp>\r\nDATA\r\n" + MAIL + b".\r\nQUIT")
    device.half_close()
    replies = [(await device.reply())[:3] for _ in range(7)]
    assert replies == ["220", "250", "250", "250", "354", "250", "221"]
    assert await relay.contents() == [MAIL]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_device_that_hangs_up_after_the_dot_has_sent_its_mail(relay, how):
    """Send-and-forget firmware: complete data counts, read reply or not, exactly once."""
    device = await relay.device()
    await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))
    await device.say(MAIL + b".\r\n")
    if how == "reset":
        while not await relay.entries():
            await asyncio.sleep(0.01)
        device.reset()
    await device.close()
    async with asyncio.timeout(5):
        while relay.inbound._state.sessions:
            await asyncio.sleep(0.01)
    assert await relay.contents() == [MAIL]


async def test_an_unfinished_message_is_thrown_away_and_told(relay):
    """No final dot, no mail; the log says after how many octets."""
    device = await relay.device()
    await device.dialog((b"MAIL FROM:<a@b.c>\r\n", "250"), (b"RCPT TO:<me@example.jp>\r\n", "250"), (b"DATA\r\n", "354"))
    await device.say(b"Subject: t\r\n\r\npart")
    await device.close()
    async with asyncio.timeout(5):
        while not relay.events("refused"):
            await asyncio.sleep(0.01)
    assert "after 18 octets" in relay.events("refused")[0]
    assert await relay.entries() == []


async def test_byte_by_byte_is_fast_enough(relay):
    """A microcontroller that prints character by character is served."""
    device = await relay.device(b"")
    await device.say(b"EHLO x\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<me@example.jp>\r\nDATA\r\n", at_a_time=1, pause=0.0005)
    assert [(await device.reply())[:3] for _ in range(4)] == ["250", "250", "250", "354"]
    await device.say(b"x\r\n..\r\ny\r\n.\r\n", at_a_time=1, pause=0.002)
    assert (await device.reply()).startswith("250")
    assert await relay.contents() == [b"x\r\n.\r\ny\r\n"]


async def test_odd_commands_do_no_harm(relay):
    """Probes, empty lines, telnet octets, over-long lines: true replies, and the session goes on."""
    device = await relay.device(b"")
    await device.dialog(
        (b"\xff\xfb\x1f\xff\xfd\x03\x00\x00HELO x\x00\r\n", "250"),
        (b"\r\n  noop keepalive\r\n", "250 2.0.0"),
        (b"RSET now\r\n", "250"),
        (b"HELP\r\n", "214"),
        (b"VRFY root\r\n", "252 2.5.2"),
        (b"EXPN staff\r\n", "502 5.5.1"),
        (b"XYZZY 1\r\n", "500 5.5.1"),
        (b"NOOP " + b"x" * 20_000 + b"\r\n", "500 5.5.6"),
        (b"NOOP " + b"x" * 300_000 + b"\r\n", "500 5.5.6"),
        (b"STARTTLS\r\n", "502 5.5.1"),
        (b"HELO\r\n", "250"),
        (b"QUIT now\r\n", "221"),
    )
    assert await device.reply() == ""


async def test_a_scanner_is_cut_off_after_twenty_unknown_commands(relay):
    """Nineteen are answered, the twentieth ends the session."""
    device = await relay.device()
    for _ in range(19):
        await device.dialog((b"FOO\r\n", "500"))
    await device.dialog((b"FOO\r\n", "421"))
    assert await device.reply() == ""


async def test_content_after_a_refused_data_is_never_run_as_commands(relay):
    """A device that does not wait for 354 loses the line, not the envelope of somebody else."""
    device = await relay.device()
    await device.say(b"MAIL FROM:<a@b.c>\r\nDATA\r\nSubject: x\r\n\r\nMAIL FROM:<evil@x.y>\r\n.\r\n")
    assert (await device.reply()).startswith("250")
    assert (await device.reply()).startswith("554 5.5.1")
    assert (await device.reply()).startswith("421")
    assert await device.reply() == ""
    later = await relay.device()
    await later.dialog((b"DATA\r\n", "503"), (b"Subject: x\r\n", "421"))


async def test_http_is_hung_up_on(relay):
    """A health check or a cross-protocol attack gets no answer and does no harm."""
    device = await relay.device(b"")
    assert await device.ask(b"POST / HTTP/1.1\r\nHost: relay\r\n\r\nMAIL FROM:<a@b.c>\r\n") == ""
    assert "HTTP" in relay.events("refused")[0]


async def test_a_second_mail_forgets_the_first(relay):
    """Retrying firmware starts again; two envelopes are never mixed."""
    device = await relay.device()
    await device.dialog((b"MAIL FROM:<old@b.c>\r\n", "250"), (b"RCPT TO:<old@example.jp>\r\n", "250"))
    assert (await device.submit(MAIL)).startswith("250")
    assert names(await relay.entries()) == [["me@example.jp"]]


async def test_oddities_of_one_message_are_not_told_of_the_next(relay):
    """The trail of each message names its own quirks, and those of the session."""
    device = await relay.device(b"HELO\r\n")
    await device.submit(b"bare\nlf\r\n")
    await device.submit(b"x\r\n")
    first, second = await relay.entries()
    assert first.origin.quirks == ("empty HELO", "MAIL without a usable HELO", "bare LF in the message")
    assert second.origin.quirks == ("empty HELO", "MAIL without a usable HELO")


async def test_header_injection_through_helo_is_impossible(relay):
    """What goes into a Received field has no octet that could end it."""
    device = await relay.device(b'EHLO a b) by evil; (\x01<x>\xe2\x80\xa8"\\\r\n')
    await device.submit(MAIL)
    [entry] = await relay.entries()
    assert entry.origin.helo == "a_b?_by_evil?_??x?_??"


async def test_who_is_outside_the_networks_is_told_the_cure(tmp_path, monkeypatch):
    """554 at connect names the setting."""
    outside = replace(HERE, networks=(ip_network("192.168.0.0/16"),))
    async with receiving(tmp_path, monkeypatch, outside) as relay:
        device = await Device.connect(relay.address)
        assert await device.reply() == (
            "554 5.7.1 127.0.0.1 may not submit here; to allow it, add its network to listen.networks (RELAY_NETWORKS)"
        )
        assert await device.reply() == ""


async def test_devices_are_remembered_for_the_status_page(relay):
    """Names, quirks, counts, and the last refusal."""
    device = await relay.device(b"HELO [192.168.1.21]\r\n")
    await device.dialog((b"MAIL FROM: <a@b.c>\r\n", "250"), (b"RCPT TO:<root>\r\n", "550"), (b"RSET\r\n", "250"))
    await device.submit(b"bare\nlf\r\n")
    [seen] = relay.inbound.devices()
    assert (seen["client"], seen["helo"], seen["messages"], seen["refused"]) == ("127.0.0.1", ["[192.168.1.21]"], 1, 1)
    assert {"odd spacing after MAIL FROM", "bare LF in the message"} <= set(seen["quirks"])
    assert seen["last_refusal"].startswith("550 5.1.1")


CHUNK = b"RSET\r\nMAIL FROM:<evil@x.example>\r\nRCPT TO:<you@example.jp>\r\nDATA\r\nsmuggled\r\n.\r\n"
BEGUN = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<me@example.jp>\r\n"


@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "later"])
@pytest.mark.parametrize("before", [b"", BEGUN], ids=["no mail", "mail"])
@pytest.mark.parametrize(
    "command", [b"BDAT %d LAST\r\n", b"bdat %d\r\n", b"BDAT 00%d last\r\n", b"BDAT %d-LAST\r\n", b"BDAT\r\n"]
)
@pytest.mark.parametrize("miscounted", [0, -40, 40])
async def test_a_chunk_is_never_read_as_commands(tmp_path, monkeypatch, command, before, pause, miscounted):
    """Refused, whatever it says of its length, and however it comes."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        count = len(CHUNK) + miscounted
        await device.say(before + (command % count if b"%d" in command else command))
        await asyncio.sleep(pause)
        said = []
        with contextlib.suppress(OSError):  # the line may be cut already
            await device.say(CHUNK)
            device.half_close()
        with contextlib.suppress(TimeoutError):
            while reply := await device.reply(5):
                said.append(reply)
        assert [reply[:3] for reply in said[: before.count(b"\n")]] == ["250"] * before.count(b"\n")
        assert not any(reply.startswith(("2", "354")) for reply in said[before.count(b"\n") :])
        assert await relay.entries() == []


async def test_chunks_one_behind_the_other_are_thrown_away(tmp_path, monkeypatch):
    """Each is refused in its turn, and then the device says good-bye."""
    async with receiving(tmp_path, monkeypatch) as relay:
        device = await relay.device()
        await device.say(BEGUN + b"BDAT 6\r\nDATA\r\nBDAT 100000\r\n" + b"x" * 100_000 + b"BDAT 0 LAST\r\nQUIT\r\n")
        assert [(await device.reply())[:3] for _ in range(6)] == ["250", "250", "502", "502", "502", "221"]
        assert await relay.entries() == []
