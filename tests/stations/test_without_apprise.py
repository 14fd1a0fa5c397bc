"""A machine without the library for push services: an extra that nobody needs who sends by SMTP.

Where the library is there, it is hidden from the processes of these tests; so they run everywhere.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay.doctor.finding import Finding
from relay.doctor.push import judge_push
from relay.doctor.push_probe import push_facts
from relay.mail.reply import Fault
from relay.outbound.replies import Fate, judge
from relay.secret import Secret
from relay.upstream.push import process
from relay.upstream.push.transport import PushDelivery
from relay.upstream.settings import PushService, Upstream
from tests.support.push_services import HIDING, hiding
from tests.support.running import ROOT
from tests.support.sending import letter

TOPIC = "camera-alarms-x7"
URL = f"ntfys://ntfy.example/{TOPIC}"
ISP = "isp: {host: mail.isp.example, username: taro@isp.example, password: x}"


def relay(tmp_path: Path, verb: str, upstreams: str) -> "subprocess.CompletedProcess[str]":
    """A command of the relay in a process that does not find the library."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDING.replace("{names}", "{'apprise'}"))
    file = tmp_path / "config.yaml"
    routes = "[{to: scans@*, via: [scans, phone]}, {via: [isp]}]"
    file.write_text(f"upstreams: {{{ISP}, {upstreams}}}\nroutes: {routes}\nspool: {{url: 'sqlite:{tmp_path}/spool.db'}}\n")
    file.chmod(0o600)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}/site:{ROOT}"}
    line = [sys.executable, "-m", "relay", verb, "--config", str(file)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_push_is_a_clear_mistake_of_the_configuration(tmp_path: Path) -> None:
    """Once for an upstream, with the very words to type, and without the URL; the relay does not start half."""
    for verb in ("check", "run"):
        done = relay(tmp_path, verb, f"phone: {{push: ['{URL}', '{URL}2']}}, scans: {{folder: {tmp_path}}}")
        said = done.stdout + done.stderr
        assert done.returncode == 2, said
        assert said.count("upstreams.phone.push: expected the library Apprise on this machine, found none") == 1
        assert "pip install 'lan-mail-relay[push]'" in said
        assert TOPIC not in said


def test_without_push_nobody_misses_it(tmp_path: Path) -> None:
    """An SMTP server and a folder need nothing of it."""
    done = relay(tmp_path, "check", f"phone: {{host: other.isp.example}}, scans: {{folder: {tmp_path}}}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Apprise" not in done.stdout + done.stderr


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library goes while the relay runs, as in an update."""
    monkeypatch.setattr(process, "_COMMAND", hiding("apprise"))
    process.misunderstood.cache_clear()
    yield
    process.misunderstood.cache_clear()


async def test_a_library_that_goes_while_the_relay_runs(removed: None) -> None:
    """The message waits, or goes by the next upstream; trail and doctor say what is missing."""
    delivery, phone = PushDelivery(), Upstream("phone", PushService((Secret(URL),)))
    [answer] = (await delivery.submit(phone, letter("me@isp.example"))).answers.values()
    await delivery.close()
    verdict = judge(answer)
    assert (verdict.fate, verdict.try_next, answer.fault) == (Fate.DEFERRED, True, Fault.INTERNAL)
    assert "Apprise cannot be loaded: No module named 'apprise'" in answer.reply.text
    [finding] = judge_push(await push_facts(phone, 5.0, 30.0))
    assert isinstance(finding, Finding)
    assert (finding.name, "pip install" in finding.cure) == ("push-process", True)
    assert TOPIC not in f"{answer} {finding}"
    assert process.misunderstood((URL,)) == ("missing",)
