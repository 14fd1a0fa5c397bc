"""`relay run --setup` as a process of its own, and a person who answers it with a browser that knows no JavaScript.

with setting_up(tmp_path) as relay:
    person = Person(relay.place)
    person.send("/code", code=relay.code)
    person.send("/server", host="127.0.0.1")
    ...
"""

import html
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support.running import ROOT
from tests.support.waiting import eventually

HASTE = 20.0
"""Seconds in which set-up must have ended after SIGTERM, on a busy machine."""


class SetupProcess:
    """One relay that begins without a configuration.  `log` has the events of all its lives."""

    def __init__(self, folder: Path, *words: str, **environ: str) -> None:
        self.folder, self.state, self._words = folder, folder / "state", words or ("--setup",)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
        usual = {
            "RELAY_SPOOL": f"sqlite:{self.state}/spool.db",
            "RELAY_SPOOL_KEEP_FREE": "1MB",
            "RELAY_LISTEN": "127.0.0.1:0",
            "RELAY_WEB": "127.0.0.1:0",
            "RELAY_LOG_FORMAT": "json",
        }
        python = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "no_proxy": "*"}
        self.environ = {name: value for name, value in {**inherited, **python, **usual, **environ}.items() if value}
        self.log: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.process: subprocess.Popen[str]

    def start(self) -> "SetupProcess":
        """Returns once the page is open."""
        before = len(self.opened)
        self.launch()
        eventually(lambda: len(self.opened) > before or self.process.poll() is not None, complaint=self.said)
        assert self.process.poll() is None, self.said()
        return self

    def launch(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "relay", "run", *self._words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line.rstrip("\n"))
                if line.startswith("{"):
                    self.log.append(json.loads(line))

    def said(self) -> str:
        return "\n".join(self.lines)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in tuple(self.log) if line["event"] == name]

    def wait_for(self, name: str, count: int = 1, seconds: float = 30) -> dict[str, Any]:
        eventually(lambda: len(self.events(name)) >= count, seconds, self.said)
        return self.events(name)[count - 1]

    @property
    def opened(self) -> list[dict[str, Any]]:
        """The starts of set-up, not the right codes that came."""
        return [line for line in self.events("opened") if "code" in line]

    @property
    def code(self) -> str:
        return str(self.opened[-1]["code"])

    @property
    def place(self) -> str:
        return str(self.opened[-1]["web"])

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(HASTE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise AssertionError(f"SIGTERM did not end it within {HASTE:g} s\n{self.said()}") from None

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another verb, called where and as the relay is."""
        line = [sys.executable, "-m", "relay", *words]
        return subprocess.run(line, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False)

    def files(self) -> set[str]:
        """What lies in its folder; not what the doctor writes for a moment to see whether the disk can be written."""
        found = (file for file in self.folder.rglob("*") if not file.name.startswith(".doctor-") and file.is_file())
        return {str(file.relative_to(self.folder)) for file in found}


@contextmanager
def setting_up(folder: Path, *words: str, **environ: str) -> Iterator[SetupProcess]:
    """A relay that waits for its set-up, ended cleanly after the test."""
    relay = SetupProcess(folder, *words, **environ)
    try:
        yield relay.start()
    finally:
        if relay.running:
            relay.stop()


class Person:
    """Keeps cookies, sends each form with its seal, follows redirects.  `code` and `text` are of the last page."""

    def __init__(self, place: str, language: str = "en") -> None:
        self.place, self.language = place, language
        self.cookies: dict[str, str] = {}
        self.code, self.page, self.headers = 0, "", dict[str, str]()

    @property
    def text(self) -> str:
        """Without markup."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.page)).split())

    def look(self, path: str = "/") -> str:
        self._ask("GET", path)
        return self.text

    def send(self, action: str, **fields: str) -> str:
        """A form of the page that is open, or of the first one."""
        if 'name="form"' not in self.page:
            self.look()
        seal = re.search(r'name="form" value="(\w+)"', self.page)
        self._ask("POST", action, urlencode({"form": seal[1] if seal else "", **fields}))
        return self.text

    def until(self, text: str, path: str = "/try", seconds: float = 60) -> str:
        """Looks again and again, as the page does by itself; who comes while set-up gives the port to the relay comes again."""

        def look() -> str:
            with suppress(ConnectionResetError):
                return self.text if text in self.look(path) else ""
            return ""

        return eventually(look, seconds, lambda: f"no {text!r} in: {self.text}")

    def ask(self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> int:
        """One request; its status."""
        connection = http.client.HTTPConnection(self.place, timeout=30)
        try:
            sent = {"Accept-Language": self.language, "Accept": "text/html", **(headers or {})}
            if self.cookies:
                sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            if body:
                sent["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            self.code, self.page = answer.status, answer.read().decode()
            self.headers = {name.lower(): value for name, value in answer.getheaders()}
            for name, value in answer.getheaders():
                if name.lower() == "set-cookie":
                    self.cookies |= {key: one.value for key, one in SimpleCookie(value).items()}
            return self.code
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: str = "") -> None:
        self.ask(method, path, body)
        for _ in range(5):
            if self.code != 303:
                return
            self.ask("GET", self.headers["location"].partition("#")[0])


@contextmanager
def in_a_thread(server: Any) -> Iterator[Any]:
    """A server of asyncio's, as tests/support/upstream.py has them, beside a test that is none of asyncio's."""
    import asyncio

    up, over, loops = threading.Event(), asyncio.Event(), list[asyncio.AbstractEventLoop]()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with server:
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert up.wait(10)
    try:
        yield server
    finally:
        call: Callable[..., object] = loops[0].call_soon_threadsafe
        call(over.set)
        thread.join(10)
