"""Surroundings as people really have them: odd routers, split DNS, no IPv6, somebody else's service, and no wolf in sight.

The counterpart of test_doctor.py: there one thing is broken, here nothing is that a person would have to mend.
"""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.doctor import host_probe, uplink_probe
from relay.doctor.resolver import DnsLookup, invented, knows_nothing
from relay.doctor.subject import Subject
from relay.doctor.upstream_probe import UpstreamProbe
from relay.inbound.admission import Listener, ListenTls
from relay.mail.address import Address
from relay.mail.rewrite import Identity
from relay.outbound.routing import Route
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.connect import Endpoint
from relay.upstream.settings import Auth, Login, Pop, TlsMode
from tests.support.dns import FakeDNS
from tests.support.doctor import ASAHI, LIST, NOW, PUBLIC, TEST_ENTRY, Case, the, troubles, warned
from tests.support.pop3 import PopServer
from tests.support.sending import on_server

Break = Callable[[Case], None]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


async def found(case: Case) -> tuple[list[str], list[str]]:
    findings = await case.examined()
    return troubles(findings), warned(findings)


# --- the nameserver


@pytest.mark.parametrize("how", ["refused", "failing"])
async def test_a_router_that_does_not_answer_for_the_root(case: Case, how: str) -> None:
    """Many refuse to tell the root's nameservers, and resolve every name: nothing is wrong."""
    getattr(case, how).update({"", "."})
    assert await found(case) == ([], [])
    assert ("", "NS") not in case.dns.asked


async def test_a_resolver_that_refuses_everything(case: Case) -> None:
    """REFUSED for every name is what a nameserver says that is not meant for us: told once, and mail goes out."""
    case.refused = {*case.zone, "iana.org"}
    case.subject = replace(case.subject, routes=(Route(via=("isp",)),))
    assert await found(case) == ([], ["resolver-records"])


async def test_a_resolver_that_knows_no_name(case: Case) -> None:
    """A router without a line says of every name that it does not exist: not the sender's domain is gone."""
    case.zone = {}
    case.subject = replace(case.subject, routes=(Route(via=("isp",)),))
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], ["resolver-records"])
    assert "gmail.com and iana.org do not exist" in " ".join(the(findings, "resolver-records").evidence)
    named = bool(case.subject.nameservers)
    cure = the(findings, "resolver-records").cure
    assert ("or remove it" in cure, "Repair /etc/resolv.conf" in cure) == (named, not named)


async def test_a_resolver_for_the_own_names_alone(case: Case) -> None:
    """Split DNS that lets nothing else out: the names that are needed are there, so nothing is wrong."""
    case.subject = replace(case.subject, routes=(Route(via=("isp",)),))
    case.failing = {"gmail.com", "iana.org"}
    assert await found(case) == ([], [])


async def test_a_resolver_that_makes_addresses_up(case: Case) -> None:
    """An address for what does not exist: told as such, and nothing else is blamed for it."""
    case.inventing = "198.51.100.9"
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], ["resolver-invents"])
    assert "198.51.100.9" in " ".join(the(findings, "resolver-invents").evidence)


async def test_questions_are_only_asked_of_strangers_where_the_own_ones_fail() -> None:
    """Nobody's name but ours is looked up while ours can be."""
    async with FakeDNS({"example.jp": {"MX": ["10 mail.example.jp."]}}) as dns:
        look = DnsLookup([dns.address], patience=1)
        assert await knows_nothing(look, [("example.jp", "MX")], [("gmail.com", "MX")]) == ""
        assert dns.asked == [("example.jp", "MX")]
        assert "gmail.com do not exist" in await knows_nothing(look, [("gone.example", "MX")], [("gmail.com", "MX")])
        assert await invented(look, "iana.org") == ""
        await look.close()


async def test_an_inside_view_of_the_senders_domain(case: Case) -> None:
    """Its mail host is in the LAN by this nameserver, and SPF is not there: receivers see something else."""
    case.zone["mail.example.jp"] = {"A": ["192.168.0.5"]}
    case.zone["example.jp"]["TXT"] = []
    case.subject = replace(case.subject, routes=(Route(via=("isp",)),))
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], ["split-dns"])
    assert "192.168.0.5" in the(findings, "split-dns").cause
    assert "publishes no SPF record" in " ".join(the(findings, "split-dns").evidence)


async def test_a_router_that_tells_the_lan_address_of_the_own_mail_host(case: Case) -> None:
    """Such nameservers leave everything else as it is: what passes is fine, and what names the host is not blamed."""
    case.zone["mail.example.jp"] = {"A": ["192.168.0.5"]}
    assert await found(case) == ([], [])
    case.zone["direct.jp"]["TXT"] = ['"v=spf1 mx -all"']
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], ["split-dns"])
    assert "direct.jp by mx" in " ".join(the(findings, "split-dns").evidence)


# --- the line, where a route uses `mx`


def direct(**zone: list[str]) -> Break:
    return lambda case: case.zone["direct.jp"].update(zone)


@pytest.mark.parametrize(
    ("txt", "name", "printed"),
    [
        ('"v=spf1 ip4:202.224.39.40 -all"', "spf-fail", "v=spf1 ip4:202.224.39.40 {} -all"),
        ('"v=spf1 mx ~all"', "spf-weak", "v=spf1 mx {} ~all"),
        ('"nothing"', "spf-none", "v=spf1 mx {} ~all"),
        ('"v=spf1 mx mx: -all"', "spf-broken", "v=spf1 mx {} -all"),
    ],
)
@pytest.mark.parametrize("named", [True, False], ids=["by name", "by address"])
async def test_spf_for_what_we_deliver_ourselves(case: Case, txt: str, name: str, printed: str, named: bool) -> None:
    """By `mx` the receivers see our own address: by its name where that leads to it, the record passes once published.

    Without DKIM, which would make up for it.
    """
    case.zone["direct.jp"]["TXT"] = [txt]
    case.subject = replace(case.subject, dkim=())
    if not named:
        case.subject = replace(case.subject, hostname="relay.lan")
    findings = await case.examined()
    assert troubles(findings) == [name]
    one = the(findings, name)
    assert one.about == "direct.jp by mx"
    term = "a:relay.example.jp" if named else f"ip4:{PUBLIC}"
    assert one.publish == f'direct.jp. TXT "{printed.format(term)}"'
    assert "send by an upstream instead" in one.cure
    case.zone["direct.jp"]["TXT"] = [one.publish.partition(" TXT ")[2]]
    assert await found(case) == ([], ["dkim-none"])


async def test_spf_for_mx_is_a_warning_where_another_way_is_behind_it(case: Case) -> None:
    """What is refused there goes by the next in the chain."""
    case.zone["direct.jp"]["TXT"] = ['"v=spf1 -all"']
    mx = Route(via=("mx", "isp"), to=("*@direct.example",), sender=("*@direct.jp",))
    case.subject = replace(case.subject, routes=(mx, Route(via=("isp",))))
    assert await found(case) == ([], ["spf-fail"])


async def test_without_a_sender_in_the_route_the_own_domains_go_by_mx(case: Case) -> None:
    """Then devices send in the name of the accounts' domains there: the one that fails is named with its way."""
    case.subject = replace(case.subject, routes=(Route(via=("mx",), to=("*@direct.example",)), Route(via=("isp",))))
    findings = await case.examined()
    assert troubles(findings) == ["spf-fail"]
    assert the(findings, "spf-fail").about == "example.jp by mx"
    assert f"include:{ASAHI} a:relay.example.jp -all" in the(findings, "spf-fail").publish


async def test_without_a_public_address_that_is_said(case: Case) -> None:
    """Then SPF, the lists and the name cannot be judged, and that is the finding."""
    case.hello = "upstream.test"
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], ["public-address"])
    assert "SPF, block lists and reverse DNS" in the(findings, "public-address").cause


@pytest.mark.parametrize("kind", ["A", "AAAA"])
async def test_our_address_by_either_family(case: Case, kind: str) -> None:
    """Where no upstream tells it, a service does: on a line with IPv6 alone too."""
    case.hello = "upstream.test"
    public = {"A": PUBLIC, "AAAA": "2a00:1450:4001::5"}[kind]
    case.zone["myip.example"] = {kind: [public]}
    case.zone["relay.example.jp"] = {kind: [public]}
    if kind == "AAAA":
        case.zone["5.0.0.0." + "0.0.0.0." * 4 + "1.0.0.4.0.5.4.1.0.0.a.2.ip6.arpa"] = {"PTR": ["relay.example.jp."]}
        case.zone["direct.jp"]["TXT"] = ['"v=spf1 ip6:2a00:1450:4001::/48 -all"']
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], [])
    assert [one.about for one in findings if one.name == "reverse-dns"] == [public]


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
async def test_a_host_of_both_families_is_tried_by_both() -> None:
    """Three IPv4 addresses before the IPv6 one do not hide it from a machine that has IPv6 alone."""
    zone = {"mx.gmail.com": {"A": ["127.0.0.1", "127.0.0.2"], "AAAA": ["::1"]}}
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as six:
        port = six.getsockname()[1]
        async with FakeDNS(zone) as dns:
            look = DnsLookup([dns.address], patience=1)
            asking = UpstreamProbe("relay.test", 1, ports={25: port})
            there = await uplink_probe._port_25_of("mx.gmail.com", asking, look)
            await look.close()
    assert there is not None
    assert there.state.value == "open"


async def test_the_line_is_down_and_not_blocked(case: Case) -> None:
    """Nothing answers on any port: that is the upstream's finding, and no talk of OP25B."""
    case.silent, case.patience = {25, 465, 587}, 0.7
    findings = await case.examined()
    assert troubles(findings) == ["upstream-unreachable"]
    assert "port-25-unknown" in warned(findings)


async def test_a_resolver_through_which_the_list_lists_nobody(case: Case) -> None:
    """Some public resolvers say "not listed" to everything; without the test entry that counts for nothing."""
    case.zone.pop(TEST_ENTRY)
    assert await found(case) == ([], ["block-list-unknown"])
    case.zone[LIST] = {"A": ["127.0.0.10"]}
    assert await found(case) == (["pbl"], [])


# --- this machine, seen by somebody else than the relay's user

ROOT = Path(__file__).parents[2]
STRANGER = f"""
import codecs, os, sys
sys.path.insert(0, {str(ROOT)!r})
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from relay.doctor.host import HostFacts
from relay.doctor.host_probe import listener_facts
from relay.doctor.spool_probe import file_facts
from relay.doctor.judge import Facts
from relay.doctor.subject import Subject
from relay.doctor.judge import judge
from relay.inbound.admission import Listener
from relay.spool.contract import SpoolSettings
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
codecs.lookup("ascii"), codecs.lookup("idna")  # what is loaded late may lie where this user cannot read it
os.setgroups([]); os.setgid(65534); os.setuid(65534)
subject = Subject("relay.test", {{}}, spool=SpoolSettings(f"sqlite:{{folder}}/spool.db", keep_free=0, max_message=1))
listener = Listener("127.0.0.1", 25 + 600)
facts = HostFacts(datetime.now(UTC), file_facts(subject.spool.file, root), (listener_facts(listener, subject, root),))
for one in judge(Facts(facts), subject):
    if one.name in ("listener", "spool") or one.grade.value != "ok":
        print(one.name, one.grade.value)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
low_ports_are_kept = pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 625, reason="here anybody may have low ports"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may pass through, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def as_a_stranger(folder: Path, root: Path) -> list[str]:
    """Name and grade of what an unprivileged user is told of spool and listener."""
    done = subprocess.run([sys.executable, "-c", STRANGER, str(folder), str(root)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def owned(folder: Path, uid: int) -> Path:
    folder.mkdir(mode=0o700)
    os.chown(folder, uid, uid)
    return folder


@needs_root
@low_ports_are_kept
def test_an_ordinary_user_looks_at_the_service(place: Path) -> None:
    """Neither the service's port nor its spool are a problem because this user may not have them."""
    assert as_a_stranger(owned(place / "spool", 65533), place) == ["other-user warning", "listener ok"]


@needs_root
@low_ports_are_kept
def test_a_user_who_keeps_the_spool_is_warned_about_the_port(place: Path) -> None:
    """He is who the relay runs as: by a unit with the right to the port, or from a shell without it."""
    assert as_a_stranger(owned(place / "spool", 65534), place) == ["spool ok", "port-forbidden warning"]


@needs_root
@low_ports_are_kept
@pytest.mark.parametrize(
    ("bounds", "told"), [("0000000000000000", "port-forbidden problem"), ("0000000000000400", "port-forbidden warning")]
)
def test_a_container_without_the_right_is_a_problem(place: Path, bounds: str, told: str) -> None:
    """What the container's bounds do not have nobody in it can get; with it in the bounds, the service may have it."""
    spool, root = owned(place / "spool", 65534), place / "root"
    (root / "proc/self").mkdir(parents=True)
    (root / ".dockerenv").touch()
    (root / "proc/self/status").write_text(f"Name:\tpython\nCapBnd:\t{bounds}\n")
    assert as_a_stranger(spool, root) == ["spool ok", told]


@needs_root
@low_ports_are_kept
def test_a_folder_that_cannot_be_looked_into(place: Path) -> None:
    """The spool deeper in the other user's folder does not make the doctor stumble."""
    deep = owned(place / "lib", 65533) / "deep"
    deep.mkdir()
    assert as_a_stranger(deep, place) == ["other-user warning", "listener ok"]


@pytest.mark.parametrize(
    ("tls", "said", "ours"),
    [
        (ListenTls.STARTTLS, b"220 relay.test ESMTP\r\n", True),
        (ListenTls.IMPLICIT, b"220 relay.test ESMTP\r\n", True),
        (
            ListenTls.STARTTLS,
            b"554 5.7.1 127.0.0.1 may not submit here; to allow it, add its network to listen.networks (RELAY_NETWORKS)\r\n",
            True,
        ),
        (ListenTls.STARTTLS, b"220 mail.host.example ESMTP Exim\r\n", False),
        (ListenTls.IMPLICIT, b"220 mail.host.example ESMTP Exim\r\n", False),
        (ListenTls.STARTTLS, b"554 5.7.1 go away\r\n", False),
    ],
)
async def test_our_own_voice_is_known(case: Case, tls: ListenTls, said: bytes, ours: bool) -> None:
    """A relay of another user holds the port: known by its greeting, in TLS too, and by how it turns strangers away."""

    def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    case.certificate.configure_cert(context)
    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context if tls is ListenTls.IMPLICIT else None)
    async with server:
        listener = Listener("127.0.0.1", server.sockets[0].getsockname()[1], tls=tls)
        subject = Subject("relay.test", {}, spool=SpoolSettings(f"sqlite:{case.folder}/spool.db"))
        facts = await asyncio.to_thread(host_probe.listener_facts, listener, subject)
    assert (facts.errno, facts.ours) == ("EADDRINUSE", ours)


# --- an upstream


async def test_a_password_is_said_once_to_two_names_of_one_provider(case: Case) -> None:
    """smtp. and mail. of one provider know, and lock, the same account."""
    from relay.doctor.upstream_probe import _whose

    assert _whose("smtp.isp.ne.jp") == _whose("MAIL.isp.ne.jp")
    assert len({_whose(one) for one in ("192.168.0.1", "192.168.0.2", "2001:db8::1", "isp.ne.jp", "a.isp2.ne.jp")}) == 5
    case.upstream = on_server(case.upstream, login=Login(username="taro", password=Secret("wrong")))
    case.others = tuple(
        replace(on_server(case.upstream, port=port), name=f"isp{number}") for number, port in ((2, 25), (3, 587))
    )
    case.subject = replace(case.subject, routes=(Route(via=("isp", "isp2", "isp3")),))
    assert (await found(case))[0] == ["login"] * 3
    assert len(case.server.auths) + len(case.implicit.auths) == 1


@needs_ipv6
@pytest.mark.parametrize(("silent", "mute"), [(True, True), (False, False)], ids=["silent", "refused at once"])
async def test_an_ipv6_address_that_costs_time(silent: bool, mute: bool) -> None:
    """Only one that nothing answers from; a machine without IPv6 is told at once, and loses no time."""
    with contextlib.ExitStack() as stack:
        four = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = four.getsockname()[1]
        if silent:  # its queue of connections is full, so what comes is dropped
            six = stack.enter_context(socket.socket(socket.AF_INET6))
            six.bind(("::1", port))
            six.listen(0)
            for _ in range(3):
                waiting = stack.enter_context(socket.socket(socket.AF_INET6))
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect(("::1", port))
        both = [Endpoint(socket.AF_INET6, "::1", port), Endpoint(socket.AF_INET, "127.0.0.1", port)]
        assert await UpstreamProbe("relay.test", 0.7)._mute_v6(both) is mute
        assert await UpstreamProbe("relay.test", 0.7)._mute_v6(both[1:]) is False


async def test_coreserver_by_pop_of_our_own(case: Case) -> None:
    """The field notes' case in full: our own POP login opens the window that makes the host refuse; the cure is a route."""
    case.script["MAIL"] = "552 sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"
    clear = on_server(case.upstream, port=465, tls=replace(case.upstream.smtp.tls, mode=TlsMode.NONE))
    case.others = (replace(clear, name="iijmio"),)
    async with PopServer(user="taro", password="secret") as pop:
        case.upstream = on_server(
            case.upstream, login=Login(Auth.POP, "taro", Secret("secret"), pop=Pop("127.0.0.1", pop.port))
        )
        findings = await case.examined()
        assert len(pop.logins) == 1
    one = the(findings, "senderhosts")
    assert one.about == "isp"
    assert 'routes: [{to: "*@your-domain-there", via: [iijmio]}' in one.cure


@pytest.mark.parametrize(
    ("begun", "left", "told"),
    [
        (timedelta(days=3), timedelta(days=3), []),  # lives for six days: it is renewed within days
        (timedelta(days=5), timedelta(days=1), ["tls-soon"]),
        (timedelta(days=76), timedelta(days=16), []),
        (timedelta(days=82), timedelta(days=8), ["tls-soon"]),
    ],
)
async def test_when_a_certificate_is_late(case: Case, begun: timedelta, left: timedelta, told: list[str]) -> None:
    """By the length of its life: short-lived ones are always near their end."""
    case.certificate = case.ca.issue_cert("127.0.0.1", not_before=NOW - begun, not_after=NOW + left)
    assert await found(case) == ([], told)


async def test_the_sender_of_a_subdomain_of_a_strict_domain(case: Case) -> None:
    """`sp=` of the organisation counts for a subdomain, and is what the evidence names."""
    case.upstream = replace(case.upstream, identity=Identity(Address("taro", "nas.example.jp")))
    case.zone["_dmarc.example.jp"]["TXT"] = ['"v=DMARC1; p=none; sp=reject; np=reject"']
    case.zone["nas.example.jp"] = {"MX": ["10 mail.example.jp."], "TXT": ['"v=spf1 -all"']}
    findings = await case.examined()
    assert troubles(findings) == ["spf-fail"]
    assert "p=reject" in " ".join(the(findings, "spf-fail").evidence)


# --- what is said leads somewhere


def test_every_page_that_is_named_is_in_the_tree() -> None:
    """Findings and cures name pages of docs/, here and in the table of refusals: each of them, and each anchor, exists."""
    named: set[str] = set()
    for folder in ("doctor", "outbound", "upstream"):
        for file in (ROOT / "relay" / folder).glob("*.py"):
            named |= set(re.findall(r"docs/[a-z0-9_./-]+\.md(?:#[a-z0-9-]+)?", file.read_text(encoding="utf-8")))
    assert "docs/findings.md" in named
    for link in named:
        page, _, anchor = link.partition("#")
        assert (ROOT / page).is_file(), link
        text = (ROOT / page).read_text(encoding="utf-8")
        headings = {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in re.findall(r"^#+ (.+)$", text, re.M)}
        assert not anchor or anchor in headings, link
