"""The image started with the values of each catalogue, and of the chart: it listens, and is healthy."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.packaging.test_catalogues import ANSWERS, CASAOS, ENGINE, FORM, RUNTIPI, filled, read
from tests.packaging.test_truenas import GIVEN, answered, rendered
from tests.packaging.test_truenas import read as truenas
from tests.support.containers import Container, built_image

pytestmark = pytest.mark.timeout(2400)
LOOK = """
import urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:8025/").status)
except urllib.error.HTTPError as refused:
    print(refused.code)
"""


def casaos(answers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    [service] = read(CASAOS)["services"].values()
    return service["user"], {**service["environment"], **answers, "TZ": "Asia/Tokyo"}


def runtipi(answers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    defaults = {field["env_variable"]: field["default"] for field in FORM["form_fields"] if "default" in field}
    text = filled(RUNTIPI.read_text(encoding="utf-8"), {**defaults, **answers, **ENGINE})
    [service] = yaml.safe_load(text)["services"].values()
    return service["user"], service["environment"]


def of_truenas(answers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    given = {"relay": {**GIVEN["relay"], "web_password": "page"}} if answers else {}
    service = rendered(answered(truenas("questions.yaml")["questions"], given))
    return service["user"], service["environment"]


@pytest.mark.parametrize(("answers", "said", "page"), [(ANSWERS, "started", 401), ({}, "opened", 200)], ids=["filled", "empty"])
@pytest.mark.parametrize("catalogue", [casaos, runtipi, of_truenas], ids=["casaos", "runtipi", "truenas"])
def test_it_starts_with_its_own_values(catalogue, answers, said, page, tmp_path: Path) -> None:
    """As its user, with the page; filled in it listens, left empty it shows the code of set-up.

    The state is in a folder of that user, as each catalogue makes one.
    """
    image, _ = built_image()
    user, environment = catalogue(answers)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    os.chown(state, *map(int, user.split(":")))
    options = ("--network=none", "--user", user)
    with Container(image, mounts={str(state): "/var/lib/relay"}, environment=environment, options=options) as relay:
        [event] = relay.wait_for(said)
        assert (event.get("listening") == ["0.0.0.0:2525"]) is bool(answers)
        assert bool(event.get("code")) is not bool(answers)
        healthy = relay.exec("relay", "health")
        assert healthy.returncode == 0, healthy.stderr
        assert relay.exec("python3", "-c", LOOK).stdout == f"{page}\n"
        assert relay.stop() == 0
