"""What must hold whatever the fuzzer sends; an AssertionError says what did not."""

import asyncio
import email
import email.policy
import re
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from relay.inbound.admission import ListenTls, Recipients
from relay.mail.address import Address
from relay.mail.policy import RepairPolicy
from relay.mail.recode import seven_bit
from relay.mail.repair import repair
from relay.mail.rewrite import Identity, rewrite
from tests.support.inbound import HERE, Receiving, receiving
from tests.support.letters import NAS, about, assert_sendable, octets, repaired, without_trace

ACCOUNT = Identity(Address("taro", "isp.example"), frozenset({"isp.example"}))
_SECONDS = 3.0  # of processor time, for letters of some ten thousand octets
_PATIENCE = 20.0


def hold_letter(content: bytes) -> None:
    """The letter is mended once, whatever the blocks it comes in; it can be rewritten and made seven-bit."""
    start = time.process_time()
    result = repaired(content)
    sent = octets(result.message)
    assert_sendable(sent)
    assert result.size == len(sent)
    assert result.eight_bit is not sent.isascii()
    assert sent == octets(repair([content], about(), RepairPolicy()).message), "blocks matter"
    letter = email.message_from_bytes(sent, policy=email.policy.compat32)
    counts = {name: len(letter.get_all(name) or ()) for name in ("Date", "From", "Message-ID")}
    assert counts == {"Date": 1, "From": 1, "Message-ID": 1}, counts
    again = repaired(sent)
    assert without_trace(again.message) == sent, again.notes
    assert again.notes == (), again.notes
    rewritten = rewrite(result.message, NAS, ACCOUNT).message
    assert_sendable(octets(rewritten))
    narrow = octets(seven_bit(rewritten))
    assert narrow.isascii()
    assert_sendable(narrow)
    if not content.isascii():
        _hold_with_smtputf8(content)
    assert time.process_time() - start < _SECONDS


def _hold_with_smtputf8(content: bytes) -> None:
    """Where the device said SMTPUTF8, addresses may be in UTF-8; all else holds as ever."""
    result = repaired(content, about(utf8=True))
    sent = octets(result.message)
    head, end, body = sent.partition(b"\r\n\r\n")
    assert result.utf8 is not head.isascii()
    assert_sendable(head.decode("utf-8").encode("ascii", "replace") + end + body)
    again = repaired(sent, about(utf8=True))
    assert without_trace(again.message) == sent, again.notes
    assert again.notes == (), again.notes
    rewritten = octets(rewrite(result.message, NAS, ACCOUNT, utf8=True).message)
    assert_sendable(rewritten.partition(b"\r\n\r\n")[0].decode("utf-8").encode("ascii", "replace") + end + body)


class Bench:
    """The receiving half in a loop of its own, for one dialogue after another."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.patch = pytest.MonkeyPatch()
        self.relay: Receiving | None = None
        self.served = 0

    def close(self) -> None:
        self.loop.run_until_complete(self._stop())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def hold_dialog(self, said: bytes, at_a_time: int) -> None:
        """Every reply is one; the connection ends; what was acknowledged is stored, and nothing else."""
        self.loop.run_until_complete(self._hold(said, at_a_time))

    async def _start(self) -> Receiving:
        directory = self.stack.enter_context(tempfile.TemporaryDirectory())
        listener = replace(HERE, tls=ListenTls.STARTTLS)
        started = receiving(Path(directory), self.patch, listener, recipients=Recipients("example.jp"))
        return await self.stack.enter_async_context(started)

    async def _stop(self) -> None:
        await self.stack.aclose()
        self.patch.undo()
        self.relay = None

    async def _hold(self, said: bytes, at_a_time: int) -> None:
        if self.served % 500 == 0:
            await self._stop()
        self.served += 1
        relay = self.relay = self.relay or await self._start()
        relay.noted.clear()
        before = {one.entry.queue_id for one in await relay.spool.entries()}
        heard, reset = await asyncio.wait_for(_converse(relay.address, said, at_a_time), _PATIENCE)
        while relay.inbound._state.sessions:
            await asyncio.sleep(0)
        assert relay.events("broken") == [], relay.events("broken")
        encrypted = re.search(rb"^220 2\.0\.0 .*\r\n", heard, re.MULTILINE)
        heard = heard[: encrypted.end()] if encrypted else heard
        assert re.fullmatch(rb"(?:[2-5]\d\d[ -][\t -~]*\r\n)*", heard), heard
        stored = {one.entry.queue_id for one in await relay.spool.entries()} - before
        promised = {queue_id.decode() for queue_id in re.findall(rb"^250 2\.0\.0 queued as (\S+)", heard, re.MULTILINE)}
        assert promised == stored or (reset and promised < stored), heard  # a reset may swallow what was said last


async def _converse(address: tuple[str, int], said: bytes, at_a_time: int) -> tuple[bytes, bool]:
    """Says all of it, then half-closes; what was heard until the relay hung up, and whether it did so by a reset."""
    reader, writer = await asyncio.open_connection(*address)
    hearing = asyncio.ensure_future(_all(reader))
    try:
        for start in range(0, len(said), at_a_time):
            writer.write(said[start : start + at_a_time])
            await writer.drain()
            await asyncio.sleep(0)
        writer.write_eof()
    except (ConnectionError, OSError):
        pass  # the relay had enough of it; what it said before counts
    try:
        return await hearing
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _all(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    heard = b""
    try:
        while block := await reader.read(65536):
            heard += block
    except ConnectionError:
        return heard, True
    return heard, False
