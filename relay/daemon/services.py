"""Everything but the listeners: queue runner, notices, page and control socket, check-ups, tokens."""

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, partial
from importlib import import_module
from socket import gethostname, socket
from typing import TYPE_CHECKING, Any

from relay import events
from relay.config.config_values import Config, WebSettings
from relay.control.missing_devices import MissingDevices
from relay.control.on_demand_server import OnDemandServer
from relay.control.queue_admin import QueueAdmin
from relay.control.reports import device_views, upstream_views
from relay.control.status import RelayStatus
from relay.daemon.web_page import WebPage
from relay.detached import apart
from relay.doctor.child_process import aside
from relay.doctor.daily import CheckUp
from relay.doctor.subject import Subject
from relay.inbound.listener import Inbound
from relay.mail.address import Address
from relay.mail.envelope import Origin
from relay.mail.reply import Answer
from relay.outbound import routing
from relay.outbound.in_hand import InHand
from relay.outbound.notifier import Notifier
from relay.outbound.postponing import Postponing
from relay.outbound.prepare import Prepared, device_for, prepare
from relay.outbound.replies import Advice, judge
from relay.outbound.runner import Runner
from relay.sd_notify import notify, watchdog_every
from relay.spool import open_safe
from relay.spool.contract import Spool, SpoolBroken, SpoolFull
from relay.spool.entry import Claim, TransferItem
from relay.spool.queue_id import new_queue_id
from relay.upstream.client_certificates import ClientCertificates
from relay.upstream.settings import Upstream
from relay.upstream.transports import Means, Transports

if TYPE_CHECKING:
    from relay.control.access import AccessRules
    from relay.control.care import Care
    from relay.control.server import Server
    from relay.daemon.care import CareTaker
    from relay.upstream.oauth.session_tokens import Tokens

TIDY_EVERY = timedelta(hours=1)
SILENCE_EVERY = timedelta(seconds=30)
CERTIFICATES_EVERY = timedelta(seconds=30)
TOKENS_EVERY = timedelta(hours=6)
HEARTBEAT_STALE = timedelta(minutes=3)


@dataclass(frozen=True, slots=True)
class RelayParts:
    """What the services get from the relay: spool, listeners, clock; `subject` for the doctor.

    `try_again` is called after an order by hand made mail due (True: all mail).  `in_hand` marks messages in hand.
    `reload` reads the configuration again and says what came of it; `config` is all that is in force.
    """

    spool: Spool
    inbound: Inbound
    now: Callable[[], datetime]
    subject: Callable[[], Subject]
    try_again: Callable[[bool], None]
    in_hand: InHand
    reload: Callable[[], Awaitable[dict[str, Any]]]
    config: Callable[[], Config]


class Services:
    """The services, made for one configuration; `reload` takes another one.  `show_content`: people may look into messages."""

    def __init__(self, config: Config, parts: RelayParts) -> None:
        self._config, self._parts, self._spool = config, parts, parts.spool
        means = Means(
            config.hostname,
            config.nameservers,
            lambda upstream: self._tokens.get(upstream),  # noqa: PLW0108 - not loaded before it is called
            lambda upstream, token, answer: self._tokens.refused(upstream, token, answer),  # noqa: PLW0108
            lambda upstream, token: self._tokens.renewed(upstream, token),  # noqa: PLW0108
            trusted=config.trusted_nameservers,
            state=config.spool.home,
        )
        self._transports = Transports(means)
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
        self._postponing = Postponing(self._spool, parts.now, new_queue_id, config.hostname)
        self.runner = Runner(
            spool=self._spool,
            transports=self._transports,
            routes=config.routes,
            upstreams=config.all_upstreams,
            retry=config.retry,
            repair=config.repair,
            hostname=config.hostname,
            devices=config.devices,
            notices_via=config.notices.chains,
            now=parts.now,
            on_settled=self.notifier.wake,
            notify_whom=self.notifier.notify_whom,
            alarm=self.notifier.alarm,
            in_hand=parts.in_hand,
            postponing=self._postponing,
        )
        self._silence = MissingDevices(self._spool.heard, self.notifier.alarm, parts.now)
        self._check_up = CheckUp(parts.subject, aside)
        self.desk = QueueAdmin(self._spool, parts.now, self._names, parts.try_again, self._unused)
        self.show_content = config.web.content
        self._watch = RelayStatus(
            self.desk,
            self.status,
            parts.now,
            self._check_up.findings,
            parts.reload,
            lambda: self._config.devices,
            self._care,
            lambda: self.show_content,
            self._as_sent,
        )
        self.page = WebPage(self._load_page, self._rules)
        self._client_certificates = ClientCertificates()
        self._unusable_keys: dict[str, str] = {}

    async def work(self, control: socket, page: socket | None, ready: Callable[[], None], stopping: asyncio.Event) -> None:
        """Everything runs side by side until `stopping`; the stop order is: listeners, runner, notices, control."""
        servers = (OnDemandServer(control, self._load_api, self._watch.relay), self.page)
        if page is not None:
            self.page.begin(self._config.web, page)
        try:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(part) for part in (self.runner.run(), self.notifier.run(), self._tidy())]
                work += [group.create_task(server.serve()) for server in servers]
                asides = [self._beat(), self._look_after_tokens(), self._check_up.run(), self._listen_for_silence()]
                aside = [group.create_task(part) for part in (*asides, self._look_at_certificates())]
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
            if "_care_taker" in vars(self):
                await self._care_taker.close()
            await self._transports.close()
            if "_tokens" in vars(self):
                await self._tokens.close()

    def reload(self, config: Config) -> None:
        """Queued mail takes the new routes; transactions under way end unchanged."""
        self._config = config
        self._postponing.hostname = config.hostname
        names = {"nameservers": config.nameservers, "trusted": config.trusted_nameservers}
        self._transports.reload(hostname=config.hostname, **names)
        self.runner.reload(
            routes=config.routes,
            upstreams=config.all_upstreams,
            retry=config.retry,
            repair=config.repair,
            hostname=config.hostname,
            devices=config.devices,
            notices_via=config.notices.chains,
        )
        self.notifier.reload(policy=config.notices, hostname=config.hostname, give_up_after=config.retry.give_up_after)
        self._check_up.look_again()

    def _load_api(self, control: socket) -> "Server":
        from relay.control.server import api_server

        return api_server(self._watch, control)

    def _load_page(self, settings: WebSettings, page: socket) -> "tuple[Server, AccessRules]":
        from relay.control.server import page_server

        rules = self._rules(settings)
        return page_server(self._watch, lambda: self._config.hostname, rules, page), rules

    def _rules(self, settings: WebSettings) -> "AccessRules":
        from relay.control.access import AccessRules, own_names

        return AccessRules(
            password=settings.password.reveal() if settings.password else "",
            names=own_names(self._config.hostname, gethostname()) | {name.lower() for name in settings.hosts},
            user_header=settings.user_header,
            proxies=settings.proxies,
        )

    def _as_sent(self, item: TransferItem) -> tuple[str, Prepared]:
        """A message as it goes to the upstream that it was tried with last, by today's configuration."""
        config, entry, recipients = self._config, item.stored.entry, item.stored.recipients
        tried = [one.upstream for one in recipients if one.upstream in config.all_upstreams]
        name = tried[-1] if tried else next(iter(config.upstreams or config.all_upstreams))
        lines = [line.details for line in item.stored.trail if line.event == "repaired"]
        prepared = prepare(
            Claim(entry, recipients, 0, repeated_id=item.repeated),
            recipients,
            config.all_upstreams[name],
            hostname=config.hostname,
            policy=config.repair,
            own_name=any(one.get("own_name") and one.get("upstream") == name for one in lines),
            device=device_for(entry, config.devices),
        )
        return name, prepared

    def _names(self) -> frozenset[str]:
        return frozenset(self._config.all_upstreams)

    def _unused(self) -> frozenset[str]:
        """`mx` is always there, and few use it."""
        config = self._config
        return frozenset({config.direct.name}).difference(config.notices.via, *(route.via for route in config.routes))

    def _advise(self, answer: Answer, upstream: str) -> Advice:
        return judge(answer, self._config.all_upstreams.get(upstream)).advice

    def _may_route_notice(self, recipient: Address) -> bool:
        by_rule = routing.may_route(self._config.routes, None, recipient, Origin("127.0.0.1")) is None
        return by_rule or recipient in self._config.notices.chains

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

    async def _look_at_certificates(self) -> None:
        """Reads certificates that were renewed, and tells of those that cannot be used."""
        while True:
            try:
                await self._parts.inbound.look_at_certificates()
                await self.client_certificates()
                await self._look_at_dkim_keys()
            except Exception as error:  # mail must go on
                events.note("broken", f"the certificates could not be looked at: {error!r}", same="certificates")
            await asyncio.sleep(CERTIFICATES_EVERY.total_seconds())

    async def _look_at_dkim_keys(self) -> None:
        """Makes those that are not there, before the first message waits for one, and tells of those that cannot be used."""
        keys, told = self._config.dkim, self._unusable_keys
        if not keys:
            return
        from relay.outbound.dkim_keys import troubles

        self._unusable_keys = await apart(partial(troubles, keys))
        for file, text in self._unusable_keys.items():
            if told.get(file) != text:
                events.note("warned", text)
                self.notifier.alarm(f"{text[0].upper()}{text[1:]}.", f"DKIM key {file}")

    async def client_certificates(self) -> dict[str, str]:
        """Looks at the certificates that are shown to upstreams.  Which upstream's cannot be used, and why."""
        for name in await self._client_certificates.look(self._config.upstreams.values()):
            text = f"the certificate for {name} cannot be used: {self._client_certificates.seen[name].trouble}"
            events.note("warned", text, upstream=name)
            self.notifier.alarm(f"{text[0].upper()}{text[1:]}.", f"certificate for {name}")
        return {name: one.trouble for name, one in self._client_certificates.seen.items() if one.trouble}

    @cached_property
    def _tokens(self) -> "Tokens":
        """Loaded when the first account needs one."""
        from relay.upstream.oauth.session_tokens import Tokens

        spool = self._config.spool
        return Tokens(spool.home, self._parts.now, safe=open_safe(spool))

    async def _care(self) -> "Care":
        """Loaded in a thread: reception does not wait for it."""
        await asyncio.to_thread(import_module, "relay.daemon.care")
        return self._care_taker.care

    @cached_property
    def _care_taker(self) -> "CareTaker":
        """Loaded when somebody asks for a test, an examination, a login or the settings."""
        from relay.daemon.care import CareParts, CareTaker

        parts = self._parts
        look_again = self._check_up.look_again
        return CareTaker(CareParts(parts.config, self.desk, parts.now, parts.subject, self._tokens, parts.reload, look_again))

    def _oauth_accounts(self) -> list[Upstream]:
        return [upstream for upstream in self._config.upstreams.values() if upstream.login.oauth is not None]

    async def _look_after_tokens(self) -> None:
        """Warns of a consent that is about to end, before mail waits for it."""
        while True:
            accounts = self._oauth_accounts()
            for name, text in await self._tokens.look_after(accounts) if accounts else ():
                events.note("warned", text, upstream=name)
                self.notifier.alarm(text, f"consent for {name}")
            await asyncio.sleep(TOKENS_EVERY.total_seconds())

    async def status(self) -> dict[str, Any]:
        """The state of the relay, for health checks and the page."""
        why: dict[str, str] = {}
        if self._spool.room() <= 0:
            why["spool_full"] = "the spool is full: less than spool.keep_free is free on its disk; devices are told 452"
        if self._spool.away:
            why["spool_away"] = f"the spool's database cannot be reached; devices are told 451: {self._spool.away}"
        if self._parts.now() - self.runner.heartbeat > HEARTBEAT_STALE:
            why["runner_silent"] = "the queue runner has not shown a sign of life for 3 minutes"
        inbound, config, accounts = self._parts.inbound, self._config, self._oauth_accounts()
        return {
            "ready": not why,
            "why": list(why.values()),
            "trouble": list(why),
            "listening": inbound.listening(),
            "upstreams": upstream_views(self.runner.upstreams_now(), config.all_upstreams, self._client_certificates.seen),
            "oauth": await asyncio.to_thread(self._tokens.standings, accounts) if accounts else [],
            "devices": device_views(inbound.devices(), config.devices),
            "expected": self._silence.lines(),
            "connections": inbound.connections,
            "spool_away": self._spool.absent,
            "free": shutil.disk_usage(config.spool.home).free,
        }
