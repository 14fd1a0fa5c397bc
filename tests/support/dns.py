"""A DNS server on loopback with a zone of the test's own: a real conversation, no mocking.

    async with FakeDNS({"there.example": {"MX": ["10 mail.there.example."]}}) as dns:
        resolver = Resolver([dns.address])

Zones map a name to record type -> records in text form.  A name that is not there is NXDOMAIN, a type that is not there an
empty answer.  `failing` names get SERVFAIL, `refused` ones REFUSED, `silent` names no answer at all.  With `inventing` an
address is given for names that are not there.  `asked` lists (name, type) as they came.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import dns.flags
import dns.message
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
    ) -> None:
        self.zone = {name.lower().rstrip("."): records for name, records in zone.items()}
        self.failing, self.silent, self.refused = set(failing), set(silent), set(refused)
        self.inventing = inventing
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Speaker(self), local_addr=("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._transport.get_extra_info('sockname')[1]}"
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
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.refused:
            response.set_rcode(dns.rcode.REFUSED)
        elif name not in self.zone and self.inventing and kind == "A":
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, self.inventing))
        elif name not in self.zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif records := self.zone[name].get(kind):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        return response


class _Speaker(asyncio.DatagramProtocol):
    def __init__(self, server: FakeDNS) -> None:
        self.server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if response := self.server.answer(dns.message.from_wire(data)):
            self.transport.sendto(response.to_wire(), addr)
