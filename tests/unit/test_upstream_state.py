"""How upstreams stand with us: rests, the one that goes ahead, crowds, sizes, and who waits for whom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.mail.address import Address
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.chain import Judged, Step
from relay.outbound.retry import RetrySchedule
from relay.outbound.upstream_state import Resumed, UpstreamStates, WentToRest
from relay.spool.entry import Recipient, State
from relay.upstream.report import Conversation, Report
from relay.upstream.settings import DIRECT, DIRECT_UPSTREAM, Limits, SmtpServer, Upstream

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
M = timedelta(minutes=1)
PLAN = RetrySchedule()
ISP = Upstream("isp", SmtpServer("mail.isp.example"))
MX = DIRECT_UPSTREAM
X, Y = Address("x", "one.example"), Address("y", "two.example")
OK = Answer(Stage.CONTENT, Reply(250, "2.0.0", "taken"))
REFUSED = Answer(Stage.CONNECT, Reply(421, "4.4.1", "connection refused"), lost=True)
LOGIN = Answer(Stage.AUTH, Reply(535, "5.7.8", "authentication failed"))


def talk(standing, upstream, said, now=NOW, queue_id="q1", peer="192.0.2.1:25"):
    """One conversation from begin to end; what it taught."""
    step = Step(upstream, tuple(Recipient(path, State.QUEUED, 0, now) for path in said))
    number = standing.begin(step, queue_id, now)
    assert standing.may_send(number, step, now)
    return standing.end(number, step, Judged.of(step, Report(said, Conversation(peer, max_size=1000))), PLAN, now)


def test_trouble_before_mail_rests_and_success_wakes_those_who_waited():
    """Refused: it rests, a message that wanted it is put off; served again: it wakes, and names who waited."""
    standing = UpstreamStates()
    (rested,) = talk(standing, ISP, {X: REFUSED})
    assert isinstance(rested, WentToRest) and rested.first
    pause = standing.pause(ISP, X, "q2", NOW)
    assert pause.until == NOW + M and "connection refused" in pause.why
    assert talk(standing, ISP, {X: OK}, NOW + M) == [Resumed("isp", ("q1", "q2"))]
    assert standing.pause(ISP, X, "q2", NOW + M) is None


def test_a_refused_recipient_rests_nobody():
    """550 to RCPT, greylisting or a line lost in the middle of a message are no reason to leave the upstream alone."""
    for said in (
        Answer(Stage.RCPT, Reply(550, "5.1.1", "no such user")),
        Answer(Stage.RCPT, Reply(450, "4.2.0", "greylisted")),
        Answer(Stage.RCPT, Reply(421, "4.4.2", "lost"), lost=True),
    ):
        standing = UpstreamStates()
        assert talk(standing, ISP, {X: said}) == []
        assert standing.pause(ISP, X, "q2", NOW) is None


def test_after_a_rest_one_goes_ahead():
    """When the rest is over and one message is on its way, the others wait for how it fares."""
    standing = UpstreamStates()
    talk(standing, ISP, {X: LOGIN})
    later = NOW + 15 * M
    assert standing.pause(ISP, X, "q1", later) is None
    step = Step(ISP, (Recipient(X, State.QUEUED, 0, later),))
    standing.begin(step, "q1", later)
    assert "tried by another message" in standing.pause(ISP, X, "q2", later).why


@pytest.mark.parametrize(
    ("upstream", "own"),
    [
        (ISP, Answer(Stage.MAIL, Reply(451, "4.3.5", "dkim.key cannot be read"), fault=Fault.DKIM)),
        (MX, Answer(Stage.RCPT, Reply(451, "4.4.3", "the DNS failed"), fault=Fault.DNS)),
    ],
)
def test_what_we_say_before_anybody_is_called_proves_nothing(upstream, own):
    """It ends no rest, and lets nobody past the one that goes ahead: the password is as wrong as before."""
    standing = UpstreamStates(proven := set())
    [first] = talk(standing, upstream, {X: LOGIN})
    assert talk(standing, upstream, {X: own}, NOW + 15 * M, "q2", peer="") == []
    assert not proven
    [second] = talk(standing, upstream, {X: LOGIN}, NOW + 16 * M)
    assert (first.trouble.failures, second.trouble.failures) == (1, 2)
    assert talk(standing, upstream, {X: OK}, NOW + 60 * M) == [Resumed(upstream.key(X), ("q1",))]


def test_who_waited_for_a_connection_does_not_talk_to_one_that_rests_now():
    """Five hundred behind one wrong password: the first failure stops the others at the door."""
    standing = UpstreamStates(proven := {"isp"})
    step = Step(ISP, (Recipient(X, State.QUEUED, 0, NOW),))
    waiting = standing.begin(step, "q2", NOW)
    talk(standing, ISP, {X: LOGIN})
    assert not standing.may_send(waiting, step, NOW)
    assert standing.end(waiting, step, None, PLAN, NOW) == []
    assert proven == set()


def test_direct_delivery_rests_by_domain():
    """One closed MX says nothing of another domain's."""
    standing = UpstreamStates()
    talk(standing, MX, {X: REFUSED, Y: OK})
    assert standing.pause(MX, X, "q2", NOW) is not None
    assert standing.pause(MX, Y, "q2", NOW) is None
    assert [line["name"] for line in standing.lines([MX], NOW)] == [DIRECT, "mx one.example"]
    assert (ISP.key(X), MX.key(X)) == ("isp", "mx one.example")


def test_a_crowd_at_a_slow_upstream_waits_in_the_spool():
    """A hundred on their way and the oldest stuck: more would only fill the runner; and they are not sent elsewhere."""
    standing = UpstreamStates()
    step = Step(ISP, (Recipient(X, State.QUEUED, 0, NOW),))
    for number in range(100):
        standing.begin(step, f"q{number}", NOW)
    assert standing.pause(ISP, X, "new", NOW) is None
    pause = standing.pause(ISP, X, "new", NOW + M)
    assert pause is not None and not pause.divert


def test_sizes_are_learned_and_forgotten():
    """What EHLO said of SIZE is used for an hour; a server's administrator may have changed it since."""
    standing = UpstreamStates()
    talk(standing, ISP, {X: OK})
    assert standing.sizes(NOW + M) == {"isp": 1000}
    assert standing.sizes(NOW + 61 * M) == {}


def test_a_hand_wakes_and_names_who_waited():
    """An order by hand ends the rest; those who waited are due."""
    standing = UpstreamStates()
    talk(standing, ISP, {X: REFUSED})
    standing.pause(ISP, X, "q2", NOW)
    standing.pause(ISP, X, "q3", NOW)
    standing.gone("q3")
    assert standing.wake("isp") == [Resumed("isp", ("q1", "q2"))]


def test_the_daily_count_is_shown():
    """A relayed message counts for the day, a refused one does not."""
    standing = UpstreamStates()
    limited = Upstream("isp", SmtpServer("mail.isp.example"), limits=Limits(per_day=2))
    talk(standing, limited, {X: OK})
    talk(standing, limited, {X: Answer(Stage.RCPT, Reply(550, "5.1.1", "no"))})
    assert standing.lines([limited], NOW)[0]["sent_today"] == 1
    assert standing.pause(limited, X, "q", NOW) is None


QUOTA = Answer(Stage.MAIL, Reply(550, "5.4.5", "Daily sending quota exceeded"))


def test_after_a_rest_another_message_asks_first():
    """The message that met the trouble may have caused it: while others wait, one of them asks whether it is over."""
    standing = UpstreamStates()
    (rested,) = talk(standing, ISP, {X: QUOTA}, queue_id="q1")
    assert standing.pause(ISP, X, "q2", NOW)
    over = rested.trouble.until
    assert standing.pause(ISP, X, "q1", over).until == over + M
    assert standing.pause(ISP, X, "q2", over) is None
    assert talk(standing, ISP, {X: OK}, over, queue_id="q2") == [Resumed("isp", ("q1", "q2"))]
    assert standing.pause(ISP, X, "q1", over) is None


def test_the_message_itself_asks_where_nobody_else_waits():
    """Alone in the queue it is the one that asks; and when the others do not come within a minute."""
    standing = UpstreamStates()
    (rested,) = talk(standing, ISP, {X: QUOTA}, queue_id="q1")
    assert standing.pause(ISP, X, "q1", rested.trouble.until) is None
    standing.pause(ISP, X, "q2", NOW)
    assert standing.pause(ISP, X, "q1", rested.trouble.until + M) is None


def test_one_message_that_is_refused_again_and_again_rests_nobody():
    """Said of the same message twice, it is about that message: a fresh one may go; met by another, it rests for all."""
    standing = UpstreamStates()
    (rested,) = talk(standing, ISP, {X: QUOTA}, queue_id="q1")
    over = rested.trouble.until
    assert talk(standing, ISP, {X: QUOTA}, over, queue_id="q1") == []
    assert standing.pause(ISP, X, "q2", over) is None
    (again,) = talk(standing, ISP, {X: QUOTA}, over, queue_id="q2")
    assert isinstance(again, WentToRest) and again.trouble.failures == 2
    (third,) = talk(standing, ISP, {X: QUOTA}, again.trouble.until, queue_id="q2")
    assert isinstance(third, WentToRest), "two messages met it: it is no message's own doing"


def test_a_message_whose_own_doing_it_was_is_known():
    """Another message was served after it: from then on its refusals rest nobody, until it is gone; a login still does."""
    standing = UpstreamStates(proven := set())
    (rested,) = talk(standing, ISP, {X: QUOTA}, queue_id="q1")
    over = rested.trouble.until
    talk(standing, ISP, {X: OK}, over, queue_id="q2")
    assert talk(standing, ISP, {X: QUOTA}, over + M, queue_id="q1") == []
    assert standing.pause(ISP, X, "q3", over + M) is None
    assert proven == {"isp"}
    assert isinstance(talk(standing, ISP, {X: LOGIN}, over + 2 * M, queue_id="q1")[0], WentToRest)
    standing.wake(None)
    standing.gone("q1")
    assert isinstance(talk(standing, ISP, {X: QUOTA}, over + 3 * M, queue_id="q1")[0], WentToRest)


def test_what_was_said_before_any_message_was_named_rests_every_time():
    """A refused login is about the account, whoever meets it."""
    standing = UpstreamStates()
    (rested,) = talk(standing, ISP, {X: LOGIN}, queue_id="q1")
    (again,) = talk(standing, ISP, {X: LOGIN}, rested.trouble.until, queue_id="q1")
    assert again.trouble.failures == 2


HUNG_UP = Answer(Stage.AUTH, Reply(421, "4.4.2", "the server closed the connection"), lost=True, fault=Fault.HUNG_UP)


@pytest.mark.parametrize(
    ("said", "minutes"),
    [
        (HUNG_UP, (15, 30)),
        (Answer(Stage.AUTH, Reply(454, "4.7.0", "temporary failure")), (1, 2)),
        (Answer(Stage.AUTH, Reply(451, "4.3.0", "no auth server")), (1, 2)),
        (Answer(Stage.AUTH, Reply(421, "4.7.0", "please log in later")), (1, 2)),
        (replace(HUNG_UP, stage=Stage.HELLO), (1, 2)),
    ],
)
def test_how_long_trouble_at_the_login_rests(said, minutes):
    """Who hangs up at AUTH may do so because of the password, and counts like its refusal; what says that it passes: no."""
    standing, now = UpstreamStates(), NOW
    for rest in minutes:
        (rested,) = talk(standing, ISP, {X: said}, now)
        assert rested.trouble.until == now + rest * M
        assert not standing.lines([ISP], now)[0]["login_refused"], "nobody said so"
        now = rested.trouble.until
    advice = " ".join(rested.verdict.advice.sentences)
    assert ("password file" in advice) is (said is HUNG_UP)


def test_words_of_the_recipient_rest_nobody():
    """An address that names a block list is no block list."""
    standing = UpstreamStates()
    echo = Answer(Stage.RCPT, Reply(550, "5.1.1", "<spamhaus@isp.example>: User unknown"))
    assert talk(standing, ISP, {X: echo}) == []
    assert standing.pause(ISP, X, "q2", NOW) is None


BACK_OFF = [
    Answer(Stage.CONTENT, Reply.of(421, "4.7.28 unusual rate of unsolicited mail originating from your IP address")),
    Answer(Stage.MAIL, Reply.of(421, "4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints")),
    Answer(Stage.RCPT, Reply.of(451, "4.7.650 The mail server [192.0.2.1] has been temporarily rate limited")),
    Answer(Stage.CONNECT, Reply.of(421, "4.7.1 Too many connections from 192.0.2.1")),
    Answer(Stage.CONTENT, Reply.of(421, "4.7.0 Try again later, closing connection.")),
    Answer(Stage.CONNECT, Reply.of(554, "5.7.1 your IP is listed in zen.spamhaus.org")),
]


@pytest.mark.parametrize("said", BACK_OFF, ids=str)
def test_one_domain_backs_off_and_the_others_go_on(said):
    """A host that wants less from us rests for its domain: longer each time; `mx` as a whole does not."""
    standing, at = UpstreamStates(), NOW
    for rest in PLAN.rest[:3]:
        (rested,) = talk(standing, MX, {X: said}, at, "q1" if at == NOW else "q2")
        assert rested.name == "mx one.example"
        assert standing.pause(MX, X, "q3", at).until == at + rest
        assert standing.pause(MX, Y, "q3", at) is None
        at += rest
    (resumed,) = talk(standing, MX, {X: OK}, at)
    assert resumed.name == "mx one.example"


@pytest.mark.parametrize(
    "said",
    [
        Answer(Stage.RCPT, Reply.of(451, "4.7.1 Greylisted, try again in 300 seconds")),
        Answer(Stage.RCPT, Reply.of(450, "4.2.1 The user you are trying to contact is receiving mail too quickly")),
        Answer(Stage.RCPT, Reply.of(452, "4.2.2 mailbox full")),
        Answer(Stage.CONTENT, Reply.of(421, "4.7.0 This message is suspicious due to the nature of the content or the links")),
        Answer(Stage.RCPT, Reply.of(550, "5.1.1 no such user")),
    ],
    ids=str,
)
def test_what_is_about_one_mail_rests_no_domain(said):
    """Greylisting, a full mailbox, a message that looks like spam: the next message may fare better."""
    standing = UpstreamStates()
    assert talk(standing, MX, {X: said}) == []
    assert standing.pause(MX, X, "q2", NOW) is None


def test_each_domain_has_a_pace_of_its_own():
    """`mx` sends so many a minute to one domain; what goes to another one does not count."""
    limited = replace(MX, limits=Limits(connections=2, per_minute=2))
    standing = UpstreamStates()
    for number in range(2):
        assert standing.pause(limited, X, f"q{number}", NOW) is None
        talk(standing, limited, {X: OK}, queue_id=f"q{number}")
    pause = standing.pause(limited, X, "q2", NOW)
    assert pause.until == NOW + M and "mx one.example" in pause.why
    assert standing.pause(limited, Y, "q3", NOW) is None
    assert standing.pause(limited, X, "q2", NOW + M) is None, "its turn has come"


def test_domains_met_once_are_forgotten():
    """Thousands of domains leave nothing behind."""
    standing = UpstreamStates()
    for number in range(500):
        path = Address("x", f"d{number}.example")
        assert standing.pause(MX, path, f"q{number}", NOW) is None
        talk(standing, MX, {path: OK}, queue_id=f"q{number}")
        standing.gone(f"q{number}")
    standing.tidy(NOW + 2 * M)
    assert not standing.rate_limit._slots and not standing.rate_limit._booked


def test_direct_delivery_is_modest():
    """Two sessions to one domain at once, and a pace."""
    assert (MX.limits.connections, MX.limits.per_minute) == (2, 30)
