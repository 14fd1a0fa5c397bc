"""A DNS server on loopback with a zone of the test's own: a real conversation, no mocking.

    async with FakeDNS({"there.example": {"MX": ["10 mail.there.example."]}}) as dns:
        resolver = Resolver([dns.address])

Zones map a name to record type -> records in text form.  A name that is not there is NXDOMAIN, a type that is not there an
empty answer.  `failing` names get SERVFAIL, `refused` ones REFUSED, `silent` names no answer at all.  With `inventing` an
address is given for names that are not there.  A CNAME is followed.  Answers about `signed` names have the AD bit where it
is asked for: a stand-in for a validating resolver.  `asked` lists (name, type) as they came.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = Mapping[str, Mapping[str, Sequence[str]]]


class FakeDNS:
    def __init__(
        self,
        zone: Zone,
        *,
        failing: Collection[str] = (),
        silent: Collection[str] = (),
        refused: Collection[str] = (),
        inventing: str = "",
        signed: Collection[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.zone = {name.lower().rstrip("."): records for name, records in zone.items()}
        self.failing, self.silent, self.refused = set(failing), set(silent), set(refused)
        self.inventing, self.signed, self._place = inventing, set(signed), (host, port)
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Speaker(self), local_addr=self._place)
        self.address = f"{self._place[0]}:{self._transport.get_extra_info('sockname')[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()
        await asyncio.sleep(0)  # lets the transport close its socket

    def answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text().rstrip(".").lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        names, owner = [name], question.name
        while kind != "CNAME" and (aliases := self.zone.get(names[-1], {}).get("CNAME")) and len(names) < 10:
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", "CNAME", *aliases))
            owner = dns.name.from_text(aliases[0])
            names.append(aliases[0].rstrip(".").lower())
        if query.flags & dns.flags.AD and self.signed.issuperset(names):
            response.flags |= dns.flags.AD
        name = names[-1]
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.refused:
            response.set_rcode(dns.rcode.REFUSED)
        elif name not in self.zone and self.inventing and kind == "A":
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, self.inventing))
        elif name not in self.zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif records := self.zone[name].get(kind):
            response.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *records))
        return response


class _Speaker(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDNS) -> None:
        self.server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if response := self.server.answer(dns.message.from_wire(data)):
            self.transport.sendto(response.to_wire(), addr)
