"""DER is read whole or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.der import elements


@given(st.lists(st.tuples(st.sampled_from([0x02, 0x30, 0xA0, 0x82]), st.binary(max_size=300)), max_size=5))
def test_what_is_written_is_read(written):
    """One, two or three octets of length; nothing is left out or made up."""
    forms = {
        0: lambda size: bytes([size]),
        1: lambda size: b"\x81" + bytes([size]),
        2: lambda size: b"\x82" + size.to_bytes(2, "big"),
    }
    wholes = [
        bytes([tag]) + forms[(len(contents) > 127) + (len(contents) > 255)](len(contents)) + contents
        for tag, contents in written
    ]
    found = list(elements(b"".join(wholes)))
    assert [(one.tag, one.contents) for one in found] == written
    assert [one.whole for one in found] == wholes
    if wholes:
        with pytest.raises(ValueError, match="cut off"):
            list(elements(b"".join(wholes)[:-1]))


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\x30", "cut off"),
        (b"\x30\x02\x05", "cut off"),
        (b"\x30\x82\x01", "cut off"),
        (b"\x30\xff", "cut off"),
        (b"\x30\x80\x05\x00\x00\x00", "no length"),
        (b"\x3f\x10\x00", "tag of several octets"),
    ],
)
def test_what_is_refused(octets, words):
    """Behind what is sound, too."""
    for before in (b"", b"\x05\x00"):
        with pytest.raises(ValueError, match=words):
            list(elements(before + octets))


@given(st.binary(max_size=200))
def test_any_octets(octets):
    """They are refused, or read to the last one."""
    try:
        found = list(elements(octets))
    except ValueError:
        return
    assert b"".join(one.whole for one in found) == octets
