"""Straight to real MX hosts, and through a POP-before-SMTP host made of real parts.

                  ┌── mx ──> postfix | exim | opensmtpd ──> maildir | sink
device ──> relay ─┤
                  └── POP3 login at dovecot, then SMTP ──> postfix ──> maildir
"""

import asyncio
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.dns import FakeDNS
from tests.support.inprocess import ended, relay_at_home, send
from tests.support.letters import recent_date
from tests.support.mx_peers import EXIM, OPENSMTPD, POSTFIX, exim_mx, opensmtpd_mx, pop_before_smtp_host, postfix_mx
from tests.support.peers import PASSWORD, USER, Papers, Peer, free_port
from tests.support.sink import Sink

DOMAINS = {"postfix": POSTFIX, "exim": EXIM, "opensmtpd": OPENSMTPD}
ZONE = {
    **{f"{name}.example": {"MX": [f"10 mx.{name}.example."]} for name in DOMAINS},
    **{f"mx.{name}.example": {"A": [address]} for name, address in DOMAINS.items()},
}


@pytest.fixture(scope="module")
def hosts(paper: Papers, behind: Sink) -> Iterator[tuple[int, dict[str, Peer]]]:
    """The port that stands for 25, and the three hosts."""
    port = free_port()
    with ExitStack() as stack:
        yield (
            port,
            {
                "postfix": stack.enter_context(postfix_mx(paper, port, "postfix.example")),
                "exim": stack.enter_context(exim_mx(paper, port, "exim.example")),
                "opensmtpd": stack.enter_context(opensmtpd_mx(port, "opensmtpd.example", behind.port)),
            },
        )


def letter(subject: str) -> bytes:
    header = f"From: <{USER}>\r\nTo: <me@x.example>\r\nSubject: {subject}\r\nDate: {recent_date()}\r\n"
    return f"{header}Message-ID: <{subject}@nas.example>\r\n\r\nAll disks are fine.\r\n".encode()


@pytest.mark.parametrize("name", DOMAINS)
async def test_real_hosts_take_mail_directly_and_refuse_in_their_own_words(
    name: str, hosts: tuple[int, dict[str, Peer]], behind: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `mx` the message reaches the real host, under TLS where it has any; an unknown user is refused and told."""
    port, peers = hosts
    monkeypatch.setenv("RELAY_TEST_MX_PORT", str(port))
    async with FakeDNS(ZONE) as dns:
        settings = {
            "upstreams": {"isp": {"host": "127.0.0.1", "port": free_port(), "tls": "none", "auth": "none", "sender": USER}},
            "routes": [{"via": ["mx"]}],
            "dns": {"nameservers": [dns.address]},
            "mx": {"private": True},
        }
        async with relay_at_home(tmp_path, settings) as relay:
            subject = f"direct-{name}"
            queue_id = await send(relay, USER, f"me@{name}.example", letter(subject))
            story = await ended(relay, queue_id, "relayed")
            if name == "opensmtpd":
                arrived = (await asyncio.to_thread(behind.wait_for, 1))[0].octets.replace(b"\r\n", b"\n")
            else:
                arrived = (await asyncio.to_thread(peers[name].wait_for, 1))[0].octets
            unknown = await send(relay, USER, f"nobody@{name}.example", letter("unknown"))
            refused = await ended(relay, unknown, "failed")
    assert f"\nSubject: {subject}\n".encode() in arrived
    (line,) = [line for line in story["trail"] if line["event"] == "relayed"]
    assert line["peer"] == f"{DOMAINS[name]}:{port}"
    assert line["tls"].startswith("TLSv1") == (name != "opensmtpd")
    assert refused["recipients"][0]["code"] == 550
    assert "advised" in [line["event"] for line in refused["trail"]]


async def test_a_host_that_only_knows_pop_before_smtp(paper: Papers, tmp_path: Path) -> None:
    """Postfix refuses a stranger; the relay logs in at Dovecot first, and Postfix takes its mail; once for two messages."""
    with pop_before_smtp_host(paper) as peer:
        with smtplib.SMTP("127.0.0.1", peer.port, timeout=20) as stranger:
            stranger.ehlo("stranger")
            stranger.mail(USER)
            assert stranger.rcpt("b@far.example")[0] == 554
        account = {
            "host": "127.0.0.1",
            "port": peer.port,
            "tls": "none",
            "auth": "pop",
            "pop": {"host": "127.0.0.1", "port": peer.pop_port},
            "username": USER,
            "password": PASSWORD,
        }
        async with relay_at_home(tmp_path, {"upstreams": {"old": account}}) as relay:
            for number in range(2):
                queue_id = await send(relay, USER, "b@far.example", letter(f"pop-{number}"))
                await ended(relay, queue_id, "relayed")
        arrived = await asyncio.to_thread(peer.wait_for, 2)
        assert peer.log().count("pop3-login: Info: Login: user=") == 1
    assert sorted(b"Subject: pop-1" in one.octets for one in arrived) == [False, True]
