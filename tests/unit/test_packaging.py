"""Dockerfile, compose.yaml and the systemd unit say the same as the code, and keep the promises of their comments."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import relay
from relay.config.environment import NAMES, SETUP

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICE = COMPOSE["services"]["relay"]
FILLED_TEXT = re.sub(r"(?m)^( *)#~ ", r"\1", COMPOSE_TEXT)
FILLED = yaml.safe_load(FILLED_TEXT)
"""compose.yaml with its settings, instead of set-up in the browser."""
FOUR = {"RELAY_PROVIDER", "RELAY_USERNAME", "RELAY_PASSWORD_FILE", "RELAY_NOTICES_TO"}
UNIT = (ROOT / "packaging" / "relay.service").read_text(encoding="utf-8")


def test_the_image_has_the_version_of_the_code():
    """The label is that of relay/__init__.py."""
    assert f"ARG VERSION={relay.__version__}\n" in DOCKERFILE


def test_only_what_the_image_needs_goes_to_the_builder():
    """Everything is ignored but what the Dockerfile copies: no secret, spool or history can get in."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    wanted = {word for line in copied for word in line.split()}
    assert "*" in ignore
    assert {line[1:] for line in ignore if line.startswith("!")} == wanted
    assert all((ROOT / name).exists() for name in wanted)


def pins(name):
    """Package and version of each line of a lock file, every one of them with hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    found = re.findall(r"^([a-z0-9-]+)==(\S+).*\n    --hash=sha256:", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE))
    return dict(found)


def test_push_services_are_in_the_image():
    """By default it is built with Apprise and what that needs, beside all that the relay needs; so is the one for a pair."""
    [default] = re.findall(r"^ARG REQUIREMENTS=requirements/(\S+)$", DOCKERFILE, re.MULTILINE)
    assert default == "push.txt"
    for name in ("push.txt", "postgres.txt"):
        assert pins(name).items() > pins("runtime.txt").items(), name
        assert pins(name).keys() > {"apprise", "requests", "certifi", "urllib3"}, name
    assert "apprise" not in pins("runtime.txt")


def test_image_and_compose_file_agree():
    """The same user, volume and health check in both."""
    user = re.search(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert SERVICE["user"] == user
    assert not user.startswith("0")
    place = re.search(r'^VOLUME \["(.*)"\]$', DOCKERFILE, re.MULTILINE)[1]
    assert SERVICE["volumes"] == [f"spool:{place}"]
    assert SERVICE["healthcheck"]["test"] == ["CMD", "relay", "health"]
    assert 'CMD ["relay", "health"]' in DOCKERFILE


def test_the_appliance_is_locked_down():
    """Read-only, no capability, no new privileges, time to stop, a log that cannot fill the card."""
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert "cap_add" not in SERVICE
    assert SERVICE["security_opt"] == ["no-new-privileges:true"]
    assert SERVICE["stop_grace_period"] == "45s"
    assert set(SERVICE["logging"]["options"]) == {"max-size", "max-file"}
    assert list(COMPOSE["volumes"]) == ["spool"]


def test_as_shipped_the_page_asks_for_everything(tmp_path, monkeypatch):
    """No account is filled in, no file wanted; set-up is on, and where the page's password is empty it is chosen there."""
    from relay.config import missing
    from relay.setup.place import find_place, wanted

    monkeypatch.chdir(tmp_path)
    environment = {**SERVICE["environment"], "RELAY_WEB_PASSWORD": "", "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"}
    assert wanted(False, environment)
    assert missing(None, environment)
    assert "secrets" not in COMPOSE
    assert "secrets" not in SERVICE
    place = find_place(None, environment)
    assert place.target == tmp_path / "config.yaml"
    assert not place.own_password
    assert place.references["web.address"] == '"${RELAY_WEB}"'
    assert find_place(None, {**environment, "RELAY_WEB_PASSWORD": "chosen"}).own_password


def test_four_settings_are_enough(tmp_path):
    """Filled in, compose.yaml configures a relay without set-up; every variable in it, commented ones too, is one of ours."""
    from relay.config import load, missing

    secret = tmp_path / "password"
    secret.write_text("app password\n")
    said = FILLED["services"]["relay"]["environment"]
    assert said.keys() - SERVICE["environment"].keys() == FOUR
    environment = {**said, "RELAY_PASSWORD_FILE": str(secret)}
    assert not missing(None, environment)
    loaded = load(None, environment, machine_name="0123456789ab")
    assert loaded.mistakes == ()
    assert {f"{one.host}:{one.port}" for one in loaded.config.listeners} == {"0.0.0.0:2525"}
    assert said["RELAY_PASSWORD_FILE"] == "/run/secrets/password"
    assert FILLED["secrets"] == {"password": {"file": "./relay-password.txt"}}
    assert FILLED["services"]["relay"]["secrets"] == ["password"]
    assert set(re.findall(r"\bRELAY_[A-Z_]+", COMPOSE_TEXT)) <= {*NAMES, SETUP}


def test_the_page_is_on_behind_a_password():
    """On port 8025; without a password of the person's own choice mail is relayed, and it is said what to set for a page."""
    from relay.config import load

    assert "8025:8025" in SERVICE["ports"]
    environment = {**FILLED["services"]["relay"]["environment"], "RELAY_PASSWORD": "x", "RELAY_PASSWORD_FILE": ""}
    assert environment["RELAY_WEB"] == "0.0.0.0:8025"
    assert environment["RELAY_WEB_PASSWORD"] == "${RELAY_WEB_PASSWORD:-}", "compose fills it in; it is empty if nobody did"
    without = load(None, {**environment, "RELAY_WEB_PASSWORD": ""}, machine_name="0123456789ab")
    assert without.mistakes == ()
    assert without.config.web.address == ""
    assert any("RELAY_WEB_PASSWORD is empty" in str(remark) for remark in without.remarks)
    loaded = load(None, {**environment, "RELAY_WEB_PASSWORD": "chosen"}, machine_name="0123456789ab")
    assert loaded.config.web.password.reveal() == "chosen"


def test_the_page_s_password_may_be_a_secret_too():
    """Its variants are comments, which stand right among the uncommented secrets."""
    text = FILLED_TEXT
    for variant in ("# RELAY_WEB_PASSWORD_FILE: /run/secrets/web", "# - web", "# web:", "#   file: ./relay-web-password.txt"):
        assert text.count(variant) == 1
        text = text.replace(variant, variant.replace("# ", "", 1))
    file = yaml.safe_load(text)
    assert file["services"]["relay"]["secrets"] == ["password", "web"]
    assert file["secrets"]["web"] == {"file": "./relay-web-password.txt"}


@pytest.mark.parametrize(
    "variant", ["network_mode: host", "- ./config:/etc/relay:ro", '- "25:2525"', "cap_add: [NET_BIND_SERVICE]"]
)
def test_the_variants_are_there(variant):
    """As comments that become valid settings when the # goes."""
    assert re.search(rf"^\s+# {re.escape(variant)}$", COMPOSE_TEXT, re.MULTILINE)
    line = next(line for line in COMPOSE_TEXT.splitlines() if line.strip() == f"# {variant}")
    uncommented = COMPOSE_TEXT.replace(line, line.replace("# ", "", 1))
    if "network_mode" in variant:
        uncommented = uncommented.replace('    ports:\n      - "2525:2525"\n', "").replace('      - "8025:8025"', "#")
    assert isinstance(yaml.safe_load(uncommented)["services"]["relay"], dict)
    assert yaml.safe_load(uncommented) != COMPOSE


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "WatchdogSec=3min",
        "User=relay",
        "StateDirectory=relay",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "LimitCORE=0",
    ],
)
def test_the_unit_is_a_sandbox(line):
    """Ready and alive are told, and only what the relay needs is allowed."""
    assert line in UNIT.splitlines()


def test_systemd_understands_the_unit(tmp_path):
    """No unknown option, by systemd's own check."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "relay.service"
    unit.write_text(UNIT.replace("/opt/relay/.venv/bin/python", "/bin/true"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if "relay.service" in line]
    assert about_it == []


def test_the_pair_shares_one_queue_and_is_locked_down(tmp_path):
    """compose.pair.yaml: two relays with one configuration, each with a state of its own, as locked down as the single one."""
    from relay.config import load

    pair = yaml.safe_load((ROOT / "compose.pair.yaml").read_text(encoding="utf-8"))
    one, two = pair["services"]["relay-a"], pair["services"]["relay-b"]
    for relay_of_two in (one, two):
        for key in ("user", "read_only", "cap_drop", "security_opt", "tmpfs", "pids_limit", "stop_grace_period"):
            assert relay_of_two[key] == SERVICE[key]
        assert (ROOT / relay_of_two["build"]["args"]["REQUIREMENTS"]).exists()
    assert one["volumes"] != two["volumes"]
    assert one["hostname"] != two["hostname"]
    text = pair["configs"]["relay"]["content"].replace("/run/secrets/", f"{tmp_path}/")
    for name in ("password", "database"):
        (tmp_path / name).write_text("secret\n")
    (tmp_path / "config.yaml").write_text(text)
    loaded = load(tmp_path / "config.yaml", {})
    assert loaded.mistakes == ()
    assert loaded.config.spool.url == "postgresql://relay@database/relay"
    assert loaded.config.spool.password.reveal() == "secret"
