"""OAuth tokens of relays that share a spool: one asks for a new one, all use it, and what it got is in the database."""

import threading
from datetime import UTC, datetime

import pytest

from relay.secret import Secret
from relay.spool import open_safe
from relay.spool.contract import SpoolSettings
from relay.upstream.oauth.http import Granted
from relay.upstream.oauth.session_tokens import account_of
from relay.upstream.oauth.tokens import NoToken
from relay.upstream.settings import Login, OAuth, SmtpServer, Upstream
from tests.support.oauth import provider


def now():
    return datetime.now(UTC)


@pytest.fixture
def stub():
    with provider(delay=0.3) as running:
        yield running


@pytest.fixture
def upstream(stub):
    oauth = OAuth(provider="microsoft", client_id="app", **stub.urls)
    return Upstream(name="m365", transport=SmtpServer("127.0.0.1", 25, login=Login(username=stub.user, oauth=oauth)))


@pytest.fixture
def relays(upstream, postgres_server, tmp_path):
    """Three relays' accounts on one database, each with a directory and connections of its own."""
    url = postgres_server.database()
    return [account_of(upstream, tmp_path / f"relay{n}", now, safe=open_safe(SpoolSettings(url))) for n in range(3)]


def test_one_renewal_serves_all(relays, stub, tmp_path):
    """Asked at the same moment, one of them asks the provider, under a row lock; the others find what it got."""
    relays[0].consented(Granted(Secret("void"), Secret(stub.consent()), -1))
    found: list[str] = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.token().reveal())) for one in relays]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert len(stub.asked("refresh_token")) == 1
    assert len(set(found)) == 1
    assert len(found) == 3
    assert relays[2].kept().refresh_token == relays[0].kept().refresh_token
    assert list(tmp_path.iterdir()) == []


def test_a_rotated_token_is_everybodys(relays, stub):
    """The old one is void at once: whoever renews next uses what the last one got."""
    relays[0].consented(Granted(Secret("void"), Secret(stub.consent()), -1))
    tokens = [one.renew().reveal() for one in (*relays, *relays)]
    assert len(set(tokens)) == 6
    assert len(stub.asked("refresh_token")) == 6


def test_a_database_that_is_away_is_a_passing_trouble(relays, postgres_server, stub):
    """The mail waits; nobody must log in again."""
    relays[0].consented(Granted(Secret("void"), Secret(stub.consent()), -1))
    postgres_server.stop()
    try:
        found = relays[0].token()
        assert isinstance(found, NoToken)
        assert found.passing
        assert "PostgreSQL" in found.words
    finally:
        postgres_server.go_on()
    assert relays[1].token().reveal() in stub.access_tokens
