"""The presets: each is enough with a user name and a password."""

from pathlib import Path

import pytest

from relay.config import load
from relay.config.hosts import host
from relay.upstream.provider import Preset, SenderRule, UserForm
from relay.upstream.providers import NAMES, PRESETS, preset_for
from relay.upstream.settings import Auth, TlsMode, Upstream

ISSUE = [
    "Gmail", "Google Workspace relay", "Microsoft 365", "Outlook.com", "iCloud", "Yahoo", "Yahoo! JAPAN", "GMX",
    "WEB.DE", "Fastmail", "Zoho", "mailbox.org", "sakura", "coreserver", "xrea", "Lolipop", "XSERVER", "IIJmio",
    "ASAHI net", "OCN", "So-net", "nifty", "BIGLOBE", "Amazon SES", "SendGrid", "Mailgun", "Postmark", "Brevo",
    "T-Online", "Strato", "1&1", "IONOS", "OVH", "AOL", "Yandex", "Mail.ru", "QQ", "163", "126", "Naver", "mail.com",
    "Orange", "Free", "Gandi", "Posteo", "Infomaniak", "Hostinger", "Proton", "Resend", "SMTP2GO", "Mailjet", "ConoHa",
    "GoDaddy", "Comcast", "AT&T",
]  # fmt: skip
USERS = {UserForm.ANY: "AKIA0123"}


def configured(tmp_path: Path, preset: Preset, username: str, more: str = "") -> Upstream:
    """An upstream with this preset, a user name and a password, and a host only where the preset has none."""
    server = "" if preset.host else "host: s1.example.jp, "
    server += "sender: nas@company.example, " if preset.sender is SenderRule.VERIFIED else ""
    text = f"upstreams: {{x: {{provider: '{preset.key}', {server}username: {username}, password: secret{more}}}}}"
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = load(path, {})
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.config
    return loaded.config.upstreams["x"]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_a_user_name_and_a_password_are_enough(tmp_path: Path, preset: Preset) -> None:
    """Each row passes `check`, and what it knows reaches the upstream's own values."""
    found = configured(tmp_path, preset, preset.fixed_user or USERS.get(preset.user, "nas@company.example"))
    server = found.smtp
    assert (server.port, server.tls.mode, server.login.auth, found.limits) == (
        *(preset.port, preset.tls, preset.auth),
        preset.limits,
    )
    assert found.smtp.host == (preset.host or "s1.example.jp")
    assert found.provider == preset.key
    assert found.smtp.tls.verify


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_rows_are_sound(preset: Preset) -> None:
    """A row has a source, a host or its form, a port that suits its TLS, and doubts only about fields that exist."""
    assert preset.source
    assert bool(preset.host) != bool(preset.host_form)
    assert not preset.host or host(preset.host) == preset.host
    assert (preset.port == 465) == (preset.tls is TlsMode.IMPLICIT)
    assert preset.port not in preset.other_ports
    assert set(preset.doubts) <= {"host", "port", "tls", "auth", "user", "sender", "limits", "spf"}
    assert bool(preset.fixed_user) == (preset.user is UserForm.FIXED)
    assert preset.user is not UserForm.LOCAL or preset.mail_domain
    assert not preset.app_link or preset.app_link.startswith("https://")
    assert preset.tls is not TlsMode.NONE or preset.auth is Auth.CRAM_MD5


@pytest.mark.parametrize("name", ISSUE)
def test_every_provider_that_was_asked_for_is_there(name: str) -> None:
    """By the name that people use, in any case."""
    assert preset_for(name)
    assert preset_for(f" {name.upper()} ") == preset_for(name.lower())


def test_names_are_nobody_else_s() -> None:
    """No two rows answer to the same name; `generic` is none of them."""
    owners = [(name.lower(), preset.key) for preset in PRESETS for name in (preset.key, preset.name, *preset.aliases)]
    names = [name for name, _ in set(owners)]
    assert len(set(names)) == len(names)
    assert preset_for("generic") is None
    assert len(set(NAMES)) == len(NAMES) == len(PRESETS) + 1


@pytest.mark.parametrize(
    ("provider", "username", "login", "sender"),
    [
        ("gmail", "me@gmail.com", "me@gmail.com", "me@gmail.com"),
        ("yahoo-jp", "taro", "taro", "taro@yahoo.co.jp"),
        ("yahoo-jp", "taro@yahoo.co.jp", "taro", "taro@yahoo.co.jp"),
        ("nifty", "taro", "taro", "taro@nifty.com"),
        ("icloud", "taro", "taro", "taro@icloud.com"),
        ("iijmio", "taro@abc.iijmio-mail.jp", "taro.abc.iijmio-mail.jp", "taro@abc.iijmio-mail.jp"),
        ("iijmio", "taro.abc.iijmio-mail.jp", "taro.abc.iijmio-mail.jp", "None"),
        ("sendgrid", "apikey", "apikey", "nas@company.example"),
        ("brevo", "me@example.jp", "me@example.jp", "nas@company.example"),
        ("web.de", "taro@web.de", "taro", "taro@web.de"),
        ("free", "taro@free.fr", "taro", "taro@free.fr"),
    ],
)
def test_user_names_take_the_provider_s_form(tmp_path: Path, provider: str, username: str, login: str, sender: str) -> None:
    """Whoever gives the full address gets the right login, and the address as sender."""
    preset = preset_for(provider)
    assert preset
    found = configured(tmp_path, preset, username)
    assert (found.login.username, str(found.identity.sender)) == (login, sender)


def test_what_a_preset_says_may_be_said_otherwise(tmp_path: Path) -> None:
    """Host, port, TLS, mechanism and limits are the user's in the end; `none` takes a limit away."""
    preset = preset_for("gmail")
    assert preset
    more = ", host: smtp.example, port: 2525, tls: starttls, auth: plain, limits: {per_day: none, connections: 1}"
    found = configured(tmp_path, preset, "me@gmail.com", more)
    server = found.smtp
    assert (server.place, server.tls.mode, server.login.auth) == ("smtp.example:2525", TlsMode.STARTTLS, Auth.PLAIN)
    assert (found.limits.per_day, found.limits.connections, found.limits.message) == (None, 1, 25_000_000)


def test_a_mechanism_for_lines_in_clear_stays_there(tmp_path: Path) -> None:
    """nifty's CRAM-MD5 belongs to its port without TLS; with TLS the strongest is taken."""
    preset = preset_for("nifty")
    assert preset
    assert configured(tmp_path, preset, "taro").login.auth is Auth.CRAM_MD5
    assert configured(tmp_path, preset, "taro", ", tls: implicit").login.auth is Auth.AUTO


def test_free_senders_are_the_exception() -> None:
    """Only the two ISPs of the field notes let any sender through."""
    assert {preset.key for preset in PRESETS if preset.sender is SenderRule.FREE} == {"iijmio", "asahi-net"}


def test_who_wants_a_verified_sender() -> None:
    """Each of the services that send for others, and no mailbox provider."""
    verified = {preset.key for preset in PRESETS if preset.sender is SenderRule.VERIFIED}
    assert verified == {"ses", "sendgrid", "mailgun", "postmark", "brevo", "resend", "smtp2go", "mailjet"}


@pytest.mark.parametrize("preset", [one for one in PRESETS if one.sender is SenderRule.VERIFIED], ids=lambda preset: preset.key)
@pytest.mark.parametrize(("more", "wanted"), [("", True), (", rewrite: always", True), (", rewrite: never", False)])
def test_a_user_name_is_no_verified_sender(tmp_path: Path, preset: Preset, more: str, wanted: bool) -> None:
    """Where only verified senders are taken, `check` wants `sender`, unless nothing is rewritten."""
    path = tmp_path / "config.yaml"
    host_ = "" if preset.host else "host: s1.example.jp, "
    name = preset.fixed_user or "me@example.jp"
    path.write_text(f"upstreams: {{x: {{provider: {preset.key}, {host_}username: {name}, password: secret{more}}}}}")
    loaded = load(path, {})
    mistakes = [str(one) for one in loaded.mistakes]
    assert [f"an address that is verified at {preset.name}" in one for one in mistakes] == ([True] if wanted else [])
    assert wanted or (loaded.config and loaded.config.upstreams["x"].identity.sender is None)
