"""The built-in upstream `mx`: a DNS of our own says where the mail goes."""

import asyncio
import contextlib
import time
from datetime import timedelta

import dns.flags
import dns.message
import dns.rdatatype
import pytest
import trustme

from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.upstream import mx, mx_order
from relay.upstream.connect import Failed
from relay.upstream.dns import NoAnswer, NoSuchName, Resolver
from relay.upstream.mx import MxDelivery
from relay.upstream.report import TlsPolicy
from relay.upstream.settings import DIRECT, DIRECT_UPSTREAM, MxHosts, Upstream
from relay.upstream.transports import Means, Transports
from tests.support.dns import FakeDNS
from tests.support.isps.internet import Deaf, port_for_all
from tests.support.sending import letter, server_context
from tests.support.upstream import DROP, ScriptedUpstream


def delivering(resolver):
    return Transports(Means("relay.test"), {MxHosts: lambda means: MxDelivery(hostname=means.hostname, resolver=resolver)})


async def direct(server, zone, *paths, failing=(), silent=(), private=True, **more):
    """One message by `mx`, with the port of `server` in place of 25."""
    async with FakeDNS(zone, failing=failing, silent=silent) as dns:
        transports = delivering(Resolver([dns.address], patience=1))
        upstream = Upstream(DIRECT, MxHosts(server.port, private), timeout=timedelta(seconds=2))
        report = await transports.submit(upstream, letter(*paths, **more))
        await transports.close()
    return report


def mail_at(address: str = "127.0.0.1", *domains: str):
    zone = {domain: {"MX": ["10 mail.there.example."]} for domain in domains or ("there.example",)}
    return {**zone, "mail.there.example": {"A": [address]}}


def only(report):
    [answer] = report.answers.values()
    return answer


async def test_straight_to_the_mail_host():
    """The domain's MX is looked up and gets the mail, without a login."""
    async with ScriptedUpstream(users={"x": "y"}) as server:
        report = await direct(server, mail_at(), "b@there.example", "c@THERE.example")
    assert [answer.reply.code for answer in report.answers.values()] == [250, 250]
    [message] = server.messages
    assert message.forward_paths == ["b@there.example", "c@THERE.example"]
    assert report.conversation.peer == f"127.0.0.1:{server.port}"
    assert server.auths == []


async def test_the_next_host_when_one_is_closed():
    """Preference decides; a host that cannot be reached is followed by the next."""
    zone = {
        "there.example": {"MX": ["20 second.there.example.", "10 first.there.example."]},
        "first.there.example": {"A": ["127.0.0.9"]},
        "second.there.example": {"A": ["127.0.0.1"]},
    }
    async with ScriptedUpstream() as server:
        report = await direct(server, zone)
    assert only(report).reply.code == 250
    assert report.conversation.peer.startswith("127.0.0.1:")


@pytest.mark.parametrize("greeting", ["421 4.3.2 busy", "554 5.7.1 not from you", DROP])
async def test_the_next_host_when_one_does_not_greet(greeting):
    """A host that does not come as far as MAIL is followed by the next."""
    zone = {
        "there.example": {"MX": ["10 first.there.example.", "20 second.there.example."]},
        "first.there.example": {"A": ["127.0.0.1"]},
        "second.there.example": {"A": ["127.0.0.1"]},
    }
    async with ScriptedUpstream(script={"CONNECT": [greeting]}) as server:
        assert only(await direct(server, zone)).reply.code == 250
    assert len(server.connections) == 2


async def test_a_refusal_is_final_for_the_domain():
    """What the host says to the recipient is the answer; the next host is not asked."""
    zone = {
        "there.example": {"MX": ["10 first.there.example.", "20 second.there.example."]},
        "first.there.example": {"A": ["127.0.0.1"]},
        "second.there.example": {"A": ["127.0.0.1"]},
    }
    async with ScriptedUpstream(script={"RCPT": lambda _: "550 5.7.1 listed in PBL"}) as server:
        assert str(only(await direct(server, zone))) == "rcpt: 550 5.7.1 listed in PBL"
    assert len(server.connections) == 1


async def test_after_a_lost_final_reply_the_next_host_is_not_asked():
    """The first may have taken it: the domain's other host would make it two."""
    zone = {
        "there.example": {"MX": ["10 first.there.example.", "20 second.there.example."]},
        "first.there.example": {"A": ["127.0.0.1"]},
        "second.there.example": {"A": ["127.0.0.1"]},
    }
    async with ScriptedUpstream(script={"DOT": [DROP]}) as server:
        answer = only(await direct(server, zone))
    assert (answer.stage, answer.lost, len(server.connections)) == (Stage.CONTENT, True, 1)


async def test_without_mx_the_domain_is_the_host():
    """RFC 5321 s5.1: an address record alone makes a mail host."""
    async with ScriptedUpstream() as server:
        assert only(await direct(server, {"there.example": {"A": ["127.0.0.1"]}})).reply.code == 250


async def test_an_address_literal_is_the_host():
    """`b@[127.0.0.1]` needs no DNS; nor does one of IPv6, whose tag may be in any case."""
    async with ScriptedUpstream() as server:
        assert only(await direct(server, {}, "b@[127.0.0.1]")).reply.code == 250
    async with ScriptedUpstream(host="::1") as server:
        assert only(await direct(server, {}, "b@[IPv6:::1]")).reply.code == 250
        assert only(await direct(server, {}, "b@[ipv6:::1]")).reply.code == 250


@pytest.mark.parametrize(
    "zone",
    [
        {"there.example": {"CNAME": ["real.example."]}, "real.example": {"MX": ["10 mail.there.example."]}},
        {"there.example": {"MX": ["10 mx.there.example."]}, "mx.there.example": {"CNAME": ["mail.there.example."]}},
        {"there.example": {"CNAME": ["mail.there.example."]}},
    ],
    ids=["the domain, with MX", "the mail host", "the domain, without MX"],
)
async def test_an_alias_is_followed(zone):
    """RFC 5321 s5.1: a domain that is an alias is what it leads to; a mail host must be none, and yet some are."""
    async with ScriptedUpstream() as server:
        report = await direct(server, {**zone, "mail.there.example": {"A": ["127.0.0.1"]}})
    assert only(report).reply.code == 250
    assert server.messages[0].forward_paths == ["b@there.example"]


async def test_one_type_of_address_that_fails_hides_no_other(monkeypatch):
    """Both are asked for at once: a nameserver that drops AAAA costs no more than the time for one question."""
    answer = FakeDNS.answer

    def deaf(self, query):
        return None if query.question[0].rdtype == dns.rdatatype.AAAA else answer(self, query)

    monkeypatch.setattr(FakeDNS, "answer", deaf)
    began = time.monotonic()
    async with ScriptedUpstream() as server:
        assert only(await direct(server, mail_at())).reply.code == 250
    assert time.monotonic() - began < 1.9


async def test_a_host_that_wants_each_recipient_alone():
    """Nothing is lost, and nobody is told that there is no host: the recipients come again one by one."""
    async with ScriptedUpstream(script={"RCPT": ["452 4.5.3 only one recipient per message"] * 2}) as server:
        report = await direct(server, mail_at(), "b@there.example", "c@there.example")
        assert report.answers == {} and len(report.left) == 2
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("zone", "more", "code", "status", "fault"),
    [
        ({"there.example": {"MX": ["0 ."]}}, {}, 556, "5.1.10", Fault.NULL_MX),
        ({}, {}, 550, "5.1.2", Fault.NO_HOST),
        ({"there.example": {"TXT": ['"nothing here"']}}, {}, 550, "5.1.2", Fault.NO_HOST),
        ({}, {"failing": ["there.example"]}, 451, "4.4.3", Fault.DNS),
        ({}, {"silent": ["there.example"]}, 451, "4.4.3", Fault.DNS),
    ],
    ids=["null MX", "no such domain", "no address", "SERVFAIL", "silence"],
)
async def test_what_the_dns_says_is_an_answer(zone, more, code, status, fault):
    """Null MX and unknown domains are the recipient's fate; a DNS that fails is a deferral."""
    async with ScriptedUpstream() as server:
        answer = only(await direct(server, zone, **more))
    assert (answer.stage, answer.reply.code, answer.reply.status, answer.fault) == (Stage.RCPT, code, status, fault)
    assert server.connections == []


async def test_port_25_closed(unused_tcp_port):
    """When no host can be reached the last one's address is told at CONNECT, so the chain goes on."""

    class Closed:
        port = unused_tcp_port

    answer = only(await direct(Closed, mail_at()))
    assert (answer.stage, answer.lost) == (Stage.CONNECT, True)


async def test_port_25_silent(monkeypatch):
    """Where the line drops what goes to port 25, the answer comes after the short wait, not after minutes for each host."""
    monkeypatch.setattr(mx, "DIAL", 0.4)
    monkeypatch.setattr(mx, "_ALL_DIALS", 0.8)
    hosts = {f"h{number}.there.example": {"A": ["127.0.9.7"]} for number in range(5)}
    zone = {"there.example": {"MX": [f"{number} h{number}.there.example." for number in range(5)]}, **hosts}
    port = port_for_all()
    wall = Deaf("127.0.9.7", port)
    try:
        async with FakeDNS(zone) as dns:
            transports = delivering(Resolver([dns.address]))
            began = time.monotonic()
            report = await transports.submit(Upstream(DIRECT, MxHosts(port, private=True)), letter())
            took = time.monotonic() - began
            await transports.close()
    finally:
        wall.close()
    assert only(report).stage is Stage.CONNECT and only(report).lost
    assert "no answer within 0.4 s" in only(report).reply.text
    assert 0.8 <= took < 4, "two hosts are called, and no more"


async def test_a_host_with_an_ipv6_address_only():
    """A host that has no IPv4 address is reached by IPv6; where both are there, the one that answers is taken."""
    async with ScriptedUpstream(host="::1") as server:
        report = await direct(server, {**mail_at(), "mail.there.example": {"AAAA": ["::1"]}})
        assert only(report).reply.code == 250
        assert report.conversation.peer == f"[::1]:{server.port}"
        both = {**mail_at(), "mail.there.example": {"AAAA": ["::1"], "A": ["127.0.0.9"]}}
        assert only(await direct(server, both)).reply.code == 250


async def test_one_domain_at_a_time():
    """The first recipient's domain is gone to; nothing is said of the others, who are handed back."""
    zone = mail_at("127.0.0.1", "there.example", "other.example")
    async with ScriptedUpstream() as server:
        report = await direct(server, zone, "b@there.example", "c@other.example", "d@THERE.example")
    assert {str(path): answer.reply.code for path, answer in report.answers.items()} == {
        "b@there.example": 250,
        "d@THERE.example": 250,
    }
    assert [str(path) for path in report.left] == ["c@other.example"]
    assert [message.forward_paths for message in server.messages] == [["b@there.example", "d@THERE.example"]]


async def test_tls_with_strangers_is_taken_but_not_verified():
    """STARTTLS is used where it is offered, whoever signed the certificate."""
    async with ScriptedUpstream(tls=server_context(trustme.CA(), "whoever.example")) as server:
        report = await direct(server, mail_at())
    assert only(report).reply.code == 250
    assert report.conversation.tls == "TLSv1.3"


@pytest.mark.parametrize("script", [{"STARTTLS": ["454 4.7.0 no"]}, {"HANDSHAKE": [DROP]}])
async def test_in_clear_where_starttls_fails(script):
    """A broken STARTTLS is no reason not to deliver; the trail says that it went in clear."""
    async with ScriptedUpstream(tls=server_context(trustme.CA(), "whoever.example"), script=script) as server:
        report = await direct(server, mail_at())
    assert only(report).reply.code == 250
    assert server.messages[0].tls == ""
    told = report.conversation
    assert (told.tls, told.tls_policy, told.tls_verified) == ("", TlsPolicy.OPPORTUNISTIC, False)
    assert told.tls_fault in (Fault.TLS, Fault.HUNG_UP)


async def test_the_resolver_remembers():
    """The same question is asked once."""
    async with FakeDNS({"there.example": {"MX": ["10 mail.there.example."]}}) as dns:
        resolver = Resolver([dns.address])
        assert (
            await resolver.mx("there.example") == await resolver.mx("There.example.") == ([(10, "mail.there.example")], False)
        )
    assert len(dns.asked) == 1


async def test_the_resolver_never_raises_anything_else():
    """Bad names are unknown names; a dead server is a failure within the patience."""
    async with FakeDNS({}, silent=["slow.example"]) as dns:
        resolver = Resolver([dns.address], patience=0.5)
        for name in ("a..b", "x" * 70 + ".example", "nowhere.example", "\u00ff" * 300, "x." * 124 + "example"):
            with pytest.raises(NoSuchName):
                await resolver.ask(name, "A")
        with pytest.raises(NoAnswer):
            await resolver.ask("slow.example", "A")


async def test_what_a_believed_nameserver_calls_bogus_no_other_answers():
    """Else DANE would be lost by the server that comes next; without one that is believed, all are asked in turn."""
    zone = {"there.example": {"TLSA": ["3 1 1 " + "ab" * 32]}}
    async with FakeDNS(zone, failing=["there.example"]) as validating, FakeDNS(zone, host="127.0.0.11") as other:
        with pytest.raises(NoAnswer):
            await Resolver([validating.address, other.address]).look("there.example", "TLSA")
        assert other.asked == []
        found = await Resolver([other.address]).look("there.example", "TLSA")
        assert (len(found.rdata), found.secure) == (1, False)


async def test_addresses_of_both_families():
    """AAAA and A are both there, IPv6 first; one failing type does not hide the other."""
    async with FakeDNS({"m.example": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]}}) as dns:
        resolver = Resolver([dns.address])
        assert (await resolver.addresses("m.example")).addresses == ["2001:db8::1", "192.0.2.1"]
        assert (await resolver.addresses("192.0.2.7")).addresses == ["192.0.2.7"]


async def test_a_nameserver_that_drips_has_one_deadline():
    """An answer too long for UDP comes over TCP; there an octet now and then does not renew the time for the question."""

    class Truncating(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            response = dns.message.make_response(dns.message.from_wire(data))
            response.flags |= dns.flags.TC
            for _ in range(3):
                self.transport.sendto(response.to_wire(), address)

    async def drip(_reader, writer):
        with contextlib.closing(writer), contextlib.suppress(OSError):
            writer.write(b"\x40\x00")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        place = server.sockets[0].getsockname()
        transport, _ = await loop.create_datagram_endpoint(Truncating, local_addr=place)
        began = loop.time()
        with pytest.raises(NoAnswer, match="within 1 seconds"):
            await Resolver([f"127.0.0.1:{place[1]}"], patience=1).ask("there.example", "TXT")
        assert loop.time() - began < 2
        transport.close()
        await asyncio.sleep(0.2)  # until the server has seen that nobody reads


NEVER = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.7", "169.254.169.254", "100.64.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *(
        "64:ff9b::7f00:1",
        "64:ff9b::192.168.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::1",
        "2002:c0a8:1::",
        "224.0.0.1",
        "255.255.255.255",
    ),
]


@pytest.fixture
async def visited(monkeypatch):
    """Every address that somebody wanted to connect to; none is."""
    places = []

    async def reach(candidates, patience):
        places.extend(place.host for place in candidates)
        raise Failed(Answer(Stage.CONNECT, Reply(421, "4.4.1", "not tried in this test"), lost=True))

    monkeypatch.setattr("relay.upstream.client_session.reach", reach)
    return places


class Port25:
    port = 25


@pytest.mark.parametrize("address", NEVER)
async def test_a_stranger_cannot_lead_the_relay_into_the_lan(visited, address):
    """Neither by MX, by an address record alone nor by an address literal; a second host is still gone to."""
    kind = "AAAA" if ":" in address else "A"
    literal = f"b@[IPv6:{address}]" if ":" in address else f"b@[{address}]"
    host = {"bad.example": {kind: [address]}}
    for zone, path in (
        ({"there.example": {"MX": ["10 bad.example."]}, **host}, "b@there.example"),
        (host, "b@bad.example"),
        ({}, literal),
    ):
        answer = only(await direct(Port25, zone, path, private=False))
        assert (answer.stage, answer.reply.status) in {(Stage.RCPT, "4.4.4"), (Stage.RCPT, "5.4.6")}, (path, answer)
        assert (answer.reply.status == "4.4.4") == (answer.reply.code == 451) == ("mx.private" in answer.reply.text)
        assert answer.fault is Fault.BARRED
    assert visited == []
    good = {"good.example": {"A": ["8.8.8.8"]}, "there.example": {"MX": ["5 bad.example.", "10 good.example."]}, **host}
    assert only(await direct(Port25, good, "b@there.example", private=False)).stage is Stage.CONNECT
    mixed = {
        "there.example": {"MX": ["5 mixed.example."]},
        "mixed.example": {kind: [address], "A": ["9.9.9.9"], "AAAA": ["2620:fe::fe"]},
    }
    await direct(Port25, mixed, "b@there.example", private=False)
    assert set(visited) == {"8.8.8.8", "9.9.9.9", "2620:fe::fe"}


async def test_a_network_that_translates_is_no_lan(visited):
    """Where only IPv6 is spoken the DNS gives IPv4 hosts an address of NAT64; that is the Internet."""
    zone = {"there.example": {"MX": ["10 good.example."]}, "good.example": {"AAAA": ["64:ff9b::808:808"]}}
    await direct(Port25, zone, "b@there.example", private=False)
    assert visited == ["64:ff9b::808:808"]


async def test_our_own_public_address_is_no_mail_host_of_others(visited, monkeypatch):
    """Mail would come back to us, from outside by the look of it."""
    monkeypatch.setattr(mx_order, "on_internet", lambda address: True)
    answer = only(await direct(Port25, mail_at("127.0.0.1"), private=False))
    assert (answer.reply.code, answer.reply.status, visited) == (550, "5.4.6", [])


async def test_our_own_address_among_others_ends_the_list_there(visited, monkeypatch):
    """RFC 5321 s5.1: from us mail goes to better hosts only; the worse ones would bring it here again."""
    monkeypatch.setattr(mx, "is_ours", "8.8.4.4".__eq__)
    hosts = {"better.example": {"A": ["9.9.9.9"]}, "us.example": {"A": ["8.8.4.4"]}, "worse.example": {"A": ["8.8.8.8"]}}
    published = ["5 better.example.", "10 us.example.", "20 worse.example."]
    assert only(await direct(Port25, {"there.example": {"MX": published}, **hosts}, private=False)).stage is Stage.CONNECT
    assert visited == ["9.9.9.9"]
    answer = only(await direct(Port25, {"there.example": {"MX": published[1:]}, **hosts}, private=False))
    assert (answer.reply.code, answer.reply.status, visited) == (550, "5.4.6", ["9.9.9.9"])


async def test_two_sessions_to_one_domain_at_once():
    """The third message waits; what goes to another domain does not."""
    transports = delivering(Resolver(["127.0.0.1:9"]))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(transports.turn(DIRECT_UPSTREAM, "mx there.example"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), transports.turn(DIRECT_UPSTREAM, "mx there.example"):
                raise AssertionError("three at once")
        async with asyncio.timeout(0.2), transports.turn(DIRECT_UPSTREAM, "mx other.example"):
            pass
    async with asyncio.timeout(0.2), transports.turn(DIRECT_UPSTREAM, "mx there.example"):
        pass
