"""Joins the stations: start order, signals, reload, stop order.  The only place that knows them all."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from relay import __version__, events
from relay.config import Loaded
from relay.config.settings import Config
from relay.control import server as web
from relay.control import unix
from relay.control.access import AccessRules
from relay.control.api import make_api
from relay.control.desk import Desk
from relay.control.metrics import metrics_route
from relay.control.place import control_socket, state_dir
from relay.control.reports import device_views, upstream_views
from relay.control.silence import Silence
from relay.control.site import make_site
from relay.control.watch import Watch
from relay.doctor.daily import CheckUp
from relay.doctor.facts import Subject
from relay.doctor.gather import World
from relay.inbound.admission import Recipients, mask_warnings
from relay.inbound.listener import Inbound
from relay.mail.address import Address
from relay.mail.envelope import Origin
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Reply
from relay.notify import notify, watchdog_every
from relay.outbound import routing
from relay.outbound.advice import Advice, advise, sentences
from relay.outbound.notifier import Notifier
from relay.outbound.runner import Runner
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolBroken, SpoolFull
from relay.spool.queue_id import new_queue_id
from relay.surroundings import look_around, lost_with_container
from relay.upstream.dns import Resolver
from relay.upstream.oauth import Tokens
from relay.upstream.pool import Pools
from relay.upstream.report import Report
from relay.upstream.settings import DIRECT, DIRECT_UPSTREAM, Upstream

TIDY_EVERY = timedelta(hours=1)
SILENCE_EVERY = timedelta(seconds=30)
TOKENS_EVERY = timedelta(hours=6)
HEARTBEAT_STALE = timedelta(minutes=3)


class StartFailed(Exception):
    """The relay could not start; the text says why and what to do."""


def utcnow() -> datetime:
    return datetime.now(UTC)


class Relay:
    """One running relay.  `reload` reads the configuration again, for SIGHUP."""

    def __init__(self, config: Config, *, reload: Callable[[], Loaded] | None = None, remarks: Sequence[str] = ()) -> None:
        self._config, self._read_again, self._remarks = config, reload, remarks
        self._masks = look_around().masks
        self._tokens = Tokens(state_dir(config.spool), utcnow)
        self.check_up = CheckUp(self._subject, World(consents=self._tokens.standings))
        self._stopping = asyncio.Event()
        self._farewells: list[asyncio.Task[None]] = []
        self.started = asyncio.Event()
        self._spool: Spool
        self.inbound: Inbound
        self.web_address: tuple[str, int] | None = None
        self.desk: Desk
        self._runner: Runner

    async def run(self) -> None:
        """Runs until `stop()` or a signal.  Raises StartFailed."""
        events.configure(self._config.log.format, self._config.log.level)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # at once: as process 1 of a container we have no default action
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            self._spool = await open_spool(self._config.spool, now=utcnow)
        except (SpoolBroken, SpoolFull, OSError) as error:
            raise StartFailed(str(error)) from error
        try:
            await self._with_spool()
        finally:
            await self._spool.close()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
            events.note("stopped", "the relay has stopped; what waits is safe in the spool")

    def stop(self) -> None:
        self._stopping.set()

    async def _with_spool(self) -> None:
        config = self._config
        self._pools = _pools(config, self._tokens, self._let_in)
        self._notifier = Notifier(
            spool=self._spool,
            policy=config.notices,
            hostname=config.hostname,
            now=utcnow,
            new_queue_id=new_queue_id,
            advise=self._advise,
            may_route=self._may_route_notice,
            give_up_after=config.retry.give_up_after,
        )
        self._runner = Runner(
            spool=self._spool,
            submit=self._submit,
            routes=config.routes,
            upstreams=_with_direct(config.upstreams),
            retry=config.retry,
            repair=config.repair,
            hostname=config.hostname,
            now=utcnow,
            on_settled=self._notifier.wake,
            advise=sentences,
            notify_whom=self._notifier.notify_whom,
            alarm=self._notifier.alarm,
        )
        self.inbound = Inbound(
            hostname=config.hostname,
            listeners=config.listeners,
            limits=config.limits,
            recipients=_with_postmaster(config),
            max_message=config.spool.max_message,
            spool=self._spool,
            may_route=self._may_route,
            now=utcnow,
            new_queue_id=new_queue_id,
            state_dir=state_dir(config.spool),
            masks=self._masks,
            alarm=self._notifier.alarm,
        )
        self._silence = Silence(self._spool.last_accepted, self._notifier.alarm, utcnow)
        self.desk = Desk(self._spool, utcnow, partial(_names, self), self._try_again)
        servers = self._control_servers(Watch(self.desk, self.status, utcnow, self.findings))
        try:
            await self._inbound_started()
            await self._serve(servers)
        finally:
            await self._pools.close()
            control_socket(config.spool).unlink(missing_ok=True)

    async def _inbound_started(self) -> None:
        try:
            await self.inbound.start()
        except OSError as error:
            raise StartFailed(str(error)) from error

    def _control_servers(self, watch: Watch) -> list[web.Server]:
        """The UNIX socket for the command line, and the page where `web.address` is set."""
        servers = [web.Server(make_api(watch, [metrics_route(watch)]), self._control_socket())]
        settings = self._config.web
        if settings.address:
            rules = AccessRules(
                password=settings.password.reveal() if settings.password else "",
                names=frozenset(name.lower() for name in (self._config.hostname, socket.gethostname(), *settings.hosts)),
                user_header=settings.user_header,
                proxies=settings.proxies,
            )
            try:
                sock = web.listen(settings.address)
            except OSError as error:
                raise StartFailed(f"web.address {settings.address}: {error.strerror or error}") from error
            self.web_address = sock.getsockname()[:2]
            servers.append(web.Server(make_site(watch, lambda: self._config.hostname, rules), sock))
        return servers

    def _control_socket(self) -> socket.socket:
        path = control_socket(self._config.spool)
        try:
            return unix.listen(path)
        except OSError as error:
            raise StartFailed(f"{path}: the control socket cannot be made: {error.strerror or error}") from error

    async def _serve(self, servers: Sequence[web.Server]) -> None:
        """Everything runs side by side; the stop order is: listeners, runner, notices, control."""
        async with asyncio.TaskGroup() as group:
            work = [group.create_task(part) for part in (self._runner.run(), self._notifier.run(), self._tidy())]
            work += [group.create_task(server.serve()) for server in servers]
            asides = (self._show_life(), self._look_after_tokens(), self.check_up.run(), self._listen_for_silence())
            aside = [group.create_task(part) for part in asides]
            self._say_started()
            await self._stopping.wait()
            notify("STOPPING=1")
            await self.inbound.stop()
            await self._runner.stop()
            for server in servers:
                server.stop()
            for task in (*work[1:3], *aside):
                task.cancel()

    def _say_started(self) -> None:
        config = self._config
        listening = [_place(host, port) for host, port in self.inbound.bound]
        events.note(
            "started",
            f"listening on {', '.join(listening)}; {len(config.upstreams)} upstreams, {len(config.routes)} routes",
            version=__version__,
            listening=listening,
            web=_place(*self.web_address) if self.web_address else "",
            hostname=config.hostname,
            spool=config.spool.url,
            config=config.source,
            pid=os.getpid(),
        )
        for sentence in (*self._remarks, *self._about_the_container()):
            events.note("warned", sentence)
        notify("READY=1")
        self.started.set()

    def _about_the_container(self) -> list[str]:
        """What a container takes away: the clients' addresses, and the spool itself if it is not on a volume."""
        sentences = mask_warnings(self._config.listeners, self._masks)
        if lost := lost_with_container(state_dir(self._config.spool)):
            sentences.append(f"mail will be lost: {lost}; with a new container the queue is gone. Mount a named volume there")
        return sentences

    def reload(self) -> None:
        """Reads the configuration again; a mistake keeps the running one.  Queued mail takes the new routes."""
        if self._read_again is None or not self.started.is_set():
            return  # before the start is over the configuration is as fresh as can be
        loaded = self._read_again()
        if loaded.config is None:
            for mistake in loaded.mistakes:
                events.note("warned", f"the configuration was not reloaded: {mistake}")
            return
        before, config = self._config, loaded.config
        self._config = replace(config, spool=before.spool, web=before.web, log=before.log)
        left = [
            f"{name} has changed: it takes effect at the next start"
            for name in ("spool", "web", "log")
            if getattr(before, name) != getattr(config, name)
        ]
        self._runner.reload(
            routes=config.routes,
            upstreams=_with_direct(config.upstreams),
            retry=config.retry,
            repair=config.repair,
            hostname=config.hostname,
        )
        self._notifier.reload(policy=config.notices, hostname=config.hostname, give_up_after=config.retry.give_up_after)
        left += self.inbound.reload(
            hostname=config.hostname,
            listeners=config.listeners,
            limits=config.limits,
            recipients=_with_postmaster(config),
            max_message=config.spool.max_message,
        )
        if (before.hostname, before.nameservers) != (config.hostname, config.nameservers):
            old, self._pools = self._pools, _pools(config, self._tokens, self._let_in)
            self._farewells.append(asyncio.get_running_loop().create_task(old.close()))
        for sentence in (*left, *loaded.remarks, *mask_warnings(config.listeners, self._masks)):
            events.note("warned", sentence)
        self.check_up.look_again()
        events.note("reloaded", f"{len(config.upstreams)} upstreams, {len(config.routes)} routes", config=config.source)

    def _try_again(self, everything: bool) -> None:
        """An order by hand: whoever gives it may just have mended a password file, so the logins are read anew."""
        loaded = self._read_again() if self._read_again else None
        if loaded and loaded.config and loaded.config.upstreams != self._config.upstreams:
            self.reload()
        else:
            self._runner.wake(waiting=everything)

    async def _submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        return await self._pools.submit(upstream, outgoing)

    def _let_in(self, upstream: str) -> None:
        self._runner.let_in(upstream)

    async def _show_life(self) -> None:
        """The service manager's watchdog hears of us as long as the runner works."""
        while (seconds := watchdog_every()) is not None:
            if utcnow() - self._runner.heartbeat <= HEARTBEAT_STALE:
                notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    def _advise(self, answer: Answer, upstream: str) -> Advice:
        return advise(answer, self._config.upstreams.get(upstream))

    def _may_route(self, sender: Address | None, recipient: Address, origin: Origin) -> Reply | None:
        return routing.may_route(self._config.routes, sender, recipient, origin)

    def _may_route_notice(self, recipient: Address) -> bool:
        return routing.may_route(self._config.routes, None, recipient, Origin("127.0.0.1")) is None

    async def _tidy(self) -> None:
        while True:
            with contextlib.suppress(SpoolFull, SpoolBroken):
                await self._spool.tidy(utcnow())
            await asyncio.sleep(TIDY_EVERY.total_seconds())

    async def _listen_for_silence(self) -> None:
        """A device that stopped mailing is told, since nobody misses the mail of a dead NAS."""
        while True:
            with contextlib.suppress(SpoolFull, SpoolBroken):
                await self._silence.look(self._config.devices)
            await asyncio.sleep(SILENCE_EVERY.total_seconds())

    async def _look_after_tokens(self) -> None:
        """A consent that is about to end is told before mail waits for it."""
        while True:
            for text in await self._tokens.look_after(self._config.upstreams.values()):
                events.note("warned", text)
                self._notifier.alarm(text)
            await asyncio.sleep(TOKENS_EVERY.total_seconds())

    def _subject(self) -> Subject:
        return replace(subject_of(self._config, self._remarks), running=True)

    def findings(self) -> list[dict[str, Any]]:
        """What the last check-up found: {"grade": warning | problem, "about", "cause", "cure", "link", ...}, worst first."""
        return self.check_up.findings()

    async def status(self) -> dict[str, Any]:
        """How the relay is, for health checks and the page."""
        why = []
        if self._spool.room() <= 0:
            why.append("the spool is full: less than spool.keep_free is free on its disk; devices are told 452")
        if utcnow() - self._runner.heartbeat > HEARTBEAT_STALE:
            why.append("the queue runner has not shown a sign of life for 3 minutes")
        return {
            "ready": not why,
            "why": why,
            "listening": self.inbound.doors(),
            "upstreams": upstream_views(self._runner.upstreams_now(), _with_direct(self._config.upstreams)),
            "oauth": await asyncio.to_thread(self._tokens.standings, self._config.upstreams.values()),
            "devices": device_views(self.inbound.devices(), self._config.devices),
            "expected": self._silence.lines(),
            "connections": self.inbound.connections,
            "free": shutil.disk_usage(state_dir(self._config.spool)).free,
        }


def subject_of(config: Config, remarks: Sequence[str] = (), only: Sequence[str] = ()) -> Subject:
    """What the doctor examines of a configuration; `only` these upstreams, if any are named."""
    return Subject(
        hostname=config.hostname,
        upstreams={name: one for name, one in config.upstreams.items() if not only or name in only},
        listeners=config.listeners,
        routes=config.routes,
        spool=config.spool,
        state_dir=state_dir(config.spool),
        nameservers=config.nameservers,
        notices_to=config.notices.to,
        source=config.source,
        remarks=tuple(remarks),
    )


def _pools(config: Config, tokens: Tokens, let_in: Callable[[str], None]) -> Pools:
    # tests have MX hosts on loopback, where port 25 is not theirs; nothing else sets this variable
    mx_port = int(os.environ.get("RELAY_TEST_MX_PORT", "25"))
    return Pools(
        hostname=config.hostname,
        resolver=Resolver(config.nameservers),
        token=tokens.get,
        refused=tokens.refused,
        mx_port=mx_port,
        on_open=let_in,
    )


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _names(relay: Relay) -> frozenset[str]:
    return frozenset(relay._config.upstreams) | {DIRECT}


def _with_direct(upstreams: Any) -> dict[str, Upstream]:
    """The configured upstreams and the built-in one that delivers straight to the recipient's MX."""
    return {DIRECT: DIRECT_UPSTREAM, **upstreams}


def _with_postmaster(config: Config) -> Recipients:
    """`postmaster` must always be accepted (RFC 5321 s4.5.1): the person who gets the notices is meant."""
    aliases = dict(config.recipients.aliases)
    if config.notices.to and "postmaster" not in aliases:
        for name in ("postmaster", f"postmaster@{config.hostname}"):
            aliases.setdefault(name, (config.notices.to,))
    return replace(config.recipients, aliases=aliases)
