"""What page, metrics and API show of a queue that relays share: who is there, and that the database is away."""

import json
import urllib.error
import urllib.request

import pytest

from tests.stations.test_control_api import submit
from tests.support.postgres import PostgresServer
from tests.support.running import running


@pytest.fixture
def relay(tmp_path, postgres_server, request):
    """`indirect` parameters are more settings of the spool, made of the place they may write to."""
    spool = {"url": postgres_server.database(), "name": "office-a", "state_dir": str(tmp_path / "state"), "keep_free": "1MB"}
    if hasattr(request, "param"):
        spool |= {name: value.format(tmp_path) for name, value in request.param.items()}
    config = {"upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none"}}, "spool": spool}
    with running(tmp_path, {**config, "web": {"address": "127.0.0.1:0"}}) as one:
        yield one


def got(relay, path):
    try:
        with urllib.request.urlopen(f"http://{relay.events('started')[-1]['web']}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_every_relay_of_the_queue_is_shown(relay):
    """The one that runs, and one that died and left its row."""
    url = relay.config["spool"]["url"]
    PostgresServer.ask(
        url, "INSERT INTO peer (identity, name, seen_at) VALUES ('x', 'office-b', clock_timestamp() - interval '1 hour')"
    )
    status, page = got(relay, "/")
    assert status == 200
    for words in ("Relays of this queue", "office-a", "office-b", "no heartbeat"):
        assert words in page
    _, numbers = got(relay, "/metrics")
    assert 'relay_peer_alive{relay="office-a"} 1.0' in numbers
    assert 'relay_peer_alive{relay="office-b"} 0.0' in numbers
    assert "relay_spool_away 0.0" in numbers
    told = json.loads(got(relay, "/api/relay")[1])["tally"]["relays"]
    assert [(one["name"], one["alive"], one["holds"]) for one in told] == [("office-a", True, 0), ("office-b", False, 0)]


def test_a_list_says_which_relay_has_a_message(relay, monkeypatch):
    """One that lives; and one that died, with the time from which another may take over what it had."""
    url = relay.config["spool"]["url"]
    submit(relay, "there@far.example")
    relay.wait_for("deferred")
    PostgresServer.ask(url, "INSERT INTO peer (identity, name) VALUES ('x', 'office-b')")
    leased = (
        "UPDATE message SET lease = nextval('lease_number'), leased_until = clock_timestamp() + interval '1 hour',"
        " owner = (SELECT id FROM peer WHERE name = 'office-b')"
    )
    PostgresServer.ask(url, leased)
    listed = relay.command("queue", "list").stdout
    assert "tried " in listed
    assert listed.rstrip().endswith("office-b has it")
    PostgresServer.ask(url, "UPDATE peer SET seen_at = '2026-01-02 03:04:05+00' WHERE name = 'office-b'")
    (message,) = relay.queue()
    told = "office-b has it, no sign of life since 2026-01-02 03:04:05 UTC; another relay may take it over from 2026-01-02"
    monkeypatch.setenv("TZ", "UTC")
    for words in (("list",), ("show", message["id"])):
        assert told in relay.command("queue", *words).stdout


def test_a_database_that_is_away_is_told_of(relay, postgres_server):
    """Not ready, and why; the metrics go on; lists say that they cannot be had now."""
    assert got(relay, "/metrics")[0] == 200
    postgres_server.stop()
    try:
        relay.wait_for("broken")
        status, said = got(relay, "/readyz")
        assert status == 503
        assert "devices are told 451" in said
        assert "relay_spool_away 1.0" in got(relay, "/metrics")[1]
        assert got(relay, "/api/queue")[0] == 503
        status, page = got(relay, "/messages")
        assert status == 503
        assert "The queue cannot be reached now" in page
    finally:
        postgres_server.go_on()


@pytest.mark.parametrize("relay", [{"fallback": "sqlite:{}/fallback.db"}], indirect=True)
def test_with_a_fallback_it_is_told_of_too(relay, postgres_server):
    """Ready, for mail is taken all the same; but somebody should know."""
    assert "relay_spool_away 0.0" in got(relay, "/metrics")[1]
    postgres_server.stop()
    try:
        relay.wait_for("broken")
        assert got(relay, "/readyz")[0] == 200
        numbers = got(relay, "/metrics")[1]
        assert "relay_spool_away 1.0" in numbers
        assert "relay_ready 1.0" in numbers
    finally:
        postgres_server.go_on()
