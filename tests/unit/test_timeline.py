"""The way of a message as stations on a line."""

from datetime import UTC, datetime
from typing import Any

from relay.control.timeline import advice_of, last_said, repairs_of, way_of, worst_state


def story(*trail: dict[str, Any], states: tuple[str, ...] = ("relayed",), notice: bool = False) -> dict[str, Any]:
    return {
        "accepted_at": "2026-11-22T10:20:30Z",
        "notice": notice,
        "origin": {"client": "192.168.1.9", "helo": "nas"},
        "recipients": [{"address": f"{number}@a.example", "state": state} for number, state in enumerate(states)],
        "trail": list(trail),
    }


def answered(event: str, upstream: str, code: int) -> dict[str, Any]:
    return {"event": event, "text": "", "upstream": upstream, "code": code, "status": "", "said": "lost"}


def drawn(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(station.kind, station.state, station.name) for station in way_of(told)]


def test_a_relayed_message_passes_every_station() -> None:
    """Device, relay, repairs, upstream, recipient, in that order."""
    told = story({"event": "repaired", "repairs": ["added Date", "rewrote 'Mon; 1 Jan'"]}, answered("relayed", "isp", 250))
    assert drawn(told) == [
        ("device", "done", "nas"),
        ("relay", "done", ""),
        ("mended", "done", ""),
        ("upstream", "done", "isp"),
        ("people", "done", "0@a.example"),
    ]
    assert way_of(told)[2].count == 2


def test_who_was_asked_again_is_one_station() -> None:
    """Three attempts at one upstream are counted, and the last answer is the one that is shown."""
    told = story(answered("tried", "isp", 451), answered("tried", "isp", 0), answered("tried", "isp", 421), states=("queued",))
    (station,) = [one for one in way_of(told) if one.kind == "upstream"]
    assert (station.count, station.state, station.note) == (3, "waits", "421")


def test_a_refusal_and_the_next_upstream_are_two_stations() -> None:
    """A chain shows who would not and who did."""
    told = story(answered("tried", "isp", 552), answered("relayed", "gmail", 250))
    assert drawn(told)[2:4] == [("upstream", "failed", "isp"), ("upstream", "done", "gmail")]


def test_what_was_lost_shows_our_words_instead_of_a_code() -> None:
    """Without a reply there is no number to show."""
    told = story(answered("tried", "isp", 0), states=("queued",))
    assert way_of(told)[2].note == "lost"


def test_many_recipients_end_at_one_station_with_the_worst_fate() -> None:
    """Whoever did not get it is what a person must know first."""
    last = way_of(story(states=("relayed", "failed", "queued")))[-1]
    assert (last.state, last.name, last.note, last.count) == ("failed", "", "failed", 3)


def test_a_notice_comes_from_no_device() -> None:
    """Our own DSN is not drawn as somebody's NAS."""
    assert way_of(story(notice=True))[0].kind == "notice"


def test_a_device_without_a_name_is_its_address() -> None:
    """Who says no HELO is known by where it is."""
    told = story()
    told["origin"]["helo"] = ""
    assert way_of(told)[0].name == "192.168.1.9"


def test_the_worst_state_counts() -> None:
    """Failed before expired before held before queued before relayed."""
    order = ["failed", "expired", "held", "queued", "relayed"]
    for number, state in enumerate(order):
        assert worst_state([{"state": one} for one in reversed(order[number:])]) == state


def test_each_repair_is_told_once() -> None:
    """Repairs are made anew at each attempt; people hear of them once."""
    lines = [{"event": "repaired", "repairs": ["added Date", "a; b"]}, {"event": "repaired", "repairs": ["added Date", "c"]}]
    assert repairs_of(lines) == ["added Date", "a; b", "c"]


def test_advice_ends_with_success() -> None:
    """What was advised before a message went out after all need not be done."""
    advised, relayed = {"event": "advised", "text": "log in"}, {"event": "relayed", "text": "ok"}
    assert advice_of([advised]) is advised
    assert advice_of([advised, relayed]) is None
    assert advice_of([relayed, advised]) is advised
    assert advice_of([]) is None


def test_an_old_pause_is_not_what_was_said_last() -> None:
    """It waited for a resting upstream and is due again: what was stored then is over; an answer stays."""
    now = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
    rests = {"state": "queued", "fault": "rests", "said": "isp is paused until 08:59", "due_at": "2026-11-30T08:59:00Z"}
    assert last_said(rests, now) == ""
    assert last_said({**rests, "due_at": "2026-11-30T09:01:00Z"}, now) == rests["said"]
    assert last_said({**rests, "state": "expired"}, now) == rests["said"]
    assert last_said({**rests, "fault": "", "said": "450 later"}, now) == "450 later"
