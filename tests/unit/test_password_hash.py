"""Hashed passwords: what `relay hash` writes is read back, and what would cost too much to check is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.password_hash import MOST_MEMORY, USUAL, BadHash, Cost, hash_of, is_hash, nobody, read_hash

CHEAP = Cost(1024, 1, 1)
SALT = bytes(range(16))


def test_the_form_and_the_algorithm_are_those_of_rfc_7914() -> None:
    """The third test vector of its section 12, with the salt that it has."""
    made = hash_of(b"pleaseletmein", b"SodiumChloride", Cost(16384, 8, 1))
    assert made.key.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    assert str(made) == "scrypt:16384:8:1:U29kaXVtQ2hsb3JpZGU:cCO9yzr9c0hGHAbNgf046_2o-7qQT44-qbVD9lRdofI"


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=80), st.binary(min_size=16, max_size=16))
def test_what_is_written_is_read_again(password: bytes, salt: bytes) -> None:
    """Any octets; another password does not fit, and nothing of it is shown."""
    made = hash_of(password, salt, CHEAP)
    again = read_hash(str(made))
    assert again == made
    assert again.fits(password)
    assert not again.fits(password + b"x")
    assert is_hash(str(made))
    assert str(made).rsplit(":", 1)[1] not in repr(made)


def test_the_usual_cost_is_within_the_bounds() -> None:
    """What `relay hash` makes can be checked on a small board."""
    assert read_hash(str(hash_of(b"x", SALT))).cost == USUAL
    assert USUAL.memory < MOST_MEMORY / 3


@pytest.mark.parametrize(
    "text",
    [
        "scrypt:x",
        "scrypt:geheim",
        "scrypt:16384:8:5:AAAA:AAAA",
        "scrypt:16384:8:5:AAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:16384:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ",
        "scrypt:16383:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:512:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:0:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:16384:0:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:16384:8:0:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:131072:8:1:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:1024:99999:1:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:1024:8:99999:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:999999999:99999:99999:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:１６３８４:8:5:AAAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "scrypt:1024:1:1:AAAAAAAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
)
def test_no_hash_or_too_dear_a_one(text: str) -> None:
    """The words say what is expected, and never what was found: it may be a password."""
    with pytest.raises(BadHash) as raised:
        read_hash(text)
    assert text not in str(raised.value)


def test_the_dearest_that_is_let_in_can_be_computed() -> None:
    """The bound is one that OpenSSL keeps, too: 64 MiB at most."""
    cost = Cost(16384, 32, 1)
    assert 128 * cost.r * cost.n == MOST_MEMORY
    assert hash_of(b"x", SALT, cost).fits(b"x")


def test_nobody_fits_nothing() -> None:
    """What an unknown name is checked against."""
    assert not nobody(CHEAP).fits(b"")
