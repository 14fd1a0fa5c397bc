"""`relay hash` and `relay reload`, as they are typed."""

import json
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from relay.password_hash import read_hash
from tests.support.running import ROOT, RelayProcess

UPSTREAMS = {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none"}}


def hashing(*words: str, given: bytes) -> "subprocess.CompletedProcess[bytes]":
    line = [sys.executable, "-m", "relay", "hash", *words]
    return subprocess.run(line, cwd=ROOT, input=given, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("given", [b"geheim", b"geheim\n", b"geheim\r\n"])
def test_the_password_from_standard_input(given: bytes) -> None:
    """With or without a line end; --json is for programs; twice is never the same."""
    first, second = hashing(given=given), hashing("--json", given=given)
    assert (first.returncode, first.stderr) == (0, b"")
    one, two = first.stdout.decode().strip(), json.loads(second.stdout)["hash"]
    assert one != two
    assert read_hash(one).fits(b"geheim")
    assert read_hash(two).fits(b"geheim")


@pytest.mark.parametrize("given", [b"", b"\n", b"two\nlines\n", b"a\0b", b"x" * 2000])
def test_no_password(given: bytes) -> None:
    """Exit 2, in words, without what was given."""
    done = hashing(given=given)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"relay hash: expected a password")
    assert b"xxx" not in done.stderr


def typed(*lines: bytes) -> tuple[int, str, str]:
    """Exit status, what the terminal showed, and the output, of one who types these lines when asked."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "hash"],
        cwd=ROOT,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(theirs)
    shown, asked, deadline = b"", 0, time.monotonic() + 60
    os.set_blocking(ours, False)
    while time.monotonic() < deadline:
        try:
            shown += os.read(ours, 4096)
        except BlockingIOError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
        except OSError:
            break
        if shown.count(b": ") > asked and asked < len(lines):
            time.sleep(0.1)  # getpass drops what was typed before it asked
            os.write(ours, lines[asked] + b"\n")
            asked += 1
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    return process.returncode, shown.decode(), out.decode()


def test_the_password_from_a_terminal() -> None:
    """Asked twice, never shown; two that differ are asked for again."""
    code, shown, out = typed(b"geheim", b"gehiem", b"geheim", b"geheim")
    assert code == 0
    assert read_hash(out.strip()).fits(b"geheim")
    assert "geheim" not in shown
    assert "gehiem" not in shown


def test_three_times_and_no_more() -> None:
    """Exit 1, nothing printed."""
    code, _, out = typed(b"a", b"b", b"a", b"b", b"a", b"b")
    assert (code, out) == (1, "")


def test_a_reload_by_command(start_relay: Callable[[Mapping[str, Any]], RelayProcess]) -> None:
    """0 where all is in force, 1 where something is not, 2 for mistakes; the log says the same."""
    relay = start_relay({"upstreams": UPSTREAMS})
    done = relay.command("reload")
    assert (done.returncode, done.stdout) == (0, "The new configuration is in force.\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        good = dict(relay.config)
        name = f"127.0.0.1:{taken.getsockname()[1]}"
        relay.configure({**good, "listen": [*good["listen"], {"address": name, "networks": ["private"]}]})
        done = relay.command("reload", "--json")
        assert done.returncode == 1
        outcome = json.loads(done.stdout)
        assert (outcome["reloaded"], outcome["mistakes"]) == (True, [])
        [left] = outcome["not_applied"]
        assert left["setting"] == f"listen {name}"
        assert any(line["text"].startswith(f"listen {name} is not applied: ") for line in relay.events("warned"))
        assert "not applied: listen" in relay.command("reload").stderr
    relay.configure({**good, "listen": [{"address": "nowhere"}]})
    done = relay.command("reload")
    assert done.returncode == 2
    assert "listen" in done.stderr
    relay.configure(good)
    assert relay.command("reload").returncode == 0


def test_a_reload_of_nobody(tmp_path: Path) -> None:
    """Exit 1: no relay runs."""
    relay = RelayProcess(tmp_path, {"upstreams": UPSTREAMS})
    done = relay.command("reload")
    assert done.returncode == 1
    assert "no running relay" in done.stderr


def test_a_test_message_where_only_hashes_are_known(start_relay: Callable[[Mapping[str, Any]], RelayProcess]) -> None:
    """`relay send` cannot know the password: it says so, and takes the one that is typed for --user."""
    made = hashing(given=b"geheim").stdout.decode().strip()
    listen = {"address": "127.0.0.1:0", "networks": ["private"], "tls": "required", "auth": "required", "users": {"nas": made}}
    relay = start_relay({"upstreams": UPSTREAMS, "listen": [listen]})
    words = ("send", "--to", "me@isp.example", "--wait", "0")
    done = relay.command(*words)
    assert done.returncode == 1
    assert "say --user NAME" in done.stderr
    line = [sys.executable, "-m", "relay", *words, "--user", "nas", "--config", str(relay.config_file)]
    for given, taken in (("falsch\n", False), ("geheim\n", True)):
        done = subprocess.run(line, cwd=ROOT, input=given, capture_output=True, text=True, timeout=60, check=False)
        assert ("queued as" in done.stdout) is taken, done.stderr
    assert relay.events("accepted")[0]["listener"] == "127.0.0.1:0"
