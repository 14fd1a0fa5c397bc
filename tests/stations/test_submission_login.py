"""Logging in: each mechanism against a server that checks, and never a second try."""

import pytest

from relay.mail.reply import Answer, Reply, Stage
from relay.secret import Secret
from relay.upstream.pool import Pools
from relay.upstream.settings import Auth, Login, OAuth
from tests.support.sending import letter, upstream_at
from tests.support.upstream import DROP, GARBAGE, HANG, ScriptedUpstream

USERS = {"taro@isp.example": "gehe\u00efm"}
ALL = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")


def upstream(server, password="gehe\u00efm", **more):  # noqa: S107
    return upstream_at(server.port, user="taro@isp.example", password=password, **more)


async def answer_of(pools, server, **more):
    [answer] = (await pools.submit(upstream(server, **more), letter())).answers.values()
    return answer


@pytest.mark.parametrize("auth", [Auth.PLAIN, Auth.LOGIN, Auth.CRAM_MD5, Auth.AUTO])
async def test_each_mechanism_logs_in(pools, auth):
    """The right password opens the door with one AUTH command, and the trail names the mechanism."""
    async with ScriptedUpstream(users=USERS, require_auth=True) as server:
        report = await pools.submit(upstream(server, auth=auth), letter())
    assert [answer.reply.code for answer in report.answers.values()] == [250]
    expected = "CRAM-MD5" if auth is Auth.AUTO else auth.value.upper()
    assert server.auths == [(expected, "taro@isp.example", True)]
    assert report.conversation.mechanism == expected


@pytest.mark.parametrize("auth", [Auth.PLAIN, Auth.LOGIN, Auth.CRAM_MD5, Auth.AUTO])
async def test_a_wrong_password_is_tried_once(pools, auth):
    """535 is the answer for everybody, after exactly one AUTH: providers lock accounts."""
    async with ScriptedUpstream(users=USERS, mechanisms=ALL) as server:
        report = await pools.submit(upstream(server, auth=auth, password="wrong"), letter())
    [answer] = report.answers.values()
    assert report.conversation.peer == f"127.0.0.1:{server.port}"
    assert (answer.stage, answer.lost, answer.reply.code, answer.reply.status) == (Stage.AUTH, False, 535, "5.7.8")
    assert len(server.auths) == 1
    assert len(server.connections) == 1
    assert server.transactions == []


async def test_xoauth2_with_a_token():
    """The access token comes from whoever keeps tokens."""

    async def token(_):
        return "t0ken"

    pools = Pools(hostname="relay.test", token=token)
    login = Login(username="taro", oauth=OAuth(provider="google"))
    async with ScriptedUpstream(users={"taro": "t0ken"}, mechanisms=ALL, require_auth=True) as server:
        report = await pools.submit(upstream_at(server.port, login=login), letter())
        await pools.close()
    assert [answer.reply.code for answer in report.answers.values()] == [250]
    assert server.auths == [("XOAUTH2", "taro", True)]


async def test_xoauth2_refused_tells_the_reason():
    """The JSON that comes with the challenge is shown beside the refusal."""

    async def token(_):
        return "stale"

    pools = Pools(hostname="relay.test", token=token)
    login = Login(username="taro", oauth=OAuth(provider="google"))
    async with ScriptedUpstream(users={"taro": "t0ken"}, mechanisms=ALL) as server:
        [answer] = (await pools.submit(upstream_at(server.port, login=login), letter())).answers.values()
    assert (answer.stage, answer.reply.code) == (Stage.AUTH, 535)
    assert '"status":"400"' in answer.reply.text
    assert len(server.auths) == 1


@pytest.mark.parametrize("given", [None, Answer(Stage.AUTH, Reply(454, "4.7.0", "the token server is down"))])
async def test_no_token_no_auth(given):
    """Without a token the reason is the answer, and the server hears no AUTH."""

    async def token(_):
        return given

    pools = Pools(hostname="relay.test", token=token) if given else Pools(hostname="relay.test")
    login = Login(username="taro", oauth=OAuth(provider="google"))
    async with ScriptedUpstream(users=USERS, mechanisms=ALL) as server:
        [answer] = (await pools.submit(upstream_at(server.port, login=login), letter())).answers.values()
    assert answer.stage is Stage.AUTH
    assert ("token server is down" if given else "relay oauth login isp") in answer.reply.text
    assert server.auths == []


async def test_no_username_no_auth(pools):
    """A server that offers AUTH but needs none is not logged in to."""
    async with ScriptedUpstream(users=USERS) as server:
        await pools.submit(upstream_at(server.port), letter())
    assert server.auths == []
    assert len(server.messages) == 1


async def test_no_auth_offered(pools):
    """A user name but no AUTH in EHLO is an answer at AUTH with the cure, and no mail is tried."""
    async with ScriptedUpstream() as server:
        answer = await answer_of(pools, server)
    assert (answer.stage, answer.lost, answer.reply.code) == (Stage.AUTH, False, 530)
    assert "offers no login" in answer.reply.text
    assert server.transactions == []


async def test_the_old_way_to_announce(pools):
    """`AUTH=LOGIN` with an equals sign, as old servers say it, is understood."""
    async with ScriptedUpstream(script={"EHLO": "250 old.example\n250 AUTH=LOGIN"}, users=USERS) as server:
        answer = await answer_of(pools, server)
    assert answer.reply.code == 250
    assert server.auths[0][0] == "LOGIN"


@pytest.mark.parametrize(
    ("action", "lost", "code"),
    [
        (DROP, True, 421),
        (HANG, True, 421),
        (GARBAGE, True, 421),
        ("421 4.7.0 too many", False, 421),
        ("454 4.7.0 later", False, 454),
    ],
)
async def test_trouble_at_auth(pools, action, lost, code):
    """Each way to fail at AUTH is told there."""
    async with ScriptedUpstream(users=USERS, script={"AUTH": action}) as server:
        answer = await answer_of(pools, server, timeout=0.3)
    assert (answer.stage, answer.lost, answer.reply.code) == (Stage.AUTH, lost, code)
    assert len(server.auths) == 1


async def test_nothing_secret_is_told(pools, capfd, caplog):
    """Neither report, log nor output has the password or its base64."""
    caplog.set_level("DEBUG")
    async with ScriptedUpstream(users={"taro": "geheim123"}) as server:
        target = upstream_at(server.port, user="taro", password="geheim123", auth=Auth.LOGIN)
        report = await pools.submit(target, letter())
    out, err = capfd.readouterr()
    everything = repr(report) + repr(target) + out + err + caplog.text + repr(Secret("geheim123"))
    assert "geheim123" not in everything
    assert "Z2VoZWltMTIz" not in everything
