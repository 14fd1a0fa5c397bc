"""Behind the engine's network: who comes through the container's gateway is not taken for somebody of the LAN.

this machine ──published port──▶ gateway 10.88.0.1 ──▶ container      (a network namespace made for the test)
              every client comes with the gateway's address
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.containers import ENVIRONMENT, ROOT, built_image

pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def image() -> str:
    return built_image()[0]


def behind_a_bridge(image: str, networks: str) -> dict[str, object]:
    """What a client of the published port hears at each step, and what the relay logged."""
    inner = 'ip link set lo up; exec "$0" -m tests.container.through_the_gateway "$@"'
    command = ["unshare", "--net", "--mount", "--propagation", "private", "bash", "-c", inner, sys.executable, image, networks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def test_the_gateway_is_not_one_of_private(image) -> None:
    """220 for a port check, 554 with the cure at MAIL, both in the log; told at start too; nothing is taken."""
    seen = behind_a_bridge(image, "private")
    assert seen["greeting"].startswith("220 ")
    assert seen["mail"].startswith("554 5.7.1")
    assert seen["gateway"] in seen["mail"]
    assert "network_mode: host" in seen["mail"]
    assert any(seen["gateway"] in text and "network_mode: host" in text for text in seen["warned"])
    assert any("554 5.7.1" in text for text in seen["refused"])
    assert seen["queued"] == 0


def test_listed_on_purpose_it_may_submit_and_the_log_says_so(image) -> None:
    """The operator's word counts, and is repeated at each start."""
    seen = behind_a_bridge(image, "private {gateway}")
    assert seen["mail"].startswith("250")
    assert seen["refused"] == []
    assert any("on purpose" in text and seen["gateway"] in text for text in seen["warned"])
    assert seen["queued"] == 1


def test_the_probe_is_there() -> None:
    """The other half of these tests runs inside the namespace."""
    assert Path(__file__).with_name("through_the_gateway.py").exists()
