"""The built-in upstream `mx`: straight to the hosts that the recipient's domain names.

RFC 5321 s5.1, RFC 7505, RFC 7435, RFC 7672, RFC 8461.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from relay.mail.address import with_a_labels
from relay.mail.outgoing import Outgoing
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.networks import address_of, in_lan
from relay.upstream.client_session import ClientSession, open_session
from relay.upstream.connect import Endpoint, endpoints, is_ours
from relay.upstream.dns import HostAddresses, NoAnswer, NoSuchName, Resolver
from relay.upstream.exchange import Quits, exchange, greeting_name
from relay.upstream.learned_limits import Learned
from relay.upstream.mta_sts_cache import StsPolicies
from relay.upstream.mx_order import MailHost, allowed, better_than, in_order, leads_back, literal, takes_no_mail
from relay.upstream.mx_tls import ANY, ByTlsa, Demand, TlsRules, refusal
from relay.upstream.report import Report, TlsPolicy
from relay.upstream.settings import Auth, Login, MxHosts, SmtpServer, Tls, TlsMode, Upstream
from relay.upstream.tls import Trust

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


@dataclass(frozen=True, slots=True)
class _Visit:
    """A visit to one host: where, how TLS is spoken, which certificates are trusted."""

    server: SmtpServer
    places: Sequence[Endpoint]
    trust: Trust | None = None
    opportunistic: bool = True


Visit = Callable[[Upstream, Outgoing, _Visit], Awaitable[Report]]


class MxDelivery:
    """Straight to MX hosts.  `hostname` is our name in EHLO, `resolver` tells the hosts.  No session is kept.

    `authorities` are those that sign certificates which `mx: {tls: verified}` and MTA-STS trust.
    """

    def __init__(
        self,
        *,
        hostname: str,
        resolver: Resolver,
        policies: StsPolicies | None = None,
        authorities: Tls | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self._hostname, self._resolver, self._monotonic = greeting_name(hostname), resolver, monotonic or time.monotonic
        self._policies = policies or StsPolicies(resolver)
        self._authorities = authorities or Tls()
        self._strangers: dict[str, _Stranger] = {}
        self._quits = Quits()

    async def submit(self, upstream: Upstream, outgoing: Outgoing) -> Report:
        """Goes to the domain of the first recipient with all of its recipients; the others are left."""
        domain = outgoing.forward_paths[0].domain.lower()
        paths = tuple(path for path in outgoing.forward_paths if path.domain.lower() == domain)
        delivery = _Delivery(upstream, self._resolver, self._policies, self._authorities, self._known, self._visit)
        report = await delivery.to_domain(replace(outgoing, forward_paths=paths))
        others = tuple(path for path in dict.fromkeys(outgoing.forward_paths) if path not in paths)
        return replace(report, left=(*report.left, *others)) if others else report

    def forget(self, name: str) -> None:
        """What strangers do not bear stays known."""

    async def close(self) -> None:
        await self._policies.close()
        await self._quits.done()

    def _known(self, host: str) -> "_Stranger":
        found = self._strangers.setdefault(host, _Stranger(Learned()))
        if len(self._strangers) > _MOST_STRANGERS:
            self._strangers.pop(next(iter(self._strangers)))
        return found

    async def _visit(self, upstream: Upstream, outgoing: Outgoing, visit: _Visit) -> Report:
        """One message to one MX host."""
        there = replace(upstream, transport=visit.server)

        async def fresh() -> ClientSession:
            return await open_session(
                there,
                hostname=self._hostname,
                candidates=visit.places,
                opportunistic=visit.opportunistic,
                trust=visit.trust,
                dial=DIAL,
                learned=self._known(visit.server.host).learned,
            )

        return await exchange(None, fresh, self._quits.part, outgoing, self._monotonic)


@dataclass(slots=True)
class _Stranger:
    """What is known of a host: what it does not bear, and which authorities its TLSA records led to."""

    learned: Learned
    anchors: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One message by `upstream`, whose transport is MxHosts."""

    upstream: Upstream
    resolver: Resolver
    policies: StsPolicies
    authorities: Tls
    known: Callable[[str], _Stranger]
    visit: Visit

    async def to_domain(self, outgoing: Outgoing) -> Report:
        try:
            domain = with_a_labels(outgoing.forward_paths[0]).domain.lower().rstrip(".")
        except UnicodeError:
            domain = outgoing.forward_paths[0].domain  # the DNS will say that there is no such name
        try:
            hosts, secure = await _hosts(domain, outgoing.queue_id, self.resolver)
        except _NoHost as none:
            return Report(dict.fromkeys(outgoing.forward_paths, none.answer))
        rules = await self._rules(domain, secure=secure)
        report, loop = Report({}), asyncio.get_running_loop()
        called, barred, number = loop.time(), list[str](), 0
        while hosts and number < _MOST_HOSTS:
            host, number = hosts.pop(0), number + 1
            found = await self._to_host(host.name, rules, outgoing)
            if isinstance(found, Barred):
                barred += found.addresses
                hosts = better_than(hosts, host) if found.is_us else hosts
                continue
            report = found
            silent = not report.conversation.peer and loop.time() - called >= _ALL_DIALS
            begun = report.unsuited or report.left
            if begun or silent or not all(_elsewhere(answer) for answer in report.answers.values()):
                break
        if report.answers or report.unsuited or report.left:
            return report
        return Report(dict.fromkeys(outgoing.forward_paths, _barred(domain, barred)))

    async def _rules(self, domain: str, *, secure: bool) -> TlsRules:
        mx = self.upstream.of_kind(MxHosts)
        policy = None if literal(domain) else await self.policies.of(domain, private=mx.private)
        return TlsRules(self.resolver, domain, secure, policy, mx.verified, self.authorities)

    async def _to_host(self, host: str, rules: TlsRules, outgoing: Outgoing) -> "Report | Barred":
        try:
            found = await self.resolver.addresses(host)
        except (NoSuchName, NoAnswer) as error:
            fault = Fault.NO_HOST if isinstance(error, NoSuchName) else Fault.DNS
            return _all(outgoing, Reply(451, "4.4.3", f"the address of {host} cannot be looked up: {error}"), fault)
        if not found.addresses:
            return _all(outgoing, Reply(451, "4.4.4", f"the mail host {host} has no address"), Fault.NO_HOST)
        mx = self.upstream.of_kind(MxHosts)
        ours = {address for address in found.addresses if is_ours(address)}.__contains__
        candidates = endpoints(allowed(found.addresses, private=mx.private, ours=ours), mx.port)
        is_us = leads_back(found.addresses, ours)
        if not candidates or (is_us and not mx.private):
            return Barred(found.addresses, is_us)
        return await self._by_demand(host, rules, found, candidates, outgoing)

    async def _by_demand(
        self, host: str, rules: TlsRules, found: HostAddresses, candidates: Sequence[Endpoint], outgoing: Outgoing
    ) -> Report:
        """With the TLS that the host must have; where nothing is required, with what there is."""
        demand = await rules.demand(host, self.upstream.of_kind(MxHosts).port, found)
        fault, report = demand.unmet, Report({})
        if not fault and demand.policy is not TlsPolicy.OPPORTUNISTIC:
            report = await self._secured(demand, candidates, outgoing)
            if not _at_tls(report):
                return _noted(report, demand.policy, verified=demand.trust is not None)
            fault = _fault(report)
        if demand.required:
            said = next((str(one.reply) for one in report.answers.values() if one.fault is None), "")
            answer = refusal(demand, host, rules.domain, fault, said)
            report = replace(report, answers=dict.fromkeys(outgoing.forward_paths, answer))
            return _noted(report, demand.policy, fault=fault)
        return await self._anyhow(demand, candidates, outgoing, fault)

    async def _secured(self, demand: Demand, candidates: Sequence[Endpoint], outgoing: Outgoing) -> Report:
        """With the certificate that is demanded, or not at all."""
        trust, visit = demand.trust, _Visit(_server(demand.name, candidates), candidates, demand.trust, opportunistic=False)
        if not isinstance(trust, ByTlsa):
            return await self.visit(self.upstream, outgoing, visit)
        stranger = self.known(demand.name)
        recalled = trust.recall(stranger.anchors)
        report = await self.visit(self.upstream, outgoing, visit)
        if recalled and _at_tls(report):
            trust.anchors = ()  # its authority may be another one by now
            report = await self.visit(self.upstream, outgoing, visit)
        stranger.anchors = trust.anchors
        return report

    async def _anyhow(self, demand: Demand, candidates: Sequence[Endpoint], outgoing: Outgoing, fault: Fault | None) -> Report:
        """STARTTLS where offered, unverified: in clear is what there would be otherwise."""
        server = _server(demand.name, candidates)
        report = await self.visit(self.upstream, outgoing, _Visit(server, candidates))
        if _at_tls(report):
            fault = fault or _fault(report)
            in_clear = replace(server, tls=Tls(TlsMode.NONE))
            report = await self.visit(self.upstream, outgoing, _Visit(in_clear, candidates))
        return _noted(report, demand.policy, fault=fault)


@dataclass(frozen=True, slots=True)
class Barred:
    """A mail host without an address that we may go to; `is_us`: it is this relay, as the Internet sees it."""

    addresses: list[str]
    is_us: bool


def _server(name: str, candidates: Sequence[Endpoint]) -> SmtpServer:
    return SmtpServer(name, candidates[0].port, ANY, Login(Auth.NONE))


def _at_tls(report: Report) -> bool:
    """Whether TLS did not come about."""
    return bool(report.answers) and all(answer.stage is Stage.TLS for answer in report.answers.values())


def _fault(report: Report) -> Fault:
    return next((answer.fault for answer in report.answers.values() if answer.fault), Fault.TLS)


def _noted(report: Report, policy: TlsPolicy, *, verified: bool = False, fault: Fault | None = None) -> Report:
    """Tells why TLS was used as it was, for the trail."""
    told = report.conversation
    about = replace(told, tls_policy=policy, tls_verified=verified and bool(told.tls), tls_fault=fault)
    return replace(report, conversation=about)


def _barred(domain: str, addresses: Sequence[str]) -> Answer:
    """A host in the LAN: deferred until the setting allows it.  This machine itself: failed."""
    named = f"{domain} names {', '.join(dict.fromkeys(addresses))} as its mail host"
    if any(in_lan(address) and not address_of(address).is_loopback and not is_ours(address) for address in addresses):
        return _NoHost(Fault.BARRED, 451, "4.4.4", f"{named}, in the LAN: mx.private allows that").answer
    return _NoHost(Fault.BARRED, 550, "5.4.6", f"{named}, where no other host can be").answer


def _elsewhere(answer: Answer) -> bool:
    """Whether to try the domain's next host: this one never took MAIL, or was lost before the content."""
    return answer.stage.before(Stage.MAIL) or (answer.lost and answer.stage is not Stage.CONTENT)


def _all(outgoing: Outgoing, reply: Reply, fault: Fault) -> Report:
    return Report(dict.fromkeys(outgoing.forward_paths, Answer(Stage.CONNECT, reply, lost=True, fault=fault)))


async def _hosts(domain: str, queue_id: str, resolver: Resolver) -> tuple[list[MailHost], bool]:
    """The hosts to try, in order, and whether that is validated by DNSSEC.  Raises _NoHost."""
    if address := literal(domain):
        return [MailHost(address)], False
    try:
        published, secure = await resolver.mx(domain)
        if not published:
            # RFC 5321 s5.1: without MX the domain itself is the host, if it has an address
            if not (await resolver.addresses(domain)).addresses:
                raise _NoHost(Fault.NO_HOST, 550, "5.1.2", f"the domain {domain} has neither a mail host nor an address")
            return [MailHost(domain)], secure
    except NoSuchName as error:
        raise _NoHost(Fault.NO_HOST, 550, "5.1.2", str(error)) from None
    except NoAnswer as error:
        raise _NoHost(Fault.DNS, 451, "4.4.3", str(error)) from None
    if takes_no_mail(published):
        raise _NoHost(Fault.NULL_MX, 556, "5.1.10", f"the domain {domain} takes no mail (null MX)")
    return in_order(published, queue_id), secure
