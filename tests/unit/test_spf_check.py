"""SPF gives the results of the official suite (tests/corpus/rfc7208), case by case, and bounds what it asks.

The suite's zones are given as a plain look-up: what a name has, what fails.  RFC 7208.
"""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relay.doctor.spf_check import LookupFailed, check
from relay.doctor.spf_parse import BadRecord, bad_terms, parse

SUITE = Path(__file__).parents[1] / "corpus" / "rfc7208" / "rfc7208-tests.yml"
LEFT_OUT: dict[str, str] = {}
"""Name of a case -> why it is not run."""


def _cases() -> list[Any]:
    found = []
    for scenario in yaml.safe_load_all(SUITE.read_text(encoding="utf-8")):
        zone = {name.lower(): records for name, records in scenario["zonedata"].items()}
        for name, case in scenario["tests"].items():
            found.append(pytest.param(zone, case, id=f"{scenario['description']}: {name}".replace(" ", "-")))
    return found


CASES = _cases()


class Zone:
    """The suite's zone: SPF records double as TXT unless the name has TXT of its own, NONE is an empty answer."""

    def __init__(self, zone: dict[str, Any]) -> None:
        self.zone = zone

    async def __call__(self, name: str, kind: str) -> Sequence[str]:
        for _ in range(10):
            records = self.zone.get(name.rstrip(".").lower(), [])
            alias = next((one["CNAME"] for one in records if isinstance(one, dict) and "CNAME" in one), None)
            if alias is None:
                break
            name = alias
        found = [one[kind] for one in records if isinstance(one, dict) and kind in one]
        if kind == "TXT" and not found:
            found = [one["SPF"] for one in records if isinstance(one, dict) and "SPF" in one]
        found = [one for one in found if one != "NONE"]
        if "TIMEOUT" in records and not found:
            raise LookupFailed(f"no answer about {name}")
        if kind == "TXT":
            return ["".join(one) if isinstance(one, list) else str(one) for one in found]
        if kind == "MX":
            return [host for _, host in sorted(found)]
        return [str(one) for one in found]


@pytest.mark.parametrize(("zone", "case"), CASES)
def test_the_official_suite(zone: dict[str, Any], case: dict[str, Any]) -> None:
    """The result is the one that the suite expects (or one of them), and so is the explanation."""
    sender = case["mailfrom"] or ""
    domain = sender.rpartition("@")[2] or case["helo"]
    outcome = asyncio.run(check(ip_address(case["host"]), domain, sender, case["helo"], Zone(zone)))
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert outcome.result in wanted, outcome
    if (words := case.get("explanation")) and words != "DEFAULT":
        assert outcome.explanation == words


def test_the_whole_suite_is_run() -> None:
    """All 203 cases are there, none is left out."""
    assert len(CASES) == 203
    assert LEFT_OUT == {}


def test_bad_terms_are_named() -> None:
    """A record's mistakes are told one by one, for who has to mend it."""
    assert bad_terms("v=spf1 mx ipv4:192.0.2.1 ip4:192.0.2.300 include: +all:x a/33 -all") == [
        "ipv4:192.0.2.1",
        "ip4:192.0.2.300",
        "include:",
        "+all:x",
        "a/33",
    ]
    with pytest.raises(BadRecord, match="ipv4"):
        parse("v=spf1 ipv4:192.0.2.1")


async def test_look_ups_are_bounded_whatever_is_published() -> None:
    """A record that leads to itself ends after ten look-ups, with permerror."""
    asked: list[str] = []

    async def lookup(name: str, kind: str) -> Sequence[str]:
        asked.append(name)
        return [f"v=spf1 include:{name} redirect={name}"] if kind == "TXT" else []

    outcome = await check(ip_address("192.0.2.1"), "loop.example", "a@loop.example", "x.example", lookup)
    assert (outcome.result, outcome.lookups) == ("permerror", 11)
    assert len(asked) <= 11


@given(st.text("v=spf1 amxincludeptrip46:/~?+-{}%.lodsr0129e", max_size=60))
def test_no_record_crashes_the_evaluator(terms: str) -> None:
    """Whatever somebody publishes, there is a result."""

    async def lookup(name: str, kind: str) -> Sequence[str]:
        return [f"v=spf1 {terms}"] if kind == "TXT" else []

    outcome = asyncio.run(check(ip_address("192.0.2.1"), "a.example", "a@a.example", "x.example", lookup))
    assert outcome.result in {"pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"}
