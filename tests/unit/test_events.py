"""What happened is counted and logged by one call."""

import json
import subprocess
import sys

import pytest

from relay import events
from relay.secret import Secret
from tests.support.running import ROOT


def said(code: str, level: str = "info") -> list[dict[str, object]]:
    """The JSON lines that a process with our log writes while it runs `code`."""
    program = f"from relay import events\nfrom relay.secret import Secret\nevents.configure('json', '{level}')\n{code}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_event_is_a_line_of_json_with_its_fields():
    """Event name, level, time, sentence and fields stand in one JSON object."""
    (line,) = said("events.note('relayed', 'it went', upstream='isp', queue_id='01x')")
    assert {key: line[key] for key in ("event", "level", "text", "upstream", "queue_id")} == {
        "event": "relayed",
        "level": "info",
        "text": "it went",
        "upstream": "isp",
        "queue_id": "01x",
    }
    assert str(line["timestamp"]).endswith("Z")


def test_only_events_of_the_trade_are_taken():
    """A misspelt event is a bug, found at once."""
    with pytest.raises(ValueError, match="'sent' is no event"):
        events.note("sent")


def test_each_event_is_counted_by_upstream():
    """The counters that metrics show grow by one for each event and upstream."""
    before = events.counts["relayed", "test-upstream"]
    events.note("relayed", upstream="test-upstream")
    assert events.counts["relayed", "test-upstream"] == before + 1


def test_a_secret_shows_itself_to_nobody():
    """Even a secret that is logged by mistake reads `***`."""
    (line,) = said("events.note('warned', str(Secret('hunter2')), password=repr(Secret('hunter2')))")
    assert "hunter2" not in json.dumps(line)
    assert f"{Secret('hunter2')!r} {Secret('hunter2')}" == "*** ***"


def test_the_level_keeps_quiet_what_is_not_asked_for():
    """With level error a relayed message leaves no line, a failed one does."""
    lines = said("events.note('relayed'); events.note('failed', 'no')", level="error")
    assert [line["event"] for line in lines] == ["failed"]


def test_a_log_on_a_full_disk_costs_no_mail():
    """Writing to a full device raises nothing: the relay goes on."""
    code = "from relay import events; events.configure('json'); events.note('relayed'); import os; os._exit(0)"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-u", "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_eight_bit_address_does_not_end_a_log_call():
    """A surrogate in a field is written in escapes."""
    (line,) = said("events.note('refused', 'from \\udce4@x')")
    assert line["event"] == "refused"


def test_what_libraries_warn_of_is_one_of_our_lines():
    """A stray exception in asyncio becomes a `broken` event with its first line only."""
    (line,) = said("import logging; logging.getLogger('asyncio').error('odd\\nTraceback of code')")
    assert (line["event"], line["text"]) == ("broken", "asyncio: odd")
