"""The surroundings of a relay in which everything is as it should be, and which a test breaks at one place.

case = Case(tmp_path)
case.zone["example.jp"]["TXT"] = ['"v=spf1 -all"']
findings = await case.examined()

doctor ──> FakeDNS (the whole DNS)   ──> ScriptedUpstream with a throw-away CA: 587 and 25 STARTTLS, 465 TLS
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import trustme

from relay.doctor.finding import Finding, Grade
from relay.doctor.gather import World, gather
from relay.doctor.judge import Facts, judge
from relay.doctor.subject import Subject
from relay.doctor.uplink_probe import OutsideServices
from relay.inbound.admission import Listener
from relay.mail.address import Address
from relay.mail.rewrite import Identity
from relay.outbound.routing import Route
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import Login, SmtpServer, Tls, Upstream
from tests.support.dkim import key_for, published, quoted
from tests.support.dns import FakeDNS
from tests.support.upstream import ScriptedUpstream

NOW = datetime.now(UTC)
KEY = key_for("direct.jp")
PUBLIC = "93.184.216.34"
LIST = "34.216.184.93.zen.spamhaus.org"
TEST_ENTRY = "2.0.0.127.zen.spamhaus.org"  # RFC 5782 s5
REVERSE = "34.216.184.93.in-addr.arpa"
ASAHI = "spf-01.asahi-net.or.jp"

ZONE: dict[str, dict[str, list[str]]] = {
    "example.jp": {
        "MX": ["10 mail.example.jp."],
        "TXT": ['"google-site-verification=x"', f'"v=spf1 mx include:{ASAHI} -all"'],
    },
    "_dmarc.example.jp": {"TXT": ['"v=DMARC1; p=quarantine; rua=mailto:me@example.jp"']},
    "mail.example.jp": {"A": ["127.0.0.1"]},
    ASAHI: {"TXT": ['"v=spf1 +ip4:202.224.39.192/27 +ip4:202.224.39.40"']},
    REVERSE: {"PTR": ["relay.example.jp."]},
    "relay.example.jp": {"A": [PUBLIC]},
    TEST_ENTRY: {"A": ["127.0.0.2"]},
    "direct.jp": {"MX": ["10 mail.example.jp."], "TXT": [f'"v=spf1 ip4:{PUBLIC} -all"']},
    "gmail.com": {"MX": ["5 mx.gmail.com."]},
    "mx.gmail.com": {"A": ["127.0.0.1"]},
}


class Case:
    """Everything that a test may break before `examined()`; `server` and `dns` are there afterwards, to be asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.certificate = self.ca.issue_cert("127.0.0.1")
        self.zone = deepcopy(ZONE) | {name: {"TXT": [quoted(text)]} for name, text in published(KEY).items()}
        self.failing: set[str] = set()
        self.refused: set[str] = set()
        self.inventing = ""
        self.nameservers: tuple[str, ...] | None = None
        self.script: dict[str, Any] = {}
        self.serving: dict[str, Any] = {"users": {"taro": "secret"}}
        self.banner_date = True
        self.hello = f"upstream.test Hello relay.example.jp [{PUBLIC}]"
        self.closed: set[int] = set()
        self.silent: set[int] = set()
        self.upstream = Upstream(
            name="isp",
            transport=SmtpServer(
                "127.0.0.1", 587, Tls(ca_file=str(self.ca_file)), Login(username="taro", password=Secret("secret"))
            ),
            identity=Identity(Address("taro", "example.jp"), frozenset({"example.jp"})),
            provider="asahi-net",
        )
        self.others: tuple[Upstream, ...] = ()
        self.subject = Subject(
            hostname="relay.example.jp",
            upstreams={},
            listeners=(Listener("127.0.0.1", 0),),
            routes=(Route(via=("mx",), to=("*@direct.example",), sender=("*@direct.jp",)), Route(via=("isp",))),
            spool=SpoolSettings(url=f"sqlite:{folder}/spool/spool.db", keep_free=1_000_000, max_message=1_000_000),
            state_dir=folder / "spool",
            notices_to=Address("me", "example.jp"),
            source="config.yaml",
            dkim=(KEY,),
        )
        self.root = folder / "root"
        self.root.mkdir()
        self.now = NOW
        self.patience = 1.5
        self.dns_patience: float | None = None
        self.whoami: tuple[str, ...] = ()
        (folder / "spool").mkdir()

    async def facts(self) -> Facts:
        """Starts the surroundings, looks at them, and takes them down."""
        async with AsyncExitStack() as stack:
            self.dns = await stack.enter_async_context(
                FakeDNS(self.zone, failing=self.failing, refused=self.refused, inventing=self.inventing)
            )
            self.server = await stack.enter_async_context(self._server(implicit=False))
            self.implicit = await stack.enter_async_context(self._server(implicit=True))
            ports = {25: self.server.port, 465: self.implicit.port, 587: self.server.port}
            for port in self.closed:
                ports[port] = stack.enter_context(_closed_port())
            for port in self.silent:
                ports[port] = stack.enter_context(_silent_port())
            nameservers = (self.dns.address,) if self.nameservers is None else self.nameservers
            upstreams = {one.name: one for one in (self.upstream, *self.others)}
            self.subject = replace(self.subject, upstreams=upstreams, nameservers=nameservers)
            [teller] = self.whoami or (self.dns.address,)
            outside = OutsideServices(whoami=((teller, "myip.example", "A"), (teller, "myip.example", "AAAA")))
            world = World(
                now=lambda: self.now,
                root=self.root,
                ports=ports,
                outside=outside,
                patience=self.patience,
                dns_patience=self.dns_patience or self.patience,
            )
            return await gather(self.subject, world)

    async def examined(self) -> list[Finding]:
        facts = await self.facts()
        return judge(facts, self.subject)

    def _server(self, *, implicit: bool) -> ScriptedUpstream:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate.configure_cert(context)
        given = {"tls": context, "implicit": implicit, **self.serving}
        script = dict(self.script)
        if self.banner_date:
            script.setdefault("CONNECT", f"220 upstream.test ESMTP; {format_datetime(NOW)}")
        server = ScriptedUpstream(script=script, **given)
        server.name = self.hello
        return server

    def in_container(self, *, volume: bool, gateway: bool) -> None:
        """As if this were a container: on a volume or not, behind its engine's NAT or not."""
        (self.root / "proc/self").mkdir(parents=True)
        (self.root / "proc/net").mkdir()
        (self.root / ".dockerenv").touch()
        mounts = ["1 0 0:1 / / rw - overlay overlay rw"]
        if volume:
            mounts.append(f"2 1 8:1 /var/lib/docker/volumes/relay/_data {self.folder} rw - ext4 /dev/sda1 rw")
        (self.root / "proc/self/mountinfo").write_text("\n".join(mounts))
        if gateway:
            route = "Iface Destination Gateway\neth0 00000000 010011AC\n"
            (self.root / "proc/net/route").write_text(route)


def troubles(findings: list[Finding]) -> list[str]:
    return [one.name for one in findings if one.grade is Grade.PROBLEM]


def warned(findings: list[Finding]) -> list[str]:
    return [one.name for one in findings if one.grade is Grade.WARNING]


def the(findings: list[Finding], name: str) -> Finding:
    """The finding of that name that is not fine."""
    [found] = [one for one in findings if one.name == name and one.grade is not Grade.OK]
    return found


def soon(**more: float) -> datetime:
    return NOW + timedelta(**more)


@contextlib.contextmanager
def _closed_port() -> Iterator[int]:
    """A port that refuses: bound, so that nobody else gets it, and never listened on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextlib.contextmanager
def _silent_port() -> Iterator[int]:
    """A port that answers nothing, as behind OP25B: its queue of connections is full, so the kernel drops what comes."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(sock.getsockname())
        yield sock.getsockname()[1]
