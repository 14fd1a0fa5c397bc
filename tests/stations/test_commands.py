"""The commands that a person types, against a real relay process and a real sink.

device ──> relay run ──> sink        relay queue | send | health | explain
"""

import itertools
import json
import os
import re
import smtplib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import ROOT, RelayProcess, running
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

LETTER = b"From: <nas@isp.example>\r\nTo: <me@far.example>\r\nSubject: one\r\n\r\nbody\r\n"


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Sink]:
    folder = tmp_path / "sink"
    folder.mkdir()
    with sink(folder) as upstream:
        yield upstream


def upstream_at(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "nas@isp.example"}


@pytest.fixture
def relay(tmp_path: Path, behind: Sink) -> Iterator[RelayProcess]:
    with running(tmp_path, {"upstreams": {"isp": upstream_at(behind.port)}, "notices": {"to": "me@far.example"}}) as one:
        yield one


@pytest.fixture
def stuck(tmp_path: Path, unused_tcp_port: int, behind: Sink) -> Iterator[RelayProcess]:
    """A relay whose first upstream is away, so that mail waits; a second one works, but no rule leads to it."""
    config = {
        "upstreams": {"away": upstream_at(unused_tcp_port), "sink": upstream_at(behind.port)},
        "routes": [{"via": ["away"]}],
        "retry": {"delays": ["1h"], "rest": ["1h"]},
    }
    with running(tmp_path, config) as one:
        yield one


def submit(relay: RelayProcess, count: int = 1) -> list[str]:
    ids = []
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as device:
        for _ in range(count):
            device.ehlo("nas")
            device.mail("nas@isp.example")
            device.rcpt("me@far.example")
            code, said = device.data(LETTER)
            assert code == 250
            ids.append(said.decode().rpartition(" ")[2])
    return ids


def test_send_follows_a_message_to_its_end(relay: RelayProcess, behind: Sink) -> None:
    """`relay send` ends with 0 when the upstream took the message, and tells its way."""
    done = relay.command("send", "--to", "you@far.example", "--subject", "hello there")
    assert done.returncode == 0, done.stderr
    (taken,) = behind.wait_for(1)
    assert (taken.forward_paths, taken.header("Subject")) == (["you@far.example"], "hello there")
    assert "accepted" in done.stdout
    assert "relayed" in done.stdout


def test_send_goes_by_the_upstream_that_is_named(stuck: RelayProcess, behind: Sink) -> None:
    """No rule leads to it, and the rest of the chain is not asked; the fate is followed as ever."""
    done = stuck.command("send", "--to", "you@far.example", "--via", "sink", "--subject", "by that one")
    assert done.returncode == 0, done.stderr
    (taken,) = behind.wait_for(1)
    assert (taken.forward_paths, taken.header("Subject")) == (["you@far.example"], "by that one")
    assert "by sink" in done.stdout and "away" not in done.stdout
    assert "by that one" in [one["subject"] for one in stuck.queue("--all")]


def test_what_goes_by_a_named_upstream_waits_for_it_alone(relay: RelayProcess, behind: Sink, unused_tcp_port: int) -> None:
    """The route would take it; it waits for the upstream that was ordered, over a restart, too."""
    upstreams = {"isp": upstream_at(behind.port), "away": upstream_at(unused_tcp_port)}
    changed = {"upstreams": upstreams, "routes": [{"via": ["isp"]}], "retry": {"delays": ["1h"], "rest": ["1h"]}}
    relay.stop()
    relay.configure({**relay.config, **changed})
    relay.start()
    done = relay.command("send", "--to", "you@far.example", "--via", "away", "--wait", "1", "--json")
    assert done.returncode == 1
    message = json.loads(done.stdout)
    assert [row["state"] for row in message["recipients"]] == ["queued"]
    relay.stop()
    relay.start()
    assert relay.command("queue", "retry", message["id"]).returncode == 0
    relay.wait_for("deferred", 2)
    [row] = relay.show(message["id"])["recipients"]
    assert (row["state"], row["upstream"]) == ("queued", "away")
    assert "you@far.example" not in {path for one in behind.taken() for path in one.forward_paths}  # alarms may be there


def test_send_by_an_unknown_upstream_names_those_that_there_are(relay: RelayProcess) -> None:
    """And stores nothing."""
    done = relay.command("send", "--to", "you@far.example", "--via", "ips")
    assert (done.returncode, "there are isp, mx" in done.stderr) == (1, True)
    assert relay.queue("--all") == []


def test_send_tells_the_one_who_gets_notices_unless_told_otherwise(relay: RelayProcess, behind: Sink) -> None:
    """`relay send --via isp`, as the doctor says it."""
    assert relay.command("send", "--via", "isp").returncode == 0
    assert behind.wait_for(1)[0].forward_paths == ["me@far.example"]


def test_send_to_nobody_is_wrong_usage(stuck: RelayProcess) -> None:
    """Without `--to` and `notices.to`."""
    done = stuck.command("send", "--via", "sink")
    assert (done.returncode, "--to ADDRESS" in done.stderr) == (2, True)


def test_send_says_so_when_it_did_not_get_there(stuck: RelayProcess) -> None:
    """With the upstream away, `relay send --wait 1` ends with 1 and shows what the relay met."""
    done = stuck.command("send", "--to", "you@far.example", "--wait", "1", "--json")
    assert done.returncode == 1
    message = json.loads(done.stdout)
    assert [row["state"] for row in message["recipients"]] == ["queued"]
    assert any("refused" in line["text"].lower() for line in message["trail"])


def test_send_says_that_what_waits_goes_on(stuck: RelayProcess) -> None:
    """An upstream that is away is tried again by itself."""
    done = stuck.command("send", "--to", "you@far.example", "--wait", "1")
    assert done.returncode == 1 and "tells what happens next" in done.stderr


def test_send_names_the_way_out_of_a_failure(relay: RelayProcess) -> None:
    """What failed for good does not go on: it can be released."""
    done = relay.command("send", "--to", "nobody@far.example")
    assert done.returncode == 1 and "--via NAME` sends it by another upstream" in done.stderr


def test_send_tells_the_reply_of_a_relay_whose_disk_is_full(tmp_path: Path) -> None:
    """The refusal of MAIL itself, not of the command after it."""
    spool = {"url": f"sqlite:{tmp_path}/spool/spool.db", "keep_free": "900TB"}
    with running(tmp_path, {"upstreams": {"isp": upstream_at(9)}, "spool": spool}) as full:
        for words in ((), ("--json",)):
            done = full.command("send", "--to", "a@b.example", *words)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr.startswith("relay send: the relay did not take the message: 452 4.3.1 ")


def test_send_without_a_relay_names_the_cure(tmp_path: Path) -> None:
    """Nobody listens: the sentence says to start `relay run`."""
    done = RelayProcess(tmp_path, {"upstreams": {"isp": upstream_at(9)}}).command("send", "--to", "a@b.example")
    assert done.returncode == 1
    assert "relay run" in done.stderr


def test_the_queue_is_looked_at_and_steered_beside_the_daemon(stuck: RelayProcess, behind: Sink) -> None:
    """list, show, hold, release --via and remove work on the running relay's queue."""
    first, second = submit(stuck, 2)
    stuck.wait_for("deferred")
    assert {one["id"] for one in stuck.queue()} == {first, second}
    assert stuck.show(first)["trail"][0]["event"] == "accepted"

    assert stuck.command("queue", "hold", first).returncode == 0
    assert [row["state"] for row in stuck.show(first)["recipients"]] == ["held"]
    assert stuck.command("queue", "release", first, "--via", "sink").returncode == 0
    assert behind.wait_for(1)[0].header("Subject") == "one"

    assert stuck.command("queue", "remove", second).returncode == 0
    gone = stuck.command("queue", "show", second)
    assert (gone.returncode, second in gone.stderr) == (1, True)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_list_that_nobody_reads_to_its_end_ends_quietly(stuck: RelayProcess, form: list[str]) -> None:
    """`relay queue list | head`: not a word, and no traceback when the interpreter ends."""
    submit(stuck)
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "relay", "queue", "list", *form, "--config", str(stuck.config_file)]
    with open(writing, "wb") as pipe:
        done = subprocess.run(line, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_retry_wakes_an_upstream_that_is_left_alone(stuck: RelayProcess, behind: Sink) -> None:
    """An hour's rest does not keep a person from trying now: the upstream is back on its port, `retry --all` sends."""
    submit(stuck)
    stuck.wait_for("rested")
    before = len(stuck.events("deferred"))
    assert stuck.command("queue", "retry", "--all").returncode == 0
    stuck.wait_for("deferred", before + 1)


def test_the_queue_is_steered_without_a_daemon(stuck: RelayProcess) -> None:
    """When the relay is stopped, the same commands open the spool themselves; what they order is done at the next start."""
    first, second = submit(stuck, 2)
    stuck.wait_for("deferred")
    assert stuck.stop() == 0
    assert {one["id"] for one in stuck.queue()} == {first, second}
    assert stuck.show(first)["id"] == first
    assert stuck.command("queue", "remove", first).returncode == 0
    assert [one["id"] for one in stuck.queue()] == [second]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("queue", "show", "nosuchmessage1"), 1, "nosuchmessage1"),
        (("queue", "show", "../../etc/passwd"), 1, "no message"),
        (("queue", "remove"), 2, "--all"),
        (("queue", "release", "--all", "--via", "nobody"), 1, "nobody"),
    ],
)
def test_a_wrong_order_is_answered_in_words(relay: RelayProcess, words: tuple[str, ...], status: int, says: str) -> None:
    """Unknown ids, missing ids and unknown upstreams end with 1 or 2 and a sentence that names them."""
    done = relay.command(*words)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_health_follows_the_relay(relay: RelayProcess) -> None:
    """0 while it runs, without a line in the log; 1 with a sentence when it does not."""
    assert relay.command("health").returncode == 0
    names = {str(line["event"]) for line in relay.log}
    assert names <= {"started", "warned"}, "health checks leave no trace"
    relay.stop()
    done = relay.command("health")
    assert done.returncode == 1
    assert "is it running" in done.stderr


def test_explain_tells_the_way_and_the_repairs(relay: RelayProcess, tmp_path: Path) -> None:
    """Admission, rule, chain, rewriting and repairs, and nothing is sent."""
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: root@nas\nSubject: bad disk\n\nhelp\n")
    done = relay.command("explain", "--from", "root@nas", "--to", "me@far.example", "--json", str(letter))
    told = json.loads(done.stdout)
    assert (done.returncode, told["admitted"]) == (0, True)
    assert [(one["address"], one["rule"], one["via"]) for one in told["recipients"]] == [("me@far.example", 1, ["isp"])]
    assert any("Date" in note for note in told["repairs"])
    assert told["recipients"][0]["sent"][0]["as"] == "nas@isp.example"
    assert "-From: root@nas␊" in told["diff"].splitlines()
    assert relay.queue("--all") == []


def test_explain_tells_who_rests_and_when_the_next_attempt_would_be(stuck: RelayProcess) -> None:
    """Beside the daemon it knows of the rest and its cause; without a daemon it says that nobody can tell."""
    submit(stuck)
    stuck.wait_for("rested")
    question = ("explain", "--from", "nas@isp.example", "--to", "me@far.example")
    (told,) = json.loads(stuck.command(*question, "--json").stdout)["recipients"]
    (rest,) = told["resting"]
    assert rest["upstream"] == "away" and "connection refused" in rest["why"]
    assert told["next_attempt"] == {"at": rest["until"], "by": "away"}
    assert rest["until"] > datetime.now(UTC).isoformat()
    said = stuck.command(*question).stdout
    assert "away is paused until" in said
    assert "again after 1 h and so on; given up after 5 d" in said
    stuck.stop()
    (told,) = json.loads(stuck.command(*question, "--json").stdout)["recipients"]
    assert told["next_attempt"] is None
    assert "no relay is running" in stuck.command(*question).stdout


def test_explain_refuses_a_client_from_outside(relay: RelayProcess) -> None:
    """A public address is not admitted: exit 1 and the reply that it would hear."""
    done = relay.command("explain", "--from", "a@b.example", "--to", "me@far.example", "--client", "203.0.113.9", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["admitted"] is False
    assert "listen.networks" in json.loads(done.stdout)["why"]


def test_a_wrong_configuration_ends_run_and_check_with_2(tmp_path: Path) -> None:
    """Every mistake stands on stderr with file, line, column and key, all at once; nothing starts."""
    bad = tmp_path / "config.yaml"
    bad.write_text("upstreams:\n  isp: {host: a.example, port: 587a, hst: b}\nroutes:\n  - {via: [ips]}\n")
    for verb in ("check", "run"):
        done = subprocess.run(
            [sys.executable, "-m", "relay", verb, "--config", str(bad)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert f"{bad}:2:32: upstreams.isp.port: expected" in done.stderr
        assert "did you mean 'host'?" in done.stderr
        assert f"{bad}:4:12: routes[0].via[0]: no upstream is named 'ips'" in done.stderr


def test_a_second_relay_on_the_same_spool_is_refused(relay: RelayProcess) -> None:
    """The spool's lock names the process that holds it."""
    done = relay.command("run")
    assert done.returncode == 1
    assert str(relay.pid) in done.stderr


def test_a_mistake_keeps_the_running_configuration(relay: RelayProcess, behind: Sink) -> None:
    """SIGHUP with a mistake changes nothing and says where it is; a good one takes effect for new mail."""
    good = dict(relay.config)
    relay.configure({**good, "routes": [{"via": ["nobody"]}]})
    relay.reload()
    # a container's own warning may come in between
    eventually(lambda: any("nobody" in line["text"] for line in relay.events("warned")), 10, "the mistake was not told")
    submit(relay)
    behind.wait_for(1)
    relay.configure({**good, "routes": [{"to": "*@far.example", "reject": "closed today"}, {"via": ["isp"]}]})
    relay.reload()
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as device:
        device.ehlo("nas")
        device.mail("nas@isp.example")
        code, said = device.rcpt("me@far.example")
    assert (code, b"closed today" in said) == (550, True)


def test_the_demo_shows_that_all_arrives() -> None:
    """`relay demo` ends with 0 only if every message arrived as promised."""
    done = subprocess.run(
        [sys.executable, "-m", "relay", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("arrived as promised") == 4
    assert "NOT as promised" not in done.stdout
    assert len(re.findall(r"(?m)^   [012]\d:[0-5]\d:\d\d  accepted  from 127\.0\.0\.1 ", done.stdout)) == 3
    assert "ディスク障害の警告" not in done.stderr


def test_the_demo_by_microsoft_graph() -> None:
    """`relay demo --graph`: Bcc, Retry-After and an upload session, each as promised."""
    line = [sys.executable, "-m", "relay", "demo", "--graph"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("arrived as promised") == 4
    assert all(word in done.stdout for word in ("as Bcc", "ApplicationThrottled", "upload session"))


def test_the_queue_command_stays_light() -> None:
    """`relay queue` must not load DNS, web server, listener or mail client: on a Pi that is seconds."""
    heavy = "{'dns', 'starlette', 'uvicorn', 'aiosmtplib', 'structlog', 'jinja2', 'prometheus_client'}"
    code = f"import sys, relay.cli.queue, relay.config; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("words", "domain"), [((), "isp.example"), (("--graph",), "company.example")])
def test_the_demo_that_stays_shows_how_a_letter_of_ones_own_arrived(words: tuple[str, ...], domain: str) -> None:
    """`relay demo --keep` names its port; what is sent there is followed, and shown as the ISP or the mailbox has it."""
    line = [sys.executable, "-u", "-m", "relay", "demo", *words, "--keep"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        try:
            assert demo.stdout is not None
            port = next(
                int(found[1]) for said in demo.stdout if (found := re.search(r"point a device at .*, port (\d+)", said))
            )
            page = next(found[0] for said in demo.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/", said)))
            with urllib.request.urlopen(page, timeout=20) as answer:  # noqa: S310 - our own page
                assert "All is well." in answer.read().decode()
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
                letter = b"From: own@nas.local\r\nSubject: my own\r\n\r\n\x1b[2Jhello\r\n"
                device.sendmail("own@nas.local", [f"taro@{domain}"], letter)
            seen = "".join(itertools.takewhile(lambda said: "hello" not in said, demo.stdout))
        finally:
            demo.terminate()
    assert "as it arrived" in seen
    assert "│ Subject: my own" in seen
    assert "│ Message-ID: <" in seen
    assert "\x1b" not in seen


def test_every_command_takes_a_configuration(tmp_path: Path) -> None:
    """`version` and `demo` have no use for it and take it all the same, even one that is not there."""
    for words in (("version",), ("demo", "--help")):
        line = [sys.executable, "-m", "relay", *words, "--config", str(tmp_path / "none.yaml")]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert "relay" in done.stdout
