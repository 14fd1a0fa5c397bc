"""SCRAM-SHA-256 at a server that speaks it: the password stays here, and who takes the login proves itself."""

import ssl

import pytest
import trustme

from relay.mail.reply import Fault, Stage
from relay.upstream.settings import Auth, Tls, TlsMode
from tests.support.sending import letter, server_context, upstream_at
from tests.support.upstream import ScriptedUpstream

USERS = {"taro": "secret"}
ALL = ("PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


async def answer_of(pools, server, **more):
    tls = Tls(TlsMode.STARTTLS if server.tls else TlsMode.NONE, verify=False)
    upstream = upstream_at(server.port, user=more.pop("user", "taro"), host="localhost", tls=tls, **more)
    report = await pools.submit(upstream, letter())
    [answer] = report.answers.values()
    return answer, report.conversation.mechanism


@pytest.mark.parametrize("encrypted", [True, False])
async def test_it_goes_first_and_the_password_is_never_said(pools, ca, encrypted):
    """Under TLS and in clear; on TLS 1.3 without the binding, which the library does not give there."""
    tls = server_context(ca, "localhost") if encrypted else None
    async with ScriptedUpstream(users=USERS, mechanisms=ALL, tls=tls) as server:
        answer, mechanism = await answer_of(pools, server)
    assert (answer.reply.code, mechanism) == (250, "SCRAM-SHA-256")
    assert not any("c2VjcmV0" in command for command in server.commands)


async def test_it_is_bound_to_the_line_where_that_can_be(pools, ca):
    """On TLS 1.2 -PLUS: somebody in between cannot pass the login on."""
    tls = server_context(ca, "localhost")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    async with ScriptedUpstream(users=USERS, mechanisms=ALL, tls=tls) as server:
        answer, mechanism = await answer_of(pools, server)
    assert (answer.reply.code, mechanism) == (250, "SCRAM-SHA-256-PLUS")


async def test_a_wrong_password_is_tried_once(pools):
    """The proof was looked at: no other mechanism is tried with the same password."""
    async with ScriptedUpstream(users=USERS, mechanisms=ALL) as server:
        answer, _ = await answer_of(pools, server, password="wrong")
    assert (answer.stage, answer.fault, answer.reply.code) == (Stage.AUTH, None, 535)
    assert len(server.auths) == 1


async def test_a_user_without_scram_goes_by_another_mechanism(pools):
    """Refused before the password came into it, as by servers that keep another hash of it: PLAIN in a fresh session."""
    async with ScriptedUpstream(users=USERS, mechanisms=ALL, hashed=["taro"]) as server:
        for tried in (["SCRAM-SHA-256", "PLAIN"], ["SCRAM-SHA-256", "PLAIN", "PLAIN"]):
            answer, mechanism = await answer_of(pools, server)
            assert (answer.reply.code, mechanism) == (250, "PLAIN")
            assert [name for name, _, _ in server.auths] == tried
            pools.forget("isp")


async def test_nobody_of_that_name(pools):
    """Two tries, and the password was said in one of them."""
    async with ScriptedUpstream(users=USERS, mechanisms=ALL) as server:
        answer, _ = await answer_of(pools, server, user="hanako")
    assert (answer.stage, answer.fault, answer.reply.code) == (Stage.AUTH, None, 535)
    assert [name for name, _, _ in server.auths] == ["SCRAM-SHA-256", "PLAIN"]


async def test_a_server_that_cannot_prove_itself_gets_no_mail(pools):
    """It says 235 and knows nothing: somebody may stand in between."""
    async with ScriptedUpstream(users=USERS, mechanisms=["SCRAM-SHA-256"], impostor=True) as server:
        answer, _ = await answer_of(pools, server)
    assert (answer.stage, answer.reply.positive) == (Stage.AUTH, False)
    assert server.transactions == []


async def test_it_can_be_asked_for(pools):
    """`auth: scram-sha-256` means that, and nothing weaker."""
    async with ScriptedUpstream(users=USERS, mechanisms=["PLAIN", "LOGIN"]) as server:
        answer, _ = await answer_of(pools, server, auth=Auth.SCRAM)
    assert answer.fault is Fault.NO_MECHANISM
    assert server.auths == []
