"""One household with its relay, devices, providers, accidents and owner: plays a plan and keeps the record of it."""

import asyncio
import gc
import json
import logging
import os
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import relay.spool.queue_id
from relay import config, events
from relay.daemon.relay import Relay
from relay.spool.entry import State
from tests.simulation import devices
from tests.simulation.kernel import Kernel, SimLoop
from tests.simulation.network import Network, SimSocket
from tests.simulation.plan import CALM, DAY, PORTS, Event, Plan, settings
from tests.simulation.upstreams import Record, Session, Spell, Upstream

SMTP = 2525
_START_PATIENCE = 120.0


@dataclass(slots=True)
class Promise:
    """A message of a device.  `said` is the reply to the dot, or the refusal before it."""

    at: float
    wall: datetime
    number: int
    sender: str
    recipients: tuple[str, ...]
    said: str

    @property
    def queue_id(self) -> str:
        return self.said.split()[-1] if self.said.startswith("250 2.0.0 queued as ") else ""


class Death(BaseException):
    """The relay dies here, in the middle of a callback."""


@dataclass
class Household:
    """`broken` are promises that were seen broken while it ran; `logged` are the relay's own events."""

    plan: Plan
    directory: Path
    pace: Callable[[int], None] = lambda _: None
    promises: list[Promise] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    logged: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    crashes: list[float] = field(default_factory=list)
    woken: list[float] = field(default_factory=list)
    """When something ended all rests: an order, a reload, a start."""
    away: list[tuple[float, float]] = field(default_factory=list)
    jumps: list[float] = field(default_factory=list)
    ordered: list[tuple[float, str, str, str]] = field(default_factory=list)
    """(time, action, queue id, via)"""
    strains: list[tuple[float, float]] = field(default_factory=list)
    """While DNS or disk are in trouble."""
    released_at: float = 1e12
    """When the owner let go all that was held."""
    stories: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kernel = Kernel(self.plan.seed)
        self.network = Network(self.kernel)
        self.outside = SimLoop(self.kernel, self.network)
        self.loops, self.closed = [self.outside], False
        self.stride = self.plan.stride
        self.free, self.boot, self._boots, self._lives = 1 << 30, b"0" * 36, 0, 0
        self._dns: tuple[float, str] = (0.0, "")
        self._point: tuple[str, bool, float] | None = None
        self._variant, self._unsynced = 0, False
        self.upstreams = {
            name: Upstream(name, port, self.outside, self.record, login=name == "isp") for name, port in PORTS.items()
        }
        for one in self.upstreams.values():
            self.network.listen(self.outside, lambda one=one: Session(one), SimSocket(name=("0.0.0.0", one.port)))
            self.network.reach[one.port] = one.reach
        self.loop: SimLoop | None = None
        self.relay: Relay
        self.task: asyncio.Task[None]
        self._last = (0, 0.0)
        relay.spool.queue_id._last = 0

    # what `aside` asks for

    def lookup(self, host: str, port: int) -> list[Any]:
        until, mood = self._dns
        if self.kernel.now < until and mood != "slow":
            code = socket.EAI_AGAIN if mood == "again" else socket.EAI_NONAME
            raise socket.gaierror(
                code, "Temporary failure in name resolution" if mood == "again" else "Name or service not known"
            )
        address = "198.51.100.1" if "isp" in host else "198.51.100.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def heard(self, event: str, fields: dict[str, Any]) -> None:
        if not self.closed and self.loop is not None and not self.loop.dead:
            self.logged.append((self.kernel.now, event, fields))

    def passed(self, point: str) -> None:
        if self._point and self._point[0] == point and self.loop and not self.loop.dead:
            (_, power, down), self._point = self._point, None
            self.die(power, down)
            raise Death

    # the relay's life

    def start(self) -> None:
        self._lives += 1
        events.counts.clear()
        home = self.directory / "spool"
        home.mkdir(exist_ok=True)
        file = self.directory / "config.yaml"
        file.write_text(json.dumps(settings(str(self.directory), self._variant)))
        loaded = _loaded(file, self._variant, self.directory)
        assert loaded.config is not None, loaded.mistakes
        loop = self.loop = SimLoop(self.kernel, self.network)
        self.loops.append(loop)
        self.woken.append(self.kernel.now)
        self.relay = Relay(loaded.config, reload=lambda: _loaded(file, self._variant, self.directory), now=self.kernel.wall)
        coming = self.relay.run()
        loop.call_soon(lambda: setattr(self, "task", loop.create_task(coming)))
        self.kernel.after(self.outside, _START_PATIENCE, self._started, loop)

    def _started(self, loop: SimLoop) -> None:
        if loop is self.loop and not loop.dead and not self.relay.started.is_set():
            self.broken.append(f"the relay has not started within {_START_PATIENCE:g} s")

    def die(self, power: bool, down: float) -> None:
        """kill -9, or loss of power: what was not synced is lost, and the machine has booted since."""
        loop = self.loop
        if loop is None or loop.dead:
            return
        self.crashes.append(self.kernel.now)
        loop.kill()
        for port in [port for port, server in self.network.servers.items() if server.loop is loop]:
            del self.network.servers[port]
        home, aside = self.directory / "spool", self.directory / f"dead-{self._lives}"
        home.rename(aside)  # what is still open belongs to the dead
        home.mkdir(mode=0o700)
        for file in aside.iterdir():
            if file.is_dir():  # of content, whose files are synced before their rows
                shutil.copytree(file, home / file.name)
            elif file.suffix not in (".lock", ".sock") and not file.name.endswith("-shm"):
                shutil.copyfile(file, home / file.name)
        if power:
            self._boots += 1
            self.boot = b"%036d" % self._boots
            if (synced := self.directory / "synced").exists():
                for name in ("spool.db", "spool.db-wal"):
                    (home / name).unlink(missing_ok=True)
                    if (synced / name).exists():
                        shutil.copyfile(synced / name, home / name)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(self.directory / "synced", ignore_errors=True)
        self._unsynced = False
        self._away(down)

    def _away(self, down: float) -> None:
        self.away.append((self.kernel.now, self.kernel.now + down))
        self.kernel.after(self.outside, down, self.start)

    def committing(self, db: Any) -> None:
        """Before each COMMIT: keeps what a loss of power would leave, if this one is not to be synced."""
        if not self._unsynced and db.execute("PRAGMA synchronous").fetchone()[0] < 2:
            self._unsynced = True
            (self.directory / "synced").mkdir(exist_ok=True)
            for name in ("spool.db", "spool.db-wal"):
                if (self.directory / "spool" / name).exists():
                    shutil.copyfile(self.directory / "spool" / name, self.directory / "synced" / name)

    # events

    def play(self) -> None:
        """All of the plan, then a long calm, in which everything must come to its end."""
        kernel = self.kernel
        kernel.after(self.outside, 0.0, self.start)
        for event in self.plan.events:
            kernel.later(self.outside, kernel.now + 5 + event.at, asyncio.Handle(self._happen, (event,), self.outside))
        end = kernel.now + self.plan.days * DAY
        kernel.run(end)
        last = max([end, *(spell.ends for one in self.upstreams.values() for spell in one.spells)])
        kernel.run(last + 7300)
        self._held()
        self.pace(60)
        while kernel.now < last + CALM and not (kernel.now > last + 15_000 and self._settled()):
            kernel.run(min(kernel.now + DAY / 4, last + CALM))
        kernel.run(kernel.now + 7300)  # what is kept for a while is gone now: sessions, content, marks
        self._look()

    def _happen(self, event: Event) -> None:
        getattr(self, f"_do_{event.kind}")(*event.words)

    def _do_mail(self, kind: str, domain: str, wishes: tuple[str, ...], size: int, number: int) -> None:
        device = devices.BY_NAME[kind]
        recipients = tuple(f"{wish}-{number}-{place}@{domain}" for place, wish in enumerate(wishes))
        wall, at = self.kernel.wall(), self.kernel.now

        def told(said: bytes) -> None:
            self.promises.append(Promise(at, wall, number, device.sender, recipients, said.decode("latin-1")))

        submission = devices.Submission(device, recipients, devices.content_of(device, number, recipients, size), told)
        transport = self.network.dial(self.outside, ("192.168.0.2", 25), device.client)
        if transport:
            transport.take(self.outside, submission)

    def _do_spell(self, name: str, mood: str, seconds: float) -> None:
        now = self.kernel.now
        self.upstreams[name].spells.append(Spell(name, now, now + seconds, mood))

    def _do_dns(self, mood: str, seconds: float) -> None:
        self._dns = (self.kernel.now + seconds, mood)
        self.strains.append((self.kernel.now, self.kernel.now + seconds))

    def _do_disk(self, seconds: float) -> None:
        self.free = 1_500_000
        self.strains.append((self.kernel.now, self.kernel.now + seconds))
        self.kernel.after(self.outside, seconds, lambda: setattr(self, "free", 1 << 30))

    def _do_crash(self, where: int | str, power: bool, down: float) -> None:
        if self.loop is None or self.loop.dead:
            return
        if isinstance(where, str):
            self._point = (where, power, down)
        else:
            self.kernel.light(where, self.loop, lambda: self.die(power, down))

    def _do_stop(self, down: float) -> None:
        loop = self.loop
        if loop is None or loop.dead or not self.relay.started.is_set():
            return
        loop.call_soon(self.relay.stop)

        def over(_: Any) -> None:
            if not loop.dead:
                left = [task for task in loop.tasks if task is not self.task and not task.done()]
                self.broken += [f"after the stop a task is left: {task.get_coro()}" for task in left[:1]]
                loop.kill()
                self._away(down)

        self.task.add_done_callback(over)

    def _do_clock(self, seconds: float) -> None:
        self.kernel.set_by += timedelta(seconds=seconds)
        self.jumps.append(self.kernel.now)

    def _do_reload(self, variant: int) -> None:
        self._variant = variant
        if self.loop and not self.loop.dead and self.relay.started.is_set():
            self.woken.append(self.kernel.now)
            (self.directory / "config.yaml").write_text(json.dumps(settings(str(self.directory), variant)))
            self.loop.call_soon(self.relay.reload)

    def _do_order(self, action: str, which: float, via: str = "alt") -> None:
        known = [one.queue_id for one in self.promises if one.queue_id]
        if not known or self.loop is None or self.loop.dead or not self.relay.started.is_set():
            return
        chosen = known[-1 - int(which * which * min(len(known), 40))]
        ids = None if action == "retry" else [chosen]
        name = action.partition("-")[0]
        self.woken.append(self.kernel.now)
        self.ordered.append((self.kernel.now, name, "" if ids is None else chosen, via if action == "release-via" else ""))
        work = self.relay.desk.order(name, ids, via if action == "release-via" else "")
        self.loop.call_soon(lambda loop=self.loop: loop.create_task(work))

    def _held(self) -> None:
        """The owner releases what was held, so that all comes to an end."""
        if self.loop is None or self.loop.dead:
            return

        self.released_at = self.kernel.now

        async def release(loop: SimLoop) -> None:
            held = [one["id"] async for page in self.relay.desk.pages(frozenset({State.HELD})) for one in page]
            if held:
                await self.relay.desk.order("release", held)

        self._aside(release)

    def _settled(self) -> bool:
        """Whether nothing waits any more, and no notice."""
        with closing(sqlite3.connect(self.directory / "spool" / "spool.db")) as db:
            waiting = db.execute("SELECT count(*) FROM message WHERE over_at IS NULL").fetchone()[0]
            return not waiting and not db.execute("SELECT count(*) FROM notice").fetchone()[0]

    def _aside(self, work: Callable[[SimLoop], Any]) -> None:
        loop = self.loop
        if loop and not loop.dead:
            loop.call_soon(lambda: loop.create_task(work(loop)))

    def _look(self) -> None:
        """Reads the whole queue as `relay queue show` does."""
        if self.loop is None or self.loop.dead or not self.relay.started.is_set():
            self.broken.append("the relay does not run at the end")
            return

        async def read(loop: SimLoop) -> None:
            async for page in self.relay.desk.pages(None):
                for message in page:
                    self.stories[message["id"]] = await self.relay.desk.message(message["id"]) or {}

        loop = self.loop
        self._reading: list[asyncio.Task[None]] = []
        loop.call_soon(lambda: self._reading.append(loop.create_task(read(loop))))
        self.kernel.run(self.kernel.now + 60)
        if not self._reading[0].done():
            self.broken.append("the queue cannot be read at the end")
        elif error := self._reading[0].exception():
            self.broken.append(f"the queue cannot be read at the end: {error!r}")

    def close(self) -> None:
        """Ends what is left.  What a dead process had open is closed here, where nobody listens any more."""
        for loop in self.loops:
            loop.kill()
        self.closed, said = True, sys.unraisablehook
        sys.unraisablehook = lambda _: None
        logging.disable()
        try:
            for task in [task for loop in self.loops for task in loop.tasks]:
                _buried(task)
            self.__dict__.pop("relay", None), self.__dict__.pop("task", None), self.__dict__.pop("_reading", None)
            self.loops, self.loop, self.network = [], None, Network(self.kernel)
            self.kernel.forget()
            gc.collect()
        finally:
            sys.unraisablehook = said
            logging.disable(logging.NOTSET)
        shutil.rmtree(self.directory, ignore_errors=True)


def _buried(task: "asyncio.Task[Any]") -> None:
    """Runs what is left of a dead task: a `finally` of its own may wait for more than once."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    for _ in range(20):
        try:
            task.get_coro().close()  # type: ignore[union-attr]
        except BaseException:  # noqa: S112 - nobody is there any more
            continue
        return


_known: dict[tuple[int, str], Any] = {}


def _loaded(file: Path, variant: int, directory: Path) -> Any:
    key = (variant, str(directory))
    if key not in _known:
        _known.clear()
        _known[key] = config.load(file, os.environ)
    return _known[key]
