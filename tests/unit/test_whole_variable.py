"""RELAY_CONFIG_YAML: a whole configuration file as the text of a variable."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay.cli.main import main
from relay.config import find, load
from relay.config.environment import ONLY_WHOLE, WHOLE

ROOT = Path(__file__).parents[2]

TEXT = """\
upstreams:
  isp: {host: mail.isp.example, username: taro@isp.example, password_file: isp.secret}
  phone: {push: "${RELAY_PHONE}"}
listen: {address: "127.0.0.1:2525", auth: required, users: {nas: "${NAS_PASSWORD}"}}
recipients: {aliases: {root: me@isp.example}}
devices: {nas: {client: 192.168.0.20, expect_every: 26h}}
routes: [{device: nas, via: [phone, isp]}, {via: [isp]}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the relay is started; it has nothing of ours in its environment."""
    (tmp_path / "isp.secret").write_text("hunter2\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.config.loader._SYSTEM", tmp_path / "none.yaml")
    for name in os.environ:
        if name.startswith("RELAY_"):
            monkeypatch.delenv(name)
    return tmp_path


def test_it_says_all_that_a_file_says(folder: Path) -> None:
    """Also what has no variable: several upstreams, users, aliases, devices, rules.  File names count from here."""
    environ = {WHOLE: TEXT, "RELAY_PHONE": "ntfys://ntfy.example/topic", "NAS_PASSWORD": "x"}
    loaded = load(find(None, environ), environ, machine_name="nas", quick=True)
    assert (loaded.mistakes, loaded.config and loaded.config.source) == ((), WHOLE)
    assert loaded.config
    assert [list(loaded.config.upstreams), [one.name for one in loaded.config.devices]] == [["isp", "phone"], ["nas"]]
    assert [route.via for route in loaded.config.routes] == [("phone", "isp"), ("isp",)]
    assert not any("not read" in remark for remark in loaded.remarks)


def test_mistakes_and_remarks_name_the_variable_and_the_line(folder: Path) -> None:
    """As of a file; a secret that stands in it is remarked on, and never shown."""
    wrong = TEXT.replace("26h", "often").replace("password_file: isp.secret", "pasword: hunter2")
    told = load(None, {WHOLE: wrong, "RELAY_PHONE": "x", "NAS_PASSWORD": "x"}, quick=True).mistakes
    assert [(one.place.file, one.place.line, one.path) for one in told] == [
        (WHOLE, 2, "upstreams.isp.password"), (WHOLE, 2, "upstreams.isp.pasword"), (WHOLE, 6, "devices.nas.expect_every"),
    ]  # fmt: skip
    assert "hunter2" not in "".join(map(str, told))
    literal = "upstreams: {isp: {host: mail.isp.example, username: taro@isp.example,\n  password: hunter2}}"
    loaded = load(None, {WHOLE: literal})
    assert loaded.mistakes == ()
    (remark,) = loaded.remarks
    assert remark.startswith(f"{WHOLE}:2:13: upstreams.isp.password: whoever may look at the relay's environment can read it")
    assert "hunter2" not in remark
    named = "upstreams: {isp: {host: a.example, username: a@b.example, password: '${WORD}'}}"
    assert load(None, {WHOLE: named, "WORD": "x"}).remarks == ()
    broken = load(None, {WHOLE: "upstreams: {isp: {host: a.example}\n"})
    assert str(broken.mistakes[0]).startswith(f"{WHOLE}:2:1: expected YAML, found an error")


def test_which_settings_count(folder: Path) -> None:
    """A file that somebody named comes first, then the variable, then files that are only found."""
    (folder / "config.yaml").touch()
    named = folder / "etc"
    named.mkdir()
    assert find(None, {WHOLE: ""}) == Path("config.yaml")
    assert find(None, {WHOLE: TEXT}) is None
    assert find(None, {WHOLE: TEXT, "RELAY_CONFIG": str(named)}) is None
    assert find("config.yaml", {WHOLE: TEXT}) == Path("config.yaml")
    (named / "config.yaml").write_text("upstreams: {isp: {host: a.example, sender: a@b.example}}", encoding="utf-8")
    environ = {WHOLE: TEXT, "RELAY_CONFIG": str(named), "RELAY_NOTICES_TO": "me@b.example"}
    found = find(None, environ)
    assert found == named / "config.yaml"
    remarks = load(found, environ).remarks
    assert {f"{name}: not used, since the settings come from {found}" for name in (WHOLE, "RELAY_NOTICES_TO")} <= set(remarks)


def test_single_variables_beside_it_are_not_used_and_told(folder: Path) -> None:
    """As beside a file, but for those that it names itself."""
    text = "upstreams: {isp: {host: a.example, username: a@b.example, password: '${RELAY_PASSWORD}'}}"
    loaded = load(None, {WHOLE: text, "RELAY_PASSWORD": "x", "RELAY_HOST": "b.example", "RELAY_NOTIFY_TO": "y"})
    assert loaded.config
    assert loaded.config.upstreams["isp"].smtp.host == "a.example"
    assert loaded.remarks == (
        f"RELAY_HOST: not used, since the settings come from {WHOLE}",
        "RELAY_NOTIFY_TO: not read: no setting has this name; did you mean RELAY_NOTICES_TO?",
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RELAY_API", "RELAY_UPSTREAM_API"),
        ("RELAY_LIMITS_PER_DAY", "RELAY_UPSTREAM_LIMITS_PER_DAY"),
        ("RELAY_SMTP_HOST", "RELAY_HOST"),
    ],
)
def test_a_variable_that_nobody_reads_is_told_with_a_guess(name: str, meant: str) -> None:
    """Nothing stops for it: it may be somebody else's."""
    loaded = load(None, {"RELAY_HOST": "a.example", "RELAY_SENDER": "a@b.example", name: "x"})
    assert loaded.config
    assert loaded.remarks == (f"{name}: not read: no setting has this name; did you mean {meant}?",)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RELAY_CONFIG_FILE", "RELAY_CONFIG"),
        ("RELAY_CONFIG_YAML_FILE", "RELAY_CONFIG"),
        ("RELAY_CONFIG_YML", "RELAY_CONFIG_YAML"),
        ("RELAY_UPSTREAMS_HOST", "RELAY_UPSTREAM_HOST"),
        ("RELAY_SENDER_ADDRESS", "RELAY_SENDER"),
    ],
)
def test_a_name_that_can_only_have_been_meant_is_a_mistake(name: str, meant: str) -> None:
    """A relay that went without these settings would not be the one that is wanted."""
    (mistake,) = load(None, {"RELAY_HOST": "a.example", name: "x"}).mistakes
    assert str(mistake) == f"{name}: no such setting; did you mean {meant}?"
    (remark,) = load(None, {WHOLE: "upstreams: {isp: {host: a.example, sender: a@b.example}}", name: "x"}).remarks
    assert remark.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize("name", ONLY_WHOLE)
def test_what_no_single_variable_can_say_leads_here(name: str) -> None:
    """Rules and names of one's own: ignoring them would be worse than stopping."""
    (mistake,) = load(None, {"RELAY_HOST": "a.example", name: "{nas: x}"}).mistakes
    assert str(mistake) == f"{name}: expected {ONLY_WHOLE[name]} in a file or in {WHOLE}, found a variable of its own"


def test_octets_that_are_no_text_are_a_mistake() -> None:
    """With their place, as in a file."""
    (mistake,) = load(None, {WHOLE: os.fsdecode(b"upstreams:\n  isp: {host: \xff}\n")}).mistakes
    assert str(mistake).startswith(f"{WHOLE}:2:15: expected UTF-8 text, found the octet 0xff")


@pytest.mark.parametrize("said", ["upstreams:\n  isp: {password: hunter2}", "{upstreams: {isp: {password: hunter2}}}"])
def test_a_text_where_a_file_name_belongs_is_not_shown(said: str) -> None:
    """RELAY_CONFIG with what RELAY_CONFIG_YAML should have: there are secrets in it."""
    (mistake,) = load(find(None, {"RELAY_CONFIG": said}), {"RELAY_CONFIG": said}).mistakes
    assert str(mistake).endswith(f"that goes into {WHOLE}")
    assert "hunter2" not in str(mistake)


def test_check_says_where_the_settings_come_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable, as it says the file's name else."""
    monkeypatch.setenv(WHOLE, "upstreams: {isp: {host: mail.isp.example, sender: a@isp.example}}")
    assert main(["check"]) == 0
    assert capsys.readouterr().out == f"{WHOLE}: fine (1 upstream, 1 route)\n"
    monkeypatch.setenv(WHOLE, "upstream: {isp: {host: mail.isp.example}}")
    assert main(["check"]) == 2
    assert f"{WHOLE}:1:1: upstream: no such setting; did you mean 'upstreams'?" in capsys.readouterr().err


def test_a_relay_runs_by_it_and_reads_its_files_again(folder: Path) -> None:
    """SIGHUP: the text stays what it was, the secrets' files are read anew."""
    settings = {
        "upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "username": "a@b.example", "password_file": "isp.secret"}},
        "listen": {"address": "127.0.0.1:0"},
        "spool": {"url": f"sqlite:{folder}/spool/spool.db", "keep_free": "1MB"},
        "log": {"format": "json"},
    }
    (folder / "spool").mkdir()
    environ = {**os.environ, WHOLE: json.dumps(settings, indent=1), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "relay", "run"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as relay:
        try:
            assert relay.stdout
            assert json.loads(relay.stdout.readline())["config"] == WHOLE
            (folder / "isp.secret").write_text("", encoding="utf-8")
            relay.send_signal(signal.SIGHUP)
            said = next(line for line in relay.stdout if "reload" in line)
            assert f"not reloaded: {WHOLE}:" in said
            assert "password_file: expected a readable file with one line of text" in said
            (folder / "isp.secret").write_text("other\n", encoding="utf-8")
            relay.send_signal(signal.SIGHUP)
            said = next(line for line in relay.stdout if "reload" in line)
            assert (json.loads(said)["event"], json.loads(said)["config"]) == ("reloaded", WHOLE)
        finally:
            relay.terminate()
