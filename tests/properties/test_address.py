"""Addresses survive being written and read again, and no octet of a device can break out of one."""

import re

from hypothesis import given
from hypothesis import strategies as st

from relay.inbound.dialect import clean_helo, mail_argument, rcpt_argument, read_command
from relay.mail.address import Address, BadAddress, parse_address, parse_path

LOCALS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=30).filter(str.strip)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,10}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
ADDRESSES = st.builds(Address, LOCALS, DOMAINS)
ODD = st.text(st.sampled_from('ab@.,;:<>"\\ =()\r\n\t\0é\udcff[]'), max_size=30)


@given(ADDRESSES)
def test_what_is_written_is_read_again(address: Address) -> None:
    """`str` and `parse` are each other's inverse, bare, in brackets and on the command line."""
    assert parse_address(str(address)) == address
    assert parse_path(f"<{address}>") == address
    assert mail_argument(f"FROM:<{address}> SIZE=10").reverse_path == address
    assert rcpt_argument(f"TO:<{address}>")[0] == (address,)


@given(ODD)
def test_whatever_is_read_has_no_octet_that_breaks_a_line(text: str) -> None:
    """A path is an address, the null path, or refused; never a second line for the upstream."""
    try:
        found = [parse_path(text), mail_argument(text).reverse_path, *rcpt_argument(text)[0]]
    except BadAddress as error:
        assert str(error)
        return
    for address in found:
        assert address is None or not re.search(r"[\x00-\x1f\x7f]", str(address))
        assert address is None or parse_address(str(address)) == address


@given(st.binary(max_size=60))
def test_any_octets_are_a_command_or_none(line: bytes) -> None:
    """Reading never fails, and neither verb nor HELO name has a control octet."""
    command = read_command(line)
    assert command.verb == "" or re.fullmatch(r"[A-Z]+", command.verb)
    assert re.fullmatch(r"[!-~]*", clean_helo(command.argument))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", command.argument)
