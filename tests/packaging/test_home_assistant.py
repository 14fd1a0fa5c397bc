"""The app (add-on) of Home Assistant: its files as the Supervisor reads them, its options as the relay reads them."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import relay
from relay.config import load, missing
from relay.config.environment import NAMES
from relay.setup.place import wanted

ROOT = Path(__file__).parents[2]
APP = ROOT / "packaging" / "home-assistant"
CONFIG = yaml.safe_load((APP / "config.yaml").read_text(encoding="utf-8"))

# What supervisor/addons/validate.py takes of these; it drops keys that it does not know.
KEYS = {
    **dict.fromkeys(("name", "version", "slug", "description", "startup", "boot", "backup", "panel_icon", "panel_title"), str),
    **dict.fromkeys(("init", "host_network", "ingress"), bool),
    **dict.fromkeys(("options", "schema"), dict),
    **dict.fromkeys(("arch", "map"), list),
    **dict.fromkeys(("timeout", "ingress_port"), int),
}
START = '"python3", "/usr/local/lib/addon.py"'  # the image has neither a shell nor env
ELEMENT = re.compile(r"(bool|email|url|port|str|password|int|float|list\([a-z|]+\))\??")
REQUIRED = {"name", "version", "slug", "description", "arch"}


@pytest.fixture
def addon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The start script, with its two folders under tmp_path."""
    spec = importlib.util.spec_from_file_location("addon", APP / "addon.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, folder in (("DATA", "data"), ("OWN", "config")):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(module, name, tmp_path / folder)
    return module


def filled(**given: object) -> dict[str, object]:
    return {
        **CONFIG["options"],
        "provider": "gmail",
        "username": "taro@gmail.com",
        "password": "pass word",
        "notices_to": "taro@gmail.com",
        **given,
    }


def check(told: dict[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**told, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "relay", "check"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_supervisor_takes_it() -> None:
    """Known keys of the right kind, a slug, processors, folders and option types as it wants them; our version."""
    assert CONFIG.keys() >= REQUIRED
    assert {key: type(value) for key, value in CONFIG.items()} == {key: KEYS[key] for key in CONFIG}
    assert CONFIG["version"] == relay.__version__
    assert re.fullmatch(r"[-_.A-Za-z0-9]+", CONFIG["slug"])
    assert set(CONFIG["arch"]) <= {"amd64", "aarch64"}
    assert CONFIG["startup"] in ("initialize", "system", "services", "application", "once")
    assert CONFIG["backup"] == "cold"
    assert 45 <= CONFIG["timeout"] <= 300
    assert CONFIG["ingress"]
    assert re.fullmatch(r"mdi:[a-z-]+", CONFIG["panel_icon"])
    assert {one["type"]: one["path"] for one in CONFIG["map"]} == {"data": "/var/lib/relay", "addon_config": "/config"}
    assert all(one["read_only"] is False for one in CONFIG["map"])
    for name, kind in CONFIG["schema"].items():
        assert ELEMENT.fullmatch(kind), name
    assert CONFIG["options"].keys() <= CONFIG["schema"].keys()


def test_every_option_is_a_variable_of_the_relay() -> None:
    assert {f"RELAY_{name.upper()}" for name in CONFIG["schema"]} <= set(NAMES)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_option_has_its_words(language: str) -> None:
    texts = yaml.safe_load((APP / "translations" / f"{language}.yaml").read_text(encoding="utf-8"))["configuration"]
    assert texts.keys() == CONFIG["schema"].keys()
    assert all(text.keys() == {"name", "description"} and all(text.values()) for text in texts.values())


def test_its_icon_is_a_square() -> None:
    octets = (APP / "icon.png").read_bytes()
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(octets[16:20], "big"), int.from_bytes(octets[20:24], "big")) == (128, 128)


def test_the_four_options_are_enough(addon: ModuleType, tmp_path: Path) -> None:
    """Filled in, the relay accepts them; as they come, it names what is missing, and may be set up in the browser."""
    (addon.DATA / "options.json").write_text(json.dumps(filled()))
    told = {**addon.environment(), "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"}
    assert told["RELAY_PASSWORD"] == "pass word"
    done = check(told, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (addon.DATA / "options.json").write_text(json.dumps(CONFIG["options"]))
    empty = addon.environment()
    done = check(empty, tmp_path)
    assert done.returncode == 2
    assert "RELAY_" in done.stdout + done.stderr
    assert wanted(False, empty) and missing(None, {**empty, "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"})


def test_every_option_at_once(addon: ModuleType, tmp_path: Path) -> None:
    """One of each kind, as the form would store it."""
    given = filled(
        provider="", host="mail.isp.example", port=587, tls="starttls", sender="nas@isp.example", networks="192.168.0.0/24",
        recipients_everything_to="me@isp.example", web_hosts="ha.home.example, homeassistant.local", web_password="another one",
    )  # fmt: skip
    assert given.keys() == CONFIG["schema"].keys()
    (addon.DATA / "options.json").write_text(json.dumps(given))
    done = check({**addon.environment(), "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"}, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_is_where_ingress_looks_for_it(addon: ModuleType, tmp_path: Path) -> None:
    """Without a password, since the Supervisor names who has logged in; nobody else is believed."""
    (addon.DATA / "options.json").write_text(json.dumps(filled()))
    told = {**addon.environment(), "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"}
    web = load(None, told).config.web
    assert (web.address, web.user_header, web.password) == (f"0.0.0.0:{CONFIG['ingress_port']}", "X-Remote-User-Id", None)
    assert [str(one) for one in web.proxies] == ["172.30.32.2/32"]


def test_a_file_of_ones_own_takes_the_place_of_the_options(addon: ModuleType, tmp_path: Path) -> None:
    (addon.DATA / "options.json").write_text(json.dumps(filled()))
    (addon.OWN / "config.yaml").write_text("upstreams: {isp: {host: mail.isp.example}}\n")
    told = addon.environment()
    assert told["RELAY_CONFIG"] == str(addon.OWN)
    assert "RELAY_PASSWORD" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_goes_on_as_the_relays_user(addon: ModuleType) -> None:
    """The queue is the relay's, the options stay root's, and the command has neither root's number nor its groups."""
    (addon.DATA / "options.json").write_text(json.dumps(filled()))
    (addon.DATA / "options.json").chmod(0o600)
    (addon.DATA / "restored").mkdir()
    (addon.DATA / "restored" / "spool.db").touch()
    (addon.DATA / "away").symlink_to("/etc/passwd")
    seen = 'import os; print(os.getuid(), os.getgid(), os.getgroups(), os.environ["RELAY_USERNAME"])'
    program = f"import os, sys, pathlib; sys.path.insert(0, {str(APP)!r}); import addon\n"
    program += f"addon.DATA, addon.OWN = pathlib.Path({str(addon.DATA)!r}), pathlib.Path('/nowhere')\n"
    program += f"os.execvpe = lambda name, words, env: (os.environ.update(env), print(words), exec({seen!r}))\n"
    program += "addon.main(['run'])"
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "['relay', 'run']\n65532 65532 [] taro@gmail.com\n", done.stderr
    owners = {path.name: path.lstat().st_uid for path in (addon.DATA, *addon.DATA.rglob("*"))}
    assert owners == {"data": 65532, "restored": 65532, "spool.db": 65532, "away": 65532, "options.json": 0}
    assert os.stat("/etc/passwd").st_uid == 0


def test_the_folder_has_all_that_its_dockerfile_copies(tmp_path: Path) -> None:
    """make-addon.sh gathers every file; the last stage begins as root, for the options are root's, and asks for its health."""
    made = subprocess.run([str(ROOT / "packaging" / "make-addon.sh"), str(tmp_path / "app")], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "app"
    dockerfile = (folder / "Dockerfile").read_text()
    for words in re.findall(r"^COPY (?!--from)((?:--\S+ )*)(.*) \S+$", dockerfile, re.MULTILINE):
        assert all((folder / name).exists() for name in words[1].split()), words
    last = dockerfile.rpartition("FROM scratch")[2]
    for instruction, value in (("USER", "0:0"), ("ENTRYPOINT", f"[{START}]"), ("CMD", '["run"]')):
        assert re.findall(rf"^{instruction} (.*)$", last, re.MULTILINE)[-1] == value
    assert re.findall(r"HEALTHCHECK .* CMD (.*)", last)[-1] == f'[{START}, "health"]'
    assert {"config.yaml", "DOCS.md", "icon.png", "translations"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.rglob("__pycache__"))
