"""The doctor asks real servers: what they say in their own words becomes the right finding, and no mail is sent.

doctor ── STARTTLS or TLS, AUTH, MAIL, RSET ──> Postfix (Cyrus SASL), Dovecot submission and POP3
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.doctor.finding import Finding, Grade
from relay.doctor.gather import World, gather
from relay.doctor.judge import Facts, judge
from relay.doctor.subject import Subject
from relay.doctor.upstream import ProbeDialog
from relay.mail.address import Address
from relay.mail.rewrite import Identity
from relay.outbound.routing import Route
from relay.secret import Secret
from relay.spool.contract import SpoolSettings
from relay.upstream.settings import Auth, Login, Pop, SmtpServer, Tls, TlsMode, Upstream
from tests.support.dns import FakeDNS
from tests.support.peers import PASSWORD, USER, Papers, Peer, postfix_submission
from tests.support.sending import on_server

ZONE = {"isp.example": {"MX": ["10 mail.isp.example."], "TXT": ['"v=spf1 ip4:202.224.39.192/27 -all"']}}
ZONE |= {"spf-01.asahi-net.or.jp": {"TXT": ['"v=spf1 ip4:202.224.39.192/27"']}}


@pytest.fixture(params=["postfix", "dovecot_submission"])
def peer(request: pytest.FixtureRequest) -> Peer:
    return request.getfixturevalue(request.param)


def account(peer: Peer, paper: Papers) -> Upstream:
    """A healthy account at a peer."""
    return Upstream(
        "isp",
        SmtpServer(
            "127.0.0.1",
            peer.port,
            Tls(TlsMode.STARTTLS, ca_file=str(paper.ca_file)),
            Login(username=USER, password=Secret(PASSWORD)),
        ),
        Identity(Address("taro", "isp.example"), frozenset({"isp.example"})),
        timeout=timedelta(seconds=20),
        provider="asahi-net",
    )


async def examined(upstream: Upstream, folder: Path) -> tuple[Facts, list[Finding]]:
    """Facts, and the findings that are not fine."""
    (folder / "root").mkdir(exist_ok=True)
    async with FakeDNS(ZONE) as dns:
        spool = SpoolSettings(f"sqlite:{folder}/spool.db", keep_free=0, max_message=1000)
        routes = (Route(via=("isp",)),)
        subject = Subject("relay.test", {"isp": upstream}, (), routes, spool, folder, (dns.address,))
        # real servers wait two seconds and more before they say that a password is wrong
        facts = await gather(subject, World(root=folder / "root", patience=15, whole=30))
    return facts, [one for one in judge(facts, subject) if one.grade is not Grade.OK]


def talk(facts: Facts) -> ProbeDialog:
    [one] = facts.upstreams
    assert one.talk is not None
    return one.talk


def sent(peer: Peer) -> int:
    return len(peer.delivered())


async def test_a_healthy_account(peer: Peer, paper: Papers, tmp_path: Path) -> None:
    """STARTTLS, one login, MAIL taken back: nothing is found, and nothing was sent."""
    before = sent(peer)
    facts, findings = await examined(account(peer, paper), tmp_path)
    assert findings == []
    said = talk(facts)
    assert (said.mechanism, said.tls[:4]) == ("PLAIN", "TLSv")
    assert said.mail is not None
    assert said.mail.reply.code == 250
    assert said.certificate is not None
    assert "mail.isp.example" in said.certificate.names
    assert sent(peer) == before


async def test_a_healthy_account_by_implicit_tls(peer: Peer, paper: Papers, tmp_path: Path) -> None:
    """The same at the port that begins with TLS."""
    healthy = account(peer, paper)
    upstream = on_server(healthy, port=peer.tls_port, tls=replace(healthy.smtp.tls, mode=TlsMode.IMPLICIT))
    assert (await examined(upstream, tmp_path))[1] == []


async def test_a_wrong_password_is_tried_once(peer: Peer, paper: Papers, tmp_path: Path) -> None:
    """The server's own 535 is told; its log has one failed login, not three."""
    wrong = on_server(account(peer, paper), login=Login(username=USER, password=Secret("wrong")))
    before = failures(peer)
    facts, findings = await examined(wrong, tmp_path)
    assert [one.name for one in findings] == ["login"]
    assert "535" in findings[0].evidence[0]
    answer = talk(facts).failed
    assert answer is not None
    assert answer.reply.code == 535
    assert failures(peer) - before == 1


def failures(peer: Peer) -> int:
    """Failed logins in the server's log, which may be told in two places."""
    logs = [peer.log(), *(file.read_text(errors="replace") for file in peer.inside.share.glob("maillog*"))]
    return max(len(re.findall(r"SASL PLAIN authentication failed|Password mismatch", log)) for log in logs)


async def test_starttls_at_the_tls_port(peer: Peer, paper: Papers, tmp_path: Path) -> None:
    """A port that begins with TLS does not greet; the doctor finds out why."""
    upstream = replace(on_server(account(peer, paper), port=peer.tls_port), timeout=timedelta(seconds=2))
    _, findings = await examined(upstream, tmp_path)
    assert [one.name for one in findings] == ["tls-mode"]
    assert findings[0].cure == "Set `tls: implicit` for this upstream."


async def test_tls_at_the_starttls_port(peer: Peer, paper: Papers, tmp_path: Path) -> None:
    """The other way round."""
    healthy = account(peer, paper)
    upstream = on_server(healthy, tls=replace(healthy.smtp.tls, mode=TlsMode.IMPLICIT))
    _, findings = await examined(upstream, tmp_path)
    assert [one.name for one in findings] == ["tls-mode"]
    assert "`tls: starttls`" in findings[0].evidence[0]


async def test_an_unknown_authority(peer: Peer, paper: Papers, tmp_path: Path) -> None:
    """No password is said to a server that cannot prove who it is; the fingerprint to pin is told, and works."""
    unknown = on_server(account(peer, paper), tls=Tls(TlsMode.STARTTLS))
    before = failures(peer)
    _, findings = await examined(unknown, tmp_path)
    assert [one.name for one in findings] == ["tls-trust"]
    assert failures(peer) == before
    fingerprint = re.search(r"`fingerprint: ([0-9a-f]{64})`", findings[0].evidence[0])
    assert fingerprint
    pinned = on_server(unknown, tls=Tls(TlsMode.STARTTLS, fingerprint=fingerprint[1]))
    assert (await examined(pinned, tmp_path))[1] == []


async def test_a_login_in_clear_is_not_offered(postfix: Peer, paper: Papers, tmp_path: Path) -> None:
    """Postfix keeps AUTH for encrypted lines: the finding says so, and no password was said."""
    clear = on_server(account(postfix, paper), tls=Tls(TlsMode.NONE))
    before = failures(postfix)
    _, findings = await examined(clear, tmp_path)
    assert [one.name for one in findings] == ["login-mechanism"]
    assert failures(postfix) == before


async def test_pop_before_smtp(dovecot_submission: Peer, postfix: Peer, paper: Papers, tmp_path: Path) -> None:
    """A real POP3 login first; refused, it is the finding, and right, the conversation goes on."""
    pop = Pop("127.0.0.1", dovecot_submission.pop_port, TlsMode.STARTTLS)
    healthy = on_server(account(postfix, paper), login=Login(Auth.POP, USER, Secret(PASSWORD), pop=pop))
    assert [one.name for one in (await examined(healthy, tmp_path))[1]] == ["pop-needless"]
    wrong = on_server(healthy, login=Login(Auth.POP, USER, Secret("wrong"), pop=pop))
    _, findings = await examined(wrong, tmp_path)
    assert [one.name for one in findings] == ["pop-login"]
    assert "POP at 127.0.0.1" in findings[0].evidence[0]


@pytest.fixture(scope="module")
def strict_postfix(paper: Papers) -> Iterator[Peer]:
    """Postfix that tells at MAIL, not at RCPT, whose sender it does not take."""
    settings = {
        "smtpd_delay_reject": "no",
        "smtpd_sender_login_maps": "static:somebody-else",
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
    }
    with postfix_submission(paper, settings=settings) as peer:
        yield peer


async def test_a_sender_that_is_not_ours(strict_postfix: Peer, paper: Papers, tmp_path: Path) -> None:
    """Postfix's `Sender address rejected: not owned by user` is a sender that the account may not use."""
    _, findings = await examined(account(strict_postfix, paper), tmp_path)
    assert [one.name for one in findings] == ["sender-refused"]
    assert "not owned by user" in findings[0].evidence[0]
