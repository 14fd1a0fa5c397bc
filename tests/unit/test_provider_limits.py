"""What a preset knows is used: its limits hold mail back, and `check` catches what cannot work there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.config import load
from relay.mail.address import parse_address
from relay.outbound.upstream_state import UpstreamStates
from relay.upstream.provider import Preset, SenderRule, UserForm
from relay.upstream.providers import PRESETS
from relay.upstream.settings import Upstream

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
FRIEND = parse_address("b@far.example")
USERS = {UserForm.ANY: "AKIA0123"}


def checked(tmp_path: Path, preset: Preset, more: str = "") -> tuple[Upstream | None, list[str], list[str]]:
    """The upstream that a user name and a password make, the mistakes and the remarks of `check`."""
    server = "" if preset.host or "host:" in more else ", host: s1.example.jp"
    name = preset.fixed_user or USERS.get(preset.user, "nas@company.example")
    user = "" if "username:" in more else f", username: {name}"
    user += ", sender: nas@company.example" if preset.sender is SenderRule.VERIFIED else ""
    text = f"upstreams: {{x: {{provider: '{preset.key}', password_file: secret{server}{user}{more}}}}}"
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    (tmp_path / "secret").write_text("geheim\n", encoding="utf-8")
    loaded = load(path, {})
    upstream = loaded.config.upstreams["x"] if loaded.config else None
    return upstream, [str(one) for one in loaded.mistakes], list(loaded.remarks)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_daily_limits_reach_pace(tmp_path: Path, preset: Preset) -> None:
    """The last message of the day's quota goes, the next one waits for tomorrow; without a known limit all go."""
    found, mistakes, _ = checked(tmp_path, preset)
    assert mistakes == []
    assert found
    most = preset.limits.per_day
    standing = UpstreamStates()
    later = NOW + timedelta(minutes=2)
    standing.rate_limit.seed(NOW, {"x": (most or 10_000_000) - 1})
    assert standing.pause(found, FRIEND, "q1", later) is None
    standing.rate_limit.seed(NOW, {"x": most or 10_000_000})
    pause = standing.pause(found, FRIEND, "q1", later)
    assert (pause.until if pause else None) == (datetime(2026, 11, 23, tzinfo=UTC) if most else None)


@pytest.mark.parametrize("preset", [one for one in PRESETS if one.limits.per_minute], ids=lambda preset: preset.key)
def test_limits_of_a_minute_reach_pace(tmp_path: Path, preset: Preset) -> None:
    """As many as the provider takes in a minute go at once; the next has its turn when the first is a minute old."""
    found, _, _ = checked(tmp_path, preset)
    assert found
    standing = UpstreamStates()
    for number in range(preset.limits.per_minute or 0):
        assert standing.pause(found, FRIEND, f"q{number}", NOW) is None
        standing.rate_limit.begin("x", found.limits, NOW, f"q{number}")
        standing.rate_limit.end("x", NOW, relayed=True)
    pause = standing.pause(found, FRIEND, "one more", NOW)
    assert pause
    assert pause.until == NOW + timedelta(minutes=1)


def test_some_limits_are_known() -> None:
    """The rows above are not all empty."""
    assert {one.key for one in PRESETS if one.limits.per_day} >= {"gmail", "outlook", "outlook.com", "icloud", "xserver"}
    assert {one.key for one in PRESETS if one.limits.per_minute} == {"outlook"}


@pytest.mark.parametrize("preset", [one for one in PRESETS if one.user is UserForm.ADDRESS], ids=lambda preset: preset.key)
def test_a_local_part_where_an_address_is_needed_is_caught(tmp_path: Path, preset: Preset) -> None:
    """`taro` cannot log in where every user name is an address; iCloud takes both."""
    _, mistakes, _ = checked(tmp_path, preset, ", username: taro")
    assert any("username: expected the full address" in one for one in mistakes) == (not preset.local_too)


@pytest.mark.parametrize("preset", [one for one in PRESETS if one.user is UserForm.ANY], ids=lambda preset: preset.key)
def test_an_address_where_the_provider_has_names_of_its_own_is_remarked_on(tmp_path: Path, preset: Preset) -> None:
    """A mail address never logs in to Amazon SES; but who knows better is let through."""
    _, mistakes, remarks = checked(tmp_path, preset, ", username: me@example.jp")
    assert mistakes == []
    assert any("upstreams.x.username" in one and "user names of its own" in one for one in remarks)
    assert not any("user names of its own" in one for one in checked(tmp_path, preset)[2])


def test_another_user_name_than_the_one_word_is_caught(tmp_path: Path) -> None:
    """SendGrid's user name is `apikey`, whoever logs in."""
    [sendgrid] = [one for one in PRESETS if one.key == "sendgrid"]
    _, mistakes, _ = checked(tmp_path, sendgrid, ", username: me@example.jp")
    assert any("expected 'apikey'" in one for one in mistakes)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_a_port_where_nobody_listens_is_remarked_on(tmp_path: Path, preset: Preset) -> None:
    """Ports that the provider does not have are named; the ones that it has are not."""
    _, _, remarks = checked(tmp_path, preset, ", port: 2626")
    assert any("is known to listen on" in one and "not on 2626" in one for one in remarks)
    for port in (preset.port, *preset.other_ports):
        _, mistakes, remarks = checked(tmp_path, preset, f", port: {port}")
        assert (mistakes, [one for one in remarks if "is known to listen on" in one]) == ([], [])


@pytest.mark.parametrize(("key", "said"), [("outlook.com", "takes no password any more; set oauth")])
def test_a_password_where_none_is_taken_is_remarked_on(tmp_path: Path, key: str, said: str) -> None:
    """Outlook.com takes tokens only."""
    [preset] = [one for one in PRESETS if one.key == key]
    assert any(said in one for one in checked(tmp_path, preset)[2])
