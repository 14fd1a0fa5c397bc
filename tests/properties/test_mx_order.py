"""The order of mail hosts, and the choice of their addresses, whatever the DNS says."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from relay.networks import on_internet
from relay.upstream.connect import endpoints
from relay.upstream.mx_order import allowed, in_order

HOSTS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "B", "b", "c", "d", "e"])), max_size=12)
ADDRESS = st.ip_addresses().map(str) | st.sampled_from(["127.0.0.1", "::1", "10.0.0.1", "9.9.9.9", "2620:fe::fe"])


@given(HOSTS, st.text(max_size=14))
def test_the_order(published, queue_id):
    """Never a worse host before a better one; each name once, the root never; the same whatever order the DNS gives."""
    found = in_order(published, queue_id)
    assert [host.preference for host in found] == sorted(host.preference for host in found)
    assert {host.name.lower() for host in found} == {name.lower() for _, name in published if name}
    assert len({host.name.lower() for host in found}) == len(found)
    turned = in_order(list(reversed(published)), queue_id)
    assert [(host.name.lower(), host.preference) for host in turned] == [(host.name.lower(), host.preference) for host in found]
    for host in found:
        assert host.preference == min(preference for preference, name in published if name.lower() == host.name.lower())


@given(st.lists(ADDRESS, max_size=15), st.sets(ADDRESS), st.booleans())
def test_the_addresses(addresses, mine, private):
    """Only what may be called, each once; of two families both are among the first two."""
    may = allowed(addresses, private=private, ours=mine.__contains__)
    assert set(may) == {one for one in addresses if private or (on_internet(one) and one not in mine)}
    found = [place.host for place in endpoints(may, 25)]
    assert set(found) <= set(may) and len(set(found)) == len(found) == min(10, len(may))
    if len({":" in one for one in may}) == 2:
        assert len({":" in one for one in found[:2]}) == 2


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_never_into_the_lan(address):
    """Whatever the DNS says, in whatever writing: a private address is not called."""
    called = allowed([str(address)], private=False, ours=lambda _: False)
    assert not called or not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)
