"""kill -9 while a push service has the request: nothing is lost, and nobody else gets it meanwhile.

camera ──> relay run (killed, started) ──> ntfy that does not answer yet
                                     └──> an ISP that takes everything
"""

from pathlib import Path

from tests.stations.test_push_upstream import isp, phone, snap
from tests.support.push_services import NEEDS_APPRISE, Ntfy, serving
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.waiting import eventually

pytestmark = NEEDS_APPRISE


def config(tmp_path: Path, ntfy: Ntfy, port: int) -> dict[str, object]:
    return {
        "upstreams": {"phone": phone(tmp_path, ntfy), "isp": isp(port)},
        "routes": [{"via": ["phone", "isp"]}],
    }


def test_killed_while_the_service_has_the_request(tmp_path: Path) -> None:
    """It may have taken it: after the start the same service is asked again, and no other; the trail says so."""
    with sink(tmp_path) as provider, serving(Ntfy()) as ntfy:
        relay = RelayProcess(tmp_path, config(tmp_path, ntfy, provider.port)).start()
        try:
            ntfy.hang = True
            queue_id = snap(relay)
            eventually(lambda: ntfy.requests == 1)
            relay.kill9()
            ntfy.hang = False
            relay.start()
            relay.wait_for("relayed")
            assert len(ntfy.took()) == 1
            assert provider.count() == 0
            story = relay.show(queue_id)
            (row,) = story["recipients"]
            assert (row["state"], row["upstream"]) == ("relayed", "phone")
            (mark,) = [line["text"] for line in story["trail"] if line["event"] == "warned"]
            assert mark.startswith("phone may have taken this message at ")
            assert mark.endswith("me@isp.example may get it twice")
            assert any("phone may have taken this message" in line for line in relay.lines)
        finally:
            relay.stop()


def test_killed_before_the_request_can_go_out(tmp_path: Path, unused_tcp_port: int) -> None:
    """The process that has the library ends with the relay: nothing goes out behind its back."""
    with sink(tmp_path) as provider, serving(Ntfy()) as ntfy:
        relay = RelayProcess(tmp_path, config(tmp_path, ntfy, provider.port)).start({"RELAY_DIE_AT": "send-prepared"})
        try:
            snap(relay)
            relay.death()
            assert ntfy.requests == 0
            relay.start()
            relay.wait_for("relayed")
            assert len(ntfy.took()) == 1
            assert provider.count() == 0
        finally:
            if relay.running:
                relay.stop()
