"""Everything but the listeners: queue runner, notices, page and control socket, check-ups, tokens."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from socket import gethostname, socket
from typing import TYPE_CHECKING, Any

from relay import events
from relay.config.config_values import Config
from relay.control.missing_devices import MissingDevices
from relay.control.on_demand_server import OnDemandServer
from relay.control.paths import state_dir
from relay.control.queue_admin import QueueAdmin
from relay.control.reports import device_views, upstream_views
from relay.control.status import RelayStatus
from relay.doctor.child_process import aside
from relay.doctor.daily import CheckUp
from relay.doctor.subject import Subject
from relay.inbound.listener import Inbound
from relay.mail.address import Address
from relay.mail.envelope import Origin
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer
from relay.outbound import routing
from relay.outbound.in_hand import InHand
from relay.outbound.notifier import Notifier
from relay.outbound.postponing import Postponing
from relay.outbound.replies import Advice, judge
from relay.outbound.runner import Runner
from relay.sd_notify import notify, watchdog_every
from relay.spool import open_safe
from relay.spool.contract import Spool, SpoolBroken, SpoolFull
from relay.spool.queue_id import new_queue_id
from relay.upstream.dns import Resolver
from relay.upstream.oauth.session_tokens import Tokens
from relay.upstream.pool import Pools
from relay.upstream.report import Report
from relay.upstream.settings import DIRECT, DIRECT_UPSTREAM, Upstream

if TYPE_CHECKING:
    from relay.control.server import Server

TIDY_EVERY = timedelta(hours=1)
SILENCE_EVERY = timedelta(seconds=30)
TOKENS_EVERY = timedelta(hours=6)
HEARTBEAT_STALE = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class RelayParts:
    """What the services get from the relay: spool, listeners, clock; `subject` for the doctor.

    `try_again` is called after an order by hand made mail due (True: all mail).  `in_hand` marks messages in hand.
    """

    spool: Spool
    inbound: Inbound
    now: Callable[[], datetime]
    subject: Callable[[], Subject]
    try_again: Callable[[bool], None]
    in_hand: InHand


class Services:
    """The services, made for one configuration; `reload` takes another one."""

    def __init__(self, config: Config, parts: RelayParts) -> None:
        self._config, self._parts, self._spool = config, parts, parts.spool
        self._closing: list[asyncio.Task[None]] = []
        self._tokens = Tokens(state_dir(config.spool), parts.now, safe=open_safe(config.spool))
        self._pools = self._made_pools(config)
        self.notifier = Notifier(
            spool=self._spool,
            policy=config.notices,
            hostname=config.hostname,
            now=parts.now,
            new_queue_id=new_queue_id,
            advise=self._advise,
            may_route=self._may_route_notice,
            give_up_after=config.retry.give_up_after,
            in_hand=parts.in_hand,
        )
        self._postponing = Postponing(self._spool, parts.now, new_queue_id, config.devices, config.hostname)
        self.runner = Runner(
            spool=self._spool,
            submit=self._submit,
            routes=config.routes,
            upstreams=_with_direct(config.upstreams),
            retry=config.retry,
            repair=config.repair,
            hostname=config.hostname,
            devices=config.devices,
            now=parts.now,
            on_settled=self.notifier.wake,
            advise=lambda answer, upstream: judge(answer, upstream).advice.with_link,
            notify_whom=self.notifier.notify_whom,
            alarm=self.notifier.alarm,
            in_hand=parts.in_hand,
            postponing=self._postponing,
        )
        self._silence = MissingDevices(self._spool.heard, self.notifier.alarm, parts.now)
        self._check_up = CheckUp(parts.subject, aside)
        self.desk = QueueAdmin(self._spool, parts.now, self._names, parts.try_again)
        self._watch = RelayStatus(self.desk, self.status, parts.now, self._check_up.findings, lambda: self._config.devices)

    async def work(self, control: socket, page: socket | None, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Everything runs side by side until `stopping`; the stop order is: listeners, runner, notices, control."""
        servers = self._servers(control, page)
        try:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(part) for part in (self.runner.run(), self.notifier.run(), self._tidy())]
                work += [group.create_task(server.serve()) for server in servers]
                asides = [self._beat(), self._look_after_tokens(), self._check_up.run(), self._listen_for_silence()]
                aside = [group.create_task(part) for part in asides]
                ready()
                await stopping.wait()
                notify("STOPPING=1")
                await self._parts.inbound.stop()
                await self.runner.stop()
                for server in servers:
                    server.stop()
                for task in (*work[1:3], *aside):
                    task.cancel()
        finally:
            await self._pools.close()
            await self._tokens.close()

    def reload(self, config: Config) -> None:
        """Queued mail takes the new routes; transactions under way end unchanged."""
        before, self._config = self._config, config
        self._postponing.reload(config.devices, config.hostname)
        self.runner.reload(
            routes=config.routes,
            upstreams=_with_direct(config.upstreams),
            retry=config.retry,
            repair=config.repair,
            hostname=config.hostname,
            devices=config.devices,
        )
        self.notifier.reload(policy=config.notices, hostname=config.hostname, give_up_after=config.retry.give_up_after)
        if any(getattr(before, name) != getattr(config, name) for name in ("hostname", "nameservers", "mx_private")):
            old, self._pools = self._pools, self._made_pools(config)
            self._closing.append(asyncio.get_running_loop().create_task(old.close()))
        self._check_up.look_again()

    def _servers(self, control: socket, page: socket | None) -> list[OnDemandServer]:
        """The UNIX socket for the command line, and the page where there is a socket for it; loaded when somebody comes."""
        servers = [OnDemandServer(control, self._load_api, self._watch.relay)]
        return [*servers, OnDemandServer(page, self._load_page)] if page is not None else servers

    def _load_api(self, control: socket) -> "Server":
        from relay.control.server import api_server

        return api_server(self._watch, control)

    def _load_page(self, page: socket) -> "Server":
        from relay.control.access import AccessRules, own_names
        from relay.control.server import page_server

        settings = self._config.web
        rules = AccessRules(
            password=settings.password.reveal() if settings.password else "",
            names=own_names(self._config.hostname, gethostname()) | {name.lower() for name in settings.hosts},
            user_header=settings.user_header,
            proxies=settings.proxies,
        )
        return page_server(self._watch, lambda: self._config.hostname, rules, page)

    def _made_pools(self, config: Config) -> Pools:
        # tests have MX hosts on loopback, where port 25 is not theirs; nothing else sets this variable
        mx_port = int(os.environ.get("RELAY_TEST_MX_PORT", "25"))
        return Pools(
            hostname=config.hostname,
            resolver=Resolver(config.nameservers),
            token=self._tokens.get,
            refused=self._tokens.refused,
            mx_port=mx_port,
            mx_private=config.mx_private,
            on_open=self._let_in,
        )

    async def _submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        return await self._pools.submit(upstream, outgoing)

    def _let_in(self, upstream: str) -> None:
        self.runner.let_in(upstream)

    def _names(self) -> frozenset[str]:
        return frozenset(self._config.upstreams) | {DIRECT}

    def _advise(self, answer: Answer, upstream: str) -> Advice:
        return judge(answer, self._config.upstreams.get(upstream)).advice

    def _may_route_notice(self, recipient: Address) -> bool:
        return routing.may_route(self._config.routes, None, recipient, Origin("127.0.0.1")) is None

    async def _beat(self) -> None:
        """Beats the service manager's watchdog as long as the runner works."""
        while (seconds := watchdog_every()) is not None:
            if self._parts.now() - self.runner.heartbeat <= HEARTBEAT_STALE:
                notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    async def _tidy(self) -> None:
        while True:
            with contextlib.suppress(SpoolFull, SpoolBroken):
                await self._spool.tidy(self._parts.now())
            await asyncio.sleep(TIDY_EVERY.total_seconds())

    async def _listen_for_silence(self) -> None:
        """Reports a device that stopped sending mail, since nobody misses the mail of a dead NAS."""
        while True:
            with contextlib.suppress(SpoolFull, SpoolBroken):
                await self._silence.look(self._config.devices)
            await asyncio.sleep(SILENCE_EVERY.total_seconds())

    async def _look_after_tokens(self) -> None:
        """Warns of a consent that is about to end, before mail waits for it."""
        while True:
            for text in await self._tokens.look_after(self._config.upstreams.values()):
                events.note("warned", text)
                self.notifier.alarm(text)
            await asyncio.sleep(TOKENS_EVERY.total_seconds())

    async def status(self) -> dict[str, Any]:
        """The state of the relay, for health checks and the page."""
        why = []
        if self._spool.room() <= 0:
            why.append("the spool is full: less than spool.keep_free is free on its disk; devices are told 452")
        if self._spool.away:
            why.append(f"the spool's database cannot be reached; devices are told 451: {self._spool.away}")
        if self._parts.now() - self.runner.heartbeat > HEARTBEAT_STALE:
            why.append("the queue runner has not shown a sign of life for 3 minutes")
        inbound, config = self._parts.inbound, self._config
        return {
            "ready": not why,
            "why": why,
            "listening": inbound.listening(),
            "upstreams": upstream_views(self.runner.upstreams_now(), _with_direct(config.upstreams)),
            "oauth": await asyncio.to_thread(self._tokens.standings, config.upstreams.values()),
            "devices": device_views(inbound.devices(), config.devices),
            "expected": self._silence.lines(),
            "connections": inbound.connections,
            "spool_away": self._spool.absent,
            "free": shutil.disk_usage(state_dir(config.spool)).free,
        }


def _with_direct(upstreams: Mapping[str, Upstream]) -> dict[str, Upstream]:
    """The configured upstreams and the built-in one that delivers straight to the recipient's MX."""
    return {DIRECT: DIRECT_UPSTREAM, **upstreams}
