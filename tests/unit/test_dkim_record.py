"""DKIM records are read as verifiers read them, and keys are the same however they are written."""

import base64
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.mail.dkim_record import NoKey, PublicKey, ed25519, name_of, public_key, read, strings, zone_line
from relay.outbound.dkim_keys import ready
from relay.upstream.settings import DkimAlgorithm
from tests.support.dkim import key_for

# RFC 8463 appendix A.2
ED = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RSA = (
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qv"
    "x/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)


def test_the_records_of_the_standard() -> None:
    """Both keys of RFC 8463's example."""
    new, old = read(ED).key, read(RSA).key
    assert new and (new.kind, new.bits, new.algorithm, new.record) == ("ed25519", 256, "ed25519-sha256", ED)
    assert old and (old.kind, old.bits, old.algorithm, old.record) == ("rsa", 1024, "rsa-sha256", RSA)
    assert not new.same_as(old)


@pytest.mark.parametrize("algorithm", DkimAlgorithm)
def test_what_is_made_is_read(algorithm: DkimAlgorithm) -> None:
    """Of each kind of key that openssl makes for us."""
    key = ready(key_for("own.example", algorithm))
    found = read(key.record).key
    assert found and found.same_as(key)
    assert key.bits == (2048 if algorithm is DkimAlgorithm.RSA else 256)


def test_strings_join_to_the_record() -> None:
    """Of 255 octets at most; in a zone file each in quotation marks."""
    record = ready(key_for("own.example")).record
    assert "".join(strings(record)) == record
    assert [len(part) for part in strings(record)] == [255, len(record) - 255]
    assert zone_line(name_of("own.example", "relay"), "v=DKIM1; p=x") == 'relay._domainkey.own.example. TXT "v=DKIM1; p=x"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no p="),
        ("v=DKIM2; p=AAAA", "v=DKIM2 is not v=DKIM1"),
        ("k=rsa; v=DKIM1; p=AAAA", "must come first"),
        ("hello", "'hello' is no tag"),
        ("v=DKIM1; p=AA AA; p=BBBB", "twice"),
        ("v=DKIM1; p=AAA", "characters are missing"),
        ("v=DKIM1; p=AA*A", "'*'"),
        ("v=DKIM1; p=AAAA", "cut off"),
        ("v=DKIM1; k=dsa; p=AAAA", "neither rsa nor ed25519"),
        ("v=DKIM1; k=ed25519; p=AAAA", "32 octets, this one has 3"),
        (RSA[:-40], "cut off"),
        (ED.replace("k=ed25519; ", ""), "cut off"),
        (RSA.replace("k=rsa", "k=rsa; h=sha1"), "h=sha1"),
        (RSA.replace("k=rsa", "k=rsa; s=tlsrpt"), "s=tlsrpt"),
    ],
)
def test_what_verifiers_ignore(text: str, words: str) -> None:
    """There is no key then, and the mistake is said."""
    found = read(text)
    assert found.key is None and not found.revoked
    assert words in found.mistake


def test_revoked_and_tested() -> None:
    """p= without anything, t=y among other flags."""
    assert read("v=DKIM1; p= ").revoked and read("p=").revoked
    assert read(RSA + "; t=s:y").testing and not read(RSA + "; t=s").testing


@given(st.binary(max_size=80))
def test_no_octets_break_the_reader(octets: bytes) -> None:
    """Whatever p= holds, it is a key or NoKey."""
    for parse in (public_key, ed25519):
        with suppress(NoKey):
            assert isinstance(parse(octets), PublicKey)
    record = read("v=DKIM1; p=" + base64.b64encode(octets).decode())
    assert record.key or record.mistake or record.revoked


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    """A record of any characters."""
    record = read(text)
    assert record.key or record.mistake or record.revoked


def test_keys_of_another_kind_are_told() -> None:
    """An elliptic curve key of another kind (P-256) is none for DKIM."""
    private = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], capture_output=True, check=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubout", "-outform", "DER"], input=private, capture_output=True, check=True
    ).stdout
    with pytest.raises(NoKey, match="neither an RSA key nor an Ed25519 key"):
        public_key(der)
