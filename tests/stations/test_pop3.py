"""POP before SMTP: the mail box is opened first, then mail goes while the window lasts."""

import asyncio
import socket
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import trustme

from relay.mail.reply import Stage
from relay.secret import Secret
from relay.upstream.pool import Pools
from relay.upstream.settings import Auth, Login, Pop, Tls, TlsMode
from tests.support.pop3 import PopServer
from tests.support.sending import letter, on_server, server_context, upstream_at
from tests.support.upstream import ScriptedUpstream


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def pools(clock):
    made = Pools(hostname="relay.test", monotonic=clock)
    yield made
    await made.close()


def old_host(server, pop: PopServer | int, *, password="secret", tls=TlsMode.NONE, ca_file="", host="127.0.0.1"):  # noqa: S107
    port = pop if isinstance(pop, int) else pop.port
    door = Pop(host=host, port=port, tls=tls, window=timedelta(minutes=10))
    login = Login(auth=Auth.POP, username="me", password=Secret(password), pop=door)
    return upstream_at(server.port, host=host, login=login, tls=Tls(TlsMode.NONE, ca_file=ca_file))


async def answer_of(pools, upstream):
    [answer] = (await pools.submit(upstream, letter())).answers.values()
    return answer


@pytest.mark.parametrize(("apop", "way"), [(False, "USER"), (True, "APOP")])
async def test_the_door_is_opened_before_the_mail_goes(pools, apop, way):
    """USER and PASS, or APOP where the banner has a stamp; then mail goes without AUTH."""
    async with PopServer(apop=apop) as pop, ScriptedUpstream(users={"x": "y"}) as server:
        assert (await answer_of(pools, old_host(server, pop))).reply.code == 250
    assert pop.logins == [(way, "me", True)]
    assert pop.commands[-1] == "QUIT"
    assert server.auths == []


async def test_the_window_is_used_and_renewed(pools, clock):
    """Within the window no new login is made; when it is nearly over the next message logs in again."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        for minutes, logins in [(0, 1), (5, 1), (8, 1), (9.5, 2), (12, 2)]:
            clock.now = 1000.0 + minutes * 60
            assert (await answer_of(pools, upstream)).reply.code == 250
            assert len(pop.logins) == logins


async def test_a_door_that_shut_early_is_opened_again_at_once(pools, clock):
    """The host's window is shorter than ours: it refuses a stranger, we log in again, and the same message goes."""
    stranger = "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        assert (await answer_of(pools, upstream)).reply.code == 250
        clock.now += 60
        server.script["RCPT"] = [stranger]
        assert (await answer_of(pools, upstream)).reply.code == 250
        assert len(pop.logins) == 2
        clock.now += 60
        server.script["RCPT"] = [stranger] * 5
        assert (await answer_of(pools, upstream)).reply.code == 553, "asked once more only"
    assert len(pop.logins) == 3
    assert len(server.messages) == 2


async def test_a_refusal_right_after_the_login_is_believed(pools):
    """Who has just logged in and is refused gains nothing by a second login."""
    async with PopServer() as pop, ScriptedUpstream(script={"RCPT": lambda _: "554 5.7.1 Relay access denied"}) as server:
        assert (await answer_of(pools, old_host(server, pop))).reply.code == 554
    assert len(pop.logins) == 1


async def test_forget_makes_the_next_message_log_in(pools):
    """When the host says that it saw no login, `forget` opens the door anew."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        await answer_of(pools, upstream)
        pools.forget("isp")
        await answer_of(pools, upstream)
    assert len(pop.logins) == 2


async def test_messages_that_start_together_share_one_login(pools):
    """Several messages at once wait for the one login."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        answers = await asyncio.gather(*(answer_of(pools, upstream) for _ in range(4)))
    assert [answer.reply.code for answer in answers] == [250] * 4
    assert len(pop.logins) == 1


async def test_a_wrong_password_is_tried_once_and_no_mail_goes(pools):
    """The refusal is an answer at AUTH in the server's own words."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        answer = await answer_of(pools, old_host(server, pop, password="wrong"))
    assert (answer.stage, answer.lost, answer.reply.code) == (Stage.AUTH, False, 535)
    assert "[AUTH] wrong password" in answer.reply.text
    assert len(pop.logins) == 1
    assert server.connections == []


async def test_a_server_that_repeats_the_password_is_not_quoted(pools, monkeypatch):
    """`-ERR unknown command PASS secret` reaches the trail without the secret."""
    monkeypatch.setattr(PopServer, "_judge", lambda *_: "-ERR unknown command PASS corr3ct-Horse")
    async with PopServer() as pop, ScriptedUpstream() as server:
        answer = await answer_of(pools, old_host(server, pop, password="corr3ct-Horse"))
    assert "refuses the login: -ERR unknown command PASS ***" in answer.reply.text


async def test_nobody_answers_pop(pools, unused_tcp_port):
    """An unreachable POP host is lost at AUTH, with its address."""
    async with ScriptedUpstream() as server:
        answer = await answer_of(pools, old_host(server, unused_tcp_port))
    assert (answer.stage, answer.lost) == (Stage.AUTH, True)
    assert f"127.0.0.1:{unused_tcp_port}" in answer.reply.text


async def test_the_line_breaks_during_the_login(pools):
    """Hanging up at PASS is lost, not a refusal of the password."""
    async with PopServer(drop_at="PASS") as pop, ScriptedUpstream() as server:
        answer = await answer_of(pools, old_host(server, pop))
    assert (answer.stage, answer.lost) == (Stage.AUTH, True)


@pytest.mark.parametrize("mode", [TlsMode.IMPLICIT, TlsMode.STARTTLS])
async def test_pop_under_tls(pools, tmp_path, mode):
    """The login travels under verified TLS where the settings say so."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_context(ca, "localhost")
    async with PopServer(tls=context, implicit=mode is TlsMode.IMPLICIT) as pop, ScriptedUpstream() as server:
        good = old_host(server, pop, tls=mode, ca_file=str(tmp_path / "ca.pem"), host="localhost")
        assert (await answer_of(pools, good)).reply.code == 250
        pools.forget("isp")
        distrusted = await answer_of(pools, old_host(server, pop, tls=mode, host="localhost"))
        pinned = on_server(good, tls=Tls(TlsMode.NONE, fingerprint="00" * 32))
        not_pinned = await answer_of(pools, pinned)
    assert (distrusted.stage, distrusted.reply.status) == (Stage.AUTH, "4.7.5")
    assert "authority unknown" in distrusted.reply.text
    assert (not_pinned.stage, not_pinned.lost) == (Stage.AUTH, True)
    assert "not the pinned one" in not_pinned.reply.text
    assert len(pop.logins) == 1


async def test_no_pop_section(pools):
    """`auth: pop` without `pop` is an answer, not a crash."""
    async with ScriptedUpstream() as server:
        answer = await answer_of(pools, upstream_at(server.port, login=Login(auth=Auth.POP, username="me")))
    assert answer.stage is Stage.AUTH


async def test_the_login_comes_from_the_address_that_smtp_is_spoken_from(pools, monkeypatch):
    """Two families, SMTP answers on IPv4 only: the POP login goes by IPv4 too, though IPv6 would answer first."""
    resolve = socket.getaddrinfo

    def both(host, port, *args, **more):
        if host != "old.host.test":
            return resolve(host, port, *args, **more)
        stream = (socket.SOCK_STREAM, 6, "")
        return [(socket.AF_INET6, *stream, ("::1", port, 0, 0)), (socket.AF_INET, *stream, ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    async with PopServer(also="::1") as pop, ScriptedUpstream() as server:
        assert (await answer_of(pools, old_host(server, pop, host="old.host.test"))).reply.code == 250
    assert pop.peers == ["127.0.0.1"]
    assert len(server.messages) == 1


@pytest.mark.parametrize("refusal", ["550 5.7.1 log in first, stranger", "530 5.7.0 who are you"])
async def test_any_refusal_of_a_stranger_makes_us_log_in_again(pools, clock, refusal):
    """Inside the window the host treats us as a stranger, in words we do not know: the number tells."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        assert (await answer_of(pools, upstream)).reply.code == 250
        clock.now += 60
        server.script["MAIL"] = [refusal]
        assert (await answer_of(pools, upstream)).reply.code == 250
    assert len(pop.logins) == 2


def test_a_silent_pop_server_does_not_delay_the_end():
    """Whoever stops waiting for a login may leave at once; the thread with the silent server is not waited for."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        async def begun_and_left():
            async with ScriptedUpstream() as server:
                pools = Pools(hostname="relay.test")
                upstream = replace(old_host(server, silent.getsockname()[1]), timeout=timedelta(seconds=20))
                login = asyncio.create_task(pools.submit(upstream, letter()))
                held.append((await asyncio.to_thread(silent.accept))[0])
                login.cancel()
                await asyncio.gather(login, return_exceptions=True)

        began = time.monotonic()
        asyncio.run(begun_and_left())
        took = time.monotonic() - began
    held[0].close()
    assert took < 10
