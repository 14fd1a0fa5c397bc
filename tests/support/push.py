"""A push service on loopback, as ntfy and its like are: a JSON POST, an answer."""

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Push:
    """A push service: keeps what is posted to it, answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.posts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        push = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = push.status  # before anybody sees the post, who may want another answer to the next one
                push.posts.append(json.loads(body))
                push.paths.append(self.path)
                push.headers.append(dict(self.headers.items()))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=partial(self._server.serve_forever, poll_interval=0.02))
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/topic"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
