"""Where an upstream delivers from: what is certain, what is likely, and what nobody can know but its provider."""

from collections.abc import Mapping, Sequence

import pytest

from relay.doctor import domain_probe
from relay.doctor.domain import DomainFacts, judge_domains
from relay.doctor.finding import Finding, Grade
from relay.doctor.host import HostFacts
from relay.doctor.judge import Facts
from relay.doctor.sending_hosts import Evidence, learn
from relay.doctor.spf_check import LookupFailed
from relay.doctor.subject import Subject
from relay.mail.address import Address
from relay.mail.rewrite import Identity
from relay.upstream.oauth.authorities import AUTHORITIES
from relay.upstream.provider import Preset
from relay.upstream.provider_rows import PRESETS
from relay.upstream.settings import SmtpServer, Upstream
from tests.support.doctor import NOW

Zone = Mapping[str, Mapping[str, Sequence[str]]]
CERTAIN, LIKELY, UNKNOWN = Evidence.CERTAIN, Evidence.LIKELY, Evidence.UNKNOWN


class Records:
    """A look-up in a table; what is not there is not there."""

    def __init__(self, zone: Zone, failing: Sequence[str] = ()) -> None:
        self.zone, self.failing = zone, failing

    async def __call__(self, name: str, kind: str) -> Sequence[str]:
        if name in self.failing:
            raise LookupFailed(f"the DNS failed on {name}")
        return self.zone.get(name.lower().rstrip("."), {}).get(kind, [])


HOST = {"smtp.isp.ne.jp": {"A": ["198.41.0.5"]}}
OWN = "v=spf1 ip4:198.41.0.0/24 -all"


@pytest.mark.parametrize(
    ("zone", "evidence", "term"),
    [
        ({}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": [OWN]}}, LIKELY, "include:isp.ne.jp"),
        ({"smtp.isp.ne.jp": {"A": ["198.41.0.5"], "TXT": ["v=spf1 a -all"]}}, LIKELY, "include:smtp.isp.ne.jp"),
        (
            {"isp.ne.jp": {"TXT": ["v=spf1 redirect=_spf.isp.ne.jp"]}, "_spf.isp.ne.jp": {"TXT": [OWN]}},
            LIKELY,
            "include:isp.ne.jp",
        ),
        # one of another firm in it: whoever includes that lets the firm's other customers send in his name
        ({"isp.ne.jp": {"TXT": ["v=spf1 ip4:198.41.0.0/24 include:servers.news.example ~all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": ["v=spf1 include:_spf.google.com ~all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": ["v=spf1 redirect=spf.other.example"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        # the foreign one stands further down
        (
            {
                "isp.ne.jp": {"TXT": ["v=spf1 include:all.isp.ne.jp -all"]},
                "all.isp.ne.jp": {"TXT": ["v=spf1 ip4:198.41.0.0/24 include:servers.news.example -all"]},
            },
            UNKNOWN,
            "a:smtp.isp.ne.jp",
        ),
        # among others its own set of senders: that alone is meant
        (
            {
                "isp.ne.jp": {"TXT": ["v=spf1 include:_spf.isp.ne.jp include:_spf.google.com ~all"]},
                "_spf.isp.ne.jp": {"TXT": [OWN]},
            },
            LIKELY,
            "include:_spf.isp.ne.jp",
        ),
        # an own set beside it that the host is not in: for what that is, is not known
        (
            {
                "isp.ne.jp": {"TXT": ["v=spf1 include:_shop.isp.ne.jp include:_spf.google.com ~all"]},
                "_shop.isp.ne.jp": {"TXT": ["v=spf1 ip4:198.42.0.0/24 -all"]},
            },
            UNKNOWN,
            "a:smtp.isp.ne.jp",
        ),
        ({"isp.ne.jp": {"TXT": ["v=spf1 +all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": ["v=spf1 ip4:128.0.0.0/1 -all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": ["v=spf1 exists:%{i}._spf.isp.ne.jp -all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": ["v=spf1 ptr -all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
        ({"isp.ne.jp": {"TXT": [OWN, "v=spf1 mx -all"]}}, UNKNOWN, "a:smtp.isp.ne.jp"),
    ],
)
async def test_what_the_host_publishes(zone: Zone, evidence: Evidence, term: str) -> None:
    """Likely is what its owner publishes with nobody but itself in it; anything wider is not used, and told."""
    found = await learn("generic", "smtp.isp.ne.jp", Records({**HOST, **zone}), domain="example.jp")
    assert (found.evidence, found.term) == (evidence, term)
    names_others = any("include:" in text or "redirect=" in text for one in zone.values() for text in one.get("TXT", []))
    if evidence is UNKNOWN and names_others:
        assert "is for other mail too" in found.doubts[0]


async def test_the_senders_own_record_is_no_evidence() -> None:
    """Whose record is to be judged cannot say what is right: the own server counts as itself, if it takes the mail too."""
    zone = {
        "mail.example.jp": {"A": ["198.41.0.5"]},
        "example.jp": {"TXT": ["v=spf1 ip4:198.42.0.1 -all"], "MX": ["mail.example.jp"]},
    }
    found = await learn("generic", "mail.example.jp", Records(zone), domain="example.jp")
    assert (found.evidence, found.term, found.include) == (LIKELY, "a:mail.example.jp", "")


@pytest.mark.parametrize(
    ("provider", "host", "evidence"),
    [
        ("asahi-net", "mail.asahi-net.or.jp", CERTAIN),
        ("generic", "mail.asahi-net.or.jp", CERTAIN),  # the host is known, though the provider was not named
        ("asahi-net", "127.0.0.1", CERTAIN),
        ("asahi-net", "relay.other.example", UNKNOWN),  # another owner's host is not the provider's
    ],
)
async def test_a_providers_include_is_for_its_own_hosts(provider: str, host: str, evidence: Evidence) -> None:
    """What is certain is that the provider asks for it, for what its own hosts deliver."""
    zone = {"spf-01.asahi-net.or.jp": {"TXT": ["v=spf1 ip4:202.224.39.192/27"]}, "relay.other.example": {"A": ["198.41.0.5"]}}
    assert (await learn(provider, host, Records(zone), domain="example.jp")).evidence is evidence


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
async def test_the_doctor_knows_every_row(preset: Preset) -> None:
    """Each row tells what SPF is asked of, or says that nobody has found out; what it tells is what the doctor goes by."""
    assert preset.spf or preset.own_path or preset.one_machine or "spf" in preset.doubts
    assert not preset.oauth or preset.oauth in AUTHORITIES
    if preset.spf:
        zone = {preset.spf: {"TXT": ["v=spf1 ip4:198.51.100.0/24 ~all"]}}
        found = await learn(preset.key, preset.host or "s1.hosting.example", Records(zone), domain="example.jp")
        assert (found.evidence, found.include) == (CERTAIN, preset.spf)


# --- what is said about it

ISP = Upstream("isp", SmtpServer("smtp.isp.ne.jp"), identity=Identity(Address("me", "example.jp"), frozenset({"example.jp"})))
WIDE = {"isp.ne.jp": {"TXT": ["v=spf1 ip4:198.41.0.0/24 include:servers.news.example ~all"]}}
NEWS = {"servers.news.example": {"TXT": ["v=spf1 ip4:198.43.0.0/16 -all"]}}


async def judged(zone: Zone, upstream: Upstream = ISP, domain: str = "example.jp") -> Finding:
    """The one finding on SPF for mail of the domain by the upstream."""
    found = await domain_probe.way(domain, upstream, Records({**HOST, **zone}))
    facts = Facts(HostFacts(NOW), domains=(DomainFacts(domain, mx=("x",)),), ways=(found,))
    about = f"{domain} by {upstream.name}"
    [one] = [
        one
        for one in judge_domains(facts.domains, facts.ways, (), Subject("relay.test", {upstream.name: upstream}))
        if one.about == about
    ]
    return one


async def test_where_only_the_provider_knows_he_is_to_be_asked() -> None:
    """A wide record is never printed as a cure: the question to the provider is, word by word."""
    one = await judged({**WIDE, **NEWS, "example.jp": {"TXT": ["v=spf1 -all"]}})
    assert (one.name, one.grade, one.publish) == ("spf-unverifiable", Grade.WARNING, "")
    assert "Which include: belongs in the SPF record of my domain example.jp" in one.cure
    assert "include:servers.news.example" in " ".join(one.evidence)


@pytest.mark.parametrize(("records", "name"), [([], "spf-none"), (["v=spf1 mx mx:"], "spf-broken")])
async def test_what_is_wrong_by_any_upstream_is_a_problem_still(records: list[str], name: str) -> None:
    """No record, or a broken one, is so for everybody; which include to put in is asked for, not made up."""
    one = await judged({**WIDE, **NEWS, "example.jp": {"TXT": records}})
    assert (one.name, one.grade, one.publish) == (name, Grade.PROBLEM, "")
    assert "Ask the provider of smtp.isp.ne.jp" in one.cure


@pytest.mark.parametrize(
    ("record", "grade", "name"),
    [("v=spf1 -all", Grade.WARNING, "spf-fail"), ("v=spf1 ~all", Grade.WARNING, "spf-weak"), ("", Grade.PROBLEM, "spf-none")],
)
async def test_what_is_likely_is_said_to_be_so(record: str, grade: Grade, name: str) -> None:
    """The record is printed, with the words that it is likely and whom to ask."""
    one = await judged({"isp.ne.jp": {"TXT": [OWN]}, "example.jp": {"TXT": [record] if record else []}})
    assert (one.name, one.grade) == (name, grade)
    assert "include:isp.ne.jp is likely" in one.cure
    assert "not certain" in one.cure
    assert "include:isp.ne.jp" in one.publish


@pytest.mark.parametrize("term", ["include:customers.isp.ne.jp", "a:out.isp.ne.jp", "redirect=customers.isp.ne.jp"])
async def test_what_somebody_put_there_who_knew_is_right(term: str) -> None:
    """The provider's help page named another include than we would guess: then the record is as it should be."""
    zone = {
        "isp.ne.jp": {"TXT": [OWN]},
        "customers.isp.ne.jp": {"TXT": ["v=spf1 ip4:198.44.0.0/24 ~all"]},
        "out.isp.ne.jp": {"A": ["198.44.0.1"]},
        "example.jp": {"TXT": [f"v=spf1 {term}"]},
    }
    one = await judged(zone)
    assert one.grade is Grade.OK, one
    assert f"'{term}' names the upstream's domain" in one.cause


async def test_a_customer_who_writes_as_the_isps_own_domain() -> None:
    """taro@isp.ne.jp by smtp.isp.ne.jp: the ISP answers for its record, whichever machine takes the mail in."""
    upstream = Upstream("isp", SmtpServer("smtp.isp.ne.jp"), identity=Identity(Address("taro", "isp.ne.jp")))
    zone = {
        "isp.ne.jp": {"TXT": ["v=spf1 ip4:198.99.0.0/24 -all"], "MX": ["mx.isp.ne.jp"]},
        "mx.isp.ne.jp": {"A": ["198.98.0.1"]},
    }
    assert (await judged(zone, upstream, "isp.ne.jp")).grade is Grade.OK


@pytest.mark.parametrize("provider", [preset.key for preset in PRESETS if preset.own_path])
async def test_services_with_a_reverse_path_of_their_own(provider: str) -> None:
    """SPF is asked of their domain, not of the sender's: a record without them is no fault."""
    upstream = Upstream("svc", SmtpServer("smtp.isp.ne.jp"), identity=Identity(Address("me", "example.jp")), provider=provider)
    one = await judged({"example.jp": {"TXT": ["v=spf1 -all"]}}, upstream)
    assert one.grade is Grade.OK
    assert "DKIM" in one.cause


@pytest.mark.parametrize("domain", ["gmail.com", "hotmail.co.uk", "yahoo.fr", "docomo.ne.jp"])
async def test_nobody_publishes_records_for_a_service_for_everybody(domain: str) -> None:
    """There the cure is another sender or another way, never a record."""
    upstream = Upstream("isp", SmtpServer("smtp.isp.ne.jp"), identity=Identity(Address("taro", domain)))
    one = await judged({"isp.ne.jp": {"TXT": [OWN]}, domain: {"TXT": ["v=spf1 -all"]}}, upstream, domain)
    assert (one.name, one.publish) == ("spf-foreign", "")


async def test_a_dns_that_fails_is_no_verdict() -> None:
    """Trouble on the host's own record says nothing about the sender's."""
    found = await domain_probe.way("example.jp", ISP, Records(HOST, failing=["isp.ne.jp"]))
    assert found.outcome.result == "temperror"
