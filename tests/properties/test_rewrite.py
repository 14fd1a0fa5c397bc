"""Rewriting, whatever a device wrote: it is said once, nothing is added from outside, the body is never touched."""

import email
import email.policy
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address, parse_path
from relay.mail.message import Message
from relay.mail.rewrite import Identity, Rewrite, rewrite

TARO = Address("taro", "isp.example")
PLAIN = [b"nas", b"@", b"b.example", b"isp.example", b"taro@isp.example", b"root@nas", b" ", b"\t", b".", b"X-Evil: 1"]
SPECIAL = [b"<", b">", b'"', b"\\", b"(", b")", b",", b";", b":"]
NASTY = [b"\r", b"\r\n ", b"\n\t", b"\x00", b"\x83\x4a", "監視".encode(), b"=?utf-8?q?a=0d=0aBcc:_x@y.z?=", b"=?x?b?\xff?="]
PIECES = st.sampled_from(PLAIN + SPECIAL + NASTY)
VALUES = st.lists(PIECES, max_size=14).map(b"".join) | st.binary(max_size=60).map(
    lambda octets: re.sub(rb"[\r\n]+(?![ \t])", b" ", octets)
)
NAMES = st.sampled_from(
    [b"From", b"from", b"Sender", b"Reply-To", b"To", b"Cc", b"Subject", b"X-Original-From", b"DKIM-Signature"]
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
SENDERS = st.sampled_from(
    [None, "root", "root@nas", "nas@b.example", "nas@isp.example", "taro@isp.example", "ilo.@isp.example"]
)
IDENTITIES = st.builds(
    Identity,
    st.sampled_from([TARO, None]),
    st.just(frozenset({"isp.example"})),
    st.sampled_from(list(Rewrite)),
    st.booleans(),
)


def message(fields: list[tuple[bytes, bytes]], body: bytes) -> Message:
    """A message as repair hands it on: no line of a field begins another field."""
    clean = [name + b": " + re.sub(rb"\r*\n(?![ \t])|\n\Z", b" ", value) for name, value in fields]
    return Message.parse([b"".join(field.rstrip(b"\r\n") + b"\r\n" for field in clean) + b"\r\n" + body])


def path(text: str | None) -> Address | None:
    return None if text is None else parse_path(text)


@settings(max_examples=150)
@given(FIELDS, SENDERS, IDENTITIES, st.booleans(), st.binary(max_size=40))
def test_twice_is_once_and_the_body_stays(
    fields: list[tuple[bytes, bytes]], sender: str | None, identity: Identity, own_name: bool, body: bytes
) -> None:
    """What was rewritten needs no rewriting; the body keeps its octets; no note, no change."""
    before = message(fields, body)
    once = rewrite(before, path(sender), identity, own_name=own_name)
    assert b"".join(once.message).endswith(body)
    twice = rewrite(once.message, once.reverse_path, identity, own_name=own_name)
    assert twice.message.head == once.message.head
    assert twice.reverse_path == once.reverse_path
    if not once.notes:
        assert b"".join(once.message) == b"".join(before)


@settings(max_examples=150)
@given(FIELDS, SENDERS, st.booleans())
def test_exactly_one_author_that_the_account_may_be(
    fields: list[tuple[bytes, bytes]], sender: str | None, own_name: bool
) -> None:
    """Whatever From said, one From field with sendable addresses leaves, and python's parser finds no fault in it."""
    fields = [field for field in fields if field[0] != b"DKIM-Signature"]
    done = rewrite(message(fields, b""), path(sender), Identity(TARO, frozenset({"isp.example"})), own_name=own_name)
    [author] = done.message.all("from")
    parsed = email.policy.SMTP.header_factory("from", author.value.decode("ascii"))
    addresses = [one.addr_spec for one in parsed.addresses]
    assert addresses and not [defect for defect in parsed.defects if type(defect).__name__ == "InvalidHeaderDefect"]
    if own_name or done.reverse_path is None or done.reverse_path == TARO != path(sender):
        assert all(address.lower().endswith("@isp.example") for address in addresses)
    assert all(Address(*address.rsplit("@", 1)).public for address in addresses)
    assert done.reverse_path is None or done.reverse_path.domain == "isp.example" or sender == "nas@b.example"


@settings(max_examples=150)
@given(FIELDS, SENDERS, IDENTITIES, st.booleans())
def test_no_value_can_add_a_field(
    fields: list[tuple[bytes, bytes]], sender: str | None, identity: Identity, own_name: bool
) -> None:
    """Only X-Original-From, Reply-To and a missing From may be new; no line of ours is longer than 998 octets."""
    before = message(fields, b"")
    after = rewrite(before, path(sender), identity, own_name=own_name).message
    again = Message.parse([b"".join(after)])
    assert again.fields == after.fields
    new = [field.name for field in after.fields if field not in before.fields]
    known = [field.name for field in before.fields]
    assert set(new) <= {"from", "x-original-from", "reply-to", "to", "cc"}
    assert len(after.fields) <= len(known) + 3
    for field in after.fields:
        if field not in before.fields:
            assert re.fullmatch(rb"[!-9;-~]+:(?: [^\r\n]*\r\n)+", field.raw), field
            assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", field.raw)
            assert max(map(len, field.raw.split(b"\r\n"))) <= 998
