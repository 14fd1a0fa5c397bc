"""DANE: TLSA records against real certificates."""

import hashlib
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.upstream.dane import Tlsa, anchors, fits, names_server, usable
from relay.upstream.peer_certificate import public_key

AUTHORITY = trustme.CA()
BELOW = AUTHORITY.create_child_ca()
ISSUED = BELOW.issue_cert("mx.there.example")


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


def spki(certificate: bytes) -> bytes:
    key = x509.load_der_x509_certificate(certificate).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


LEAF, INTERMEDIATE = (der(pem.bytes()) for pem in ISSUED.cert_chain_pems)
ROOT = der(AUTHORITY.cert_pem.bytes())
CHAIN = (LEAF, INTERMEDIATE, ROOT)


def record(usage: int, selector: int, matching: int, certificate: bytes) -> Tlsa:
    data = certificate if selector == 0 else spki(certificate)
    return Tlsa(usage, selector, matching, [data, hashlib.sha256(data).digest(), hashlib.sha512(data).digest()][matching])


@pytest.mark.parametrize("certificate", CHAIN)
def test_the_public_key(certificate):
    """It is cut out as another library writes it; of what is no certificate there is none."""
    assert public_key(certificate) == spki(certificate)
    for size in range(0, len(certificate), 7):
        assert public_key(certificate[:size]) == b""
    assert public_key(b"\x30\x03\x30\x01\x00") == b""


def in_der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes([tag, 0x82]) + len(content).to_bytes(2) + content


@pytest.mark.parametrize("form", ["no length", "long tag"])
def test_a_key_where_openssl_sees_none(form):
    """OpenSSL takes the field behind the serial number for an algorithm; a reader of DER would see the named key in it."""
    named, number, oid = spki(LEAF), b"\x02\x01\x00", bytes.fromhex("06082a8648ce3d040302")
    algorithm = {
        "no length": b"\x30\x80" + oid + b"\x30\x80" + number + named + bytes(4),
        # for a reader of short tags: 3f, with 16 octets
        "long tag": b"\x3f\x10" + bytes([24 + len(named)]) + oid + bytes([0x30, 12 + len(named)]) + 4 * number + named,
    }[form]
    signed = in_der(0x30, b"\xa0\x03\x02\x01\x02", number, algorithm, 3 * in_der(0x30), spki(INTERMEDIATE))
    certificate = in_der(0x30, signed, in_der(0x30, oid), b"\x03\x01\x00")
    assert public_key(certificate) == b""
    assert not names_server([record(3, 1, 1, LEAF)], certificate)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_the_servers_own_certificate(selector, matching):
    """Usage 3 names the server's own certificate or its key, whole or by digest; usage 2 never does."""
    assert names_server([record(3, selector, matching, LEAF)], LEAF)
    assert not names_server([record(3, selector, matching, INTERMEDIATE)], LEAF)
    assert not names_server([record(2, selector, matching, LEAF)], LEAF)
    assert not names_server([record(3, selector, matching, LEAF)], b"")


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_a_trust_anchor(selector, matching):
    """Usage 2 names a certificate above the server's own, wherever it stands in the chain."""
    for place in (1, 2):
        assert anchors([record(2, selector, matching, CHAIN[place])], CHAIN) == (CHAIN[place],)
    assert anchors([record(3, selector, matching, INTERMEDIATE)], CHAIN) == ()
    in_leafs_place = anchors([record(2, selector, matching, LEAF)], CHAIN)
    assert in_leafs_place == ((LEAF,) if (selector, matching) == (0, 0) else ())
    assert anchors([record(2, selector, matching, ROOT)], (LEAF,)) == ((ROOT,) if (selector, matching) == (0, 0) else ())


def test_a_whole_certificate_that_is_none_anchors_nothing():
    """What somebody wrote into the record may be anything."""
    assert anchors([Tlsa(2, 0, 0, b"no certificate")], CHAIN) == ()


@pytest.mark.parametrize(
    "one",
    [
        Tlsa(0, 0, 1, bytes(32)),
        Tlsa(1, 1, 1, bytes(32)),
        Tlsa(4, 1, 1, bytes(32)),
        Tlsa(255, 1, 1, bytes(32)),
        Tlsa(3, 2, 1, bytes(32)),
        Tlsa(3, 1, 3, bytes(32)),
        Tlsa(3, 1, 1, bytes(31)),
        Tlsa(3, 1, 1, b""),
        Tlsa(3, 1, 2, bytes(32)),
        Tlsa(3, 1, 0, b""),
    ],
)
def test_what_does_not_count(one):
    """RFC 7672 s3.1.3: usages 0 and 1, and what nobody knows or is too short."""
    good = record(3, 1, 1, LEAF)
    assert usable([one, good]) == (good,)
    assert usable([one]) == ()


def test_the_stronger_digest_counts():
    """RFC 7671 s9: with SHA-512 there, SHA-256 of the same usage and selector is not looked at; a whole one always is."""
    strong, weak, whole = record(3, 1, 2, LEAF), record(3, 1, 1, INTERMEDIATE), record(3, 1, 0, ROOT)
    other = record(2, 1, 1, ROOT)
    assert set(usable([weak, strong, whole, other])) == {strong, whole, other}
    assert not names_server(usable([weak, strong]), INTERMEDIATE)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mx.there.example"], True),
        (["*.there.example"], True),
        (["other.example", "THERE.example"], True),
        (["*.example"], True),
        (["other.example"], False),
        ([], False),
    ],
)
def test_a_name_in_the_certificate(names, expected):
    """It is for the mail host, or for the domain that the mail goes to."""
    assert fits(names, ("mx.there.example", "there.example")) is expected
