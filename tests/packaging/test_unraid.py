"""Unraid's template: every variable is the relay's; its defaults with an account are a configuration that the relay takes."""

import xml.etree.ElementTree as ET
from pathlib import Path

import yaml

from relay.config import load, missing
from relay.config.environment import NAMES, SETUP
from relay.setup.place import wanted

ROOT = Path(__file__).parents[2]
TEMPLATE = ET.parse(ROOT / "packaging" / "unraid.xml").getroot()
ATTRIBUTES = {"Name", "Target", "Default", "Description", "Type", "Display", "Required", "Mask"}


def test_unraid_can_read_it() -> None:
    """Each setting has the attributes of its kind; what is given is its default."""
    assert (TEMPLATE.tag, TEMPLATE.get("version")) == ("Container", "2")
    for one in TEMPLATE.iter("Config"):
        assert set(one.attrib) == ATTRIBUTES | ({"Mode"} if one.get("Type") == "Path" else set()), one.get("Name")
        assert one.get("Type") in ("Variable", "Path")
        assert (one.text or "") == one.get("Default")


def test_it_is_a_relay_with_four_answers(tmp_path: Path) -> None:
    """As it comes, it is set up in the browser; or the account is filled in and the password's file there."""
    variables = {one.get("Target"): one.text or "" for one in TEMPLATE.iter("Config") if one.get("Type") == "Variable"}
    assert variables.keys() <= {*NAMES, SETUP}
    (tmp_path / "password").write_text("secret\n")
    assert wanted(False, variables) and missing(None, {**variables, "RELAY_SPOOL": f"sqlite:{tmp_path}/spool.db"})
    filled = {**variables, "RELAY_PROVIDER": "gmail", "RELAY_USERNAME": "taro@gmail.com", "RELAY_NOTICES_TO": "taro@gmail.com"}
    loaded = load(None, {**filled, "RELAY_PASSWORD_FILE": str(tmp_path / "password")})
    assert loaded.mistakes == ()


def test_it_is_as_locked_down_as_compose_yaml() -> None:
    """The same user, image, capabilities and time to stop; the queue where the image has it."""
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["relay"]
    words = TEMPLATE.findtext("ExtraParams", "")
    assert f"--user {service['user']} --read-only --cap-drop ALL --security-opt no-new-privileges" in words
    assert f"--stop-timeout {service['stop_grace_period'].removesuffix('s')}" in words
    assert TEMPLATE.findtext("Repository") == service["image"]
    assert TEMPLATE.findtext("Privileged") == "false"
    places = {one.get("Target") for one in TEMPLATE.iter("Config") if one.get("Type") == "Path"}
    assert places == {"/var/lib/relay", "/run/secrets/password"}
