"""Every login against a real Dovecot, which asks the test's token server whose a token is.

device ──> relay run ── STARTTLS, AUTH ──> dovecot ──> sink
               │ POST /token                  │ GET /introspect
               └────────> token server <──────┘
"""

import itertools
import json
import smtplib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.oauth import Stub, provider
from tests.support.peers import PASSWORD, USER, Papers, Peer, dovecot
from tests.support.running import RelayProcess
from tests.support.sink import Sink
from tests.support.waiting import eventually

StartRelay = Callable[[Mapping[str, Any]], RelayProcess]
MECHANISMS = "plain login cram-md5 xoauth2 oauthbearer"
NUMBERS = itertools.count(1)
REST = 3
"""Seconds of rest after a refused login, in these tests."""


@pytest.fixture(scope="module")
def tokens() -> Iterator[Stub]:
    with provider() as stub:
        yield stub


@pytest.fixture
def stub(tokens: Stub) -> Stub:
    """The token server as new: nobody has consented yet, tokens last an hour and refresh tokens are rotated."""
    tokens.revoke()
    tokens.forms.clear()
    tokens.trouble.clear()
    tokens.expires_in, tokens.delay = 3599, 0.0
    tokens.introspecting.clear()
    tokens.gate.set()
    return tokens


@pytest.fixture(scope="module")
def server(paper: Papers, behind: Sink, tokens: Stub) -> Iterator[Peer]:
    with dovecot(paper, behind.port, mechanisms=MECHANISMS, introspection=f"{tokens.base}/introspect") as peer:
        yield peer


@pytest.fixture(scope="module")
def bearer_only(paper: Papers, behind: Sink, tokens: Stub) -> Iterator[Peer]:
    with dovecot(paper, behind.port, mechanisms="oauthbearer", introspection=f"{tokens.base}/introspect") as peer:
        yield peer


def upstream(peer: Peer, paper: Papers, **more: Any) -> dict[str, Any]:
    server = {"host": "127.0.0.1", "port": peer.port, "tls": "starttls", "ca_file": str(paper.ca_file), "timeout": "20s"}
    return {**server, "username": USER, **more}


def by_token(peer: Peer, paper: Papers, stub: Stub, tmp_path: Path, **more: Any) -> dict[str, Any]:
    """An upstream whose refresh token a person has put into a file."""
    file = tmp_path / "given.token"
    if not file.exists():
        file.write_text(f"{stub.consent()}\n")
    oauth = {"provider": "microsoft", "client_id": "app", "refresh_token_file": str(file), **stub.urls}
    return upstream(peer, paper, oauth=oauth, **more)


def settings(one: dict[str, Any]) -> dict[str, Any]:
    retry = {"delays": ["1s"], "rest": ["1s"], "rest_login": f"{REST}s"}
    return {"upstreams": {"isp": one}, "retry": retry, "notices": {"to": "owner@isp.example"}}


def submit(relay: RelayProcess, recipient: str = "b@far.example") -> str:
    """Sends a letter with a subject of its own; the subject."""
    subject = f"oauth-{next(NUMBERS)}"
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
        device.sendmail(USER, [recipient], f"From: {USER}\r\nSubject: {subject}\r\n\r\nhello\r\n")
    return subject


def arrivals(behind: Sink, subject: str) -> int:
    return sum(f"Subject: {subject}".encode() in one.octets.split(b"\r\n\r\n")[0] for one in behind.taken())


def arrived(behind: Sink, subject: str, peer: Peer, relay: RelayProcess) -> None:
    eventually(lambda: arrivals(behind, subject), 30, lambda: f"{subject} is missing\n{relay.said()}\n{peer.log()[-2000:]}")


def refusals(peer: Peer) -> int:
    """How many logins the server refused so far."""
    return peer.log().count("auth failed")


def rested(relay: RelayProcess) -> list[str]:
    return [str(event["said"]) for event in relay.events("rested")]


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5", "auto"])
def test_each_password_mechanism_delivers(
    mechanism: str, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay
) -> None:
    """The right password is taken in every way that the server knows."""
    relay = start_relay(settings(upstream(server, paper, auth=mechanism, password=PASSWORD)))
    arrived(behind, submit(relay), server, relay)


@pytest.mark.parametrize(("peer", "mechanism"), [("server", "XOAUTH2"), ("bearer_only", "OAUTHBEARER")])
def test_each_token_mechanism_delivers(
    *,
    peer: str,
    mechanism: str,
    stub: Stub,
    paper: Papers,
    behind: Sink,
    start_relay: StartRelay,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Renewed at the token server, shown to Dovecot, which asks there whose it is; the trail names the mechanism."""
    there: Peer = request.getfixturevalue(peer)
    relay = start_relay(settings(by_token(there, paper, stub, tmp_path)))
    arrived(behind, submit(relay), there, relay)
    [message] = relay.queue("--all")
    assert mechanism in json.dumps(relay.show(message["id"])["trail"])
    assert {(tmp_path / "given.token").read_text().strip()} == stub.refresh_tokens


@pytest.mark.parametrize("mechanism", ["plain", "login", "cram-md5"])
def test_a_wrong_password_is_tried_once_for_each_rest(
    mechanism: str, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay
) -> None:
    """Five messages, one refused login; they wait, the owner is told what to do, and a mended secret sends them all."""
    before = refusals(server)
    relay = start_relay({**settings(upstream(server, paper, auth=mechanism, password="wr0ng")), "retry": {"rest_login": "10m"}})
    subjects = [submit(relay) for _ in range(5)]
    relay.wait_for("rested")
    eventually(lambda: len(relay.queue()) >= 5, 10)
    assert refusals(server) == before + 1
    assert "535" in rested(relay)[0]
    relay.configure({**relay.config, "upstreams": {"isp": upstream(server, paper, auth=mechanism, password=PASSWORD)}})
    relay.reload()
    for subject in subjects:
        arrived(behind, subject, server, relay)


def test_a_revoked_consent_keeps_the_mail_and_hurts_nobody(
    stub: Stub, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tmp_path: Path
) -> None:
    """No AUTH at all without a token; the provider's words and the cure are told; a new consent delivers."""
    one = by_token(server, paper, stub, tmp_path)
    stub.revoke()
    before = refusals(server)
    relay = start_relay(settings(one))
    subject = submit(relay)
    relay.wait_for("rested", 2)
    assert refusals(server) == before
    assert all("AADSTS50173" in said and "relay oauth login isp" in said for said in rested(relay))
    [waiting] = [message for message in relay.queue() if message["sender"] == USER]
    assert waiting["recipients"][0]["state"] == "queued"
    assert "oauth login isp" in json.dumps(relay.show(waiting["id"])["trail"])
    (tmp_path / "given.token").write_text(f"{stub.consent()}\n")
    arrived(behind, subject, server, relay)
    assert arrivals(behind, subject) == 1


def test_an_access_token_that_was_taken_back_costs_one_auth(
    stub: Stub, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tmp_path: Path
) -> None:
    """The refusal makes the upstream rest shortly, the next try has a new token; a kept session does not hide it."""
    relay = start_relay(settings(by_token(server, paper, stub, tmp_path)))
    arrived(behind, submit(relay), server, relay)
    relay.stop()
    stub.access_tokens.clear()
    before = refusals(server)
    relay.start()
    subject = submit(relay)
    arrived(behind, subject, server, relay)
    assert refusals(server) == before + 1
    assert len(rested(relay)) == 1
    assert "a new one is here" in rested(relay)[0]


def test_an_expired_access_token_is_never_shown(
    stub: Stub, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tmp_path: Path
) -> None:
    """Tokens of a second: each login has a fresh one, and Dovecot refuses none."""
    stub.expires_in = 1
    before = refusals(server)
    relay = start_relay(settings(by_token(server, paper, stub, tmp_path)))
    for _ in range(3):
        arrived(behind, submit(relay), server, relay)
        relay.stop()
        relay.start()
    assert refusals(server) == before
    assert len(stub.asked("refresh_token")) >= 2


def test_tokens_of_somebody_else_are_refused_once_for_each_rest(
    stub: Stub, server: Peer, paper: Papers, start_relay: StartRelay, tmp_path: Path
) -> None:
    """A consent by the wrong account: one AUTH for each rest, one renewal in all, and the advice says what is wrong."""
    stub.user = "hanako@isp.example"
    try:
        before = refusals(server)
        relay = start_relay(settings(by_token(server, paper, stub, tmp_path)))
        submit(relay)
        relay.wait_for("rested", 2, seconds=40)
        relay.stop()
        assert refusals(server) - before <= len(rested(relay)) <= 3
        assert len(stub.asked("refresh_token")) == 1
        assert "was new" in rested(relay)[0]
    finally:
        stub.user = USER


@pytest.mark.parametrize("moment", ["kept", "shown", "used"])
def test_kill_9_between_renewal_and_use_loses_nothing(
    *, moment: str, stub: Stub, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tmp_path: Path
) -> None:
    """The old refresh token is void; the new one was on disk before anything else happened, so the next life goes on."""
    stub.expires_in = 1  # the next life has to renew again, with the token that this one got
    if moment == "shown":
        stub.gate.clear()  # the server has the AUTH and gives no answer to it
    relay = start_relay(settings(by_token(server, paper, stub, tmp_path)))
    kept = relay.spool.parent / "oauth" / "isp.json"
    subject = submit(relay)
    if moment == "kept":
        eventually(lambda: kept.exists() and json.loads(kept.read_text())["access_token"], 20)
    elif moment == "shown":
        assert stub.introspecting.wait(20)
    else:
        relay.wait_for("relayed")
    relay.kill9()
    stub.gate.set()
    assert {json.loads(kept.read_text())["refresh_token"]} == stub.refresh_tokens
    renewals = len(stub.asked("refresh_token"))
    relay.start()
    second = submit(relay)
    for each in (subject, second):
        arrived(behind, each, server, relay)
    assert len(stub.asked("refresh_token")) > renewals
    assert not rested(relay)


def test_a_new_login_sends_what_waits_at_once(
    stub: Stub, server: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tmp_path: Path
) -> None:
    """The upstream rests for an hour; `relay oauth login` beside the running relay ends that, and nobody restarts anything."""
    one = by_token(server, paper, stub, tmp_path)
    stub.revoke()
    relay = start_relay({**settings(one), "retry": {"rest_login": "1h"}})
    subject = submit(relay)
    relay.wait_for("rested")
    stub.pending = ["authorization_pending"]
    done = relay.command("oauth", "login", "isp")
    assert done.returncode == 0, done.stderr
    assert "now tries the mail that waits" in done.stdout
    arrived(behind, subject, server, relay)
    assert len(rested(relay)) == 1
