"""MTA-STS policies are found, fetched and kept: a DNS and a web server of our own."""

import asyncio
import contextlib
import json
import time

import pytest
import trustme

from relay.upstream import mta_sts_cache
from relay.upstream.dns import Resolver
from relay.upstream.mta_sts import LARGEST, StsMode, StsPolicy
from relay.upstream.mta_sts_cache import NoPolicy, PolicyFetch, StsPolicies
from relay.upstream.settings import Tls
from tests.support.dns import FakeDNS
from tests.support.policy_server import PolicyServer, policy
from tests.support.sending import server_context
from tests.support.world import Clock


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA, and what trusts it."""
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return ca, Tls(ca_file=str(file))


def zone(record="v=STSv1; id=1;"):
    texts = {"_mta-sts.there.example": {"TXT": [f'"{record}"']}} if record else {}
    return {**texts, "mta-sts.there.example": {"A": ["127.0.0.1"]}}


@contextlib.asynccontextmanager
async def policies(authority, server, dns, clock, file=None):
    found = Resolver([dns.address], patience=0.5)
    found._ready().cache = None
    made = StsPolicies(found, file, PolicyFetch(found, port=server.port, tls=authority[1]), clock, lambda: clock().timestamp())
    try:
        yield made
    finally:
        await made.close()
        await asyncio.sleep(0.02)  # until the last connection is closed


@pytest.fixture
async def place(authority):
    """DNS, web server, clock, and the answers that they give."""
    with PolicyServer(server_context(authority[0], "mta-sts.there.example"), {"mta-sts.there.example": policy()}) as server:
        async with FakeDNS(zone()) as dns:
            yield server, dns, Clock()


async def test_a_policy_is_fetched_once(authority, place):
    """The record leads to the policy, at the one path there is; many that ask together cause one fetch."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock) as known:
        found = await asyncio.gather(*(known.of(name, private=True) for name in ["there.example", "There.Example."] * 5))
        assert {one.mode for one in found} == {StsMode.ENFORCE}
        assert found[0].permits("mail.there.example")
        assert (await known.of("there.example", private=True)) == found[0]
    assert server.asked == [("mta-sts.there.example", "/.well-known/mta-sts.txt")]


@pytest.mark.parametrize("record", ["", "v=spf1 -all", "v=STSv1; nothing"])
async def test_without_a_record_nothing_is_fetched(authority, place, record):
    """A domain that publishes none costs one look-up."""
    server, dns, clock = place
    dns.zone = zone(record)
    async with policies(authority, server, dns, clock) as known:
        assert await known.of("there.example", private=True) is None
    assert server.asked == []


async def test_a_new_id_brings_the_new_policy(authority, place):
    """And the same id the old one, whatever the web server has by now."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock) as known:
        await known.of("there.example", private=True)
        server.answers["mta-sts.there.example"] = policy("none")
        assert (await known.of("there.example", private=True)).mode is StsMode.ENFORCE
        dns.zone = zone("v=STSv1; id=2")
        assert (await known.of("there.example", private=True)).mode is StsMode.NONE


@pytest.mark.parametrize("trouble", ["gone", "failing", "silent", "broken", "two"])
async def test_a_record_that_is_dropped_drops_no_policy(authority, place, trouble):
    """RFC 8461 s3.1: what is known holds for its max_age; who can silence the DNS must not be able to take it away."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock) as known:
        await known.of("there.example", private=True)
        dns.zone = zone(
            {"gone": "", "broken": "v=STSv1; id=", "two": 'v=STSv1; id=1;" "v=STSv1; id=2'}.get(trouble, "v=STSv1; id=1")
        )
        if trouble in ("failing", "silent"):
            getattr(dns, trouble).add("_mta-sts.there.example")
        server.answers.clear()
        for _ in range(6):
            clock.advance(days=1)
            assert (await known.of("there.example", private=True)).mode is StsMode.ENFORCE
        clock.advance(days=1)
        assert await known.of("there.example", private=True) is None, "its time is over"


async def test_a_policy_in_use_does_not_run_out(authority, place):
    """Once a day it is fetched anew, though the record is dropped: so its time begins again."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock) as known:
        await known.of("there.example", private=True)
        dns.zone = zone("")
        for _ in range(20):
            clock.advance(days=1)
            assert (await known.of("there.example", private=True)).mode is StsMode.ENFORCE
    assert len(server.asked) == 21


async def test_it_outlives_a_restart(authority, place, tmp_path):
    """The file beside the spool has it, for its owner only; a broken file is no harm."""
    server, dns, clock = place
    file = tmp_path / "mta-sts.json"
    async with policies(authority, server, dns, clock, file) as known:
        before = await known.of("there.example", private=True)
    server.answers.clear()
    dns.zone = zone("")
    async with policies(authority, server, dns, clock, file) as known:
        assert await known.of("there.example", private=True) == before
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["there.example"]["mx"] == ["mail.there.example"]
    for octets in (b"", b"{", b"[]", b'{"there.example": 5}', b"\xff"):
        file.write_bytes(octets)
        async with policies(authority, server, dns, clock, file) as known:
            assert await known.of("there.example", private=True) is None


async def test_a_file_that_cannot_be_written_stops_nothing(authority, place, tmp_path):
    """The policy holds until the next restart."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock, tmp_path / "gone" / "mta-sts.json") as known:
        assert (await known.of("there.example", private=True)).mode is StsMode.ENFORCE


async def test_thousands_of_domains_are_not_remembered(authority, place, monkeypatch):
    """The oldest is forgotten."""
    server, dns, clock = place
    monkeypatch.setattr(mta_sts_cache, "_MOST", 3)

    async def fetch(domain, private):
        clock.advance(seconds=1)
        return await PolicyFetch(known._resolver, port=server.port, tls=authority[1])("there.example", private)

    dns.zone = {**zone(), **{f"_mta-sts.d{number}.example": {"TXT": ['"v=STSv1; id=1"']} for number in range(9)}}
    async with policies(authority, server, dns, clock) as known:
        known._fetch = fetch
        for number in range(9):
            await known.of(f"d{number}.example", private=True)
        assert list(known._known) == ["d6.example", "d7.example", "d8.example"]


async def test_a_reload_ends_no_look_up_that_mail_waits_for(authority, place):
    """Else the attempt would end in the middle; a look-up whose mail has gone is ended."""
    server, dns, clock = place
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fetch(domain, private):
        begun.set()
        await go_on.wait()
        return StsPolicy(StsMode.ENFORCE, ("mail.there.example",), 86_400)

    async with policies(authority, server, dns, clock) as known:
        known._fetch = fetch
        stays, leaves = (asyncio.create_task(known.of("there.example", private=True)) for _ in range(2))
        await begun.wait()
        leaves.cancel()
        await asyncio.wait([leaves])
        await known.close()
        go_on.set()
        assert (await stays).mode is StsMode.ENFORCE
        begun.clear(), go_on.clear()
        clock.advance(days=2)
        leaves = asyncio.create_task(known.of("there.example", private=True))
        await begun.wait()
        leaves.cancel()
        await asyncio.wait([leaves])
        await known.close()
        assert not known._looking and not known._waiting


async def test_long_policies_push_no_others_out_of_the_file(authority, place, tmp_path, monkeypatch):
    """What is written can be read again: else a stranger's long policies would take away all that is known."""
    server, dns, clock = place
    file, most = tmp_path / "mta-sts.json", 20_000
    monkeypatch.setattr(mta_sts_cache, "_LARGEST_FILE", most)

    async def fetch(domain, private):
        clock.advance(seconds=1)
        hosts = [f"{number:0200}.{domain}" for number in range(1 if domain == names[0] else 20)]
        return StsPolicy(StsMode.ENFORCE, tuple(hosts), 86_400)

    names = [f"d{number}.example" for number in range(9)]
    dns.zone = {f"_mta-sts.{name}": {"TXT": ['"v=STSv1; id=1"']} for name in names}
    async with policies(authority, server, dns, clock, file) as known:
        known._fetch = fetch
        for name in names:
            await known.of(name, private=True)
    assert file.stat().st_size <= most
    dns.zone = {}
    async with policies(authority, server, dns, clock, file) as known:
        held = [name for name in names if await known.of(name, private=True)]
    assert held[0] == names[0] and 3 <= len(held) <= 5


def dripping(talk):
    talk.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        talk.sendall(b"x")
        time.sleep(0.05)


def endless(talk):
    talk.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        talk.sendall(b"x" * 65_536)


ELSEWHERE = {"Location": "https://mta-sts.there.example/elsewhere", "Content-Type": "text/plain"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((404, {}, b""), "404"),
        ((301, ELSEWHERE, policy()), "301"),
        ((302, ELSEWHERE, policy()), "302"),
        ((500, {"Content-Type": "text/plain"}, policy()), "500"),
        ((200, {"Content-Type": "text/html"}, policy()), "not text/plain"),
        ((200, {}, policy()), "not text/plain"),
        (b"<html>", "no policy"),
        (policy() + b"#" * LARGEST, "more than 65536 octets"),
        (endless, "more than 65536 octets"),
        (dripping, "no whole answer within 1 seconds"),
        (lambda talk: time.sleep(3), "no whole answer within 1 seconds"),
        (lambda talk: None, "hung up"),
        (lambda talk: talk.sendall(b"220 mail.there.example ESMTP\r\n"), "no HTTP"),
    ],
)
async def test_what_is_no_policy(authority, place, monkeypatch, answer, why):
    """Redirects, errors, HTML, too much and too slow: there is no policy then, and it is not asked for again at once."""
    monkeypatch.setattr(mta_sts_cache, "_WHOLE", 1.0)
    server, dns, clock = place
    server.answers["mta-sts.there.example"] = answer
    async with policies(authority, server, dns, clock) as known:
        with pytest.raises(NoPolicy, match=why):
            await known._fetch("there.example", True)
        for _ in range(3):
            assert await known.of("there.example", private=True) is None
        assert len(server.asked) == 2
        clock.advance(minutes=6)
        server.answers["mta-sts.there.example"] = policy()
        assert (await known.of("there.example", private=True)).mode is StsMode.ENFORCE


async def test_a_failed_fetch_leaves_the_old_policy(authority, place):
    """A new id whose policy cannot be had does not open the door."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock) as known:
        await known.of("there.example", private=True)
        dns.zone = zone("v=STSv1; id=2")
        server.answers.clear()
        assert (await known.of("there.example", private=True)).mode is StsMode.ENFORCE


@pytest.mark.parametrize("names", [("other.example",), ("there.example",), ("mta-sts.there.example.evil.example",)])
async def test_the_web_server_must_prove_its_name(authority, place, names):
    """A certificate for another name, or from nobody who is trusted, makes no policy."""
    _, dns, clock = place
    for context in (server_context(authority[0], *names), server_context(trustme.CA(), "mta-sts.there.example")):
        with PolicyServer(context, {"mta-sts.there.example": policy()}) as server:
            async with policies(authority, server, dns, clock) as known:
                assert await known.of("there.example", private=True) is None
                with pytest.raises(NoPolicy, match="not trusted"):
                    await known._fetch("there.example", True)
            assert server.asked == []


async def test_nobody_leads_the_relay_into_the_lan(authority, place):
    """A policy host in the LAN is not called, as a mail host there is not."""
    server, dns, clock = place
    async with policies(authority, server, dns, clock) as known:
        assert await known.of("there.example", private=False) is None
        with pytest.raises(NoPolicy, match="no address on the Internet"):
            await known._fetch("there.example", False)
    assert server.asked == []
