"""Which TLS a mail host must have, by DANE (RFC 7672), MTA-STS (RFC 8461) or the configuration, and which certificates do."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream.dane import Tlsa, anchors, fits, names_server, usable
from relay.upstream.dns import HostAddresses, NoAnswer, NoSuchName, Resolver
from relay.upstream.mta_sts import StsMode, StsPolicy
from relay.upstream.report import TlsPolicy, tls_fault
from relay.upstream.settings import Tls, TlsMode
from relay.upstream.tls import Distrust, Trust, chain_of, context_for

ANY = Tls(TlsMode.STARTTLS, verify=False)


@dataclass(frozen=True, slots=True)
class Demand:
    """`trust`: which certificates are right (None: any).  `required`: without such TLS nothing is sent.

    `name` is what the host is called in TLS.  `unmet`: what is known to be wrong before it is called.
    """

    policy: TlsPolicy
    name: str
    trust: Trust | None = None
    required: bool = False
    unmet: Fault | None = None


class ByAuthorities:
    """The certificate must be for the host's name, from an authority that is trusted here."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls

    def context(self) -> ssl.SSLContext:
        return context_for(self._tls)

    def problem(self, _ssl_object: ssl.SSLObject) -> Distrust | None:
        return None  # the handshake would have failed


class ByTlsa:
    """The certificate, or an authority in its chain, must be named by the host's TLSA records.

    Python's `ssl` cannot be given TLSA records.  So the first handshake takes any certificate.  If only an authority is
    named, a second one must be verified up to that; `anchors` are what was found, or is known from an earlier message.
    """

    def __init__(self, records: Sequence[Tlsa], names: Sequence[str]) -> None:
        self._records, self._names = records, names
        self.anchors: tuple[bytes, ...] = ()

    def recall(self, known: tuple[bytes, ...]) -> bool:
        """Takes over anchors of an earlier message that the records of today still name; whether there are any."""
        self.anchors = anchors(self._records, (b"", *known)) if known else ()
        return bool(self.anchors)

    def context(self) -> ssl.SSLContext:
        if not self.anchors:
            return context_for(ANY)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # more than one name may be in it, see `problem`
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an anchor need not be a root
        context.load_verify_locations(cadata=b"".join(self.anchors))
        return context

    def problem(self, ssl_object: ssl.SSLObject) -> Distrust | None:
        chain = chain_of(ssl_object)
        if names_server(self._records, chain[0]):
            return None
        if self.anchors:
            right = fits(_names(ssl_object), self._names)
            return None if right else Distrust(Fault.TLS_NAME)
        self.anchors = anchors(self._records, chain)
        return Distrust(Fault.TLS_TRUST, again=True) if self.anchors else Distrust(Fault.TLS_PIN)


def _names(ssl_object: ssl.SSLObject) -> list[str]:
    """The host names in a verified certificate; its common name where there are none (RFC 7672 s3.2.3)."""
    seen = cast(dict[str, Any], ssl_object.getpeercert() or {})
    alternative = [str(value) for kind, value in seen.get("subjectAltName", ()) if kind == "DNS"]
    subject = [str(value) for part in seen.get("subject", ()) for kind, value in part if kind == "commonName"]
    return alternative or subject


@dataclass(frozen=True, slots=True)
class TlsRules:
    """What holds for the hosts of one domain.

    `secure`: its MX records are validated.  `policy`: its MTA-STS policy.  `verified`: the configuration demands it.
    `authorities` are those trusted here.
    """

    resolver: Resolver
    domain: str
    secure: bool = False
    policy: StsPolicy | None = None
    verified: bool = False
    authorities: Tls = field(default_factory=Tls)

    async def demand(self, host: str, port: int, addresses: HostAddresses) -> Demand:
        """What holds for this host."""
        try:
            base, found = await self._tlsa(host, port, addresses)
        except NoAnswer:
            return Demand(TlsPolicy.DANE, host, required=True, unmet=Fault.DNS)
        if records := usable(found):
            names = tuple(dict.fromkeys((base, host, self.domain)))
            return Demand(TlsPolicy.DANE, base, ByTlsa(records, names), required=True)
        trust, policy = ByAuthorities(self.authorities), self.policy
        mode = policy.mode if policy else StsMode.NONE
        named = policy is None or policy.permits(host)
        unmet = None if named else Fault.STS_HOST
        if mode is StsMode.ENFORCE:
            return Demand(TlsPolicy.STS, host, trust, required=True, unmet=unmet)
        if self.verified:
            return Demand(TlsPolicy.VERIFIED, host, trust, required=True)
        if found:
            return Demand(TlsPolicy.DANE_TLS, base, required=True)
        if mode is StsMode.TESTING:
            return Demand(TlsPolicy.STS_TESTING, host, trust, unmet=unmet)
        return Demand(TlsPolicy.OPPORTUNISTIC, host)

    async def _tlsa(self, host: str, port: int, addresses: HostAddresses) -> tuple[str, list[Tlsa]]:
        """The validated TLSA records of a host, and the name that has them (RFC 7672 s2.2).  Raises NoAnswer."""
        for base in await self._bases(host, addresses) if self.secure else ():
            try:
                found = await self.resolver.look(f"_{port}._tcp.{base}", "TLSA")
            except NoSuchName:
                continue
            if found.secure and found.rdata:
                return base, [Tlsa(one.usage, one.selector, one.mtype, bytes(one.cert)) for one in found.rdata]
        return host, []

    async def _bases(self, host: str, addresses: HostAddresses) -> Sequence[str]:
        """The names that may have them: only those up to which all is validated."""
        if addresses.secure:
            return tuple(dict.fromkeys((addresses.name or host, host)))
        if not addresses.name or addresses.name.lower() == host.lower():
            return ()  # not signed: its TLSA records are not asked for, as some servers fail on them
        try:
            return (host,) if (await self.resolver.look(host, "CNAME")).secure else ()
        except NoSuchName:
            return ()


_DEMANDED = {
    TlsPolicy.STS: (Fault.STS, "The MTA-STS policy of {domain} allows only hosts that it names, with a trusted certificate."),
    TlsPolicy.DANE: (Fault.DANE, "The signed DNS (DANE) says which certificate it must have."),
    TlsPolicy.DANE_TLS: (Fault.DANE, "The signed DNS (DANE) demands TLS."),
    TlsPolicy.VERIFIED: (Fault.MX_TLS, "`mx: {{tls: verified}}` demands a trusted certificate."),
}


def refusal(demand: Demand, host: str, domain: str, fault: Fault | None, said: str = "") -> Answer:
    """Our answer where a host has not the TLS that is required; `said` is its own refusal of STARTTLS."""
    kind, who = _DEMANDED[demand.policy]
    why = f"it refuses STARTTLS ({said})" if said else tls_fault(fault)
    words = f"{host} gets no mail for {domain}: {why}. {who.format(domain=domain)}"
    return Answer(Stage.TLS, Reply(454, "4.7.5", words), lost=True, fault=kind)
