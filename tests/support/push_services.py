"""Push services on loopback, which keep the documented API of ntfy, Gotify and Telegram; and a proxy that leads to them.

ntfy: https://docs.ntfy.sh/publish/ (JSON to the root, an attachment as the body to the topic, errors as JSON with `code`).
Gotify: https://gotify.net/api-docs (POST /message, key in X-Gotify-Key or ?token=).
Telegram: https://core.telegram.org/bots/api (sendMessage, sendPhoto, 429 with parameters.retry_after).
"""

import importlib.util
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

NEEDS_APPRISE = pytest.mark.skipif(importlib.util.find_spec("apprise") is None, reason="needs the library Apprise")
"""The library is never imported in a test's own process: it belongs into the push process."""

HIDING = """
import sys
from importlib.machinery import PathFinder
class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {names} else PathFinder.find_spec(name, path, target)
sys.meta_path = [Hiding if each is PathFinder else each for each in sys.meta_path]
"""
"""Lines for the beginning of a Python process that is not to find the modules `names`."""


def hiding(*names: str, also: str = "") -> tuple[str, ...]:
    """The command of a push process that does not find these modules, after it has done what `also` says."""
    begin = HIDING.replace("{names}", repr(set(names))) + also
    run = "import runpy; runpy.run_module('relay.upstream.push.child', run_name='__main__')"
    return (sys.executable, "-P", "-c", f"{begin}\n{run}")


def children(parent: int | None = None) -> list[int]:
    """The push processes of this one, or of another."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and b"relay.upstream.push.child" in (folder / "cmdline").read_bytes():
                above = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                found += [int(folder.name)] if int(above) == (parent or os.getpid()) else []
        except OSError:
            continue
    return found


JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb") + bytes(range(256)) * 40 + bytes.fromhex("ffd9")


@dataclass
class Pushed:
    """One request as the service understood it."""

    path: str
    title: str = ""
    message: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    to: str = ""


@dataclass
class Service:
    """Answers each request; `pushed` has what was taken, `looks` the paths that were asked for with GET, which send nothing.

    `fail` is answered instead, once for each entry.

    `hang`: the request is read and never answered.  `hold`: while it is set, answers wait.
    """

    fail: list[tuple[int, Mapping[str, Any], Mapping[str, str]]] = field(default_factory=list)
    pushed: list[Pushed] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    requests: int = 0
    hang: bool = False
    delay: float = 0.0
    port: int = 0

    def refuse(self, status: int, body: Mapping[str, Any] | None = None, times: int = 1, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.fail += [(status, body or {}, named)] * times

    def took(self, number: int = 1, seconds: float = 30) -> list[Pushed]:
        """What was taken, once there are so many."""
        end = time.monotonic() + seconds
        while len(self.pushed) < number:
            assert time.monotonic() < end, f"{len(self.pushed)} of {number} came"
            time.sleep(0.02)
        return list(self.pushed)

    def answer(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        raise NotImplementedError

    def look(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, Any]:
        """The answer to GET."""
        return 404, {"error": "Not Found"}


@dataclass
class Ntfy(Service):
    """`token` who may publish ("": anybody), `reads`: and may read; `attachments` False: a server without
    `attachment-cache-dir`.

    A text of more than 4,096 octets becomes an attachment; JSON of more than twice as much is refused.
    """

    token: str = ""
    reads: bool = True
    attachments: bool = True
    largest: int = 15_000_000

    def answer(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            return _ntfy_error(40301, "forbidden")
        if path == "/":
            if len(body) > 8192:
                return _ntfy_error(41303, "JSON body too large")
            said = json.loads(body)
            if len(said.get("message", "").encode()) > 4096:
                return _ntfy_error(40014, "invalid request: attachments not allowed")
            if not said.get("topic"):
                return _ntfy_error(40009, "invalid request: topic invalid")
            pushed = Pushed(path, said.get("title", ""), said.get("message", ""), to=said["topic"])
        else:
            if not self.attachments:
                return _ntfy_error(40014, "invalid request: attachments not allowed")
            if len(body) > self.largest:
                return _ntfy_error(41301, "attachment too large, or bandwidth limit reached")
            pushed = Pushed(path, query.get("title", ""), query.get("message", ""), {query["filename"]: body}, path.strip("/"))
        self.pushed.append(pushed)
        return 200, {"id": f"id{len(self.pushed)}", "time": int(time.time()), "event": "message", "topic": pushed.to}

    def look(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, Any]:
        said = headers.get("Authorization")
        if said and said != f"Bearer {self.token}":
            return _ntfy_error(40101, "unauthorized")
        if path == "/v1/health":
            return 200, {"healthy": True}
        if not re.fullmatch(r"/[-_A-Za-z0-9]{1,64}/auth", path):
            return _ntfy_error(40401, "page not found")
        return (200, {"success": True}) if self.reads and (said or not self.token) else _ntfy_error(40301, "forbidden")


def _ntfy_error(code: int, words: str) -> tuple[int, dict[str, Any]]:
    return code // 100, {"code": code, "http": code // 100, "error": words, "link": "https://ntfy.sh/docs/publish/"}


@dataclass
class Gotify(Service):
    key: str = "AgotifyToken.1"

    def answer(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        if self.key not in (headers.get("X-Gotify-Key"), query.get("token")):
            words = "you need to provide a valid access token or user credentials to access this api"
            return 401, {"error": "Unauthorized", "errorCode": 401, "errorDescription": words}
        said = json.loads(body)
        if path != "/message" or not said.get("message"):
            return 400, {"error": "Bad Request", "errorCode": 400, "errorDescription": "Field 'message' is required"}
        self.pushed.append(Pushed(path, said.get("title", ""), said["message"]))
        return 200, {"id": len(self.pushed), "appid": 1, "message": said["message"], "priority": said.get("priority", 0)}


@dataclass
class Telegram(Service):
    token: str = "123456789:AAexampleBotTokenOfThirtyFiveLetters"
    chats: tuple[str, ...] = ("987654321",)

    def answer(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        if not path.startswith(f"/bot{self.token}/"):
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        said, files = form_of(headers, body)
        if str(said.get("chat_id")) not in self.chats:
            return 400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
        method = path.rpartition("/")[2]
        text = str(said.get("text" if method == "sendMessage" else "caption", ""))
        if method == "sendMessage" and not 1 <= len(text) <= 4096:
            return 400, {"ok": False, "error_code": 400, "description": "Bad Request: message is too long"}
        self.pushed.append(Pushed(path.replace(self.token, "TOKEN"), "", text, files, str(said["chat_id"])))
        return 200, {"ok": True, "result": {"message_id": len(self.pushed)}}

    def look(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, Any]:
        if not path.startswith(f"/bot{self.token}/"):
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        if path.endswith("/getMe"):
            return 200, {"ok": True, "result": {"id": 123456789, "is_bot": True, "first_name": "alarms"}}
        if path.endswith("/getChat") and query.get("chat_id") in self.chats:
            return 200, {"ok": True, "result": {"id": query["chat_id"], "type": "private"}}
        return 400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}


def form_of(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    kind = headers.get("Content-Type", "")
    if kind.startswith("application/json"):
        return json.loads(body), {}
    if kind.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode())), {}
    whole = BytesParser(EmailMessage, policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    said, files = {}, {}
    for part in whole.iter_parts():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if part.get_filename():
            files[part.get_filename()] = content
        else:
            said[str(name)] = content.decode()
    return said, files


@contextmanager
def serving(service: Service, context: ssl.SSLContext | None = None) -> Iterator[Service]:
    """The service on a free port, over TLS with `context`."""
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.requests += 1
            if service.hang:
                done.wait(60)
                self.close_connection = True
                return
            if service.delay:
                time.sleep(service.delay)
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            headers: Mapping[str, str] = {}
            if service.fail:
                status, answer, headers = service.fail.pop(0)
            else:
                status, answer = service.answer(parts.path, query, self.headers, body)
            self.say(status, answer, headers)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            service.looks.append(parts.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if service.hang:
                while not done.wait(0.1):  # octet for octet, so that no time-out between two of them helps
                    self.wfile.write(b"H")
            self.say(*service.look(parts.path, query, self.headers), {})

        def say(self, status: int, answer: Any, headers: Mapping[str, str]) -> None:
            octets = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        do_PUT = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            sock, place = super().get_request()
            if context:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            return sock, place

        def handle_error(self, *_args: object) -> None:
            pass  # a client that hangs up in the middle is one of the tests

    server = Server(("127.0.0.1", service.port), Handler)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    service.port = server.server_address[1]
    try:
        yield service
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def proxy(ports: Mapping[str, int]) -> Iterator[tuple[int, list[str]]]:
    """An HTTP proxy that leads each CONNECT to a host to its port here: its own port, and where people wanted to go."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while octets := source.recv(65536):
                sink.sendall(octets)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def lead(client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (octets := client.recv(4096)):
                    return
                head += octets
            asked.append(head.split()[1].decode())
            with socket.create_connection(("127.0.0.1", ports[asked[-1].partition(":")[0]])) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join(10)

    def accept() -> None:
        while not stopped.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=lead, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
