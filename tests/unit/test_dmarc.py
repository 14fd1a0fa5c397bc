"""Which DMARC record applies to a domain, what it asks for, and which domains are the same to it."""

from collections.abc import Sequence

import pytest

from relay.doctor.dmarc import aligned, find, organisational, read


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("example.jp", "example.jp"),
        ("nas.home.example.jp", "example.jp"),
        ("mail.asahi-net.or.jp", "asahi-net.or.jp"),
        ("a.b.city.example.co.jp", "example.co.jp"),
        ("Mail.Example.COM.", "example.com"),
        ("co.jp", "co.jp"),
        ("www.example.tokyo.jp", "example.tokyo.jp"),
    ],
)
def test_the_organisational_domain(domain: str, organisation: str) -> None:
    """It is the public suffix and one label more; a bare suffix stands for itself."""
    assert organisational(domain) == organisation


@pytest.mark.parametrize(
    ("one", "other", "strict", "same"),
    [
        ("example.jp", "mail.example.jp", False, True),
        ("example.jp", "mail.example.jp", True, False),
        ("EXAMPLE.jp", "example.jp.", True, True),
        ("a.or.jp", "b.or.jp", False, False),
    ],
)
def test_alignment(one: str, other: str, strict: bool, same: bool) -> None:
    """Relaxed: the same organisation.  Strict: the very same domain."""
    assert aligned(one, other, strict=strict) is same


@pytest.mark.parametrize(
    ("record", "policy", "strict", "mistake"),
    [
        ("v=DMARC1; p=reject", "reject", False, ""),
        ("v=DMARC1;p=Quarantine;aspf=s;", "quarantine", True, ""),
        ("v = DMARC1 ; p = none ; rua=mailto:a@b.example", "none", False, ""),
        ("v=DMARC1", "", False, "it says no p="),
        ("v=DMARC1; p=rejekt", "", False, "rejekt"),
        ("v=DMARC1; p=rejekt; rua=mailto:a@b.example", "none", False, "rejekt"),
        ("v=DMARC1; p=none; what", "none", False, "'what' is no tag"),
        ("V=dmarc1; p=none", "", False, "begin"),
    ],
)
def test_reading_a_record(record: str, policy: str, strict: bool, mistake: str) -> None:
    """Policy and alignment are read; what makes a record void is named."""
    found = read("example.jp", ["other", record])
    assert (found.policy, found.strict) == (policy, strict)
    assert mistake in found.mistake
    assert bool(found.mistake) == bool(mistake)


def test_two_records_are_none() -> None:
    """RFC 7489 s6.6.3: with more than one record no policy applies."""
    assert "2 records" in read("example.jp", ["v=DMARC1; p=none", "v=DMARC1; p=reject"]).mistake


async def test_a_subdomain_has_the_policy_of_its_organisation() -> None:
    """Without a record of its own, `sp` of the organisational domain counts, else its `p`."""
    zone = {"_dmarc.example.jp": ["v=DMARC1; p=none; sp=reject"], "_dmarc.example.com": ["v=DMARC1; p=quarantine"]}

    async def lookup(name: str, kind: str) -> Sequence[str]:
        return zone.get(name, [])

    assert (await find("nas.example.jp", lookup)).policy == "reject"
    assert (await find("example.jp", lookup)).policy == "none"
    assert (await find("nas.example.com", lookup)).policy == "quarantine"
    assert (await find("other.example", lookup)).record == ""
