"""The scripted server itself: strict about line ends, so that a test against it means something."""

import asyncio

import pytest

from tests.support.upstream import DROP, ScriptedUpstream


async def dialog(server: ScriptedUpstream, *sends: bytes) -> list[str]:
    """What the server says to these octets, until it hangs up or the octets are answered by QUIT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    said = []
    try:
        said.append((await reader.readline()).decode().strip())
        for octets in sends:
            writer.write(octets)
            said.append((await asyncio.wait_for(reader.readline(), 5)).decode().strip())
    finally:
        writer.close()
    return said


OPENING = (b"HELO me\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n")


async def test_the_book_is_kept():
    """A plain dialog is answered as RFC 5321 has it, and the message is recorded without its dots."""
    async with ScriptedUpstream() as server:
        said = await dialog(server, *OPENING, b"Subject: x\r\n\r\n..dot\r\n.\r\n", b"QUIT\r\n")
    assert [reply[:3] for reply in said] == ["220", "250", "250", "250", "354", "250", "221"]
    assert server.messages[0].content == b"Subject: x\r\n\r\n.dot\r\n"
    assert server.messages[0].size == len(server.messages[0].content)


async def test_commands_end_in_crlf_only():
    """A bare LF is refused and held against the client."""
    async with ScriptedUpstream() as server:
        said = await dialog(server, b"HELO me\n", b"HELO me\r\n")
    assert [reply[:3] for reply in said] == ["220", "500", "250"]
    assert len(server.faults) == 1


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n"])
async def test_content_ends_in_crlf_dot_crlf_only(end):
    """No other dot line ends the content; bare line ends get the refusal of qmail."""
    async with ScriptedUpstream() as server:
        said = await dialog(server, *OPENING, b"x" + end + b"MAIL FROM:<evil@b.example>\r\n.\r\n")
    assert said[-1].startswith("451 See http://pobox.com/~djb/docs/smtplf.html")
    assert len(server.transactions) == 1
    assert server.messages == []


async def test_a_list_is_used_up_then_the_book_is_kept():
    """Scripted actions are taken one after the other over all connections."""
    async with ScriptedUpstream(script={"CONNECT": ["421 busy", DROP]}) as server:
        greetings = [(await dialog(server))[0] for _ in range(3)]
    assert greetings == ["421 busy", "", "220 upstream.test ESMTP"]
