"""Who is where: names, addresses, mail boxes, and how hosts hand mail on to each other, each from its own address.

home 127.0.0.1 ──> CORESERVER 127.0.1.1 ──┐
              ├──> IIJmio     127.0.2.1 ──┤ 127.0.2.2
              ├──> asahi-net  127.0.3.1 ──┤ 127.0.3.2      ┌── Gmail   127.0.6.1
              ├──> Sakura     127.0.5.1 ──┤ 127.0.5.2  ──> ├── iCloud  127.0.7.1
              ├──> Gmail      127.0.6.3 ──┘ 127.0.6.2      ├── docomo  127.0.8.1
              └──> (mx) ─────────────────────────────────> └── CORESERVER, and a host behind OP25B 127.0.9.1
"""

import asyncio
import socket
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field

HOME = "127.0.0.1"
CORESERVER, IIJMIO, ASAHI, SAKURA = "127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.5.1"
GMAIL_MX, GMAIL, ICLOUD, DOCOMO, CLOSED = "127.0.6.1", "127.0.6.3", "127.0.7.1", "127.0.8.1", "127.0.9.1"
IIJMIO_OUT, ASAHI_OUT, SAKURA_OUT, GMAIL_OUT = "127.0.2.2", "127.0.3.2", "127.0.5.2", "127.0.6.2"

ZONE = {
    "taro.s1.example": {"MX": ["10 s1.example."], "TXT": [f'"v=spf1 ip4:{CORESERVER} -all"']},
    "taro.example": {"MX": ["10 s1.example."], "TXT": [f'"v=spf1 ip4:{CORESERVER} -all"']},
    "s1.example": {"A": [CORESERVER]},
    "iijmio.example": {"TXT": [f'"v=spf1 ip4:{IIJMIO_OUT} -all"']},
    "asahi.example": {"TXT": ['"v=spf1 include:spf-01.asahi.example -all"']},
    "spf-01.asahi.example": {"TXT": [f'"v=spf1 +ip4:127.0.3.2/31 +ip4:{ASAHI_OUT}"']},
    "own.example": {"MX": ["10 mail.own.example."], "TXT": ['"v=spf1 mx include:spf-01.asahi.example -all"']},
    "mail.own.example": {"A": [HOME]},
    "ini.sakura.example": {"TXT": [f'"v=spf1 ip4:{SAKURA_OUT} ~all"']},
    "gmail.example": {"MX": ["5 mx.gmail.example."], "TXT": [f'"v=spf1 ip4:{GMAIL_OUT} -all"']},
    "mx.gmail.example": {"A": [GMAIL_MX]},
    "icloud.example": {"MX": ["10 mx.icloud.example."]},
    "mx.icloud.example": {"A": [ICLOUD]},
    "docomo.example": {"MX": ["10 mfsmax.docomo.example."]},
    "mfsmax.docomo.example": {"A": [DOCOMO]},
    "far.example": {"MX": ["10 mx.far.example."]},
    "mx.far.example": {"A": [CLOSED]},
}

_PATIENCE = 30.0


@dataclass(frozen=True)
class Arrived:
    """A message in a mail box: from whose hands, with which envelope sender, and what SPF said of that."""

    source: str
    sender: str
    content: bytes
    spf: str = ""


@dataclass
class Internet:
    """`port` is everybody's port 25; `pbl` the listed addresses, `nameless` those without reverse DNS."""

    port: int
    pbl: set[str] = field(default_factory=lambda: {HOME})
    nameless: set[str] = field(default_factory=set)
    boxes: dict[str, list[Arrived]] = field(default_factory=lambda: defaultdict(list))
    bounces: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def put(self, box: str, arrived: Arrived) -> None:
        async with self.changed:
            self.boxes[box].append(arrived)
            self.changed.notify_all()

    async def arrived(self, box: str, number: int = 1, seconds: float = 25) -> list[Arrived]:
        """What is in a mail box, once there is that much; AssertionError after `seconds`."""
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: len(self.boxes[box]) >= number)
        except TimeoutError:
            raise AssertionError(f"not {number} in {box}, but {self.boxes}; bounces: {self.bounces}") from None
        return self.boxes[box]

    def address_of(self, domain: str) -> str:
        records = ZONE.get(domain, {}).get("MX", ())
        hosts = [record.split()[1].rstrip(".") for record in sorted(records, key=lambda each: int(each.split()[0]))]
        return ZONE[hosts[0]]["A"][0]

    async def onward(self, source: str, sender: str, path: str, content: bytes) -> None:
        """What a provider's own queue does: tries for a while, and makes a bounce of a refusal for good."""
        address, reply = self.address_of(path.rpartition("@")[2]), ""
        async with asyncio.timeout(_PATIENCE):
            while not reply.startswith("2"):
                reply = await hand_over(source, address, self.port, sender, path, content)
                if reply.startswith("5"):
                    self.bounces.append(f"{path} from {source}: {reply}")
                    return
                if reply.startswith("4"):
                    await asyncio.sleep(0.1)


async def hand_over(source: str, address: str, port: int, sender: str, path: str, content: bytes) -> str:
    """One plain SMTP transaction from `source`; the reply that ended it."""
    reader, writer = await asyncio.open_connection(address, port, local_addr=(source, 0))
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    steps = (
        (b"", "2"),
        (f"EHLO [{source}]\r\n".encode(), "2"),
        (f"MAIL FROM:<{sender}>\r\n".encode(), "2"),
        (f"RCPT TO:<{path}>\r\n".encode(), "2"),
        (b"DATA\r\n", "3"),
        (stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n", "2"),
    )
    reply = ""
    try:
        for octets, wanted in steps:
            writer.write(octets)
            reply = await _reply(reader)
            if not reply.startswith(wanted):
                break
        return reply
    except (ConnectionError, asyncio.IncompleteReadError):
        return "421 the line was lost"
    finally:
        writer.close()


async def _reply(reader: asyncio.StreamReader) -> str:
    lines = []
    while True:
        lines.append((await reader.readuntil(b"\n")).decode().rstrip())
        if lines[-1][3:4] != "-":
            return "\n".join(lines)


def port_for_all() -> int:
    """A port that is free on all of loopback: one for every host's port 25."""
    with closing(socket.socket()) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


class Deaf:
    """A host behind a filter: connections to it are neither taken nor refused, as with OP25B."""

    def __init__(self, address: str, port: int) -> None:
        self._sockets = [socket.socket()]
        self._sockets[0].bind((address, port))
        self._sockets[0].listen(0)
        for _ in range(4):  # a full backlog: the kernel drops what comes after
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((address, port))
            self._sockets.append(filler)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()
