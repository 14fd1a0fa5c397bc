"""TLSA records of all kinds against certificates of all kinds: nothing matches that should not, nothing raises."""

from hypothesis import given
from hypothesis import strategies as st

from relay.upstream.dane import Tlsa, anchors, names_server, usable
from relay.upstream.peer_certificate import examine, public_key
from tests.unit.test_dane import CHAIN, LEAF, record

RECORD = st.builds(
    Tlsa,
    st.integers(0, 255) | st.sampled_from([2, 3]),
    st.integers(0, 255) | st.sampled_from([0, 1]),
    st.integers(0, 255) | st.sampled_from([0, 1, 2]),
    st.binary(max_size=70) | st.binary(min_size=32, max_size=32) | st.binary(min_size=64, max_size=64),
)
RIGHT = st.builds(record, st.sampled_from([2, 3]), st.sampled_from([0, 1]), st.sampled_from([0, 1, 2]), st.sampled_from(CHAIN))


@given(st.lists(RECORD | RIGHT, max_size=6), st.lists(st.binary(max_size=80) | st.sampled_from(CHAIN), max_size=4))
def test_only_what_is_named_is_trusted(records, chain):
    """Whatever is trusted is named by a record that counts."""
    counted = usable(records)
    assert set(counted) <= set(records) and all(one.usage in (2, 3) for one in counted)
    assert usable(reversed(counted)) == counted
    leaf = chain[0] if chain else b""
    assert names_server(counted, leaf) == any(one.usage == 3 and one.names(leaf) for one in counted)
    for found in anchors(counted, chain):
        assert any(one.usage == 2 and one.names(found) for one in counted)


@given(st.lists(RIGHT, min_size=1, max_size=6))
def test_what_is_left_still_names_something(records):
    """The choice between digests never takes the last record away."""
    assert usable(records)


@given(st.binary(max_size=200), st.integers(0, len(LEAF)), st.integers(0, 20))
def test_a_certificate_of_somebodys_own_making(octets, place, cut):
    """Certificates come from strangers: whatever is in them, reading them raises nothing."""
    broken = LEAF[:place] + octets + LEAF[place + cut :]
    examine(broken)
    assert public_key(broken) == b"" or public_key(broken) in broken
