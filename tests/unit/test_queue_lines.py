"""What `relay queue list` says of mail that waits for a paused upstream."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relay.cli.queue import _lines, _paused


def today() -> datetime:
    """Asked for when it is needed: a long run may pass midnight."""
    return datetime.now(UTC).replace(hour=9, minute=21, second=0, microsecond=0)


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hours are this machine's own."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    os.environ.pop("TZ", None)
    time.tzset()


class Desk:
    def __init__(self, **changes: Any) -> None:
        said = {"why": "auth: 535 5.7.8 bad password", "code": 535, "login_refused": True}
        self._one = {"name": "isp", "resting_until": today().isoformat(), **said, **changes}

    def upstreams(self) -> list[dict[str, Any]]:
        return [self._one]


def listed(desk: Desk, **changes: Any) -> str:
    answer = {"upstream": "isp", "code": 535, "status": "5.7.8", "said": "bad password", "quoted": True, "fault": ""}
    times = {"attempts": 1, "due_at": "2026-11-22T09:21:00Z", "maybe_at": "", "maybe_since": None}
    recipient = {"address": "me@far.example", "state": "queued", **answer, **times, **changes}
    message = {
        "id": "q1",
        "accepted_at": "2026-11-22T09:00:00Z",
        "size": 10,
        "sender": "a@b.example",
        "recipients": [recipient],
    }
    return _lines(message, {}, _paused(desk))[1].strip()  # type: ignore[arg-type]


def test_a_refused_login_is_named_with_the_end_of_the_pause() -> None:
    """The hour, the reason and the code; then the tries and the server's words."""
    assert listed(Desk()) == (
        "to me@far.example: waiting; isp is paused until 09:21 after a refused login (535), "
        "tried once, next 2026-11-22 09:21:00 UTC, 535 5.7.8 bad password"
    )


def test_mail_that_came_during_the_pause_says_it_once() -> None:
    """It was never tried: the pause is all that there is to say."""
    never = {"attempts": 0, "code": 0, "status": "", "quoted": False, "fault": "rests", "said": "isp is paused until ..."}
    assert listed(Desk(), **never) == "to me@far.example: waiting; isp is paused until 09:21 after a refused login (535)"


def test_another_trouble_is_told_in_its_own_words() -> None:
    """A pause for another reason names that; one that ends on another day names the day."""
    down = Desk(login_refused=False, why="connect: 451 4.4.1 connection refused", resting_until="2020-01-02T03:04:00+00:00")
    assert "waiting; isp is paused until 2020-01-02 03:04: connect: 451 4.4.1 connection refused, tried" in listed(down)
    said = listed(down, code=451, status="4.4.1", said="connection refused")
    assert said.count("connection refused") == 1 and said.endswith("next 2026-11-22 09:21:00 UTC")


def test_a_pause_that_is_over_is_not_shown_while_the_message_is_being_sent() -> None:
    """What was stored when it began to wait is old; a limit that lasts is no pause of the upstream, and is shown."""
    never = {"attempts": 0, "code": 0, "status": "", "quoted": False, "fault": "rests", "said": "isp is paused until 09:10"}
    assert listed(Desk(resting_until=None), **never) == "to me@far.example: waiting, by isp"
    later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    limit = {**never, "said": "the limit of isp is reached: its turn is at ...", "due_at": later}
    assert listed(Desk(resting_until=None), **limit).endswith(
        "waiting, by isp, the limit of isp is reached: its turn is at ..."
    )


def test_what_does_not_wait_for_it_says_nothing_of_the_pause() -> None:
    """A login that is over, another upstream, and mail on hold."""
    assert "paused" not in listed(Desk(resting_until=None))
    assert "paused" not in listed(Desk(), upstream="other")
    assert "held" in listed(Desk(), state="held") and "paused" not in listed(Desk(), state="held")


def test_quiet_hours_and_storms_say_why_a_message_waits() -> None:
    """By the local clock; of a digest how many wait for it so far, where that is known, and when it is due at the latest."""
    never = {"attempts": 0, "code": 0, "status": "", "quoted": False, "said": "", "upstream": "", "due_at": today().isoformat()}
    assert listed(Desk(), **never, fault="quiet") == "to me@far.example: waiting; quiet until 09:21"
    assert listed(Desk(), **never, fault="digest") == "to me@far.example: waiting; for a digest"
    due = today().replace(hour=2, minute=10).isoformat()
    line = {"at": due, "event": "postponed", "text": "", "fault": "digest", "due_at": due}
    message = {"id": "q1", "accepted_at": due, "size": 1, "sender": "<>", "trail": [line], "together": 37}
    waits = {"address": "me@far.example", "state": "queued", "fault": "digest", "maybe_at": "", **never}
    shown = _lines({**message, "recipients": [waits]}, {}, {})[1].strip()
    assert shown == "to me@far.example: waiting; one of 37 in a digest due by 02:10"


def test_a_merged_message_names_its_digest() -> None:
    over = {"state": "merged", "attempts": 0, "code": 0, "said": "", "upstream": "", "merged_into": "d7"}
    assert listed(Desk(), **over) == "to me@far.example: merged, into the digest d7"
    message = {"id": "d7", "accepted_at": "2026-11-22T09:00:00Z", "size": 1, "sender": "<>", "merges": 36, "recipients": []}
    assert "a digest of 36 messages" in _lines(message, {}, {})[0]


def test_a_device_is_named_behind_the_sender() -> None:
    """By its name in the configuration, made safe to show; one without a name is not."""
    message = {"id": "q1", "accepted_at": "2026-11-22T09:00:00Z", "size": 10, "sender": "root@pve", "recipients": []}
    assert _lines({**message, "device": "Printer,\x1b hallway"}, {}, {})[0].endswith("from root@pve (Printer,\\u001b hallway)")
    assert _lines({**message, "device": ""}, {}, {})[0].endswith("from root@pve")
