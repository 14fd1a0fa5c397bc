"""The surroundings are broken at one place at a time: the doctor names that place, its cause and its cure, and no other.

Everything is real but the far ends: sockets, TLS by a throw-away CA, a DNS of the test's own (tests/support/doctor.py).
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.doctor import domain_probe
from relay.doctor.domain import judge_domains
from relay.doctor.finding import Finding, Grade
from relay.doctor.gather import World, gather
from relay.doctor.host import HostFacts
from relay.doctor.judge import Facts, judge
from relay.doctor.resolver import DnsLookup
from relay.doctor.subject import Subject
from relay.inbound.admission import Listener
from relay.mail.address import Address
from relay.mail.rewrite import Identity
from relay.outbound.routing import Route
from relay.secret import Secret
from relay.upstream.settings import Auth, Login, Pop, SmtpServer, Tls, TlsMode, Upstream
from tests.support.dns import FakeDNS
from tests.support.doctor import ASAHI, LIST, NOW, PUBLIC, REVERSE, Case, soon, the, troubles, warned
from tests.support.pop3 import PopServer
from tests.support.sending import on_server
from tests.support.upstream import DROP, HANG

Break = Callable[[Case], None]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


async def test_healthy_surroundings_give_no_finding(case: Case) -> None:
    """Nothing is found where nothing is wrong; one login was made, one MAIL said and taken back, and no mail sent."""
    findings = await case.examined()
    assert troubles(findings) == []
    assert warned(findings) == []
    assert {"clock", "spool", "listener", "resolver", "upstream", "mx", "spf", "dmarc", "port-25", "block-list"} <= {
        one.name for one in findings
    }
    said = [command.split(" ")[0] for command in case.server.commands]
    assert said == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RSET", "QUIT"]
    assert case.server.messages == []
    assert case.server.faults == []


# --- breaking


def upstream(**changes: object) -> Break:
    def do(case: Case) -> None:
        server = {name: changes.pop(name) for name in ("host", "port", "tls", "login") if name in changes}
        case.upstream = replace(on_server(case.upstream, **server), **changes)  # type: ignore[arg-type]

    return do


def tls(**changes: object) -> Break:
    def do(case: Case) -> None:
        case.upstream = on_server(case.upstream, tls=replace(case.upstream.smtp.tls, **changes))  # type: ignore[arg-type]

    return do


def script(step: str, action: object) -> Break:
    def do(case: Case) -> None:
        case.script[step] = action

    return do


def zone(name: str, **records: list[str] | None) -> Break:
    """Changes records of a name; None takes the type away; without any the name itself is gone."""

    def do(case: Case) -> None:
        if not records:
            case.zone.pop(name)
            return
        there = case.zone.setdefault(name, {})
        for kind, texts in records.items():
            if texts is None:
                there.pop(kind, None)
            else:
                there[kind] = texts

    return do


def txt(record: str) -> Break:
    return zone("example.jp", TXT=[f'"{record}"'])


def sender(text: str) -> Break:
    local, _, domain = text.partition("@")
    return upstream(identity=Identity(Address(local, domain), frozenset({domain})))


def both(*breaks: Break) -> Break:
    def do(case: Case) -> None:
        for one in breaks:
            one(case)

    return do


def clock(now: datetime) -> Break:
    def do(case: Case) -> None:
        case.now = now

    return do


def no_date(case: Case) -> None:
    case.banner_date = False


def certificate(*names: str, **more: datetime) -> Break:
    def do(case: Case) -> None:
        case.certificate = case.ca.issue_cert(*names, **more)

    return do


def subject(**changes: object) -> Break:
    def do(case: Case) -> None:
        case.subject = replace(case.subject, **changes)  # type: ignore[arg-type]

    return do


def spool(url: str = "", **changes: object) -> Break:
    def do(case: Case) -> None:
        changed = replace(case.subject.spool, **changes)  # type: ignore[arg-type]
        case.subject = replace(case.subject, spool=replace(changed, url=url.format(case.folder)) if url else changed)

    return do


def file(name: str, content: bytes) -> Break:
    def do(case: Case) -> None:
        (case.folder / name).write_bytes(content)

    return do


def no_mx(case: Case) -> None:
    case.subject = replace(case.subject, routes=(Route(via=("isp",)),))


def ports(*, closed: set[int] = frozenset(), silent: set[int] = frozenset()) -> Break:  # type: ignore[assignment]
    def do(case: Case) -> None:
        case.closed, case.silent = set(closed), set(silent)
        case.patience = 0.7

    return do


def impatient(one: Break) -> Break:
    def do(case: Case) -> None:
        one(case)
        case.patience = 0.7

    return do


def serving(**changes: object) -> Break:
    def do(case: Case) -> None:
        case.serving |= changes

    return do


def listener(host: str) -> Break:
    return subject(listeners=(Listener(host, 0),))


def container(*, volume: bool, gateway: bool) -> Break:
    return lambda case: case.in_container(volume=volume, gateway=gateway)


def dead_nameserver(case: Case) -> None:
    case.nameservers = ("127.0.0.1:9",)
    case.subject = replace(case.subject, routes=(Route(via=("isp",)),))
    case.patience = 0.7


LONG = " ".join(f"include:spf{number}.example.net" for number in range(10))


def long_record(case: Case) -> None:
    for number in range(10):
        case.zone[f"spf{number}.example.net"] = {"TXT": [f'"v=spf1 ip4:192.0.2.{number} -all"']}
    halves = f'"v=spf1 {LONG[:200]}" "{LONG[200:]} include:{ASAHI} -all"'
    zone("example.jp", TXT=[halves])(case)


PROBLEMS: list[tuple[str, Break, str, str]] = [
    # what is broken, how, the finding's name, words of its cause, evidence, cure or record
    ("the clock is ahead", clock(soon(hours=3)), "clock", "3 hours ahead of that of isp"),
    ("the clock is behind", clock(soon(days=-40, hours=-1)), "clock", "40 days behind"),
    (
        "the clock was never set",
        clock(datetime(2000, 1, 1, tzinfo=UTC)),
        "clock",
        "says 2000-01-01, earlier than this program's release. Set it.",
    ),
    (
        "a certificate is of the future",
        both(no_date, certificate("127.0.0.1", not_before=soon(days=2), not_after=soon(days=90))),
        "clock",
        "not valid yet",
    ),
    ("the spool's folder is a file", both(file("x", b"x"), spool("sqlite:{0}/x/spool.db")), "spool-not-writable", "chown"),
    ("the spool is another file", file("spool/spool.db", b"%PDF-1.4\n" * 20), "spool-alien", "no database"),
    ("the disk is full", spool(keep_free=10**16), "spool-full", "Make room"),
    ("an address of no interface", listener("203.0.113.9"), "listen-address", "0.0.0.0:25"),
    ("the sender's domain is gone", zone("example.jp"), "domain-missing", "does not exist"),
    ("the sender's domain takes no mail", zone("example.jp", MX=["0 ."]), "null-mx", "RFC 7505"),
    ("no MX and no address", both(zone("example.jp", MX=None), txt(f"v=spf1 include:{ASAHI} -all")), "no-mx", "Publish an MX"),
    ("no SPF record", zone("example.jp", TXT=['"something else"']), "spf-none", f"v=spf1 mx include:{ASAHI} ~all"),
    ("SPF forbids", txt("v=spf1 mx -all"), "spf-fail", f"v=spf1 mx include:{ASAHI} -all"),
    ("SPF doubts", txt("v=spf1 a:mail.example.jp ~all"), "spf-weak", f"v=spf1 a:mail.example.jp include:{ASAHI} ~all"),
    (
        "two SPF records",
        zone("example.jp", TXT=['"v=spf1 mx -all"', f'"v=spf1 include:{ASAHI} ~all"']),
        "spf-broken",
        f"v=spf1 include:{ASAHI} mx -all",
    ),
    ("a misspelt SPF record", txt("v=spf1 mx ipv4:192.0.2.1 -all"), "spf-broken", "ipv4:192.0.2.1' is left out"),
    ("SPF needs too many look-ups", long_record, "spf-broken", "ip4:202.224.39.192/27"),
    ("an include leads nowhere", txt(f"v=spf1 include:gone.example include:{ASAHI} -all"), "spf-broken", "gone.example"),
    (
        "a sender of Gmail by the ISP",
        both(sender("taro@gmail.com"), zone("gmail.com", TXT=['"v=spf1 redirect=_spf.google.com"'])),
        "spf-foreign",
        "belongs to Gmail",
    ),
    ("the host's name is misspelt", upstream(host="mail..isp.example"), "upstream-name", "misspelling"),
    ("the port is wrong", both(upstream(port=2525), ports(closed={2525})), "upstream-port", "`port: 587` with `tls: starttls`"),
    (
        "port 25 is blocked by the ISP",
        both(upstream(port=25), ports(silent={25}), no_mx),
        "op25b",
        "587",
    ),
    ("nothing listens there", ports(closed={465, 587}), "upstream-down", "Nothing listens on port 587"),
    ("nothing answers at all", ports(silent={465, 587}), "upstream-unreachable", "answers on no port"),
    ("no greeting", impatient(script("CONNECT", HANG)), "upstream-mute", "sends no greeting"),
    ("turned away at the door", script("CONNECT", "554 5.7.1 go away"), "upstream-refuses", "go away"),
    (
        "our address is on the PBL, says the upstream",
        script("CONNECT", "550 5.7.1 Mail from IP 192.0.2.7 was rejected due to listing in Spamhaus PBL."),
        "address-refused",
        "Spamhaus PBL",
    ),
    ("STARTTLS at a TLS port", impatient(upstream(port=465)), "tls-mode", "`tls: implicit`"),
    ("TLS at a STARTTLS port", tls(mode=TlsMode.IMPLICIT), "tls-mode", "wants `tls: starttls`"),
    ("no STARTTLS", script("EHLO", "250-upstream.test\n250 AUTH PLAIN"), "tls-not-offered", "465"),
    ("an unknown authority", tls(ca_file=""), "tls-trust", "ca_file"),
    ("a certificate for another name", certificate("www.host.example"), "tls-name", "(www.host.example)"),
    (
        "an expired certificate",
        certificate("127.0.0.1", not_before=soon(days=-90), not_after=soon(days=-3)),
        "tls-expired",
        f"expired on {soon(days=-3):%Y-%m-%d}",
    ),
    ("another certificate than the pinned", tls(ca_file="", fingerprint="ab" * 32), "tls-pin", "set `fingerprint: "),
    ("the CA's file is missing", tls(ca_file="/nowhere/ca.pem"), "tls-ca-file", "/nowhere/ca.pem"),
    ("EHLO is answered by hanging up", script("EHLO", DROP), "upstream-hello", "closed the connection"),
    (
        "a wrong password",
        upstream(login=Login(username="taro", password=Secret("wrong"))),
        "login",
        "bad user name or password",
    ),
    ("no login offered", serving(users={}), "login-mechanism", "offers no login"),
    (
        "an app password is wanted",
        script(
            "AUTH", "534 5.7.9 Application-specific password required. https://support.google.com/mail/?p=InvalidSecondFactor"
        ),
        "login",
        "app password",
    ),
    (
        "the sender is refused",
        script("MAIL", "553 5.7.1 <taro@example.jp>: Sender address rejected: not owned by user taro"),
        "sender-refused",
        "may not send as taro@example.jp",
    ),
    (
        "senderhosts",
        script("MAIL", "552 sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"),
        "senderhosts",
        "registered",
    ),
    ("port 25 to the outside is blocked", ports(silent={25}), "port-25", "OP25B"),
    ("our address is on the PBL", zone(LIST, A=["127.0.0.10"]), "pbl", "`via: [isp]`"),
    ("our address is on a black list", zone(LIST, A=["127.0.0.4", "127.0.0.10"]), "block-list", "infected"),
    ("no reverse DNS", zone(REVERSE, PTR=None), "reverse-dns", "no name"),
    ("reverse DNS does not lead back", zone("relay.example.jp", A=["192.0.2.1"]), "reverse-dns", f"record with {PUBLIC}"),
]


def test_the_table_is_long_enough() -> None:
    """At least 25 different faults, each with a name of its own here."""
    assert len({what for what, *_ in PROBLEMS}) == len(PROBLEMS) >= 25


@pytest.mark.parametrize(("break_it", "name", "words"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
async def test_each_fault_is_named_alone(case: Case, break_it: Break, name: str, words: str) -> None:
    """One fault, one problem: the right one, with words that lead to the cure, and a place to read more."""
    break_it(case)
    findings = await case.examined()
    assert troubles(findings) == [name], "\n".join(str(one) for one in findings)
    found = the(findings, name)
    assert words in " ".join([found.cause, found.cure, found.publish, *found.evidence])
    assert found.cure
    assert found.evidence or found.publish or found.about
    assert found.link == f"docs/findings.md#{name}"


WARNINGS: list[tuple[str, Break, str, str]] = [
    ("the nameserver is dead, and mail goes", dead_nameserver, "resolver-records", "nameservers"),
    ("the container's NAT", container(volume=True, gateway=True), "nat", "network_mode: host"),
    ("no volume", container(volume=False, gateway=False), "spool-no-volume", "named volume"),
    ("little room", spool(max_message=10**16), "spool-tight", "Make room"),
    ("the DNS fails on the domain", lambda case: case.failing.add("example.jp"), "domain-unknown", "failed"),
    ("a broken DMARC record", zone("_dmarc.example.jp", TXT=['"v=DMARC1; p=rejekt"']), "dmarc-broken", "rejekt"),
    ("the certificate runs out", certificate("127.0.0.1", not_after=soon(days=5)), "tls-soon", f"{soon(days=5):%Y-%m-%d}"),
    (
        "From stays foreign",
        upstream(identity=Identity(Address("taro", "example.jp"), frozenset({"example.jp"}), rewrite_from=False)),
        "dmarc-from",
        "aligned",
    ),
    ("the list refuses public resolvers", zone(LIST, A=["127.255.255.254"]), "block-list-refused", "public resolver"),
    ("MAIL is put off", script("MAIL", "451 4.7.1 try again later"), "sender-later", "try again later"),
    ("a remark of the configuration", subject(remarks=("routes: rule 2 is odd",)), "configuration", "rule 2 is odd"),
    ("no MX but an address", zone("example.jp", MX=None, A=["127.0.0.1"]), "no-mx", "Publish an MX"),
]


@pytest.mark.parametrize(("break_it", "name", "words"), [row[1:] for row in WARNINGS], ids=[row[0] for row in WARNINGS])
async def test_what_is_no_problem_yet_is_a_warning(case: Case, break_it: Break, name: str, words: str) -> None:
    """It is told, with its cure, and the exit status stays 0."""
    break_it(case)
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], [name]), "\n".join(str(one) for one in findings)
    found = the(findings, name)
    assert words in " ".join([found.cause, found.cure, *found.evidence])


async def test_a_remark_names_its_file_once(case: Case) -> None:
    """The file stands before the finding, the line and the column in it."""
    subject(source="/etc/relay/config.yaml", remarks=("/etc/relay/config.yaml:7:16: routes: odd", "RELAY_HOST: not used"))(case)
    told = [(one.about, one.cause) for one in await case.examined() if one.name == "configuration"]
    assert told == [("/etc/relay/config.yaml", "7:16: routes: odd"), ("/etc/relay/config.yaml", "RELAY_HOST: not used")]


async def test_container_with_volume_and_addresses_is_fine(case: Case) -> None:
    """A container that keeps spool and addresses gives no finding."""
    case.in_container(volume=True, gateway=False)
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], [])


async def test_a_wrong_password_is_said_once(case: Case) -> None:
    """Two upstreams with the same account: one AUTH in the whole run, told of both."""
    case.upstream = on_server(case.upstream, login=Login(username="taro", password=Secret("wrong")))
    case.others = (replace(case.upstream, name="isp2"),)
    case.subject = replace(case.subject, routes=(*case.subject.routes, Route(via=("isp2",))))
    findings = await case.examined()
    assert troubles(findings) == ["login", "login"]
    assert len(case.server.auths) + len(case.implicit.auths) == 1


async def test_one_broken_upstream_does_not_colour_another(case: Case) -> None:
    """Each upstream is judged by itself."""
    case.others = (replace(on_server(case.upstream, host="mail..isp.example"), name="bad", provider="generic"),)
    findings = await case.examined()
    assert troubles(findings) == ["upstream-name"]
    assert the(findings, "upstream-name").about == "bad"


async def test_a_taken_port_and_its_holder(case: Case) -> None:
    """Who has the port is told by name and pid."""
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    case.subject = replace(case.subject, listeners=(Listener("127.0.0.1", port),))
    async with server:
        findings = await case.examined()
    assert troubles(findings) == ["port-taken"]
    assert f"(pid {os.getpid()})" in the(findings, "port-taken").cause


async def test_a_pop_login_that_fails(case: Case) -> None:
    """POP before SMTP: the POP server's words, one login, and SMTP is not even tried."""
    async with PopServer(user="taro", password="right") as pop:
        login = Login(Auth.POP, "taro", Secret("wrong"), pop=Pop("127.0.0.1", pop.port))
        case.upstream = on_server(case.upstream, login=login)
        findings = await case.examined()
        assert len(pop.logins) == 1
    assert troubles(findings) == ["pop-login"]


async def test_pop_before_smtp_where_auth_is_offered(case: Case) -> None:
    """CORESERVER of today: POP still works, a window of hours is too long, and AUTH would be the better way."""
    async with PopServer(user="taro", password="secret") as pop:
        window = Pop("127.0.0.1", pop.port, window=timedelta(hours=3))
        case.upstream = on_server(case.upstream, login=Login(Auth.POP, "taro", Secret("secret"), pop=window))
        findings = await case.examined()
    assert troubles(findings) == []
    assert sorted(warned(findings)) == ["pop-needless", "pop-window"]
    assert case.server.auths == []


# --- the cases of the field notes: the cure that people there found by hand


def with_record(case: Case, text: str, folder: Path) -> Case:
    """The same surroundings, healthy, with the printed record in the DNS: `name. TXT "record"`."""
    name, _, record = text.partition(". TXT ")
    folder.mkdir()
    again = Case(folder)
    again.zone, again.upstream = {**case.zone}, on_server(case.upstream, tls=Tls(ca_file=str(again.ca_file)))
    kept = [one for one in again.zone[name].get("TXT", []) if "v=spf1" not in one]
    again.zone[name] = {**again.zone[name], "TXT": [*kept, record]}
    return again


SPF_ROWS = [row for row in PROBLEMS if row[2].startswith("spf-") and row[2] != "spf-foreign"]


@pytest.mark.parametrize("break_it", [row[1] for row in SPF_ROWS], ids=[row[0] for row in SPF_ROWS])
async def test_the_printed_record_makes_spf_pass(case: Case, tmp_path: Path, break_it: Break) -> None:
    """Whatever was wrong with SPF: published as printed, the check passes, and other TXT records stay."""
    break_it(case)
    [found] = [one for one in await case.examined() if one.publish]
    again = with_record(case, found.publish, tmp_path / "again")
    findings = await again.examined()
    assert troubles(findings) == []
    spf = {one.about: one.grade.value for one in findings if one.name == "spf"}
    assert spf == {"example.jp by isp": "ok", "direct.jp by mx": "ok"}


async def test_asahi_net(case: Case) -> None:
    """Handed over to ASAHI net, `mx -all` fails; the cure is the include that lists its hosts, not addresses."""
    case.zone["example.jp"]["TXT"] = ['"v=spf1 mx -all"']
    found = the(await case.examined(), "spf-fail")
    assert found.publish == 'example.jp. TXT "v=spf1 mx include:spf-01.asahi-net.or.jp -all"'
    assert "p=quarantine" in " ".join(found.evidence)


@pytest.mark.parametrize("before", [[], ['"v=spf1 mx -all"']], ids=["no record", "one for the old home"])
async def test_sakura(before: list[str]) -> None:
    """At Sakura the record names the host of the contract, and the tick box that publishes it is told of."""
    zone = {
        "example.jp": {"MX": ["10 home.example.jp."], "TXT": before},
        "home.example.jp": {"A": ["198.41.0.9"]},
        "taro.sakura.ne.jp": {"A": ["49.212.180.1"]},
        "sakura.ne.jp": {"A": ["49.212.1.1"]},
    }
    identity = Identity(Address("me", "example.jp"), frozenset({"example.jp"}))
    sakura = Upstream("sakura", SmtpServer("taro.sakura.ne.jp"), identity=identity, provider="sakura")
    found = await judged_by_dns(zone, sakura)
    assert "tick box for SPF in the control panel" in found[0].cure
    assert found[0].publish == f'example.jp. TXT "v=spf1 mx a:taro.sakura.ne.jp {"-" if before else "~"}all"'
    zone["example.jp"]["TXT"] = [found[0].publish.partition(" TXT ")[2]]
    assert await judged_by_dns(zone, sakura) == []


async def judged_by_dns(zone: dict[str, dict[str, list[str]]], upstream: Upstream) -> list[Finding]:
    """What is wrong with the sender's domain by the DNS alone, for a host that cannot be spoken to."""
    domain = upstream.identity.sender.domain if upstream.identity.sender else ""
    async with FakeDNS(zone) as dns:
        look = DnsLookup([dns.address])
        published, way = await domain_probe.domain(domain, look), await domain_probe.way(domain, upstream, look)
        await look.close()
    facts = Facts(HostFacts(NOW), domains=(published,), ways=(way,))
    findings = judge_domains(facts.domains, facts.ways, (), Subject("relay.test", {upstream.name: upstream}))
    return [one for one in findings if one.grade is not Grade.OK]


async def test_the_include_is_learned_from_the_host() -> None:
    """An ISP that no preset knows: the SPF record of its host's domain is what to include."""
    zone = {
        "example.jp": {"MX": ["10 home.example.jp."], "TXT": ['"v=spf1 mx -all"']},
        "home.example.jp": {"A": ["198.41.0.9"]},
        "smtp.mail.isp.ne.jp": {"A": ["49.212.180.1"]},
        "isp.ne.jp": {"TXT": ['"v=spf1 redirect=_spf.isp.ne.jp"']},
        "_spf.isp.ne.jp": {"TXT": ['"v=spf1 ip4:49.212.180.0/24 ~all"']},
    }
    identity = Identity(Address("me", "example.jp"), frozenset({"example.jp"}))
    [found] = await judged_by_dns(zone, Upstream("isp", SmtpServer("smtp.mail.isp.ne.jp"), identity=identity))
    assert (found.name, found.publish) == ("spf-fail", 'example.jp. TXT "v=spf1 mx include:isp.ne.jp -all"')


async def test_addresses_stand_for_includes_when_there_are_too_many() -> None:
    """Ten look-ups are taken already: the smallest includes are written out, what is there is kept, and it passes."""
    zone = {f"spf{n}.example.net": {"TXT": [f'"v=spf1 ip4:198.41.{n}.0/24 ip4:198.42.{n}.0/24 -all"']} for n in range(10)}
    zone |= {
        "example.jp": {"MX": ["10 home.example.jp."], "TXT": ['"v=spf1 ' + LONG[:200] + '" "' + LONG[200:] + ' -all"']},
        "big.isp.ne.jp": {"TXT": ['"v=spf1 ' + " ".join(f"ip4:49.{n}.0.0/16" for n in range(10)) + '"']},
        "big2.isp.ne.jp": {"TXT": ['"v=spf1 ' + " ".join(f"ip4:50.{n}.0.0/16" for n in range(10)) + '"']},
        "mail.isp.ne.jp": {"A": ["49.1.0.1"]},
        "isp.ne.jp": {"TXT": ['"v=spf1 include:big.isp.ne.jp include:big2.isp.ne.jp"']},
    }
    identity = Identity(Address("me", "example.jp"), frozenset({"example.jp"}))
    isp = Upstream("isp", SmtpServer("mail.isp.ne.jp"), identity=identity)
    [found] = await judged_by_dns(zone, isp)
    assert found.name == "spf-fail"
    assert "include:isp.ne.jp" in found.publish
    assert "ip4:198.41.0.0/24" in found.publish
    zone["example.jp"]["TXT"] = [found.publish.partition(" TXT ")[2]]
    assert await judged_by_dns(zone, isp) == []


async def test_pbl(case: Case) -> None:
    """iCloud answered 550 for a PBL listing: the cure is to hand everything to the ISP's server."""
    case.zone[LIST] = {"A": ["127.0.0.10", "127.0.0.11"]}
    found = the(await case.examined(), "pbl")
    assert "550 5.7.1" in found.cause
    assert "Hand mail to your ISP's server" in found.cure


async def test_coreserver(case: Case) -> None:
    """While the POP window is open only registered senders may send: the cure is a route by the ISP, named in full."""
    case.script["MAIL"] = "552 sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"
    other = Upstream("iijmio", SmtpServer("127.0.0.1", 465, Tls(TlsMode.IMPLICIT, str(case.ca_file))), provider="iijmio")
    case.others = (other,)
    found = the(await case.examined(), "senderhosts")
    assert "POP" in found.cause
    assert "via: [iijmio]" in found.cure
    assert "AUTH (port 587 or 465)" in found.cure


# --- time


async def test_everything_dead_is_told_within_20_seconds(tmp_path: Path) -> None:
    """Black holes for upstreams and nameservers, and one that takes connections and is mute: the real patience ends it all."""
    case = Case(tmp_path)
    case.silent = {25, 465}
    case.script["CONNECT"] = HANG
    case.others = tuple(replace(on_server(case.upstream, port=465), name=f"isp{number}") for number in range(5))
    case.others += tuple(replace(case.upstream, name=f"mute{number}") for number in range(3))  # they wait for each other
    case.patience, case.dns_patience = World().patience, World().dns_patience
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        case.nameservers = case.whoami = (f"127.0.0.1:{hole.getsockname()[1]}",)
        begun = time.monotonic()
        findings = await case.examined()
    assert time.monotonic() - begun < 20
    assert troubles(findings).count("resolver") == 1
    told = {one.about: one.name for one in findings if one.name.startswith("upstream-")}
    assert len(told) == 9
    assert set(told.values()) <= {"upstream-unreachable", "upstream-mute", "upstream-slow", "upstream-port"}


async def test_an_upstream_that_drips_is_cut_off(case: Case) -> None:
    """A server that is slow at every step does not hold up the others for longer than the whole is allowed to take.

    It is told as what it is: the relay itself waits longer, so mail may go.
    """
    case.serving["delays"] = {"CONNECT": 1.0, "EHLO": 1.0, "AUTH": 1.0}
    subject_ = replace(
        case.subject, upstreams={"isp": case.upstream}, routes=(Route(via=("isp",)),), nameservers=("127.0.0.1:9",)
    )
    async with case._server(implicit=False) as server:
        case.upstream = on_server(case.upstream, port=server.port)
        subject_ = replace(subject_, upstreams={"isp": case.upstream})
        facts = await gather(subject_, World(root=case.root, whole=1.5, dns_patience=0.5, patience=3))
    findings = judge(facts, subject_)
    assert (troubles(findings), warned(findings)) == ([], ["upstream-slow", "resolver-records"])


async def test_a_bare_address_is_known_by_its_greeting(case: Case) -> None:
    """The host is written as an address: the name in its greeting tells whose SPF record lists where it delivers from."""
    case.upstream = replace(case.upstream, provider="generic")
    case.script["CONNECT"] = "220 smtp3.mail.isp.ne.jp ESMTP"
    case.zone["isp.ne.jp"] = {"TXT": ['"v=spf1 ip4:192.0.2.0/24 ~all"']}
    case.zone["example.jp"]["TXT"] = ['"v=spf1 mx -all"']
    found = the(await case.examined(), "spf-fail")
    assert found.publish == 'example.jp. TXT "v=spf1 mx include:isp.ne.jp -all"'


@pytest.mark.parametrize(("record", "name"), [("none of it", "spf-none"), ("v=spf1 mx mx:", "spf-broken")])
async def test_a_missing_or_broken_record_is_so_by_any_upstream(case: Case, record: str, name: str) -> None:
    """Where the upstream's addresses are not known, what is wrong for everybody is told still, without a record made up."""
    case.upstream = replace(case.upstream, provider="generic")
    case.zone["example.jp"]["TXT"] = [f'"{record}"']
    findings = await case.examined()
    assert troubles(findings) == [name]
    assert the(findings, name).publish == ""
    assert "include:" in the(findings, name).cure


async def test_an_upstream_in_the_lan_is_not_judged_by_spf(case: Case) -> None:
    """What a relay of one's own delivers by is not known here."""
    case.upstream = replace(case.upstream, provider="generic")
    findings = await case.examined()
    assert (troubles(findings), warned(findings)) == ([], [])
