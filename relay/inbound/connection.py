"""One client's line: aiosmtpd's protocol class with its own reading, replying, patience and TLS.

Only the public shape of aiosmtpd 1.4.6 and four private names are used (`_reader`, `_writer`, `_handler_coroutine`,
`_timeout_handle`); the version is pinned.  The line outlives the peer: what was sent before a hang-up is still read.
"""

import asyncio
import math
import re
import ssl
from typing import Any

from aiosmtpd.smtp import SMTP

from relay.inbound.dialect import is_tls_hello
from relay.inbound.line_endings import LineEnd

READ_AHEAD = 64 * 1024
LONGEST_COMMAND = 12 * 1024
"""Octets of one command line; RFC 4954 s4 asks for 12,288 in AUTH."""
_NOT_TEXT = re.compile(rb"[^\t -~]")
_CR_SILENCE = 1.0
_HANDSHAKE = 15.0
_FLUSH = 5.0


class Gone(Exception):
    """The conversation is over; everything that had to be said was said."""


class Connection(SMTP):
    """Lines in, replies out.  Subclasses hold the conversation in `_converse`."""

    _reader: Any
    _writer: Any

    def __init__(self, idle: float) -> None:
        # aiosmtpd's own constructor inspects its methods for every connection (0.3 ms): only its state is made here.
        self.loop = asyncio.get_running_loop()
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=READ_AHEAD, loop=self.loop),
            client_connected_cb=self._cb_client_connected,
            loop=self.loop,
        )
        self.transport: Any = None
        self.session: Any = None
        self.tls = ""
        self.waiting = False
        self.waiting_since = 0.0
        self.lost = False
        self._line_gone = False
        self._original_transport = None
        self._timeout_handle: asyncio.TimerHandle | None = None
        self._idle = idle
        self._deadline = math.inf
        self._handler_coroutine: asyncio.Task[None] | None = None
        self._spoke = False
        self._crlf = False
        self._cr_client = False
        self._lf_owed = False
        self._cr_timer: asyncio.TimerHandle | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The conversation; over when the task is done."""
        return self._handler_coroutine

    # ---- what the event loop tells -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._spoke:
            self._spoke = True
            if not self.tls and is_tls_hello(data):
                self._tls_in_the_clear()
                self.transport.close()
                return
        if self._cr_timer is not None:
            self._cr_timer.cancel()
            self._cr_timer = None
        if self._lf_owed:
            self._lf_owed = False
            if data.startswith(b"\n"):
                data = data[1:]
            else:
                self._cr_client = True
        if data:
            super().data_received(data)
        if self.waiting and data.endswith(b"\r"):
            self._cr_timer = self.loop.call_later(_CR_SILENCE, self._end_bare_cr)

    def eof_received(self) -> bool:
        """A client that half-closes after the dot still gets its reply; aiosmtpd would cancel its mail."""
        return bool(asyncio.StreamReaderProtocol.eof_received(self))

    def connection_lost(self, error: Exception | None) -> None:
        """The conversation is not cancelled: it ends by itself when what was received is used up."""
        self.lost = self.lost or error is not None
        self._line_gone = True
        for timer in (self._timeout_handle, self._cr_timer):
            if timer is not None:
                timer.cancel()
        self._timeout_handle = self._cr_timer = None
        asyncio.StreamReaderProtocol.connection_lost(self, None)

    async def _handle_client(self) -> None:
        try:
            await self._converse()
        except Gone:
            pass
        except Exception as error:
            self._surprised(error)
        finally:
            self._hang_up()

    async def _converse(self) -> None:
        raise NotImplementedError

    def _surprised(self, error: Exception) -> None:
        """Something went wrong that is nobody's mail: to be noted, not told."""

    def _tls_in_the_clear(self) -> None:
        """A TLS ClientHello came where plain text was expected."""

    def _end_bare_cr(self) -> None:
        """A command that ends in a bare CR, and then silence: the device ends its lines so (or is very slow)."""
        buffer: bytearray = self._reader._buffer
        if self.waiting and buffer.endswith(b"\r") and b"\n" not in buffer:
            self._lf_owed = True
            super().data_received(b"\n")

    # ---- reading -------------------------------------------------------------------------------

    @property
    def line_end(self) -> LineEnd:
        if self._cr_client:
            return LineEnd.CR
        return LineEnd.CRLF if self._crlf else LineEnd.LF

    async def next_line(self) -> bytes | None:
        """The next line without its end; None when the client is gone.  The whole line has `idle` seconds to come."""
        self._reset_timeout()
        self.waiting, self.waiting_since = True, self.loop.time()
        try:
            line = bytes(await self._reader.readuntil(b"\n"))
        except asyncio.IncompleteReadError as error:
            return bytes(error.partial).strip(b"\r") or None
        except asyncio.LimitOverrunError as error:
            await self._skip_line(error.consumed)
            return await self._too_long()
        finally:
            self.waiting = False
        if line.endswith(b"\r\n") and not self._lf_owed:
            self._crlf = True
        if len(line) > LONGEST_COMMAND:
            return await self._too_long()
        return line.rstrip(b"\r\n")

    async def _too_long(self) -> bytes | None:
        await self.say("500 5.5.6 the command line is too long")
        return b""

    async def _skip_line(self, consumed: int) -> None:
        while True:
            try:
                await self._reader.readexactly(consumed)
                await self._reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as error:
                consumed = error.consumed
            except asyncio.IncompleteReadError:
                return

    async def next_block(self, silence: float | None) -> bytes | None:
        """Octets as they come, b"" at the end of the stream; None after `silence` seconds without any."""
        self._reset_timeout()
        try:
            async with asyncio.timeout(silence):
                return bytes(await self._reader.read(READ_AHEAD))
        except TimeoutError:
            return None

    def give_back(self, octets: bytes) -> None:
        """Octets behind the end of data are the next commands."""
        self._reader._buffer[:0] = octets

    @property
    def pending(self) -> bool:
        """Whether the client sent more than was read so far."""
        return bool(self._reader._buffer)

    # ---- replying ------------------------------------------------------------------------------

    async def say(self, *lines: str) -> None:
        """Sends reply lines in one write; a peer that is gone is no error."""
        if self.transport is None or self.transport.is_closing():
            return
        self._writer.write(b"".join(map(_reply_line, lines)))
        if self.transport.get_write_buffer_size():
            try:
                await self._writer.drain()
            except OSError:
                self.lost = True

    # ---- patience ------------------------------------------------------------------------------

    def _reset_timeout(self, duration: float | None = None) -> None:
        """The client has `idle` seconds from now.  The timer stays as it is and looks again: most never see it fire."""
        self._deadline = self.loop.time() + (duration or self._idle)
        if self._timeout_handle is None and not self._line_gone:  # what is still to be read comes at once
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _timeout_cb(self) -> None:
        self._timeout_handle = None
        if self._deadline > self.loop.time():
            if self._deadline < math.inf:
                self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)
            return
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b"421 4.4.2 idle for too long, closing\r\n")
        self._hang_up()

    def dismiss(self, text: str) -> None:
        """Says `421 text` to a client that is waiting for nothing, and hangs up."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(f"421 {text}\r\n".encode())
        self._hang_up()

    def no_timeout(self) -> None:
        """Waits for as long as it takes, until the next line or block is read."""
        self._deadline = math.inf

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _hang_up(self) -> None:
        self.no_timeout()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
            if self.tls or self.transport.get_write_buffer_size():
                self.loop.call_later(_FLUSH, self.transport.abort)  # a peer that reads nothing must not keep the socket

    # ---- TLS -----------------------------------------------------------------------------------

    async def _upgrade(self, context: ssl.SSLContext) -> None:
        """Puts TLS under the line.  All plaintext that came before is dropped (RFC 3207 s5).  Raises OSError."""
        self.no_timeout()  # the handshake has its own
        self._reader._buffer.clear()
        self._reader._paused = False
        self._spoke = True
        self.transport = await self.loop.start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE
        )
        self._transport = self.transport
        self._over_ssl = True
        self._reader._transport = self._writer._transport = self.transport
        self.tls = self.transport.get_extra_info("ssl_object").version() or "TLS"


def _reply_line(text: str) -> bytes:
    """What is quoted from the client may be 8-bit or worse; a reply is ASCII, and one line (RFC 5321 s4.2)."""
    line = text.encode("ascii", "replace")
    return (_NOT_TEXT.sub(b"?", line) if _NOT_TEXT.search(line) else line) + b"\r\n"
