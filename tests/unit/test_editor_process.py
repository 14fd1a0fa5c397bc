"""The configuration on the page: what a save is refused for, and that no hidden value is told."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay.config.editor_process import Request, answer
from relay.config.hidden import restored, spans
from relay.config.loader import load

TEXT = """hostname: relay.example
upstreams:
  isp:
    host: smtp.isp.example
    username: me@isp.example
    password_file: one
  other:
    host: smtp.other.example
    username: me@isp.example
    password: Secret-of-other
routes:
  - {via: [isp, other]}
"""


def asked(path: Path, work: str, text: str = "", stamp: str = "") -> dict[str, object]:
    running = load(path, {}).config
    assert running is not None
    return answer(Request(work, running, {}, text, stamp))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "one").write_text("Secret-of-isp\n")
    (tmp_path / "one").chmod(0o600)
    found = tmp_path / "config.yaml"
    found.write_text(TEXT)
    found.chmod(0o600)
    return found


def test_what_the_placeholders_stand_for_is_part_of_the_stamp(path: Path) -> None:
    """They are counted anew where a file of a secret has gone: a save would give a password to another upstream."""
    seen = asked(path, "look")
    assert "password: (hidden-1)" in str(seen["text"])
    running = load(path, {}).config
    assert running is not None
    (path.parent / "one").unlink()  # now its name is hidden, and is the first
    said = answer(Request("save", running, {}, str(seen["text"]), str(seen["stamp"])))
    assert (said["saved"], said["refused"]) == (False, "changed")
    assert path.read_text() == TEXT


@pytest.mark.parametrize("setting", ["passwort", "password", "oauth", "limits", "dkim"])
def test_a_mistake_tells_no_hidden_value(path: Path, setting: str) -> None:
    """Wherever a placeholder was put, and whatever its value is."""
    for value in ("Zebra77", "zebra77 quagga, ${quagga}", "https://zebra77:quagga@host/?token=quagga"):
        path.write_text(TEXT.replace("password: Secret-of-other", f'password: "{value.replace("$", "$$")}"'))
        seen = asked(path, "look")
        said = asked(path, "check", str(seen["text"]).replace("password: (hidden-1)", f"{setting}: (hidden-1)"))
        assert said["mistakes"] or setting == "password"
        assert not {"zebra77", "quagga"} & set(re.findall("[a-z0-9]+", str(said).lower()))


def test_the_rest_of_a_mistake_is_told() -> None:
    """Only what has the value in it, in whatever case or pieces, is kept back."""
    meant = restored("password: (hidden-1)\n", 'password: "Zebra, 77"\n', spans('password: "Zebra, 77"\n', bool), bool)
    assert meant.shows("expected a number, found 'zebra'", 1)
    assert meant.shows("found Zebra, 77")
    assert not meant.shows("expected a number", 1)
    assert not meant.shows("expected a number, found 'zebra'", 2)


@pytest.mark.parametrize("module", ["relay.config.editor_process", "relay.doctor.child_process"])
def test_a_child_whose_relay_died_ends_by_itself(module: str) -> None:
    """Whatever it waits for; here for the rest of what it is asked."""
    words = f"import {module} as child; child._ALONE = 1; child.main()"
    with subprocess.Popen([sys.executable, "-c", words], stdin=subprocess.PIPE) as process:
        assert process.wait(timeout=30) == -signal.SIGALRM
