"""`relay record` as a person uses it, and its case played again by the corpus's own runner.

device ──> relay record ──> DIR/session/ID.json, ID.bin ──> playing.load, play ──> relay run ──> a strict sink
"""

import json
import re
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.corpus.playing import Sink, load, play
from tests.support.running import ROOT, RelayProcess, running

LETTER = b"From: Taro <taro@yamada.co.jp>\nTo: hanako.yamada@gmail.com\nSubject: disk\n\n.dots\n"


class Recording:
    """A `relay record` that runs: its port, and when it has ended what it said and wrote."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        command = [sys.executable, "-m", "relay", "record", "--port", "0", "--listen", "127.0.0.1", "--output", str(folder)]
        self.process = subprocess.Popen(
            [*command, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert self.process.stderr
        first = self.process.stderr.readline()
        found = re.search(r"Recording on 127\.0\.0\.1:(\d+)", first)
        assert found, first + self.process.stderr.read()
        self.port = int(found[1])

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def cases(self) -> list[dict[str, Any]]:
        return load([str(self.folder)])


@contextmanager
def recording(folder: Path, *words: str) -> Iterator[Recording]:
    one = Recording(folder, *words)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.terminate()
        one.process.communicate(timeout=20)


def by_smtplib(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="taros-nas.yamada.co.jp", timeout=20) as device:
        device.ehlo()
        device.login("taro@yamada.co.jp", "hunter2-secret")
        device.sendmail("taro@yamada.co.jp", ["hanako.yamada@gmail.com"], LETTER + b"hunter2-secret\n")


def by_hand(port: int) -> None:
    """An old camera: no HELO, no brackets, LF only, letter by letter, ends by LF.LF, hangs up without QUIT."""
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.recv(1000)
        for command in (b"MAIL FROM: camera@lan\n", b"RCPT TO: hanako.yamada@gmail.com\n", b"DATA\n"):
            line.sendall(command)
            line.recv(1000)
        line.sendall(b"Subject: \x83J\x83\x81\x83\x89\nTo: hanako.yamada@gmail.com\n\nmoved\n.\n")
        assert line.recv(1000).startswith(b"250")


def over_tls(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        device.starttls()
        device.sendmail("taro@yamada.co.jp", ["hanako.yamada@gmail.com"], LETTER)


def in_one_go(port: int) -> None:
    """A microcontroller that waits for nothing but the banner and 354."""
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.recv(1000)
        line.sendall(b"HELO esp\r\nMAIL FROM:<taro@yamada.co.jp>\r\nRCPT TO:<hanako.yamada@gmail.com>\r\nDATA\r\n")
        said = b""
        while b"354" not in said:
            said += line.recv(1000)
        line.sendall(LETTER.replace(b"\n", b"\r\n") + b".\r\nQUIT\r\n")
        while line.recv(1000):
            pass


def half_closed(port: int) -> None:
    """A device that ends its side after the dot, and reads until the other side ends too."""
    with socket.create_connection(("127.0.0.1", port), 20) as line:
        line.recv(1000)
        line.sendall(b"HELO esp\r\nMAIL FROM:<taro@yamada.co.jp>\r\nRCPT TO:<hanako.yamada@gmail.com>\r\nDATA\r\n")
        said = b""
        while b"354" not in said:
            said += line.recv(1000)
        line.sendall(LETTER.replace(b"\n", b"\r\n") + b".\r\n")
        line.shutdown(socket.SHUT_WR)
        while line.recv(1000):
            pass


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    one = Sink(0, ["PIPELINING", "8BITMIME", "AUTH PLAIN LOGIN"])
    yield one
    one.close()


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, sink: Sink) -> Iterator[RelayProcess]:
    upstream = {"host": "127.0.0.1", "port": sink.port, "tls": "none", "username": "taro", "password": "x"}
    settings = {"upstreams": {"sink": upstream | {"sender": "relay@isp.example.jp"}}, "routes": [{"via": ["sink"]}]}
    with running(tmp_path_factory.mktemp("relay"), settings | {"recipients": {"default_domain": "example.jp"}}) as one:
        yield one


@pytest.mark.parametrize(
    ("device", "seen"),
    [
        (by_smtplib, ["insisted on logging in", "added Date"]),
        (
            by_hand,
            ["MAIL without a usable HELO", "no plain angle brackets", "ended its message by LF.LF", "hangs up without QUIT"],
        ),
        (over_tls, ["added Date"]),
        (in_one_go, ["without waiting for the reply"]),
    ],
)
def test_a_recorded_session_is_a_case_that_passes(
    tmp_path: Path, relay: RelayProcess, sink: Sink, device: Callable[[int], None], seen: list[str]
) -> None:
    """The case has nobody's name in it, tells what was odd, and the runner of the corpus plays it against the relay."""
    name = f"rec-{device.__name__.replace('_', '-')}"
    with recording(tmp_path / "recorded", "--name", name, "--device", "Test NAS 1.0") as recorder:
        device(recorder.port)
        status, out, err = recorder.ended()
    assert status == 0, err
    assert "not relayed" in err
    assert [sentence for sentence in seen if sentence not in out] == []
    text = (tmp_path / "recorded" / "session" / f"{name}.json").read_text(encoding="utf-8")
    octets = (tmp_path / "recorded" / "session" / f"{name}.bin").read_bytes()
    for secret in ("yamada", "taro", "hunter2", "gmail"):
        assert secret not in text.lower() and secret.encode() not in octets.lower()
    (case,) = recorder.cases()
    assert case["source"] == "capture: Test NAS 1.0"
    assert all("at" in step for step in case["steps"] if "sleep" not in step)

    problems, notes = play(case, "127.0.0.1", relay.port, sink, 20, 20)
    assert (problems, notes) == ([], [])


def test_port_checks_do_not_count_and_several_sessions_are_kept(tmp_path: Path) -> None:
    """A connection that says nothing is told and forgotten; `--sessions 2` waits for two that speak.

    The recorder closes its side when the device has closed its own: `half_closed` waits for that.
    """
    with recording(tmp_path / "recorded", "--sessions", "2") as recorder:
        socket.create_connection(("127.0.0.1", recorder.port), 20).close()
        half_closed(recorder.port)
        by_hand(recorder.port)
        status, _, err = recorder.ended()
    assert status == 0, err
    assert "sent nothing" in err
    cases = recorder.cases()
    assert len({case["id"] for case in cases}) == 2
    assert json.loads(json.dumps([case["expect"] for case in cases])) == [[{"count": 1}], [{"count": 1}]]


def test_a_device_set_to_ssl_is_recognised(tmp_path: Path) -> None:
    """A ClientHello on the plain port is kept and named, with what to do."""
    with recording(tmp_path / "recorded") as recorder:
        with socket.create_connection(("127.0.0.1", recorder.port), 20) as line:
            line.sendall(b"\x16\x03\x01\x00\x05hello")
            line.settimeout(10)
            while line.recv(1000):
                pass
        status, out, _ = recorder.ended()
    assert status == 0
    assert "set to SSL/TLS" in out


def test_an_interrupt_keeps_what_is_there(tmp_path: Path) -> None:
    """Ctrl-C while it waits for a second session: the first one is written."""
    with recording(tmp_path / "recorded", "--sessions", "2") as recorder:
        by_smtplib(recorder.port)
        recorder.process.send_signal(signal.SIGINT)
        status, _, err = recorder.ended()
    assert status == 0, err
    assert len(recorder.cases()) == 1


def test_nobody_came_in_time(tmp_path: Path) -> None:
    """It gives up by itself and says what to look at."""
    with recording(tmp_path / "recorded", "--minutes", "0.02") as recorder:
        status, _, err = recorder.ended()
    assert status == 1
    assert "no device sent anything" in err


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A case that is there under the same name stays."""
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "rec-nas.json").write_text("mine")
    with recording(tmp_path, "--name", "rec-nas") as recorder:
        threading.Thread(target=by_smtplib, args=(recorder.port,)).start()
        status, _, err = recorder.ended()
    assert status == 2
    assert "exists already" in err
    assert (tmp_path / "session" / "rec-nas.json").read_text() == "mine"
