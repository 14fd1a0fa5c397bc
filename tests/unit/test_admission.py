"""Who may come in, for whom, how much, how often: decisions without a socket."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from relay.inbound.admission import (
    ClientLimits,
    HeaderFacts,
    ListenAuth,
    Listener,
    Recipients,
    Throttle,
    admit_client,
    admit_hops,
    admit_origin,
    admit_session,
    admit_size,
    client_address,
    client_group,
    expand,
    header_facts,
    mask_warnings,
)
from relay.mail.address import Address, parse_address
from relay.mail.reply import Reply

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("192.168.1.5", "192.168.1.5"),
        ("::ffff:192.168.1.5", "192.168.1.5"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_network_of_ipv6_is_one_client(peer: str, group: str) -> None:
    """One machine may have as many addresses of its /64 as it likes."""
    assert client_group(client_address(peer)) == group


@pytest.mark.parametrize(
    ("peer", "admitted"),
    [
        ("192.168.1.5", True),
        ("::ffff:192.168.1.5", True),
        ("fe80::1%eth0", True),
        ("192.169.1.5", False),
        ("2001:db8::1", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_networks_decide_who_may_submit(peer, admitted):
    """IPv4 over a dual-stack socket counts as IPv4, a zone does not count; the refusal names the setting."""
    listener = Listener(networks=(ip_network("192.168.0.0/16"), ip_network("fe80::/10")))
    reply = admit_client(client_address(peer), listener)
    assert (reply is None) == admitted
    if reply:
        assert (reply.code, reply.status) == (554, "5.7.1")
        assert "listen.networks" in reply.text


def test_without_networks_nobody_may_submit():
    """Never an open relay by omission."""
    assert admit_client(client_address("127.0.0.1"), Listener()) is not None


@pytest.mark.parametrize(
    ("in_all", "of_client", "named"), [(9, 4, ""), (10, 0, "limits.connections"), (5, 5, "limits.per_client")]
)
def test_sessions_are_limited(in_all, of_client, named):
    """The last place is given, the next is refused with 421."""
    reply = admit_session(in_all, of_client, ClientLimits(connections=10, per_client=5))
    assert (reply is None) == (named == "")
    assert reply is None or (named in reply.text and (reply.code, reply.status) == (421, "4.7.0"))


@pytest.mark.parametrize(
    ("said", "room", "code"), [(0, 1, 0), (100, 100, 0), (101, 1000, 552), (100, 99, 452), (0, 0, 452), (0, -5, 452)]
)
def test_size_and_room_decide_what_may_come_in(said, room, code):
    """A size that is never allowed is permanent, lack of room is not."""
    reply = admit_size(said, 100, room)
    assert (reply.code if reply else 0) == code


def expanded(text: str, recipients: Recipients) -> list[str] | Reply:
    found = expand(parse_address(text), recipients)
    return found if isinstance(found, Reply) else [str(one) for one in found]


def to(*texts: str) -> tuple[Address, ...]:
    return tuple(parse_address(text) for text in texts)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a@b.example", ["a@b.example"]),
        ("root", ["me@example.jp"]),
        ("ROOT", ["me@example.jp"]),
        ("bob", ["bob@home.example"]),
        ("x@Nas.Local", ["me@example.jp", "you@example.jp"]),
        ("chain", ["me@example.jp"]),
        ("team", ["bob@home.example", "me@example.jp"]),
        ("exact@nas.local", ["one@example.jp"]),
        ("circle@c.example", ["circle@c.example"]),
        ("copy@c.example", ["copy@c.example", "me@example.jp"]),
        ("backup", ["nas@home.example"]),
    ],
)
def test_recipients_become_who_is_meant(given, expected):
    """Exact aliases before whole domains, chains to their end, circles left alone, bare names completed."""
    recipients = Recipients(
        "home.example",
        {
            "root": to("me@example.jp"),
            "Chain": to("root"),
            "team": to("bob", "root", "me@EXAMPLE.jp"),
            "*@nas.local": to("me@example.jp", "you@example.jp"),
            "exact@NAS.local": to("one@example.jp"),
            "circle@c.example": to("circle@c.example"),
            "copy@c.example": to("copy@c.example", "root"),
            "backup@home.example": to("nas"),
        },
    )
    assert expanded(given, recipients) == expected


def test_a_bare_name_without_a_domain_names_the_setting():
    """550 5.1.1 tells what to set."""
    reply = expanded("root", Recipients())
    assert isinstance(reply, Reply)
    assert (reply.code, reply.status) == (550, "5.1.1")
    assert "recipients.default_domain" in reply.text


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n", b"\r", b"\r\r\n"])
def test_header_facts_are_read_with_any_line_end(line_end):
    """Message-ID, hops and our own hops; the body does not count, nor a name that only begins like ours."""
    head = line_end.join(
        [
            b"Received: from a",
            b"\tby relay.test with SMTP",
            b"received : from b by relay.test.example",
            b"Received: from c by RELAY.TEST; x",
            b"Message-ID:",
            b" <1@nas>",
            b"Message-ID: <2@nas>",
            b"",
            b"Received: by relay.test",
        ]
    )
    assert header_facts(head, "relay.test") == HeaderFacts("<1@nas>", 3, 2)


def test_a_message_without_header_has_no_facts():
    """Also if it is empty."""
    assert header_facts(b"", "relay.test") == HeaderFacts()
    assert header_facts(b"just text", "relay.test") == HeaderFacts()


@pytest.mark.parametrize(
    ("facts", "admitted"),
    [
        (HeaderFacts("", 50, 3), True),
        (HeaderFacts("", 51, 0), False),
        (HeaderFacts("", 4, 4), False),
    ],
)
def test_circles_are_broken(facts, admitted):
    """554 5.4.6 over fifty hops, or when we see our own name too often."""
    reply = admit_hops(facts)
    assert (reply is None) == admitted
    assert reply is None or (reply.code, reply.status) == (554, "5.4.6")


def test_the_throttle_counts_a_sliding_minute():
    """Two a minute: the third waits until the first is a minute old; a clock set back locks nobody out."""
    throttle, most = Throttle(), 2
    throttle.count("a", NOON)
    assert throttle.admit("a", NOON, most) is None
    throttle.count("a", NOON + timedelta(seconds=30))
    reply = throttle.admit("a", NOON + timedelta(seconds=59), most)
    assert reply is not None
    assert (reply.code, reply.status) == (450, "4.7.1")
    assert throttle.admit("b", NOON + timedelta(seconds=59), most) is None
    assert throttle.admit("a", NOON + timedelta(seconds=60), most) is None
    throttle.count("a", NOON + timedelta(seconds=60))
    assert throttle.admit("a", NOON - timedelta(days=1), most) is None


def test_the_throttle_forgets_who_went_quiet():
    """A scan through all addresses does not stay in memory."""
    throttle = Throttle()
    for number in range(1001):
        throttle.count(str(number), NOON)
    throttle.count("late", NOON + timedelta(minutes=2))
    assert len(throttle._times) == 1


PRIVATE = (ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16"))
GATEWAY = client_address("172.17.0.1")


@pytest.mark.parametrize(
    ("listener", "user", "code"),
    [
        (Listener(networks=PRIVATE), "", 554),
        (Listener(networks=PRIVATE, on_purpose=(ip_network("172.17.0.1/32"),)), "", 0),
        (Listener(networks=PRIVATE, on_purpose=(ip_network("172.17.0.0/16"),)), "", 0),
        (Listener(networks=PRIVATE, on_purpose=(ip_network("192.168.1.0/24"),)), "", 554),
        (Listener(networks=PRIVATE, auth=ListenAuth.REQUIRED), "nas", 0),
        (Listener(networks=PRIVATE, auth=ListenAuth.REQUIRED), "", 530),
        (Listener(networks=PRIVATE, auth=ListenAuth.ANY), "whoever", 554),
    ],
)
def test_an_address_that_anybody_may_have_proves_nothing(listener, user, code):
    """The container's gateway is trusted when it was listed on purpose or a real login vouches; else the cure is named."""
    reply = admit_origin(GATEWAY, user, listener, {GATEWAY})
    assert (reply.code if reply else 0) == code
    if code == 554:
        assert "network_mode: host" in reply.text
        assert "list 172.17.0.1 in listen.networks (RELAY_NETWORKS) on purpose" in reply.text


def test_others_are_not_concerned():
    """A device with an address of its own, and everybody where there is no such network."""
    assert admit_origin(client_address("192.168.1.9"), "", Listener(networks=PRIVATE), {GATEWAY}) is None
    assert admit_origin(GATEWAY, "", Listener(networks=PRIVATE)) is None


def test_the_start_says_whom_the_containers_network_shuts_out_or_lets_in():
    """Refusing and trusting are both told, with the cure; a listener that asks for a login needs no word."""
    doubting = Listener(port=25, networks=PRIVATE)
    trusting = Listener(port=26, networks=PRIVATE, on_purpose=(ip_network("172.17.0.1/32"),))
    known = Listener(port=27, networks=PRIVATE, auth=ListenAuth.REQUIRED)
    first, second = mask_warnings([doubting, trusting, known], {GATEWAY})
    assert "0.0.0.0:25 takes no mail from there" in first
    assert "network_mode: host" in first and "RELAY_NETWORKS" in first
    assert "on purpose" in second
    assert mask_warnings([known], {GATEWAY}) == []
    assert mask_warnings([doubting, trusting], ()) == []


def test_a_bare_cr_in_a_field_begins_no_other() -> None:
    """What is read for admission is what is relayed later; a message that has nothing but CRs is read by its CRs."""
    sneaky = b"X-Camera: a\rMessage-ID: <evil@x>\rReceived: by relay.test\r\nMessage-ID: <true@x>\r\n\r\n"
    assert header_facts(sneaky, "relay.test") == HeaderFacts("<true@x>")
    only = b"X-Camera: a\rMessage-ID: <true@x>\rReceived: by relay.test\r\rtext\r\n"
    assert header_facts(only, "relay.test") == HeaderFacts("<true@x>", hops=1, own_hops=1)
