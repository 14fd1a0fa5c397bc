"""One attempt: which upstream next, what the answers make of each recipient, what is settled."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.mail.address import Address, parse_address
from relay.mail.device import Device
from relay.mail.envelope import Envelope, Origin
from relay.mail.reply import Answer, Fault, Reply, Stage
from relay.mail.rewrite import Identity, Rewrite
from relay.outbound.attempt import Attempt
from relay.outbound.chain import Judged, Pause
from relay.outbound.replies import judge
from relay.outbound.retry import RetrySchedule
from relay.outbound.routing import Chosen
from relay.outbound.trail import words
from relay.spool.entry import Claim, Entry, NoticeKind, Recipient, State
from relay.upstream.report import Conversation, Report, TlsPolicy
from relay.upstream.settings import DIRECT, DIRECT_UPSTREAM, Limits, SmtpServer, Upstream

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
M = timedelta(minutes=1)
PLAN = RetrySchedule()
ME = Address("me", "example.jp")

OK = Answer(Stage.CONTENT, Reply(250, "2.0.0", "taken"))
REFUSED = Answer(Stage.CONNECT, Reply(421, "4.4.1", "connection refused"), lost=True)
LOST_AT_END = Answer(Stage.CONTENT, Reply(421, "4.4.2", "the line was lost"), lost=True)
UNKNOWN = Answer(Stage.RCPT, Reply(550, "5.1.1", "no such user"))
SENDERHOSTS = Answer(Stage.MAIL, Reply.of(552, "sorry, your domain isn't in my list of allowed senderhosts (#5.7.1)"))
LATER = Answer(Stage.RCPT, Reply(450, "4.2.0", "greylisted"))
SHUT = Answer(Stage.MAIL, Reply(421, "4.3.2", "shutting down"))
SENDER_LATER = Answer(Stage.MAIL, Reply(451, "4.3.0", "try later"))


def upstream(name, **settings):
    identity = Identity(parse_address(f"account@{name}.example"))
    return Upstream(name, SmtpServer(f"mail.{name}.example"), **{"identity": identity, **settings})


def claim(*names, sender="nas@lan.example", accepted=NOW, warned=False, attempts=0, via="", size=100):
    paths = tuple(parse_address(name) for name in names)
    path = parse_address(sender) if sender else None
    entry = Entry("q1234567890", accepted, Origin("192.168.0.7"), Envelope(path, paths), size, [b"x"])
    rows = tuple(Recipient(each, State.QUEUED, attempts, NOW, via=via) for each in paths)
    return Claim(entry, rows, 1, warned=warned)


def attempt(claim, *via, upstreams=None, chosen=None, **more):
    known = {name: upstream(name) for name in ("a", "b", "c")} if upstreams is None else upstreams
    default = Chosen(1, via, why="rule 1: everything")
    chosen = chosen or {each.address: default for each in claim.recipients}
    return Attempt(claim, chosen, known, **{"now": NOW, **more})


def awake(name, recipient):
    return None


def answer(trial, step, said):
    """Records one answer for all recipients of a step, or one for each address."""
    answers = said if isinstance(said, dict) else {str(each.address): said for each in step.recipients}
    report = Report(
        {each.address: answers[str(each.address)] for each in step.recipients}, Conversation("192.0.2.1:587", took=0.2)
    )
    trial.record(Judged.of(step, report), NOW)


def run(trial, said):
    """Goes through the attempt with what each upstream says; the names in the order of the calls."""
    called = []
    while step := trial.next_step(awake):
        called.append(step.upstream.name + ("*" if step.own_name else ""))
        answer(trial, step, said[called[-1]])
    return called


def settled(trial, **more):
    settlement = trial.settle(PLAN, NOW, **more)
    return settlement, {str(each.address): each for each in settlement.outcomes}


def test_a_message_taken_is_relayed_with_the_upstreams_own_words():
    """A 250 ends it: state, upstream, stage, code and words are kept, the quota is counted, the trail tells."""
    trial = attempt(claim("x@y.example"), "a", "b")
    assert run(trial, {"a": OK}) == ["a"]
    settlement, rows = settled(trial)
    row = rows["x@y.example"]
    assert (row.state, row.upstream, row.stage, row.code, row.said) == (State.RELAYED, "a", "content", 250, "taken")
    assert settlement.sent == "a"
    told = [words(line) for line in settlement.trail]
    assert told[0] == "x@y.example: by a, else b (rule 1: everything)"
    assert told[1] == "a (192.0.2.1:587) took it for x@y.example in 0.2 s: 250 2.0.0 taken"


def test_trouble_of_the_first_sends_it_by_the_second():
    """The first upstream cannot, the second takes it; the trail says why the first did not."""
    trial = attempt(claim("x@y.example"), "a", "b")
    assert run(trial, {"a": REFUSED, "b": OK}) == ["a", "b"]
    settlement, rows = settled(trial)
    assert rows["x@y.example"].state is State.RELAYED and rows["x@y.example"].upstream == "b"
    assert any("connection refused" in words(line) for line in settlement.trail)


def test_refusal_by_all_fails_and_makes_one_notice():
    """Every upstream of the chain refused this recipient: failed, with a notice for whom it concerns."""
    trial = attempt(claim("x@y.example"), "a", "b")
    run(trial, {"a": UNKNOWN, "b": UNKNOWN})
    settlement, rows = settled(trial, notify=ME)
    assert rows["x@y.example"].state is State.FAILED
    assert [(notice.kind, notice.notify) for notice in settlement.notices] == [(NoticeKind.FAILED, ME)]


def test_refusal_by_one_and_trouble_of_another_only_defers():
    """As long as one upstream of the chain was merely in trouble, nothing has failed; its words are shown."""
    trial = attempt(claim("x@y.example"), "a", "b")
    run(trial, {"a": REFUSED, "b": UNKNOWN})
    settlement, rows = settled(trial, notify=ME)
    row = rows["x@y.example"]
    assert (row.state, row.attempts, row.upstream) == (State.QUEUED, 1, "a")
    assert M <= row.due_at - NOW <= 1.1 * M
    assert settlement.notices == ()


def test_after_a_lost_final_reply_no_other_upstream_is_asked():
    """Perhaps it was delivered: deferred, by whom is kept, nobody else is asked."""
    trial = attempt(claim("x@y.example"), "a", "b")
    assert run(trial, {"a": LOST_AT_END}) == ["a"]
    settlement, rows = settled(trial)
    row = rows["x@y.example"]
    assert (row.state, row.maybe_at, row.maybe_since, row.said) == (State.QUEUED, "a", NOW, "the line was lost")
    assert any("uncertain for x@y.example, the final reply was lost" in words(line) for line in settlement.trail)
    assert words(settlement.trail[-1]).endswith("; only by a, which may have taken it")


def after_a_lost_reply(later=timedelta(0), *said, **more):
    """The next attempt at a message that `b` may have taken; the rule says a, else b, else c.

    It is made `later`, after attempts at which `b` said this and that.
    """
    this = claim("x@y.example", **more)
    for each in (LOST_AT_END, *said):
        trial = attempt(this, *(("a", "b", "c") if this.recipients[0].maybe_at else ("b",)))
        assert run(trial, {"b": each}) == ["b"]
        this = replace(this, recipients=(settled(trial)[1]["x@y.example"],))
    return attempt(this, "a", "b", "c", now=NOW + later)


def test_who_may_have_taken_it_is_asked_first_and_alone():
    """After a lost final reply the next attempt goes to the same upstream, though another stands before it; nobody else."""
    trial = after_a_lost_reply()
    assert run(trial, {"b": LATER}) == ["b"]
    assert settled(trial)[1]["x@y.example"].state is State.QUEUED


def test_who_refuses_it_for_good_has_not_taken_it():
    """When that upstream says no for good, the others are asked; failed only if they all say so."""
    trial = after_a_lost_reply()
    assert run(trial, {"b": UNKNOWN, "a": UNKNOWN, "c": OK}) == ["b", "a", "c"]
    assert settled(trial)[1]["x@y.example"].state is State.RELAYED


@pytest.mark.parametrize("said", [REFUSED, LATER, SHUT, SENDER_LATER, LOST_AT_END], ids=str)
def test_whatever_it_says_next_nobody_else_is_asked(said):
    """Refused connection, 421, 450, 451, lost again: all of it leaves the question open, for hours; also for old mail."""
    trial = after_a_lost_reply(timedelta(hours=3, minutes=59), said, said, accepted=NOW - timedelta(days=1))
    assert run(trial, {"b": said}) == ["b"]
    row = settled(trial)[1]["x@y.example"]
    assert (row.state, row.maybe_at, row.maybe_since) == (State.QUEUED, "b", NOW)


def test_after_long_enough_another_may_take_it_and_the_trail_says_so():
    """`warn_after` after the reply was lost it is asked first, but no longer alone."""
    trial = after_a_lost_reply(timedelta(hours=4), LATER)
    assert run(trial, {"b": LATER, "a": OK}) == ["b", "a"]
    settlement, rows = settled(trial)
    assert (rows["x@y.example"].state, rows["x@y.example"].maybe_at) == (State.RELAYED, "")
    assert [words(line) for line in settlement.trail if line.event == "warned"] == [
        "b may have taken this message at 2026-11-22 03:00:00 UTC; it has waited for that long enough, so it goes by a now,"
        " and x@y.example may get it twice"
    ]


@pytest.mark.parametrize("known", [False, True])
def test_the_same_one_that_takes_it_again_may_double_it_unless_it_knew_it(known):
    """A folder that finds all of its files again has them once; nobody gets them twice."""
    trial = after_a_lost_reply()
    run(trial, {"b": replace(OK, known=known)})
    told = [words(line) for line in settled(trial)[0].trail if line.event == "warned"]
    again = "b may have taken this message at 2026-11-22 03:00:00 UTC; it was asked again, and x@y.example may get it twice"
    assert told == [again] * (not known)


def test_another_that_knows_it_has_it_beside_the_one_that_may_have_taken_it():
    """What one upstream knows says nothing of the other."""
    trial = after_a_lost_reply(timedelta(hours=4), LATER)
    run(trial, {"b": LATER, "a": replace(OK, known=True)})
    assert [line.details["maybe_at"] for line in settled(trial)[0].trail if line.event == "warned"] == ["b"]


def test_who_loses_its_reply_again_and_again_comes_last():
    """A server that takes each copy and never says so must not get another one before somebody else is asked."""
    assert run(after_a_lost_reply(timedelta(hours=4), LOST_AT_END), {"a": LATER, "c": OK}) == ["a", "c"]


def test_it_is_looked_at_again_as_soon_as_another_may_take_it():
    """Not hours later, by the delay of its schedule."""
    trial = after_a_lost_reply(timedelta(hours=3), *[LATER] * 6)
    run(trial, {"b": LATER})
    assert settled(trial)[1]["x@y.example"].due_at == NOW + timedelta(hours=4)


def test_an_order_comes_before_the_wait_and_the_trail_tells_the_risk():
    """Who names another upstream gets it, once told; who names the same one changes nothing."""
    this = after_a_lost_reply().claim
    trial = attempt(replace(this, recipients=(replace(this.recipients[0], via="c"),)), "a", "b")
    assert run(trial, {"c": OK}) == ["c"]
    told = [words(line) for line in settled(trial)[0].trail if line.event == "warned"]
    assert len(told) == 1 and "an operator ordered it, so it goes by c now, and x@y.example may get it twice" in told[0]
    trial = attempt(replace(this, recipients=(replace(this.recipients[0], via="b"),)), "a", "b")
    assert run(trial, {"b": LATER}) == ["b"]
    assert settled(trial)[1]["x@y.example"].maybe_at == "b"


def test_it_waits_also_where_the_rules_name_that_upstream_no_more():
    """A changed rule does not say that it was not taken: asked alone; gone from the configuration: nobody, for a while."""
    row = after_a_lost_reply().claim
    assert run(attempt(row, "a"), {"b": LATER}) == ["b"]
    gone = attempt(row, "a", upstreams={"a": upstream("a")})
    assert run(gone, {}) == []
    after = settled(gone)[1]["x@y.example"]
    assert (after.state, after.maybe_at) == (State.QUEUED, "b") and "b, which may have taken" in after.said
    late = attempt(replace(row, recipients=(after,)), "a", upstreams={"a": upstream("a")}, now=NOW + timedelta(hours=4))
    assert run(late, {"a": OK}) == ["a"]


def test_a_rule_that_drops_the_message_needs_no_certainty():
    """Nobody gets it twice who gets it no more."""
    this = after_a_lost_reply().claim
    trial = attempt(this, chosen={each.address: Chosen(1, discard=True, why="rule 1") for each in this.recipients})
    assert run(trial, {}) == []
    assert settled(trial)[1]["x@y.example"].state is State.RELAYED


def test_while_who_may_have_taken_it_rests_nobody_is_asked():
    """It waits for the one upstream, with the words kept that say why."""
    trial = after_a_lost_reply()
    pauses = {"b": Pause(NOW + 5 * M, "b rests")}
    assert trial.next_step(lambda name, recipient: pauses.get(name)) is None
    row = settled(trial)[1]["x@y.example"]
    assert (row.state, row.attempts, row.maybe_at) == (State.QUEUED, 1, "b")


def test_an_answer_that_is_missing_counts_as_uncertain():
    """A recipient of whom the report says nothing may have been delivered: nobody else is asked."""
    trial = attempt(claim("x@y.example"), "a", "b")
    step = trial.next_step(awake)
    trial.record(Judged.of(step, Report({})), NOW)
    assert trial.next_step(awake) is None
    assert settled(trial)[1]["x@y.example"].state is State.QUEUED


def test_a_refused_sender_goes_once_more_in_the_accounts_own_name():
    """The same upstream, in its own name, at once; it is remembered for the next message, and told."""
    trial = attempt(claim("x@y.example"), "a", "b")
    assert run(trial, {"a": SENDERHOSTS, "a*": OK}) == ["a", "a*"]
    settlement, rows = settled(trial)
    assert rows["x@y.example"].state is State.RELAYED
    assert settlement.refused_sender == ("a", "nas@lan.example")
    assert any("own name" in words(line) for line in settlement.trail)


def test_an_own_name_that_is_not_taken_is_not_remembered():
    """Refused for something else, or put off: the next message of that sender is tried as it is."""
    for said in (SENDERHOSTS, UNKNOWN, LATER):
        trial = attempt(claim("x@y.example"), "a")
        assert run(trial, {"a": SENDERHOSTS, "a*": said}) == ["a", "a*"]
        assert settled(trial)[0].refused_sender is None


def test_the_own_name_is_not_tried_where_the_first_try_said_it_already():
    """The same octets would get the same answer."""
    trial = attempt(claim("x@y.example"), "a", "b")
    step = trial.next_step(awake)
    trial.record(Judged.of(step, Report({each.address: SENDERHOSTS for each in step.recipients})), NOW, own=True)
    assert run(trial, {"b": OK}) == ["b"]


def test_the_own_name_is_tried_once_only():
    """Refused in its own name too: the next upstream, and nothing has failed."""
    trial = attempt(claim("x@y.example"), "a", "b")
    assert run(trial, {"a": SENDERHOSTS, "a*": SENDERHOSTS, "b": LATER}) == ["a", "a*", "b"]
    assert settled(trial)[1]["x@y.example"].state is State.QUEUED


def test_a_remembered_refusal_goes_right_at_once():
    """The second message of that sender goes in the account's own name without asking first."""
    trial = attempt(claim("x@y.example"), "a", refused_senders=frozenset({("a", "nas@lan.example")}))
    assert run(trial, {"a*": OK}) == ["a*"]


def test_the_refusal_of_a_device_s_own_sender_is_remembered_for_that_device():
    """Another one that writes the same reverse-path is not concerned."""
    first, second = (Device(name, sender=parse_address(f"{name}@a.example")) for name in ("pve1", "pve2"))
    trial = attempt(claim("x@y.example"), "a", device=first)
    assert run(trial, {"a": SENDERHOSTS, "a*": OK}) == ["a", "a*"]
    refused = settled(trial)[0].refused_sender
    assert refused == ("a", "pve1@a.example")
    for device, called in ((first, "a*"), (second, "a"), (None, "a")):
        assert run(attempt(claim("x@y.example"), "a", device=device, refused_senders=frozenset({refused})), {called: OK}) == [
            called
        ]


def test_rewrite_never_means_never():
    """Where rewriting is forbidden, a refused sender goes to the next upstream as it is."""
    strict = upstream("a", identity=Identity(ME, rewrite=Rewrite.NEVER))
    trial = attempt(claim("x@y.example"), "a", "b", upstreams={"a": strict, "b": upstream("b")})
    assert run(trial, {"a": SENDERHOSTS, "b": OK}) == ["a", "b"]


def test_the_null_reverse_path_gets_no_own_name():
    """A bounce is never sent in a person's name; a notice of our own may be."""
    bounce = claim("x@y.example", sender="")
    assert run(attempt(bounce, "a"), {"a": SENDERHOSTS}) == ["a"]
    ours = replace(bounce, entry=replace(bounce.entry, notice=True))
    assert run(attempt(ours, "a"), {"a": SENDERHOSTS, "a*": OK}) == ["a", "a*"]


def test_thirty_recipients_three_upstreams_one_refused_are_three_transactions():
    """Recipients that share an upstream share its transaction, each with a fate of its own."""
    names = [f"r{number}@{'xyz'[number % 3]}.example" for number in range(30)]
    message = claim(*names)
    via = {"x": ("a",), "y": ("b",), "z": ("c",)}
    chosen = {each.address: Chosen(1, via[each.address.domain[0]], why="rule") for each in message.recipients}
    trial = attempt(message, chosen=chosen)
    steps = []
    while step := trial.next_step(awake):
        steps.append(step)
        answer(trial, step, {str(e.address): UNKNOWN if str(e.address) == names[4] else OK for e in step.recipients})
    settlement, rows = settled(trial, notify=ME)
    assert [len(step.recipients) for step in steps] == [10, 10, 10]
    assert [name for name in names if rows[name].state is State.FAILED] == [names[4]]
    assert sum(row.state is State.RELAYED for row in rows.values()) == 29
    assert len(settlement.notices) == 1


def test_those_that_fall_back_share_the_transaction_of_those_that_begin_there():
    """One recipient goes by b, the other by a and then b: a is asked first, then b once for both."""
    message = claim("one@y.example", "two@y.example")
    one, two = (each.address for each in message.recipients)
    trial = attempt(message, chosen={one: Chosen(1, ("b",), why="r"), two: Chosen(2, ("a", "b"), why="r")})
    assert run(trial, {"a": REFUSED, "b": OK}) == ["a", "b"]


def test_each_step_is_settled_on_its_own():
    """What is certain after the first step is settled before the second, and only once."""
    message = claim("one@y.example", "two@y.example")
    one, two = (each.address for each in message.recipients)
    trial = attempt(message, chosen={one: Chosen(1, ("a",), why="r"), two: Chosen(2, ("b",), why="r")})
    answer(trial, trial.next_step(awake), OK)
    assert set(settled(trial)[1]) == {"one@y.example"}
    answer(trial, trial.next_step(awake), LATER)
    trial.next_step(awake)
    assert set(settled(trial)[1]) == {"two@y.example"}
    assert settled(trial)[1] == {}


def test_when_all_rest_the_attempt_is_not_counted():
    """Due when the first wakes; the number of attempts stays; the reason is shown."""
    trial = attempt(claim("x@y.example"), "a", "b")
    rests = {"a": Pause(NOW + 9 * M, "a rests"), "b": Pause(NOW + 4 * M, "b rests: refused")}
    assert trial.next_step(lambda name, recipient: rests[name]) is None
    row = settled(trial)[1]["x@y.example"]
    assert (row.state, row.attempts, row.said) == (State.QUEUED, 0, "b rests: refused")
    assert 4 * M <= row.due_at - NOW <= 4 * M + timedelta(seconds=5)


def test_the_next_attempt_counts_the_rest_of_the_upstream():
    """What sent it to rest for longer than the delay is known: the time that is shown is the time of the next attempt."""
    trial = attempt(claim("x@y.example"), "a")
    rests = {}
    step = trial.next_step(lambda name, recipient: rests.get(name))
    rests["a"] = Pause(NOW + 15 * M, "a rests")
    answer(trial, step, Answer(Stage.AUTH, Reply(535, "5.7.8", "no")))
    assert trial.next_step(lambda name, recipient: rests.get(name)) is None
    settlement, rows = settled(trial)
    assert rows["x@y.example"].due_at == NOW + 15 * M
    assert words(settlement.trail[-1]) == (
        "x@y.example: next attempt at 2026-11-22 03:15:00 UTC, a is paused until then (535 5.7.8 no)"
    )


def test_who_finds_everybody_at_rest_is_told_why_once():
    """The answer that another message got is there to be explained; what it waits for is no server's word to it."""
    trial = attempt(claim("x@y.example", "z@y.example"), "a")
    refused = Answer(Stage.AUTH, Reply(535, "5.7.8", "no"))
    assert trial.next_step(lambda name, recipient: Pause(NOW + M, "a rests: no", answer=refused)) is None
    assert [(step.upstream.name, verdict) for step, verdict in trial.decided] == [("a", judge(refused))]
    row = settled(trial)[1]["x@y.example"]
    assert (row.said, row.fault, row.quoted) == ("a rests: no", Fault.RESTS, False)


def test_a_resting_upstream_is_skipped():
    """The first rests, so the second takes the mail; the trail says why it was not the first."""
    trial = attempt(claim("x@y.example"), "a", "b")
    step = trial.next_step(lambda name, recipient: Pause(NOW + M, "a rests") if name == "a" else None)
    assert step.upstream.name == "b"
    answer(trial, step, OK)
    line = settled(trial)[0].trail[-1]
    assert words(line) == "b (192.0.2.1:587) took it for x@y.example in 0.2 s: 250 2.0.0 taken [a rests]"


def test_who_was_called_after_its_rest_is_not_said_to_rest():
    """It rested when the message came, and took it in the end."""
    trial = attempt(claim("x@y.example"), "a", "b")
    step = trial.next_step(lambda name, recipient: Pause(NOW + M, "a rests") if name == "a" else None)
    answer(trial, step, REFUSED)
    answer(trial, trial.next_step(awake), OK)
    assert words(settled(trial)[0].trail[-1]).endswith("250 2.0.0 taken")


def test_the_times_of_the_trail_go_forward():
    """What is repaired for the second upstream is noted after the first one's answer."""
    trial = attempt(claim("x@y.example"), "a", "b")
    for minutes, said in enumerate((REFUSED, OK), 1):
        step = trial.next_step(awake)
        report = Report({each.address: said for each in step.recipients}, Conversation())
        trial.record(Judged.of(step, report), NOW + minutes * M, notes=(f"note for {step.upstream.name}",))
    trail = settled(trial)[0].trail
    assert [line.event for line in trail] == ["repaired", "routed", "tried", "repaired", "relayed"]
    assert [line.at for line in trail] == sorted(line.at for line in trail)


def test_a_pause_that_does_not_divert_waits():
    """A slow upstream's mail waits for it instead of flooding the next in the chain."""
    trial = attempt(claim("x@y.example"), "a", "b")
    slow = Pause(NOW + M, "a is slow", divert=False)
    assert trial.next_step(lambda name, recipient: slow if name == "a" else None) is None
    assert settled(trial)[1]["x@y.example"].attempts == 0


def test_a_waiting_message_keeps_the_words_of_the_last_answer():
    """What a server said before is not overwritten by our waiting."""
    message = claim("x@y.example")
    row = replace(message.recipients[0], attempts=2, code=450, said="greylisted", upstream="a")
    trial = attempt(replace(message, recipients=(row,)), "a")
    trial.next_step(lambda name, recipient: Pause(NOW + M, "a rests"))
    after = settled(trial)[1]["x@y.example"]
    assert (after.said, after.code, after.attempts) == ("greylisted", 450, 2)


def test_old_age_expires():
    """After five days and enough attempts the next deferral is the last; a notice says so."""
    trial = attempt(claim("x@y.example", accepted=NOW - timedelta(days=5), attempts=7), "a")
    run(trial, {"a": LATER})
    settlement, rows = settled(trial, notify=ME)
    assert rows["x@y.example"].state is State.EXPIRED
    assert [notice.kind for notice in settlement.notices] == [NoticeKind.FAILED]


def test_old_age_expires_also_while_everybody_rests():
    """An upstream that failed again and again proves that the time has passed; a single rest does not."""
    for failures, state in ((7, State.EXPIRED), (1, State.QUEUED)):
        trial = attempt(claim("x@y.example", accepted=NOW - timedelta(days=6)), "a")
        trial.next_step(lambda name, recipient, n=failures: Pause(NOW + M, "a rests", failures=n))
        assert settled(trial)[1]["x@y.example"].state is state


def test_fresh_mail_survives_a_clock_that_jumps():
    """A message that looks fifty years old after its first attempt is deferred, not given up."""
    trial = attempt(claim("x@y.example", accepted=datetime(1976, 1, 1, tzinfo=UTC)), "a")
    run(trial, {"a": LATER})
    assert settled(trial)[1]["x@y.example"].state is State.QUEUED


def test_the_delay_warning_goes_once():
    """After four hours one warning for what still waits; not again for a message that had it."""
    late = NOW - timedelta(hours=5)
    trial = attempt(claim("x@y.example", accepted=late), "a")
    run(trial, {"a": LATER})
    settlement, _ = settled(trial, notify=ME)
    assert settlement.warned and [notice.kind for notice in settlement.notices] == [NoticeKind.DELAYED]
    again = attempt(claim("x@y.example", accepted=late, warned=True), "a")
    run(again, {"a": LATER})
    settlement, _ = settled(again, notify=ME)
    assert not settlement.warned and settlement.notices == ()


def test_nobody_to_tell_is_told_nothing():
    """Without someone to notify there is no notice, and no claim that one went."""
    trial = attempt(claim("x@y.example", accepted=NOW - timedelta(hours=5)), "a")
    run(trial, {"a": LATER})
    settlement, _ = settled(trial)
    assert settlement.notices == () and not settlement.warned


def test_reject_and_discard_rules_act_on_queued_mail():
    """The configuration changed: a discarded recipient is relayed to nowhere, a rejected one fails with the rule's text."""
    message = claim("one@y.example", "two@y.example")
    one, two = (each.address for each in message.recipients)
    trial = attempt(message, chosen={one: Chosen(3, discard=True, why="rule 3"), two: Chosen(4, reject="not here", why="r")})
    assert trial.next_step(awake) is None
    _, rows = settled(trial)
    assert (rows["one@y.example"].state, rows["one@y.example"].said) == (State.RELAYED, "discarded by rule 3")
    assert (rows["two@y.example"].state, rows["two@y.example"].said) == (State.FAILED, "not here")


def test_what_the_configuration_does_not_know_is_deferred_in_plain_words():
    """No rule, or an upstream that is gone: the mail waits for a mended configuration."""
    for chosen, told in ((Chosen(0, why="no rule matches x"), "no rule matches"), (Chosen(1, ("gone",), why="r"), "gone")):
        message = claim("x@y.example")
        trial = attempt(message, chosen={message.recipients[0].address: chosen})
        assert trial.next_step(awake) is None
        row = settled(trial)[1]["x@y.example"]
        assert row.state is State.QUEUED and told in row.said


def test_an_operators_order_overrides_the_routes():
    """Released by another upstream: only that one, whatever the rules say."""
    message = claim("x@y.example", via="c")
    trial = attempt(message, chosen={message.recipients[0].address: Chosen(1, reject="no", why="r")})
    assert run(trial, {"c": OK}) == ["c"]


def test_a_message_too_big_for_an_upstream_goes_by_another():
    """A known limit counts as that upstream's refusal; if all are too small, it has failed with the size in words."""
    small = {"a": upstream("a", limits=Limits(message=1000)), "b": upstream("b")}
    trial = attempt(claim("x@y.example", size=2000), "a", "b", upstreams=small)
    assert run(trial, {"b": OK}) == ["b"]
    trial = attempt(claim("x@y.example", size=2000), "a", "b", upstreams=small, sizes={"b": 1500})
    assert run(trial, {}) == []
    row = settled(trial)[1]["x@y.example"]
    assert (row.state, row.code, row.status) == (State.FAILED, 552, "5.3.4")


def test_a_surprise_defers_what_is_not_certain_and_keeps_what_is():
    """Our own bug after a 250 for one recipient: that one stays relayed, the other is tried again; later it is held."""
    for hold, state in ((False, State.QUEUED), (True, State.HELD)):
        message = claim("one@y.example", "two@y.example")
        one, two = (each.address for each in message.recipients)
        trial = attempt(message, chosen={one: Chosen(1, ("a",), why="r"), two: Chosen(2, ("b",), why="r")})
        answer(trial, trial.next_step(awake), OK)
        trial.internal_error("internal error: boom", hold=hold)
        _, rows = settled(trial)
        assert rows["one@y.example"].state is State.RELAYED
        assert (rows["two@y.example"].state, rows["two@y.example"].status) == (state, "4.3.0")


def test_a_quota_does_not_hide_another_upstreams_failures():
    """One waits for its quota, the other failed fifty times: after five days it is over."""
    trial = attempt(claim("x@y.example", accepted=NOW - timedelta(days=6)), "a", "b")
    pauses = {"a": Pause(NOW + M, "the limit of a is reached"), "b": Pause(NOW + M, "b rests", failures=50)}
    assert trial.next_step(lambda name, recipient: pauses[name]) is None
    _, rows = settled(trial)
    assert rows["x@y.example"].state is State.EXPIRED


def test_old_mail_that_was_seen_to_wait_for_a_quota_expires():
    """A month of quota pauses is a month; but who has not seen it wait does not believe the clock."""
    for waited, state in ((timedelta(days=30), State.EXPIRED), (timedelta(hours=1), State.QUEUED)):
        trial = attempt(claim("x@y.example", accepted=NOW - timedelta(days=30)), "a", waited=waited)
        assert trial.next_step(lambda name, recipient: Pause(NOW + M, "the limit of a is reached")) is None
        _, rows = settled(trial)
        assert rows["x@y.example"].state is state


def test_those_left_out_of_a_transaction_go_in_the_next():
    """A transaction answers for two of three: they are settled, and the third gets a step of its own with the same upstream."""
    trial = attempt(claim("x@y.example", "y@y.example", "z@y.example"), "a", "b")
    step = trial.next_step(awake)
    addresses = [each.address for each in step.recipients]
    trial.record(Judged.of(step, Report(dict.fromkeys(addresses[:2], OK), left=tuple(addresses[2:]))), NOW)
    assert [str(each.address) for each in settled(trial)[0].outcomes] == ["x@y.example", "y@y.example"]
    step = trial.next_step(awake)
    assert step.upstream.name == "a" and [str(each.address) for each in step.recipients] == ["z@y.example"]


def test_direct_delivery_is_one_step_for_each_domain():
    """Recipients of one domain share a transaction by `mx`; another domain has its own."""
    names = ["a@one.example", "b@two.example", "c@ONE.example"]
    trial = attempt(claim(*names), DIRECT, upstreams={DIRECT: DIRECT_UPSTREAM})
    steps = []
    while step := trial.next_step(awake):
        steps.append([str(each.address) for each in step.recipients])
        answer(trial, step, OK)
    assert steps == [["a@one.example", "c@ONE.example"], ["b@two.example"]]


def test_the_trail_tells_repairs_then_the_route_then_who_was_tried():
    """In the order of the story: what was mended, which rule sends it where, who was called, the end."""
    trial = attempt(
        claim("x@y.example", size=2_000),
        "small",
        "a",
        upstreams={
            "small": upstream("small", limits=Limits(message=1_000)),
            "a": upstream("a"),
        },
    )
    step = trial.next_step(awake)
    trial.record(Judged.of(step, Report({each.address: LATER for each in step.recipients})), NOW + M, notes=("Date added",))
    assert trial.next_step(awake) is None
    settlement, _ = settled(trial)
    assert [line.event for line in settlement.trail] == ["repaired", "routed", "tried", "tried", "deferred"]
    assert [line.at for line in settlement.trail][:3] == [NOW] * 3


def test_the_route_is_told_also_when_nobody_is_called():
    """Everybody rests: the trail has the rule and why it waits."""
    trial = attempt(claim("x@y.example"), "a")
    assert trial.next_step(lambda name, recipient: Pause(NOW + M, "a rests")) is None
    assert [line.event for line in settled(trial)[0].trail] == ["routed", "deferred"]


def test_greylisting_waits_by_its_words():
    """The next attempt is when the server said, not when the schedule would have it."""
    for said, least, most in (("Greylisted, come back in 5 minutes", 5 * M, 6 * M), ("greylisted", M, 1.2 * M)):
        trial = attempt(claim("x@y.example"), "a")
        run(trial, {"a": Answer(Stage.RCPT, Reply(450, "4.2.0", said))})
        (outcome,) = settled(trial)[0].outcomes
        assert least <= outcome.due_at - NOW <= most


TLS_TOLD = [
    (TlsPolicy.OPPORTUNISTIC, "TLSv1.3", False, None, OK, "relayed", ""),
    (TlsPolicy.OPPORTUNISTIC, "", False, Fault.NO_STARTTLS, OK, "relayed", " [sent in clear: it offers no STARTTLS]"),
    (TlsPolicy.STS, "TLSv1.3", True, None, OK, "relayed", " [certificate verified, as MTA-STS demands]"),
    (TlsPolicy.DANE, "TLSv1.3", True, None, OK, "relayed", " [certificate verified, as DANE demands]"),
    (TlsPolicy.VERIFIED, "TLSv1.3", True, None, OK, "relayed", " [certificate verified]"),
    (
        TlsPolicy.STS_TESTING,
        "TLSv1.3",
        False,
        Fault.TLS_NAME,
        OK,
        "relayed",
        " [sent all the same, as the domain's MTA-STS policy only tests: its certificate is for another name]",
    ),
    (TlsPolicy.STS, "", False, Fault.TLS_NAME, Answer(Stage.TLS, Reply(454, "4.7.5", "no"), True, Fault.STS), "tried", ""),
]


@pytest.mark.parametrize(("policy", "tls", "verified", "fault", "said", "event", "text"), TLS_TOLD)
def test_the_trail_tells_why_tls_was_as_it_was(policy, tls, verified, fault, said, event, text):
    """As facts, and as a sentence where there is something to say."""
    trial = attempt(claim("x@y.example"), "a")
    step = trial.next_step(awake)
    conversation = Conversation("192.0.2.1:25", tls, tls_policy=policy, tls_verified=verified, tls_fault=fault)
    trial.record(Judged.of(step, Report({step.recipients[0].address: said}, conversation)), NOW)
    (line,) = [line for line in trial.trail if line.event == event]
    facts = {key: line.details[key] for key in ("tls", "tls_policy", "tls_verified", "tls_fault")}
    expected = {"tls": tls, "tls_policy": policy.value, "tls_verified": verified, "tls_fault": fault.value if fault else ""}
    assert facts == expected
    assert words(line).endswith(text) and ("[" in words(line)) == bool(text)


def test_an_upstream_that_somebody_has_configured_needs_no_reason_for_its_tls():
    """Its trail lines have no such facts."""
    trial = attempt(claim("x@y.example"), "a")
    run(trial, {"a": OK})
    assert not [key for line in trial.trail for key in line.details if key.startswith("tls_")]
