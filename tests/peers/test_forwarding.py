"""The relay hands mail to real submission servers: TLS verified, each login, the letter octet for octet.

smtplib ──> relay run ── STARTTLS | TLS, AUTH ──> postfix | dovecot | exim ──> maildir | sink
"""

import json
import smtplib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import PASSWORD, USER, Papers, Peer, dovecot, postfix_submission
from tests.support.running import RelayProcess
from tests.support.sink import Sink
from tests.support.waiting import eventually

StartRelay = Callable[[Mapping[str, Any]], RelayProcess]

# A signed-looking letter with what is easily broken on the way: dots, 8-bit text, blanks at line ends, long lines, a tab.
BODY = (
    "Guten Tag, こんにちは\r\n"
    ".\r\n"
    "..leading dots\r\n"
    ".From the start\r\n"
    "From here on nothing is an mbox separator\r\n"
    "blanks at the end   \r\n"
    "\ttab\r\n"
    "\r\n"
    f"{'x' * 990}\r\n"
    "\r\n"
    "--  \r\n"
    "end\r\n"
).encode()


def letter(subject: str, sender: str = USER) -> bytes:
    header = (
        f"From: <{sender}>\r\nTo: <b@far.example>\r\nSubject: {subject}\r\n"
        f"Date: Sun, 22 Nov 2026 02:00:00 +0000\r\nMessage-ID: <{subject}@nas.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    )
    return header.encode() + b"\r\n" + BODY


def upstream(peer: Peer, paper: Papers, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": peer.port,
        "tls": "starttls",
        "ca_file": str(paper.ca_file),
        "username": USER,
        "password": PASSWORD,
        "timeout": "20s",
        **more,
    }


def submit(relay: RelayProcess, subject: str, sender: str = USER, recipient: str = "b@far.example") -> str:
    """Sends the letter to the relay as a device would; the queue id that it was promised under."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
        device.ehlo("nas")
        code, _ = device.mail(sender, ["BODY=8BITMIME"])
        assert code == 250
        assert device.rcpt(recipient)[0] == 250
        code, said = device.data(letter(subject, sender))
        assert code == 250, said
        return said.decode().split()[-1]


def trail(relay: RelayProcess, queue_id: str) -> str:
    return json.dumps(relay.show(queue_id)["trail"], ensure_ascii=False)


def arrived(peer: Peer, behind: Sink, subject: str) -> bytes:
    """The letter as it stands behind the peer, with LF line ends."""

    def look() -> bytes:
        octets = [one.octets for one in peer.delivered()] + [one.octets.replace(b"\r\n", b"\n") for one in behind.taken()]
        return next((one for one in octets if f"\nSubject: {subject}\n".encode() in one), b"")

    return eventually(look, 30, lambda: f"{subject} did not arrive\n{peer.log()[-2000:]}")


def assert_intact(octets: bytes, subject: str) -> None:
    """Header fields and body came through; peers add fields on top and change CRLF to LF, nothing else."""
    header, _, body = octets.partition(b"\n\n")
    assert body == BODY.replace(b"\r\n", b"\n")
    for line in letter(subject).split(b"\r\n\r\n")[0].split(b"\r\n"):
        assert line in header.split(b"\n")


@pytest.fixture(params=["postfix", "dovecot_submission", "exim_upstream"])
def peer(request: pytest.FixtureRequest) -> Peer:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("auth", ["plain", "login", "auto"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_forwards_with_tls_and_a_login(
    *, peer: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tls: str, auth: str
) -> None:
    """Each real server takes the message after TLS and AUTH, and it arrives octet for octet."""
    subject = f"{tls}-{auth}-{peer.port}"
    port = peer.port if tls == "starttls" else peer.tls_port
    relay = start_relay({"upstreams": {"isp": upstream(peer, paper, tls=tls, port=port, auth=auth)}})
    queue_id = submit(relay, subject)
    relay.wait_for("relayed")
    assert_intact(arrived(peer, behind, subject), subject)
    told = trail(relay, queue_id)
    assert "TLSv1" in told
    assert (auth if auth != "auto" else "plain") in told.lower()
    assert relay.queue() == []


@pytest.mark.parametrize("name", ["postfix", "dovecot_submission"])
def test_cram_md5(name: str, paper: Papers, behind: Sink, start_relay: StartRelay, request: pytest.FixtureRequest) -> None:
    """The challenge is answered as Cyrus SASL and Dovecot expect it."""
    peer: Peer = request.getfixturevalue(name)
    relay = start_relay({"upstreams": {"isp": upstream(peer, paper, auth="cram-md5")}})
    queue_id = submit(relay, f"cram-{name}")
    relay.wait_for("relayed")
    assert_intact(arrived(peer, behind, f"cram-{name}"), f"cram-{name}")
    assert "cram-md5" in trail(relay, queue_id).lower()


@pytest.mark.parametrize(("offered", "taken"), [("LOGIN", "login"), ("CRAM-MD5", "cram-md5"), ("LOGIN CRAM-MD5", "login")])
def test_auto_takes_what_the_server_has(offered: str, taken: str, paper: Papers, behind: Sink, start_relay: StartRelay) -> None:
    """Over TLS the order is PLAIN, LOGIN, CRAM-MD5; what Postfix does not offer is not tried."""
    with postfix_submission(paper, mechanisms=offered) as peer:
        relay = start_relay({"upstreams": {"isp": upstream(peer, paper)}})
        queue_id = submit(relay, "chosen")
        relay.wait_for("relayed")
        arrived(peer, behind, "chosen")
        assert taken in trail(relay, queue_id).lower()
        assert f"sasl_method={taken.upper()}" in peer.log()


def test_cram_md5_is_what_auto_takes_without_tls(paper: Papers, behind: Sink, start_relay: StartRelay) -> None:
    """In clear, the mechanism that does not show the password comes first."""
    with dovecot(paper, behind.port, plaintext=True) as peer:
        settings = upstream(peer, paper, tls="none")
        del settings["ca_file"]
        relay = start_relay({"upstreams": {"old": settings}})
        queue_id = submit(relay, "in-clear")
        relay.wait_for("relayed")
        arrived(peer, behind, "in-clear")
        assert "cram-md5" in trail(relay, queue_id).lower()
        assert "method=CRAM-MD5" in peer.log()


def test_forwards_through_opensmtpd_without_tls(opensmtpd_upstream: Peer, behind: Sink, start_relay: StartRelay) -> None:
    """A smarthost that knows its clients by their address gets neither TLS nor a login from us."""
    smarthost = {"host": "127.0.0.1", "port": opensmtpd_upstream.port, "tls": "none", "sender": USER}
    relay = start_relay({"upstreams": {"smarthost": smarthost}})
    submit(relay, "smarthost")
    relay.wait_for("relayed")
    assert_intact(arrived(opensmtpd_upstream, behind, "smarthost"), "smarthost")


def test_a_wrong_password_is_told_in_the_servers_words(postfix: Peer, paper: Papers, start_relay: StartRelay) -> None:
    """Postfix refuses the login: the message waits, is tried once, and the trail says 535 and what to do."""
    before = postfix.log().count("authentication failed")
    relay = start_relay(
        {"upstreams": {"isp": upstream(postfix, paper, password="not-it")}, "retry": {"delays": ["1s"], "rest_login": "15m"}}
    )
    queue_id = submit(relay, "wrong-password")
    relay.wait_for("deferred")
    told = trail(relay, queue_id)
    assert "535" in told
    assert "authentication failed" in told
    assert "password" in told.lower()
    assert "not-it" not in "\n".join(relay.lines)
    (message,) = relay.queue()
    assert message["recipients"][0]["state"] == "queued"
    assert message["recipients"][0]["code"] == 535
    assert postfix.log().count("authentication failed") == before + 1


def test_a_certificate_of_an_unknown_authority_stops_before_the_login(
    postfix: Peer, paper: Papers, start_relay: StartRelay
) -> None:
    """Without our CA the certificate does not verify: nothing is sent, the message waits, the trail names TLS."""
    settings = upstream(postfix, paper)
    del settings["ca_file"]
    relay = start_relay({"upstreams": {"isp": settings}})
    queue_id = submit(relay, "unverified")
    relay.wait_for("deferred")
    assert "certificate" in trail(relay, queue_id).lower()
    assert relay.queue()[0]["recipients"][0]["state"] == "queued"
    assert not [one for one in postfix.delivered() if b"Subject: unverified" in one.octets]


def test_a_foreign_sender_is_rewritten_before_postfix_sees_it(paper: Papers, behind: Sink, start_relay: StartRelay) -> None:
    """Postfix lets an account send only as itself; the NAS's own sender becomes the account's, and is kept in Reply-To."""
    own_only = {
        "smtpd_sender_login_maps": f"inline:{{ {USER}={USER} }}",
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    }
    with postfix_submission(paper, settings=own_only) as peer:
        relay = start_relay({"upstreams": {"isp": upstream(peer, paper)}})
        submit(relay, "foreign", sender="nas@home.example")
        relay.wait_for("relayed")
        octets = arrived(peer, behind, "foreign")
    header = octets.partition(b"\n\n")[0].decode()
    assert f"Return-Path: <{USER}>" in header
    assert "nas@home.example" in header.partition("Reply-To:")[2].partition("\n")[0]


class _TokenServer(BaseHTTPRequestHandler):
    """An authorization server's token endpoint: whoever brings the refresh token gets the access token."""

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fine = "refresh_token=first-refresh" in form
        answer = {"access_token": PASSWORD, "token_type": "Bearer", "expires_in": 3600} if fine else {"error": "invalid_grant"}
        self.send_response(200 if fine else 400)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        """Says nothing on stderr."""


@contextmanager
def token_server() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _TokenServer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_xoauth2(dovecot_submission: Peer, paper: Papers, behind: Sink, start_relay: StartRelay, tmp_path: Path) -> None:
    """With `oauth` the access token is fetched and Dovecot takes it as XOAUTH2."""
    refresh = tmp_path / "refresh-token"
    refresh.write_text("first-refresh\n")
    refresh.chmod(0o600)
    with token_server() as url:
        oauth = {"client_id": "relay", "token_url": url, "refresh_token_file": str(refresh)}
        settings = upstream(dovecot_submission, paper, oauth=oauth)
        del settings["password"]
        relay = start_relay({"upstreams": {"m365": settings}})
        queue_id = submit(relay, "xoauth2")
        relay.wait_for("relayed")
    assert_intact(arrived(dovecot_submission, behind, "xoauth2"), "xoauth2")
    assert "xoauth2" in trail(relay, queue_id).lower()
    assert "method=XOAUTH2" in dovecot_submission.log()


def test_pop_before_smtp(paper: Papers, behind: Sink, start_relay: StartRelay) -> None:
    """With `auth: pop` the relay logs in at Dovecot's POP3 first and then sends without AUTH."""
    with dovecot(paper, behind.port, plaintext=True) as peer:
        old = {"host": "127.0.0.1", "port": behind.port, "tls": "none", "auth": "pop", "username": USER, "password": PASSWORD}
        relay = start_relay({"upstreams": {"old-host": {**old, "pop": {"host": "127.0.0.1", "port": peer.pop_port}}}})
        submit(relay, "pop-first")
        relay.wait_for("relayed")
        assert_intact(arrived(peer, behind, "pop-first"), "pop-first")
        assert "pop3-login: Info: Login: user=" in peer.log()
