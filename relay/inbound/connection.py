"""One client's connection, on aiosmtpd's protocol class: lines and blocks in, replies out; timeouts, flow control, TLS.

aiosmtpd keeps session and envelope, the table of commands and its hooks, and does AUTH and STARTTLS.  Each override says
why it is there.  After the client closes the connection, what it sent before is still read and answered.
"""

import asyncio
import math
import re
from asyncio import sslproto
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from aiosmtpd import smtp

from relay.inbound.command_tables import NO_HOOKS, tables
from relay.inbound.content_pace import ContentPace
from relay.inbound.dialect import is_tls_hello
from relay.inbound.end_of_data import LineEnd

READ_AHEAD = 64 * 1024  # octets in the buffer above which reading pauses; one more read may come on top
WIDE = 256 * 1024  # octets of one read, while content is awaited: each read costs more than what it brings
TLS_BUFFER = 32 * 1024
"""The read buffer of each TLS connection; asyncio would take 256 KiB and more."""
LONGEST_COMMAND = 12 * 1024
"""Octets of one command line; RFC 4954 s4 asks for 12,288 in AUTH."""
_NOT_TEXT = re.compile(rb"[^\t -~]")
_CR_SILENCE = 1.0
_HANDSHAKE = 15.0
_FLUSH = 5.0

_READING = memoryview(bytearray(WIDE))
"""One read buffer for all connections: its octets are copied before the next connection is served."""
_NARROW = _READING[:READ_AHEAD]
sslproto.SSLProtocol.max_size = TLS_BUFFER


class SessionOver(Exception):
    """The session is over, and the last reply was sent."""


class SessionState(smtp.Session):
    """aiosmtpd's state of a client between its commands."""

    login_data = None  # aiosmtpd's own warns in the log at each login that it is deprecated


class Connection(smtp.SMTP, asyncio.BufferedProtocol):
    """Subclasses run the session in `_converse`.  `settings` and `handler` are aiosmtpd's."""

    session: SessionState
    transport: Any
    _original_transport: Any
    _paused: bool  # asyncio: whether more waits to be sent than should
    _handler_coroutine: asyncio.Task[None] | None

    def __init__(self, idle: float, handler: object = None, **settings: Any) -> None:
        super().__init__(NO_HOOKS, timeout=idle, enable_SMTPUTF8=True, loop=asyncio.get_running_loop(), **settings)
        self.event_handler = handler
        kind: Any = type(self)
        self._commands, self._auth_methods, self._handle_hooks = tables(kind, handler)
        self._ehlo_hook_ver = "new" if "EHLO" in self._handle_hooks else None
        self.tls = ""
        self.waiting = False
        self.owing_since = math.inf
        """Since when we wait for the client's command, handshake or content at a good pace; inf while we work."""
        self.useful_at = self.loop.time()
        """When a message of this session was stored last, or when the session began."""
        self.dismissed = ""
        self.lost = False
        self._buffer = bytearray()
        self._eof = False  # nothing more will come
        self._data_waiter: asyncio.Future[None] | None = None
        self._reading_paused = self._wide = self._connection_gone = self._hung_up = False
        self._idle = idle
        self._deadline = math.inf
        self._spoke = self._crlf = self._cr_client = self._lf_owed = False
        self._cr_timer: asyncio.TimerHandle | None = None
        self.content_begins()

    def __dir__(self) -> Iterable[str]:
        """aiosmtpd searches these names at each connection; what it would find is the same for all, and found once."""
        return ()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The session is over when this task is done."""
        return self._handler_coroutine

    # ---- called by the event loop --------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Called again when TLS is up, for a session that begins anew (RFC 3207 s4.2)."""
        self._buffer.clear()  # nothing sent before TLS may count; aiosmtpd clears its own reader only
        self._reading_paused = False
        super().connection_made(transport)
        if ssl_object := transport.get_extra_info("ssl_object"):
            transport.set_read_buffer_limits(high=TLS_BUFFER)
            self.tls = ssl_object.version() or "TLS"

    def _create_session(self) -> SessionState:
        return SessionState(self.loop)

    def get_buffer(self, sizehint: int) -> memoryview:
        """One buffer for all connections: asyncio would allocate 256 KiB for each read of aiosmtpd's stream."""
        return _READING if self._wide else _NARROW

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_READING[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Feeds our reader instead of aiosmtpd's stream, since a CR alone may end a line."""
        if not self._spoke:
            self._spoke = True
            if not self.tls and is_tls_hello(data):
                self._unexpected_tls()
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
            self._feed(data)
        if self.waiting and data.endswith(b"\r"):
            self._cr_timer = self.loop.call_later(_CR_SILENCE, self._end_bare_cr)

    def _feed(self, data: bytes) -> None:
        self._buffer += data
        if self._wide:
            self._wide = False  # all of it is taken before the next read
        elif len(self._buffer) > READ_AHEAD and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()
        self._wake(self._data_waiter)

    def eof_received(self) -> bool:
        """A client that half-closes after the dot gets its reply; aiosmtpd would drop its mail.  TLS has no half-close."""
        self._eof = True
        self._wake(self._data_waiter)
        return not self.tls

    @staticmethod
    def _wake(waiter: "asyncio.Future[None] | None") -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """The session ends when what was received is used up; aiosmtpd would cancel it and lose the message."""
        self.lost = self.lost or error is not None
        self._connection_gone = self._eof = True
        for timer in (self._timeout_handle, self._cr_timer):
            if timer is not None:
                timer.cancel()
        self._timeout_handle = self._cr_timer = None
        self._wake(self._data_waiter)
        asyncio.StreamReaderProtocol.connection_lost(self, None)

    async def _handle_client(self) -> None:
        """aiosmtpd's loop reads its own stream, and answers an exception with `500` and the exception's text."""
        try:
            await self._converse()
        except SessionOver:
            pass
        except Exception as error:
            self._unexpected_error(error)
        finally:
            self._hang_up()
            self._buffer.clear()  # the session is part of a cycle, which the collector may leave for long

    async def _converse(self) -> None:
        raise NotImplementedError

    def _unexpected_error(self, error: Exception) -> None:
        """An error of ours: it is logged, not told to the client."""

    def _unexpected_tls(self) -> None:
        """A TLS ClientHello came where a command was expected."""

    def _end_bare_cr(self) -> None:
        """A command ended in a bare CR and nothing followed, so the client ends its lines so (or is very slow)."""
        if self.waiting and self._buffer.endswith(b"\r") and b"\n" not in self._buffer:
            self._lf_owed = True
            self._feed(b"\n")

    # ---- reading -------------------------------------------------------------------------------

    @property
    def line_end(self) -> LineEnd:
        if self._cr_client:
            return LineEnd.CR
        return LineEnd.CRLF if self._crlf else LineEnd.LF

    async def next_line(self) -> bytes | None:
        """The next line without its line end; None when the client is gone.  The whole line must come in `idle` seconds."""
        now = self.loop.time()
        self._give_time(now, self._idle)
        self.waiting, self.owing_since = True, now
        try:
            end = await self._find_line_end()
        finally:
            self.waiting, self.owing_since = False, math.inf
        if end < 0:
            return self._consume(len(self._buffer)).strip(b"\r") or None
        if end > LONGEST_COMMAND:
            return await self._too_long()
        line = self._consume(end)
        if line.endswith(b"\r\n") and not self._lf_owed:
            self._crlf = True
        return line.rstrip(b"\r\n")

    async def _find_line_end(self) -> int:
        """How many octets the next line has; -1 if the client is gone before the line ends."""
        looked = 0
        while (place := self._buffer.find(b"\n", looked)) < 0:
            if self._eof:
                return -1
            looked = len(self._buffer)
            if looked > READ_AHEAD:
                return looked
            await self._more_data()
        return place + 1

    async def _too_long(self) -> bytes:
        while (place := self._buffer.find(b"\n")) < 0 and not self._eof:
            self._consume(len(self._buffer))
            await self._more_data()
        self._consume(place + 1 if place >= 0 else len(self._buffer))
        await self.say("500 5.5.6 the command line is too long")
        return b""

    def _more_data(self) -> asyncio.Future[None]:
        """Is done when more octets are here, or nothing more will come."""
        self._data_waiter = self.loop.create_future()
        return self._data_waiter

    def _consume(self, count: int) -> bytes:
        """Takes the first octets out of the buffer; reading goes on when there is room."""
        octets = bytes(self._buffer) if count == len(self._buffer) else bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        if self._reading_paused and len(self._buffer) <= READ_AHEAD:
            self._reading_paused = False
            self.transport.resume_reading()
        return octets

    def content_begins(self) -> None:
        """From now on blocks of content are read."""
        self._pace = ContentPace(self._idle, self.loop.time())

    @property
    def dispensable(self) -> bool:
        """Whether the session may be ended: we wait for a command, so nothing is lost."""
        return self.waiting

    async def next_block(self, silence: float | None, *, wide: bool = False) -> bytes | None:
        """Octets as they come, `WIDE` at most if `wide`; b"" at the end, None after `silence` seconds without any."""
        now = self.loop.time()
        self._pace.waits(now)
        self._give_time(now, self._pace.left)
        self.owing_since = self._pace.slow_since
        try:
            self._wide = wide and not self._buffer
            block = await self._wait_for_block(silence)
        finally:
            self.owing_since, self._wide = math.inf, False
        self._pace.brought(len(block or b""), self.loop.time())
        return block

    async def _wait_for_block(self, silence: float | None) -> bytes | None:
        if not self._buffer and not self._eof:
            if silence is None:
                await self._more_data()
            else:
                try:
                    async with asyncio.timeout(silence):
                        await self._more_data()
                except TimeoutError:
                    if not self._buffer and not self._eof:  # octets and timeout may come in one turn of the loop
                        return None
        return self._consume(len(self._buffer))

    async def _discard(self, octets: int) -> None:
        """Reads that many octets and drops them.  Raises SessionOver when the client is gone before."""
        self.content_begins()
        while octets > 0:
            if not (block := await self.next_block(None)):
                raise SessionOver
            self.give_back(block[octets:])
            octets -= len(block)

    def give_back(self, octets: bytes) -> None:
        """Puts back the octets after the end of data: they are the next commands."""
        self._buffer[:0] = octets

    @property
    def pending(self) -> bool:
        """Whether octets are here that were not read yet."""
        return bool(self._buffer)

    # ---- replying ------------------------------------------------------------------------------

    async def say(self, *lines: str) -> None:
        """Sends reply lines in one write.  It is no error if the client is gone."""
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write(b"".join(map(_reply_line, lines)))
        if self._paused:
            self.owing_since = self.loop.time()
            try:
                await self._writer.drain()
            except ConnectionError:
                self.lost = True
            self.owing_since = math.inf

    async def push(self, status: str | bytes) -> None:
        """What aiosmtpd calls for a reply.  Its own waits after each line and sends octets that are no text."""
        text = status if isinstance(status, str) else status.decode("ascii", "replace")
        await self.say(*text.split("\r\n"))

    # ---- timeouts ------------------------------------------------------------------------------

    def _reset_timeout(self, duration: float | None = None) -> None:
        """The client has `idle` seconds.  aiosmtpd makes a new timer for each command; this one is kept and checks again."""
        self._give_time(self.loop.time(), self._idle if duration is None else duration)

    def _give_time(self, now: float, duration: float) -> None:
        self._deadline = now + duration
        if self._timeout_handle is None and not self._connection_gone:  # else what is left to read is here already
            self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)

    def _timeout_cb(self) -> None:
        """Sends 421 first; aiosmtpd only closes."""
        self._timeout_handle = None
        if self._deadline > self.loop.time():
            if self._deadline < math.inf:
                self._timeout_handle = self.loop.call_at(self._deadline, self._timeout_cb)
            return
        self.dismiss("4.4.2 idle for too long, closing")

    def dismiss(self, text: str) -> None:
        """Sends `421 text` and closes the connection."""
        self.dismissed = text
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(f"421 {text}\r\n".encode())
        self._hang_up()

    def no_timeout(self) -> None:
        """Switches the timeout off until the next line or block is read."""
        self._deadline = math.inf

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _hang_up(self) -> None:
        self.no_timeout()
        if self.transport is not None and not self._hung_up:
            self._hung_up = True
            if not self.transport.is_closing():  # a second close would lose the TLS layer
                self.transport.close()
            if self.tls or self.transport.get_write_buffer_size():
                self.loop.call_later(_FLUSH, self.transport.abort)  # a peer that reads nothing must not keep the socket

    # ---- TLS -----------------------------------------------------------------------------------

    async def _start_tls(self) -> None:
        """aiosmtpd's STARTTLS with a shorter timeout for the handshake.  Raises OSError."""
        self.no_timeout()  # the handshake has its own timeout
        self._spoke = True
        self.owing_since = self.loop.time()
        self.transport.pause_reading()  # what comes next is for the TLS layer, which is ready in the loop's next turn
        self.loop.call_soon(self.transport.resume_reading)
        try:
            async with asyncio.timeout(_HANDSHAKE):
                await super().smtp_STARTTLS("")
        except smtp.TLSSetupException as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from error
            raise ConnectionAbortedError(repr(error.__cause__)) from error
        except TimeoutError as error:
            raise ConnectionAbortedError(f"SSL handshake is taking longer than {_HANDSHAKE:g} seconds") from error
        finally:
            self.owing_since = math.inf
            if not self.tls and self._original_transport is not None:
                self._original_transport.abort()  # asyncio does not report a connection that is lost in the handshake
        if not self.tls:
            raise ConnectionResetError


@lru_cache(maxsize=256)  # most replies are the same for all clients
def _reply_line(text: str) -> bytes:
    """A reply line is ASCII text (RFC 5321 s4.2), also where it quotes a client's 8-bit or control octets."""
    line = text.encode("ascii", "replace")
    return (_NOT_TEXT.sub(b"?", line) if _NOT_TEXT.search(line) else line) + b"\r\n"
