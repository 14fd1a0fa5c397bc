"""`make stress`: odd clients, odd upstreams, orders, reloads, faults of the database and kill -9, at random; then every promise
is accounted for.

    python -m tests.hostile.stress --minutes 30 [--backend file|postgres] [--seed 7]

devices ──> relay run (killed, reloaded, ordered about) ──> an upstream of moods, which remembers all it took

Lost: promised, and neither taken, nor told as failed, nor removed by order.  Stuck: still queued when all is well again.
Doubled: taken twice, where neither the line was lost after the content nor the relay killed (or its database away) before it
could note the first 250: docs/concepts.md.  Ends 1 if any of these is not 0, or the queue pauses while it drains.
"""

import argparse
import random
import re
import smtplib
import socket
import sqlite3
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hostile.plays import PLAYS, Scale
from tests.hostile.scene import STRANGE, Nas, Scene
from tests.hostile.strange import Strange
from tests.support.peers import free_port
from tests.support.running import RelayProcess

WINDOW = 2.0  # seconds between an upstream's 250 and the note of it, generous: the machine is busy
PAUSE = 10.0
_SUBJECT = re.compile(rb"^Subject: (stress-\d+)", re.MULTILINE)
_STATES = "SELECT queue_id, state FROM message JOIN recipient ON message = message.id"


@dataclass
class Moods:
    """An upstream that takes, defers, refuses, is slow and hangs up; `calm` ends that.  `taken`: subject -> when, how sure."""

    dice: random.Random
    calm: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    taken: dict[str, list[tuple[float, bool]]] = field(default_factory=lambda: defaultdict(list))

    def behave(self, sock: socket.socket, over: threading.Event) -> None:
        sock.sendall(b"220 moods\r\n")
        lines = sock.makefile("rb")
        while (line := lines.readline()) and not over.is_set():
            mood = 1.0 if self.calm.is_set() else self.dice.random()
            verb = line[:4].upper()
            if mood < 0.02:
                return
            if verb == b"DATA":
                sock.sendall(b"354 go on\r\n")
                if not self._content(sock, lines, mood):
                    return
            elif verb == b"RCPT" and (mood < 0.05 or self.closed.is_set()):
                sock.sendall(b"450 4.2.1 not now\r\n")
            elif verb == b"RCPT" and mood < 0.07:
                sock.sendall(b"550 5.1.1 no such user\r\n")
            elif verb == b"EHLO":
                sock.sendall(b"250-moods\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            else:
                sock.sendall(b"250 2.0.0 ok\r\n")

    def _content(self, sock: socket.socket, lines: Any, mood: float) -> bool:
        content = []
        while (line := lines.readline()) != b".\r\n":
            if not line:
                return False
            content.append(line)
        found = _SUBJECT.search(b"".join(content).partition(b"\r\n\r\n")[0])  # not in a notice about it
        if mood < 0.06:
            sock.sendall(b"451 4.3.0 not this time\r\n")
            return True
        if mood < 0.3:
            time.sleep(self.dice.random())
        if found:
            self.taken[found[1].decode()].append((time.time(), mood >= 0.09))
        if mood < 0.09:
            return False  # it has it, and says nothing
        with suppress(OSError):
            sock.sendall(b"250 2.0.0 taken\r\n")
        return True


@dataclass
class Stress:
    """One run over one spool."""

    relay: RelayProcess
    scene: Scene
    moods: Moods
    dice: random.Random
    server: Any = None
    promised: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    faults: list[tuple[float, float]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    number: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def device(self) -> None:
        while not self.over.wait(self.dice.random() * 0.4):
            with self.lock:
                self.number += 1
                subject = f"stress-{self.number}"
            size = self.dice.choice((10, 10, 1_000, 30_000, 400_000))
            text = f"From: <nas@isp.example>\r\nTo: <b@far.example>\r\nSubject: {subject}\r\n\r\n" + "line\r\n" * (
                size // 6 + 1
            )
            with suppress(OSError, smtplib.SMTPException):
                with smtplib.SMTP("127.0.0.1", self.relay.port, "nas", timeout=30) as line:
                    line.mail("nas@isp.example")
                    line.rcpt("b@far.example")
                    code, said = line.data(text)
                    if code == 250:
                        self.promised[said.decode().split()[-1]] = subject

    def odd_client(self) -> None:
        while not self.over.wait(self.dice.random()):
            play = self.dice.choice(PLAYS)
            with suppress(OSError, EOFError, ValueError, AssertionError):
                play.attack(self.scene, self.dice.randrange(200), Scale())

    def fault(self) -> None:
        """One of the things that go wrong, or are ordered."""
        some: list[tuple[int, Callable[[], None]]] = [(6, self.kill), (2, self.restart), (4, self.reload), (8, self.order)]
        if self.server:
            some.append((3, self.database_away))
        fault = self.dice.choices([one for _, one in some], [weight for weight, _ in some])[0]
        self.done[fault.__name__.replace("_", " ")] += 1
        began = time.time()
        fault()
        if fault not in (self.reload, self.order):
            self.faults.append((began, time.time()))

    def kill(self) -> None:
        self.relay.kill9()
        self.relay.start()

    def restart(self) -> None:
        self.relay.stop(60)
        self.relay.start()

    def reload(self) -> None:
        config = dict(self.relay.config)
        config["limits"] = {"messages_per_minute": self.dice.choice((3_000, 5_000))}
        self.relay.configure(config)
        with suppress(AssertionError):
            self.relay.reload()

    def order(self) -> None:
        ids = list(self.promised)
        chosen = self.dice.choice(ids) if ids else ""
        verb = self.dice.choice(("retry", "hold", "release", "remove"))
        words = (verb, "--all") if verb == "retry" or not chosen else (verb, chosen)
        done = self.relay.command("queue", *words)
        if words[0] == "remove" and done.returncode == 0:
            self.removed.add(chosen)

    def database_away(self) -> None:
        if self.dice.random() < 0.5:
            self.server.freeze()
            time.sleep(self.dice.random() * 20)
            self.server.thaw()
        else:
            self.server.stop()
            time.sleep(self.dice.random() * 5)
            self.server.go_on()

    def run(self, seconds: float) -> list[str]:
        """What is wrong in the end, in words."""
        threads = [threading.Thread(target=self.device, daemon=True) for _ in range(4)]
        threads += [threading.Thread(target=self.odd_client, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1 + self.dice.random() * 6)
            self.fault()
        self.moods.closed.set()  # a queue for the last fault to fall into
        time.sleep(8)
        self.over.set()
        self.database_away() if self.server else self.kill()
        self.moods.closed.clear()
        self.moods.calm.set()
        began = time.monotonic()
        waited = len(self.waiting())
        _, pause = self.drain()
        drained = f"{waited} drained in {time.monotonic() - began:.0f} s, longest pause {pause:.1f} s"
        for thread in threads:
            thread.join(60)
        self.relay.command("queue", "release", "--all")
        self.relay.command("queue", "retry", "--all")  # what was put off often waits for hours by now
        left, _ = self.drain()
        return self.account(left, pause, drained)

    def drain(self) -> tuple[list[str], float]:
        """All is well, so what waits must go: what does not within five minutes, and the longest time that nothing went."""
        began = last = time.monotonic()
        count, pause = -1, 0.0
        while (waiting := self.waiting()) and time.monotonic() - began < 300:
            if count != (count := sum(map(len, self.moods.taken.values()))):
                last = time.monotonic()
            pause = max(pause, time.monotonic() - last)
            time.sleep(0.2)
        return waiting, pause

    def account(self, waiting: list[str], pause: float, drained: str) -> list[str]:
        """What is missing, or too much."""
        fates = dict(self.states())
        lost = [
            f"{queue_id} {subject}"
            for queue_id, subject in self.promised.items()
            if subject not in self.moods.taken
            and queue_id not in self.removed
            and fates.get(queue_id) not in ("failed", "expired")
        ]
        twice = [subject for subject, times in self.moods.taken.items() if len(times) > 1]
        doubled = [subject for subject in twice if not all(self.excused(*one) for one in self.moods.taken[subject][:-1])]
        print(
            f"promised {len(self.promised)}, taken {len(self.moods.taken)},"
            f" twice within the window {len(twice) - len(doubled)},"
            f" removed by order {len(self.removed)}; lost {len(lost)}, stuck {len(waiting)}, doubled {len(doubled)};"
            f" {drained};"
            f" {', '.join(f'{count} x {name}' for name, count in sorted(self.done.items()))}",
            flush=True,
        )
        wrong = [f"lost: {one}" for one in lost]
        wrong += [f"stuck: {one} {self.story(self.promised[one])}" for one in waiting]
        wrong += [f"doubled: {one} {self.moods.taken[one]} {self.story(one)}" for one in doubled]
        return wrong + [f"the queue paused for {pause:.1f} s while it drained"] * (pause > PAUSE)

    def story(self, subject: str) -> str:
        """The trail of a message, for whoever looks for the fault."""
        queue_id = next((one for one, said in self.promised.items() if said == subject), "")
        trail = self.relay.show(queue_id)["trail"] if queue_id else ()
        return "".join(f"\n    {line['at']} {line['event']}: {line['text']}" for line in trail)

    def excused(self, at: float, sure: bool) -> bool:
        """Whether this copy may be followed by another: nobody heard of it, or could note it."""
        return not sure or any(began - WINDOW <= at <= ended + WINDOW for began, ended in self.faults)

    def states(self) -> list[tuple[str, str]]:
        if self.server:
            return [(row[0], row[1]) for row in self.server.ask(str(self.relay.config["spool"]["url"]), _STATES)]
        with closing(sqlite3.connect(f"file:{self.relay.spool}?mode=ro", uri=True)) as db:
            return db.execute(_STATES).fetchall()

    def waiting(self) -> list[str]:
        """Of what devices were promised; mail to strange upstreams may wait as long as it likes."""
        return [queue_id for queue_id, state in self.states() if state == "queued" and queue_id in self.promised]


def stressed(backend: str, seconds: float, seed: int, directory: Path) -> list[str]:
    dice = random.Random(seed)
    moods, server = Moods(random.Random(seed + 1)), None
    port, web, locked = free_port(), free_port(), free_port()
    spool: dict[str, Any] = {"url": f"sqlite:{directory}/spool/spool.db", "keep_free": "1MB"}
    if backend == "postgres":
        from tests.support.postgres import PostgresServer

        server = PostgresServer.start()
        spool = {"url": server.database(), "state_dir": str(directory / "state"), "lease": "10s"}
    with Strange(moods.behave) as upstream, Strange(STRANGE["huge"]) as odd:
        there: dict[str, Any] = {"host": "127.0.0.1", "tls": "none", "sender": "nas@isp.example"}
        config = {
            "listen": [
                {"address": f"127.0.0.1:{port}", "networks": ["private"]},
                {"address": f"127.0.0.1:{locked}", "networks": ["private"], "auth": "required", "users": {"nas": "x" * 12}},
            ],
            "upstreams": {"moods": {**there, "port": upstream.port}, "odd": {**there, "port": odd.port}},
            "routes": [{"to": "b@far.example", "from": "nas@isp.example", "via": ["moods"]}, {"via": ["odd"]}],
            "limits": {"messages_per_minute": 5_000},
            "web": {"address": f"127.0.0.1:{web}", "password": "owner-password"},
            "spool": spool,
        }
        relay = RelayProcess(directory, config).start()
        scene = Scene(relay, upstream, Nas(lambda: port), web, locked)  # type: ignore[arg-type]
        stress = Stress(relay, scene, moods, dice, server)
        try:
            return stress.run(seconds)
        finally:
            if relay.running:
                relay.stop(60)
            if server:
                server.end()


def main() -> int:
    asked = argparse.ArgumentParser(prog="stress")
    asked.add_argument("--minutes", type=float, default=30.0)
    asked.add_argument("--backend", choices=("file", "postgres"))
    asked.add_argument("--seed", type=int, default=int(time.time()))
    given = asked.parse_args()
    backends = [given.backend] if given.backend else ["file", "postgres"]
    wrong = []
    for backend in backends:
        print(f"{backend}, seed {given.seed}:", flush=True)
        with tempfile.TemporaryDirectory(prefix="stress-") as directory:
            wrong += [
                f"{backend}: {one}"
                for one in stressed(backend, given.minutes * 60 / len(backends), given.seed, Path(directory))
            ]
    print(*(wrong or ["every promise was kept"]), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
