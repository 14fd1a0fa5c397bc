"""The relay hands mail to real submission servers: TLS verified, each login, the letter octet for octet.

smtplib ──> relay run ── STARTTLS | TLS, AUTH ──> postfix | dovecot | exim ──> maildir | sink
"""

import json
import smtplib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from relay.mail.address import parse_address
from relay.mail.outgoing import Outgoing
from relay.mail.rewrite import Identity
from relay.upstream.pool import Pools
from relay.upstream.settings import Auth, Login, OAuth, SmtpServer, Tls, Upstream
from tests.support.letters import recent_date
from tests.support.peers import PASSWORD, USER, Papers, Peer, dovecot, postfix_submission
from tests.support.running import RelayProcess
from tests.support.sink import Sink
from tests.support.waiting import eventually

StartRelay = Callable[[Mapping[str, Any]], RelayProcess]
DATE = recent_date()

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
        f"Date: {DATE}\r\nMessage-ID: <{subject}@nas.example>\r\n"
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


@pytest.mark.parametrize(
    ("server", "mechanisms"),
    [
        ("postfix", ["plain", "login", "cram-md5", "auto"]),
        ("dovecot_submission", ["plain", "login", "cram-md5", "auto"]),
        ("exim_upstream", ["plain", "login", "auto"]),
    ],
)
def test_forwards_with_tls_and_each_login(
    *,
    server: str,
    mechanisms: list[str],
    paper: Papers,
    behind: Sink,
    start_relay: StartRelay,
    request: pytest.FixtureRequest,
    subtests: pytest.Subtests,
) -> None:
    """Each real server takes the message after TLS and AUTH, in every way, and it arrives octet for octet."""
    peer: Peer = request.getfixturevalue(server)
    ports = {"starttls": peer.port, "implicit": peer.tls_port}
    ways = [(tls, auth) for tls in ports for auth in mechanisms]
    relay = start_relay(
        {
            "upstreams": {f"{tls}-{auth}": upstream(peer, paper, tls=tls, port=ports[tls], auth=auth) for tls, auth in ways},
            "routes": [{"to": f"*@{tls}-{auth}.example", "via": [f"{tls}-{auth}"]} for tls, auth in ways],
        }
    )
    promised = {(tls, auth): submit(relay, f"{server}-{tls}-{auth}", recipient=f"b@{tls}-{auth}.example") for tls, auth in ways}
    relay.wait_for("relayed", len(ways))
    for (tls, auth), queue_id in promised.items():
        with subtests.test(tls=tls, auth=auth):
            subject = f"{server}-{tls}-{auth}"
            assert_intact(arrived(peer, behind, subject), subject)
            told = trail(relay, queue_id)
            assert "TLSv1" in told
            assert (auth if auth != "auto" else "plain") in told.lower()
    assert relay.queue() == []


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


async def test_xoauth2(dovecot_submission: Peer, paper: Papers, behind: Sink) -> None:
    """An access token goes to Dovecot as XOAUTH2."""

    async def token(_: Upstream) -> str:
        return PASSWORD

    pools = Pools(hostname="relay.test", token=token)
    sender = parse_address(USER)
    m365 = Upstream(
        name="m365",
        transport=SmtpServer(
            "127.0.0.1",
            dovecot_submission.port,
            Tls(ca_file=str(paper.ca_file)),
            Login(auth=Auth.XOAUTH2, username=USER, oauth=OAuth(client_id="relay")),
        ),
        identity=Identity(sender=sender),
    )
    octets = letter("xoauth2")
    outgoing = Outgoing("q1", sender, (parse_address("b@far.example"),), [octets], len(octets), eight_bit=True)
    try:
        report = await pools.submit(m365, outgoing)
    finally:
        await pools.close()
    assert [answer.reply.code for answer in report.answers.values()] == [250]
    assert report.conversation.mechanism == "XOAUTH2"
    assert_intact(arrived(dovecot_submission, behind, "xoauth2"), "xoauth2")
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
