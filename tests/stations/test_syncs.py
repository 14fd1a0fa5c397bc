"""What the disk is asked for: a sync before each 250, and not more than two for a message that comes alone.

device -> relay run (watched by strace) -> sink; the calls are real ones, in the order in which they returned.
"""

import re
import smtplib
import time
from pathlib import Path

from tests.support import tools
from tests.support.letters import RIGHT
from tests.support.running import RelayProcess
from tests.support.sink import sink

MESSAGES = 20
_BEGUN = re.compile(r"^(\d+) +(fsync|fdatasync)\(\d+<([^>]*)> <unfinished")
_ENDED = re.compile(r"^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>\) += 0")
_WHOLE = re.compile(r"^\d+ +(?:fsync|fdatasync)\(\d+<([^>]*)>\) += 0")
_SAID = re.compile(r'^\d+ +(?:sendto|write|writev|sendmsg)\(\d+<[^>]*>, (?:[^"]*iov_base=)?"(354 |250 2\.0\.0 queued)')


def steps(trace: Path) -> list[str]:
    """`354` and `250` as they were said, and the name of each file when its sync had ended."""
    found: list[str] = []
    pending: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if begun := _BEGUN.match(line):
            pending[begun[1]] = begun[3]
        elif (ended := _ENDED.match(line)) and ended[1] in pending:
            found.append(Path(pending.pop(ended[1])).name)
        elif whole := _WHOLE.match(line):
            found.append(Path(whole[1]).name)
        elif said := _SAID.match(line):
            found.append(said[1][:3])
    return found


def laid_out(log: Path) -> None:
    """Returns when the log has got its size: that is done once after a start, in slices with a sync each."""
    size = -1
    while size != (size := log.stat().st_size):
        time.sleep(1)


def test_a_message_is_synced_before_its_250_and_twice_in_all(tmp_path: Path) -> None:
    tools.strace()
    trace = tmp_path / "trace"
    with sink(tmp_path) as upstream:
        isp = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "auth": "none", "sender": "nas@isp.example"}
        relay = RelayProcess(tmp_path, {"upstreams": {"isp": isp}})
        calls = "trace=fsync,fdatasync,sendto,sendmsg,write,writev"
        relay.wrapper = [
            "strace",
            "-D",
            "-f",
            "-y",
            "--seccomp-bpf",
            "-s",
            "32",
            "-e",
            calls,
            "-e",
            "signal=none",
            "-o",
            str(trace),
        ]
        relay.start()
        try:
            laid_out(relay.spool.with_name("spool.db-wal"))
            for number in range(MESSAGES):
                with smtplib.SMTP("127.0.0.1", relay.port, "nas.example.test", timeout=30) as device:
                    device.sendmail(
                        "nas@isp.example",
                        "me@example.net",
                        RIGHT.replace(b"<1@", b"<%d@" % number) + b"\r\nThe backup is done.\r\n",
                    )
                relay.wait_for("relayed", number + 1)
        finally:
            relay.stop()
        assert len(upstream.taken()) == MESSAGES

    messages = " ".join(steps(trace)).split("354 ")[1:]
    assert len(messages) == MESSAGES
    for message in messages:
        before, told, _ = message.partition("250")
        assert told
        assert "spool.db-wal" in before.split(), f"250 was said before anything was synced: {message}"
    # The first one begins the log, with a sync of its header; the last one's has the end of the relay, too.
    each = [sum(step.startswith("spool.db") for step in message.split()) for message in messages[1:-1]]
    assert max(each) <= 2, f"syncs for each message that came alone: {each}"
