"""One message to a scripted server: who gets which answer, whatever goes wrong, wherever."""

import pytest

from relay.mail.address import parse_address
from relay.mail.reply import Answer, Stage
from relay.upstream.report import Report
from relay.upstream.settings import Limits, Upstream
from relay.upstream.transports import Transports
from tests.support.sending import LETTER, letter, upstream_at
from tests.support.upstream import DROP, GARBAGE, HANG, ScriptedUpstream

PIPED = ("PIPELINING", "8BITMIME", "SIZE 50000000")
STEPWISE = ("8BITMIME", "SIZE 50000000")


@pytest.fixture(params=[PIPED, STEPWISE], ids=["pipelining", "stepwise"])
def capabilities(request):
    return request.param


async def submitted(transports: Transports, upstream: Upstream, outgoing=None) -> list[tuple[Stage, bool, int]]:
    report = await transports.submit(upstream, outgoing or letter("b@there.example", "c@there.example"))
    return facts(report)


def facts(report: Report) -> list[tuple[Stage, bool, int]]:
    return [(answer.stage, answer.lost, answer.reply.code) for answer in report.answers.values()]


def only(report: Report) -> Answer:
    [answer] = report.answers.values()
    return answer


async def test_every_recipient_learns_of_the_250(transports, capabilities):
    """The server's own words to the final dot are the answer for each forward-path, and the content arrives octet for octet."""
    async with ScriptedUpstream(capabilities=capabilities, script={"DOT": "250 2.0.0 queued as 77"}) as server:
        report = await transports.submit(upstream_at(server.port), letter("b@there.example", "c@there.example"))
    assert facts(report) == [(Stage.CONTENT, False, 250)] * 2
    assert {answer.reply.text for answer in report.answers.values()} == {"queued as 77"}
    [message] = server.messages
    assert message.content == LETTER
    assert message.reverse_path == "a@home.example"
    assert message.forward_paths == ["b@there.example", "c@there.example"]
    assert server.faults == []


# what happens at which step -> what both recipients are told
LOST, PLAIN = True, False
WAYS = {
    "421 greeting": ({"CONNECT": "421 4.3.2 busy"}, (Stage.CONNECT, PLAIN, 421)),
    "554 greeting": ({"CONNECT": "554 5.7.1 no"}, (Stage.CONNECT, PLAIN, 554)),
    "no greeting": ({"CONNECT": HANG}, (Stage.CONNECT, LOST, 421)),
    "hangs up for a greeting": ({"CONNECT": DROP}, (Stage.CONNECT, LOST, 421)),
    "another protocol": ({"CONNECT": GARBAGE}, (Stage.CONNECT, LOST, 421)),
    "EHLO refused": ({"EHLO": "550 5.7.1 not you", "HELO": "550 5.7.1 not you"}, (Stage.HELLO, PLAIN, 550)),
    "421 at EHLO": ({"EHLO": "421 4.7.0 later"}, (Stage.HELLO, PLAIN, 421)),
    "drop at EHLO": ({"EHLO": DROP}, (Stage.HELLO, LOST, 421)),
    "hang at EHLO": ({"EHLO": HANG}, (Stage.HELLO, LOST, 421)),
    "garbage at EHLO": ({"EHLO": GARBAGE}, (Stage.HELLO, LOST, 421)),
    "MAIL refused": ({"MAIL": "550 5.7.60 not your address"}, (Stage.MAIL, PLAIN, 550)),
    "421 at MAIL": ({"MAIL": "421 4.7.0 enough"}, (Stage.MAIL, PLAIN, 421)),
    "drop at MAIL": ({"MAIL": DROP}, (Stage.MAIL, LOST, 421)),
    "hang at MAIL": ({"MAIL": HANG}, (Stage.MAIL, LOST, 421)),
    "garbage at MAIL": ({"MAIL": GARBAGE}, (Stage.MAIL, LOST, 421)),
    "drop at RCPT": ({"RCPT": DROP}, (Stage.RCPT, LOST, 421)),
    "hang at RCPT": ({"RCPT": HANG}, (Stage.RCPT, LOST, 421)),
    "garbage at RCPT": ({"RCPT": GARBAGE}, (Stage.RCPT, LOST, 421)),
    "DATA refused": ({"DATA": "451 4.3.0 not now"}, (Stage.CONTENT, PLAIN, 451)),
    "DATA refused for good": ({"DATA": "554 5.7.1 no"}, (Stage.CONTENT, PLAIN, 554)),
    "250 instead of 354": ({"DATA": "250 ok"}, (Stage.RCPT, LOST, 421)),
    "drop at DATA": ({"DATA": DROP}, (Stage.RCPT, LOST, 421)),
    "hang at DATA": ({"DATA": HANG}, (Stage.RCPT, LOST, 421)),
    "garbage at DATA": ({"DATA": GARBAGE}, (Stage.RCPT, LOST, 421)),
    "content refused": ({"DOT": "550 5.7.1 spam"}, (Stage.CONTENT, PLAIN, 550)),
    "content deferred": ({"DOT": "451 4.7.1 greylisted"}, (Stage.CONTENT, PLAIN, 451)),
    "421 after the dot": ({"DOT": "421 4.3.2 going down"}, (Stage.CONTENT, PLAIN, 421)),
    "drop after the dot": ({"DOT": DROP}, (Stage.CONTENT, LOST, 421)),
    "garbage after the dot": ({"DOT": GARBAGE}, (Stage.CONTENT, LOST, 421)),
}


@pytest.mark.parametrize(("script", "expected"), WAYS.values(), ids=WAYS.keys())
async def test_each_way_to_fail_is_told_with_its_stage(transports, capabilities, script, expected):
    """Stage, lost and code come out right for each recipient; lost at CONTENT only once the dot was written."""
    patience = 0.3 if HANG in script.values() else 10
    async with ScriptedUpstream(capabilities=capabilities, script=script) as server:
        assert await submitted(transports, upstream_at(server.port, timeout=patience)) == [expected] * 2
        assert server.messages == []


async def test_silence_after_the_dot_is_lost_at_content(transports):
    """No final reply within ten times the time-out: perhaps taken, so it is told as uncertain."""
    async with ScriptedUpstream(script={"DOT": HANG}) as server:
        assert await submitted(transports, upstream_at(server.port, timeout=0.1)) == [(Stage.CONTENT, True, 421)] * 2


async def test_the_final_reply_gets_ten_times_the_patience(transports):
    """A server that thinks for longer than one time-out about the content is waited for."""
    async with ScriptedUpstream(delays={"DOT": 0.5}) as server:
        assert await submitted(transports, upstream_at(server.port, timeout=0.2)) == [(Stage.CONTENT, False, 250)] * 2


async def test_nobody_listens(transports, unused_tcp_port):
    """A closed port is told at CONNECT, as ours, with the address."""
    report = await transports.submit(upstream_at(unused_tcp_port), letter())
    assert facts(report) == [(Stage.CONNECT, True, 421)]
    assert f"127.0.0.1:{unused_tcp_port}: connection refused" in only(report).reply.text


async def test_an_unknown_host_is_a_deferral(transports):
    """A name that cannot be looked up is 4.4.3 at CONNECT: the DNS may be down, the name may come back."""
    report = await transports.submit(upstream_at(25, host="no-such-host.invalid"), letter())
    answer = only(report)
    assert (answer.stage, answer.lost, answer.reply.status) == (Stage.CONNECT, True, "4.4.3")


async def test_421_in_the_middle_of_the_recipients(transports, capabilities):
    """Who was told 421 hears that; those refused before keep their answer; all others are lost at RCPT."""
    script = {"RCPT": ["550 5.1.1 unknown", "250 ok", "421 4.7.0 enough"]}
    paths = [f"{name}@there.example" for name in "bcde"]
    async with ScriptedUpstream(capabilities=capabilities, script=script) as server:
        report = await transports.submit(upstream_at(server.port), letter(*paths))
    told = {str(path): (answer.stage, answer.lost, answer.reply.status) for path, answer in report.answers.items()}
    assert told == {
        "b@there.example": (Stage.RCPT, False, "5.1.1"),
        "c@there.example": (Stage.RCPT, True, "4.4.2"),
        "d@there.example": (Stage.RCPT, False, "4.7.0"),
        "e@there.example": (Stage.RCPT, True, "4.4.2"),
    }
    assert server.messages == []


async def test_a_refused_recipient_does_not_stop_the_others(transports, capabilities):
    """Each recipient has its own answer; the message goes to those who were taken."""
    script = {"RCPT": ["250 ok", "550 5.1.1 unknown", "450 4.2.1 greylisted"]}
    async with ScriptedUpstream(capabilities=capabilities, script=script) as server:
        outgoing = letter("b@there.example", "c@there.example", "d@there.example")
        assert await submitted(transports, upstream_at(server.port), outgoing) == [
            (Stage.CONTENT, False, 250),
            (Stage.RCPT, False, 550),
            (Stage.RCPT, False, 450),
        ]
    assert server.messages[0].forward_paths == ["b@there.example"]


@pytest.mark.parametrize("data", [None, "354 go on"], ids=["554 to DATA", "354 to DATA"])
async def test_nothing_is_sent_to_nobody(transports, capabilities, data):
    """When every recipient is refused no content leaves, and the session is good for the next message."""
    script = {"RCPT": ["550 5.1.1 unknown"]}
    async with ScriptedUpstream(capabilities=capabilities, script=script) as server:
        upstream = upstream_at(server.port)
        assert await submitted(transports, upstream, letter()) == [(Stage.RCPT, False, 550)]
        assert await submitted(transports, upstream, letter()) == [(Stage.CONTENT, False, 250)]
    assert [message.content for message in server.messages] == [LETTER]
    assert len(server.connections) == 1


async def test_a_refused_sender_leaves_the_session_usable(transports, capabilities):
    """After MAIL was refused the same session takes another sender at once."""
    async with ScriptedUpstream(capabilities=capabilities, script={"MAIL": ["553 5.7.1 not yours"]}) as server:
        upstream = upstream_at(server.port)
        assert await submitted(transports, upstream) == [(Stage.MAIL, False, 553)] * 2
        assert await submitted(transports, upstream) == [(Stage.CONTENT, False, 250)] * 2
    assert len(server.connections) == 1


@pytest.mark.parametrize("words", ["452 4.5.3 too many", "452 too many recipients", "552 5.5.3 too many"])
async def test_too_many_recipients_go_in_a_further_transaction(transports, capabilities, words):
    """Recipients put off by a server's limit are handed back, and may follow on the same session."""
    taken = 0

    def at_most_two(_: str) -> str | None:
        nonlocal taken
        taken += 1
        return words if taken % 5 in (3, 4, 0) and taken <= 5 else None

    paths = [f"{name}@there.example" for name in "bcdef"]
    async with ScriptedUpstream(capabilities=capabilities, script={"RCPT": at_most_two}) as server:
        report = await transports.submit(upstream_at(server.port), letter(*paths))
        rest = await transports.submit(upstream_at(server.port), letter(*map(str, report.left)))
    assert facts(report) == [(Stage.CONTENT, False, 250)] * 2 and facts(rest) == [(Stage.CONTENT, False, 250)] * 3
    assert [message.forward_paths for message in server.messages] == [paths[:2], paths[2:]]
    assert len(server.connections) == 1
    assert any("further transaction" in note for note in report.conversation.notes)


async def test_too_many_without_progress_is_an_answer(transports, capabilities):
    """A server that says `too many` to the first recipient is not asked for ever."""
    async with ScriptedUpstream(capabilities=capabilities, script={"RCPT": lambda _: "452 4.5.3 too many"}) as server:
        assert await submitted(transports, upstream_at(server.port)) == [(Stage.RCPT, False, 452)] * 2
    assert len(server.transactions) == 1


async def test_our_own_recipient_limit_splits(transports, capabilities):
    """limits.recipients bounds the transaction; the others are handed back untold."""
    paths = [f"{name}@there.example" for name in "bcdef"]
    async with ScriptedUpstream(capabilities=capabilities) as server:
        report = await transports.submit(upstream_at(server.port, limits=Limits(recipients=2)), letter(*paths))
    assert facts(report) == [(Stage.CONTENT, False, 250)] * 2
    assert [str(path) for path in report.left] == paths[2:]
    assert [message.forward_paths for message in server.messages] == [paths[:2]]


async def test_content_that_cannot_be_read_never_ends_in_a_dot(transports):
    """When our own store fails in the middle, the error comes out and the server gets no shortened message."""

    def broken():
        yield b"Subject: x\r\n\r\n" + b"half\r\n" * 60000
        raise OSError("disk")

    async with ScriptedUpstream() as server:
        with pytest.raises(OSError, match="disk"):
            await transports.submit(upstream_at(server.port), letter(content=broken(), size=1_000_000))
    assert server.messages == []


async def test_helo_where_ehlo_is_unknown(transports):
    """An old server without EHLO is spoken to with HELO, and the trail says so."""
    async with ScriptedUpstream(script={"EHLO": "502 unknown"}) as server:
        report = await transports.submit(upstream_at(server.port), letter())
    assert facts(report) == [(Stage.CONTENT, False, 250)]
    assert "HELO, since" in report.conversation.notes[0]
    assert [command.split()[0] for command in server.commands[:3]] == ["EHLO", "HELO", "MAIL"]


async def test_no_helo_where_a_login_is_needed(transports):
    """Without EHLO there is no AUTH, so the refusal of EHLO stands."""
    async with ScriptedUpstream(script={"EHLO": "502 unknown"}, users={"taro": "secret"}) as server:
        assert await submitted(transports, upstream_at(server.port, user="taro"), letter()) == [(Stage.HELLO, False, 502)]


async def test_replies_of_many_lines_and_split_packets(transports):
    """A multi-line reply is one reply; its enhanced status is read once."""
    script = {"RCPT": "550-5.1.1 no such user\n550 5.1.1 ask postmaster"}
    async with ScriptedUpstream(script=script) as server:
        report = await transports.submit(upstream_at(server.port), letter())
    assert str(only(report).reply) == "550 5.1.1 no such user ask postmaster"


async def test_the_null_reverse_path(transports):
    """A notice goes out with `MAIL FROM:<>`."""
    async with ScriptedUpstream() as server:
        await transports.submit(upstream_at(server.port), letter(sender=None))
    assert server.transactions[0].mail.startswith("FROM:<> ")


async def test_one_answer_for_a_path_said_twice(transports):
    """The same forward-path twice is told to the server once."""
    async with ScriptedUpstream() as server:
        report = await transports.submit(upstream_at(server.port), letter("b@there.example", "b@there.example"))
    assert list(report.answers) == [parse_address("b@there.example")]
    assert server.messages[0].forward_paths == ["b@there.example"]
