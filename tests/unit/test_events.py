"""What happened is counted and logged by one call."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

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


def test_a_library_that_repeats_itself_is_told_once_a_minute():
    """What strangers make a library say is no flood either."""
    first, count = said("import logging\nfor n in range(500): logging.getLogger('asyncio').error('odd %s', n)")
    assert (first["text"], "times" in first) == ("asyncio: odd 0", False)
    assert (count["text"], count["times"]) == ("asyncio: odd 499", 499)


HOSTILE = "550 \x1b[2J\x07\x9b31m\u202eevil\u2066\u200b\ufeff\x85 障害\nfake line"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_control_character_reaches_the_log_raw(log_format):
    """Whatever a stranger says, in whatever field, one event is one line, and a terminal that shows it obeys nothing."""
    fields = f"helo={HOSTILE!r}, quirks=[{HOSTILE!r}], at={{'x': {HOSTILE!r}}}"
    code = f"events.configure({log_format!r})\nevents.note('warned', {HOSTILE!r}, {fields})"
    program = f"from relay import events\n{code}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=30, check=True)
    (line,) = done.stdout.decode().splitlines()
    assert line.isprintable(), line
    assert "障害" in line
    if log_format == "json":
        assert json.loads(line)["helo"] == HOSTILE


def on_a_terminal(code: str, **environ: str) -> str:
    """What a person sees."""
    ours, theirs = pty.openpty()
    program = f"from relay import events\nevents.configure()\n{code}"
    environ = {**os.environ, "TZ": "Asia/Tokyo", **environ}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=theirs, timeout=30, check=True, env=environ)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other side has closed
        while octets := os.read(ours, 10_000):
            seen += octets
    os.close(ours)
    return seen.decode()


def test_on_a_terminal_a_line_is_time_event_and_text():
    """Local time; with the queue id or the client; what has no text by its fields.  In colour, if that is wanted."""
    code = (
        "events.note('relayed', queue_id='01abc', recipient='a@b.example', said='', quirks=['x', 'y'], upstream='isp')\n"
        "events.note('refused', '452 4.3.1 the spool is full', client='192.168.0.9', code='452 4.3.1', listener=':25')\n"
        "events.note('failed', 'nobody took it')"
    )
    plain = on_a_terminal(code, NO_COLOR="1").splitlines()
    stamps, rest = {line[:19] for line in plain}, [line[19:] for line in plain]
    now = datetime.now(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None)
    assert all(abs(datetime.fromisoformat(one) - now) < timedelta(minutes=1) for one in stamps)
    assert rest == [
        "  relayed    01abc  recipient a@b.example; quirks x, y; upstream isp",
        "  refused    192.168.0.9  452 4.3.1 the spool is full",
        "  failed     nobody took it",
    ]
    coloured = on_a_terminal(code, NO_COLOR="").splitlines()
    assert re.findall(r"\x1b\[\d+m", "\n".join(coloured)) == ["\x1b[33m", "\x1b[0m", "\x1b[31m", "\x1b[0m"]
    assert [re.sub(r"\x1b\[\d+m", "", line)[19:] for line in coloured] == rest


def test_what_one_address_does_again_is_told_once_with_a_count():
    """A flood of refusals is two lines for an address and code; another code or address has its own; mail is always told."""
    code = (
        "for n in range(5000):\n"
        "    events.note('refused', f'550 5.7.1 {n}', client=f'2001:db8::{n:x}', code='550 5.7.1')\n"
        "events.note('refused', '501', client='2001:db8::1', code='501 5.1.3')\n"
        "events.note('refused', '550', client='192.168.0.9', code='550 5.7.1')\n"
        "for n in range(3): events.note('accepted', client='2001:db8::1')\n"
    )
    lines = said(code)
    refused = [line for line in lines if line["event"] == "refused"]
    assert [(line["client"], line["code"], line.get("times")) for line in refused] == [
        ("2001:db8::0", "550 5.7.1", None),
        ("2001:db8::1", "501 5.1.3", None),
        ("192.168.0.9", "550 5.7.1", None),
        ("2001:db8::1387", "550 5.7.1", 4999),
    ]
    assert refused[-1]["text"] == "550 5.7.1 4999"
    assert len(lines) - len(refused) == 3


def test_the_count_is_told_when_the_minute_is_over():
    """Nothing else need happen for it: the thread that writes looks after that."""
    code = (
        "import time; from relay import repeats; repeats.MINUTE = 0.3\n"
        "real = events._repeats.over\n"
        "events._repeats.over = lambda now, least: real(now, min(least, 0.3))\n"
        "for n in range(7): events.note('refused', client='192.168.0.9')\n"
        "time.sleep(1); print(end='', flush=True); events._writer.write('{\"event\": \"later\"}\\n')\n"
    )
    assert [(line["event"], line.get("times")) for line in said(code)] == [("refused", None), ("refused", 6), ("later", None)]


def test_a_log_that_nobody_reads_stops_nobody():
    """200 MB into a pipe that nobody reads: no call waits, memory stays small, and the loss is told once it is read again."""
    code = (
        "import re, sys, time\n"
        "from relay import events\n"
        "events.configure('json')\n"
        "began, longest = time.monotonic(), 0.0\n"
        "for n in range(20000):\n"
        "    at = time.monotonic(); events.note('relayed', 'x' * 10000, n=n); longest = max(longest, time.monotonic() - at)\n"
        "kilobytes = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]\n"
        "print(longest, int(kilobytes) // 1024, file=sys.stderr, flush=True)\n"
        "sys.stdin.readline()\n"
        "events.note('stopped', 'the end')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        longest, memory = process.stderr.readline().split()
        assert float(longest) < 1
        assert int(memory) < 100
        reader = threading.Thread(target=lambda: lines.extend(map(json.loads, process.stdout)))
        lines = []
        reader.start()
        until(lambda: any("lost" in line for line in lines))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(20) == 0
        reader.join()
    (lost,) = [line["lost"] for line in lines if "lost" in line]
    told = [line["n"] for line in lines if "n" in line]
    assert told == list(range(len(told)))
    assert lost + len(told) == 20000
    assert lines[-1]["text"] == "the end"


def test_a_reader_who_stands_still_keeps_no_process():
    """The end waits for a second, not for ever."""
    code = "from relay import events\nevents.configure('json')\nfor n in range(300): events.note('relayed', 'x' * 1000)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=-1) as process:
        assert process.wait(20) == 0


def until(done, seconds=20.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
