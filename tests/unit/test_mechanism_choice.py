"""Which mechanism is taken."""

import pytest

from relay.secret import Secret
from relay.upstream import mechanism_choice
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
    assert mechanism_choice.choose(account(), offered, encrypted=encrypted) == mechanism_choice.Choice(taken)


def test_auto_with_oauth_is_xoauth2_and_nothing_else():
    """Where `oauth` is set no password mechanism is tried, even if the server has no XOAUTH2."""
    settings = account(oauth=OAuth(provider="google"))
    assert mechanism_choice.choose(settings, ALL, encrypted=True).mechanism == "XOAUTH2"
    choice = mechanism_choice.choose(settings, ["PLAIN"], encrypted=True)
    assert not choice.mechanism
    assert "XOAUTH2" in choice.problem


@pytest.mark.parametrize("auth", [Auth.PLAIN, Auth.LOGIN, Auth.CRAM_MD5, Auth.XOAUTH2, Auth.SCRAM])
def test_a_named_mechanism_is_the_only_one(auth):
    """`auth: login` never becomes something else."""
    name = auth.value.upper()
    assert mechanism_choice.choose(account(auth), [*ALL, "SCRAM-SHA-256"], encrypted=True).mechanism == name
    others = [other for other in ALL if other != name]
    choice = mechanism_choice.choose(account(auth), others, encrypted=True)
    assert not choice.mechanism
    assert name in choice.problem


@pytest.mark.parametrize("settings", [Login(), account(Auth.NONE), account(Auth.POP), Login(auth=Auth.PLAIN)])
def test_no_login_is_wanted(settings):
    """Without a user name, with `none` or `pop`, there is no AUTH and no problem."""
    assert mechanism_choice.choose(settings, ALL, encrypted=True) == mechanism_choice.Choice()


@pytest.mark.parametrize(("encrypted", "cure"), [(True, "submission port"), (False, "tls: starttls")])
def test_a_server_without_auth_is_a_problem_with_a_cure(encrypted, cure):
    """A user name but no AUTH in EHLO is said in words, never passed over."""
    assert cure in mechanism_choice.choose(account(), [], encrypted=encrypted).problem


@pytest.mark.parametrize(
    ("offered", "encrypted", "bound", "unfit", "taken"),
    [
        ([*ALL, "SCRAM-SHA-256"], True, False, (), "SCRAM-SHA-256"),
        ([*ALL, "scram-sha-256"], False, False, (), "SCRAM-SHA-256"),
        ([*ALL, "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], True, True, (), "SCRAM-SHA-256-PLUS"),
        ([*ALL, "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], True, False, (), "SCRAM-SHA-256"),
        ([*ALL, "SCRAM-SHA-256"], True, False, ("SCRAM-SHA-256",), "PLAIN"),
        (["SCRAM-SHA-1", "DIGEST-MD5", "LOGIN"], True, False, (), "LOGIN"),
    ],
)
def test_scram_goes_first(offered, encrypted, bound, unfit, taken):
    """Where it is offered, and -PLUS where the line gives the binding."""
    assert mechanism_choice.choose(account(), offered, encrypted=encrypted, bound=bound, unfit=unfit).mechanism == taken
