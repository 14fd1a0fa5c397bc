"""How the relay is, at a glance: one level and a few sentences, by key, for page and person.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from relay.control.device_reports import TurnedAway
from relay.networks import with_port


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text of texts.py with its values, or with `key` "" the words as they are; `link` leads to where one can act."""

    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    link: str = ""

    @property
    def matters(self) -> bool:
        """Somebody should know, and do something."""
        return bool(self.link or self.words)


@dataclass(frozen=True, slots=True)
class Glance:
    """`level`: well, untried (nothing is wrong, nothing was sent), look (somebody should), trouble (no mail is taken)."""

    level: str
    sentences: tuple[Sentence, ...]


def glance(
    status: Mapping[str, Any],
    tally: Mapping[str, Any],
    relayed_day: int,
    findings: Sequence[Mapping[str, Any]],
    *,
    tried: bool = True,
    away: TurnedAway | None = None,
) -> Glance:
    """`relayed_day`: what went out in the last 24 hours.  `tried`: an upstream was asked at least once.

    Strangers of the Internet that were turned away are told of, but all may be well.
    """
    wrong = [*_unheard(tally), *_upstreams(status), *_certificates(status), *_silent(status), *_failed(tally)]
    wrong += _findings(findings)
    reasons = zip_longest(status["why"], status.get("trouble", ()), fillvalue="")
    trouble = [Sentence(f"trouble_{name}" if name else "", {"why": why}, words=str(why)) for why, name in reasons]
    refused = [Sentence("turned_away", {"n": away.number, "who": ", ".join(away.clients)}, link="#refused")] if away else []
    level = "trouble" if trouble else "look" if wrong or (away and away.near) else "well" if tried else "untried"
    return Glance(level, (*trouble, *wrong, *refused, *_calm(tally, relayed_day)))


def was_tried(tally: Mapping[str, Any], hours: Sequence[Mapping[str, Any]]) -> bool:
    """Whether anything is known that was sent, or that an upstream did not take: before, nobody knows whether all is well."""
    ends = ("relayed", "failed", "expired", "merged")
    return any(tally["recipients"].get(state) for state in ends) or any(
        hour["relayed"] or hour["deferred"] or hour["failed"] for hour in hours
    )


def _upstreams(status: Mapping[str, Any]) -> list[Sentence]:
    sentences = []
    for one in status["upstreams"]:
        login = one.get("login_refused")
        if one["resting_until"]:
            key = "login_refused" if login else "resting"
            sentences.append(Sentence(key, {"name": one["name"], "until": one["resting_until"]}, link="#upstreams"))
        elif login:
            sentences.append(Sentence("login_refused_before", {"name": one["name"]}, link="#upstreams"))
    return sentences


def _certificates(status: Mapping[str, Any]) -> list[Sentence]:
    listeners = [(with_port(one["host"], one["port"]), "#listeners", one) for one in status.get("listening", ())]
    upstreams = [(one["name"], "#upstreams", one) for one in status["upstreams"]]
    return [
        Sentence("certificate_bad" if one.get("certificate_in_use", True) else "certificate_none", {"name": name}, link=link)
        for name, link, one in (*listeners, *upstreams)
        if one.get("certificate_trouble")
    ]


def _silent(status: Mapping[str, Any]) -> list[Sentence]:
    found = [one for one in status.get("expected", ()) if one["silent"]]
    return [Sentence("silent", {"name": one["name"], "since": one["since"]}, link="#devices") for one in found]


def _failed(tally: Mapping[str, Any]) -> list[Sentence]:
    states = tally["recipients"]
    failed = states.get("failed", 0) + states.get("expired", 0)
    link = f"/messages?state={'failed' if states.get('failed') else 'expired'}"
    return [Sentence("some_failed", {"n": failed}, link=link)] if failed else []


def _unheard(tally: Mapping[str, Any]) -> list[Sentence]:
    number = tally.get("attention", 0)
    return [Sentence("unheard", {"n": number}, link="/messages?state=attention")] if number else []


def _findings(findings: Sequence[Mapping[str, Any]]) -> list[Sentence]:
    problems = sum(one.get("grade") == "problem" for one in findings)
    return [Sentence("findings_bad", {"n": problems}, link="#findings")] if problems else []


def _calm(tally: Mapping[str, Any], relayed_day: int) -> list[Sentence]:
    held, waiting, postponed = tally["recipients"].get("held", 0), tally["unfinished"], tally.get("postponed", 0)
    return [
        Sentence("relayed_day", {"n": relayed_day}) if relayed_day else Sentence("quiet"),
        Sentence("some_wait", {"n": waiting}) if waiting else Sentence("none_waits"),
        *([Sentence("some_postponed", {"n": postponed})] if postponed else []),
        *([Sentence("some_held", {"n": held})] if held else []),
    ]
