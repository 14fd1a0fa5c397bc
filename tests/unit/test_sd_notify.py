"""Words to the service manager, heard on a real datagram socket."""

import os
import socket

import pytest

from relay.sd_notify import notify, watchdog_every


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """What a service manager listens on: a file, or a name without one."""
    name = str(tmp_path / "notify") if request.param == "file" else f"\0relay-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name.replace("\0", "@"))
        yield sock


def test_the_manager_hears_each_state(manager):
    """One datagram for one state."""
    for state in ("READY=1", "WATCHDOG=1", "STOPPING=1"):
        notify(state)
        assert manager.recv(100) == state.encode()


@pytest.mark.parametrize("where", ["", "vsock:2:1", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(monkeypatch, where):
    """In a container or a shell nobody listens, and nobody minds."""
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [("30000000", "", 15.0), ("30000000", "ours", 15.0), ("30000000", "1", None), ("", "", None), ("0", "", None)],
)
def test_half_of_the_watchdogs_patience(monkeypatch, microseconds, pid, seconds):
    """Signs of life come twice as often as they are wanted; those wanted of another process are not ours."""
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "ours" else pid)
    assert watchdog_every() == seconds
