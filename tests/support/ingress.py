"""A stand-in for Home Assistant's Supervisor: its page shows the relay's in a frame, below a path that only it knows.

browser ── / ──▶ a page with a frame          browser ── /api/hassio_ingress/TOKEN/doctor ──▶ relay: /doctor

As supervisor/api/ingress.py does it: Host, cookies and Origin pass, the user is named, redirects are not followed; Core sets a
Referrer-Policy of its own (homeassistant/components/http/headers.py).
"""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/api/hassio_ingress/Kd3_x-9Zq"
USER = "X-Remote-User-Id"


@contextmanager
def ingress(page: str) -> Iterator[str]:
    """Its address, as `http://127.0.0.1:PORT`; `page` is the relay's."""
    place = page.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            if self.path == "/":
                return self.answer(200, [("Content-Type", "text/html")], f'<iframe src="{PREFIX}/"></iframe>'.encode())
            if not self.path.startswith(f"{PREFIX}/"):
                return self.answer(404, [], b"Home Assistant has no such page\n")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            passed = {name: value for name, value in self.headers.items() if name.lower() != USER.lower()}
            passed |= {"X-Ingress-Path": PREFIX, USER: "0123456789abcdef", "Connection": "close"}
            asked = http.client.HTTPConnection(place, timeout=30)
            try:
                asked.request(self.command, self.path.removeprefix(PREFIX), body or None, passed)
                got = asked.getresponse()
                drop = ("content-length", "transfer-encoding", "connection", "referrer-policy", "x-frame-options")
                kept = [pair for pair in got.getheaders() if pair[0].lower() not in drop]
                kept += [("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "SAMEORIGIN")]
                return self.answer(got.status, kept, got.read())
            finally:
                asked.close()

        do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server looks for

        def answer(self, code: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(code)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # server_close waits for what is being answered
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
