"""One HTTP request over urllib, without redirects and with one deadline for the whole answer.  Blocks.

urllib's own timeout is for each piece that comes: a server that sends an octet now and then would renew it for ever.
"""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # else with the first request: 1 MB that most relays never need
    import socket
    import urllib.request


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the server answered, whatever the code: at most so many octets of the body as were asked for."""

    code: int
    reason: str
    body: bytes


class NoHttpAnswer(Exception):
    """The server cannot be reached, or its answer is no whole answer; the text says why."""


def post(url: str, body: bytes, headers: Mapping[str, str], seconds: float, most: int) -> HttpAnswer:
    """POSTs to an http or https URL; everything together takes at most `seconds`.  Raises NoHttpAnswer."""
    import http.client
    import urllib.error
    import urllib.request

    if not url.lower().startswith(("http://", "https://")):
        raise NoHttpAnswer("it is no http or https URL")
    try:
        request = urllib.request.Request(url, body, dict(headers), method="POST")  # noqa: S310 - looked at above
        with _opener(time.monotonic() + seconds).open(request, timeout=seconds) as response:
            return HttpAnswer(response.status, response.reason, response.read(most))
    except urllib.error.HTTPError as error:
        with error:
            return HttpAnswer(error.code, error.reason, _rest(error, most))
    except http.client.InvalidURL:
        raise NoHttpAnswer("the URL cannot be used") from None  # its words repeat what may be a secret
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        late = f"no whole answer within {seconds:g} seconds" if isinstance(cause, TimeoutError) else ""
        raise NoHttpAnswer(late or str(cause) or type(cause).__name__) from error


def _rest(error: Any, most: int) -> bytes:
    import http.client

    try:
        found: bytes = error.read(most)
    except (OSError, http.client.HTTPException):
        return b""  # the code says enough
    return found


def _opener(end: float) -> "urllib.request.OpenerDirector":
    import http.client
    import urllib.request

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
            super().__init__(_Ending(sock, end), *args, **options)  # type: ignore[arg-type]

    class Plain(http.client.HTTPConnection):
        response_class = Response

    class Secure(http.client.HTTPSConnection):
        response_class = Response

    class OverPlain(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Plain, request)

    class OverSecure(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Secure, request)

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """A redirected POST would arrive as an empty GET, or tell its secrets to somebody else."""

        def redirect_request(self, *_: Any) -> None:
            return None

    return urllib.request.build_opener(OverPlain, OverSecure, NoRedirect)


class _Ending:
    """A socket as HTTPResponse uses it: a file to read from, which ends at `end`."""

    def __init__(self, sock: "socket.socket", end: float) -> None:
        self._sock, self._end = sock, end

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_UntilEnd(self._sock, self._end))


class _UntilEnd(io.RawIOBase):
    def __init__(self, sock: "socket.socket", end: float) -> None:
        self._sock, self._end = sock, end
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open: urllib closes its own end early

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
