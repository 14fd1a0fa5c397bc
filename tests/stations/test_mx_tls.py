"""TLS with mail hosts: what DANE, MTA-STS and the configuration demand is had, or nothing is sent.

The DNS is a stand-in that says of `signed` names that it has validated them; tests/peers/test_mx_secured.py has a real one.
"""

import contextlib
import hashlib
import smtplib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from relay.doctor.resolver import DnsLookup
from relay.mail.reply import Fault, Stage
from relay.upstream.dns import Resolver
from relay.upstream.mta_sts import StsMode, StsPolicy
from relay.upstream.mx import MxDelivery
from relay.upstream.peer_certificate import public_key
from relay.upstream.report import TlsPolicy
from relay.upstream.settings import DIRECT, MxHosts, Tls, Upstream
from relay.upstream.transports import Means, Transports
from tests.support.dns import FakeDNS
from tests.support.loaded import loaded, telling
from tests.support.running import RelayProcess
from tests.support.sending import letter, server_context
from tests.support.sink import sink
from tests.support.upstream import DROP, ScriptedUpstream

DOMAIN, HOST = "there.example", "mail.there.example"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
OURS = trustme.CA()
"""The authority that the relay trusts in these tests."""


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    OURS.cert_pem.write_to_path(str(file))
    return Tls(ca_file=str(file))


class Policies:
    """Says of every domain that it has this policy; what fetches real ones is tested in test_mta_sts.py."""

    def __init__(self, policy=None):
        self.policy = policy

    async def of(self, domain, *, private):
        return self.policy if domain == DOMAIN else None

    async def close(self):
        """Has nothing to close."""


def sts(mode, *mx):
    return StsPolicy(mode, mx or (HOST,), 86_400)


def zone(*, hosts=(HOST,), tlsa=(), port=0):
    found = {DOMAIN: {"MX": [f"{number} {host}." for number, host in enumerate(hosts)]}}
    found |= {host: {"A": ["127.0.0.1"]} for host in hosts}
    return {**found, f"_{port}._tcp.{HOST}": {"TLSA": list(tlsa)}} if tlsa else found


@contextlib.asynccontextmanager
async def sending(server, trusted, *, records=None, policy=None, verified=False, trust=(), **dns):
    """A function that sends one message by `mx` with the port of `server` in place of 25."""
    async with FakeDNS(records or zone(), **dns) as fake:
        resolver = Resolver([fake.address], trusted=trust, patience=1)
        resolver._ready().cache = None
        delivery = MxDelivery(hostname="relay.test", resolver=resolver, policies=Policies(policy), authorities=trusted)
        transports = Transports(Means("relay.test"), {MxHosts: lambda means: delivery})
        upstream = Upstream(DIRECT, MxHosts(server.port, True, verified), timeout=timedelta(seconds=2))

        async def send(*paths):
            return await transports.submit(upstream, letter(*paths))

        send.dns = fake
        yield send
        await transports.close()


async def once(server, trusted, **more):
    async with sending(server, trusted, **more) as send:
        return await send()


def only(report):
    [answer] = report.answers.values()
    return answer


def told(report):
    """The facts for the trail."""
    about = report.conversation
    return about.tls_policy, about.tls_verified, about.tls_fault


def sent(server, report):
    assert only(report).reply.code == 250, str(only(report))
    assert len(server.messages) == 1
    return told(report)


def refused(server, report, fault):
    """Nothing was said of a message: deferred, at the TLS stage."""
    answer = only(report)
    assert (answer.stage, answer.reply.code, answer.reply.status, answer.fault) == (Stage.TLS, 454, "4.7.5", fault), str(answer)
    assert server.messages == [] and not any("MAIL" in line for one in server.connections for line in one.commands)
    return told(report)


BAD = {
    "unknown authority": (lambda: {"tls": server_context(trustme.CA(), HOST)}, Fault.TLS_TRUST),
    "another name": (lambda: {"tls": server_context(OURS, "other.example")}, Fault.TLS_NAME),
    "the domain's name": (lambda: {"tls": server_context(OURS, DOMAIN)}, Fault.TLS_NAME),
    "expired": (
        lambda: {"tls": server_context(OURS, HOST, not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1))},
        Fault.TLS_EXPIRED,
    ),
    "no STARTTLS": (dict, Fault.NO_STARTTLS),
    "STARTTLS refused": (lambda: {"tls": server_context(OURS, HOST), "script": {"STARTTLS": "454 4.7.0 no"}}, Fault.TLS),
    "handshake broken": (lambda: {"tls": server_context(OURS, HOST), "script": {"HANDSHAKE": DROP}}, Fault.HUNG_UP),
}


@pytest.mark.parametrize("bad", BAD)
async def test_an_enforced_policy_is_obeyed(trusted, bad):
    """A host that cannot prove who it is gets nothing, not even in clear; the mail waits (RFC 8461 s5)."""
    how, fault = BAD[bad]
    async with ScriptedUpstream(**how()) as server:
        report = await once(server, trusted, policy=sts(StsMode.ENFORCE))
    assert refused(server, report, Fault.STS) == (TlsPolicy.STS, False, fault)
    assert DOMAIN in only(report).reply.text and HOST in only(report).reply.text


@pytest.mark.parametrize("bad", BAD)
async def test_a_policy_that_tests_is_told_of(trusted, bad):
    """The mail goes as it would without; the trail has what would have been refused."""
    how, fault = BAD[bad]
    async with ScriptedUpstream(**how()) as server:
        report = await once(server, trusted, policy=sts(StsMode.TESTING))
    assert sent(server, report) == (TlsPolicy.STS_TESTING, False, fault)


@pytest.mark.parametrize("bad", BAD)
async def test_the_configuration_demands_verified_tls(trusted, bad):
    """`mx: {tls: verified}`, also where the domain has no policy, or one that only tests."""
    how, fault = BAD[bad]
    for policy in (None, sts(StsMode.TESTING), sts(StsMode.NONE)):
        async with ScriptedUpstream(**how()) as server:
            report = await once(server, trusted, verified=True, policy=policy)
        assert refused(server, report, Fault.MX_TLS) == (TlsPolicy.VERIFIED, False, fault)


@pytest.mark.parametrize("bad", BAD)
async def test_without_a_demand_mail_goes(trusted, bad):
    """Opportunistic: any certificate, or none; also with a policy of mode none."""
    how, _ = BAD[bad]
    for policy in (None, sts(StsMode.NONE, "other.example")):
        async with ScriptedUpstream(**how()) as server:
            report = await once(server, trusted, policy=policy)
        assert sent(server, report)[:2] == (TlsPolicy.OPPORTUNISTIC, False)


@pytest.mark.parametrize(
    ("more", "policy"),
    [
        ({"policy": sts(StsMode.ENFORCE)}, TlsPolicy.STS),
        ({"policy": sts(StsMode.ENFORCE, "*.there.example")}, TlsPolicy.STS),
        ({"policy": sts(StsMode.ENFORCE), "verified": True}, TlsPolicy.STS),
        ({"policy": sts(StsMode.TESTING)}, TlsPolicy.STS_TESTING),
        ({"verified": True}, TlsPolicy.VERIFIED),
    ],
)
async def test_a_host_that_is_right_is_verified(trusted, more, policy):
    """One connection, and the trail says that the certificate was looked at."""
    async with ScriptedUpstream(tls=server_context(OURS, HOST)) as server:
        report = await once(server, trusted, **more)
    assert sent(server, report) == (policy, True, None)
    assert server.messages[0].tls and len(server.connections) == 1


async def test_a_host_that_the_policy_does_not_name_is_not_called(trusted):
    """Under enforce; another host that is named gets the mail.  Under testing it is called, and told of."""
    policy = sts(StsMode.ENFORCE, "second.there.example")
    async with ScriptedUpstream(tls=server_context(OURS, HOST, "second.there.example")) as server:
        report = await once(server, trusted, policy=policy)
        assert refused(server, report, Fault.STS) == (TlsPolicy.STS, False, Fault.STS_HOST)
        assert server.connections == []
        both = zone(hosts=(HOST, "second.there.example"))
        assert sent(server, await once(server, trusted, policy=policy, records=both)) == (TlsPolicy.STS, True, None)
        assert len(server.connections) == 1
    async with ScriptedUpstream(tls=server_context(OURS, HOST)) as server:
        report = await once(server, trusted, policy=sts(StsMode.TESTING, "second.there.example"))
        assert sent(server, report) == (TlsPolicy.STS_TESTING, False, Fault.STS_HOST)


async def test_the_next_host_when_one_is_not_trusted(trusted):
    """The second host of the domain has the right certificate."""
    other = "second.there.example"
    async with ScriptedUpstream(tls=server_context(OURS, other)) as server:
        policy = sts(StsMode.ENFORCE, HOST, other)
        report = await once(server, trusted, policy=policy, records=zone(hosts=(HOST, other)))
    assert sent(server, report) == (TlsPolicy.STS, True, None)


# -- DANE --------------------------------------------------------------------------------------------------------------


def chained(ca, *names, root=True, **more):
    """A server context that shows the whole chain, and the chain in DER."""
    issued = ca.issue_cert(*names, **more)
    pems = [pem.bytes() for pem in issued.cert_chain_pems] + ([ca.cert_pem.bytes()] if root else [])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(b"".join((issued.private_key_pem.bytes(), *pems))).tempfile() as path:
        context.load_cert_chain(path)
    return context, [ssl.PEM_cert_to_DER_cert(pem.decode()) for pem in pems]


def tlsa(usage, selector, matching, certificate):
    data = certificate if selector == 0 else public_key(certificate)
    return (
        f"{usage} {selector} {matching} {[data, hashlib.sha256(data).digest(), hashlib.sha512(data).digest()][matching].hex()}"
    )


def signed(port):
    return [DOMAIN, HOST, f"_{port}._tcp.{HOST}"]


async def by_dane(server, trusted, *records, **more):
    more = {"signed": signed(server.port), **more}
    return await once(server, trusted, records=zone(tlsa=records, port=server.port), **more)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("usage", [2, 3])
async def test_the_dns_names_the_certificate(trusted, usage, selector, matching):
    """The server's own (usage 3) or an authority's (usage 2), by certificate or key, whole or by digest."""
    context, chain = chained(trustme.CA(), HOST)
    async with ScriptedUpstream(tls=context) as server:
        report = await by_dane(server, trusted, tlsa(usage, selector, matching, chain[0 if usage == 3 else 1]))
    assert sent(server, report) == (TlsPolicy.DANE, True, None)


async def test_a_whole_authority_in_the_dns_need_not_be_shown(trusted):
    """`2 0 0`: the certificate is in the record itself."""
    authority = trustme.CA()
    context, chain = chained(authority, HOST, root=False)
    assert len(chain) == 1
    root = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    async with ScriptedUpstream(tls=context) as server:
        assert sent(server, await by_dane(server, trusted, tlsa(2, 0, 0, root))) == (TlsPolicy.DANE, True, None)


async def test_an_authority_in_between_is_enough(trusted):
    """An anchor need not be a root (RFC 7671 s5.2)."""
    context, chain = chained(trustme.CA().create_child_ca(), HOST, root=False)
    assert len(chain) == 2
    async with ScriptedUpstream(tls=context) as server:
        assert sent(server, await by_dane(server, trusted, tlsa(2, 1, 1, chain[1]))) == (TlsPolicy.DANE, True, None)


async def test_a_named_certificate_may_be_old_and_for_anybody(trusted):
    """RFC 7672 s3.1.1: with usage 3 neither dates nor names count."""
    context, chain = chained(trustme.CA(), "whoever.example", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1))
    async with ScriptedUpstream(tls=context) as server:
        assert sent(server, await by_dane(server, trusted, tlsa(3, 1, 1, chain[0]))) == (TlsPolicy.DANE, True, None)


@pytest.mark.parametrize("name", [HOST, DOMAIN, "*.there.example"])
async def test_below_an_authority_the_name_counts(trusted, name):
    """The mail host's, or the domain's that the mail is for (RFC 7672 s3.2.2)."""
    context, chain = chained(trustme.CA(), name)
    async with ScriptedUpstream(tls=context) as server:
        assert sent(server, await by_dane(server, trusted, tlsa(2, 1, 1, chain[1]))) == (TlsPolicy.DANE, True, None)


async def test_below_an_authority_a_wrong_name_or_an_old_certificate_is_refused(trusted):
    """What the authority signed for somebody else, or for yesterday, is not for this host."""
    for names, more, fault in (
        (["other.example"], {}, Fault.TLS_NAME),
        ([HOST], {"not_before": LONG_AGO, "not_after": LONG_AGO + timedelta(days=1)}, Fault.TLS_EXPIRED),
    ):
        context, chain = chained(trustme.CA(), *names, **more)
        async with ScriptedUpstream(tls=context) as server:
            report = await by_dane(server, trusted, tlsa(2, 1, 1, chain[1]))
        assert refused(server, report, Fault.DANE) == (TlsPolicy.DANE, False, fault)


async def test_an_authority_that_did_not_sign_is_none(trusted):
    """A stranger who shows the named authority behind a certificate of his own."""
    right, wrong = trustme.CA(), trustme.CA()
    issued = wrong.issue_cert(HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pems = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes(), right.cert_pem.bytes())
    with trustme.Blob(b"".join(pems)).tempfile() as path:
        context.load_cert_chain(path)
    named = ssl.PEM_cert_to_DER_cert(right.cert_pem.bytes().decode())
    for record in (tlsa(2, 1, 1, named), tlsa(2, 0, 0, named)):
        async with ScriptedUpstream(tls=context) as server:
            report = await by_dane(server, trusted, record)
        assert refused(server, report, Fault.DANE) == (TlsPolicy.DANE, False, Fault.TLS_TRUST)


@pytest.mark.parametrize("bad", ["no STARTTLS", "STARTTLS refused", "handshake broken", "another certificate"])
async def test_dane_is_never_gone_back_on(trusted, bad):
    """Trusted by everybody else or not: without the certificate that the DNS names nothing is sent (RFC 7672 s2.2)."""
    _, other = chained(trustme.CA(), HOST)
    how, fault = BAD.get(bad) or (lambda: {"tls": server_context(OURS, HOST)}, Fault.TLS_PIN)
    for policy in (None, sts(StsMode.TESTING), sts(StsMode.ENFORCE)):
        async with ScriptedUpstream(**how()) as server:
            report = await by_dane(server, trusted, tlsa(3, 1, 1, other[0]), tlsa(2, 1, 1, other[1]), policy=policy)
        assert refused(server, report, Fault.DANE) == (TlsPolicy.DANE, False, fault)


async def test_dane_is_enough(trusted):
    """Where the DNS names the certificate, neither the policy of MTA-STS nor `mx.tls` asks for more (RFC 8461 s2)."""
    context, chain = chained(trustme.CA(), "whoever.example")
    async with ScriptedUpstream(tls=context) as server:
        more = {"policy": sts(StsMode.ENFORCE, "other.example"), "verified": True}
        report = await by_dane(server, trusted, tlsa(3, 1, 1, chain[0]), **more)
    assert sent(server, report) == (TlsPolicy.DANE, True, None)


async def test_records_of_which_none_can_be_used_still_demand_tls(trusted):
    """RFC 7672 s2.2: any certificate, but never in clear; and what MTA-STS demands holds beside it."""
    context, chain = chained(trustme.CA(), "whoever.example")
    useless = (tlsa(1, 1, 1, chain[0]), "3 1 9 00")
    async with ScriptedUpstream(tls=context) as server:
        assert sent(server, await by_dane(server, trusted, *useless)) == (TlsPolicy.DANE_TLS, False, None)
    async with ScriptedUpstream() as server:
        report = await by_dane(server, trusted, *useless)
        assert refused(server, report, Fault.DANE) == (TlsPolicy.DANE_TLS, False, Fault.NO_STARTTLS)
    async with ScriptedUpstream(tls=context) as server:
        report = await by_dane(server, trusted, *useless, policy=sts(StsMode.ENFORCE))
        assert refused(server, report, Fault.STS) == (TlsPolicy.STS, False, Fault.TLS_TRUST)


@pytest.mark.parametrize("trouble", ["failing", "silent"])
async def test_records_that_cannot_be_looked_up(trusted, trouble):
    """Whoever can keep the DNS from answering must not get the mail: it waits.  Where nothing is signed nobody asks."""
    async with ScriptedUpstream() as server:
        name = f"_{server.port}._tcp.{HOST}"
        async with sending(server, trusted, signed=signed(server.port), **{trouble: [name]}) as send:
            report = await send()
        assert refused(server, report, Fault.DANE) == (TlsPolicy.DANE, False, Fault.DNS)
        assert server.connections == []
        for unsigned in ([], [DOMAIN], [HOST]):
            server.messages.clear()
            async with sending(server, trusted, signed=unsigned, **{trouble: [name]}) as send:
                assert sent(server, await send())[0] is TlsPolicy.OPPORTUNISTIC
            assert (name, "TLSA") not in send.dns.asked


@pytest.mark.parametrize("names", [[], [DOMAIN], [HOST], [DOMAIN, HOST]])
async def test_records_that_are_not_validated_do_not_count(trusted, names):
    """MX, address and TLSA record must all be signed: anybody could have written the others."""
    _, other = chained(trustme.CA(), HOST)
    async with ScriptedUpstream() as server:
        report = await by_dane(server, trusted, tlsa(3, 1, 1, other[0]), signed=names)
    assert sent(server, report)[0] is TlsPolicy.OPPORTUNISTIC


async def test_only_a_resolver_near_by_is_believed(trusted):
    """Docker's resolver is on loopback by its address only; named as trusted in the configuration it counts."""
    _, other = chained(trustme.CA(), HOST)
    for trust, policy in (((), TlsPolicy.OPPORTUNISTIC), (("127.0.0.11",), TlsPolicy.DANE)):
        async with ScriptedUpstream() as server:
            report = await by_dane(server, trusted, tlsa(3, 1, 1, other[0]), host="127.0.0.11", trust=trust)
        assert told(report)[0] is policy


async def test_the_doctor_asks_for_the_root(trusted):
    """The root is signed: whoever validates says so of it."""
    root = {"": {"SOA": ["a.root.example. b.example. 1 60 60 60 60"]}}
    for names, host, expected in (([""], "127.0.0.1", True), ([], "127.0.0.1", False), ([""], "127.0.0.11", False)):
        async with FakeDNS(root, signed=names, host=host) as fake:
            assert await DnsLookup([fake.address]).validates() is expected
            assert await DnsLookup([fake.address], trusted=[host]).validates() is bool(names)
    assert not await DnsLookup(["127.0.0.1:9"], patience=0.3).validates()


async def test_a_domain_that_is_its_own_host(trusted):
    """Without MX, where that is signed."""
    context, chain = chained(trustme.CA(), "whoever.example")
    async with ScriptedUpstream(tls=context) as server:
        name = f"_{server.port}._tcp.{DOMAIN}"
        records = {DOMAIN: {"A": ["127.0.0.1"]}, name: {"TLSA": [tlsa(3, 1, 1, chain[0])]}}
        report = await once(server, trusted, records=records, signed=[DOMAIN, name])
    assert sent(server, report) == (TlsPolicy.DANE, True, None)


@pytest.mark.parametrize("where", ["target", "alias", "both", "alias, target not signed"])
async def test_a_host_that_is_an_alias(trusted, where):
    """RFC 7672 s2.2.2: the records of what it leads to come first, if all up to there is signed, then its own."""
    context, chain = chained(trustme.CA(), "real.example")
    async with ScriptedUpstream(tls=context) as server:
        right, wrong = tlsa(2, 1, 1, chain[1]), tlsa(3, 1, 1, chain[1])
        target, alias = f"_{server.port}._tcp.real.example", f"_{server.port}._tcp.{HOST}"
        records = {DOMAIN: {"MX": [f"10 {HOST}."]}, HOST: {"CNAME": ["real.example."]}, "real.example": {"A": ["127.0.0.1"]}}
        if where in ("target", "both"):
            records[target] = {"TLSA": [right]}
        if where != "target":
            records[alias] = {"TLSA": [wrong if where == "both" else tlsa(3, 1, 1, chain[0])]}
        names = [DOMAIN, HOST, target, alias, *([] if "not signed" in where else ["real.example"])]
        report = await once(server, trusted, records=records, signed=names)
    assert sent(server, report) == (TlsPolicy.DANE, True, None)


async def test_what_is_known_of_an_authority_is_used_again(trusted):
    """The second message needs one handshake, not two; when the authority changes, two again."""
    first, chain = chained(trustme.CA(), HOST)
    async with ScriptedUpstream(tls=first) as server:
        records = zone(tlsa=[tlsa(2, 1, 1, chain[1])], port=server.port)
        async with sending(server, trusted, records=records, signed=signed(server.port)) as send:
            for number in (2, 3, 4):
                assert told(await send()) == (TlsPolicy.DANE, True, None)
                assert len(server.connections) == number
            server.tls, chain = chained(trustme.CA(), HOST)
            send.dns.zone[f"_{server.port}._tcp.{HOST}"] = {"TLSA": [tlsa(2, 1, 1, chain[1])]}
            assert told(await send()) == (TlsPolicy.DANE, True, None)
            server.tls, _ = chained(trustme.CA(), HOST)
            report = await send()
            assert (only(report).fault, told(report)[1]) == (Fault.DANE, False)


async def test_an_authority_that_the_dns_names_no_more_is_forgotten(trusted):
    """Its records went because it is not to be trusted any more: that it was yesterday does not count."""
    context, chain = chained(trustme.CA(), HOST)
    async with ScriptedUpstream(tls=context) as server:
        records = zone(tlsa=[tlsa(2, 1, 1, chain[1])], port=server.port)
        async with sending(server, trusted, records=records, signed=signed(server.port)) as send:
            assert told(await send()) == (TlsPolicy.DANE, True, None)
            _, other = chained(trustme.CA(), HOST)
            send.dns.zone[f"_{server.port}._tcp.{HOST}"] = {"TLSA": [tlsa(2, 1, 1, other[1])]}
            report = await send()
    assert (only(report).fault, told(report)) == (Fault.DANE, (TlsPolicy.DANE, False, Fault.TLS_PIN))
    assert len(server.messages) == 1


def test_who_does_not_send_by_mx_has_none_of_it(tmp_path):
    """From its start over a message that is relayed by an ISP: nothing of `mx`, of the DNS or of policies is loaded."""
    ours = {"mx", "mx_tls", "mx_order", "mta_sts", "mta_sts_cache", "dane", "dns", "http_session"}
    (tmp_path / "behind").mkdir()
    with sink(tmp_path / "behind") as behind:
        isp = {"host": "127.0.0.1", "port": behind.port, "tls": "none", "auth": "none", "sender": "a@isp.example"}
        relay = telling(RelayProcess(tmp_path, {"upstreams": {"isp": isp}}), tmp_path)
        relay.start()
        try:
            with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as device:
                device.sendmail("a@isp.example", ["b@there.example"], "Subject: x\r\n\r\nx\r\n")
            relay.wait_for("relayed")
            assert {f"relay.upstream.{name}" for name in ours} & loaded(relay) == set()
            assert not [name for name in loaded(relay) if name.partition(".")[0] == "dns"]
        finally:
            relay.stop()
    assert not (tmp_path / "spool" / "mta-sts.json").exists()


async def test_the_settings_reach_whoever_asks(tmp_path):
    """`dns.trusted` counts from the start and after a reload; what is kept lies in the folder of the state."""
    _, other = chained(trustme.CA(), HOST)
    async with ScriptedUpstream() as server:
        names = [DOMAIN, HOST, f"_{server.port}._tcp.{HOST}"]
        records = zone(tlsa=[tlsa(3, 1, 1, other[0])], port=server.port)
        async with FakeDNS(records, signed=names, host="127.0.0.11") as fake:
            upstream = Upstream(DIRECT, MxHosts(server.port, True), timeout=timedelta(seconds=2))
            near = {"nameservers": (fake.address,), "trusted": ("127.0.0.11",)}
            for means in (Means("relay.test", state=tmp_path, **near), Means("relay.test", (fake.address,), state=tmp_path)):
                transports = Transports(means)
                expected = TlsPolicy.DANE if means.trusted else TlsPolicy.OPPORTUNISTIC
                assert told(await transports.submit(upstream, letter()))[0] is expected
                transports.reload(hostname="relay.test", **near)
                assert told(await transports.submit(upstream, letter()))[0] is TlsPolicy.DANE
                await transports.close()
