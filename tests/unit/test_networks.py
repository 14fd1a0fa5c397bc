"""Which addresses are of a LAN, which a host on the Internet may have, and who is counted together."""

import pytest

from relay.networks import group_of, in_lan, on_internet, with_port, without_port


@pytest.mark.parametrize(
    ("address", "lan", "internet"),
    [
        ("8.8.8.8", False, True),
        ("2620:fe::fe", False, True),
        ("64:ff9b::808:808", False, True),
        ("2002:808:808::1", False, True),
        ("192.168.1.1", True, False),
        ("::ffff:192.168.1.1", True, False),
        ("64:ff9b::a00:1", True, False),
        ("64:ff9b:1::808:808", True, False),
        ("2002:a00:1::", True, False),
        ("100.127.255.255", True, False),
        ("100.128.0.0", False, True),
        ("172.32.0.1", False, True),
        ("127.0.0.1", True, False),
        ("fe80::1%eth0", True, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("::127.0.0.1", False, False),
        ("224.0.0.251", False, False),
        ("240.0.0.1", False, False),
        ("ff02::fb", False, False),
        ("2001::1", False, False),
        ("2001:200::1", False, True),
    ],
)
def test_where_an_address_is(address: str, lan: bool, internet: bool) -> None:
    """In the LAN, on the Internet, or nowhere: an IPv4 address inside an IPv6 one is what counts."""
    assert (in_lan(address), on_internet(address)) == (lan, internet)


def test_no_name_is_an_address() -> None:
    """Whoever has a name looks it up first."""
    for text in ("mail.example", "", "1.2.3"):
        with pytest.raises(ValueError, match="does not appear"):
            on_internet(text)


def test_one_ipv6_host_is_one_client() -> None:
    """It may have all of a /64; an IPv4 client of a dual socket is that IPv4 client."""
    assert group_of("2001:db8::1") == group_of("2001:db8::ffff:1%eth0") != group_of("2001:db8:0:1::1")
    assert group_of("::ffff:192.168.0.9") == group_of("192.168.0.9") == "192.168.0.9"
    assert group_of("no address") == "no address"


@pytest.mark.parametrize(("host", "place"), [("192.168.0.9", "192.168.0.9:25"), ("::1", "[::1]:25"), ("nas", "nas:25")])
def test_a_host_and_its_port(host: str, place: str) -> None:
    """Written with brackets where they are needed, and read again."""
    assert with_port(host, 25) == place
    assert without_port(place) == host
