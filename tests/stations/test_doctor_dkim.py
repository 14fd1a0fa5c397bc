"""The doctor holds the DNS against the key: each fault of a DKIM record is named, with the record to publish."""

import base64
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.doctor.finding import Finding, Grade
from relay.outbound.dkim_keys import ready
from relay.upstream.settings import DkimAlgorithm, DkimKey
from tests.support.dkim import key_for, published, quoted
from tests.support.doctor import KEY, PUBLIC, Case

NAME = "relay._domainkey.direct.jp"
RECORD = published(KEY)[NAME]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def wrong(findings: list[Finding]) -> list[Finding]:
    return [one for one in findings if one.grade is not Grade.OK]


def record(*texts: str) -> Callable[[Case], None]:
    def do(case: Case) -> None:
        case.zone[NAME] = {"TXT": [quoted(text) for text in texts]} if texts else {}

    return do


OTHER = ready(key_for("direct.jp", DkimAlgorithm.ED25519)).record

RECORDS: list[tuple[str, Callable[[Case], None], str, Grade, str]] = [
    ("it is not there", record(), "dkim-missing", Grade.PROBLEM, "not published"),
    ("the name is not there", lambda case: case.zone.pop(NAME) and None, "dkim-missing", Grade.PROBLEM, "not published"),
    ("there are two", record(RECORD, OTHER), "dkim-several", Grade.PROBLEM, "2 records"),
    ("revoked", record("v=DKIM1; p="), "dkim-revoked", Grade.PROBLEM, "revoked"),
    ("another key", record(OTHER), "dkim-other-key", Grade.PROBLEM, "another key"),
    ("cut off at 255", record(RECORD[:255]), "dkim-broken", Grade.PROBLEM, f"255 of {len(RECORD)} characters"),
    ("quotation marks in it", record('v=DKIM1; k=rsa; p=\\"' + RECORD[18:]), "dkim-broken", Grade.PROBLEM, "base64"),
    ("no p", record("v=DKIM1; k=rsa"), "dkim-broken", Grade.PROBLEM, "no p="),
    ("another record", record("v=spf1 -all"), "dkim-broken", Grade.PROBLEM, "v=spf1"),
    ("v is not first", record(RECORD.removeprefix("v=DKIM1; ") + "; v=DKIM1"), "dkim-broken", Grade.PROBLEM, "must come first"),
    ("of another kind", record(RECORD.replace("k=rsa", "k=ed25519")), "dkim-broken", Grade.PROBLEM, "p= cannot be read"),
    ("for SHA-1 alone", record(RECORD.replace("k=rsa", "h=sha1; k=rsa")), "dkim-broken", Grade.PROBLEM, "h=sha1"),
    ("not for mail", record(RECORD.replace("k=rsa", "s=tlsrpt; k=rsa")), "dkim-broken", Grade.PROBLEM, "s=tlsrpt"),
    ("twice the same tag", record(RECORD + "; k=rsa"), "dkim-broken", Grade.PROBLEM, "k= stands there twice"),
    ("a test", record(RECORD.replace("k=rsa", "t=s:y; k=rsa")), "dkim-testing", Grade.WARNING, "t=y"),
    ("the DNS fails", lambda case: case.failing.add(NAME), "dkim-unknown", Grade.WARNING, "not known"),
]


@pytest.mark.parametrize(("break_it", "name", "grade", "words"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS])
async def test_each_fault_of_a_record(
    case: Case, break_it: Callable[[Case], None], name: str, grade: Grade, words: str
) -> None:
    """One fault, one finding, and the right record to copy wherever another one should be there."""
    break_it(case)
    (found,) = wrong(await case.examined())
    assert (found.name, found.grade, found.about) == (name, grade, NAME)
    assert words in " ".join((found.cause, found.cure))
    if name != "dkim-unknown":
        assert found.publish.replace('" "', "") == f'{NAME}. TXT "{RECORD}"'


@pytest.mark.parametrize(
    "written",
    [
        RECORD.replace("v=DKIM1; k=rsa; ", ""),
        RECORD.replace("; ", ";") + ";",
        RECORD.replace("v=DKIM1; ", "v=DKIM1;  n=made by me; s=email:*; h=sha1:sha256; t=s; "),
        RECORD[:100] + " " + RECORD[100:],
    ],
    ids=["the least", "tight", "with all tags", "with a blank in the key"],
)
async def test_a_record_may_be_written_in_other_ways(case: Case, written: str) -> None:
    """What is the same to a receiver is fine."""
    record(written)(case)
    assert wrong(await case.examined()) == []


async def test_the_same_key_in_its_bare_form_is_the_same(case: Case) -> None:
    """RFC 6376 speaks of an RSAPublicKey, all the world publishes a SubjectPublicKeyInfo: both are the key."""
    command = ["openssl", "rsa", "-in", KEY.key_file, "-RSAPublicKey_out", "-outform", "DER"]
    der = subprocess.run(command, check=True, capture_output=True).stdout
    record(f"v=DKIM1; p={base64.b64encode(der).decode()}")(case)
    assert wrong(await case.examined()) == []


async def test_a_key_that_is_not_made_yet(case: Case, tmp_path: Path) -> None:
    """The doctor makes no key: it says what does."""
    key = DkimKey("direct.jp", "relay", str(tmp_path / "none.pem"))
    case.subject = replace(case.subject, dkim=(key,))
    (found,) = wrong(await case.examined())
    assert (found.name, found.grade) == ("dkim-key", Grade.WARNING)
    assert "relay dkim direct.jp" in found.cure
    assert not (tmp_path / "none.pem").exists()


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"], ids=["empty", "broken"]
)
async def test_a_key_that_cannot_be_used(case: Case, tmp_path: Path, content: bytes) -> None:
    """Its file is named, and that mail waits."""
    (tmp_path / "bad.pem").write_bytes(content)
    case.subject = replace(case.subject, dkim=(DkimKey("direct.jp", "relay", str(tmp_path / "bad.pem")),))
    (found,) = wrong(await case.examined())
    assert (found.name, found.grade) == ("dkim-key", Grade.PROBLEM)
    assert "bad.pem" in found.evidence[0]


async def test_a_short_key(case: Case, tmp_path: Path) -> None:
    """1024 bits are still counted by receivers, but not by all; under that nobody may (RFC 8301)."""
    short = tmp_path / "short.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(short), "1024"], check=True, capture_output=True)
    key = DkimKey("direct.jp", "relay", str(short))
    record(*published(key).values())(case)
    case.subject = replace(case.subject, dkim=(key,))
    assert [one.name for one in wrong(await case.examined())] == ["dkim-short"]


async def test_ed25519_alone_is_too_new_and_beside_rsa_it_is_fine(case: Case) -> None:
    """Gmail cannot check it: an RSA key has to sign, too."""
    new = key_for("direct.jp", DkimAlgorithm.ED25519, "new")
    case.zone |= {name: {"TXT": [quoted(text)]} for name, text in published(new).items()}
    case.subject = replace(case.subject, dkim=(new,))
    assert [one.name for one in wrong(await case.examined())] == ["dkim-ed25519"]
    case.subject = replace(case.subject, dkim=(new, KEY))
    assert wrong(await case.examined()) == []


async def test_straight_to_mx_without_a_signature(case: Case) -> None:
    """SPF passes; Gmail still wants more."""
    case.subject = replace(case.subject, dkim=())
    (found,) = wrong(await case.examined())
    assert (found.name, found.about, found.grade) == ("dkim-none", "direct.jp", Grade.WARNING)
    assert "dkim: {domain: direct.jp}" in found.cure


async def test_what_dkim_makes_up_for_is_no_problem(case: Case) -> None:
    """SPF fails for `mx`: with a signature that counts, DMARC passes all the same; without one it is a problem."""
    case.zone["direct.jp"]["TXT"] = ['"v=spf1 -all"']
    case.zone["_dmarc.direct.jp"] = {"TXT": ['"v=DMARC1; p=reject; aspf=s; adkim=s"']}
    case.subject = replace(case.subject, routes=(replace(case.subject.routes[0], via=("mx",)), case.subject.routes[1]))
    (found,) = wrong(await case.examined())
    assert (found.name, found.grade) == ("spf-fail", Grade.WARNING)
    assert any("signed by DKIM as direct.jp" in sentence for sentence in found.evidence)
    assert PUBLIC in found.publish or "relay.example.jp" in found.publish
    record()(case)
    assert {(one.name, one.grade) for one in wrong(await case.examined())} == {
        ("dkim-missing", Grade.PROBLEM),
        ("spf-fail", Grade.PROBLEM),
    }
