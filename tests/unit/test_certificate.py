"""Certificates that were not trusted: what is read from them for the person."""

import hashlib
import ssl
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from relay.upstream.certificate import Certificate, examine


def made(*names: str, **more) -> bytes:
    return ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert(*names, **more).cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("expires", [datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2060, 12, 31, tzinfo=UTC)])
def test_names_date_and_fingerprint(expires):
    """Both forms of time are read (two-digit years end in 2049), and every DNS name."""
    since = datetime(2019, 1, 1, tzinfo=UTC)
    der = made("mail.isp.example", "smtp.isp.example", not_before=since, not_after=expires)
    names = ("mail.isp.example", "smtp.isp.example")
    assert examine(der) == Certificate(hashlib.sha256(der).hexdigest(), expires, names, since)


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
