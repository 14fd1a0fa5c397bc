"""Real programs submit to the relay: Postfix as a client, swaks, msmtp.

postfix | swaks | msmtp ──> relay run ──> sink
"""

import smtplib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.support.letters import recent_date
from tests.support.overlay import run_inside
from tests.support.peers import postfix_client
from tests.support.running import RelayProcess
from tests.support.sink import Sink
from tests.support.waiting import eventually

StartRelay = Callable[[Mapping[str, Any]], RelayProcess]
LETTER = f"From: <nas@isp.example>\nTo: <b@far.example>\nSubject: {{subject}}\nDate: {recent_date()}\n\n.dot\nend\n"


@pytest.fixture
def relay(start_relay: StartRelay, behind: Sink) -> RelayProcess:
    sink = {"host": "127.0.0.1", "port": behind.port, "tls": "none", "sender": "nas@isp.example"}
    return start_relay({"upstreams": {"sink": sink}})


def arrived(behind: Sink, relay: RelayProcess, subject: str) -> bytes:
    def look() -> bytes:
        return next((one.octets for one in behind.taken() if one.header("Subject") == subject), b"")

    return eventually(look, 30, lambda: f"{subject} did not arrive\n{relay.said()}")


def test_postfix_submits_to_us(relay: RelayProcess, behind: Sink) -> None:
    """Postfix with `relayhost` set to us: STARTTLS on the way in, many recipients in one transaction, 8-bit body."""
    with postfix_client(relay.port) as client:
        recipients = [f"b{number}@far.example" for number in range(20)]
        with smtplib.SMTP("127.0.0.1", client.port, timeout=20) as lan_host:
            letter = LETTER.format(subject="by-postfix").replace("end", "Ende ü").replace("\n", "\r\n").encode()
            lan_host.sendmail("nas@isp.example", recipients, letter, mail_options=["BODY=8BITMIME"])
        octets = arrived(behind, relay, "by-postfix")
        said = eventually(lambda: client.log() if client.log().count("status=sent") >= 20 else "", 30, client.log)
    assert octets.partition(b"\r\n\r\n")[2] == ".dot\r\nEnde ü\r\n".encode()
    assert {path for one in behind.taken() for path in one.forward_paths} >= set(recipients)
    assert said.count("status=sent") == 20
    assert "queued as" in said
    accepted = relay.wait_for("accepted")[-1]
    assert accepted.get("tls", "").startswith("TLS") or "TLS" in str(accepted)


@pytest.mark.parametrize("more", [(), ("--tls",), ("--auth", "LOGIN", "--auth-user", "x", "--auth-password", "y")])
def test_swaks_submits_to_us(relay: RelayProcess, behind: Sink, more: tuple[str, ...]) -> None:
    """The tester's tool gets through plainly, with STARTTLS, and with whatever login it insists on."""
    subject = f"by-swaks-{len(more)}"
    server = ("--server", "127.0.0.1", "--port", str(relay.port))
    letter = ("--from", "nas@isp.example", "--to", "b@far.example", "--header", f"Subject: {subject}")
    said = run_inside("postfix", ["swaks", *server, *letter, *more])
    assert "queued as" in said, said
    assert said.rstrip().endswith("exit 0"), said
    arrived(behind, relay, subject)


def test_msmtp_submits_to_us(relay: RelayProcess, behind: Sink) -> None:
    """The sendmail of small machines gets through, with a leading dot in the body kept."""
    command = "msmtp --host=127.0.0.1 --port={} --from=nas@isp.example --tls=off --auth=off b@far.example < letter"
    said = run_inside("postfix", ["sh", "-c", command.format(relay.port)], {"letter": LETTER.format(subject="by-msmtp")})
    assert said.rstrip().endswith("exit 0"), said
    assert arrived(behind, relay, "by-msmtp").partition(b"\r\n\r\n")[2] == b".dot\r\nend\r\n"
