"""Plays attacks at the scene, one kind after another or all at once, and measures."""

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterable, Sequence
from itertools import cycle, islice

from tests.hostile.plays import Play, Scale
from tests.hostile.scene import PATIENCE, Row, Scene
from tests.support.aftermath import aftermath
from tests.support.sink import TAKEN

SMALL = 10_000
"""Octets that a line of the sink has at most for a message of the NAS."""


class _Clients:
    """Threads that try again and again until `over`."""

    def __init__(self, scene: Scene, plays: Iterable[Play], scale: Scale) -> None:
        self._scene, self._scale = scene, scale
        self._over = threading.Event()
        self.tried = 0
        self.wrong: list[str] = []
        self._threads = [
            threading.Thread(target=self._client, args=(play, number), daemon=True) for number, play in enumerate(plays)
        ]

    def __enter__(self) -> "_Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        until = time.monotonic() + 15
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _client(self, play: Play, number: int) -> None:
        while not self._over.is_set():
            self.tried += 1
            try:
                play.attack(self._scene, number, self._scale)
            except (OSError, EOFError):
                self._over.wait(0.05)  # not let in, or thrown out: so it tries again
            except AssertionError as wrong:
                self.wrong.append(f"{play.kind}: {wrong}")


def play(scene: Scene, kind: str, plays: Sequence[Play], seconds: float, scale: Scale) -> Row:
    """These for so many seconds; what came of it."""
    scene.forget_memory()
    nas, died = scene.nas, scene.deaths
    tried, taken, nas.slowest = nas.tried, nas.taken, 0.0
    with _Clients(scene, plays, scale) as clients:
        time.sleep(seconds)
        health, page = scene.healthy(), scene.page_answers()
        asked, served = nas.tried - tried, nas.taken - taken
    until = time.monotonic() + 12
    while nas.tried - tried < asked + 1 and time.monotonic() < until:
        time.sleep(0.1)
    served += nas.taken - taken - served >= asked - served > 0 and asked - served
    words = [*dict.fromkeys(clients.wrong)]
    if nas.slowest > PATIENCE + 1:
        words.append("the NAS had to wait")
    if not page:
        words.append("the owner does not get the page")
    if raw := scene.raw_controls():
        words.append(f"{raw} lines of the log steer a terminal")
    slowest, memory, deaths = nas.slowest, scene.memory, scene.deaths - died
    return Row(kind, clients.tried, deaths, memory, min(served, asked), asked, slowest, health, "; ".join(words))


def together(scene: Scene, plays: Sequence[Play], clients: int, seconds: float, scale: Scale) -> Row:
    """So many clients of every kind at once."""
    return play(scene, f"{clients} clients of every kind at once", list(islice(cycle(plays), clients)), seconds, scale)


def everything_relayed(scene: Scene, seconds: float) -> str:
    """Waits until all that was promised to the NAS has arrived; what is missing in words."""
    until, promised, arrived = time.monotonic() + seconds, scene.nas.taken, 0
    with (scene.upstream.directory / TAKEN).open("rb") as file:
        while True:
            place = file.tell()
            line = file.readline()
            if line.endswith(b"\n"):
                arrived += len(line) < SMALL and b"Subject: nas\r\n" in b64decode(json.loads(line)["octets"])
                continue
            file.seek(place)  # still being written
            if arrived >= promised:
                return ""
            if time.monotonic() > until:
                return f"{promised - arrived} of {promised} messages of the NAS did not arrive"
            time.sleep(0.5)


def smuggled(scene: Scene) -> int:
    """Messages that arrived at somebody who was named inside another message only."""
    return sum("victim@far.example" in one.forward_paths for one in scene.upstream.taken())


def queued(scene: Scene) -> int:
    return aftermath(scene.relay.spool).queued
