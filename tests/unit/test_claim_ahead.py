"""What the runner may have next, without asking the file: in turn, and never sure when it might be wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.spool.entry import Claim, Recipient, State
from relay.spool.sqlite.claim_ahead import TOGETHER, ClaimAhead
from tests.support.spooled import an_entry
from tests.support.world import Clock

NOW = Clock()()
SECOND = timedelta(seconds=1)


def a_claim(number: int, *, seconds: int = 0) -> Claim:
    """One that was accepted, and is due, so many seconds from now."""
    accepted = NOW + seconds * SECOND
    entry = replace(an_entry(f"m{number:013d}", accepted), accepted_at=accepted)
    due = tuple(Recipient(address, State.QUEUED, 0, accepted) for address in entry.envelope.forward_paths)
    return Claim(entry, due, number)


@pytest.fixture
def sure() -> ClaimAhead:
    """The file was asked, and had nothing."""
    ahead = ClaimAhead()
    ahead.looking()
    ahead.found([], all_of_them=True, next_due=None)
    return ahead


def test_at_first_nothing_is_known():
    """The file must be asked."""
    assert not ClaimAhead().nothing_due(NOW)


def test_what_arrives_is_handed_out_in_its_turn(sure):
    """Nobody asks the file between two messages."""
    assert sure.arrived(a_claim(1)) == []
    assert sure.arrived(a_claim(2, seconds=1)) == []
    assert sure.take(NOW).lease == 1
    assert sure.take(NOW) is None  # the second one's time has not come
    assert sure.take(NOW + SECOND).lease == 2
    assert sure.nothing_due(NOW + SECOND)


def test_an_earlier_one_sends_all_back_to_be_asked_for(sure):
    """A clock that was set back: what it accepts comes first."""
    later = a_claim(1)
    assert sure.arrived(later) == []
    earlier = a_claim(2, seconds=-60)
    assert sure.arrived(earlier) == [later, earlier]
    assert sure.take(NOW) is None
    assert not sure.nothing_due(NOW)


def test_what_arrives_while_the_file_is_asked_makes_the_answer_doubtful(sure):
    """The answer may have been given before it, and it may have been left out as leased."""
    sure.doubt()
    sure.looking()
    late = a_claim(1)
    assert sure.arrived(late) == [late]
    sure.found([], all_of_them=True, next_due=None)
    assert not sure.nothing_due(NOW)


@pytest.mark.parametrize("happens", [lambda ahead: ahead.doubt_rest(), lambda ahead: ahead.may_be_due(NOW), ClaimAhead.doubt])
def test_what_happens_while_the_file_is_asked_makes_the_answer_doubtful(sure, happens):
    """An order, a lease given back, a medium that failed."""
    sure.looking()
    happens(sure)
    sure.found([], all_of_them=True, next_due=None)
    assert not sure.nothing_due(NOW)


def test_a_lease_given_back_is_due_when_its_message_is(sure):
    """Deferred by a minute: nothing until then."""
    assert sure.may_be_due(NOW + 60 * SECOND)
    assert sure.nothing_due(NOW)
    assert sure.next_due == NOW + 60 * SECOND
    assert not sure.nothing_due(NOW + 60 * SECOND)


def test_a_lease_given_back_before_claims_made_ahead_comes_first(sure):
    """Those are to be given up."""
    assert sure.arrived(a_claim(1, seconds=5)) == []
    assert not sure.may_be_due(NOW)


def test_nothing_overtakes_what_becomes_due_first(sure):
    """A message that waits for ten seconds goes before one that comes in twenty."""
    sure.may_be_due(NOW + 10 * SECOND)
    late = a_claim(1, seconds=20)
    assert sure.arrived(late) == [late]


def test_some_are_made_ahead_not_ten_thousand(sure):
    """The rest stays in the file."""
    kept = [number for number in range(2 * TOGETHER) if sure.arrived(a_claim(number)) == []]
    assert len(kept) == TOGETHER
    assert [sure.take(NOW).lease for _ in kept] == kept
    assert not sure.nothing_due(NOW)


def test_an_answer_that_is_not_all_leads_to_another_question(sure):
    """There are more than were asked for."""
    sure.looking()
    sure.found([a_claim(1)], all_of_them=False, next_due=None)
    assert sure.take(NOW).lease == 1
    assert not sure.nothing_due(NOW)
