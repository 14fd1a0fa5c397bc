"""Which mail hosts are tried in which order, and where they may be."""

import pytest

from relay.upstream.connect import endpoints
from relay.upstream.mx_order import MailHost, allowed, better_than, in_order, leads_back, literal, takes_no_mail


def test_equal_preference_is_shuffled_by_message():
    """The order is the same for one message, spread over hosts for many, and preference goes first."""
    published = [(10, "a.example"), (10, "b.example"), (10, "c.example"), (5, "first.example")]
    orders = {tuple(host.name for host in in_order(published, f"q{number}")) for number in range(100)}
    assert len(orders) == 6
    assert all(order[0] == "first.example" for order in orders)
    assert in_order(published, "q1") == in_order(list(reversed(published)), "q1")


def test_a_host_named_twice_is_tried_once():
    """At its better preference, however it is written."""
    assert in_order([(20, "A.example"), (10, "a.example"), (15, "b.example")], "q") == [
        MailHost("a.example", 10),
        MailHost("b.example", 15),
    ]


def test_null_mx():
    """Only alone it says that the domain takes no mail; beside others it is skipped."""
    assert takes_no_mail([(0, "")])
    assert not takes_no_mail([])
    assert not takes_no_mail([(0, ""), (10, "a.example")])
    assert in_order([(0, ""), (10, "a.example")], "q") == [MailHost("a.example", 10)]


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:2001:db8::1]", "2001:db8::1"),
        ("there.example", ""),
        ("[192.0.2.1", ""),
        ("[]", ""),
        ("[localhost]", ""),
        ("[IPv6:there.example]", ""),
    ],
)
def test_address_literals(domain, address):
    """RFC 5321 s4.1.3; the tag is in any case."""
    assert literal(domain) == address


def test_families_by_turns():
    """RFC 8305 s4: no family waits until the other is used up."""
    found = endpoints(["2620:fe::1", "2620:fe::2", "9.9.9.9", "9.9.9.10"], 25)
    assert [place.host for place in found] == ["2620:fe::1", "9.9.9.9", "2620:fe::2", "9.9.9.10"]
    assert endpoints([], 25) == []


def test_a_host_with_very_many_addresses():
    """Some of both families are tried, not hundreds."""
    many = [f"2620:fe::{number}" for number in range(1, 90)] + [f"9.9.9.{number}" for number in range(1, 90)]
    found = endpoints(many, 25)
    assert len(found) == 10 and len([place for place in found if ":" in place.host]) == 5


def test_no_way_into_the_lan():
    """Addresses of the LAN are left out unless that is allowed, and so are our own."""
    addresses = ["192.168.0.7", "9.9.9.9", "8.8.8.8", "fd00::1"]
    mine = {"8.8.8.8"}.__contains__
    assert allowed(addresses, private=False, ours=mine) == ["9.9.9.9"]
    assert allowed(addresses, private=True, ours=mine) == addresses


def test_hosts_that_would_send_it_back():
    """RFC 5321 s5.1: where we are one of the hosts, only better ones are left.  A joke with loopback does not count as us."""
    assert leads_back(["8.8.8.8"], {"8.8.8.8"}.__contains__)
    assert not leads_back(["127.0.0.1"], {"127.0.0.1"}.__contains__)
    hosts = [MailHost("a", 5), MailHost("b", 10), MailHost("c", 20)]
    assert better_than(hosts, MailHost("us", 10)) == [MailHost("a", 5)]
