"""Certificates that were not trusted: what is read from them for the person."""

import hashlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from relay.upstream.peer_certificate import Certificate, examine


def made(*names: str, **more) -> bytes:
    return ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert(*names, **more).cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("expires", [datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2060, 12, 31, tzinfo=UTC)])
def test_names_date_and_fingerprint(expires):
    """Both forms of time are read (two-digit years end in 2049), and every DNS name."""
    since = datetime(2019, 1, 1, tzinfo=UTC)
    der = made("mail.isp.example", "smtp.isp.example", not_before=since, not_after=expires)
    names = ("mail.isp.example", "smtp.isp.example")
    seen = examine(der)
    assert replace(seen, subject="", issuer="") == Certificate(hashlib.sha256(der).hexdigest(), expires, names, since)
    assert (seen.subject, seen.issuer) == (f"trustme v{trustme.__version__}",) * 2


@pytest.mark.parametrize(
    ("attributes", "called"),
    [
        ([("CN", "mail.isp.example"), ("O", "ISP")], "mail.isp.example"),
        ([("O", "\u682a\u5f0f\u4f1a\u793e")], "\u682a\u5f0f\u4f1a\u793e"),
        ([("O", "a\x1b[31mb\x00c")], "a[31mbc"),
        ([], ""),
    ],
)
def test_who_it_is_of(attributes, called):
    """The common name, else the organisation, so that it can be shown."""
    oids = {"CN": x509.NameOID.COMMON_NAME, "O": x509.NameOID.ORGANIZATION_NAME}
    name = x509.Name([x509.NameAttribute(oids[kind], text) for kind, text in attributes])
    key, day = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1)
    blank = x509.CertificateBuilder(name, name, key.public_key(), 7, day, day)
    seen = examine(blank.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    assert (seen.subject, seen.issuer) == (called, called)


@given(st.binary(max_size=200))
def test_anything_has_a_fingerprint(octets):
    """What is no certificate is not read, and nothing is raised."""
    assert examine(octets).fingerprint == hashlib.sha256(octets).hexdigest()


def test_damage_never_raises():
    """A certificate cut at any octet, or with any octet changed, is examined without an error."""
    der = made("mail.isp.example")
    for place in range(0, len(der), 7):
        examine(der[:place])
        assert examine(der[:place] + b"\xff" + der[place + 1 :]).fingerprint
