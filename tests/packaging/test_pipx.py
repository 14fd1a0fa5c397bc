"""`pipx install`: the wheel as a person installs it, on a Debian of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import relay
from tests.support.overlay import run_inside

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)

INSTALL = """
set -e
export HOME=/root PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/opt/bin
pipx install /srv/peer/NAME >/tmp/pipx.txt 2>&1 || { cat /tmp/pipx.txt; exit 1; }
cd /
/opt/bin/relay version
/opt/bin/relay check --config /srv/peer/config.yaml
pipx uninstall lan-mail-relay >/dev/null 2>&1
test ! -e /opt/bin/relay
"""


def test_the_command_is_there_after_it(tmp_path: Path) -> None:
    """`relay version` and `relay check` run from the wheel and what pip brings for it; uninstalled, the command is gone."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    files = {
        wheel.name: wheel.read_bytes(),
        "config.yaml": "upstreams: {isp: {host: mail.isp.example}}\nlisten: {address: '127.0.0.1:2525'}\n",
    }
    said = run_inside("pipx", ["sh", "-c", INSTALL.replace("NAME", wheel.name)], files, seconds=400)
    assert said.startswith(f"relay {relay.__version__} ("), said
    assert said.strip().endswith("exit 0"), said
