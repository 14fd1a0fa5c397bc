"""Whether all is well, in words."""

from dataclasses import replace
from typing import Any

from relay.control.device_reports import TurnedAway
from relay.control.summary import glance, was_tried

UP = {"name": "isp", "resting_until": None, "login_refused": False}
REST = {"name": "isp", "resting_until": "2026-11-22T10:20:30Z", "login_refused": False}


def status(upstream: dict[str, Any] = UP, **more: Any) -> dict[str, Any]:
    return {"why": [], "upstreams": [upstream], **more}


def tally(unfinished: int = 0, **states: int) -> dict[str, Any]:
    return {"recipients": states, "unfinished": unfinished}


def said(found: Any) -> list[str]:
    return [sentence.key or sentence.words for sentence in found.sentences]


def test_all_is_well() -> None:
    """Nobody has to do anything: that is said first."""
    found = glance(status(), tally(), 7, [])
    assert (found.level, said(found)) == ("well", ["relayed_day", "none_waits"])


def test_waiting_alone_is_no_trouble() -> None:
    """Mail that waits while its upstream is fine needs nobody."""
    found = glance(status(), tally(3, queued=3), 0, [])
    assert (found.level, said(found)) == ("well", ["quiet", "some_wait"])


def test_nothing_is_well_before_anything_was_tried() -> None:
    """A fresh relay says that it has sent nothing; trouble and causes come before that."""
    assert glance(status(), tally(), 0, [], tried=False).level == "untried"
    assert glance(status(REST), tally(), 0, [], tried=False).level == "look"
    assert glance({**status(), "why": ["the spool is full"]}, tally(), 0, [], tried=False).level == "trouble"


def test_what_counts_as_tried() -> None:
    """An answer of an upstream that is known, in the spool or in the last seven days; what only waits is none."""
    calm = {"relayed": 0, "deferred": 0, "failed": 0}
    assert not was_tried(tally(2, queued=2, held=1), [calm, calm])
    assert all(was_tried(tally(**{state: 1}), [calm]) for state in ("relayed", "failed", "expired", "merged"))
    assert all(was_tried(tally(), [calm, {**calm, kind: 1}]) for kind in calm)


def test_a_resting_upstream_wants_a_look() -> None:
    """Upstream trouble is not our sickness, but a person should know."""
    found = glance(status(REST), tally(1, queued=1), 0, [])
    assert (found.level, said(found)[0]) == ("look", "resting")


def test_a_refused_login_is_named_as_such() -> None:
    """While it rests, and after: the password is still wrong."""
    assert said(glance(status({**REST, "login_refused": True}), tally(), 1, []))[0] == "login_refused"
    assert said(glance(status({**UP, "login_refused": True}), tally(), 1, []))[0] == "login_refused_before"


def test_failures_silence_and_findings_want_a_look() -> None:
    """What failed or was given up, a device that went quiet, a problem of the doctor's."""
    expected = [{"name": "nas", "silent": True, "since": "2026-11-20T10:20:30Z"}, {"name": "ups", "silent": False}]
    findings = [{"grade": "problem"}, {"grade": "warning"}]
    found = glance(status(expected=expected), tally(failed=1, expired=2, held=1), 1, findings)
    assert found.level == "look"
    assert said(found) == ["silent", "some_failed", "findings_bad", "relayed_day", "none_waits", "some_held"]
    assert [one.values["n"] for one in found.sentences if one.key in ("some_failed", "findings_bad")] == [3, 1]


def test_what_matters_leads_to_where_one_can_act() -> None:
    """Each cause has a place on the page or in the list; what is calm has none."""
    expected = [{"name": "nas", "silent": True, "since": "2026-11-20T10:20:30Z"}]
    found = glance(status(REST, expected=expected), tally(expired=1), 0, [{"grade": "problem"}])
    links = [one.link for one in found.sentences if one.matters]
    assert links == ["#upstreams", "#devices", "/messages?state=expired", "#findings"]
    assert [one.key for one in found.sentences if not one.matters] == ["quiet", "none_waits"]


def test_not_taking_mail_is_trouble() -> None:
    """A full disk comes before everything else, in the relay's own words."""
    found = glance({**status(REST), "why": ["the spool is full"]}, tally(), 0, [])
    assert (found.level, said(found)[0]) == ("trouble", "the spool is full")
    assert found.sentences[0].matters


def test_a_certificate_that_cannot_be_used_wants_a_look() -> None:
    """A listener's, and one that is shown to an upstream; each by its name."""
    listening = [{"host": "::", "port": 25, "certificate_trouble": "x"}, {"host": "::", "port": 26, "certificate_trouble": ""}]
    found = glance(status({**UP, "certificate_trouble": "y"}, listening=listening), tally(), 1, [])
    assert found.level == "look"
    assert [(one.values["name"], one.link) for one in found.sentences[:2]] == [("[::]:25", "#listeners"), ("isp", "#upstreams")]
    assert said(found)[:2] == ["certificate_bad", "certificate_bad"]
    none = {**UP, "certificate_trouble": "y", "certificate_in_use": False}
    assert said(glance(status(none), tally(), 1, []))[0] == "certificate_none"


def test_who_was_turned_away_is_told_of() -> None:
    """A device of the LAN needs somebody; strangers of the Internet try every door, and all is well."""
    near = TurnedAway((("192.0.2.2", "2026-11-22T10:00:00Z"),), 1, near=True)
    found = glance(status(), tally(), 7, [], away=near)
    assert (found.level, said(found)[0], found.sentences[0].values) == ("look", "turned_away", {"n": 1, "who": "192.0.2.2"})
    found = glance(status(), tally(), 7, [], away=replace(near, near=False))
    assert (found.level, said(found)[0]) == ("well", "turned_away")
