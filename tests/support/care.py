"""A browser without a window for the page's forms, and an account whose consent has ended.

page = Forms(relay, PASSWORD)
page.submit("/doctor")                     as a person presses the button: cookie, seal and all
page.api("GET", "/api/doctor")
"""

import asyncio
import base64
import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.oauth import Stub
from tests.support.running import RelayProcess
from tests.support.upstream import ScriptedUpstream

PAST = "2026-01-02T03:04:05+00:00"


class Forms:
    """Asks a relay's page; `password` "" sends none."""

    def __init__(self, relay: RelayProcess, password: str = "", language: str = "en") -> None:
        self.relay, self.language = relay, language
        self.login = base64.b64encode(f"me:{password}".encode()).decode() if password else ""
        self.answers: list[str] = []
        """Every body that came."""

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection(self.relay.events("started")[-1]["web"], timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named |= {"Accept-Language": self.language} | ({"Authorization": f"Basic {self.login}"} if self.login else {})
        try:
            connection.request(method, path, body or None, named)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        self.answers.append(text)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def page(self, path: str) -> str:
        code, _, text = self.ask("GET", path)
        assert code == 200, text
        return text

    def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        octets = b"" if body is None else json.dumps(body).encode()
        code, _, text = self.ask(method, path, octets, **({"Content_Type": "application/json"} if octets else {}))
        return code, json.loads(text)

    def submit(self, path: str, **fields: str) -> tuple[int, dict[str, str], str]:
        """The form of that page, filled in with these."""
        _, headers, text = self.ask("GET", path)
        cookies = headers.get("set-cookie", "")
        cookie = re.search(r"relay_form=([^;]+)", cookies)
        assert cookie, cookies
        seal = re.findall(r'name="form" value="(\w+)"', text)[0]
        body = urlencode({"form": seal, **fields}).encode()
        more = {"Content_Type": "application/x-www-form-urlencoded", "Cookie": f"relay_form={cookie[1]}"}
        return self.ask("POST", path, body, **more)


class Newest(dict[str, str]):
    """The users of an SMTP server that takes the access token which the token server gave out last."""

    def __init__(self, stub: Stub) -> None:
        super().__init__({stub.user: ""})
        self.stub = stub

    def get(self, user: str, default: Any = None) -> Any:
        return next(reversed(self.stub.access_tokens), "nothing") if user == self.stub.user else default


def by_token(stub: Stub) -> ScriptedUpstream:
    """Logs in by XOAUTH2 alone."""
    server = ScriptedUpstream(mechanisms=("XOAUTH2",), require_auth=True)
    server.users = Newest(stub)
    return server


@contextmanager
def served(server: ScriptedUpstream) -> Iterator[int]:
    """The server in a thread of its own; its port."""
    up, over = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with server:
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(10)
    try:
        yield server.port
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(10)


def ended_consent(folder: Path, upstream: str, user: str) -> None:
    """What is kept of a consent that ended long ago; its token is worth nothing any more."""
    kept = {
        "refresh_token": "refresh-void-token",
        "access_token": "access-void-token",
        "client_id": "app",
        "username": user,
        "seed": "",
        **dict.fromkeys(("granted_at", "refreshed_at", "ends_at", "access_until"), PAST),
    }
    (folder / "oauth").mkdir(parents=True, exist_ok=True)
    (folder / "oauth" / f"{upstream}.json").write_text(json.dumps(kept))
