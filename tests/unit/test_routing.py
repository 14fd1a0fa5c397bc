"""Routes: the first rule that matches a recipient says where it goes, and is named."""

from ipaddress import ip_network

import pytest

from relay.mail.address import Address, parse_address
from relay.mail.device import Device
from relay.mail.envelope import Origin
from relay.outbound.routing import Chosen, Route, catches_all, chain_for, copies, for_notice, may_route

NAS = Origin("192.168.0.7", listener="0.0.0.0:25")
ME = Address("me", "office.example")
HER = Address("her", "host.example")


def test_the_first_match_wins_and_is_numbered_from_one():
    """Of two rules that match, the first gives the chain; the number counts from 1 and the words name the condition."""
    routes = [Route(via=("a",), to=("*@other.example",)), Route(via=("b", "c"), to=("*@host.example",)), Route(via=("d",))]
    chosen = chain_for(routes, ME, HER, NAS)
    assert (chosen.rule, chosen.via) == (2, ("b", "c"))
    assert chosen.why == "rule 2: to *@host.example"
    assert chain_for(routes, ME, ME, NAS).why == "rule 3: everything"


def test_without_a_rule_there_is_no_chain():
    """Nothing matches: rule 0, no upstream, and RCPT is refused in plain words."""
    routes = [Route(via=("a",), to=("*@other.example",))]
    assert (chain_for(routes, ME, HER, NAS).rule, chain_for(routes, ME, HER, NAS).via) == (0, ())
    refusal = may_route(routes, ME, HER, NAS)
    assert str(refusal) == "550 5.4.4 no rule in routes leads to her@host.example"


@pytest.mark.parametrize(
    ("glob", "sender", "matches"),
    [
        ("*@office.example", "me@office.example", True),
        ("*@OFFICE.example", "Me@Office.Example", True),
        ("*@office.example", "me@sub.office.example", False),
        ("*@*.example", "me@sub.office.example", True),
        ("m?@office.example", "me@office.example", True),
        ("root", "root", True),
        ("*@[192.168.0.5]", "x@[192.168.0.5]", True),
        ("*@office.example", None, False),
        ("<>", None, True),
        ("<>", "me@office.example", False),
        ("*", None, True),
    ],
)
def test_sender_globs(glob, sender, matches):
    """`*` and `?` are wild, brackets are not; case never matters; `<>` is the null reverse-path."""
    path = parse_address(sender) if sender else None
    assert (chain_for([Route(via=("a",), sender=(glob,))], path, HER, NAS).rule == 1) is matches


@pytest.mark.parametrize(
    ("network", "client", "matches"),
    [
        ("192.168.0.0/28", "192.168.0.7", True),
        ("192.168.0.0/28", "192.168.0.17", False),
        ("192.168.0.0/28", "::ffff:192.168.0.7", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("192.168.0.0/28", "", False),
        ("192.168.0.0/28", "fe80::1", False),
    ],
)
def test_client_networks(network, client, matches):
    """A device is known by its address, also as a dual-stack socket shows it."""
    route = Route(via=("a",), client=(ip_network(network),))
    assert (chain_for([route], ME, HER, Origin(client)).rule == 1) is matches


def test_all_conditions_of_a_rule_must_hold():
    """Conditions of different kinds are all needed; of one kind, any does."""
    route = Route(via=("a",), to=("*@x.example", "*@host.example"), sender=("*@office.example",), listener=("0.0.0.0:25",))
    assert chain_for([route], ME, HER, NAS).why == "rule 1: to *@host.example, from *@office.example, listener 0.0.0.0:25"
    assert chain_for([route], None, HER, NAS).rule == 0
    assert chain_for([route], ME, HER, Origin("192.168.0.7", listener="0.0.0.0:2525")).rule == 0


def test_reject_and_discard():
    """A rule that rejects answers RCPT with its own text; one that discards accepts."""
    routes = [Route(reject="not from here", to=("*@spam.example",)), Route(discard=True)]
    assert str(may_route(routes, ME, Address("x", "spam.example"), NAS)) == "550 5.7.1 not from here"
    assert may_route(routes, ME, HER, NAS) is None
    assert chain_for(routes, ME, HER, NAS).discard


def test_a_rule_without_conditions_catches_all():
    """No message gets past it; a rule with a client or a recipient lets some through."""
    assert catches_all(Route(via=("a",)))
    assert catches_all(Route(via=("a",), to=("*",)))
    assert not catches_all(Route(via=("a",), client=(ip_network("10.0.0.0/8"),)))
    assert not catches_all(Route(via=("a",), to=("*@x.example",)))


def test_globs_of_nothing_but_stars_catch_everything():
    """`*@*` and `**` match every recipient; as a sender `*@*` leaves notices (`<>`) through."""
    for glob in ("*", "**", "*@*", "**@*"):
        assert catches_all(Route(via=("a",), to=(glob,)))
    for glob in ("@", "*@", "@*", "?*", "*@*.*"):
        assert not catches_all(Route(via=("a",), to=(glob,)))
    assert not catches_all(Route(via=("a",), sender=("*@*",)))
    assert catches_all(Route(via=("a",), sender=("**",)))


def test_a_notice_may_go_by_every_upstream():
    """Behind the chain stand all others; a rule that refuses its address does not silence it, one that discards does."""
    chosen = Chosen(2, ("a",), why="rule 2: everything")
    assert for_notice(chosen, ["b", "a", "c"]).via == ("a", "b", "c")
    assert for_notice(Chosen(1, reject="no"), ["b"]) == Chosen(1, ("b",), why="; a notice of our own, so b too")
    assert for_notice(Chosen(0), ["b"]).via == ("b",)
    assert for_notice(Chosen(1, discard=True), ["b"]).via == ()
    assert for_notice(chosen, ["a"]) == chosen


def test_rules_for_devices_and_users():
    """By the name that the configuration gives to the device, and by who logged in; both are named among the reasons."""
    routes = [
        Route(via=("a",), device=("cam", "nas"), to=("*@host.example",)),
        Route(via=("b",), user=("x",)),
        Route(via=("c",)),
    ]
    assert chain_for(routes, ME, HER, NAS, "nas").why == "rule 1: device nas, to *@host.example"
    assert chain_for(routes, ME, HER, NAS, "printer").via == ("c",)
    assert chain_for(routes, ME, HER, NAS).via == ("c",)
    assert chain_for(routes, ME, HER, Origin("192.168.0.7", user="x")).why == "rule 2: user x"
    assert not catches_all(routes[0])
    assert not catches_all(routes[1])
    assert may_route(routes[:1], ME, HER, NAS, "nas") is None
    assert may_route(routes[:1], ME, HER, NAS) is not None


def test_copies_are_of_the_device_and_of_the_rules():
    """Each once, none that no rule takes or that one refuses, and a copy has no copies."""
    archive, boss, gone = (Address(name, "host.example") for name in ("archive", "boss", "gone"))
    routes = [
        Route(to=("gone@*",), reject="no"),
        Route(to=("archive@*",), via=("a",), copy_to=(ME,)),
        Route(to=("*@host.example",), via=("a",), copy_to=(archive, boss)),
    ]
    device = Device("cam", copy_to=(boss, gone, ME))
    assert list(copies(routes, ME, [HER], NAS, device)) == [boss, archive]
    assert list(copies(routes, ME, [HER, boss], NAS, None)) == [archive, boss]
    assert list(copies(routes, ME, [ME], NAS, None)) == []
