"""The relay under a service manager: it tells when it listens, that it lives, and that it stops."""

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.running import RelayProcess, running

UPSTREAM = {"upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none", "sender": "nas@isp.example"}}}


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        yield sock


def test_ready_alive_stopping(manager, tmp_path):
    """Time to start in; READY only once the port answers, WATCHDOG again and again, STOPPING at SIGTERM."""
    words = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with running(tmp_path, UPSTREAM, words) as relay:
        assert manager.recv(100) == b"EXTEND_TIMEOUT_USEC=1800000000"  # a large spool may have to be brought up to date first
        heard = [manager.recv(100) for _ in range(4)]
        assert heard.count(b"READY=1") == 1
        assert heard.count(b"WATCHDOG=1") == 3
        with socket.create_connection(("127.0.0.1", relay.port), 10) as line:
            assert line.recv(100).startswith(b"220")
        assert relay.stop() == 0
        while (said := manager.recv(100)) == b"WATCHDOG=1":
            continue
        assert said == b"STOPPING=1"


def test_a_watchdog_that_waits_for_somebody_else_hears_nothing(manager, tmp_path):
    """Variables that were inherited from another service are not ours."""
    words = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    with running(tmp_path, UPSTREAM, words) as relay:
        assert manager.recv(100).startswith(b"EXTEND_TIMEOUT_USEC=")
        assert manager.recv(100) == b"READY=1"
        assert relay.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"


def test_sighup_from_the_first_moment(tmp_path):
    """A hook that renews certificates does not know whether the relay is still loading."""
    relay, over = RelayProcess(tmp_path, UPSTREAM), threading.Event()

    def order() -> None:
        while not over.wait(0.002):
            with suppress(AssertionError, OSError, ValueError):
                caught = int(Path(f"/proc/{relay.pid}/status").read_text().partition("SigCgt:")[2].split()[0], 16)
                if caught >> (signal.SIGTERM - 1) & 1:
                    os.kill(relay.pid, signal.SIGHUP)

    orders = threading.Thread(target=order)
    orders.start()
    try:
        relay.start()
        over.set()
        relay.wait_for("reloaded")
    finally:
        over.set()
        orders.join()
    assert relay.stop() == 0
