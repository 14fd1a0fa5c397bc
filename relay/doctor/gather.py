"""Gathers the facts by asking the world, everything side by side, within a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from relay.container import look_around, lost_with_container
from relay.detached import apart
from relay.doctor import domain_probe, uplink_probe
from relay.doctor.certificate_probe import certificate_facts
from relay.doctor.dkim import DkimFacts
from relay.doctor.domain import DomainFacts, SendingPath
from relay.doctor.domain_probe import direct_domains, own_direct_domains, sender_domains
from relay.doctor.folder import FolderFacts
from relay.doctor.folder_probe import folder_facts, hanging
from relay.doctor.host import HostFacts
from relay.doctor.host_probe import listener_facts
from relay.doctor.judge import Facts
from relay.doctor.mailbox import MailboxFacts
from relay.doctor.push import PushFacts
from relay.doctor.resolver import PATIENCE, DnsLookup, invented, knows_nothing
from relay.doctor.spf_check import is_name
from relay.doctor.spool import DatabaseFacts, SpoolFacts
from relay.doctor.spool_probe import file_facts
from relay.doctor.subject import Subject
from relay.doctor.uplink import UplinkFacts
from relay.doctor.uplink_probe import OutsideServices
from relay.doctor.upstream import UpstreamFacts
from relay.doctor.upstream_probe import UpstreamProbe, unfinished
from relay.mail.address import is_public
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.authenticate import Token, no_token
from relay.upstream.connect import places
from relay.upstream.settings import Folder, GraphMailbox, PushService, SmtpServer, Upstream

Tell = Callable[[str], None]
T = TypeVar("T")

Consents = Callable[[Iterable[Upstream]], list[dict[str, Any]]]
"""How long the OAuth consents are good for."""


def _no_consents(_: Iterable[Upstream]) -> list[dict[str, Any]]:
    return []


@dataclass(frozen=True, slots=True)
class World:
    """What is asked, and how long; tests put their own in its place.  All times in seconds.

    `whole` bounds a part of the examination (upstreams, then the line): two of them stay under 20 s.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    root: Path = Path("/")
    token: Token = no_token
    consents: Consents = _no_consents
    ports: dict[int, int] = field(default_factory=dict)
    outside: OutsideServices = field(default_factory=OutsideServices)
    patience: float = 6.0
    dns_patience: float = PATIENCE
    whole: float = 12.0
    rest: float = 6.0


def _silent(_: str) -> None:
    """Tells nobody."""


Seen = Callable[[Facts], None]


class _SoFar:
    """What is known while the examination goes on; `seen` is told each time that an upstream's facts come."""

    def __init__(self, seen: Seen | None) -> None:
        self._seen, self._facts = seen, Facts(HostFacts(datetime.fromtimestamp(0, UTC)))
        self._here = False

    async def host(self, work: Awaitable[HostFacts]) -> HostFacts:
        found = await work
        self._here, self._facts = True, replace(self._facts, host=found)
        self._tell()
        return found

    async def part(self, kind: str, work: Awaitable[T]) -> T:
        """`kind` is the field of Facts that this is one of."""
        found = await work
        more: dict[str, Any] = {kind: (*getattr(self._facts, kind), found)}
        self._facts = replace(self._facts, **more)
        self._tell()
        return found

    def _tell(self) -> None:
        if self._seen and self._here:
            self._seen(self._facts)


async def gather(subject: Subject, world: World, tell: Tell = _silent, sofar: Seen | None = None) -> Facts:
    """All facts.  `tell` hears in a few words what is being looked at, as it happens; `sofar` gets what is known by then."""
    begun, noting = time.monotonic(), _SoFar(sofar)
    look = DnsLookup(subject.nameservers, trusted=subject.trusted_nameservers, patience=world.dns_patience)
    asking = UpstreamProbe(subject.hostname, world.patience, world.token, world.ports, begun + 0.92 * world.whole)
    smtp = _of_kind(subject, SmtpServer)
    examined = {one.name: asyncio.create_task(noting.part("upstreams", _smtp(one, asking, world, tell))) for one in smtp}
    try:
        (here, dkim), folders, pushes, upstreams, mailboxes, dns = await asyncio.gather(
            asyncio.gather(noting.host(gather_host(subject, world)), _dkim(subject, look, world)),
            asyncio.gather(*(noting.part("folders", _folder(one, world, tell)) for one in _of_kind(subject, Folder))),
            asyncio.gather(*(noting.part("pushes", _push(one, world, tell)) for one in _of_kind(subject, PushService))),
            asyncio.gather(*examined.values()),
            asyncio.gather(*(noting.part("mailboxes", _mailbox(one, world, tell)) for one in _of_kind(subject, GraphMailbox))),
            _published(subject, look, world, tell, examined),
        )
        seen = await _line(subject, upstreams, asking, look, world, tell) if subject.uses_mx else None
    finally:
        for task in examined.values():
            task.cancel()  # of no effect but when we ourselves are ended early
        await look.close()
    consents = await _consents(subject, world)
    took = time.monotonic() - begun
    known = Facts(here, dns.trouble, dns.invented, tuple(upstreams), dns.domains, dns.ways, seen, took, consents)
    known = replace(known, dkim=dkim, direct=own_direct_domains(subject))
    return replace(known, folders=tuple(folders), pushes=tuple(pushes), mailboxes=tuple(mailboxes))


async def gather_cheaply(subject: Subject, world: World) -> Facts:
    """What may be looked at daily without troubling anybody: this machine and the DNS, no upstream."""
    look = DnsLookup(subject.nameservers, patience=world.dns_patience)
    try:
        asked = _published(subject, look, world, _silent, {})
        here, dkim, dns = await asyncio.gather(gather_host(subject, world), _dkim(subject, look, world), asked)
    finally:
        await look.close()
    consents = await _consents(subject, world)
    named = await _all_named(subject, world) if dns.trouble else False
    known = Facts(here, dns.trouble, dns.invented, (), dns.domains, dns.ways, consents=consents, dkim=dkim)
    return replace(known, direct=own_direct_domains(subject), named=named)


async def _all_named(subject: Subject, world: World) -> bool:
    """Whether the name of every upstream's server has an address."""
    smtp = [one.smtp for one in _of_kind(subject, SmtpServer)]
    asked = (places(one.host, one.port, world.dns_patience) for one in smtp)
    found = await asyncio.gather(*asked, return_exceptions=True)
    return bool(found) and not any(isinstance(one, BaseException) for one in found)


async def _dkim(subject: Subject, look: DnsLookup, world: World) -> tuple[DkimFacts, ...]:
    """What reads keys is loaded only where there are some."""
    if not subject.dkim:
        return ()
    from relay.doctor.dkim_probe import dkim_facts

    return tuple(await asyncio.gather(*(dkim_facts(key, look, world.whole) for key in subject.dkim)))


async def _consents(subject: Subject, world: World) -> tuple[dict[str, Any], ...]:
    return tuple(await asyncio.to_thread(world.consents, subject.upstreams.values()))


async def gather_host(subject: Subject, world: World) -> HostFacts:
    """This machine: clock, spool, listeners, container.  A disk or share that hangs does not hold up the rest."""
    listeners = [asyncio.to_thread(listener_facts, one, subject, world.root) for one in subject.listeners]
    spool, database, around, certificates, heard = await asyncio.gather(
        _spool(subject, world),
        _database(subject, world),
        asyncio.to_thread(look_around, world.root),
        asyncio.to_thread(certificate_facts, subject),
        asyncio.gather(*listeners),
    )
    lost = "" if spool and spool.hangs else lost_with_container(subject.state_dir, world.root)
    return HostFacts(world.now(), spool, tuple(heard), around.container, around.masks, lost, database, certificates)


async def _spool(subject: Subject, world: World) -> SpoolFacts | None:
    path = subject.spool.file or subject.spool.fallback_file
    if path is None:
        return None
    try:
        async with asyncio.timeout(world.whole):
            return await asyncio.to_thread(file_facts, path, world.root)
    except TimeoutError:
        return SpoolFacts(str(path), f"the disk gave no answer within {world.whole:g} seconds", hangs=True)


async def _database(subject: Subject, world: World) -> DatabaseFacts | None:
    """psycopg is loaded only where the spool is a database."""
    if subject.spool.file is not None:
        return None
    from relay.doctor.database_probe import database_facts

    try:
        async with asyncio.timeout(world.whole):
            return await apart(partial(database_facts, subject.spool, world.now))
    except TimeoutError:
        return DatabaseFacts(subject.spool.shown, f"the server gave no answer within {world.whole:g} seconds")


def _of_kind(subject: Subject, kind: type[Any]) -> list[Upstream]:
    return [one for one in subject.upstreams.values() if isinstance(one.transport, kind)]


async def _in_time(
    upstream: Upstream, world: World, tell: Tell, examine: Callable[[], Awaitable[T]], late: Callable[[str], T]
) -> T:
    """What is found out about one upstream; where that takes too long, what `late` makes of these words."""
    tell(f"{upstream.name}: asking {upstream.transport.place}")
    try:
        async with asyncio.timeout(world.whole):
            return await examine()
    except TimeoutError:
        return late(f"no answer within {world.whole:g} seconds")
    finally:
        tell(f"{upstream.name}: done")


async def _smtp(upstream: Upstream, asking: UpstreamProbe, world: World, tell: Tell) -> UpstreamFacts:
    async def examine() -> UpstreamFacts:  # the conversation itself is ended a little before the time is over
        return replace(await asking.examine(upstream), asked_at=world.now())

    return await _in_time(upstream, world, tell, examine, lambda _: unfinished(upstream, world.whole))


async def _folder(upstream: Upstream, world: World, tell: Tell) -> FolderFacts:
    examine = partial(apart, partial(folder_facts, upstream, world.root))
    return await _in_time(upstream, world, tell, examine, partial(hanging, upstream))


async def _push(upstream: Upstream, world: World, tell: Tell) -> PushFacts:
    """What speaks to the push process is loaded only where there is such an upstream."""
    from relay.doctor.push_probe import push_facts

    examine = partial(push_facts, upstream, world.patience, 0.92 * world.whole)
    return await _in_time(upstream, world, tell, examine, lambda words: PushFacts(upstream, trouble=words))


async def _mailbox(upstream: Upstream, world: World, tell: Tell) -> MailboxFacts:
    """What speaks to Microsoft Graph is loaded only where there is such a mailbox."""
    from relay.doctor.mailbox_probe import mailbox_facts

    def late(words: str) -> MailboxFacts:
        answer = Answer(Stage.CONNECT, Reply(421, "4.4.2", words), lost=True, fault=Fault.TIMED_OUT)
        return MailboxFacts(upstream, failed=answer)

    return await _in_time(upstream, world, tell, partial(mailbox_facts, upstream, world.token, world.patience), late)


@dataclass(frozen=True, slots=True)
class _Published:
    """What the DNS told; the fields as in Facts."""

    trouble: str = ""
    invented: str = ""
    domains: tuple[DomainFacts, ...] = ()
    ways: tuple[SendingPath, ...] = ()


Examined = Mapping[str, "asyncio.Task[UpstreamFacts]"]


async def _way(name: str, upstream: Upstream, look: DnsLookup, examined: Examined) -> SendingPath:
    """Where the host is a bare address, its server's greeting tells whose it is."""
    greeted, host = "", upstream.transport.host
    if upstream.name in examined and (not is_name(host) or host.replace(".", "").isdigit()):
        talk = (await asyncio.shield(examined[upstream.name])).talk
        greeted = next(iter(talk.banner.split()), "") if talk else ""
    return await domain_probe.way(name, upstream, look, greeted if is_public(greeted) else "")


async def _published(subject: Subject, look: DnsLookup, world: World, tell: Tell, examined: Examined) -> _Published:
    """Whether real names can be resolved, the domains, and SPF for each of them by each upstream."""
    accounts = [one for one in subject.upstreams.values() if one.transport.has_account and one.transport.host]
    wanted = [(name, one) for one in accounts for name in sender_domains(one, subject)]
    if not wanted and not subject.uses_mx and not subject.nameservers:
        return _Published()
    tell("asking the DNS")
    end = time.monotonic() + world.whole
    names = dict.fromkeys([*(name for name, _ in wanted), *direct_domains(subject)])
    hosts = [one.transport.host for one in accounts if is_public(one.transport.host)]
    own = [*((name, "MX") for name in names), *((host, "A") for host in hosts)]
    trouble, false = await asyncio.gather(
        knows_nothing(look, own, [(name, "MX") for name in world.outside.real]), invented(look, world.outside.real[-1])
    )
    if trouble:
        return _Published(trouble)
    domains = [asyncio.create_task(domain_probe.domain(name, look)) for name in names]
    ways = [asyncio.create_task(_way(name, one, look, examined)) for name, one in wanted]
    await _within(end - time.monotonic(), [*domains, *ways])
    late = f"the DNS gave no answer within {world.whole:g} seconds"
    said = [
        DomainFacts(name, trouble=late) if task.cancelled() else task.result()
        for name, task in zip(names, domains, strict=True)
    ]
    return _Published("", false, tuple(said), tuple(task.result() for task in ways if not task.cancelled()))


async def _within(seconds: float, tasks: Sequence["asyncio.Task[DomainFacts] | asyncio.Task[SendingPath]"]) -> None:
    """Waits for all of them; those that take longer are cancelled."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=max(0.0, seconds))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _line(
    subject: Subject, upstreams: Sequence[UpstreamFacts], asking: UpstreamProbe, look: DnsLookup, world: World, tell: Tell
) -> UplinkFacts:
    tell("mx: looking at port 25 and at our public address")
    try:
        async with asyncio.timeout(world.rest):
            return await uplink_probe.line(subject, upstreams, asking, look, world.outside)
    except TimeoutError:
        return UplinkFacts(trouble=f"no answer within {world.rest:g} seconds")
