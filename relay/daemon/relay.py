"""One running relay: spool and listeners first, then the services; signals, reload, start and stop order."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay import __version__, events
from relay.config import Loaded
from relay.config.config_values import Config
from relay.container import look_around, lost_with_container
from relay.control import tcp, unix
from relay.control.paths import control_socket
from relay.daemon.watchdog import BEAT, Watchdog
from relay.detached import apart
from relay.inbound.admission import Recipients, mask_warnings
from relay.inbound.listener import Inbound, NotApplied
from relay.inbound.server_state import Copies, ServerPolicy
from relay.mail.address import Address
from relay.mail.device import device_of
from relay.mail.envelope import Origin
from relay.mail.reply import Reply
from relay.networks import with_port
from relay.outbound import routing
from relay.outbound.in_hand import InHand
from relay.sd_notify import notify
from relay.spool import open_spool
from relay.spool.contract import Spool, SpoolBroken, SpoolFull, SpoolSettings
from relay.spool.queue_id import new_queue_id

if TYPE_CHECKING:
    from relay.control.queue_admin import QueueAdmin
    from relay.daemon.services import Services
    from relay.doctor.subject import Subject


_SPOOL_LIMITS = ("max_message", "keep_free", "keep_history", "max_size")
"""What a reload changes of the spool; its place and its password are for a start."""


_LONGEST_START = 1800
"""Seconds that the service manager is told to wait for."""


class StartFailed(Exception):
    """The relay could not start; the text says why and what to do."""


utcnow: Callable[[], datetime] = partial(datetime.now, UTC)


class Relay:
    """One running relay.  `reload` reads the configuration again, for SIGHUP.  A process of its own has a `watchdog`.

    `page` is a socket that listens on web.address already: that of set-up, where people wait for an answer.
    """

    def __init__(
        self,
        config: Config,
        *,
        reload: Callable[[], Loaded] | None = None,
        remarks: Sequence[str] = (),
        watchdog: Watchdog | None = None,
        page: socket.socket | None = None,
        now: Callable[[], datetime] = utcnow,
    ) -> None:
        self._watchdog, self._in_hand, self._page, self._now = watchdog, InHand(), page, now
        self._config, self._read_again, self._remarks = config, reload, remarks
        self._masks = look_around().masks
        self._stopping = asyncio.Event()
        self._alarms: list[tuple[str, str]] = []
        self.started = asyncio.Event()
        self._spool: Spool
        self.inbound: Inbound
        self._services: Services | None = None
        self._reloading, self._reloads = asyncio.Lock(), set[asyncio.Task[Any]]()

    @property
    def desk(self) -> "QueueAdmin":
        """Reads the queue and carries out orders.  Raises RuntimeError before the relay has started."""
        if self._services is None:
            raise RuntimeError("the relay has not started")
        return self._services.desk

    @property
    def web_address(self) -> tuple[str, int] | None:
        """Where the page answers."""
        return self._services.page.address if self._services else None

    async def run(self) -> None:
        """Runs until `stop()` or a signal.  Raises StartFailed."""
        events.configure(self._config.log.format, self._config.log.level)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):  # at once: as process 1 of a container we have no default action
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        life = loop.create_task(self._beat())
        try:
            home = _home(self._config.spool)
            notify(f"EXTEND_TIMEOUT_USEC={_LONGEST_START * 1_000_000}")  # bringing a large spool up to date takes minutes
            self._spool = await open_spool(self._config.spool, now=self._now, home=home)
        except (SpoolBroken, SpoolFull, OSError) as error:
            raise StartFailed(str(error)) from error
        self._count_deaths(home)
        try:
            await self._with_spool()
        finally:
            life.cancel()
            await self._spool.close()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
            events.note("stopped", "the relay has stopped; what waits is safe in the spool")

    def stop(self) -> None:
        self._stopping.set()
        for task in self._reloads:
            task.cancel()
        self._in_hand.stopping()
        if self._watchdog:
            self._watchdog.stopping()

    async def _beat(self) -> None:
        """Beats the watchdog, unless a message takes longer than any may: only the end of the process stops that."""
        while self._watchdog:
            if not self._in_hand.stuck():
                self._watchdog.beat()
            await asyncio.sleep(min(BEAT, self._watchdog.hang / 4))

    def _count_deaths(self, home: Path) -> None:
        """Reads which messages were in hand when the previous process ended."""
        try:
            self._in_hand = InHand.open(home)
        except OSError as error:
            events.note("warned", f"{home}: what is in hand cannot be marked, so a message that kills is not found: {error}")
            return
        if left := self._in_hand.left:
            text = f"the relay died with {len(left)} messages in hand; one that is in hand at two deaths will be held"
            events.note("warned", text, in_hand=left[:50])

    async def _with_spool(self) -> None:
        """Devices are answered from here on; their mail waits in the spool until the services have started."""
        config = self._config
        control, page = self._control_socket(), self._page_socket()
        self.inbound = Inbound(
            _policy(config),
            config.listeners,
            spool=self._spool,
            may_route=self._may_route,
            now=self._now,
            new_queue_id=new_queue_id,
            state_dir=config.spool.home,
            masks=self._masks,
            alarm=self._alarm,
        )
        try:
            await self._inbound_started()
            await asyncio.to_thread(_load_services)
            self._services = self._make_services()
            for alarm in self._alarms:
                self._services.notifier.alarm(*alarm)
            await self._services.work(control, page, self._say_started, self._stopping)
        finally:
            await self.inbound.stop(grace=0)
            for sock in filter(None, (control, page)):
                sock.close()
            control_socket(config.spool).unlink(missing_ok=True)

    def _make_services(self) -> "Services":
        from relay.daemon.services import RelayParts, Services

        return Services(
            self._config,
            RelayParts(
                self._spool,
                self.inbound,
                self._now,
                self._subject,
                self._try_again,
                self._in_hand,
                self.reload,
                lambda: self._config,
            ),
        )

    def _alarm(self, text: str, cause: str) -> None:
        if self._services is None:
            self._alarms.append((text, cause))
        else:
            self._services.notifier.alarm(text, cause)

    async def _inbound_started(self) -> None:
        try:
            await self.inbound.start()
        except OSError as error:
            raise StartFailed(str(error)) from error

    def _page_socket(self) -> socket.socket | None:
        address = self._config.web.address
        if not address or self._page:
            return self._page
        try:
            return tcp.listen(address)
        except OSError as error:
            raise StartFailed(f"web.address {address}: {error.strerror or error}") from error

    def _control_socket(self) -> socket.socket:
        path = control_socket(self._config.spool)
        try:
            return unix.listen(path)
        except OSError as error:
            raise StartFailed(f"{path}: the control socket cannot be made: {error.strerror or error}") from error

    def _say_started(self) -> None:
        config = self._config
        listening = [with_port(host, port) for host, port in self.inbound.bound]
        events.note(
            "started",
            f"listening on {', '.join(listening)}; {config.extent}",
            version=__version__,
            listening=listening,
            web=with_port(*self.web_address) if self.web_address else "",
            hostname=config.hostname,
            spool=config.spool.shown,
            config=config.source,
            pid=os.getpid(),
        )
        for sentence in (*self._remarks, *self._about_the_container()):
            events.note("warned", sentence)
        notify("READY=1")
        self.started.set()
        _freeze_for_collector()

    def _about_the_container(self) -> list[str]:
        """Warnings about a container: hidden client addresses, a spool that is not on a volume."""
        sentences = mask_warnings(self._config.listeners, self._masks)
        spool = self._config.spool
        in_a_file = spool.file or spool.fallback_file
        if in_a_file and (lost := lost_with_container(spool.home)):
            sentences.append(f"Queued mail will be lost when the container is recreated. {lost}; mount a named volume there")
        return sentences

    def reload(self) -> "asyncio.Task[dict[str, Any]]":
        """Reads the configuration again; a mistake keeps the running one.  Queued mail takes the new routes.

        The result says what came of it, in the keys of `/api/reload`; the log says the same.
        """
        task = asyncio.get_running_loop().create_task(self._read_configuration())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)
        return task

    async def _read_configuration(self) -> dict[str, Any]:
        await self.started.wait()  # what is being started with may be older than this order
        async with self._reloading:
            if self._read_again is None or self._services is None or self._stopping.is_set():
                return _outcome(reloaded=False)
            loaded = await apart(self._read_again)  # the library of a push service may need seconds to look at new URLs
            if loaded.config is None:
                for mistake in loaded.mistakes:
                    events.note("warned", f"the configuration was not reloaded: {mistake}")
                return _outcome(reloaded=False, mistakes=map(str, loaded.mistakes))
            left = await self._apply(loaded.config, self._services)
            self._remarks = loaded.remarks
            for sentence in (*map(str, left), *loaded.remarks, *mask_warnings(self._config.listeners, self._masks)):
                events.note("warned", sentence)
            config = self._config
            events.note("reloaded", config.extent, config=config.source)
            return _outcome(reloaded=True, left=left)

    async def _apply(self, new: Config, services: "Services") -> list[NotApplied]:
        """Takes over all that can be; returns the rest."""
        before = self._config
        spool = replace(before.spool, **{name: getattr(new.spool, name) for name in _SPOOL_LIMITS})
        left = [
            NotApplied(f"spool.{each.name}", "it takes effect at the next start")
            for each in fields(spool)
            if getattr(spool, each.name) != getattr(new.spool, each.name)
        ]
        self._spool.adjust(spool)
        if new.log != before.log:
            events.configure(new.log.format, new.log.level)
        self._config = replace(new, spool=spool, web=before.web, listeners=before.listeners)
        services.reload(self._config)
        left += await self.inbound.reload(_policy(new), new.listeners)
        self._config = replace(self._config, listeners=self.inbound.listeners)
        if trouble := await services.page.change(new.web):
            left.append(NotApplied("web", f"the page cannot answer on {new.web.address}: {trouble}"))
        else:
            self._config = replace(self._config, web=new.web)
            services.show_content = new.web.content
        unusable = await services.client_certificates()
        return left + [NotApplied(f"upstreams.{name}.client_cert", why) for name, why in unusable.items()]

    def _try_again(self, everything: bool) -> None:
        """An order by hand: its giver may just have corrected a password file, so the logins are read again."""
        loaded = self._read_again() if self._read_again else None  # at once: what is due now would be tried before, and again
        if loaded and loaded.config and loaded.config.upstreams != self._config.upstreams:
            self.reload()
        elif self._services:
            self._services.runner.wake(waiting=everything)

    def _may_route(self, sender: Address | None, recipient: Address, origin: Origin) -> Reply | None:
        device = device_of(self._config.devices, origin) if self._config.devices else None
        return routing.may_route(self._config.routes, sender, recipient, origin, device.name if device else "")

    def _subject(self) -> "Subject":
        return replace(subject_of(self._config, self._remarks), running=True)


def _home(spool: SpoolSettings) -> Path:
    """The folder for all that is kept, made if need be.  Raises StartFailed."""
    home = spool.home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        from relay.other_user import place_for

        setting = "spool.state_dir" if spool.state_dir or not spool.file else "spool.url"
        raise StartFailed(f"{home}: {error.strerror or error}{place_for(home, error, setting)}") from error
    return home


def _outcome(*, reloaded: bool, mistakes: Iterable[str] = (), left: Iterable[NotApplied] = ()) -> dict[str, Any]:
    return {"reloaded": reloaded, "mistakes": list(mistakes), "not_applied": [asdict(one) for one in left]}


def subject_of(config: Config, remarks: Sequence[str] = (), only: Sequence[str] = ()) -> "Subject":
    """What the doctor examines of a configuration; `only` these upstreams, if any are named."""
    from relay.doctor.subject import Subject

    return Subject(
        hostname=config.hostname,
        upstreams={name: one for name, one in config.upstreams.items() if not only or name in only},
        listeners=config.listeners,
        routes=config.routes,
        spool=config.spool,
        state_dir=config.spool.home,
        nameservers=config.nameservers,
        trusted_nameservers=config.trusted_nameservers,
        notices_to=config.notices.to,
        dkim=config.dkim,
        source=config.source,
        remarks=tuple(remarks),
    )


def _freeze_for_collector() -> None:
    """What is loaded now stays: checking it for garbage again and again costs a tenth of all work.

    The collector's thresholds stay as they are: with higher ones, a long queue that drains keeps 20 MB more.
    """
    gc.freeze()


def _load_services() -> None:
    """Imports half of the program, in another thread, so that devices are greeted meanwhile."""
    import relay.daemon.services  # noqa: F401 - for those who ask for it next


def _policy(config: Config) -> ServerPolicy:
    """What devices are answered by."""
    return ServerPolicy(
        config.hostname,
        config.limits,
        _with_postmaster(config),
        config.spool.max_message,
        config.devices,
        _copies(config),
    )


def _copies(config: Config) -> Copies | None:
    """Who gets copies; None where nobody ever does, so that it is not asked for each message."""
    if not any(one.copy_to for one in config.routes) and not any(one.copy_to for one in config.devices):
        return None
    return partial(routing.copies, config.routes)


def _with_postmaster(config: Config) -> Recipients:
    """`postmaster` must always be accepted (RFC 5321 s4.5.1): the person who gets the notices is meant."""
    aliases = dict(config.recipients.aliases)
    if config.notices.to and "postmaster" not in aliases:
        for name in ("postmaster", f"postmaster@{config.hostname}"):
            aliases.setdefault(name, (config.notices.to,))
    return replace(config.recipients, aliases=aliases)
