"""What an attempt leaves behind: rows, due times, notices, warnings, and the trail, in its exact words and numbers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.mail.dsn import compose
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.outbound.chain import Judged, Pause
from relay.outbound.notice_content import notified_message
from relay.outbound.replies import judge
from relay.outbound.routing import Chosen
from relay.outbound.trail import words
from relay.outbound.urgent import urgent
from relay.spool.entry import NoticeKind, State
from relay.upstream.report import Report
from relay.upstream.settings import Limits
from tests.unit.test_attempt import (
    LATER,
    LOST_AT_END,
    ME,
    NOW,
    OK,
    PLAN,
    REFUSED,
    SENDERHOSTS,
    UNKNOWN,
    M,
    answer,
    attempt,
    awake,
    claim,
    run,
    settled,
    upstream,
)


def test_the_facts_of_a_deferral_are_the_last_deferring_answer():
    """Who of several put it off last is told: name, stage, code and status, and the words; attempts are one more."""
    trial = attempt(claim("x@y.example", attempts=2), "a", "b", "c")
    run(trial, {"a": LATER, "b": Answer(Stage.MAIL, Reply(451, "4.3.0", "busy")), "c": UNKNOWN})
    row = settled(trial)[1]["x@y.example"]
    assert (row.upstream, row.stage, row.code, row.status, row.said) == ("b", "mail", 451, "4.3.0", "busy")
    assert (row.attempts, row.state) == (3, State.QUEUED)
    assert 15 * M <= row.due_at - NOW <= 1.1 * 15 * M


def test_what_is_over_is_due_no_more():
    """Relayed, failed or expired: the hour is that of the settlement."""
    for said, more, state in ((OK, {}, State.RELAYED), (UNKNOWN, {}, State.FAILED), (LATER, {"attempts": 7}, State.EXPIRED)):
        trial = attempt(claim("x@y.example", accepted=NOW - timedelta(days=5), **more), "a")
        run(trial, {"a": said})
        row = trial.settle(PLAN, NOW + M).outcomes[0]
        assert (row.state, row.due_at) == (state, NOW + M)


def test_the_age_can_be_told_by_a_better_clock():
    """A message that is old by the wall clock may be young by one that nobody sets, and the other way round."""
    for accepted, age, state in ((NOW - timedelta(days=9), M, State.QUEUED), (NOW, timedelta(days=9), State.EXPIRED)):
        trial = attempt(claim("x@y.example", accepted=accepted, attempts=7), "a")
        run(trial, {"a": LATER})
        settlement, rows = settled(trial, age=age, notify=ME)
        assert rows["x@y.example"].state is state
        assert settlement.warned is False


def test_a_warning_is_for_those_that_still_wait():
    """Of three recipients one was taken and one failed: the warning names the third, the failure has its own notice."""
    trial = attempt(claim("x@y.example", "y@y.example", "z@y.example", accepted=NOW - timedelta(hours=5)), "a")
    answer(trial, trial.next_step(awake), {"x@y.example": OK, "y@y.example": UNKNOWN, "z@y.example": LATER})
    assert trial.next_step(awake) is None and trial.over
    settlement, _ = settled(trial, notify=ME)
    assert [(each.kind, str(each.recipient.address)) for each in settlement.notices] == [
        (NoticeKind.FAILED, "y@y.example"),
        (NoticeKind.DELAYED, "z@y.example"),
    ]
    assert all((each.queue_id, each.notify, each.made_at) == ("q1234567890", ME, NOW) for each in settlement.notices)
    assert [line.event for line in settlement.trail].count("warned") == 1


def test_the_warning_comes_with_the_hour_not_before():
    """After four hours exactly."""
    for age, warned in ((timedelta(hours=4), True), (timedelta(hours=4) - M, False)):
        trial = attempt(claim("x@y.example", accepted=NOW - age), "a")
        run(trial, {"a": LATER})
        assert settled(trial, notify=ME)[0].warned is warned


def test_how_long_it_waits_for_who_rests():
    """Until the first wakes and a little longer, never more than the longest wait, and not in no time."""
    for rest, least, most in (
        (9 * M, 9 * M, 9 * M + timedelta(seconds=5)),
        (timedelta(seconds=10), timedelta(seconds=10), timedelta(seconds=11)),
        (-M, timedelta(seconds=0.2), timedelta(seconds=0.22)),
        (timedelta(days=400), 264 * M, 264 * M + timedelta(seconds=5)),
    ):
        trial = attempt(claim("x@y.example"), "a")
        assert trial.next_step(lambda name, recipient, rest=rest: Pause(NOW + rest, "a rests")) is None
        assert trial.waits
        row = settled(trial)[1]["x@y.example"]
        assert least < row.due_at - NOW <= most
        assert (row.upstream, row.said, row.attempts) == ("a", "a rests", 0)


def test_messages_that_wait_together_do_not_wake_together():
    """Each has its own little more, by its id."""
    dues = set()
    for number in range(20):
        message = claim("x@y.example")
        trial = attempt(replace(message, entry=replace(message.entry, queue_id=f"q{number}")), "a")
        trial.next_step(lambda name, recipient: Pause(NOW + 5 * M, "a rests"))
        dues.add(settled(trial)[1]["x@y.example"].due_at)
    assert len(dues) > 15


def test_an_expired_message_keeps_what_was_said_last():
    """Where somebody answered before, that is the reason; where nobody did, the rest is."""
    for said, code, shown in (("greylisted", 450, "greylisted"), ("", 0, "a rests")):
        message = claim("x@y.example", accepted=NOW - timedelta(days=6))
        row = replace(message.recipients[0], attempts=7, said=said, code=code)
        trial = attempt(replace(message, recipients=(row,)), "a")
        trial.next_step(lambda name, recipient: Pause(NOW + M, "a rests"))
        settlement, rows = settled(trial, notify=ME)
        after = rows["x@y.example"]
        assert (after.state, after.said, after.upstream, after.attempts, after.due_at) == (State.EXPIRED, shown, "a", 7, NOW)
        assert [each.kind for each in settlement.notices] == [NoticeKind.FAILED]


def test_whether_anybody_waits_for_an_upstream():
    """Put off by a rest or by an upstream's own trouble: yes; greylisted, relayed or refused: no."""
    for said, waits in ((REFUSED, True), (LATER, False), (OK, False), (UNKNOWN, False)):
        trial = attempt(claim("x@y.example"), "a")
        assert not trial.waits
        run(trial, {"a": said})
        assert trial.waits is waits


def test_the_limits_of_upstreams_are_told_in_megabytes():
    """The smaller of the configured and the learned one counts; a message just as big goes."""
    known = {"a": upstream("a", limits=Limits(message=2_000_000))}
    for size, sizes, refused in (
        (2_000_000, {}, ""),
        (2_000_001, {}, "a takes at most 2.0 MB, this message has 2.0 MB"),
        (1_600_000, {"a": 1_500_000}, "a takes at most 1.5 MB, this message has 1.6 MB"),
        (2_500_000, {"a": 9_000_000}, "a takes at most 2.0 MB, this message has 2.5 MB"),
        (2_500_000, {"b": 1}, "a takes at most 2.0 MB, this message has 2.5 MB"),
    ):
        trial = attempt(claim("x@y.example", size=size), "a", upstreams=known, sizes=sizes)
        assert run(trial, {"a": OK}) == ([] if refused else ["a"])
        row = settled(trial)[1]["x@y.example"]
        assert (row.state, row.said) == ((State.FAILED, refused) if refused else (State.RELAYED, "taken"))
        assert (row.stage, row.code) == (("mail", 552) if refused else ("content", 250))


def test_a_limit_concerns_only_those_who_would_go_there():
    """Another recipient's upstream takes it: that one goes, the other has failed, and the trail names each once."""
    message = claim("one@y.example", "two@y.example", size=2000)
    one, two = (each.address for each in message.recipients)
    known = {"a": upstream("a", limits=Limits(message=1000)), "b": upstream("b")}
    trial = attempt(message, upstreams=known, chosen={one: Chosen(1, ("a",), why="r"), two: Chosen(2, ("b",), why="r")})
    assert run(trial, {"b": OK}) == ["b"]
    settlement, rows = settled(trial)
    assert (rows["one@y.example"].state, rows["two@y.example"].state) == (State.FAILED, State.RELAYED)
    assert sum("takes at most" in words(line) and line.event == "tried" for line in settlement.trail) == 1


def test_notes_of_a_repair_are_told_once():
    """Two transactions mended the same: the trail names it once; the account's own name adds what is new."""
    trial = attempt(claim("x@y.example"), "a", "b")
    for said, notes in ((SENDERHOSTS, ("Date added",)), (LATER, ("Date added", "From changed")), (LATER, ("Date added",))):
        step = trial.next_step(awake)
        trial.record(Judged.of(step, Report({each.address: said for each in step.recipients})), NOW, notes=notes)
    repaired = [words(line) for line in settled(trial)[0].trail if line.event == "repaired"]
    assert sum("Date added" in text for text in repaired) == 1 and sum("From changed" in text for text in repaired) == 1


def test_a_later_attempt_tells_no_repairs_again():
    """They were told the first time, and the route too."""
    trial = attempt(claim("x@y.example", attempts=1), "a")
    trial = attempt(replace(trial.claim, recipients=(replace(trial.claim.recipients[0], said="greylisted"),)), "a")
    step = trial.next_step(awake)
    trial.record(Judged.of(step, Report({each.address: LATER for each in step.recipients})), NOW, notes=("Date added",))
    trial.next_step(awake)
    assert [line.event for line in settled(trial)[0].trail] == ["tried", "deferred"]


def test_a_surprise_leaves_what_was_settled_and_what_may_have_gone():
    """Who may have been delivered stays uncertain, who was put off says our trouble, and nobody is asked any more."""
    trial = attempt(claim("x@y.example", "y@y.example", "z@y.example"), "a", "b")
    step = trial.next_step(awake)
    answer(trial, step, {"x@y.example": LOST_AT_END, "y@y.example": SENDERHOSTS, "z@y.example": LATER})
    assert trial.retries_in_own_name(step.recipients[1].address) and not trial.retries_in_own_name(step.recipients[0].address)
    trial.internal_error("internal error: boom")
    assert trial.over and trial.next_step(awake) is None
    rows = settled(trial)[1]
    assert rows["x@y.example"].maybe_at == "a"
    for name in ("y@y.example", "z@y.example"):
        assert (rows[name].said, rows[name].stage, rows[name].upstream) == ("internal error: boom", "connect", "")
        assert rows[name].state is State.QUEUED
    assert not trial.retries_in_own_name(step.recipients[1].address)


def test_what_cannot_be_routed_waits_in_words():
    """Without a rule it says so and what to do; with an unknown name, which."""
    message = claim("x@y.example")
    address = message.recipients[0].address
    for chosen, told in (
        (Chosen(0), "no rule matches; mend the routes and the message goes on"),
        (Chosen(0, why="rule 2 has no upstream"), "rule 2 has no upstream; mend the routes and the message goes on"),
        (Chosen(1, ("old", "gone", "old")), "no upstream is named old or gone in the configuration any more"),
    ):
        trial = attempt(message, chosen={address: chosen})
        assert trial.next_step(awake) is None
        row = settled(trial)[1]["x@y.example"]
        assert (row.said, row.stage, row.code, row.status, row.upstream) == (told, "connect", 451, "4.3.0", "")
        assert row.attempts == 1


def test_a_rejecting_rule_speaks_as_a_server_would():
    """550 5.7.1 at RCPT, a discarding one 250 2.0.0."""
    message = claim("one@y.example", "two@y.example")
    one, two = (each.address for each in message.recipients)
    trial = attempt(message, chosen={one: Chosen(3, discard=True, why="r"), two: Chosen(4, reject="not here", why="r")})
    trial.next_step(awake)
    rows = settled(trial)[1]
    assert [(rows[each].stage, rows[each].code, rows[each].status) for each in ("one@y.example", "two@y.example")] == [
        ("content", 250, "2.0.0"),
        ("rcpt", 550, "5.7.1"),
    ]


def test_an_unknown_answer_is_told_as_such():
    """A recipient that the report leaves out may have gone: it says that nobody knows."""
    trial = attempt(claim("x@y.example"), "a")
    step = trial.next_step(awake)
    trial.record(Judged.of(step, Report({})), NOW)
    row = settled(trial)[1]["x@y.example"]
    assert (row.said, row.fault, row.maybe_at) == (
        "the upstream's answer for this recipient is not known",
        Fault.UNANSWERED,
        "a",
    )
    assert (row.stage, row.code, row.status) == ("content", 451, "4.3.0")


def test_the_upstream_that_is_waited_for_most_is_asked_last():
    """A recipient that may still fall back to b is waited for, so that b is called once for all of them."""
    message = claim("one@y.example", "two@y.example", "three@y.example")
    one, two, three = (each.address for each in message.recipients)
    chosen = {one: Chosen(1, ("b",), why="r"), two: Chosen(2, ("c", "b"), why="r"), three: Chosen(3, ("a", "b"), why="r")}
    trial = attempt(message, chosen=chosen)
    steps = []
    while step := trial.next_step(awake):
        steps.append((step.upstream.name, len(step.recipients)))
        answer(trial, step, OK if step.upstream.name == "b" else REFUSED)
    assert steps == [("c", 1), ("a", 1), ("b", 3)]


def test_a_notice_has_the_server_and_its_words_for_each_of_many():
    """Also from the sixth on, and not those of `kentaro` for `taro`: nothing is looked for in words."""
    people = [f"r{number}@y.example" for number in range(8)] + ["taro@y.example", "kentaro@y.example"]
    trial = attempt(claim(*people), "a")
    step = trial.next_step(awake)
    answer(trial, step, dict.fromkeys(people, UNKNOWN))
    assert trial.next_step(awake) is None
    settlement, _ = settled(trial, notify=ME)
    told = notified_message(settlement.notices, None, (), lambda *_: judge(UNKNOWN).advice, timedelta(days=5))
    content = compose([told], to=ME, hostname="relay.test", queue_id="q2", now=NOW).content
    assert content.count(b"Remote-MTA: dns; [192.0.2.1]\r\n") == content.count(b"Final-Recipient: ") == len(people)
    assert content.count(b"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n") == len(people)


def test_what_the_relay_decides_is_no_servers_word():
    """Too large for the known limit: the notice says what the relay found, with what can be done, and quotes nobody."""
    trial = attempt(claim("x@y.example", size=2_000_000), "a", sizes={"a": 1_000_000})
    assert trial.next_step(awake) is None
    assert [(step.upstream.name, verdict.rule.faults) for step, verdict in trial.decided] == [("a", {Fault.TOO_BIG})]
    settlement, rows = settled(trial, notify=ME)
    assert (rows["x@y.example"].fault, rows["x@y.example"].quoted) == (Fault.TOO_BIG, False)
    told = notified_message(settlement.notices, None, (), lambda said, _: judge(said).advice, timedelta(days=5))
    notice = compose([told], to=ME, hostname="relay.test", queue_id="q2", now=NOW)
    assert "The relay found: a takes at most 1.0 MB" in notice.text and "said:" not in notice.text
    assert "What to do: " in notice.text and b"Diagnostic-Code: x-relay; a takes at most" in notice.content


def test_who_never_got_through_is_told_of_the_upstreams_trouble():
    """Given up while the only upstream was at rest: the answer that sent it there explains the failure."""
    refused = Answer(Stage.AUTH, Reply(535, "5.7.8", "bad password"))
    trial = attempt(claim("x@y.example", accepted=NOW - timedelta(days=6)), "a")
    assert trial.next_step(lambda *_: Pause(NOW + M, "a rests", failures=9, answer=refused)) is None
    row = settled(trial)[1]["x@y.example"]
    assert (row.state, row.upstream, row.stage, row.code, row.said) == (State.EXPIRED, "a", "auth", 535, "bad password")


def test_an_urgent_notice_names_the_mail_and_what_to_do():
    """A paragraph each: what happened, how many messages wait and which, what a person can do, why, where there is more."""
    refused = Answer(Stage.AUTH, Reply(535, "5.7.8", "bad password"))
    trial = attempt(claim("x@y.example", "z@y.example"), "a")
    step = trial.next_step(awake)
    text = urgent("a", refused, judge(refused), trial.claim.entry, step, until=NOW + 15 * M, others=3)
    what, waits, remedy, why, more = text.split("\n\n")
    assert what == "a rejected the user name or password: 535 5.7.8 bad password"
    assert waits == (
        "4 messages wait; the next try is at 03:15 UTC. "
        "One of them is q1234567890 from nas@lan.example to x@y.example, z@y.example; `relay queue list` shows all."
    )
    assert remedy.startswith("To do: correct `username`") and remedy.endswith("Then run `relay queue retry --all`.")
    assert why.startswith("Why: The upstream does not accept the user name") and more.startswith("More: ")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(Stage.AUTH, Reply(530, "5.7.0", "must issue a STARTTLS")), "a refused the login: 530 "),
        (
            Answer(Stage.MAIL, Reply(553, "5.7.1", "sender address rejected: not owned by user")),
            "a rejected the sender address: ",
        ),
        (Answer(Stage.HELLO, Reply(554, "5.3.2", "closed for repairs")), "a refused at hello: 554 5.3.2 closed"),
        (Answer(Stage.CONNECT, Reply(451, "4.4.1", "nobody answers"), fault=Fault.TIMED_OUT), "a: nobody answers"),
    ],
)
def test_an_urgent_notice_says_what_was_refused(answer, what):
    """Not every refusal is about a password; what the relay found itself is not put into a server's mouth."""
    trial = attempt(claim("x@y.example"), "a")
    text = urgent("a", answer, judge(answer), trial.claim.entry, trial.next_step(awake))
    assert text.startswith(what)
    assert "1 message waits. It is q1234567890 from nas@lan.example to x@y.example." in text


def test_what_is_given_up_waits_for_no_upstream():
    """An upstream is in trouble: who will be tried again waits for it, who was given up does not."""
    away = Answer(Stage.CONNECT, Reply(421, "4.4.1", "cannot connect"), lost=True, fault=Fault.REFUSED)
    for accepted, state, waits in ((NOW, State.QUEUED, True), (NOW - timedelta(days=6), State.EXPIRED, False)):
        trial = attempt(claim("x@y.example", accepted=accepted, attempts=20), "a")
        run(trial, {"a": away})
        assert trial.settle(PLAN, NOW).outcomes[0].state is state
        assert trial.waits is waits
