"""An HTTPS server for MTA-STS policies on loopback, in a thread: real TLS, real HTTP.

    with PolicyServer(context, {"mta-sts.there.example": policy(...)}) as server:
        fetch = PolicyFetch(resolver, port=server.port, tls=...)

`answers` maps a Host to what is answered: a body, or (status, headers, body), or a function of the socket that does as it
likes.  `asked` lists (host, path) as they came.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

Answer = bytes | tuple[int, dict[str, str], bytes] | Callable[[Any], None]


def policy(mode: str = "enforce", *mx: str, max_age: int = 604_800) -> bytes:
    """The text of a policy."""
    lines = [
        "version: STSv1",
        f"mode: {mode}",
        *(f"mx: {name}" for name in mx or ("mail.there.example",)),
        f"max_age: {max_age}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


class PolicyServer:
    def __init__(self, context: ssl.SSLContext, answers: dict[str, Answer], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._context, self.answers, self._place = context, answers, (host, port)
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        self._listening = socket.create_server(self._place)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(line,), daemon=True).start()

    def _one(self, line: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError), line, self._context.wrap_socket(line, server_side=True) as talk:
            talk.settimeout(30)
            request = b""
            while b"\r\n\r\n" not in request:
                if not (octets := talk.recv(65_536)):
                    return
                request += octets
            first, *fields = request.decode("ascii").split("\r\n")
            host = next(field.partition(":")[2].strip() for field in fields if field.lower().startswith("host:"))
            host = host.partition(":")[0]
            self.asked.append((host, first.split(" ")[1]))
            answer = self.answers.get(host, (404, {}, b"not here"))
            if callable(answer):
                answer(talk)
                return
            code, headers, body = (200, {"Content-Type": "text/plain"}, answer) if isinstance(answer, bytes) else answer
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            talk.sendall(f"HTTP/1.1 {code} X\r\n{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
