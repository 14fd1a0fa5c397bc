"""Servers that are not what an upstream should be: they drip, flood, hang, answer nonsense, or repeat a device's words."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

Behaviour = Callable[[socket.socket, threading.Event], None]


class Strange:
    """One such server on a free port; each connection in a thread of its own."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour, self._over = behaviour, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, ValueError):
            self._behaviour(sock, self._over)


def DRIP(sock: socket.socket, over: threading.Event) -> None:
    """A reply that never ends, an octet now and then."""
    sock.sendall(b"220-")
    while not over.wait(1.0):
        sock.sendall(b"x")


def HUGE(sock: socket.socket, over: threading.Event) -> None:
    """Every refusal has 61 kB in words that look like a reason, on one line or on a thousand."""
    sock.sendall(b"220 huge\r\n")
    lines = sock.makefile("rb")
    words = b"helo " * 12_200
    for line in lines:
        if over.is_set():
            return
        if line[:4].upper() in (b"EHLO", b"HELO"):
            sock.sendall(b"250 huge\r\n")
        elif line[:4].upper() == b"MAIL":
            sock.sendall(
                b"550-" + b"\r\n550-".join(words[at : at + 900] for at in range(0, len(words), 900)) + b"\r\n550 x\r\n"
            )
        else:
            sock.sendall(b"450 4.3.0 " + words + b"\r\n")


def GARBAGE(sock: socket.socket, over: threading.Event) -> None:
    """No SMTP at all, and much of it."""
    block = bytes(range(256)) * 256
    while not over.is_set():
        sock.sendall(block)


def SILENT(sock: socket.socket, over: threading.Event) -> None:
    """Accepts the connection, and that is all."""
    over.wait(3600)


def ECHO(sock: socket.socket, over: threading.Event) -> None:
    """Refuses each recipient with the device's own words."""
    sock.sendall(b"220 echo\r\n")
    for line in sock.makefile("rb"):
        verb = line[:4].upper()
        if verb == b"RCPT":
            sock.sendall(b"550 5.1.1 " + line.partition(b":")[2].strip() + b": User unknown in local recipient table\r\n")
        elif verb == b"DATA":
            sock.sendall(b"554 5.5.1 no recipients\r\n")
        else:
            sock.sendall(b"250 2.0.0 ok\r\n")
