"""Content on its way: capabilities honoured, large messages streamed, a server that breaks in."""

import asyncio
import threading
import tracemalloc

import pytest

from relay.mail.recode import seven_bit
from relay.mail.reply import Stage
from relay.upstream.settings import Limits
from tests.support.sending import letter, upstream_at
from tests.support.upstream import DROP, HANG, STALL, ScriptedUpstream

LINE = b"0123456789" * 7 + b"\r\n"
MEGABYTE = [LINE * 1000] * 14


def only(report):
    [answer] = report.answers.values()
    return answer


async def test_parameters_only_where_announced(pools):
    """SIZE, BODY and SMTPUTF8 are said to a server that announced them."""
    outgoing = letter(
        "b@there.example",
        sender="jos\u00e9@home.example",
        content=["Subject: \u00e9\r\n\r\n".encode()],
        eight_bit=True,
        utf8=True,
    )
    async with ScriptedUpstream(capabilities=["SIZE", "8BITMIME", "SMTPUTF8"]) as server:
        assert only(await pools.submit(upstream_at(server.port), outgoing)).reply.code == 250
    assert server.transactions[0].mail == f"FROM:<jos\u00e9@home.example> SIZE={outgoing.size} BODY=8BITMIME SMTPUTF8"


async def test_a_plain_server_hears_no_parameters(pools):
    """Nothing announced, nothing said."""
    async with ScriptedUpstream(capabilities=[]) as server:
        assert only(await pools.submit(upstream_at(server.port), letter())).reply.code == 250
    assert server.transactions[0].mail == "FROM:<a@home.example>"


async def test_smtputf8_missing(pools):
    """Mail that needs SMTPUTF8 is refused in our own words before anything is said, for good."""
    async with ScriptedUpstream() as server:
        answer = only(await pools.submit(upstream_at(server.port), letter(utf8=True)))
    assert (answer.stage, answer.lost, answer.reply.code, answer.reply.status) == (Stage.MAIL, False, 553, "5.6.7")
    assert server.transactions == []


async def test_one_international_recipient_does_not_stop_the_others(pools):
    """A recipient whose local part needs SMTPUTF8 fails alone; a domain in Unicode goes as A-labels."""
    paths = ["b@there.example", "jos\u00e9@there.example", "c@b\u00fccher.example"]
    async with ScriptedUpstream() as server:
        report = await pools.submit(upstream_at(server.port), letter(*paths))
    assert [answer.reply.code for answer in report.answers.values()] == [250, 553, 250]
    assert [answer.reply.status for answer in report.answers.values()][1] == "5.6.7"
    assert server.messages[0].forward_paths == ["b@there.example", "c@xn--bcher-kva.example"]


async def test_a_message_over_the_announced_size_is_not_begun(pools):
    """552 5.3.4 in our own words names both sizes; the session stays for the next message."""
    async with ScriptedUpstream(capabilities=["SIZE 1000000"]) as server:
        upstream = upstream_at(server.port)
        report = await pools.submit(upstream, letter(content=MEGABYTE, size=1_008_000))
        answer = only(report)
        assert (answer.stage, answer.lost, answer.reply.code, answer.reply.status) == (Stage.MAIL, False, 552, "5.3.4")
        assert "takes at most 1.0 MB" in answer.reply.text
        assert report.conversation.max_size == 1_000_000
        assert only(await pools.submit(upstream, letter())).reply.code == 250
    assert (len(server.connections), len(server.transactions)) == (1, 1)


async def test_the_configured_size_counts_too(pools):
    """limits.message refuses like an announced SIZE; the smaller of both is the limit."""
    async with ScriptedUpstream(capabilities=["SIZE 5000000"]) as server:
        upstream = upstream_at(server.port, limits=Limits(message=1000))
        report = await pools.submit(upstream, letter(content=MEGABYTE, size=1_008_000))
        assert str(only(report).reply).startswith("552 5.3.4")
        assert report.conversation.max_size == 5_000_000
        assert only(await pools.submit(upstream, letter())).reply.code == 250


async def test_25_megabytes_in_flat_memory(pools):
    """A large message is streamed: memory for it stays under two megabytes, and the loop is never held for long."""
    blocks = [LINE * 900] * 386
    async with ScriptedUpstream(keep_content=False) as server:
        upstream = upstream_at(server.port)
        await pools.submit(upstream, letter())
        tracemalloc.start()
        try:
            outgoing = letter(content=blocks, size=sum(map(len, blocks)))
            assert only(await pools.submit(upstream, outgoing)).reply.code == 250
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert server.messages[-1].size == outgoing.size
    assert peak < 2_000_000


async def test_large_content_is_read_in_one_other_thread(pools):
    """A disk may block the reading, never the loop; and it is always the same thread, as database connections want it."""
    seen = set()

    def blocks():
        try:
            for block in MEGABYTE:
                seen.add(threading.get_ident())
                yield block
        finally:
            seen.add(threading.get_ident())

    async with ScriptedUpstream() as server:
        assert only(await pools.submit(upstream_at(server.port), letter(content=blocks(), size=1_008_000))).reply.code == 250
    assert len(seen) == 1
    assert threading.get_ident() not in seen
    assert server.messages[0].content == b"".join(MEGABYTE)


@pytest.mark.parametrize("capabilities", [["PIPELINING"], []], ids=["pipelining", "stepwise"])
async def test_a_server_that_breaks_in(pools, capabilities):
    """A refusal in the middle of the content ends the sending at once and is the answer."""
    script = {"CONTENT": "552 5.3.4 too big for me"}
    async with ScriptedUpstream(capabilities=capabilities, script=script) as server:
        report = await pools.submit(upstream_at(server.port), letter(content=MEGABYTE * 4, size=4_032_000))
    answer = only(report)
    assert (answer.stage, answer.lost, answer.reply.code) == (Stage.CONTENT, False, 552)


@pytest.mark.parametrize("action", [DROP, STALL, "250 2.0.0 already"])
async def test_a_line_lost_before_the_dot_is_safe_to_repeat(pools, action):
    """Death, deafness or nonsense in the middle of the content is lost, but not at CONTENT: nothing can have been taken."""
    async with ScriptedUpstream(script={"CONTENT": action}) as server:
        report = await pools.submit(upstream_at(server.port, timeout=0.5), letter(content=MEGABYTE * 24, size=24_192_000))
    answer = only(report)
    assert (answer.stage, answer.lost) == (Stage.RCPT, True)
    assert server.messages == []


async def test_cancelling_in_the_middle_sends_no_dot(pools):
    """A submission that is cancelled while content leaves ends the connection, and the server has no message."""
    async with ScriptedUpstream(script={"CONTENT": HANG}) as server:
        begun = asyncio.Event()

        def blocks():
            yield LINE
            loop.call_soon_threadsafe(begun.set)
            yield from MEGABYTE * 8

        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(pools.submit(upstream_at(server.port), letter(content=blocks(), size=8_064_000)))
        await begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert server.messages == []


async def test_eight_bits_are_not_sent_where_they_may_not(pools):
    """Without 8BITMIME nothing is said of an 8-bit message; recoded it goes in the same session, and the trail says so."""
    content = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncaf\u00e9\r\n".encode()
    async with ScriptedUpstream(capabilities=["SIZE"]) as server:
        report = await pools.submit(upstream_at(server.port), letter(content=[content], eight_bit=True))
        assert (report.unsuited, report.answers, report.conversation.eight_bit) == (True, {}, False)
        assert server.transactions == []
        recoded = letter(content=[b"".join(seven_bit([content]))], seven_bit=True)
        report = await pools.submit(upstream_at(server.port), recoded)
        assert len(server.connections) == 1
    assert (only(report).reply.code, report.unsuited) == (250, False)
    assert server.messages[0].content.isascii()
    assert b"Content-Transfer-Encoding:" in server.messages[0].content
    assert server.transactions[0].mail == "FROM:<a@home.example>"
    assert any("7-bit" in note for note in report.conversation.notes)
