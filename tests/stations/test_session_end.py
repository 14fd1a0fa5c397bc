"""An upstream that has had enough: of the session, of commands at once, of domains.  What it does not bear is learned."""

from dataclasses import replace

import pytest

from relay.mail.reply import Fault, Stage
from relay.upstream.settings import SmtpServer
from relay.upstream.transports import Means, Transports
from tests.support.sending import letter, upstream_at
from tests.support.upstream import DROP, HANG, ScriptedUpstream

STEPS = ["MAIL", "RCPT", "DATA", "DOT"]


@pytest.fixture(params=[True, False], ids=["pipelining", "one by one"])
def capabilities(request):
    return ["PIPELINING", "8BITMIME"] if request.param else ["8BITMIME"]


async def sent(transports, server, *paths, **more):
    return await transports.submit(upstream_at(server.port, **more), letter(*paths))


def codes(report) -> list[int]:
    return [answer.reply.code for answer in report.answers.values()]


class Counting:
    """A server that serves `most` messages in one session, then says `words` at `step` to all others."""

    def __init__(self, server: ScriptedUpstream, most: int, step: str, words: str) -> None:
        self.server, self.most, self.words = server, most, words
        self.served: dict[int, int] = {}
        server.script |= {"DOT": self.count, step: self.at_dot if step == "DOT" else self.limit}

    def full(self) -> bool:
        return self.served.get(len(self.server.connections), 0) >= self.most

    def limit(self, _: str) -> str | None:
        return self.words if self.full() else None

    def at_dot(self, _: str) -> str | None:
        return self.words if self.full() else self.count(_)

    def count(self, _: str) -> str | None:
        number = len(self.server.connections)
        self.served[number] = self.served.get(number, 0) + 1
        return None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "words",
    [
        "421 4.7.0 Too many messages in this session",
        "452 4.5.3 too many messages per session",
        "451 4.7.1 please open a new connection",
        "450 4.7.0 message limit per connection reached",
        "550 5.7.0 maximum messages per session exceeded",
    ],
)
async def test_a_session_that_is_full_is_left_and_its_limit_learned(transports, capabilities, step, words):
    """Nothing waits, nothing goes twice; from then on the session is renewed before the limit."""
    async with ScriptedUpstream(capabilities=capabilities) as server:
        Counting(server, 2, step, words)
        for _ in range(7):
            assert codes(await sent(transports, server)) == [250]
        assert len(server.messages) == 7
        assert len(server.transactions) == 8  # one was refused: the first over the limit
        assert len(server.connections) == 4
        assert server.faults == []


@pytest.mark.parametrize("step", STEPS)
async def test_421_without_a_word_ends_a_kept_session_only(transports, capabilities, step):
    """A session that served before is over, at whatever stage; a fresh one that begins so is the server's answer."""
    async with ScriptedUpstream(capabilities=capabilities) as server:
        assert codes(await sent(transports, server)) == [250]
        server.script[step] = ["421 4.3.2 closing"]
        report = await sent(transports, server)
        assert codes(report) == [250]
        assert any("fresh session" in note and "closing" in note for note in report.conversation.notes)
        assert (len(server.connections), len(server.messages)) == (2, 2)
    async with ScriptedUpstream(capabilities=capabilities, script={step: ["421 4.3.2 closing"]}) as server:
        assert codes(await sent(Transports(Means("relay.test")), server)) == [421]
        assert len(server.connections) == 1


@pytest.mark.parametrize("step", STEPS)
async def test_a_session_that_took_too_long_is_left_and_teaches_no_limit(transports, capabilities, step):
    """`451 timeout` says nothing of the mail: at once in a fresh session, and no number of messages is remembered."""
    async with ScriptedUpstream(capabilities=capabilities, script={step: [None, "451 4.4.2 Session timeout"]}) as server:
        for _ in range(3):
            assert codes(await sent(transports, server)) == [250]
        assert (len(server.connections), len(server.messages), len(server.transactions)) == (2, 3, 4)


async def test_421_in_the_middle_of_the_content_ends_a_kept_session_too(transports, capabilities):
    """It was not all there yet, so the message goes once more, whole, in a fresh session."""
    block = b"0123456789" * 100 + b"\r\n"
    async with ScriptedUpstream(capabilities=capabilities) as server:
        assert codes(await sent(transports, server)) == [250]
        server.script["CONTENT"] = ["421 4.7.0 closing"]
        outgoing = letter(content=[block] * 4000, size=4000 * len(block))
        assert codes(await transports.submit(upstream_at(server.port), outgoing)) == [250]
        assert (len(server.connections), len(server.messages)) == (2, 2)
        assert server.messages[-1].content == block * 4000


async def test_it_is_tried_once_only(transports, capabilities):
    """A server that says so of every session is believed at the second."""
    async with ScriptedUpstream(capabilities=capabilities, script={"MAIL": lambda _: "452 open a new session"}) as server:
        assert codes(await sent(transports, server)) == [452]
        assert len(server.connections) == 2


async def test_others_keep_their_answers(transports, capabilities):
    """Who was refused for himself is not asked for again when the session ends over another."""
    async with ScriptedUpstream(capabilities=capabilities) as server:
        assert codes(await sent(transports, server)) == [250]
        server.script["RCPT"] = ["550 5.1.1 unknown", None, "421 4.7.0 enough"]
        report = await sent(transports, server, "b@there.example", "c@there.example", "d@there.example")
    assert {str(path): answer.reply.code for path, answer in report.answers.items()} == {
        "b@there.example": 550,
        "c@there.example": 250,
        "d@there.example": 250,
    }
    assert server.messages[1].forward_paths == ["c@there.example", "d@there.example"]


async def test_no_session_to_be_had(transports):
    """Where the fresh session cannot be had, that is the answer."""
    async with ScriptedUpstream() as server:
        assert codes(await sent(transports, server)) == [250]
        server.script |= {"MAIL": "421 4.3.2 closing", "CONNECT": "554 5.3.2 closed"}
        [answer] = (await sent(transports, server)).answers.values()
    assert (answer.stage, answer.reply.code) == (Stage.CONNECT, 554)


@pytest.mark.parametrize("end", [DROP, HANG])
async def test_a_final_reply_that_did_not_come_is_never_repeated(transports, capabilities, end):
    """It may have been taken, so no fresh session helps; nor is pipelining blamed."""
    async with ScriptedUpstream(capabilities=capabilities, script={"DOT": [None, end]}) as server:
        assert codes(await sent(transports, server, timeout=0.1)) == [250]
        [answer] = (await sent(transports, server, timeout=0.1)).answers.values()
        assert answer.lost and answer.stage is Stage.CONTENT
        assert len(server.transactions) == 2


async def test_pipelining_that_is_lost_is_not_tried_again(transports):
    """The first attempt is lost, the next goes one by one, and so do all after it, in fresh sessions too."""
    async with ScriptedUpstream(hasty=True) as server:
        [answer] = (await sent(transports, server, timeout=0.3)).answers.values()
        assert (answer.lost, answer.fault) == (True, Fault.TIMED_OUT)
        for _ in range(2):
            assert codes(await sent(transports, server, timeout=0.3)) == [250]
            transports.forget("isp")
        assert len(server.connections) == 3


async def test_a_server_that_is_silent_anyway_is_not_blamed_for_pipelining(transports):
    """Where going one by one does not help, the next attempt says all at once again."""
    async with ScriptedUpstream(script={"RCPT": [HANG, HANG]}) as server:
        for _ in range(2):
            await sent(transports, server, timeout=0.2)
        assert codes(await sent(transports, server, timeout=0.2)) == [250]
        assert transports._made[SmtpServer]._pools["isp"].learned.pipelining


MULTIPLE = "451 4.3.0 Multiple destination domains per transaction is unsupported.  Please try again."


@pytest.mark.parametrize("step", ["RCPT", "DATA", "DOT"])
async def test_one_domain_in_one_transaction(transports, capabilities, step):
    """The others follow at once, one transaction for each domain, and the next letter goes so from the start."""
    paths = ["b@one.example", "c@two.example", "d@one.example", "e@three.example"]
    async with ScriptedUpstream(capabilities=capabilities) as server:

        def of_one(argument: str) -> str | None:
            inside = {path.partition("@")[2] for path in server.transactions[-1].rcpts}
            domains = {argument.partition("@")[2]} - {""} if step == "RCPT" else set()
            return MULTIPLE if len(inside | domains) > 1 else None

        server.script[step] = of_one
        for _ in range(2):
            outgoing, rounds = letter(*paths), 0
            while outgoing.forward_paths:
                report = await transports.submit(upstream_at(server.port), outgoing)
                assert set(codes(report)) <= {250}
                outgoing, rounds = replace(outgoing, forward_paths=report.left), rounds + 1
                assert rounds < 6
        told = [sorted(message.forward_paths) for message in server.messages]
    assert sorted(told) == sorted([["b@one.example", "d@one.example"], ["c@two.example"], ["e@three.example"]] * 2)
    assert rounds == 3


async def test_one_recipient_in_one_transaction(transports, capabilities):
    """Where only one is borne, each goes alone."""
    async with ScriptedUpstream(capabilities=capabilities) as server:
        server.script["RCPT"] = lambda _: "452 4.5.3 only one recipient per message" if server.transactions[-1].rcpts else None
        first = await sent(transports, server, "b@there.example", "c@there.example", "d@there.example")
        second = await sent(transports, server, "c@there.example", "d@there.example")
    assert [str(path) for path in first.left] == ["c@there.example", "d@there.example"]
    assert [str(path) for path in second.left] == ["d@there.example"]
    assert len(server.transactions) == 2
    assert codes(first) == codes(second) == [250]


async def test_recipients_may_take_their_time_but_not_for_ever(transports):
    """Each reply comes just in time; all of them together have a bound, which grows with their number."""
    paths = [f"u{number}@there.example" for number in range(60)]
    async with ScriptedUpstream(capabilities=["8BITMIME"], delays={"RCPT": 0.09}) as server:
        report = await sent(transports, server, *paths, timeout=0.1)
        assert len(server.commands) < 45
    assert {answer.fault for answer in report.answers.values()} == {Fault.TIMED_OUT}
    assert {answer.stage for answer in report.answers.values()} == {Stage.RCPT}
