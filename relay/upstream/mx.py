"""The built-in upstream `mx`: straight to the hosts that the recipient's domain names.  RFC 5321 s5.1, RFC 7505, RFC 7435."""

import asyncio
import hashlib
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.networks import address_of, in_lan, on_internet
from relay.upstream.client_session import ClientSession, open_session
from relay.upstream.connect import Endpoint, alternating
from relay.upstream.dns import NoAnswer, NoSuchName, Resolver
from relay.upstream.exchange import Quits, exchange, greeting_name
from relay.upstream.learned_limits import Learned
from relay.upstream.report import Report
from relay.upstream.settings import Auth, Login, MxHosts, SmtpServer, Tls, TlsMode, Upstream

Visit = Callable[[Upstream, Outgoing, Sequence[Endpoint]], Awaitable[Report]]
"""Hands a message to one host at known addresses."""

DIAL = 10.0
"""Seconds to wait for a connection.  Consumer lines drop what goes to port 25 (OP25B): nothing comes back, ever, and the
next in the chain must not wait minutes for that."""

_ALL_DIALS = 20.0  # seconds that silent hosts of one domain may take together
_MOST_STRANGERS = 500  # MX hosts of which it is remembered what they do not bear
_MOST_HOSTS = 5  # of one domain in one attempt; RFC 5321 s5.1 asks for at least two


class _NoHost(Exception):
    def __init__(self, fault: Fault, code: int, status: str, words: str) -> None:
        super().__init__(words)
        # at RCPT, not CONNECT: it is about this domain, no sign that `mx` as such is in trouble
        self.answer = Answer(Stage.RCPT, Reply(code, status, words), fault=fault)


class MxDelivery:
    """Straight to MX hosts.  `hostname` is our name in EHLO, `resolver` tells the hosts.  No session is kept."""

    def __init__(self, *, hostname: str, resolver: Resolver, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._hostname, self._resolver, self._monotonic = greeting_name(hostname), resolver, monotonic
        self._strangers: dict[str, Learned] = {}
        self._quits = Quits()

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """Goes to the domain of the first recipient with all of its recipients; the others are left."""
        domain = outgoing.forward_paths[0].domain.lower()
        paths = tuple(path for path in outgoing.forward_paths if path.domain.lower() == domain)
        delivery = _Delivery(upstream, self._resolver, self._visit)
        report = await delivery.to_domain(replace(outgoing, forward_paths=paths))
        others = tuple(path for path in dict.fromkeys(outgoing.forward_paths) if path not in paths)
        return replace(report, left=(*report.left, *others)) if others else report

    def forget(self, name: str) -> None:
        """What strangers do not bear stays known."""

    async def close(self) -> None:
        await self._quits.done()

    async def _visit(self, upstream: Upstream, outgoing: Outgoing, candidates: Sequence[Endpoint]) -> Report:
        """One message to one MX host."""

        async def fresh() -> ClientSession:
            learned = self._strangers.setdefault(upstream.smtp.host, Learned())
            if len(self._strangers) > _MOST_STRANGERS:
                self._strangers.pop(next(iter(self._strangers)))
            return await open_session(
                upstream,
                hostname=self._hostname,
                candidates=candidates,
                opportunistic=True,
                dial=DIAL,
                learned=learned,
            )

        return await exchange(None, fresh, self._quits.part, outgoing, self._monotonic)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One message by `upstream`, whose transport is MxHosts."""

    upstream: Upstream
    resolver: Resolver
    visit: Visit

    async def to_domain(self, outgoing: Outgoing) -> Report:
        domain = outgoing.forward_paths[0].domain
        try:
            hosts = await _hosts(domain, outgoing.queue_id, self.resolver)
        except _NoHost as none:
            return Report(dict.fromkeys(outgoing.forward_paths, none.answer))
        report, loop = Report({}), asyncio.get_running_loop()
        called, barred = loop.time(), list[str]()
        for host in hosts[:_MOST_HOSTS]:
            found = await self._to_host(host, outgoing)
            if isinstance(found, Barred):
                barred += found.addresses
                continue
            report = found
            silent = not report.conversation.peer and loop.time() - called >= _ALL_DIALS
            if report.unsuited or silent or not all(_elsewhere(answer) for answer in report.answers.values()):
                break
        if report.answers or report.unsuited:
            return report
        return Report(dict.fromkeys(outgoing.forward_paths, _barred(domain, barred)))

    async def _to_host(self, host: str, outgoing: Outgoing) -> "Report | Barred":
        """STARTTLS where offered, unverified: in clear is what there would be otherwise."""
        try:
            addresses = await self.resolver.addresses(host)
        except (NoSuchName, NoAnswer) as error:
            fault = Fault.NO_HOST if isinstance(error, NoSuchName) else Fault.DNS
            return _all(outgoing, Reply(451, "4.4.3", f"the address of {host} cannot be looked up: {error}"), fault)
        if not addresses:
            return _all(outgoing, Reply(451, "4.4.4", f"the mail host {host} has no address"), Fault.NO_HOST)
        mx = self.upstream.of_kind(MxHosts)
        allowed = [address for address in addresses if mx.private or (on_internet(address) and not _is_ours(address))]
        if not allowed:
            return Barred(addresses)
        places = alternating([_place(address, mx.port) for address in allowed])
        server = SmtpServer(host, mx.port, Tls(TlsMode.STARTTLS, verify=False), Login(Auth.NONE))
        report = await self.visit(replace(self.upstream, transport=server), outgoing, places)
        if report.unsuited or not all(answer.stage is Stage.TLS for answer in report.answers.values()):
            return report
        in_clear = replace(self.upstream, transport=replace(server, tls=Tls(TlsMode.NONE)))
        clear = await self.visit(in_clear, outgoing, places)
        notes = (*clear.conversation.notes, f"sent in clear, since STARTTLS failed at {host}")
        return replace(clear, conversation=replace(clear.conversation, notes=notes))


@dataclass(frozen=True, slots=True)
class Barred:
    """A mail host without an address that we may go to."""

    addresses: list[str]


def _barred(domain: str, addresses: Sequence[str]) -> Answer:
    """A host in the LAN: deferred until the setting allows it.  This machine itself: failed."""
    named = f"{domain} names {', '.join(dict.fromkeys(addresses))} as its mail host"
    if any(in_lan(address) and not address_of(address).is_loopback and not _is_ours(address) for address in addresses):
        return _NoHost(Fault.BARRED, 451, "4.4.4", f"{named}, in the LAN: mx.private allows that").answer
    return _NoHost(Fault.BARRED, 550, "5.4.6", f"{named}, where no other host can be").answer


def _is_ours(address: str) -> bool:
    """Whether this machine has the address: the kernel would send from that same address.  Nothing is sent."""
    place = _place(address, 9)
    with socket.socket(place.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((place.host, place.port))
        except OSError:
            return False
        return str(probe.getsockname()[0]) == place.host


def _elsewhere(answer: Answer) -> bool:
    """Whether to try the domain's next host: this one never took MAIL, or was lost before the content."""
    return answer.stage.before(Stage.MAIL) or (answer.lost and answer.stage is not Stage.CONTENT)


def _place(address: str, port: int) -> Endpoint:
    return Endpoint(socket.AF_INET6 if ":" in address else socket.AF_INET, address, port)


def _all(outgoing: Outgoing, reply: Reply, fault: Fault) -> Report:
    return Report(dict.fromkeys(outgoing.forward_paths, Answer(Stage.CONNECT, reply, lost=True, fault=fault)))


async def _hosts(domain: str, queue_id: str, resolver: Resolver) -> list[str]:
    """The hosts to try, in order.  Raises _NoHost."""
    if domain.startswith("["):
        return [domain[1:-1].removeprefix("IPv6:")]
    try:
        published = await resolver.mx(domain)
        if not published:
            # RFC 5321 s5.1: without MX the domain itself is the host, if it has an address
            if not await resolver.addresses(domain):
                raise _NoHost(Fault.NO_HOST, 550, "5.1.2", f"the domain {domain} has neither a mail host nor an address")
            return [domain]
    except NoSuchName as error:
        raise _NoHost(Fault.NO_HOST, 550, "5.1.2", str(error)) from None
    except NoAnswer as error:
        raise _NoHost(Fault.DNS, 451, "4.4.3", str(error)) from None
    if not any(host for _, host in published):
        raise _NoHost(Fault.NULL_MX, 556, "5.1.10", f"the domain {domain} takes no mail (null MX)")
    return in_order([(preference, host) for preference, host in published if host], queue_id)


def in_order(published: Sequence[tuple[int, str]], queue_id: str) -> list[str]:
    """By preference; equals by a hash of queue id and host: spread over messages, the same for one."""

    def place(record: tuple[int, str]) -> tuple[int, bytes]:
        preference, host = record
        return preference, hashlib.sha256(f"{queue_id} {host.lower()}".encode()).digest()

    return list(dict.fromkeys(host for _, host in sorted(published, key=place)))
