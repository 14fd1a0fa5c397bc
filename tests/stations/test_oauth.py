"""Access tokens against a token server on loopback that answers as Microsoft and Google document it.

Pools ── XOAUTH2 ──> ScriptedUpstream
Tokens ── POST /token ──> tests/support/oauth.py
"""

import asyncio
import contextlib
import json
import socket
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from relay.mail.reply import Answer, Fault, Stage
from relay.outbound.replies import Blame, judge
from relay.secret import Secret
from relay.upstream.oauth.http import Granted
from relay.upstream.oauth.session_tokens import Tokens, account_of
from relay.upstream.pool import Pools
from relay.upstream.settings import Auth, Grant, Login, OAuth
from tests.support.oauth import REVOKED_BY_GOOGLE, Stub, provider
from tests.support.sending import letter, on_server, upstream_at
from tests.support.upstream import ScriptedUpstream

USER = "taro@isp.example"


class Live(dict):
    """The newest access token is the one that the SMTP server takes, while it is not revoked."""

    def __init__(self, stub: Stub) -> None:
        super().__init__({USER: ""})
        self.stub = stub

    def get(self, user, default=None):
        return next(reversed(self.stub.access_tokens), "nothing") if user == USER else default


@pytest.fixture
def stub():
    with provider() as running:
        yield running


@pytest.fixture
def tokens(tmp_path, clock):
    return Tokens(tmp_path, clock, patience=5)


def account(stub, port=1, **more):
    oauth = OAuth("microsoft", "app", **{**stub.urls, **more})
    return upstream_at(port, login=Login(Auth.AUTO, USER, oauth=oauth))


def consented(stub, tmp_path, clock, **granted):
    """The account of an upstream for which a person has consented; its first access token is over unless it is given time."""
    upstream = account(stub)
    made = account_of(upstream, tmp_path, clock)
    made.consented(Granted(Secret("access-0"), Secret(stub.consent()), **{"expires_in": 1, **granted}))
    if "expires_in" not in granted:
        clock.advance(seconds=1)
    return upstream


async def submitted(tokens, upstream):
    pools = Pools(hostname="relay.test", token=tokens.get, refused=tokens.refused)
    [answer] = (await pools.submit(upstream, letter())).answers.values()
    await pools.close()
    return answer


class TestRenewal:
    """Ahead of time, one at a time, on disk first."""

    async def test_the_token_is_used_until_five_minutes_before_its_end(self, stub, tokens, tmp_path, clock):
        """An hour's token is asked for once in 55 minutes."""
        upstream = consented(stub, tmp_path, clock)
        first = await tokens.get(upstream)
        clock.advance(minutes=54)
        assert await tokens.get(upstream) == first
        clock.advance(minutes=1)
        assert await tokens.get(upstream) != first
        assert len(stub.asked("refresh_token")) == 2

    async def test_a_refused_token_is_replaced_at_once_where_that_is_asked_for(self, stub, tokens, tmp_path, clock):
        """Even a new one; several that were refused the same token share the renewal."""
        upstream = consented(stub, tmp_path, clock)
        first = await tokens.get(upstream)
        found = await asyncio.gather(*(tokens.renewed(upstream, first) for _ in range(4)))
        assert set(found) == {await tokens.get(upstream)} != {first}
        assert len(stub.asked("refresh_token")) == 2

    async def test_there_is_no_newer_one(self, stub, tokens, tmp_path, clock):
        """The reason is an answer at AUTH."""
        upstream = consented(stub, tmp_path, clock)
        first = await tokens.get(upstream)
        stub.revoke()
        found = await tokens.renewed(upstream, first)
        assert (found.stage, found.fault) == (Stage.AUTH, Fault.TOKEN_DENIED)

    async def test_many_at_once_ask_once(self, stub, tokens, tmp_path, clock):
        """Ten sessions that begin together share one renewal; the provider would void the others' tokens."""
        upstream = consented(stub, tmp_path, clock)
        stub.delay = 0.1
        found = await asyncio.gather(*(tokens.get(upstream) for _ in range(10)))
        assert len(set(found)) == 1
        assert len(stub.asked("refresh_token")) == 1

    async def test_two_processes_ask_one_after_the_other(self, stub, tmp_path, clock):
        """The daemon and the doctor do not renew at the same time, and the second takes what the first got."""
        upstream = consented(stub, tmp_path, clock)
        stub.delay = 0.1
        both = [Tokens(tmp_path, clock), Tokens(tmp_path, clock)]
        first, second = await asyncio.gather(*(each.get(upstream) for each in both))
        assert first == second
        assert (stub.most_at_once, len(stub.forms)) == (1, 1)

    async def test_the_new_refresh_token_is_on_disk_before_the_access_token_is_given_out(self, stub, tokens, tmp_path, clock):
        """Who is killed now has the token that the provider knows, and can go on with it."""
        upstream = consented(stub, tmp_path, clock)
        token = await tokens.get(upstream)
        kept = json.loads((tmp_path / "oauth" / "isp.json").read_text())
        assert {kept["refresh_token"]} == stub.refresh_tokens
        assert kept["access_token"] == token
        clock.advance(hours=2)
        assert isinstance(await Tokens(tmp_path, clock).get(upstream), str)

    async def test_a_full_disk_is_found_out_before_the_old_token_is_void(self, stub, tokens, tmp_path, clock, monkeypatch):
        """Nothing is asked of the provider while its answer could not be kept; later all goes on."""
        upstream = consented(stub, tmp_path, clock)

        def full(_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full)
            answer = await tokens.get(upstream)
        assert isinstance(answer, Answer)
        assert "No space left" in answer.reply.text
        assert judge(answer).blame is Blame.UPSTREAM
        assert stub.forms == []
        assert isinstance(await tokens.get(upstream), str)

    async def test_a_disk_that_fills_during_the_renewal_loses_no_token(self, stub, tokens, tmp_path, clock, monkeypatch):
        """The answer that could not be kept is kept in memory, and written before anything else is asked."""
        import os

        upstream, real, calls = consented(stub, tmp_path, clock), os.fsync, []

        def full_at_the_third(handle):
            calls.append(handle)
            if len(calls) > 2:
                raise OSError(28, "No space left on device")
            real(handle)

        with monkeypatch.context() as patched:
            patched.setattr("os.fsync", full_at_the_third)
            assert isinstance(await tokens.get(upstream), Answer)
        assert len(stub.forms) == 1
        assert isinstance(await tokens.get(upstream), str)
        assert len(stub.forms) == 1
        assert stub.refresh_tokens == {json.loads((tmp_path / "oauth" / "isp.json").read_text())["refresh_token"]}

    @pytest.mark.parametrize("lifetime", ["3599", None, 30])
    async def test_odd_lifetimes(self, stub, tokens, tmp_path, clock, lifetime):
        """As text, missing or very short: the token is used for a while, not renewed each time."""
        upstream = consented(stub, tmp_path, clock)
        stub.expires_in = lifetime
        first = await tokens.get(upstream)
        assert await tokens.get(upstream) == first

    async def test_a_clock_that_went_back_does_not_keep_an_old_token(self, stub, tokens, tmp_path, clock):
        """A token that seems to be from the future is renewed."""
        upstream = consented(stub, tmp_path, clock, expires_in=3600)
        clock.advance(days=-2)
        await tokens.get(upstream)
        assert len(stub.forms) == 1

    async def test_what_is_asked(self, stub, tokens, tmp_path, clock):
        """Microsoft's documented form; the secret only where there is one."""
        upstream = consented(stub, tmp_path, clock)
        await tokens.get(upstream)
        [form] = stub.forms
        assert form["scope"] == "https://outlook.office.com/SMTP.Send offline_access"
        assert form["client_id"] == "app"
        assert "client_secret" not in form
        oauth = replace(upstream.login.oauth, client_secret=Secret("s%$ "))
        secret = on_server(upstream, login=replace(upstream.login, oauth=oauth))
        clock.advance(hours=1)
        await tokens.get(secret)
        assert stub.forms[-1]["client_secret"] == "s%$ "

    async def test_a_token_that_lies_idle_is_used(self, stub, tokens, tmp_path, clock):
        """Ten days without mail: it is renewed, and nobody hears of it."""
        upstream = consented(stub, tmp_path, clock)
        clock.advance(days=9)
        assert await tokens.look_after([upstream]) == []
        assert stub.forms == []
        clock.advance(days=1)
        assert await tokens.look_after([upstream]) == []
        assert len(stub.forms) == 1

    async def test_application_s_own_right_by_secret(self, stub, tokens, clock):
        """Client credentials: no person, no refresh token, the scope of all that was granted."""
        upstream = account(stub, grant=Grant.CLIENT_CREDENTIALS, tenant="company.example", client_secret=Secret("geheim"))
        first = await tokens.get(upstream)
        assert await tokens.get(upstream) == first
        [form] = stub.forms
        assert (form["grant_type"], form["scope"]) == ("client_credentials", "https://outlook.office365.com/.default")
        assert form["client_secret"] == "geheim"
        assert tokens.standings([upstream])[0]["warnings"] == []


class TestTrouble:
    """Mail is kept, the owner hears the provider's own words, nobody is locked out."""

    async def test_without_consent(self, tokens, stub):
        """Nothing is asked; the cure is named."""
        answer = await tokens.get(account(stub))
        assert (answer.stage, answer.reply.code) == (Stage.AUTH, 535)
        assert "relay oauth login isp" in answer.reply.text
        assert judge(answer).blame is Blame.LOGIN
        assert stub.forms == []

    @pytest.mark.parametrize("google", [False, True])
    async def test_a_consent_taken_back(self, stub, tokens, tmp_path, clock, google):
        """The provider's words, what to do, and a long rest; then one question for each try."""
        upstream = consented(stub, tmp_path, clock)
        stub.revoke()
        if google:
            stub.trouble.append((400, REVOKED_BY_GOOGLE))
        answers = await asyncio.gather(*(tokens.get(upstream) for _ in range(5)))
        assert len(set(answers)) == 1
        assert len(stub.forms) == 1
        text = answers[0].reply.text
        assert ("Token has been expired or revoked." if google else "AADSTS50173") in text
        assert "relay oauth login isp" in text
        verdict = judge(answers[0])
        assert (verdict.blame, verdict.urgent) == (Blame.LOGIN, True)
        assert judge(answers[0], upstream).advice.name == "oauth-denied"

    async def test_a_new_consent_ends_the_trouble_at_once(self, stub, tokens, tmp_path, clock):
        """What `relay oauth login` brought is used by the running relay without a restart."""
        upstream = consented(stub, tmp_path, clock)
        stub.revoke()
        assert isinstance(await tokens.get(upstream), Answer)
        consented(stub, tmp_path, clock)
        assert isinstance(await tokens.get(upstream), str)

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (503, "<html>busy</html>"),
            (500, {"error": "server_error", "error_description": "AADSTS90033: A transient error has occurred."}),
            (429, {"error": "temporarily_unavailable"}),
            (403, "<html>captive portal</html>"),
            (200, "<html>log in to the hotel's network</html>"),
            (200, {}),
            (200, []),
            (302, "elsewhere"),
        ],
    )
    async def test_trouble_that_passes(self, stub, tokens, tmp_path, clock, status, body):
        """A busy server or a portal in between is no refusal: soon again, and the consent is not blamed."""
        upstream = consented(stub, tmp_path, clock)
        stub.trouble.append((status, body))
        answer = await tokens.get(upstream)
        assert answer.reply.transient
        assert judge(answer).blame is Blame.UPSTREAM
        clock.advance(minutes=1)
        assert isinstance(await tokens.get(upstream), str)

    async def test_nobody_at_the_token_server(self, tokens, tmp_path, clock):
        """A closed port is told with the host's name."""
        with provider() as gone:
            upstream = consented(gone, tmp_path, clock)
        answer = await tokens.get(upstream)
        assert "127.0.0.1 cannot be reached" in answer.reply.text
        assert judge(answer).blame is Blame.UPSTREAM
        assert judge(answer, upstream).advice.name == "oauth-server"

    async def test_a_token_that_is_still_good_bridges_trouble(self, stub, tokens, tmp_path, clock):
        """In the last five minutes the old token serves while the server is busy."""
        upstream = consented(stub, tmp_path, clock, expires_in=3600)
        clock.advance(minutes=57)
        stub.trouble.append((503, "busy"))
        assert await tokens.get(upstream) == "access-0"

    async def test_no_secret_in_any_words(self, stub, tokens, tmp_path, clock, capfd):
        """Neither answer nor log has a token."""
        upstream = consented(stub, tmp_path, clock)
        token = stub.refresh_tokens.copy().pop()
        stub.revoke()
        answer = await tokens.get(upstream)
        out, err = capfd.readouterr()
        assert token not in repr(answer) + repr(upstream) + out + err


class TestAtTheDoor:
    """One AUTH for each rest period, whatever is wrong with the token."""

    async def server(self, stub, **more):
        made = ScriptedUpstream(users={USER: ""}, mechanisms=("PLAIN", "LOGIN", "XOAUTH2"), require_auth=True, **more)
        made.users = Live(stub)
        return made

    async def test_a_mail_goes_out_by_token(self, stub, tokens, tmp_path, clock):
        """Renewed, shown, taken."""
        upstream = consented(stub, tmp_path, clock)
        async with await self.server(stub) as server:
            answer = await submitted(tokens, on_server(upstream, port=server.port))
        assert answer.reply.code == 250
        assert server.auths == [("XOAUTH2", USER, True)]

    async def test_a_token_that_was_taken_back_is_renewed_once_without_a_second_auth(self, stub, tokens, tmp_path, clock):
        """The refusal means a short rest, and the next try has a new token."""
        upstream = consented(stub, tmp_path, clock)
        async with await self.server(stub) as server:
            upstream = on_server(upstream, port=server.port)
            assert (await submitted(tokens, upstream)).reply.code == 250
            stub.access_tokens.clear()
            answer = await submitted(tokens, upstream)
            assert len(server.auths) == 2
            assert judge(answer).blame is Blame.UPSTREAM
            assert judge(answer, upstream).advice.name == "oauth-renewed"
            assert (await submitted(tokens, upstream)).reply.code == 250
        assert [right for _, _, right in server.auths] == [True, False, True]
        assert len(stub.forms) == 2

    async def test_a_new_token_that_is_refused_is_a_matter_for_a_person(self, stub, tokens, tmp_path, clock):
        """No renewal helps: one AUTH for each try, the long rest, the server's own words, and no flood at the token server."""
        upstream = consented(stub, tmp_path, clock)
        async with await self.server(stub, script={"AUTH": ["535 5.7.3 Authentication unsuccessful"] * 3}) as server:
            upstream = on_server(upstream, port=server.port)
            for _ in range(3):
                answer = await submitted(tokens, upstream)
                assert judge(answer).blame is Blame.LOGIN
                assert "535 5.7.3 Authentication unsuccessful" in str(answer)
                assert judge(answer, upstream).advice.name == "oauth-new-token-refused"
        assert len(server.auths) == 3
        assert len(stub.forms) == 1

    async def test_smtp_auth_switched_off_is_told_as_it_is(self, stub, tokens, tmp_path, clock):
        """No token mends a policy: the server's words get their own advice, and nothing is renewed."""
        said = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
        upstream = consented(stub, tmp_path, clock)
        async with await self.server(stub, script={"AUTH": said}) as server:
            upstream = on_server(upstream, port=server.port)
            answer = await submitted(tokens, upstream)
        assert judge(answer, upstream).advice.name == "m365-smtp-auth-off"
        assert len(stub.forms) == 1

    async def test_no_auth_without_a_token(self, stub, tokens):
        """A server hears no AUTH from an account that nobody has consented for."""
        async with await self.server(stub) as server:
            answer = await submitted(tokens, account(stub, server.port))
        assert "relay oauth login" in answer.reply.text
        assert server.auths == []

    async def test_a_consent_taken_back_between_two_mails(self, stub, tokens, tmp_path, clock):
        """The refused token leads to the provider's own words at once."""
        upstream = consented(stub, tmp_path, clock)
        async with await self.server(stub) as server:
            upstream = on_server(upstream, port=server.port)
            await submitted(tokens, upstream)
            stub.revoke()
            answer = await submitted(tokens, upstream)
        assert "AADSTS50173" in answer.reply.text
        assert judge(answer).blame is Blame.LOGIN
        assert len(server.auths) == 2

    async def test_warnings_reach_the_standing(self, stub, tokens, tmp_path, clock):
        """Age and end are there for metrics, page and doctor."""
        upstream = consented(stub, tmp_path, clock, refresh_expires_in=int(timedelta(days=7).total_seconds()))
        clock.advance(days=5, seconds=-1)
        [told] = tokens.standings([upstream])
        assert (told["upstream"], told["age"]) == ("isp", 5 * 86400)
        assert told["ends_at"].startswith("2026-11-29")
        assert "ends on 2026-11-29" in told["warnings"][0]
        assert await tokens.look_after([upstream]) == [(upstream.name, text) for text in told["warnings"]]


class Mute:
    """A token server that takes a request and gives an octet of an answer now and then, never a whole one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lines: list[socket.socket] = []
        self.asked = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/token"

    def __enter__(self) -> "Mute":
        self._listening.settimeout(0.05)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for line in (*self._lines, self._listening):
            line.close()

    def _drip(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                self._lines.append(self._listening.accept()[0])
                self.asked.set()
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.send(b"H")


async def test_a_server_that_never_ends_its_answer_has_one_deadline(stub, tmp_path, clock):
    """However often an octet comes: the message is put off, and nobody waits for that thread, not even the stop."""
    consented(stub, tmp_path, clock)
    tokens = Tokens(tmp_path, clock, patience=0.4)
    with Mute() as server:
        found = await asyncio.wait_for(tokens.get(account(stub, token_url=server.url)), 5)
        assert isinstance(found, Answer)
        assert (found.reply.code, found.reply.status) == (454, "4.7.0")
        assert "within 0.4 seconds" in found.reply.text
        began = asyncio.get_running_loop().time()
        await tokens.close(0.1)
        await asyncio.get_running_loop().shutdown_default_executor()
        assert asyncio.get_running_loop().time() - began < 3


async def test_a_renewal_in_hand_is_kept_at_the_stop(stub, tmp_path, clock):
    """Who asked is cut off by the stop; the refresh token that comes all the same reaches the disk, for the old one is void."""
    upstream = consented(stub, tmp_path, clock)
    clock.advance(hours=1)
    stub.delay = 0.5
    tokens = Tokens(tmp_path, clock)
    asking = asyncio.create_task(tokens.get(upstream))
    await asyncio.sleep(0.2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await tokens.close()
    kept = account_of(upstream, tmp_path, clock).kept()
    assert kept is not None
    assert kept.refresh_token.reveal() in stub.refresh_tokens
    assert kept.access_token.reveal() == next(reversed(stub.access_tokens))
