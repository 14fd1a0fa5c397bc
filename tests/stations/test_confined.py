"""The relay under the system call filter of its systemd unit: what the unit forbids, nothing of the relay needs."""

import json
import smtplib
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.confined import confined
from tests.support.running import ROOT, RelayProcess
from tests.support.sink import sink

CHECK_UP = """
import asyncio, json, os, pathlib, sys
from relay.cli.common import load_config
from relay.daemon import subject_of
from relay.doctor.child_process import aside
import argparse
asked = argparse.Namespace(config=sys.argv[1])
print(json.dumps(asyncio.run(aside(subject_of(load_config(asked).config)))))
"""

WHOLE = CHECK_UP.replace("import aside", "import whole").replace(
    "print(json.dumps(asyncio.run(aside(subject_of(load_config(asked).config)))))",
    """
told = []
asyncio.run(whole(subject_of(load_config(asked).config), told.append))
print(json.dumps(told[-1]["findings"]))
""",
)


def under(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*confined(), *words], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


def test_the_filter_forbids_what_the_unit_forbids() -> None:
    """A nicer process, another user, a mount: refused with EPERM, as the unit says; files and sockets are not."""
    words = ("import os, socket", "socket.socket().close()", "open('/dev/null').close()", "try: os.nice(1)")
    done = under(sys.executable, "-c", "\n".join([*words, "except PermissionError: print('refused')"]))
    assert (done.stdout, done.stderr) == ("refused\n", "")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("program", [CHECK_UP, WHOLE], ids=["daily", "whole"])
def test_the_check_up_is_made(tmp_path: Path, program: str) -> None:
    """The daily look in a process of its own comes back with findings; so does the one that a person asks for."""
    relay = RelayProcess(tmp_path, {"upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none"}}})
    done = under(sys.executable, "-c", program, str(relay.config_file))
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout.splitlines()[-1])
    assert findings
    assert all("name" in finding or "finding" in finding or "id" in finding for finding in findings)


@pytest.mark.timeout(120)
def test_mail_is_relayed(tmp_path: Path) -> None:
    """Started, a certificate made, a message taken and relayed, the status page and the settings opened, stopped."""
    with sink(tmp_path / "sink") as upstream:
        smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "nas@isp.example"}
        relay = RelayProcess(tmp_path, {"upstreams": {"sink": smarthost}, "web": {"address": "127.0.0.1:0"}})
        relay.wrapper = confined()
        relay.start()
        try:
            with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=30) as line:
                line.sendmail("nas@isp.example", ["b@far.example"], "Subject: x\r\n\r\nx\r\n")
            upstream.wait_for(1)
            assert relay.command("health").returncode == 0
            assert relay.queue("--all")
            with urlopen(f"http://{relay.events('started')[-1]['web']}/api/settings", timeout=60) as settings:
                assert json.load(settings)["settings"]
        finally:
            assert relay.stop() == 0
        assert relay.events("broken") == []
