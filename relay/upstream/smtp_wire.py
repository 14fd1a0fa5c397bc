"""The connection to a server after the login: reads replies, writes commands and content, notices timeouts and ends.

It takes over the transport that aiosmtplib has connected, encrypted and logged in (`set_protocol`, public in asyncio),
because aiosmtplib drops replies that come while another is awaited: it can neither pipeline (RFC 2920) nor stream.
RFC 5321 s4.2.
"""

import asyncio
import math
import re
from collections.abc import Callable
from functools import lru_cache

from relay.mail.reply import Fault, Reply

_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\Z", re.DOTALL)
_LONGEST_REPLY = 65_536  # octets; RFC 5321 s4.5.3.1.5 asks for 512 per line, real replies are a few thousand in all
_MOST_LINES = 500  # of one reply


class WireLost(Exception):
    """The connection is lost, or what came is no SMTP reply; `reply` is ours (4.4.x, 4.5.0) and says why."""

    def __init__(self, reply: Reply, fault: Fault) -> None:
        super().__init__(str(reply))
        self.reply = reply
        self.fault = fault


class SmtpWire(asyncio.Protocol):
    """For one transaction at a time.  Every failure closes the connection: later replies could belong to anything."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._seen = self._lines = 0  # octets of it that are whole lines of a reply which goes on, and how many lines
        self._wake: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = math.inf
        self._paused = False
        self._ended = transport.is_closing()
        transport.set_protocol(self)

    @property
    def alive(self) -> bool:
        """False once the server closed, or sent an unasked reply (the `421 idle too long` before it closes)."""
        return not (self._ended or self._buffer or self._transport.is_closing())

    @property
    def spoken(self) -> bool:
        """Whether a reply waits to be read, or none will ever come."""
        return self._ended or bool(self._buffer)

    def write(self, data: bytes) -> None:
        """Hands octets to the transport; they may not have been sent when this returns."""
        self._transport.write(data)

    async def drained(self, patience: float) -> None:
        """Returns when the server has taken enough of what was written, or replied, or closed.

        Raises WireLost when it does none of it within `patience` seconds.
        """
        await self._until(lambda: not self._paused or self.spoken, patience, "takes no more data")

    async def reply(self, patience: float) -> Reply:
        """The next reply.  Raises WireLost when none comes within `patience` seconds, or what comes is none."""
        await self._until(self._complete, patience, "gives no reply")
        self._seen = self._lines = 0
        lines: list[str] = []
        while True:
            end = self._buffer.find(b"\n")
            if end < 0:
                raise WireLost(Reply(421, "4.4.2", "the server closed the connection"), Fault.HUNG_UP)
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            code, text, goes_on = _reply_line(line)
            if not code:
                self.close()
                raise WireLost(garbage(line.rstrip(b"\r")), Fault.GARBAGE)
            if not goes_on:
                return Reply.of(code, "\n".join([*lines, text]) if lines else text)
            lines.append(text)

    def close(self) -> None:
        """Closes at once, without QUIT."""
        self._ended = True
        self._forget_timer()
        self._transport.abort()

    def _complete(self) -> bool:
        """Whether a whole reply, a line that is no part of one, or the end has come."""
        if self._ended:
            return True
        while (end := self._buffer.find(b"\n", self._seen)) >= 0:
            if self._buffer[self._seen + 3 : self._seen + 4] != b"-" or end - self._seen < 4:
                return True
            self._seen, self._lines = end + 1, self._lines + 1
            if self._lines > _MOST_LINES:
                self._endless()
                return True
        return False

    def _endless(self) -> None:
        self.close()
        self._buffer[:], self._seen = b"(a reply without end)\n", 0

    async def _until(self, condition: Callable[[], bool], patience: float, complaint: str) -> None:
        if condition():
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + patience
        # an earlier timer is kept: it checks the deadline again, and most timers never fire
        if self._timer is None or self._timer.when() > self._deadline:
            self._forget_timer()
            self._timer = loop.call_at(self._deadline, self._look_at_clock)
        try:
            while not condition():
                if self._deadline <= loop.time():
                    self.close()
                    raise WireLost(Reply(421, "4.4.2", f"the server {complaint} for {patience:g} seconds"), Fault.TIMED_OUT)
                self._wake = loop.create_future()
                await self._wake
        finally:
            self._deadline = math.inf

    def _look_at_clock(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._deadline <= loop.time():
            self._awake()
        elif self._deadline < math.inf:
            self._timer = loop.call_at(self._deadline, self._look_at_clock)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _awake(self) -> None:
        if self._wake and not self._wake.done():
            self._wake.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _LONGEST_REPLY:
            self._endless()
        self._awake()

    def eof_received(self) -> None:
        self._ended = True
        self._awake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._forget_timer()
        self._awake()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._awake()


@lru_cache(maxsize=64)  # most replies are the same for every message
def _reply_line(line: bytes) -> tuple[int, str, bool]:
    """The code (0 if this is no line of a reply), the text, and whether another line follows."""
    match = _REPLY_LINE.match(line.rstrip(b"\r"))
    return (int(match[1]), (match[3] or b"").decode("utf-8", "replace"), match[2] == b"-") if match else (0, "", False)


def garbage(line: bytes) -> Reply:
    """Our reply for something that is no SMTP reply; shows the start of it."""
    shown = line[:60].decode("ascii", "backslashreplace")
    return Reply(421, "4.5.0", f"the server said something that is no SMTP reply: {shown!r}")
