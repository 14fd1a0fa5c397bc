"""Straight to a real Postfix with the TLS that its domain demands: DANE by a real validating resolver, MTA-STS over HTTPS.

device ──> relay ── unbound (DNSSEC) ── policy server (HTTPS) ──> postfix ──> maildir
"""

import asyncio
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from relay.doctor.resolver import DnsLookup
from relay.upstream import tls
from relay.upstream.dns import Resolver
from relay.upstream.peer_certificate import public_key
from tests.support.inprocess import relay_at_home, send, told
from tests.support.letters import recent_date
from tests.support.mx_peers import POSTFIX, postfix_mx
from tests.support.peers import USER, Papers, Peer, free_port
from tests.support.policy_server import PolicyServer, policy
from tests.support.sending import server_context
from tests.support.signed_dns import unbound
from tests.support.waiting import until

POLICY_HOST = "127.0.0.31"
DOMAINS = (
    *(
        "right.signed.example",
        "authority.signed.example",
        "wrong.signed.example",
        "alias.signed.example",
        "right.broken.example",
    ),
    *("right.plain.example", "sts.example", "unnamed.example", "testing.example"),
)
NAMES = ("mx.signed.example", "mx-authority.signed.example", "mx.sts.example")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certified(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """The mail host's certificate, shown with its authority's."""
    issued = authority.issue_cert(*NAMES)
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    chain = b"".join(part.bytes() for part in (*issued.cert_chain_pems, authority.cert_pem))
    return Papers(ca_file, chain, issued.private_key_pem.bytes())


def spki_digest(pem: bytes) -> str:
    """Of the first certificate, as a TLSA record has it."""
    end = b"-----END CERTIFICATE-----\n"
    pem = pem[: pem.index(end) + len(end)]
    return hashlib.sha256(public_key(ssl.PEM_cert_to_DER_cert(pem.decode()))).hexdigest()


@pytest.fixture(scope="module")
def place(certified: Papers, authority: trustme.CA) -> Iterator[tuple[str, int, Peer]]:
    """The resolver, the port that stands for 25, and Postfix as everybody's mail host."""
    port = free_port()
    leaf, root = (spki_digest(pem) for pem in (certified.chain, authority.cert_pem.bytes()))
    host, other = f"A {POSTFIX}", "ab" * 32
    signed = f"""
mx {host}
_{port}._tcp.mx TLSA 3 1 1 {leaf}
right MX 10 mx
mx-authority {host}
_{port}._tcp.mx-authority TLSA 2 1 1 {root}
authority MX 10 mx-authority
mx-wrong {host}
_{port}._tcp.mx-wrong TLSA 3 1 1 {other}
wrong MX 10 mx-wrong
also CNAME mx
alias MX 10 also
"""
    plain = f"mx {host}\n_{port}._tcp.mx TLSA 3 1 1 {other}\nright MX 10 mx\n"
    broken = f"mx {host}\n_{port}._tcp.mx TLSA 3 1 1 {'ef' * 32}\nright MX 10 mx\n"
    record = '_mta-sts TXT "v=STSv1; id=1;"'
    with_policy = f"@ MX 10 mx.sts.example.\nmx {host}\n{record}\nmta-sts A {POLICY_HOST}\n"
    unsigned = {"plain.example": plain, **dict.fromkeys(("sts.example", "unnamed.example", "testing.example"), with_policy)}
    zones = {"signed.example": signed, "broken.example": broken}
    # the digest in the zone "broken" is not the one that was signed
    with unbound(zones, unsigned, spoilt=("ef" * 32, "cd" * 32)) as nameserver:
        with postfix_mx(certified, port, *DOMAINS) as peer:
            yield nameserver, port, peer


def letter(subject: str) -> bytes:
    header = f"From: <{USER}>\r\nTo: <me@x.example>\r\nSubject: {subject}\r\nDate: {recent_date()}\r\n"
    return f"{header}Message-ID: <{subject}@nas.example>\r\n\r\nAll disks are fine.\r\n".encode()


def settings(nameserver: str, **mx: Any) -> dict[str, Any]:
    isp = {"host": "127.0.0.1", "port": free_port(), "tls": "none", "auth": "none", "sender": USER}
    direct = {"routes": [{"via": ["mx"]}], "dns": {"nameservers": [nameserver]}, "mx": {"private": True, **mx}}
    return {"upstreams": {"isp": isp}, **direct}


async def tried(relay: Any, queue_id: str) -> dict[str, Any]:
    """The story, once it was tried."""
    return await until(lambda: told(relay, queue_id), lambda story: any(map(_of_attempt, story["trail"])))


def _of_attempt(line: dict[str, Any]) -> bool:
    return line["event"] in ("tried", "relayed")


def facts(story: dict[str, Any]) -> tuple[Any, ...]:
    (line,) = filter(_of_attempt, story["trail"])
    return line["event"], line["tls_policy"], line["tls_verified"], line["tls_fault"]


async def go(place: tuple[str, int, Peer], directory: Path, domain: str, **mx: Any) -> tuple[dict[str, Any], bool]:
    """One message to a domain: its story, and whether Postfix has it."""
    nameserver, _, peer = place
    subject = f"to-{domain}-{len(mx)}-{directory.name}"
    async with relay_at_home(directory, settings(nameserver, **mx)) as relay:
        story = await tried(relay, await send(relay, USER, f"me@{domain}", letter(subject)))

    def arrived() -> bool:
        return any(f"Subject: {subject}\n".encode() in one.octets for one in peer.delivered())

    if facts(story)[0] == "relayed":
        await until(arrived)
    else:
        await asyncio.sleep(0.5)  # if Postfix had it all the same, it would be there by then
    return story, arrived()


@pytest.fixture(autouse=True)
def port_25(place: tuple[str, int, Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_TEST_MX_PORT", str(place[1]))


async def test_what_the_resolver_says_is_believed(place: tuple[str, int, Peer]) -> None:
    """unbound sets the AD bit for what is signed, and fails on what is spoilt: the stand-in of other tests does the same."""
    resolver = Resolver([place[0]], patience=5)
    assert (await resolver.mx("right.signed.example"))[1]
    assert not (await resolver.mx("right.plain.example"))[1]
    assert (await resolver.addresses("also.signed.example")).name == "mx.signed.example"
    assert not await DnsLookup([place[0]]).validates(), "the root has no anchor in this resolver"


@pytest.mark.parametrize("domain", ["right.signed.example", "authority.signed.example", "alias.signed.example"])
async def test_dane_with_a_real_host(place: tuple[str, int, Peer], tmp_path: Path, domain: str) -> None:
    """Nobody trusts the authority; the signed DNS names it, or the certificate: that is enough, and the trail says so."""
    story, arrived = await go(place, tmp_path, domain)
    assert facts(story) == ("relayed", "dane", True, "") and arrived


@pytest.mark.parametrize(("domain", "fault"), [("wrong.signed.example", "tls-pin"), ("right.broken.example", "dns")])
async def test_dane_that_fails_keeps_the_mail(place: tuple[str, int, Peer], tmp_path: Path, domain: str, fault: str) -> None:
    """Another certificate than the DNS names, or records that somebody has changed: the mail waits."""
    story, arrived = await go(place, tmp_path, domain)
    assert facts(story) == ("tried", "dane", False, fault) and not arrived
    assert story["recipients"][0]["state"] == "queued"


async def test_what_is_not_signed_demands_nothing(place: tuple[str, int, Peer], tmp_path: Path) -> None:
    """A TLSA record that anybody could have written does not count; with `mx: {tls: verified}` the host is not trusted."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    story, arrived = await go(place, tmp_path / "a", "right.plain.example")
    assert facts(story) == ("relayed", "opportunistic", False, "") and arrived
    story, arrived = await go(place, tmp_path / "b", "right.plain.example", tls="verified")
    assert facts(story) == ("tried", "verified", False, "tls-trust") and not arrived


async def test_mta_sts_with_a_real_host(
    place: tuple[str, int, Peer],
    certified: Papers,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A policy that names the host, one that does not, one that tests; then the record goes and the file still has it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.ca_file))
    monkeypatch.setattr(tls, "_contexts", {})
    domains = ("sts.example", "unnamed.example", "testing.example")
    context = server_context(authority, *(f"mta-sts.{domain}" for domain in domains))
    texts = {
        "mta-sts.sts.example": policy("enforce", "mx.sts.example"),
        "mta-sts.unnamed.example": policy("enforce", "other.example"),
        "mta-sts.testing.example": policy("testing", "other.example"),
    }
    try:
        server = PolicyServer(context, dict(texts), host=POLICY_HOST, port=443)
        server.__enter__()
    except OSError as error:
        pytest.skip(f"port 443 of {POLICY_HOST} cannot be had: {error}")
    try:
        for domain, expected in (
            ("sts.example", ("relayed", "mta-sts", True, "")),
            ("unnamed.example", ("tried", "mta-sts", False, "mta-sts-host")),
            ("testing.example", ("relayed", "mta-sts-testing", False, "mta-sts-host")),
        ):
            story, arrived = await go(place, tmp_path, domain)
            assert facts(story) == expected
            assert arrived == (expected[0] == "relayed")
    finally:
        server.__exit__()
    assert sorted(host for host, _ in server.asked) == sorted(texts)
    # after a restart without any web server: the policies were kept beside the spool
    story, arrived = await go(place, tmp_path, "unnamed.example", connections=1)
    assert facts(story) == ("tried", "mta-sts", False, "mta-sts-host") and not arrived
