"""The description of the settings (relay/config/schema.py) against what the code really reads."""

import re
from dataclasses import replace

import pytest

from relay.config import Config, load
from relay.config.fields import Fields
from relay.config.schema import SECTIONS, Section, Setting
from tests.unit.test_example_config import UNCOMMENTED, VARIABLES
from tools.pages.settings import expected, framed

OWN_NAMES = {"upstreams", "devices", "listen.users", "recipients.aliases", "devices.*.header"}
"""Mappings whose keys are names that people give."""

EVERY = [(section, setting) for section in SECTIONS for setting in section.settings]


def general(path: str) -> str:
    """`upstreams.isp.limits` -> `upstreams.*.limits`, `routes[0]` -> `routes`."""
    return re.sub(r"^(upstreams|devices)\.[^.]+", r"\1.*", re.sub(r"\[\d+\]", "", path))


def test_every_setting_that_the_code_reads_is_described_and_no_other(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """What the reading functions ask for, seen while they read the example with everything in use."""
    asked: dict[str, set[str]] = {}
    finish = Fields.finish

    def noting(self: Fields) -> None:
        asked.setdefault(general(self.path), set()).update(self.asked)
        finish(self)

    monkeypatch.setattr(Fields, "finish", noting)
    for name in re.findall(r"\b[\w-]+\.(?:pem|secret)\b", UNCOMMENTED):
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(UNCOMMENTED, encoding="utf-8")
    assert load(path, VARIABLES, machine_name="nas").mistakes == ()
    described = {section.path: {setting.key for setting in section.settings} for section in SECTIONS}
    sections = {path.removesuffix(".*").split(".")[-1] for path in described if path}
    read = {path: keys - (sections if path in ("", "upstreams.*", "devices.*") else set()) for path, keys in asked.items()}
    assert {path: keys for path, keys in read.items() if path not in OWN_NAMES and keys} == described


@pytest.mark.parametrize(
    ("section", "setting"),
    [(section, setting) for section, setting in EVERY if setting.default],
    ids=lambda part: getattr(part, "key", None) or getattr(part, "path", None),
)
def test_the_default_is_what_holds_without_the_setting(section: Section, setting: Setting, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Writing it out changes nothing."""
    assert read(section, f"{setting.key}: {setting.default}", tmp_path) == read(section, "", tmp_path)


@pytest.mark.parametrize(("section", "setting"), EVERY, ids=lambda part: getattr(part, "key", None) or part.path)
def test_the_page_tells_what_a_setting_takes_and_not_what_it_stands_beside(section: Section, setting: Setting) -> None:
    """`save_to_sent` takes true or false; without `api: graph` it would be a mistake of another kind."""
    assert "beside" not in expected(section, setting)


def read(section: Section, said: str, folder) -> Config:  # type: ignore[no-untyped-def]
    path = folder / "config.yaml"
    path.write_text(framed(section, said), encoding="utf-8")
    loaded = load(path, {}, machine_name="nas")
    assert [str(mistake) for mistake in loaded.mistakes] == []
    assert loaded.config
    return replace(loaded.config, source="")


@pytest.mark.parametrize(("section", "setting"), EVERY, ids=lambda part: getattr(part, "key", None) or "")
def test_what_a_setting_takes_is_said_as_check_says_it(section: Section, setting: Setting) -> None:
    """The words in the page's second column are those of `relay check`; and the sentence is one."""
    assert expected(section, setting)
    assert setting.text.endswith(".")
