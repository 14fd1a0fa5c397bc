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

from relay.doctor.spf import LookupFailed, check

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
