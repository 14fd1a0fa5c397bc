"""Signing comes last: nothing that the relay does to a message changes an octet that was signed.  Judged by dkimpy."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.address import Address
from relay.mail.device import Device
from relay.mail.digest import Part, compose_digest
from relay.mail.dkim import BodyHash, signable
from relay.mail.envelope import Envelope, Origin
from relay.mail.message import Message
from relay.mail.policy import RepairPolicy
from relay.mail.rewrite import Identity, Rewrite
from relay.outbound.prepare import Prepared, prepare
from relay.outbound.signing import prepared_and_signed
from relay.spool.entry import Claim, Entry, Recipient, State
from relay.upstream.settings import DIRECT_UPSTREAM, DkimAlgorithm, MxHosts, SmtpServer, Upstream
from tests.corpus.golden.letters import LETTERS
from tests.properties.test_repair import CONTENT
from tests.support.dkim import key_for, published, received, verdicts
from tests.support.letters import HOST, NOW

HER = Address("her", "host.example")
CORPUS = sorted((Path(__file__).parents[1] / "corpus/device-mail/message").glob("*.eml"))
OWN = Upstream("isp", SmtpServer("mail.own.example"), Identity(Address("nas", "own.example"), rewrite=Rewrite.ALWAYS))
CAMERA = Device(
    "camera", (ip_network("192.168.0.0/24"),), display="Kamera, Flur", subject_prefix="[カメラ] ", header=(("X-Place", "hall"),)
)


def claimed(content: bytes, cut: int = 61) -> Claim:
    blocks = [content[place : place + cut] for place in range(0, len(content), cut)]
    envelope = Envelope(Address("nas", "nas.example.test"), (HER,))
    entry = Entry("q123abc456def0", NOW, Origin("192.168.0.9", "nas"), envelope, len(content), blocks)
    return Claim(entry, (Recipient(HER, State.QUEUED, 0, NOW),), 1)


def way(claim: Claim, upstream: Upstream, *, eight_bit: bool = True, device: Device | None = None) -> Prepared:
    """Prepared and signed as for the real upstream; where no key is set, as whatever domain is in From."""
    how = partial(prepare, claim, claim.recipients, upstream, hostname=HOST, policy=RepairPolicy(), device=device)
    made = partial(how, eight_bit=eight_bit)
    authors = signable(made().outgoing.content).authors
    return prepared_and_signed(made, upstream.dkim or tuple(key_for(domain) for domain in sorted(authors)))


def assert_holds(prepared: Prepared) -> bool:
    """Whether it was signed.  If so, every signature of ours holds when it has crossed the wire, and the size is right."""
    outgoing = prepared.outgoing
    content = b"".join(outgoing.content)
    assert prepared.refused is None
    if not outgoing.seven_bit:
        assert len(content) == outgoing.size
    if not prepared.signed:
        return False
    ours = [key_for(said.split()[2]) for said in prepared.signed]
    found = verdicts(received(outgoing.content), published(*ours))
    assert [found.get((key.domain, key.selector)) for key in ours] == [True] * len(ours), found
    return True


@pytest.mark.parametrize(("eight_bit", "device"), [(True, None), (False, CAMERA)], ids=["as it is", "named, in 7 bits"])
def test_every_letter_of_the_corpora_is_signed_so_that_it_holds(eight_bit: bool, device: Device | None) -> None:
    """Repaired, rewritten, with a prefix and other fields of a device, in 7 bits: 300 recorded and made-up letters."""
    own = replace(OWN, dkim=(key_for("own.example"),))
    letters = {path.name: path.read_bytes() for path in CORPUS} | LETTERS

    def signed(octets: bytes) -> bool:
        return assert_holds(way(claimed(octets), own, eight_bit=eight_bit, device=device))

    with ThreadPoolExecutor(3) as threads:  # most of the time is spent waiting for openssl
        results = list(threads.map(signed, letters.values()))
    assert sum(results) > 0.9 * len(letters) > 250


def test_straight_to_mx_every_letter_is_signed_as_its_own_author() -> None:
    """Where no sender is rewritten, From stays as the device wrote it, whatever that is."""
    letters = [path.read_bytes() for path in CORPUS] + list(LETTERS.values())
    with ThreadPoolExecutor(3) as threads:
        signed = list(threads.map(lambda octets: assert_holds(way(claimed(octets, 1000), DIRECT_UPSTREAM)), letters))
    assert sum(signed) > 0.8 * len(signed)


@settings(max_examples=150, deadline=None)
@given(CONTENT, st.integers(1, 90), st.booleans())
def test_whatever_comes_in_the_signature_holds(content: bytes, cut: int, eight_bit: bool) -> None:
    """Broken header lines, bare line ends, NULs, parts that do not end: what leaves is what was signed."""
    own = replace(OWN, dkim=(key_for("own.example", DkimAlgorithm.ED25519),))
    prepared = way(claimed(content, cut), own, eight_bit=eight_bit)
    if prepared.signed:
        found = verdicts(received(prepared.outgoing.content), published(*own.dkim))
        assert found["own.example", "relay"]


LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b" ", b"\t", b" . ", b"a  b\t c", b"x ", b"\r", b"\rx", b"tail\t "]), max_size=12
)


@settings(max_examples=300, deadline=None)
@given(LINES, st.sampled_from([b"\r\n", b"\n", b"\r"]), st.integers(1, 9), st.booleans())
def test_dots_blanks_and_line_ends_of_a_body(lines: list[bytes], end: bytes, cut: int, ended: bool) -> None:
    """Lines of dots, blanks at ends, empty lines at the end, bare CRs, no last line end: hashed as they are sent."""
    body = end.join(lines) + (end if ended else b"")
    key = key_for("own.example", DkimAlgorithm.ED25519)
    octets = b"From: a@own.example\r\nSubject: x\r\n\r\n" + body
    claim = claimed(octets)
    # not repaired: prepare() would have mended the line ends
    how = prepare(claim, claim.recipients, DIRECT_UPSTREAM, hostname=HOST, policy=RepairPolicy())
    blocks = [octets[place : place + cut] for place in range(0, len(octets), cut)]
    raw = replace(how, outgoing=replace(how.outgoing, content=blocks, size=len(octets)))
    signed = prepared_and_signed(lambda: raw, (key,))
    assert verdicts(received(signed.outgoing.content), published(key)) == {("own.example", "relay"): True}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60).map(lambda octets: octets.replace(b"\r", b"\r\n").replace(b"\n\n", b" \t ")), st.integers(1, 20))
def test_the_borders_of_blocks_do_not_matter(body: bytes, cut: int) -> None:
    """However a body is cut, as long as no line end is, its hash is the same."""
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"").split(b"\n")
    whole, pieces = BodyHash(), BodyHash()
    whole.feed(b"\r\n".join(lines))
    for number, line in enumerate(lines):
        for place in range(0, len(line), cut):
            pieces.feed(line[place : place + cut])
        if number + 1 < len(lines):
            pieces.feed(b"\r\n")
    assert whole.close() == pieces.close()


def test_a_digest_is_signed_like_any_message() -> None:
    """The one message that a storm becomes: From of the device, text in many scripts."""
    last = Message.parse([b"From: Camera <cam@own.example>\r\nTo: her@host.example\r\nSubject: x\r\n\r\n\xe5\x8b\x95\r\n.\r\n"])
    parts = [Part(f"q{number}", NOW, f"動体 {number}") for number in range(30)]
    digest = compose_digest(parts, last, device="camera", hostname=HOST, queue_id="qdigest", now=NOW)
    for eight_bit in (True, False):
        assert assert_holds(way(claimed(digest.content), DIRECT_UPSTREAM, eight_bit=eight_bit))
    assert isinstance(DIRECT_UPSTREAM.transport, MxHosts)
