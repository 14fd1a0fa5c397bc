"""DNS look-ups for the upstream `mx` (and other questions to the DNS itself).  RFC 1035, RFC 5321 s5.1."""

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # else at the first question: 5 MB that a relay without `mx` never needs
    import dns.asyncresolver
    import dns.nameserver

_PATIENCE = 10.0  # seconds for one question, all servers and tries together


class NoSuchName(Exception):
    """The name does not exist (NXDOMAIN), or cannot be a name."""


class NoAnswer(Exception):
    """There is no answer: time is up, servers fail, or none is configured.  The text says which."""


class Resolver:
    """Asks `nameservers` ("address" or "address:port", IPv6 with a port in brackets), else those of the system; caches."""

    def __init__(self, nameservers: Sequence[str] = (), *, patience: float = _PATIENCE) -> None:
        self._nameservers = tuple(nameservers)
        self._patience = patience
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, name: str, kind: str) -> list[Any]:
        """The records of one type, as dnspython's rdata; [] if the name has none.  Raises NoSuchName, NoAnswer."""
        import dns.exception
        import dns.resolver

        try:
            answer = await self._ready().resolve(
                name.rstrip(".") + ".", kind, raise_on_no_answer=False, lifetime=self._patience, search=False
            )
        except dns.resolver.NXDOMAIN:
            raise NoSuchName(f"there is no domain {name}") from None
        except dns.exception.SyntaxError as error:
            raise NoSuchName(f"{name!r} is no domain name: {error}") from None
        except UnicodeError as error:
            raise NoSuchName(f"{name!r} is no domain name: {error}") from None
        except dns.resolver.NoResolverConfiguration:
            raise NoAnswer("no nameserver is configured; set dns.nameservers") from None
        except dns.resolver.LifetimeTimeout:
            raise NoAnswer(f"the DNS gave no answer about {name} within {self._patience:g} seconds") from None
        except (dns.exception.DNSException, OSError) as error:
            raise NoAnswer(f"the DNS failed on {name}: {error}") from None
        return list(answer.rrset or ())

    async def mx(self, domain: str) -> list[tuple[int, str]]:
        """(preference, host) as published, "" for the root (null MX, RFC 7505).  Raises NoSuchName, NoAnswer."""
        records = await self.ask(domain, "MX")
        return [(record.preference, record.exchange.to_text(omit_final_dot=True).rstrip(".")) for record in records]

    async def addresses(self, host: str) -> list[str]:
        """IPv6 and IPv4 addresses; [] if it has none.  Raises NoSuchName, NoAnswer (when neither type can be told)."""
        try:
            return [str(ipaddress.ip_address(host.strip("[]")))]
        except ValueError:
            pass
        found: list[str] = []
        trouble: NoAnswer | None = None
        for kind in ("AAAA", "A"):
            try:
                found += [record.address for record in await self.ask(host, kind)]
            except NoAnswer as error:
                trouble = error
        if trouble and not found:
            raise trouble
        return found

    def _ready(self) -> "dns.asyncresolver.Resolver":
        import dns.asyncresolver
        import dns.resolver

        if self._resolver is None:
            resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                resolver.nameservers = [_nameserver(text) for text in self._nameservers]
            resolver.cache = dns.resolver.LRUCache(1000)
            self._resolver = resolver
        return self._resolver


def _nameserver(text: str) -> "dns.nameserver.Nameserver":
    import dns.nameserver

    host, _, port = text.rpartition(":")
    if not host or (":" in host and not host.startswith("[")):
        host, port = text, "53"
    return dns.nameserver.Do53Nameserver(host.strip("[]"), int(port))
