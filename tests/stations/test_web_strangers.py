"""Who connects to the page's port and says nothing, or nonsense, costs nobody anything."""

import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from relay.control.server import MOST_PER_CLIENT
from tests.stations.test_commands import submit, upstream_at
from tests.support.running import RelayProcess, running
from tests.support.waiting import eventually


def page(relay: RelayProcess) -> tuple[str, int]:
    host, _, port = str(relay.events("started")[-1]["web"]).rpartition(":")
    return host, int(port)


def answers(place: tuple[str, int]) -> bool:
    try:
        with urllib.request.urlopen(f"http://{place[0]}:{place[1]}/healthz", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def test_silent_connections_do_not_keep_others_out(tmp_path: Path, unused_tcp_port: int) -> None:
    """A hundred of them: the surplus is closed at once, other clients and devices are served, the log stays quiet."""
    config = {"upstreams": {"isp": upstream_at(unused_tcp_port)}, "web": {"address": "127.0.0.1:0"}}
    with running(tmp_path, config) as relay, ExitStack() as stack:
        place = page(relay)
        lines = [stack.enter_context(socket.create_connection(place, 5, ("127.0.0.2", 0))) for _ in range(100)]

        def closed() -> int:
            gone = 0
            for line in lines:
                line.settimeout(0.01)
                try:
                    gone += line.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    gone += 1
            return gone

        assert eventually(lambda: closed() >= 100 - MOST_PER_CLIENT, 20)
        assert answers(place)
        assert submit(relay)
        assert eventually(lambda: closed() == 100, 40), "the silent ones are sent away too"
        assert relay.events("broken") == []


def test_noise_is_no_event_of_ours(tmp_path: Path, unused_tcp_port: int) -> None:
    """Junk and a websocket's upgrade are answered or closed, and leave no line in the log."""
    config = {"upstreams": {"isp": upstream_at(unused_tcp_port)}, "web": {"address": "127.0.0.1:0"}}
    with running(tmp_path, config) as relay:
        place = page(relay)
        upgrade = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        for said in (b"\x00\xff\x01 junk\r\n\r\n", upgrade):
            with socket.create_connection(place, 5) as line:
                line.sendall(said)
                line.settimeout(5)
                assert line.recv(100).startswith(b"HTTP/1.1 ")
        assert answers(place)
        assert relay.events("broken") == []
