"""DNS look-ups for the upstream `mx` (and other questions to the DNS itself).  RFC 1035, RFC 5321 s5.1, RFC 6840 s5.7."""

import asyncio
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # else at the first question: 5 MB that a relay without `mx` never needs
    import dns.asyncresolver
    import dns.nameserver

_PATIENCE = 10.0  # seconds for one question, all servers and tries together
_HAND_ON = frozenset({"127.0.0.11", "127.0.0.54"})
"""Docker's resolver, and systemd-resolved as a mere proxy: on loopback, but what they say is another server's word."""


class NoSuchName(Exception):
    """The name does not exist (NXDOMAIN), or cannot be a name."""


class NoAnswer(Exception):
    """There is no answer: time is up, servers fail, or none is configured.  The text says which."""


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one type, as dnspython's rdata; none if the name has none of that type.

    `secure`: a resolver whose word counts has validated this answer by DNSSEC.  `name` is where CNAMEs led to.
    """

    rdata: Sequence[Any] = ()
    secure: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class HostAddresses:
    """IPv6 and IPv4 addresses of a host; `secure` and `name` as with `Records`."""

    addresses: list[str] = field(default_factory=list)
    secure: bool = False
    name: str = ""


class Resolver:
    """Asks `nameservers` ("address" or "address:port", IPv6 with a port in brackets), else those of the system; caches.

    What a server says of DNSSEC (the AD bit) counts if it is on this machine, or one of the addresses in `trusted`.
    """

    def __init__(self, nameservers: Sequence[str] = (), *, trusted: Sequence[str] = (), patience: float = _PATIENCE) -> None:
        self._nameservers = tuple(nameservers)
        self._trusted = frozenset(trusted)
        self._patience = patience
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, name: str, kind: str) -> Sequence[Any]:
        """The records of one type; () if the name has none.  Raises NoSuchName, NoAnswer."""
        return (await self.look(name, kind)).rdata

    async def look(self, name: str, kind: str) -> Records:
        """The records of one type, and whether they are validated.  Raises NoSuchName, NoAnswer."""
        import dns.exception
        import dns.flags
        import dns.name
        import dns.resolver

        try:
            answer = await self._ready().resolve(
                name.rstrip(".") + ".", kind, raise_on_no_answer=False, lifetime=self._patience, search=False
            )
        except dns.resolver.NXDOMAIN:
            raise NoSuchName(f"there is no domain {name}") from None
        except (dns.exception.SyntaxError, dns.name.NameTooLong, UnicodeError) as error:
            raise NoSuchName(f"{name!r} is no domain name: {error}") from None
        except dns.resolver.NoResolverConfiguration:
            raise NoAnswer("no nameserver is configured; set dns.nameservers") from None
        except dns.resolver.LifetimeTimeout:
            raise NoAnswer(f"the DNS gave no answer about {name} within {self._patience:g} seconds") from None
        except (dns.exception.DNSException, OSError) as error:
            raise NoAnswer(f"the DNS failed on {name}: {error}") from None
        secure = bool(answer.response.flags & dns.flags.AD) and self._believes(answer.nameserver)
        return Records(tuple(answer.rrset or ()), secure, answer.canonical_name.to_text(omit_final_dot=True))

    def _believes(self, nameserver: str | None) -> bool:
        """Nobody between a server on this machine and us can set the AD bit; nor where a person vouches for the way."""
        if not nameserver or nameserver in self._trusted:
            return bool(nameserver)
        try:
            return ipaddress.ip_address(nameserver).is_loopback and nameserver not in _HAND_ON
        except ValueError:
            return False  # the URL of DNS over HTTPS, which only the system's settings can have

    async def mx(self, domain: str) -> tuple[list[tuple[int, str]], bool]:
        """(preference, host) as published, "" for the root (null MX, RFC 7505); and whether that is validated.

        Raises NoSuchName, NoAnswer.
        """
        found = await self.look(domain, "MX")
        hosts = [(record.preference, record.exchange.to_text(omit_final_dot=True).rstrip(".")) for record in found.rdata]
        return hosts, found.secure

    async def addresses(self, host: str) -> HostAddresses:
        """Of both types, asked for at once; none if it has none.

        Raises NoSuchName, and NoAnswer when neither type can be told.
        """
        try:
            return HostAddresses([str(ipaddress.ip_address(host.strip("[]")))])
        except ValueError:
            pass
        both = await asyncio.gather(self.look(host, "AAAA"), self.look(host, "A"), return_exceptions=True)
        told = [one for one in both if isinstance(one, Records)]
        found = [record.address for one in told for record in one.rdata]
        failed = [one for one in both if isinstance(one, BaseException)]
        if failed and not found:
            raise next((one for one in failed if isinstance(one, NoAnswer)), failed[0])
        with_some = [one for one in told if one.rdata]
        return HostAddresses(found, all(one.secure for one in told), with_some[0].name if with_some else "")

    def _ready(self) -> "dns.asyncresolver.Resolver":
        import dns.asyncresolver
        import dns.flags
        import dns.resolver

        if self._resolver is None:
            resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                resolver.nameservers = [_nameserver(text) for text in self._nameservers]
            # One that says "bogus" must be the last word: another, asked after it, would only not say that it is signed.
            believed = [one for one in resolver.nameservers if self._believes(_address_of(one))]
            resolver.nameservers = believed or resolver.nameservers
            resolver.cache = dns.resolver.LRUCache(1000)
            resolver.flags = dns.flags.RD | dns.flags.AD  # else a resolver need not tell what it has validated
            self._resolver = resolver
        return self._resolver


def _address_of(nameserver: "str | dns.nameserver.Nameserver") -> str:
    return nameserver if isinstance(nameserver, str) else nameserver.answer_nameserver()


def _nameserver(text: str) -> "dns.nameserver.Nameserver":
    import dns.nameserver

    host, _, port = text.rpartition(":")
    if not host or (":" in host and not host.startswith("[")):
        host, port = text, "53"
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))
