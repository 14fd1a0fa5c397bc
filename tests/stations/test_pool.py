"""Sessions kept for the next message."""

import asyncio

import pytest

from relay.upstream.pool import Pools
from tests.support.sending import letter, upstream_at
from tests.support.upstream import DROP, HANG, ScriptedUpstream


async def code_of(pools, upstream):
    [answer] = (await pools.submit(upstream, letter())).answers.values()
    return answer.reply.code


async def until(server: ScriptedUpstream, condition) -> None:
    async with asyncio.timeout(5), server.changed:
        await server.changed.wait_for(condition)


async def test_a_session_serves_message_after_message(pools):
    """One connection, one login, many messages; QUIT at the end."""
    async with ScriptedUpstream(users={"taro": "secret"}, require_auth=True) as server:
        upstream = upstream_at(server.port, user="taro")
        assert [await code_of(pools, upstream) for _ in range(5)] == [250] * 5
        await pools.close()
        assert len(server.connections) == 1
        assert len(server.auths) == 1
        assert server.commands[-1] == "QUIT"


@pytest.mark.parametrize("script", [DROP, "421 4.4.2 idle for too long"])
async def test_a_kept_session_that_died_is_replaced(pools, script):
    """What shows only at MAIL, that the server has left a kept session, costs nobody an attempt."""
    async with ScriptedUpstream(script={"MAIL": [None, script]}) as server:
        upstream = upstream_at(server.port)
        assert await code_of(pools, upstream) == 250
        assert await code_of(pools, upstream) == 250
        assert len(server.connections) == 2
        assert len(server.messages) == 2


async def test_a_fresh_session_is_not_replaced(pools):
    """421 at MAIL on a new connection is the server's answer."""
    async with ScriptedUpstream(script={"MAIL": ["421 4.7.0 enough", None]}) as server:
        assert await code_of(pools, upstream_at(server.port)) == 421
    assert len(server.connections) == 1


async def test_a_session_that_the_server_closed_is_not_used(pools):
    """A kept session that the server ended while idle is noticed before anything is said on it."""
    async with ScriptedUpstream() as server:
        upstream = upstream_at(server.port)
        assert await code_of(pools, upstream) == 250
        await server.close()
        again = ScriptedUpstream(port=server.port)
        async with again:
            assert await code_of(pools, upstream) == 250
        assert len(again.connections) == 1


async def test_a_lost_final_reply_is_never_repeated(pools):
    """On a kept session too: once the dot is out, a dead line is an answer, not a reason to send again."""
    async with ScriptedUpstream(script={"DOT": [None, DROP]}) as server:
        upstream = upstream_at(server.port)
        await code_of(pools, upstream)
        [answer] = (await pools.submit(upstream, letter())).answers.values()
        assert answer.lost
        assert len(server.transactions) == 2


async def test_idle_sessions_are_closed():
    """After its idle time a kept session is ended with QUIT."""
    pools = Pools(hostname="relay.test", idle=0.05)
    async with ScriptedUpstream() as server:
        await code_of(pools, upstream_at(server.port))
        await until(server, lambda: server.open_now == 0)
        assert server.commands[-1] == "QUIT"
        await pools.close()


async def test_a_session_has_a_budget_of_messages():
    """After so many messages a session is ended and the next one opened."""
    pools = Pools(hostname="relay.test", messages=2)
    async with ScriptedUpstream() as server:
        upstream = upstream_at(server.port)
        assert [await code_of(pools, upstream) for _ in range(5)] == [250] * 5
        await pools.close()
        assert len(server.connections) == 3


async def test_forget_ends_kept_sessions(pools):
    """`forget` says good-bye on what is kept; the next message opens anew."""
    async with ScriptedUpstream() as server:
        upstream = upstream_at(server.port)
        await code_of(pools, upstream)
        pools.forget("isp")
        await until(server, lambda: server.open_now == 0)
        assert await code_of(pools, upstream) == 250
        assert len(server.connections) == 2


async def test_new_settings_mean_a_new_session(pools):
    """After a reload with other settings no session of the old ones is used."""
    async with ScriptedUpstream(users={"taro": "secret"}) as server:
        await code_of(pools, upstream_at(server.port))
        await code_of(pools, upstream_at(server.port, user="taro"))
        assert len(server.connections) == 2
        assert len(server.auths) == 1


async def test_one_upstream_does_not_wait_for_another(pools):
    """A hanging server holds up its own mail only."""
    async with ScriptedUpstream(script={"MAIL": HANG}) as stuck, ScriptedUpstream() as good:
        blocked = asyncio.create_task(code_of(pools, upstream_at(stuck.port, name="stuck")))
        assert await code_of(pools, upstream_at(good.port, name="good")) == 250
        blocked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blocked


async def test_the_report_says_how_it_went(pools):
    """Peer, mechanism, duration and size limit are there for the trail."""
    async with ScriptedUpstream(users={"taro": "secret"}) as server:
        report = await pools.submit(upstream_at(server.port, user="taro"), letter())
    spoken = report.conversation
    assert spoken.peer == f"127.0.0.1:{server.port}"
    assert (spoken.tls, spoken.mechanism, spoken.max_size) == ("", "CRAM-MD5", 50_000_000)
    assert 0 < spoken.took < 5


@pytest.mark.parametrize(
    ("hostname", "said"),
    [
        ("relay.home.example", "relay.home.example"),
        ("b\u00fcro.example", "xn--bro-hoa.example"),
        ("my nas", "[127.0.0.1]"),
        ("", "[127.0.0.1]"),
    ],
)
async def test_our_name_is_always_sayable(hostname, said):
    """A host name that EHLO cannot carry never stops the mail."""
    pools = Pools(hostname=hostname)
    async with ScriptedUpstream() as server:
        assert await code_of(pools, upstream_at(server.port)) == 250
        await pools.close()
    assert server.connections[0].helo == said
