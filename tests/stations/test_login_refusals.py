"""What a refused login is about: the mechanism, the moment, or the password; and what a login may take in time and octets."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import trustme

from relay.mail.reply import Fault, Stage
from relay.upstream.settings import Auth, Tls, TlsMode
from tests.stations.test_pop3 import old_host
from tests.support.pop3 import PopServer
from tests.support.sending import letter, server_context, upstream_at
from tests.support.upstream import ScriptedUpstream

USERS = {"taro": "secret"}
REFUSALS = [
    "500 5.5.2 unrecognized command",
    "502 5.5.1 not implemented",
    "503 5.5.1 bad sequence",
    "504 5.7.4 unrecognized authentication type",
    "535 5.5.4 no",
]


async def answer_of(pools, upstream):
    [answer] = (await pools.submit(upstream, letter())).answers.values()
    return answer


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_mechanism_that_is_not_taken_is_no_word_about_the_password(pools, refusal):
    """The next one is tried in a fresh session, one AUTH in each; and the next session begins with what worked."""

    def only_login(mechanism: str) -> str | None:
        return None if mechanism == "LOGIN" else refusal

    async with ScriptedUpstream(users=USERS, script={"AUTH": only_login}) as server:
        upstream = upstream_at(server.port, user="taro")
        assert (await answer_of(pools, upstream)).reply.code == 250
        assert [mechanism for mechanism, _, _ in server.auths] == ["CRAM-MD5", "PLAIN", "LOGIN"]
        assert len(server.connections) == 3
        pools.forget("isp")
        assert (await answer_of(pools, upstream)).reply.code == 250
        assert [mechanism for mechanism, _, _ in server.auths][3:] == ["LOGIN"]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_no_mechanism_is_taken(pools, refusal):
    """Each is tried once; the answer is about mechanisms.  The next message begins anew."""
    async with ScriptedUpstream(users=USERS, script={"AUTH": lambda _: refusal}) as server:
        upstream = upstream_at(server.port, user="taro")
        for round_ in (1, 2):
            answer = await answer_of(pools, upstream)
            assert (answer.stage, answer.lost, answer.fault) == (Stage.AUTH, False, Fault.NO_MECHANISM)
            assert "announces AUTH CRAM-MD5, PLAIN, LOGIN and does not take it" in answer.reply.text
            assert len(server.auths) == 3 * round_


async def test_a_mechanism_that_was_asked_for_is_not_replaced(pools):
    """`auth: plain` means that one."""
    async with ScriptedUpstream(users=USERS, script={"AUTH": "504 5.5.4 no such mechanism"}) as server:
        answer = await answer_of(pools, upstream_at(server.port, user="taro", auth=Auth.PLAIN))
    assert answer.fault is Fault.NO_MECHANISM
    assert len(server.auths) == 1


@pytest.mark.parametrize("refusal", ["535 5.7.8 wrong", "454 4.7.0 later", "421 4.7.0 too many", "451 4.3.0 database away"])
async def test_other_refusals_end_it(pools, refusal):
    """A password is said once, also where its refusal is for the moment only."""
    async with ScriptedUpstream(users=USERS, script={"AUTH": refusal}) as server:
        answer = await answer_of(pools, upstream_at(server.port, user="taro"))
    assert (answer.stage, answer.lost, answer.fault, answer.reply.code) == (Stage.AUTH, False, None, int(refusal[:3]))
    assert len(server.auths) == len(server.connections) == 1


@pytest.mark.parametrize("mechanisms", [["GSSAPI"], ["NTLM"], ["GSSAPI", "NTLM"]])
async def test_a_windows_server_that_wants_a_domain_login(pools, mechanisms, tmp_path):
    """Under TLS only these: it is said what they need, and who can change it."""
    ca = trustme.CA()
    async with ScriptedUpstream(users=USERS, mechanisms=mechanisms, tls=server_context(ca, "localhost")) as server:
        tls = Tls(TlsMode.STARTTLS, verify=False)
        answer = await answer_of(pools, upstream_at(server.port, user="taro", host="localhost", tls=tls))
    assert answer.fault is Fault.NO_MECHANISM
    assert f"offers AUTH by {', '.join(sorted(mechanisms))} only, which need a Windows domain" in answer.reply.text
    assert server.auths == []


async def test_a_server_that_wants_tokens(pools):
    """XOAUTH2 only, and no `oauth` here: that is what is said."""
    async with ScriptedUpstream(users=USERS, mechanisms=["XOAUTH2"]) as server:
        answer = await answer_of(pools, upstream_at(server.port, user="taro"))
    assert "wants OAuth 2.0, set `oauth`" in answer.reply.text


async def test_an_octet_now_and_then_does_not_keep_a_session_in_the_making(pools):
    """Each reply comes just in time, and there is a time for all of them."""
    async with ScriptedUpstream(users=USERS, delays={"CONNECT": 0.25, "EHLO": 0.25, "AUTH": 5}) as server:
        began = time.monotonic()
        answer = await answer_of(pools, upstream_at(server.port, user="taro", timeout=0.3))
    assert answer.fault is Fault.TIMED_OUT
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("step", ["MAIL", "DOT"])
async def test_a_reply_without_end(pools, step):
    """A reply of more lines than anybody reads is no reply."""
    endless = "\n".join(f"250-line {number}" for number in range(2000))
    async with ScriptedUpstream(script={step: endless}) as server:
        answer = await answer_of(pools, upstream_at(server.port))
    assert answer.fault is Fault.GARBAGE
    assert answer.lost


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "DOT"])
async def test_a_long_reply_is_cut_and_made_readable(pools, step):
    """Words without end and odd octets are kept short, and can be shown and stored anywhere."""
    words = "554 5.7.1 no \x00\x1b[31m\u202e\ud8ff".encode("utf-8", "replace").decode() + "x" * (
        7_000 if step in ("CONNECT", "EHLO", "AUTH") else 61_000
    )
    async with ScriptedUpstream(users=USERS, script={step: words}) as server:
        answer = await answer_of(pools, upstream_at(server.port, user="taro"))
    assert answer.reply.code == 554
    assert len(answer.reply.text) <= 4000
    assert not set(answer.reply.text) & set("\x00\x1b\u202e")
    answer.reply.text.encode()


@pytest.mark.parametrize(
    "words",
    [
        "553 5.3.0 <b@there.example>... Please receive your mail before sending",
        "550-Please turn on SMTP Authentication in your mail client, or login to the IMAP/POP3 server before sending.",
        "550 host.example [192.0.2.1] is not permitted to relay through this server without authentication.",
        "553 Check mail first, then send",
        "450 4.7.1 you must authenticate via POP3 first",
        "471 POP before SMTP, please",
    ],
)
async def test_a_door_that_was_shut_is_opened_again(pools, words):
    """sendmail, cPanel and others say it in words of their own."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        assert (await answer_of(pools, upstream)).reply.code == 250
        server.script["RCPT"] = [words]
        assert (await answer_of(pools, upstream)).reply.code == 250
        assert len(pop.logins) == 2


@pytest.mark.parametrize("words", ["550 5.1.1 no such user here, check the address before sending", "550 mailbox is full"])
async def test_other_refusals_open_no_door(pools, words):
    """A refused recipient is none of the POP login's business."""
    async with PopServer() as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop)
        assert (await answer_of(pools, upstream)).reply.code == 250
        server.script["RCPT"] = [words]
        assert (await answer_of(pools, upstream)).reply.code == 550
        assert len(pop.logins) == 1


@pytest.mark.parametrize("mode", list(TlsMode))
async def test_refused_apop_falls_back_to_the_password(pools, mode, tmp_path):
    """A server that keeps hashes announces APOP and fails it: USER and PASS in a fresh session, under TLS or `tls: none`."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = None if mode is TlsMode.NONE else server_context(ca, "127.0.0.1")
    script = {"APOP": "-ERR authentication failed"}
    implicit = mode is TlsMode.IMPLICIT
    async with PopServer(apop=True, script=script, tls=context, implicit=implicit) as pop, ScriptedUpstream() as server:
        upstream = old_host(server, pop, tls=mode, ca_file=str(tmp_path / "ca.pem"))
        assert (await answer_of(pools, upstream)).reply.code == 250
    assert [way for way, _, _ in pop.logins] == ["APOP", "USER"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("-ERR [IN-USE] Do you have another POP session running?", 454),
        ("-ERR [SYS/TEMP] wait", 454),
        ("-ERR [LOGIN-DELAY] minimum time between mail checks violation", 454),
        ("-ERR maildrop already locked by another session", 454),
        ("-ERR maildrop lock busy! Is another session active?", 454),
        ("-ERR temporary failure, try again later", 454),
        ("-ERR [AUTH] PAM authentication failed, try again later", 535),
        ("-ERR [SYS/PERM] the mailbox is in use by nobody any more", 535),
        ("-ERR invalid password", 535),
    ],
)
@pytest.mark.parametrize("apop", [False, True])
async def test_whether_a_refused_pop_login_passes(pools, words, code, apop):
    """What passes by itself blames no password, and is not tried by another way at once."""
    async with PopServer(apop=apop, script={"APOP": words, "PASS": words}) as pop, ScriptedUpstream() as server:
        answer = await answer_of(pools, old_host(server, pop))
    assert (answer.stage, answer.fault, answer.reply.code) == (Stage.AUTH, Fault.POP, code)
    assert len(pop.logins) == (2 if apop and code == 535 else 1)


@pytest.mark.parametrize("verb", ["USER", "PASS", "STLS"])
async def test_a_pop_server_that_dribbles(pools, verb):
    """An octet now and then does not renew the time of a login, and its thread ends."""
    mode = TlsMode.STARTTLS if verb == "STLS" else TlsMode.NONE
    async with PopServer(dribbles_at=verb) as pop, ScriptedUpstream() as server:
        began = time.monotonic()
        answer = await answer_of(pools, replace(old_host(server, pop, tls=mode), timeout=timedelta(seconds=0.2)))
        assert (answer.stage, answer.fault, answer.lost) == (Stage.AUTH, Fault.TIMED_OUT, True)
        assert time.monotonic() - began < 3
        async with asyncio.timeout(3):
            while pop._tasks:
                await asyncio.sleep(0.02)


async def test_a_pop_server_without_stls(pools):
    """STLS that is refused is told as that."""
    async with PopServer(script={"STLS": "-ERR unknown command"}) as pop, ScriptedUpstream() as server:
        answer = await answer_of(pools, old_host(server, pop, tls=TlsMode.STARTTLS))
    assert answer.fault is Fault.NO_STARTTLS
    assert "offers no STLS" in answer.reply.text
