"""The peers are what the other tests take them for: real servers that insist on TLS and a login.

smtplib ── STARTTLS or TLS, AUTH ──> the peer ──> maildir or sink
"""

import poplib
import smtplib
import ssl

import pytest

from tests.support.overlay import unavailable
from tests.support.peers import PASSWORD, USER, Papers, Peer
from tests.support.sink import Sink
from tests.support.waiting import eventually

LETTER = b"From: <taro@isp.example>\r\nTo: <b@far.example>\r\nSubject: %s\r\n\r\nhello\r\n"


@pytest.fixture(params=["postfix", "dovecot_submission", "exim_upstream"])
def peer(request: pytest.FixtureRequest) -> Peer:
    return request.getfixturevalue(request.param)


def trusting(paper: Papers) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(paper.ca_file))


def arrived(peer: Peer, behind: Sink, subject: bytes) -> bool:
    octets = [one.octets for one in peer.delivered()] + [one.octets for one in behind.taken()]
    return any(b"Subject: " + subject in one for one in octets)


def wait_until_arrived(peer: Peer, behind: Sink, subject: bytes) -> None:
    eventually(lambda: arrived(peer, behind, subject), 30, lambda: f"nothing arrived\n{peer.log()[-3000:]}")


def test_takes_mail_over_starttls_after_a_login(peer: Peer, paper: Papers, behind: Sink) -> None:
    """STARTTLS with a certificate that verifies, then AUTH, then a message that arrives."""
    with smtplib.SMTP("127.0.0.1", peer.port, timeout=20) as client:
        client.starttls(context=trusting(paper))
        client.login(USER, PASSWORD)
        client.sendmail(USER, ["b@far.example"], LETTER % b"starttls")
    wait_until_arrived(peer, behind, b"starttls")


def test_takes_mail_over_implicit_tls(peer: Peer, paper: Papers, behind: Sink) -> None:
    """The same on the port that begins with TLS."""
    with smtplib.SMTP_SSL("127.0.0.1", peer.tls_port, timeout=20, context=trusting(paper)) as client:
        client.login(USER, PASSWORD)
        client.sendmail(USER, ["b@far.example"], LETTER % b"implicit")
    wait_until_arrived(peer, behind, b"implicit")


def test_refuses_mail_without_a_login(peer: Peer, paper: Papers) -> None:
    """No open relay: without AUTH the message is refused for good."""
    with smtplib.SMTP("127.0.0.1", peer.port, timeout=20) as client:
        client.starttls(context=trusting(paper))
        with pytest.raises(smtplib.SMTPException) as refusal:
            client.sendmail(USER, ["b@far.example"], LETTER % b"nobody")
    assert "'5" in str(refusal.value) or "(5" in str(refusal.value)


def test_dovecot_speaks_pop3_too(dovecot_submission: Peer, paper: Papers) -> None:
    """The POP3 door beside submission, for POP before SMTP."""
    mailbox = poplib.POP3("127.0.0.1", dovecot_submission.pop_port, timeout=20)
    mailbox.stls(context=trusting(paper))
    mailbox.user(USER)
    assert mailbox.pass_(PASSWORD).startswith(b"+OK")
    mailbox.quit()


def test_opensmtpd_takes_mail_from_its_own_network(opensmtpd_upstream: Peer, behind: Sink) -> None:
    """A smarthost of the old kind: no TLS, no login, clients are known by their address."""
    with smtplib.SMTP("127.0.0.1", opensmtpd_upstream.port, timeout=20) as client:
        client.sendmail(USER, ["b@far.example"], LETTER % b"plain")
    wait_until_arrived(opensmtpd_upstream, behind, b"plain")


def test_a_missing_peer_is_a_skip_here_and_a_failure_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a peer cannot run the reason is told; REQUIRE_PEERS makes it a failure."""
    monkeypatch.delenv("REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="only root"):
        unavailable("only root can mount an overlay")
    monkeypatch.setenv("REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="only root"):
        unavailable("only root can mount an overlay")
