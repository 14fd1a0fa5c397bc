"""Which mechanism is taken, and what it says: against the examples of the RFCs."""

import base64

import pytest

from relay.secret import Secret
from relay.upstream import login
from relay.upstream.settings import Auth, Login, OAuth

ALL = ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"]


def account(auth: Auth = Auth.AUTO, **more) -> Login:
    return Login(auth=auth, username="taro", password=Secret("secret"), **more)


@pytest.mark.parametrize(
    ("offered", "encrypted", "taken"),
    [
        (ALL, True, "PLAIN"),
        (["CRAM-MD5", "LOGIN"], True, "LOGIN"),
        (["cram-md5"], True, "CRAM-MD5"),
        (ALL, False, "CRAM-MD5"),
        (["LOGIN", "PLAIN"], False, "PLAIN"),
        (["LOGIN"], False, "LOGIN"),
    ],
)
def test_auto_takes_the_order_of_the_line(offered, encrypted, taken):
    """Under TLS PLAIN, LOGIN, CRAM-MD5; in clear CRAM-MD5 first."""
    assert login.choose(account(), offered, encrypted=encrypted) == login.Choice(taken)


def test_auto_with_oauth_is_xoauth2_and_nothing_else():
    """Where `oauth` is set no password mechanism is tried, even if the server has no XOAUTH2."""
    settings = account(oauth=OAuth(provider="google"))
    assert login.choose(settings, ALL, encrypted=True).mechanism == "XOAUTH2"
    choice = login.choose(settings, ["PLAIN"], encrypted=True)
    assert not choice.mechanism
    assert "XOAUTH2" in choice.problem


@pytest.mark.parametrize("auth", [Auth.PLAIN, Auth.LOGIN, Auth.CRAM_MD5, Auth.XOAUTH2])
def test_a_named_mechanism_is_the_only_one(auth):
    """`auth: login` never becomes something else."""
    name = auth.value.upper()
    assert login.choose(account(auth), ALL, encrypted=True).mechanism == name
    others = [other for other in ALL if other != name]
    choice = login.choose(account(auth), others, encrypted=True)
    assert not choice.mechanism
    assert name in choice.problem


@pytest.mark.parametrize("settings", [Login(), account(Auth.NONE), account(Auth.POP), Login(auth=Auth.PLAIN)])
def test_no_login_is_wanted(settings):
    """Without a user name, with `none` or `pop`, there is no AUTH and no problem."""
    assert login.choose(settings, ALL, encrypted=True) == login.Choice()


@pytest.mark.parametrize(("encrypted", "cure"), [(True, "submission port"), (False, "tls: starttls")])
def test_a_server_without_auth_is_a_problem_with_a_cure(encrypted, cure):
    """A user name but no AUTH in EHLO is said in words, never passed over."""
    assert cure in login.choose(account(), [], encrypted=encrypted).problem


def test_cram_md5_as_in_rfc_2195():
    """The example of RFC 2195 s2 comes out digit for digit."""
    challenge = base64.b64encode(b"<1896.697170952@postoffice.reston.mci.net>").decode()
    said = login.response("CRAM-MD5", "tim", "tanstaaftanstaaf", challenge, 0)
    assert base64.b64decode(said) == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_plain_as_in_rfc_4616():
    """authzid is empty; user and password follow in UTF-8."""
    assert login.opening("PLAIN", "tim", "pässword")[2] == base64.b64encode(b"\0tim\0p\xc3\xa4ssword")


def test_login_says_user_then_password_then_gives_up():
    """Two challenges are answered whatever they say; a third one ends the exchange."""
    said = [login.response("LOGIN", "taro", "secret", "", turn) for turn in range(3)]
    assert said == [b"dGFybw==", b"c2VjcmV0", b"*"]
    assert login.opening("LOGIN", "taro", "secret") == (b"AUTH", b"LOGIN")


def test_xoauth2():
    """User and bearer token stand between control-A octets."""
    said = base64.b64decode(login.opening("XOAUTH2", "a@b.example", "t0ken")[2])
    assert said == b"user=a@b.example\x01auth=Bearer t0ken\x01\x01"


def test_a_broken_challenge_is_cancelled():
    """What is no base64 gets `*` (RFC 4954 s4), not an answer to something else."""
    assert login.response("CRAM-MD5", "tim", "x", "not base64!", 0) == b"*"


def test_the_reason_inside_a_challenge():
    """JSON in base64 is read; anything else is shown as it is."""
    assert login.told(base64.b64encode(b'{"status":"401"}').decode()) == '{"status":"401"}'
    assert login.told("plain words!") == "plain words!"
