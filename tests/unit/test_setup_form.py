"""What set-up asks for by provider, and what it makes of the answers."""

from pathlib import Path

import pytest

from relay.config.loader import load_text
from relay.control.texts import TEXTS
from relay.setup.draft import Draft, as_yaml
from relay.setup.form import DOTLESS, EMPTY, SHORT, TypedSecrets, account, field_of, fields_of, server, wants
from relay.upstream.provider import Preset, UserForm
from relay.upstream.providers import PRESETS

USERS = {
    UserForm.ADDRESS: "taro@isp.example",
    UserForm.LOCAL: "taro",
    UserForm.DOTTED: "taro.isp.example",
    UserForm.ANY: "AKIA0123",
    UserForm.FIXED: "",
}
SAID = {"password": "s3cret ${HOME} \"'", "notices_to": "me@isp.example", "web_password": "correct horse"}


def checked(draft: Draft, secrets: TypedSecrets) -> tuple[str, ...]:
    text = as_yaml(draft, {"hostname": '"relay.home.example"'}, inline=True)
    return tuple(map(str, load_text(text, Path("/nowhere/config.yaml"), secrets.variables()).mistakes))


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_every_provider_is_set_up_by_what_is_asked(preset: Preset) -> None:
    """The fields that are shown are enough for a configuration that passes `relay check`."""
    draft, wrong = server(Draft(web="0.0.0.0:8025"), {"provider": preset.key, "host": "" if preset.host else "s1.example.jp"})
    assert wrong == {}
    fields = fields_of(draft, own_password=False)
    said = {**SAID, "username": USERS[preset.user], "sender": "nas@isp.example", "client_id": "app", "client_secret": "x"}
    draft, secrets, wrong = account(draft, TypedSecrets(), {name: said[name] for name in fields & said.keys()})
    assert wrong == {}
    assert checked(draft, secrets) == ()
    assert draft.oauth is not preset.password
    assert "s3cret" not in as_yaml(draft, inline=True) + as_yaml(draft)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_every_provider_says_what_it_wants(preset: Preset) -> None:
    """In words of both languages; so has the form of its user name."""
    assert wants(preset)
    assert {*wants(preset), f"setup_user_{preset.user.name.lower()}"} - {"setup_user_fixed"} <= TEXTS.keys()


def test_what_is_wanted() -> None:
    """An app password, a key and a verified sender, a sign-in: by provider."""
    by_key = {preset.key: wants(preset) for preset in PRESETS}
    assert by_key["gmail"] == ("setup_wants_app_password",)
    assert by_key["sendgrid"] == ("setup_wants_key", "setup_wants_verified")
    assert by_key["outlook.com"] == by_key["outlook"] == ("setup_wants_sign_in",)
    assert by_key["sakura"] == ("setup_wants_password", "setup_wants_domain")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, {"provider": EMPTY}),
        ({"provider": "sakura"}, {"host": EMPTY}),
        ({"provider": "gmial"}, {"provider": "no provider is called 'gmial'; did you mean 'gmail'?"}),
        ({"host": "not a host"}, {"host": ""}),
        ({"host": "mail.isp.example"}, {}),
        ({"host": " gmail.com "}, {}),
        ({"host": "Kita-Net"}, {"host": DOTLESS}),
        ({"host": "Kita-Net", "sure": "Kita-Net"}, {}),
        ({"host": "mailer", "sure": "Kita-Net"}, {"host": DOTLESS}),
        ({"host": "localhost"}, {}),
        ({"host": "::1"}, {}),
        ({"host": "mail.isp.example:70000"}, {"host": "expected a port"}),
    ],
)
def test_the_server(said: dict[str, str], wrong: dict[str, str]) -> None:
    """A provider of the list, or any name; what lacks and what does not fit is told at its field."""
    found = server(Draft(), said)[1]
    assert found.keys() == wrong.keys()
    assert all(found[key].startswith(wrong[key]) for key in wrong)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("mail.isp.example", ("mail.isp.example", "")),
        ("mail.isp.example, port 587", ("mail.isp.example", "587")),
        ("mail.isp.example:465", ("mail.isp.example", "465")),
        ("mail.isp.example 25", ("mail.isp.example", "25")),
        ("mail.isp.example, Port: 587", ("mail.isp.example", "587")),
        ("mail.isp.example、ポート番号：587", ("mail.isp.example", "587")),
        ("192.168.0.2:2525", ("192.168.0.2", "2525")),
        ("2001:db8::25", ("2001:db8::25", "")),
        ("gmail.com:587", ("", "")),
    ],
)
def test_a_port_behind_the_name_is_taken_apart(said: str, place: tuple[str, str]) -> None:
    """As providers' pages write it; on both pages."""
    draft, wrong = server(Draft(), {"host": said})
    assert ((draft.host, draft.port), wrong) == (place, {})
    if draft.host:
        other = server(Draft(), {"host": "mail.other.example"})[0]
        changed = account(other, TypedSecrets(), {**SAID, "username": USERS[UserForm.ADDRESS], "host": said, "port": ""})[0]
        assert (changed.host, changed.port) == place


def test_a_name_without_a_dot_is_doubted_once() -> None:
    """A machine in the LAN may have such a name; a provider's server has not."""
    draft = server(Draft(), {"host": "mail.isp.example"})[0]
    said = {**SAID, "username": USERS[UserForm.ADDRESS], "host": "kita-net"}
    draft, secrets, wrong = account(draft, TypedSecrets(), said)
    assert wrong == {"host": DOTLESS}
    draft, _, wrong = account(draft, secrets, said)
    assert (draft.host, wrong) == ("kita-net", {})


def test_another_provider_begins_anew() -> None:
    """What was said of the first one does not stay; where devices connect does."""
    draft = Draft(provider="gmail", username="me@gmail.com", listen="0.0.0.0:2525", notices_to="me@gmail.com")
    assert server(draft, {"provider": "gmail"})[0] == draft
    new = server(draft, {"provider": "icloud"})[0]
    assert (new.provider, new.username, new.listen, new.notices_to) == ("icloud", "", "0.0.0.0:2525", "me@gmail.com")


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, {"username": EMPTY, "notices_to": EMPTY}),
        ({**SAID, "username": "me@gmail.com", "web_password": "7 chars"}, {"web_password": SHORT}),
        ({**SAID, "username": "me@gmail.com", "notices_to": "me"}, {"notices_to": ""}),
        ({**SAID, "username": "me@gmail.com", "port": "70000", "tls": "maybe"}, {"port": "", "tls": ""}),
        ({**SAID, "username": "me@gmail.com", "sign_in": "yes"}, {"client_id": EMPTY}),
        ({**SAID, "username": "me@gmail.com", "web_password": ""}, {}),
    ],
)
def test_the_account_at_gmail(said: dict[str, str], wrong: dict[str, str]) -> None:
    draft = server(Draft(), {"provider": "gmail"})[0]
    found = account(draft, TypedSecrets(), said)[2]
    assert found.keys() == wrong.keys()
    assert all(found[key].startswith(wrong[key]) for key in wrong)


def test_a_server_without_a_login() -> None:
    """Nothing is invented: no password file without a user name, but an address to send as."""
    draft = server(Draft(), {"host": "mail.isp.example"})[0]
    assert account(draft, TypedSecrets(), {"notices_to": "me@isp.example"})[2] == {"sender": EMPTY}
    said = {"notices_to": "me@isp.example", "sender": "nas@isp.example", "web_password": "correct horse"}
    draft, secrets, wrong = account(draft, TypedSecrets(), said)
    assert wrong == {}
    assert (draft.password_file, checked(draft, secrets)) == ("", ())


def test_secrets_go_into_files_of_their_own() -> None:
    """By the names that the configuration has for them; one that is not typed again stays; none is in a text of ours."""
    draft = server(Draft(), {"provider": "gmail"})[0]
    draft, secrets, _ = account(draft, TypedSecrets(), {**SAID, "username": "me@gmail.com"})
    assert secrets.of(draft) == {"gmail.secret": SAID["password"], "web.secret": SAID["web_password"]}
    assert account(draft, secrets, {**SAID, "username": "me@gmail.com", "password": ""})[1] == secrets
    assert "s3cret" not in repr(secrets)
    by_token = {**SAID, "username": "me@gmail.com", "sign_in": "yes", "client_id": "app", "client_secret": "c"}
    draft, secrets, _ = account(draft, secrets, by_token)
    assert secrets.of(draft) == {"gmail.client.secret": "c", "web.secret": SAID["web_password"]}


def test_an_application_of_its_own_right_needs_nobody() -> None:
    """Microsoft Graph with a client secret: client credentials, no person signs in."""
    draft = server(Draft(), {"provider": "outlook"})[0]
    said = {**SAID, "username": "nas@company.example", "sign_in": "yes", "graph": "yes", "client_id": "app"}
    draft, secrets, wrong = account(draft, TypedSecrets(), {**said, "client_secret": "c", "tenant": "company.example"})
    assert (wrong, draft.grant, draft.api) == ({}, "client-credentials", "graph")
    assert checked(draft, secrets) == ()


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("upstreams.gmail.username", "username"),
        ("upstreams.isp.password_file", "password"),
        ("upstreams.outlook.oauth.tenant", "tenant"),
        ("notices.to", "notices_to"),
        ("web.password", "web_password"),
        ("limits.connections", ""),
        ("upstreams.gmail", ""),
    ],
)
def test_a_mistake_is_shown_at_its_field(path: str, field: str) -> None:
    assert field_of(path) == field
