"""Which token mechanism is taken, and what OAUTHBEARER says: against RFC 7628."""

import base64

import pytest

from relay.upstream import login
from relay.upstream.settings import Auth, Login, OAuth


@pytest.mark.parametrize("auth", [Auth.AUTO, Auth.XOAUTH2])
@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        (["PLAIN", "OAUTHBEARER", "XOAUTH2"], "XOAUTH2"),
        (["plain", "oauthbearer"], "OAUTHBEARER"),
        (["PLAIN", "LOGIN"], ""),
    ],
)
def test_the_providers_own_mechanism_first_then_the_standard(auth, offered, taken):
    """A token goes by XOAUTH2 or OAUTHBEARER; with neither on offer the reason names both, and no password is tried."""
    choice = login.choose(Login(auth, "taro", oauth=OAuth("google")), offered, encrypted=True)
    assert choice.mechanism == taken
    assert taken or "XOAUTH2, OAUTHBEARER" in choice.problem


def test_oauthbearer_as_in_rfc_7628():
    """The GS2 header names the user; the token follows between control-A octets (section 4.1, without host and port)."""
    verb, mechanism, said = login.opening("OAUTHBEARER", "user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    assert (verb, mechanism) == (b"AUTH", b"OAUTHBEARER")
    assert base64.b64decode(said) == (
        b"n,a=user@example.com,\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    )


def test_a_comma_in_a_user_name_stays_one_name():
    """RFC 5801 section 4: `,` and `=` are escaped in the GS2 header."""
    said = login.opening("OAUTHBEARER", "a,b=c@x.example", "t")[2]
    assert base64.b64decode(said).startswith(b"n,a=a=2Cb=3Dc@x.example,\x01")


def test_the_farewell_to_a_refusal():
    """RFC 7628 section 3.2.3 wants a control-A; XOAUTH2 an empty line."""
    assert base64.b64decode(login.farewell("OAUTHBEARER")) == b"\x01"
    assert login.farewell("XOAUTH2") == b""
