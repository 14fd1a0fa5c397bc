"""Consents from the page: whatever happens, the next one can begin."""

from datetime import UTC, datetime
from typing import Any

import pytest

from relay.upstream.oauth import logins
from relay.upstream.oauth.logins import Logins
from tests.support.sending import upstream_at


async def nothing() -> None:
    return None


async def test_a_login_that_broke_does_not_stand_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with a word, and no half hour is waited for."""

    def broken(*_: Any) -> None:
        raise KeyError("token_type")

    monkeypatch.setattr(logins, "finish_code_flow", broken)
    unused: Any = None
    desk, upstream = Logins(unused, lambda: datetime(2026, 11, 22, tzinfo=UTC), nothing), upstream_at(25)
    desk._logins[upstream.name] = logins._Login(True, "waiting", flow=unused or object())  # type: ignore[arg-type]
    await desk.finish(upstream, "http://localhost/?code=x")
    standing = desk.standing(upstream)
    assert standing is not None
    assert (standing["state"], standing["words"]) == ("refused", "KeyError")
