"""One HTTP/1.1 connection to an API: requests with a streamed body, whole answers, and whether a lost request was sent.

h11 reads and writes the protocol; this file has the socket, TLS, and a time limit for each step.  RFC 9110, RFC 9112.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import h11

from relay.mail.reply import Fault, readable
from relay.upstream.connect import Endpoint, places, reach

_BLOCK = 65_536
_LONGEST_HEADER = 65_536
KEPT_BODY = 262_144
"""Octets of an answer's body that are kept; the rest is read and dropped."""


class HttpLost(Exception):
    """There is no answer; the text says why.  `sent`: the whole request had been written, so it may have been carried out."""

    def __init__(self, fault: Fault, words: str, *, sent: bool) -> None:
        super().__init__(words)
        self.fault, self.sent = fault, sent


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer: names of header fields in lower case, the first `KEPT_BODY` octets of the body."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`body` yields exactly `length` octets.  `at_end` is called just before the last of them is written.

    `most`: an answer with a longer body is none; else of a long one the rest is dropped.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    length: int = 0
    body: AsyncGenerator[bytes, None] | None = None
    at_end: Callable[[], None] = lambda: None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class HttpOrigin:
    """Where an http or https URL leads."""

    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> "HttpOrigin":
        """Raises ValueError for what is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it is no http or https URL")
        secure = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure)

    @property
    def authority(self) -> str:
        """The Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


async def open_http(
    origin: HttpOrigin, context: ssl.SSLContext | None, patience: float, candidates: Sequence[Endpoint] = ()
) -> "HttpSession":
    """A fresh connection, to one of the `candidates` if there are any.

    Raises Failed where there is none, and what a TLS handshake raises.
    """
    sock, place = await reach(candidates or await places(origin.host, origin.port, patience), patience)
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock,
            ssl=context,
            server_hostname=origin.host if context else None,
            ssl_handshake_timeout=patience if context else None,
        )
    except BaseException:
        sock.close()
        raise
    return HttpSession(origin, reader, writer, str(place))


class HttpSession:
    """One request at a time.  After any failure it is closed."""

    def __init__(self, origin: HttpOrigin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        self.origin, self.peer = origin, peer
        self._reader, self._writer = reader, writer
        self._socket = writer.get_extra_info("socket")
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEADER)

    @property
    def tls(self) -> str:
        """The TLS version, "" without TLS."""
        found = self._writer.get_extra_info("ssl_object")
        return str(found.version() or "") if found else ""

    @property
    def certificate(self) -> bytes:
        found = self._writer.get_extra_info("ssl_object")
        return bytes(found.getpeercert(binary_form=True) or b"") if found else b""

    @property
    def alive(self) -> bool:
        """Whether a further request may be sent: the server has not closed it, as far as can be seen."""
        return self._http.our_state is h11.IDLE and not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Closes at once: a TLS connection that is closed in order waits for the other side."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._writer.close()

    async def ask(self, request: HttpRequest, patience: float, answer_within: float | None = None) -> HttpResponse:
        """The answer to a request, which may come before all of it is sent.  Raises HttpLost, and what the body raises.

        `patience` is for each step, `answer_within` for the answer once all is sent.
        """
        exchange = _Exchange(self._http, self._reader, self._writer, self.origin)
        try:
            found = await exchange.run(request, patience, answer_within or patience)
        except BaseException:
            self.close()
            raise
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.close()
        return found


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: HttpOrigin
    ) -> None:
        self._http, self._reader, self._writer, self._origin = http, reader, writer, origin
        self.sent = False

    async def run(self, request: HttpRequest, patience: float, answer_within: float) -> HttpResponse:
        answer = asyncio.create_task(self._answer(request.most))
        try:
            await self._send(request, patience, answer)
            async with asyncio.timeout(answer_within):
                return await answer
        except TimeoutError:
            words = f"{self._origin.host} gives no answer within {answer_within:g} seconds"
            raise HttpLost(Fault.TIMED_OUT, words, sent=self.sent) from None
        except h11.ProtocolError as error:
            words = f"{self._origin.host} answers with what is no HTTP: {readable(str(error))}"
            raise HttpLost(Fault.GARBAGE, words, sent=self.sent) from None
        except OSError as error:
            words = f"the connection to {self._origin.host} broke: {error.strerror or error}"
            raise HttpLost(Fault.HUNG_UP, words, sent=self.sent) from None
        finally:
            answer.cancel()
            await asyncio.wait({answer})
            if not answer.cancelled():
                answer.exception()  # nobody else asks for it

    async def _send(self, request: HttpRequest, patience: float, answer: "asyncio.Task[HttpResponse]") -> None:
        """Writes the request, block by block; stops when the server answers in the middle, or hangs up."""
        fields = [("Host", self._origin.authority), *request.headers, ("Content-Length", str(request.length))]
        start = self._http.send(h11.Request(method=request.method, target=request.target, headers=fields))
        held = start or b""
        if request.body is not None:
            async with aclosing(request.body) as body:
                async for block in body:
                    self._writer.write(held)
                    held = b""
                    if not await self._drained(patience, answer):
                        return
                    held = self._http.send(h11.Data(data=block)) or b""
        end = self._http.send(h11.EndOfMessage()) or b""
        request.at_end()
        self.sent = True
        self._writer.write(held + end)
        await self._drained(patience, answer)

    async def _drained(self, patience: float, answer: "asyncio.Task[HttpResponse]") -> bool:
        """Whether the server has taken enough of what was written; False if it answered or hung up instead."""
        try:
            async with asyncio.timeout(patience):
                await self._writer.drain()
        except TimeoutError:
            if not answer.done():
                words = f"{self._origin.host} takes no more data"
                raise HttpLost(Fault.TIMED_OUT, words, sent=self.sent) from None
        except OSError:
            return False  # it may have said why before it hung up
        return not answer.done()

    async def _answer(self, most: int | None) -> HttpResponse:
        status, reason, headers, body = 0, "", dict[str, str](), bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                octets = await self._reader.read(_BLOCK)
                if not octets and self._http.their_state is h11.SEND_RESPONSE and not self._http.trailing_data[0]:
                    raise ConnectionResetError("the server hung up before it answered")
                self._http.receive_data(octets)
            elif isinstance(event, h11.Response):
                status, reason = event.status_code, readable(event.reason.decode("latin-1"))
                for name, value in event.headers:
                    headers.setdefault(name.decode("ascii").lower(), readable(value.decode("latin-1")))
            elif isinstance(event, h11.Data):
                if most is not None and len(body) + len(event.data) > most:
                    raise HttpLost(Fault.GARBAGE, f"{self._origin.host} answers with more than {most} octets", sent=self.sent)
                body += bytes(event.data)[: max(0, KEPT_BODY - len(body))]
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return HttpResponse(status, reason, headers, bytes(body))
