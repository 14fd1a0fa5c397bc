"""Evidence about one upstream: its name, its ports, and a conversation up to MAIL that sends nothing.

Exactly one AUTH for an account in a run: providers lock accounts after a few wrong ones.
"""

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from relay.doctor.dmarc import organisational
from relay.doctor.upstream import PortFacts, PortState, ProbeDialog, UpstreamFacts
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.authenticate import Token, no_token
from relay.upstream.client_session import ClientSession, open_session
from relay.upstream.connect import Endpoint, Failed, places, reach
from relay.upstream.peer_certificate import examine
from relay.upstream.pop3 import PopWindows
from relay.upstream.settings import Auth, Tls, TlsMode, Upstream
from relay.upstream.smtp_wire import WireLost
from relay.upstream.tls import context_for

KNOWN_PORTS = (25, 465, 587)


@dataclass
class UpstreamProbe:
    """One run's way of asking.  `patience` in seconds for one reply or connection; `ports`: where a test keeps 25, 465, 587.

    `refused` remembers the accounts whose login was refused, so that no password is tried twice.  `end`, on the clock of
    time.monotonic, is when conversations are broken off.
    """

    hostname: str
    patience: float
    token: Token = no_token
    ports: Mapping[int, int] = field(default_factory=dict)
    end: float = math.inf
    refused: dict[tuple[str, str], Answer] = field(default_factory=dict)
    turns: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)

    async def examine(self, upstream: Upstream) -> UpstreamFacts:
        """Everything about one upstream; ports and conversation side by side.  Never raises for what the world does."""
        try:
            found = await places(upstream.smtp.host, upstream.smtp.port, self.patience)
        except Failed as failed:
            return UpstreamFacts(upstream, name_trouble=failed.answer.reply.text)
        known = dict.fromkeys((upstream.smtp.port, *KNOWN_PORTS))
        ports, mute, talk = await asyncio.gather(
            asyncio.gather(*(self.port(found, port) for port in known if port != upstream.smtp.port)),
            self._mute_v6(found),
            self._entered(upstream, found),
        )
        own, said = talk
        addresses = tuple(dict.fromkeys(place.host for place in found))
        return UpstreamFacts(upstream, addresses, "", {there.port: there for there in (own, *ports)}, mute, said)

    async def _entered(self, upstream: Upstream, found: list[Endpoint]) -> tuple[PortFacts, ProbeDialog]:
        """The upstream's own port, and the conversation if it opens."""
        own = await self.port(found, upstream.smtp.port)
        if own.state is PortState.OPEN:
            return own, await self._talk_until_end(upstream)
        return own, ProbeDialog(failed=Answer(Stage.CONNECT, Reply(421, "4.4.1", own.words), lost=True, fault=own.fault))

    async def port(self, found: list[Endpoint], port: int) -> PortFacts:
        """Whether a TCP connection comes about.  A filter's answer (unreachable) counts as silence."""
        there = [Endpoint(place.family, place.host, self.ports.get(port, port)) for place in found]
        try:
            sock, _ = await reach(there, self.patience)
        except Failed as failed:
            fault = failed.answer.fault
            state = PortState.REFUSED if fault is Fault.REFUSED else PortState.SILENT
            return PortFacts(port, state, failed.answer.reply.text, fault)
        sock.close()
        return PortFacts(port, PortState.OPEN)

    async def _mute_v6(self, found: list[Endpoint]) -> bool:
        six = [place for place in found if ":" in place.host]
        four = [place for place in found if ":" not in place.host]
        if not six or not four:
            return False
        over_six, over_four = await asyncio.gather(self.port(six, six[0].port), self.port(four, four[0].port))
        # a machine without IPv6 is told so at once, which costs nobody time
        return over_four.state is PortState.OPEN and over_six.fault is Fault.TIMED_OUT

    async def _talk_until_end(self, upstream: Upstream) -> ProbeDialog:
        try:
            async with asyncio.timeout(None if self.end == math.inf else max(0.0, self.end - time.monotonic())):
                return await self._talk_in_turn(upstream)
        except TimeoutError:
            reply = Reply(421, "4.4.2", "the conversation did not come to its end in the time that an examination takes")
            return ProbeDialog(failed=Answer(Stage.CONNECT, reply, lost=True, fault=Fault.TIMED_OUT), slow=True)

    async def _talk_in_turn(self, upstream: Upstream) -> ProbeDialog:
        """Two upstreams with the same account wait for each other, so that a wrong password is said once."""
        account = _whose(upstream.smtp.host), upstream.login.username
        async with self.turns.setdefault(account, asyncio.Lock()):
            if upstream.login.username and account in self.refused:
                return ProbeDialog(failed=self.refused[account], repeated=True)
            talk = await self._talk(upstream)
            if talk.failed and talk.failed.stage is Stage.AUTH:
                self.refused[account] = talk.failed
            return talk

    async def _talk(self, upstream: Upstream) -> ProbeDialog:
        timeout = min(upstream.timeout, timedelta(seconds=self.patience))
        server = replace(upstream.smtp, port=self.ports.get(upstream.smtp.port, upstream.smtp.port))
        brief = replace(upstream, timeout=timeout, transport=server)
        if upstream.login.auth is Auth.POP and (refusal := await PopWindows(time.monotonic).open(brief)):
            return ProbeDialog(failed=refusal)
        try:
            session = await open_session(brief, hostname=self.hostname, token=self.token)
        except Failed as failed:
            mute = failed.answer.stage is Stage.CONNECT and failed.answer.lost and server.tls.mode is not TlsMode.IMPLICIT
            answers = bool(mute and failed.peer) and await self._answers_tls(brief)
            return ProbeDialog(failed=failed.answer, peer=failed.peer, banner=failed.banner, speaks_tls=answers)
        try:
            return await self._said(session, upstream)
        finally:
            session.wire.close()

    async def _answers_tls(self, upstream: Upstream) -> bool:
        """Whether a port that sends no greeting begins with TLS; nothing is said there but a ClientHello."""
        try:
            async with asyncio.timeout(self.patience / 2):
                context = context_for(Tls(TlsMode.IMPLICIT, verify=False))
                _, writer = await asyncio.open_connection(upstream.smtp.host, upstream.smtp.port, ssl=context)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True

    async def _said(self, session: ClientSession, upstream: Upstream) -> ProbeDialog:
        sender = upstream.identity.sender
        mail = await self._mail(session, str(sender)) if sender is not None and sender.ascii else None
        return ProbeDialog(
            peer=session.peer,
            tls=session.tls,
            mechanism=session.mechanism,
            banner=session.banner,
            hello=session.hello,
            certificate=examine(session.certificate) if session.certificate else None,
            offers=tuple(session.extensions.get("auth", "").upper().split()),
            max_size=session.max_size,
            sender=str(sender or ""),
            mail=mail,
        )

    async def _mail(self, session: ClientSession, sender: str) -> Answer:
        """MAIL in our own name, taken back at once."""
        try:
            session.wire.write(f"MAIL FROM:<{sender}>\r\n".encode())
            reply = await session.wire.reply(self.patience)
        except WireLost as lost:
            return Answer(Stage.MAIL, lost.reply, lost=True, fault=lost.fault)
        try:
            for command in (b"RSET\r\n", b"QUIT\r\n"):
                session.wire.write(command)
                await session.wire.reply(self.patience)
        except WireLost:
            pass  # what had to be known is known
        return Answer(Stage.MAIL, reply)


def _whose(host: str) -> str:
    """Two names of one provider (smtp. and mail.) know the same accounts, and lock the same ones."""
    literal = ":" in host or host.replace(".", "").isdigit()
    return host.lower() if literal else organisational(host)


def unfinished(upstream: Upstream, seconds: float) -> UpstreamFacts:
    """What is said of an upstream whose examination had to be broken off."""
    reply = Reply(421, "4.4.2", f"no end of the conversation within {seconds:g} seconds")
    failed = Answer(Stage.CONNECT, reply, lost=True, fault=Fault.TIMED_OUT)
    return UpstreamFacts(upstream, talk=ProbeDialog(failed=failed))
