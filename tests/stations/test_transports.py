"""One door to every kind of upstream: which transport is made and when, how many at once, and who waits for a login."""

import asyncio

from relay.outbound.routing import Route
from relay.spool.entry import State
from relay.upstream.report import Report
from relay.upstream.settings import DIRECT_UPSTREAM, Auth, Limits, Login, MxHosts, SmtpServer
from relay.upstream.transports import KINDS, Means, Transports
from tests.stations.test_runner import running, upstream
from tests.support.sending import By, letter, transports_by, upstream_at
from tests.support.upstream import ScriptedUpstream

EIGHT_BIT = "From: nas@lan.example\r\nTo: x@y.example\r\nSubject: hi\r\n\r\ncaf\u00e9 {}\r\n"


async def test_never_more_connections_than_allowed():
    """Twelve messages at once to an upstream that allows three: three connections, all delivered."""
    transports = Transports(Means("relay.test"))

    async def sent(to):
        async with transports.turn(to, "isp"):
            [answer] = (await transports.submit(to, letter())).answers.values()
            return answer.reply.code

    async with ScriptedUpstream(delays={"DOT": 0.02}) as server:
        to = upstream_at(server.port, limits=Limits(connections=3))
        assert await asyncio.gather(*(sent(to) for _ in range(12))) == [250] * 12
        await transports.close()
    assert server.most_at_once == 3


async def test_a_kind_is_made_when_it_is_first_used_and_ended_with_the_others():
    """What nobody uses is not made; after other settings it is made anew, and the old one ends."""
    made, ended = [], []

    class Kept(By):
        async def close(self):
            ended.append("mx")

    async def submit(upstream, outgoing):
        return Report({})

    def mx(means):
        made.append(means.hostname)
        return Kept(submit)

    transports = Transports(Means("one.test"), {**KINDS, MxHosts: mx})
    assert made == []
    await transports.submit(DIRECT_UPSTREAM, letter())
    await transports.submit(DIRECT_UPSTREAM, letter())
    transports.reload(hostname="one.test", nameservers=())
    await transports.submit(DIRECT_UPSTREAM, letter())
    assert (made, ended) == (["one.test"], [])
    transports.reload(hostname="two.test", nameservers=())
    await transports.submit(DIRECT_UPSTREAM, letter())
    await transports.close()
    assert (made, ended) == (["one.test", "two.test"], ["mx", "mx"])


async def test_an_account_waits_for_the_first_login_and_others_do_not():
    """Two turns at an account that nobody has logged in to come one after the other; MX hosts have no login to wait for."""
    transports, at_once = transports_by(lambda *_: asyncio.sleep(0)), []

    async def turn(to, key):
        async with transports.turn(to, key):
            at_once.append(key)
            await asyncio.sleep(0.05)
            at_once.remove(key)
            return len(at_once)

    isp = upstream_at(1)
    assert await asyncio.gather(turn(isp, "isp"), turn(isp, "isp")) == [0, 0]
    assert await asyncio.gather(turn(DIRECT_UPSTREAM, "mx y"), turn(DIRECT_UPSTREAM, "mx y")) == [1, 0]
    transports.proven.add("isp")
    assert await asyncio.gather(turn(isp, "isp"), turn(isp, "isp")) == [1, 0]
    assert "mx y" not in transports._places
    transports.forget("isp")
    assert transports.proven == set()


async def test_a_login_that_works_lets_the_others_in():
    """The session is open: the name is proven before the message is sent."""
    transports = Transports(Means("relay.test"))
    async with ScriptedUpstream(users={"taro": "secret"}, script={"MAIL": "451 4.3.0 later"}) as server:
        await transports.submit(upstream_at(server.port, user="taro"), letter())
        assert transports.proven == {"isp"}
        transports.reload(hostname="relay.test", nameservers=())
        assert transports.proven == set()
        await transports.close()


async def test_what_an_upstream_is_asked_by_its_transport():
    """The answers that stand in for comparing names."""
    server = SmtpServer("mail.isp.example", 25, login=Login(Auth.PLAIN, "taro"))
    assert (server.by_domain, server.has_account, server.over_port_25, server.place) == (
        *(False, True, True),
        "mail.isp.example:25",
    )
    mx = DIRECT_UPSTREAM.transport
    assert (mx.by_domain, mx.has_account, mx.over_port_25, mx.host, mx.login.auth) == (True, False, True, "", Auth.NONE)


# --- 8BITMIME


async def test_a_server_of_old_is_told_of_once(tmp_path):
    """No EHLO, so no 8BITMIME either: the trail of the first message tells both."""
    async with ScriptedUpstream(script={"EHLO": "502 unknown"}) as isp:
        async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", isp.port)]) as world:
            queue_id = await world.accept("x@y.example", content=EIGHT_BIT.format(0).encode())
            await world.until(queue_id, State.RELAYED)
            [told] = [line for line in await world.trail(queue_id) if "7-bit" in line]
    assert "HELO" in told
    assert len(isp.connections) == 1


async def test_mail_is_prepared_anew_once_for_a_server_without_8bitmime(tmp_path):
    """The first 8-bit message shows what the server lacks: it goes in 7 bits, once, and the next one is known to need that."""
    async with ScriptedUpstream(capabilities=["SIZE 1000000"]) as isp:
        async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", isp.port)]) as world:
            for number in range(2):
                queue_id = await world.accept("x@y.example", content=EIGHT_BIT.format(number).encode())
                rows = await world.until(queue_id, State.RELAYED)
                assert rows["x@y.example"].attempts == 1
                assert sum("7-bit" in line for line in await world.trail(queue_id)) == 1
        assert [message.content.isascii() for message in isp.messages] == [True, True]
        assert [each.mail for each in isp.transactions] == ["FROM:<nas@lan.example>"] * 2
        assert len(isp.connections) == 1


async def test_a_server_that_loses_8bitmime_gets_seven_bits(tmp_path):
    """Known to have it, and then it has not: nothing is lost, nothing is doubled."""
    async with ScriptedUpstream(capabilities=["8BITMIME"]) as isp:
        async with running(tmp_path, [Route(via=("isp",))], [upstream("isp", isp.port)]) as world:
            await world.until(await world.accept("x@y.example", content=EIGHT_BIT.format(0).encode()), State.RELAYED)
            world.runner._transports.forget("isp")
            isp.capabilities = []
            await world.until(await world.accept("x@y.example", content=EIGHT_BIT.format(1).encode()), State.RELAYED)
            world.runner._transports.forget("isp")
            isp.capabilities = ["8BITMIME"]
            await world.until(await world.accept("x@y.example", content=EIGHT_BIT.format(2).encode()), State.RELAYED)
            await world.until(await world.accept("x@y.example", content=EIGHT_BIT.format(3).encode()), State.RELAYED)
    assert [message.content.isascii() for message in isp.messages] == [False, True, True, False]


async def test_a_known_lack_is_not_held_against_others(tmp_path):
    """The next in the chain has 8BITMIME: there the message goes as it is."""
    async with ScriptedUpstream(capabilities=[], script={"MAIL": "451 4.3.0 later"}) as a, ScriptedUpstream() as b:
        both = [upstream("a", a.port), upstream("b", b.port)]
        async with running(tmp_path, [Route(via=("a", "b"))], both) as world:
            await world.until(await world.accept("x@y.example", content=EIGHT_BIT.format(0).encode()), State.RELAYED)
    assert [message.content.isascii() for message in b.messages] == [False]
