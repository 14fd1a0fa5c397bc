"""Facts become findings: what the world cannot easily be made to do is given here as facts."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from relay.doctor.dkim import DkimFacts
from relay.doctor.dmarc import Dmarc
from relay.doctor.domain import DomainFacts, SendingPath
from relay.doctor.domain_probe import sender_domains
from relay.doctor.finding import NAMES, Finding, Grade, in_words, problem, problems, summary, warning
from relay.doctor.host import HostFacts, ListenerFacts
from relay.doctor.judge import Facts, judge
from relay.doctor.sending_hosts import SendingHosts
from relay.doctor.spf_check import SpfResult
from relay.doctor.spool import DatabaseFacts, SpoolFacts
from relay.doctor.subject import Subject
from relay.doctor.uplink import Listing, UplinkFacts
from relay.doctor.uplink_probe import addresses_in
from relay.doctor.upstream import PortFacts, PortState, ProbeDialog, UpstreamFacts
from relay.doctor.upstream_probe import unfinished
from relay.inbound.admission import Listener
from relay.mail.address import Address
from relay.mail.dkim_record import PublicKey
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.mail.rewrite import Identity, Rewrite
from relay.networks import in_lan
from relay.outbound.replies import RULES
from relay.outbound.routing import Route
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import Auth, DkimKey, Login, Pop, SmtpServer, Tls, TlsMode, Upstream
from tests.support.sending import on_server

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
ISP = Upstream(
    "isp", SmtpServer("mail.isp.example"), identity=Identity(Address("taro", "example.jp"), frozenset({"example.jp"}))
)
SUBJECT = Subject("relay.example.jp", {"isp": ISP}, routes=(Route(via=("isp",)),), source="config.yaml")
HERE = HostFacts(NOW)


def found(facts: Facts, subject: Subject = SUBJECT) -> list[Finding]:
    return [one for one in judge(facts, subject) if one.grade is not Grade.OK]


def names(facts: Facts, subject: Subject = SUBJECT) -> list[tuple[str, str]]:
    return [(one.name, one.grade.value) for one in found(facts, subject)]


def talking(**talk: object) -> Facts:
    return Facts(HERE, upstreams=(UpstreamFacts(ISP, talk=ProbeDialog(**talk), asked_at=NOW),))  # type: ignore[arg-type]


def test_every_finding_has_its_section_on_the_page_and_no_section_is_left_over() -> None:
    """The links of the findings lead somewhere."""
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\S+)\n\n\S", page, re.MULTILINE)
    assert sorted(sections) == sorted(NAMES)
    for link in re.findall(r"\]\(#([a-z0-9-]+)\)", page):
        assert link in NAMES


def test_every_name_is_given_by_the_judges() -> None:
    """No section is about a finding that never comes; `tls-...` may come from the table of replies."""
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "relay" / "doctor").glob("*.py"))
    assert {name for name in NAMES if f'"{name}"' not in sources} <= {rule.name for rule in RULES}


def test_a_finding_without_a_section_is_a_mistake_of_ours() -> None:
    """A new finding is written about before it is used."""
    with pytest.raises(ValueError, match="no section"):
        problem("novelty", "x", "cause", "cure")


def test_nothing_known_nothing_wrong() -> None:
    """Facts without faults give no finding."""
    assert names(Facts(HERE)) == []


DATABASE = DatabaseFacts("postgresql://relay@db.example/relay", "", "16.4", schema=2, newest=2, relays=("a",))
SHARED = SpoolSettings("postgresql://relay@db.example/relay", max_message=1_000_000, keep_free=1_000_000, max_size=9_000_000)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"schema": 0}, []),
        ({"trouble": "connection refused"}, [("spool-away", "problem")]),
        ({"supported": False, "server": "11.2"}, [("spool-version", "problem")]),
        ({"schema": 3}, [("spool-version", "problem")]),
        ({"schema": 1, "may_make": False}, [("spool-schema", "problem")]),
        ({"schema": 1}, []),
        ({"schema": 0, "may_make": False}, [("spool-schema", "problem")]),
        ({"lacking": "GRANT ..."}, [("spool-rights", "problem")]),
        ({"stored": 7_000_000}, [("spool-tight", "warning")]),
        ({"stuck": 3}, [("spool-leases", "warning")]),
        ({"ahead": -3.0}, [("spool-clock", "warning")]),
        ({"ahead": 1.5}, []),
    ],
    ids=str,
)
def test_a_spool_in_a_database_is_judged(changes: dict[str, object], expected: list[tuple[str, str]]) -> None:
    """Reachable, version, tables, rights, room, leases, clock: the first that is in the way is told."""
    facts = Facts(replace(HERE, database=replace(DATABASE, **changes)))  # type: ignore[arg-type]
    assert names(facts, replace(SUBJECT, spool=SHARED)) == expected


def test_a_database_that_is_away_is_milder_with_a_fallback_and_says_what_waits_there() -> None:
    """Mail is taken meanwhile; and a fallback that cannot be written is told by its own name."""
    here = replace(HERE, database=replace(DATABASE, trouble="down", waiting=7), spool=SpoolFacts("/f.db", "read-only"))
    [away, file] = found(Facts(here), replace(SUBJECT, spool=replace(SHARED, fallback="sqlite:/f.db")))
    assert (away.name, away.grade) == ("spool-away", Grade.WARNING)
    assert "7 messages wait in the fallback" in away.evidence
    assert (file.name, file.grade) == ("spool-not-writable", Grade.PROBLEM)
    assert "`spool.fallback`" in file.cure


@pytest.mark.parametrize(
    ("errno", "name"),
    [("EACCES", "port-forbidden"), ("EADDRINUSE", "port-taken"), ("EADDRNOTAVAIL", "listen-address"), ("EMFILE", "listener")],
)
def test_why_a_port_cannot_be_had(errno: str, name: str) -> None:
    """Taken, forbidden and foreign addresses are different cures."""
    facts = Facts(replace(HERE, listeners=(ListenerFacts(Listener(port=25), errno, "no"),)))
    assert names(facts) == [(name, "problem")]


def test_a_port_that_we_have_ourselves_is_fine() -> None:
    """The doctor beside the running relay does not accuse it."""
    facts = Facts(replace(HERE, listeners=(ListenerFacts(Listener(), "EADDRINUSE", "in use", "python3 (pid 7)", ours=True),)))
    assert names(facts) == []


@pytest.mark.parametrize(
    ("spool", "name", "grade"),
    [
        (SpoolFacts("x", free=100_000_000), "spool-full", "problem"),
        (SpoolFacts("x", free=250_000_000), "spool-tight", "warning"),
        (SpoolFacts("x", free=10**12, slow=2.5), "spool-slow", "warning"),
        (SpoolFacts("x", trouble="read-only"), "spool-not-writable", "problem"),
        (SpoolFacts("x", alien="no database"), "spool-alien", "problem"),
        (SpoolFacts("x", free=10**12, damage="Page 7: never used"), "spool-damaged", "problem"),
        (SpoolFacts("x", free=10**12, content_lost=("a" * 14,)), "spool-content", "problem"),
        (SpoolFacts("x", free=10**12, content_unknown=("7.eml",)), "spool-content", "warning"),
        (SpoolFacts("x", trouble="no answer", hangs=True), "spool-not-writable", "problem"),
        (SpoolFacts("x", trouble="permission denied", owner="relay"), "other-user", "warning"),
    ],
)
def test_the_spool(spool: SpoolFacts, name: str, grade: str) -> None:
    """Room is judged against what the settings keep free and what one message may take."""
    assert names(Facts(replace(HERE, spool=spool))) == [(name, grade)]


@pytest.mark.parametrize(("nameservers", "expected"), [((), ["resolver"]), (("192.0.2.1",), ["upstream-name", "resolver"])])
def test_a_dead_system_resolver_is_one_fault(nameservers: tuple[str, ...], expected: list[str]) -> None:
    """Where upstreams are looked up by the same resolver, their names are not blamed too."""
    unknown = UpstreamFacts(ISP, name_trouble="the name mail.isp.example cannot be looked up")
    facts = Facts(HERE, resolver="no answer", upstreams=(unknown,))
    subject = replace(SUBJECT, nameservers=nameservers)
    assert [name for name, _ in names(facts, subject)] == expected
    assert "mail.isp.example" in found(facts, subject)[0].cause  # a person wants mail to leave; SPF comes later


def test_a_dead_resolver_speaks_of_the_upstreams_first() -> None:
    """By name and host, all of them; where none is, of the kind."""
    named = replace(ISP, name="gmail", transport=SmtpServer("smtp.gmail.example"))
    both = tuple(UpstreamFacts(one, name_trouble="no answer") for one in (ISP, named))
    (told,) = found(Facts(HERE, resolver="no answer", upstreams=both))
    assert told.cause.startswith("Mail by isp (mail.isp.example), gmail (smtp.gmail.example) waits")
    (told,) = found(Facts(HERE, resolver="no answer"))
    assert told.cause.startswith("Mail by any upstream that is named by host waits")
    assert told.evidence == ("no answer",)
    straight = replace(SUBJECT, routes=(Route(via=("mx", "isp")),))
    (told,) = found(Facts(HERE, resolver="no answer", upstreams=both), straight)
    assert told.cause.startswith("Mail by isp (mail.isp.example), gmail (smtp.gmail.example), mx waits")
    (told,) = found(Facts(HERE, resolver="no answer"), replace(straight, nameservers=("192.0.2.1",)))
    assert "mail by mx cannot be delivered" in told.cause


def test_a_dead_resolver_is_a_warning_where_upstreams_are_found() -> None:
    """Mail goes out; with `mx`, or with one upstream that is not found, it does not."""
    there, lost = UpstreamFacts(ISP, addresses=("192.0.2.25",)), UpstreamFacts(ISP, name_trouble="no answer")
    for facts in (Facts(HERE, "no answer", upstreams=(there,)), Facts(HERE, "no answer", named=True)):
        for subject in (SUBJECT, replace(SUBJECT, nameservers=("192.0.2.1",))):
            assert ("resolver-records", "warning") in names(facts, subject)
        straight = replace(SUBJECT, routes=(Route(via=("mx",)),))
        assert ("resolver", "problem") in names(facts, straight)
    assert ("resolver", "problem") in names(Facts(HERE, "no answer", upstreams=(there, lost)))


def test_a_dead_resolver_says_that_no_record_was_looked_at() -> None:
    """A key is there and nothing is said of its record: that must not look as if all were well."""
    key = DkimKey("own.example", "relay", "own.pem")
    facts = DkimFacts(key, PublicKey("rsa", 2048, (), b""), trouble="no answer")
    (told,) = found(Facts(HERE, resolver="no answer", dkim=(facts,)), replace(SUBJECT, dkim=(key,)))
    assert (told.name, "DKIM" in told.evidence[-1]) == ("resolver", True)


def test_mail_that_nobody_signs_is_told_without_the_dns() -> None:
    """What the settings say needs no answer from anybody."""
    facts = Facts(HERE, direct=("own.example", "second.example"))
    key = DkimKey("own.example", "relay", "own.pem")
    told = found(facts, replace(SUBJECT, dkim=(key, DkimKey("second.example", "relay", "x", via=("isp",)))))
    assert [(one.name, one.about) for one in told] == [("dkim-none", "second.example")]


def test_a_conversation_that_takes_too_long() -> None:
    """The server is slow, and mail may go: no problem, and not the same as one that does not greet."""
    late = Answer(Stage.CONNECT, Reply(421, "4.4.2", "no end in time"), lost=True)
    assert names(talking(failed=late, slow=True)) == [("upstream-slow", "warning")]
    assert names(talking(failed=late)) == [("upstream-mute", "problem")]


BANNER = "mx.example ESMTP ready at Sun, 22 Nov 2026 {}:00 +0000"


@pytest.mark.parametrize(
    ("banners", "wrong"),
    [
        (["12:01"], False),
        (["12:04"], False),
        (["12:09"], True),
        (["09:00", "12:00"], False),
        (["09:00", "08:59"], True),
        ([], False),
    ],
)
def test_one_wrong_clock_elsewhere_does_not_accuse_ours(banners: list[str], wrong: bool) -> None:
    """The clock that is closest to ours counts."""
    talks = [ProbeDialog(banner=BANNER.format(time)) for time in banners]
    facts = Facts(HERE, upstreams=tuple(UpstreamFacts(ISP, talk=talk) for talk in talks))
    assert names(facts) == ([("clock", "problem")] if wrong else [])


def test_an_expired_certificate_with_a_wrong_clock_is_the_clocks_fault() -> None:
    """One cause, one problem."""
    words = Reply(454, "4.7.5", "the certificate of mail.isp.example expired on 2027-01-01")
    expired = Answer(Stage.TLS, words, lost=True, fault=Fault.TLS_EXPIRED)
    facts = Facts(HERE, upstreams=(UpstreamFacts(ISP, talk=ProbeDialog(failed=expired, banner=BANNER.format("03:00"))),))
    assert names(facts) == [("clock", "problem")]


@pytest.mark.parametrize(
    ("upstream", "peer", "mechanism", "expected"),
    [
        (on_server(ISP, tls=Tls(TlsMode.NONE)), "198.41.0.4:587", "PLAIN", "tls-none"),
        (on_server(ISP, tls=Tls(TlsMode.NONE)), "198.41.0.4:587", "CRAM-MD5", ""),
        (on_server(ISP, tls=Tls(TlsMode.NONE)), "192.168.0.3:25", "PLAIN", ""),
        (on_server(ISP, tls=Tls(verify=False)), "[2001:500:2::c]:587", "PLAIN", "tls-unverified"),
        (on_server(ISP, tls=Tls(verify=False)), "192.168.0.3:587", "PLAIN", ""),
    ],
)
def test_what_others_could_read(upstream: Upstream, peer: str, mechanism: str, expected: str) -> None:
    """A password in clear, or to whoever says he is the server, is a warning on the internet and none in the LAN."""
    facts = Facts(HERE, upstreams=(UpstreamFacts(upstream, talk=ProbeDialog(peer=peer, mechanism=mechanism)),))
    assert names(facts, replace(SUBJECT, upstreams={"isp": upstream})) == ([(expected, "warning")] if expected else [])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (Answer(Stage.AUTH, Reply(421, "4.4.2", "the server closed the connection"), lost=True), "login-lost"),
        (Answer(Stage.TLS, Reply(454, "4.7.5", "the TLS handshake with x failed: odd"), lost=True), "tls"),
        (Answer(Stage.TLS, Reply(454, "4.7.5", "no TLS version in common"), lost=True, fault=Fault.TLS_OLD), "tls-old"),
    ],
)
def test_rare_ends_of_a_conversation(answer: Answer, name: str) -> None:
    """Each stage has its finding."""
    assert names(talking(failed=answer)) == [(name, "problem")]


def test_no_oauth_token() -> None:
    """The cure is the consent."""
    from relay.upstream.settings import OAuth

    m365 = on_server(ISP, login=Login(Auth.AUTO, "a@b.example", oauth=OAuth("microsoft")))
    refusal = Answer(Stage.AUTH, Reply(535, "5.7.8", "there is no consent yet; run `relay oauth login isp`"))
    facts = Facts(HERE, upstreams=(UpstreamFacts(m365, talk=ProbeDialog(failed=refusal)),))
    [one] = found(facts, replace(SUBJECT, upstreams={"isp": m365}))
    assert one.name == "login-oauth"
    assert "relay oauth login isp" in one.cure


def test_a_repeated_refusal_says_that_it_was_not_tried_again() -> None:
    """The second upstream of the same account shows the first one's answer."""
    refusal = Answer(Stage.AUTH, Reply(535, "5.7.8", "no"))
    [one] = found(talking(failed=refusal, repeated=True))
    assert "not tried again" in " ".join(one.evidence)


def test_ipv6_that_leads_nowhere() -> None:
    """It works, slowly: a warning."""
    facts = Facts(HERE, upstreams=(UpstreamFacts(ISP, mute_v6=True, talk=ProbeDialog()),))
    assert names(facts) == [("ipv6-mute", "warning")]


def test_a_long_pop_window() -> None:
    """Hosts keep the door open for 10 to 30 minutes; who counts on hours will be refused."""
    pop = on_server(ISP, login=Login(Auth.POP, "me", pop=Pop("s1.host.example", window=timedelta(hours=3))))
    facts = Facts(HERE, upstreams=(UpstreamFacts(pop, talk=ProbeDialog()),))
    assert names(facts, replace(SUBJECT, upstreams={"isp": pop})) == [("pop-window", "warning")]


def test_an_examination_that_was_broken_off() -> None:
    """What took too long is told as silence."""
    assert names(Facts(HERE, upstreams=(unfinished(ISP, 12),))) == [("upstream-mute", "problem")]


# --- domains

OUTGOING = SendingHosts("include:_spf.isp.example", "_spf.isp.example", (ip_network("198.41.0.0/24"),))


def with_way(result: str, **changes: object) -> Facts:
    way = SendingPath("example.jp", "isp", OUTGOING, SpfResult(result, "because"))
    domain = DomainFacts("example.jp", mx=("mx.example.jp",), has_address=True, dmarc=Dmarc())
    return Facts(HERE, domains=(domain,), ways=(replace(way, **changes),))  # type: ignore[arg-type]


def test_spf_that_cannot_be_told() -> None:
    """Trouble in the DNS is no verdict."""
    assert names(with_way("temperror")) == [("spf-unknown", "warning")]


SIGNING = PublicKey("ed25519", 256, (b"x" * 32,), b"x" * 32)


@pytest.mark.parametrize(
    ("key", "record", "grade"),
    [
        (DkimKey("example.jp", "relay", "k.pem", via=("isp",)), SIGNING.record, "warning"),
        (DkimKey("example.jp", "relay", "k.pem"), SIGNING.record, "problem"),
        (DkimKey("other.jp", "relay", "k.pem", via=("isp",)), SIGNING.record, "problem"),
        (DkimKey("example.jp", "relay", "k.pem", via=("isp",)), SIGNING.record + "; t=y", "problem"),
        (DkimKey("example.jp", "relay", "k.pem", via=("isp",)), "v=DKIM1; p=", "problem"),
    ],
)
def test_spf_is_no_problem_where_dkim_makes_up_for_it(key: DkimKey, record: str, grade: str) -> None:
    """The same domain, the same way, and a record by which receivers can check the signature."""
    signed = DkimFacts(key, SIGNING, records=(record,))
    facts = replace(with_way("fail", theirs="its owner"), dkim=(signed,))
    [spf] = [one for one in found(facts) if one.name == "spf-foreign"]
    assert spf.grade.value == grade
    assert ("signed by DKIM as example.jp" in spf.evidence[-1]) == (grade == "warning")


def test_dkim_makes_up_for_spf_on_the_way_to_mx_too() -> None:
    """Those ways are among the facts of the line."""
    way = SendingPath("example.jp", "mx", OUTGOING, SpfResult("fail", "because"), theirs="its owner")
    facts = replace(with_way("pass"), ways=(), uplink=replace(line(), ways=(way,)))
    straight = replace(SUBJECT, routes=(Route(via=("mx",)),))
    signed = DkimFacts(DkimKey("example.jp", "relay", "k.pem"), SIGNING, records=(SIGNING.record,))
    assert ("spf-foreign", "problem") in names(facts, straight)
    assert ("spf-foreign", "warning") in names(replace(facts, dkim=(signed,)), straight)


def test_an_upstream_whose_addresses_nobody_knows() -> None:
    """Nothing is claimed; the provider has to be asked."""
    assert names(with_way("pass", outgoing=SendingHosts("a:x.example"))) == [("spf-unverifiable", "warning")]


def test_an_upstream_in_the_lan() -> None:
    """What it delivers by is not known here, and is its own business."""
    lan = SendingHosts("a:mail.lan.example", "", (ip_network("192.168.0.2/32"),))
    assert names(with_way("fail", outgoing=lan)) == []


def test_no_record_that_would_do() -> None:
    """Then the limit is told, and what to do."""
    assert names(with_way("permerror")) == [("spf-too-long", "problem")]


def test_a_providers_own_domain_is_its_own_business() -> None:
    """Nobody can publish anything at gmail.com."""
    gmail = replace(ISP, name="isp", provider="gmail")
    assert names(with_way("softfail", theirs="Gmail"), replace(SUBJECT, upstreams={"isp": gmail})) == []
    assert names(with_way("softfail", theirs="Gmail")) == [("spf-foreign", "problem")]


@pytest.mark.parametrize(
    ("identity", "routes", "expected"),
    [
        (Identity(Address("a", "Example.JP"), frozenset({"example.jp", "other.jp"})), (), ("example.jp", "other.jp")),
        (Identity(Address("a", "nas.local"), frozenset()), (), ()),
        (Identity(), (Route(via=("isp",), sender=("*@office.example",)),), ("office.example",)),
        (
            Identity(Address("a", "a.jp"), rewrite=Rewrite.NEVER),
            (Route(via=("mx", "isp"), sender=("*@b.jp", "*@*.c.jp", "<>")), Route(via=("mx",), sender=("*@d.jp",))),
            ("a.jp", "b.jp"),
        ),
    ],
)
def test_which_domains_mail_leaves_in(identity: Identity, routes: tuple[Route, ...], expected: tuple[str, ...]) -> None:
    """The account's own, those that may stay as they are, and without rewriting those that the routes let by."""
    upstream = replace(ISP, identity=identity)
    assert sender_domains(upstream, replace(SUBJECT, routes=routes)) == expected


# --- the line

OPEN = {"mx.example": PortFacts(25, PortState.OPEN)}


def line(**changes: object) -> UplinkFacts:
    plain = UplinkFacts(
        OPEN, ("198.41.0.9",), (Listing("198.41.0.9"),), {"198.41.0.9": ("h.example",)}, frozenset({"h.example"})
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "name", "grade"),
    [
        ({"targets": {}}, "port-25-unknown", "warning"),
        ({"public": (), "listings": (), "reverse": {}}, "public-address", "warning"),
        ({"targets": {"mx.example": PortFacts(25, PortState.SILENT)}}, "port-25", "problem"),
        ({"listings": (Listing("198.41.0.9", ("127.0.0.11",)),)}, "pbl", "problem"),
        ({"listings": (Listing("198.41.0.9", ("127.0.0.2",)),)}, "block-list", "problem"),
        ({"listings": (Listing("198.41.0.9", ("127.255.255.255",)),)}, "block-list-refused", "warning"),
        ({"listings": (Listing("198.41.0.9", ("127.255.255.252",)),)}, "block-list-refused", "warning"),
        ({"listings": (Listing("198.41.0.9", trouble="no answer"),)}, "block-list-unknown", "warning"),
        ({"reverse": {"198.41.0.9": ()}}, "reverse-dns", "problem"),
        ({"forward": frozenset()}, "reverse-dns", "problem"),
    ],
)
def test_the_line_as_others_see_it(changes: dict[str, object], name: str, grade: str) -> None:
    """Each fault of a line has its name; behind `mx` another upstream makes it a warning, since mail goes all the same."""
    facts = Facts(HERE, uplink=line(**changes))
    alone = replace(SUBJECT, routes=(Route(via=("mx",)),))
    behind = replace(SUBJECT, routes=(Route(via=("mx", "isp")),))
    assert names(facts, alone) == [(name, grade)]
    assert names(facts, behind) == [(name, "warning")]


def test_a_trusted_nameserver_that_does_not_validate() -> None:
    """Who names one wants DANE; without that it is no fault, and where it works the doctor says so."""
    direct = replace(SUBJECT, routes=(Route(via=("mx",)),))
    trusting = replace(direct, trusted_nameservers=("192.168.0.1",))
    assert names(Facts(HERE, uplink=line()), trusting) == [("dane", "warning")]
    assert "dane" not in dict(names(Facts(HERE, resolver="no answer", uplink=line()), trusting))  # the same resolver again
    assert names(Facts(HERE, uplink=line(dnssec=True)), trusting) == []
    fine = [one.cause for one in judge(Facts(HERE, uplink=line(dnssec=True)), direct) if one.name == "dane"]
    assert fine == ["the nameserver validates DNSSEC, so certificates named by the DNS (DANE) are demanded"]


def test_a_sound_line() -> None:
    """Open, not listed, named."""
    assert names(Facts(HERE, uplink=line()), replace(SUBJECT, routes=(Route(via=("mx",)),))) == []


@pytest.mark.parametrize(
    ("hello", "expected"),
    [
        ("mx.google.com at your service, [198.41.0.4]\nSIZE 1", ["198.41.0.4"]),
        ("exim.example Hello relay.lan [192.168.0.5]", []),
        ("outlook Hello [2001:500:2::c]", ["2001:500:2::c"]),
        ("x Hello [IPv6:2001:500:2::c] (999.1.2.3)", ["2001:500:2::c"]),
        ("upstream.test", []),
    ],
)
def test_our_address_in_the_words_of_others(hello: str, expected: list[str]) -> None:
    """Only public addresses in brackets count."""
    assert addresses_in(hello) == expected
    assert not any(in_lan(ip_address(one)) for one in addresses_in(hello))


# --- words


def test_words_for_people() -> None:
    """What is fine takes a line; a problem has evidence, cure, record and link; colours only where they are wanted."""
    one = problem("spf-fail", "example.jp by isp", "It is forbidden.", "Publish this.", "SPF says fail", publish="x. TXT y")
    plain = in_words(one)
    assert plain[0] == "problem  example.jp by isp: It is forbidden."
    assert [line.split(":")[0].strip() for line in plain if ":" in line][1:] == ["seen", "cure", "more"]
    assert plain[-1].endswith("docs/findings.md#spf-fail")
    assert any(line.strip() == "x. TXT y" for line in plain)
    assert "\x1b" not in "".join(plain)
    assert "\x1b[1;31mproblem\x1b[0m  example.jp" in in_words(one, colour=True)[0]
    assert len(in_words(Finding("clock", Grade.OK, "now", "set", evidence=("x",)))) == 1


def test_the_summary_counts() -> None:
    """One line for the end."""
    bad, soso = problem("clock", "a", "b", "c"), warning("nat", "a", "b", "c")
    assert summary([bad, bad, soso]) == "2 problems and 1 warning"
    assert summary([soso]) == "1 warning"
    assert summary([Finding("clock", Grade.OK, "a", "b")]) == "no problem found (1 check made)"
    assert problems([bad, soso]) == [bad]
