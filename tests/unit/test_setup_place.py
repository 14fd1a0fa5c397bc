"""Where set-up writes, whether there is a configuration, and the one-time code."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.config import find, load, missing
from relay.config.environment import LONG
from relay.config.fields import Fields
from relay.config.loader import load_text
from relay.config.located import Node
from relay.config.schema import SECTIONS
from relay.setup.code import HOUR, open_code, page_in
from relay.setup.draft import Draft, as_yaml
from relay.setup.place import CannotSetUp, find_place, wanted

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.config.loader._SYSTEM", tmp_path / "none.yaml")
    return tmp_path


def at(folder: Path, **more: str) -> dict[str, str]:
    return {"RELAY_SPOOL": f"sqlite:{folder}/state/spool.db", **more}


def test_the_state_directory_is_looked_at_last(folder: Path) -> None:
    """What set-up left there is found by every command, after all other places."""
    left = folder / "state" / "config.yaml"
    assert missing(None, at(folder)) is True
    left.parent.mkdir()
    left.touch()
    assert find(None, at(folder)) == left
    assert find(None, {"RELAY_SPOOL_STATE_DIR": str(left.parent)}) == left
    assert missing(None, at(folder)) is False
    (folder / "etc").mkdir()
    assert find(None, at(folder, RELAY_CONFIG=str(folder / "etc"))) == left, "a directory without a file"
    assert find(str(folder / "etc"), at(folder)) == folder / "etc" / "config.yaml"
    assert find(None, at(folder, RELAY_CONFIG_YAML="{}")) is None
    (folder / "config.yaml").touch()
    assert find(None, at(folder)) == Path("config.yaml")


@pytest.mark.parametrize(
    "environ",
    [
        {"RELAY_SPOOL": "{}/data/spool.db"},
        {"RELAY_SPOOL": "sqlite:{}/data"},
        {"RELAY_SPOOL": "sqlite://{}/data/spool.db"},
        {"RELAY_SPOOL": " sqlite:data/spool.db "},
        {"RELAY_SPOOL_STATE_DIR": "~/data"},
        {"RELAY_SPOOL_STATE_DIR": "data"},
        {"RELAY_SPOOL": "postgresql://relay@db/relay", "RELAY_SPOOL_FALLBACK": "sqlite:{}/data/spool.db"},
    ],
)
def test_set_up_writes_where_every_command_looks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    """However the variables spell the place."""
    monkeypatch.setenv("HOME", str(folder))
    (folder / "data").mkdir()
    environ = {name: value.format(folder) for name, value in environ.items()}
    place = find_place(None, environ)
    assert place.target == folder / "data" / "config.yaml"
    place.target.touch()
    found = find(None, environ)
    assert found is not None
    assert found.samefile(place.target)


def test_variables_that_name_a_server_come_before_what_set_up_left(folder: Path) -> None:
    left = folder / "state" / "config.yaml"
    left.parent.mkdir()
    left.touch()
    (folder / "etc").mkdir()
    assert find(None, at(folder, RELAY_HOST="mail.isp.example")) is None
    assert find(None, at(folder, RELAY_HOST="mail.isp.example", RELAY_CONFIG=str(folder / "etc"))) is None
    assert find(None, at(folder, RELAY_NETWORKS="private")) == left


def test_a_state_directory_of_another_user_is_no_configuration(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is closed for us may be any relay's, or nobody's."""
    state, stat = folder / "state", Path.stat

    def closed(path: Path, **more: bool) -> os.stat_result:
        if path.parent == state:
            raise PermissionError(13, "Permission denied")
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", closed)
    assert find(None, at(folder)) is None
    assert missing(None, at(folder)) is True


@pytest.mark.parametrize(
    "environ", [{"RELAY_HOST": "a"}, {"RELAY_PROVIDER": "gmail"}, {"RELAY_CONFIG_YAML": "x"}, {"RELAY_UPSTREAM_FOLDER": "/x"}]
)
def test_variables_are_a_configuration(folder: Path, environ: dict[str, str]) -> None:
    """If they say where mail goes."""
    assert missing(None, {**at(folder), **environ}) is False
    assert missing(None, at(folder, RELAY_LISTEN="0.0.0.0:2525", RELAY_USERNAME="taro")) is True


def test_a_named_file_that_is_not_there_is_missing(folder: Path) -> None:
    """One that is there is not, whatever is in it."""
    assert missing("other.yaml", {}) is True
    assert missing(None, {"RELAY_CONFIG": str(folder)}) is True
    (folder / "other.yaml").write_text("{{{")
    assert missing("other.yaml", {}) is False
    assert missing("other.yaml/below", {}) is True


def test_what_the_environment_says_is_referred_to(folder: Path) -> None:
    """By name; lists and relative files as they are; a server's own settings are asked for."""
    environ = at(
        folder, RELAY_LISTEN="0.0.0.0:2525", RELAY_NETWORKS="private 172.18.0.1", RELAY_WEB_PASSWORD_FILE="pw",
        RELAY_USERNAME="taro", RELAY_NOTICES_TO="me@isp.example",
    )  # fmt: skip
    (folder / "pw").write_text("geheim\n")
    place = find_place(None, environ)
    assert place.references == {
        "listen.address": '"${RELAY_LISTEN}"',
        "listen.networks": '["private", "172.18.0.1"]',
        "web.password_file": f'"{folder}/pw"',
        "notices.to": '"${RELAY_NOTICES_TO}"',
        "spool.url": '"${RELAY_SPOOL}"',
    }
    assert (place.target, place.listen, place.spool, place.own_password) == (folder / "state" / "config.yaml", "", "", True)
    assert (place.base.web.address, str(place.base.notices.to)) == ("0.0.0.0:8025", "me@isp.example")


def test_several_addresses_for_devices(folder: Path) -> None:
    """A file has one entry for each, so they are written out."""
    place = find_place(None, at(folder, RELAY_LISTEN="127.0.0.1:2525 [::1]:2525"))
    assert (place.listen, "listen.address" in place.references) == ("127.0.0.1:2525 [::1]:2525", False)


@pytest.mark.parametrize(
    ("path", "name", "value", "written"),
    [
        ("spool.url", "RELAY_SPOOL", "sqlite:{}/my pool/spool.db", '"${{RELAY_SPOOL}}"'),
        ("spool.url", "RELAY_SPOOL", "postgresql://u:pw@h1,h2/db", '"${{RELAY_SPOOL}}"'),
        ("spool.max_message", "RELAY_SPOOL_MAX_MESSAGE", "25 MB", '"${{RELAY_SPOOL_MAX_MESSAGE}}"'),
        ("listen.networks", "RELAY_NETWORKS", "private,", '["private"]'),
        ("listen.networks", "RELAY_NETWORKS", "private", '"${{RELAY_NETWORKS}}"'),
        ("retry.delays", "RELAY_RETRY_DELAYS", "1m, 5m", '["1m", "5m"]'),
        ("spool.state_dir", "RELAY_SPOOL_STATE_DIR", "my state", '"{}/my state"'),
        ("spool.state_dir", "RELAY_SPOOL_STATE_DIR", "~/x", '"${{RELAY_SPOOL_STATE_DIR}}"'),
    ],
)
def test_only_lists_become_lists(
    folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str, value: str, written: str
) -> None:
    """And the file that has them passes the check with the same values."""
    monkeypatch.setenv("HOME", str(folder))
    environ = {**at(folder), name: value.format(folder)}
    if "postgresql" in value:
        environ["RELAY_SPOOL_STATE_DIR"] = str(folder / "state")
    place = find_place(None, environ)
    assert place.references[path] == written.format(folder)
    text = as_yaml(Draft(host="mail.isp.example", web="off"), place.references)
    loaded = load_text(text, place.target, environ)
    assert loaded.config, loaded.mistakes
    assert (loaded.config.spool, loaded.config.retry) == (place.base.spool, place.base.retry)
    assert loaded.config.listeners == place.base.listeners


def test_one_address_for_devices_with_a_comma(folder: Path) -> None:
    place = find_place(None, at(folder, RELAY_LISTEN="0.0.0.0:2525,"))
    assert (place.listen, "listen.address" in place.references) == ("0.0.0.0:2525", False)


def test_the_settings_that_are_lists_are_described_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable that is read as words, and no other."""
    read, each = set[str](), Fields.each

    def noted(self: Fields, key: str, *, commas: bool = True) -> tuple[Node, ...]:
        read.add(self.word(key))
        return each(self, key, commas=commas)

    monkeypatch.setattr(Fields, "each", noted)
    described = {path: name for name, path in LONG.items()}
    lists = {
        described[path]
        for section in SECTIONS
        for one in section.settings
        if one.several and (path := ".".join(filter(None, (section.path, one.key)))) in described
    }
    load(
        None,
        {
            **dict.fromkeys(lists - {"RELAY_UPSTREAM_PUSH"}, "x y"),
            "RELAY_DKIM_DOMAIN": "a.example",
            "RELAY_HOST": "mail.isp.example",
        },
    )
    load(None, {"RELAY_UPSTREAM_PUSH": "ntfy://x y"})
    assert read & set(described.values()) == lists


def test_a_mistake_in_the_environment_is_told_before_anybody_types(folder: Path) -> None:
    with pytest.raises(CannotSetUp, match="RELAY_LISTEN"):
        find_place(None, at(folder, RELAY_LISTEN="nowhere"))
    with pytest.raises(CannotSetUp, match="RELAY_WEB switches it off"):
        find_place(None, at(folder, RELAY_WEB="off"))
    assert not (folder / "state").exists()


@pytest.mark.parametrize(
    ("said", "asked"), [("yes", True), ("TRUE", True), ("1", True), ("on", True), ("no", False), ("", False)]
)
def test_who_asks_for_set_up(said: str, asked: bool) -> None:
    assert wanted(False, {"RELAY_SETUP": said}) is asked
    assert wanted(True, {"RELAY_SETUP": said}) is True


def test_another_word_is_no_answer() -> None:
    with pytest.raises(CannotSetUp, match="RELAY_SETUP: expected yes or no, found 'perhaps'"):
        wanted(False, {"RELAY_SETUP": "perhaps"})


def test_a_code_is_asked_for_again_within_its_hour(tmp_path: Path) -> None:
    """By a second start, which does not make the hour longer; after it, or when the code is void, there is a new one.

    Its file is for the owner only.
    """
    first = open_code(tmp_path, "127.0.0.1:8025", NOW)
    assert first.file.stat().st_mode & 0o777 == 0o600
    assert open_code(tmp_path, "127.0.0.1:8025", NOW + HOUR / 2) == first
    assert open_code(tmp_path, "127.0.0.1:8025", NOW + HOUR * 0.9) == first
    assert page_in(tmp_path) == "127.0.0.1:8025"
    later = open_code(tmp_path, "127.0.0.1:8025", NOW + HOUR)
    assert later.text != first.text
    later.void()
    assert page_in(tmp_path) == ""
    assert open_code(tmp_path, "x:1", NOW).text not in (first.text, later.text)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"code": "", "until": "2026-11-30T12:30:00+00:00"}', "\0", '{"code": 1}'])
def test_a_file_that_is_no_code_is_replaced(tmp_path: Path, text: str) -> None:
    """Nor is a code good for longer than an hour because somebody set the clock."""
    (tmp_path / "setup.json").write_text(text)
    code = open_code(tmp_path, "x:1", NOW)
    assert len(code.text) == 24
    assert open_code(tmp_path, "x:1", NOW - timedelta(days=2)).text != code.text


def test_what_fits(tmp_path: Path) -> None:
    """Capitals, dashes, blanks and letters that look alike do not matter; everything else does."""
    code = open_code(tmp_path, "x:1", NOW)
    for said in (code.text, code.text.lower(), code.text.replace("-", " "), f" {code.text}\n", code.text.replace("0", "o")):
        assert code.fits(said)
    for said in ("", code.text[:-1], code.text + "1", "0" * 20, "\ud800", code.text * 20):
        assert not code.fits(said)
