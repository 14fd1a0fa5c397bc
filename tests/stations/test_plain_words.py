"""What the commands say to people when there is nothing to do, or nobody to ask.

device ──> relay run ──> upstream that is away        relay queue | health | send
"""

from pathlib import Path

import pytest

from tests.stations.test_commands import submit, upstream_at
from tests.support.running import RelayProcess, running


def test_an_order_that_does_nothing_says_why(tmp_path: Path, unused_tcp_port: int) -> None:
    """Held already, held and so not retried, not held and so not released: each with what helps."""
    config = {"upstreams": {"away": upstream_at(unused_tcp_port)}, "retry": {"delays": ["1h"], "rest": ["1h"]}}
    with running(tmp_path, config) as relay:
        (queue_id,) = submit(relay)
        relay.wait_for("deferred")

        def ordered(act: str) -> tuple[str, str]:
            done = relay.command("queue", act, queue_id)
            assert (done.returncode == 0) is (not done.stderr)
            return done.stdout, done.stderr

        assert ordered("release") == (
            "release: 0 messages\n",
            f"relay: {queue_id}: it is not held; `relay queue retry {queue_id}` sends it now,"
            " `--via NAME` by another upstream\n",
        )
        assert ordered("hold") == ("hold: 1 message\n", "")
        assert ordered("hold") == ("hold: 0 messages\n", f"relay: {queue_id}: it is held already\n")
        assert ordered("retry") == (
            "retry: 0 messages\n",
            f"relay: {queue_id}: it is held; release it first: `relay queue release {queue_id}`\n",
        )
        (other,) = submit(relay)
        done = relay.command("queue", "hold", queue_id, other)
        assert (done.returncode, done.stdout) == (1, "hold: 1 message\n")
        assert done.stderr == f"relay: {queue_id}: it is held already\n"


@pytest.mark.parametrize("words", [("health",), ("send", "--to", "a@b.example")])
def test_no_number_of_an_error_is_shown(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Without a relay the sentence says what is missing, not `[Errno 2]`."""
    done = RelayProcess(tmp_path, {"upstreams": {"isp": upstream_at(9)}}).command(*words)
    assert done.returncode == 1
    assert "(No such file or directory)" in done.stderr
    assert "Errno" not in done.stderr
