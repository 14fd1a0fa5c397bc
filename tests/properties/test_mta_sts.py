"""MTA-STS under input of all kinds: records, policies, names."""

import string

from hypothesis import given
from hypothesis import strategies as st

from relay.upstream.mta_sts import BadPolicy, StsMode, StsPolicy, name_fits, parse_policy, record_id

LABEL = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PATTERN = st.tuples(st.sampled_from(["", "*."]), NAME).map("".join)


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_policy_or_none(octets):
    """Nothing else than BadPolicy is ever raised."""
    try:
        found = parse_policy(octets)
    except BadPolicy:
        return
    assert found.mode is StsMode.NONE or found.mx


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=40).map(lambda octets: b"v=STSv1;" + octets), max_size=3))
def test_whatever_comes_is_an_id_or_none(texts):
    """An id has letters and digits only."""
    found = record_id(texts)
    assert found == "" or (found.isascii() and found.isalnum() and len(found) <= 32)


@given(
    st.sampled_from(StsMode),
    st.lists(PATTERN, min_size=1, max_size=5),
    st.integers(0, 31_557_600),
    st.sampled_from(["\n", "\r\n"]),
    st.randoms(),
    st.lists(st.from_regex(r"[a-ln-z]{1,3}x: [ -~]{0,10}", fullmatch=True), max_size=2),
)
def test_a_policy_is_read_as_it_was_written(mode, mx, age, end, random, more):
    """In any order, with fields of a later version among them."""
    lines = [f"mode: {mode.value}", f"max_age:{age}", "version:\tSTSv1", *(f"mx: {name}" for name in mx), *more]
    random.shuffle(lines)
    found = parse_policy(end.join(lines).encode())
    assert (found.mode, found.max_age, set(found.mx)) == (mode, age, {name.lower() for name in mx})


@given(PATTERN, NAME)
def test_a_pattern_fits_what_differs_in_one_label_at_most(pattern, name):
    """The rule of RFC 6125 said in another way, and the policy says the same."""
    labels, wanted = name.lower().split("."), pattern.lower().split(".")
    expected = len(labels) == len(wanted) and all(
        a == b or (b == "*" and n == 0) for n, (a, b) in enumerate(zip(labels, wanted, strict=True))
    )
    assert name_fits(pattern, name) is expected
    assert StsPolicy(StsMode.ENFORCE, (pattern.lower(),), 5).permits(name) is expected
    assert name_fits(name, name) and name_fits(f"*.{'.'.join(name.split('.')[1:])}", name) is ("." in name)
