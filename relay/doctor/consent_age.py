"""What the age and end of OAuth consents mean: a person must log in again before mail waits for it.  Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from relay.doctor.finding import Finding, fine, warning

Standing = Mapping[str, Any]
"""One consent as relay/upstream/oauth/expiry.py tells it: upstream, age (seconds), ends_at, access_until, warnings."""


def judge_consents(standings: Iterable[Standing], *, told: frozenset[str]) -> Iterator[Finding]:
    """One finding for each upstream that logs in by OAuth; `told` are those whose login has a finding already."""
    for one in standings:
        name = one["upstream"]
        if one["warnings"] and name not in told:
            cure = f"Run `relay oauth login {name}`; docs/oauth.md has the steps."
            yield warning("login-oauth", name, " ".join(one["warnings"]), cure, *_times(one))
        elif not one["warnings"] and one["age"] is not None:
            yield fine("login-oauth", name, ", ".join(_times(one)))


def _times(one: Standing) -> tuple[str, ...]:
    if one["age"] is None:
        return ()
    end = (f"the consent ends {one['ends_at']}",) if one["ends_at"] else ()
    return (f"the consent is {one['age'] / 86400:.0f} days old", *end, f"last renewed {one['refreshed_at']}")
