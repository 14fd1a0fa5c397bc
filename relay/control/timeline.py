"""The way of one message as stations on a line: device, relay, repairs, upstreams, recipients.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

_WORST = ("failed", "expired", "held", "queued", "merged", "relayed")
_MOST = 4  # upstreams that are drawn, the last ones


@dataclass(frozen=True, slots=True)
class Station:
    """`kind` device, relay, mended, upstream or people; `state` done, waits, failed, held; `count` attempts or repairs.

    `name` and `note` are somebody's own words ("" where the page has words for it).
    """

    kind: str
    state: str
    name: str = ""
    note: str = ""
    count: int = 1


def way_of(story: Mapping[str, Any]) -> list[Station]:
    """Drawn from the story that `queue show --json` tells."""
    stations = [_device(story), Station("relay", "done", note=str(story["accepted_at"]))]
    if mended := repairs_of(story["trail"]):
        stations.append(Station("mended", "done", count=len(mended)))
    stations += _upstreams(story["trail"])[-_MOST:]
    return [*stations, _people(story["recipients"])]


def worst_state(recipients: Sequence[Mapping[str, Any]]) -> str:
    """The state that a person should know of first."""
    states = {recipient["state"] for recipient in recipients}
    return next((state for state in _WORST if state in states), "queued")


def repairs_of(trail: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every repair once, in the order in which they were first made."""
    return list(dict.fromkeys(one for line in trail if line["event"] == "repaired" for one in line["repairs"]))


def advice_of(trail: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The last line that advises, unless everything went well after it."""
    last = [line for line in trail if line["event"] in ("advised", "relayed")]
    return last[-1] if last and last[-1]["event"] == "advised" else None


def last_said(recipient: Mapping[str, Any], now: datetime) -> str:
    """What is known of it last; "" where that is a pause which is over, as when the message is being sent just now."""
    over = (
        recipient["fault"] == "rests" and recipient["state"] == "queued" and datetime.fromisoformat(recipient["due_at"]) <= now
    )
    return "" if over else str(recipient["said"])


def digest_at(trail: Sequence[Mapping[str, Any]]) -> str:
    """When the digest that it waits for is due at the latest; "" if it waits for none."""
    found = [line for line in trail if line["event"] == "postponed" and line.get("fault") == "digest"]
    return str(found[-1]["due_at"]) if found else ""


def _device(story: Mapping[str, Any]) -> Station:
    origin = story["origin"]
    if story["notice"]:
        return Station("notice", "done")
    name = story.get("device") or origin["helo"]
    return Station("device", "done", name=name or origin["client"], note=origin["client"] if name else "")


def _upstreams(trail: Sequence[Mapping[str, Any]]) -> list[Station]:
    """Who was asked, and what came of it last; the same one asked again is one station."""
    stations: list[Station] = []
    for line in trail:
        if line["event"] not in ("tried", "relayed") or "code" not in line:
            continue
        name = str(line["upstream"])
        ours = not line["code"] or line.get("lost") or line.get("fault")
        words = str(line["said"]) if ours else f"{line['code']} {line['status']}".strip()
        this = Station("upstream", "done" if line["event"] == "relayed" else _blame(line["code"]), name, words)
        if stations and stations[-1].name == name:
            this = replace(this, count=stations.pop().count + 1)
        stations.append(this)
    return stations


def _blame(code: int) -> str:
    return "failed" if code >= 500 else "waits"


def _people(recipients: Sequence[Mapping[str, Any]]) -> Station:
    worst = worst_state(recipients)
    state = {"relayed": "done", "merged": "done", "queued": "waits", "held": "held"}.get(worst, "failed")
    name = str(recipients[0]["address"]) if len(recipients) == 1 else ""
    return Station("people", state, name, worst, len(recipients))
