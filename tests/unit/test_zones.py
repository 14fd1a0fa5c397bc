"""Whose time is shown: the viewer's on the page, that of TZ on the command line."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.cli.common import local_time
from relay.control.i18n import Texts
from relay.control.page_maker import Show
from relay.control.views import retold, trail_view
from relay.control.zones import offset_of, zone_named
from relay.spool.entry import TrailLine

NOW = datetime(2026, 11, 22, 10, 20, 30, tzinfo=UTC)
TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.mark.parametrize("name", ["Asia/Tokyo", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+9"])
def test_zones_by_their_names(name: str) -> None:
    """As browsers call them."""
    zone = zone_named(name)
    assert zone
    assert zone.key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Asia",
        "Nowhere/There",
        "../../etc/passwd",
        "/etc/localtime",
        "Asia/../Asia/Tokyo",
        "a" * 200,
        "Asia/Tokyo\n",
        "é",
        "a/b/c/d",
    ],
)
def test_what_is_no_zone(name: str) -> None:
    """A cookie is anybody's words: no path is made of it, and nothing breaks."""
    assert zone_named(name) is None


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("Asia/Tokyo", "UTC+09:00"), ("UTC", "UTC+00:00"), ("America/St_Johns", "UTC-03:30"), ("Asia/Kolkata", "UTC+05:30")],
)
def test_how_far_it_is_from_utc(zone: str, offset: str) -> None:
    """In hours and minutes, west as east."""
    assert offset_of(NOW.astimezone(ZoneInfo(zone))) == offset


def test_a_page_has_one_zone() -> None:
    """Clock, hour and the words of the trail are in it, and the page says which it is."""
    show = Show(Texts("en"), NOW, TOKYO)
    assert (show.clock("2026-11-22T15:00:00Z"), show.hour("2026-11-22T15:00:00Z")) == ("2026-11-23 00:00:00", "00:00:00")
    assert show.zone == "Times are those of Asia/Tokyo (UTC+09:00)."
    assert show.minutes_east == 540
    assert "2026-11-23 00:00:00 UTC+09:00" in show.told(deferred())


@pytest.mark.parametrize(
    ("zone", "shown"), [("Asia/Tokyo", "2026-11-22 19:20:30 JST"), ("America/New_York", "2026-11-22 05:20:30 EST")]
)
def test_the_command_line_has_the_zone_of_tz(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says which behind the time."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        told = local_time("2026-11-22T10:20:30Z")
    time.tzset()
    assert told == shown


def deferred() -> dict[str, Any]:
    details = {"to": ["me@isp.example"], "due_at": "2026-11-22T15:00:00+00:00", "code": 451, "status": "4.7.1", "said": "later"}
    view = trail_view(TrailLine(NOW, "deferred", details=details))
    assert "next attempt at 2026-11-22 15:00:00 UTC" in view["text"]
    return view


def test_words_of_an_older_relay_stay_as_they_are() -> None:
    """A line that has its own text is shown with that, whatever else it knows."""
    old = {**deferred(), "text": "try again at 15:00 UTC"}
    assert retold(old, TOKYO) == "try again at 15:00 UTC"
    assert retold({"at": "2026-11-22T10:20:30Z", "event": "accepted", "text": "from a NAS"}, TOKYO) == "from a NAS"


def test_the_text_of_the_api_stays_in_utc() -> None:
    """Programs read it; the page alone tells it again."""
    view = deferred()
    assert retold(view, UTC) == view["text"]
