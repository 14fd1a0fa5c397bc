"""Which token mechanism is taken."""

import pytest

from relay.upstream import mechanism_choice
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
    choice = mechanism_choice.choose(Login(auth, "taro", oauth=OAuth("google")), offered, encrypted=True)
    assert choice.mechanism == taken
    assert taken or "XOAUTH2, OAUTHBEARER" in choice.problem
