"""The relay learns from its own death: a message that kills it is found, held and told; all others go on.

devices ──> relay run, with a bug that a message sets off (tests/support/deadly.py) ──> sink
"""

import os
import signal
import smtplib
import time
from pathlib import Path
from typing import Any

import pytest

from relay.outbound.in_hand import InHand
from tests.support.aftermath import aftermath
from tests.support.postgres import PostgresServer
from tests.support.running import RelayProcess
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

QUICK = {"RELAY_TEST_HANG_SECONDS": "2", "RELAY_TEST_STUCK_SECONDS": "2"}
ADMIN = "admin@isp.example"


def send(relay: RelayProcess, subject: str, *fields: str, octets: int = 1, patience: float = 20) -> str:
    text = "\r\n".join(["From: <nas@isp.example>", "To: <b@far.example>", f"Subject: {subject}", *fields, "", "x\r\n" * octets])
    with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=patience) as line:
        line.mail("nas@isp.example")
        line.rcpt("b@far.example")
        return line.data(text)[1].decode().split()[-1]


def relay_to(directory: Path, upstream: Sink, **config: Any) -> RelayProcess:
    smarthost = {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "nas@isp.example"}
    relay = RelayProcess(directory, {"upstreams": {"sink": smarthost}, "notices": {"to": ADMIN}, **config})
    relay.module = "tests.support.deadly"
    return relay


def subjects(upstream: Sink) -> set[str]:
    return {one.header("Subject") for one in upstream.taken()}


def alarms(upstream: Sink, queue_id: str) -> list[bytes]:
    return [one.octets for one in upstream.taken() if one.forward_paths == [ADMIN] and queue_id.encode() in one.octets]


def is_held(relay: RelayProcess, queue_id: str) -> list[str]:
    """The trail's words of it, once it is."""
    return [line["text"] for line in relay.show(queue_id)["trail"] if line["event"] == "held"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("way", "octets"), [("hang", 1), ("hang", 10_000), ("memory", 1), ("spin", 10_000)])
def test_a_message_that_kills_is_held_after_two_deaths(tmp_path: Path, way: str, octets: int) -> None:
    """It holds the interpreter, eats the memory or never ends: twice the relay ends and is started anew, then it is held,
    a person is told, and what came before, beside and after it is relayed."""
    with sink(tmp_path / "sink", delay=0.05) as upstream:
        relay = relay_to(tmp_path, upstream).start(QUICK)
        send(relay, "before")
        guilty = send(relay, "guilty", f"X-Deadly: {way}", octets=octets)
        try:
            for subject in ("beside", "beside too"):
                send(relay, subject, patience=1)
        except (OSError, smtplib.SMTPException):
            pass  # it is quick to die
        status = relay.death(30)
        assert status == (-signal.SIGKILL if way == "memory" else -signal.SIGPROF)
        relay.start(QUICK)
        relay.death(30)
        relay.start(QUICK)
        try:
            relay.wait_for("held", 1)
            send(relay, "after")
            eventually(lambda: {"before", "after"} <= subjects(upstream), 20, relay.said)
            eventually(lambda: alarms(upstream, guilty), 20, relay.said)
            assert any("it stopped the relay twice" in words for words in is_held(relay, guilty))
            states = aftermath(relay.spool).states
        finally:
            relay.stop()
        assert [queue_id for queue_id, fates in states.items() if "held" in fates.values()] == [guilty]
        assert "guilty" not in subjects(upstream)
        if way != "memory":
            assert any("most recent call first" in line for line in relay.lines)
            assert any("in deadly" in line for line in relay.lines)


@pytest.mark.timeout(120)
def test_the_guilty_one_is_found_among_many(tmp_path: Path) -> None:
    """Twenty are on the network to a slow upstream when one kills the relay: only that one is held, at its second death."""
    with sink(tmp_path / "sink", delay=2.0) as upstream:
        relay = relay_to(tmp_path, upstream).start(QUICK)
        send(relay, "opens the door")
        eventually(lambda: upstream.count() == 1, 20, relay.said)
        sent = {send(relay, f"innocent {number}"): f"innocent {number}" for number in range(20)}
        guilty = send(relay, "guilty", "X-Deadly: memory")
        relay.death(40)
    with sink(tmp_path / "sink", port=upstream.port) as upstream:
        relay.start(QUICK)
        assert guilty in {one for line in relay.events("warned") for one in line.get("in_hand", ())}
        relay.death(40)
        relay.start(QUICK)
        try:
            eventually(lambda: set(sent.values()) <= subjects(upstream), 40, relay.said)
            eventually(lambda: is_held(relay, guilty), 20, relay.said)
        finally:
            relay.stop()
    assert {line["queue_id"] for line in relay.events("held")} == {guilty}


@pytest.mark.timeout(120)
def test_a_held_one_may_be_released(tmp_path: Path) -> None:
    """Who mends the cause releases it: it is no suspect any more, and goes."""
    with sink(tmp_path / "sink") as upstream:
        relay = relay_to(tmp_path, upstream).start(QUICK)
        guilty = send(relay, "guilty", "X-Deadly: memory")
        relay.death()
        relay.start(QUICK)
        relay.death()
        relay.start(QUICK)
        eventually(lambda: is_held(relay, guilty), 20, relay.said)
        relay.stop()
        relay.module = "relay"
        relay.start(QUICK)
        assert relay.command("queue", "release", guilty).returncode == 0
        try:
            eventually(lambda: "guilty" in subjects(upstream), 20, relay.said)
        finally:
            relay.stop()


@pytest.mark.timeout(120)
def test_a_failure_that_kills_where_it_is_told_is_told_without_its_subject(tmp_path: Path) -> None:
    """The message is refused for good; reading its header for the notice kills: the third life tells without reading."""
    with sink(tmp_path / "sink") as upstream:
        relay = relay_to(tmp_path, upstream).start(QUICK)
        text = "From: <nas@isp.example>\r\nX-Deadly: notice\r\nSubject: unseen\r\n\r\nx\r\n"
        with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=20) as line:
            line.sendmail("nas@lan.example", ["nobody@far.example"], text)
        relay.death()
        relay.start(QUICK)
        relay.death()
        relay.start(QUICK)
        try:
            told = eventually(
                lambda: [one.octets for one in upstream.taken() if one.forward_paths == ["nas@lan.example"]], 20, relay.said
            )
        finally:
            relay.stop()
    assert b"nobody@far.example" in told[0] and b"unseen" not in told[0]


@pytest.mark.timeout(120)
def test_a_message_in_the_shared_queue_is_held_too(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """With the queue in PostgreSQL the marks lie in the state directory."""
    url = postgres_server.database()
    with sink(tmp_path / "sink") as upstream:
        state = tmp_path / "state"
        relay = relay_to(tmp_path, upstream, spool={"url": url, "state_dir": str(state)}).start(QUICK)
        guilty = send(relay, "guilty", "X-Deadly: hang")
        relay.death()
        relay.start(QUICK)
        relay.death()
        relay.start(QUICK)
        try:
            send(relay, "after")
            eventually(lambda: is_held(relay, guilty), 20, relay.said)
            eventually(lambda: "after" in subjects(upstream) and alarms(upstream, guilty), 20, relay.said)
        finally:
            relay.stop()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("shared", [False, True], ids=["SQLite", "PostgreSQL"])
def test_who_had_the_final_dot_when_the_relay_was_killed_gets_it_again(
    tmp_path: Path, shared: bool, request: pytest.FixtureRequest
) -> None:
    """The first upstream took it, and nobody was left to hear so; then it is away for a while: the second is not asked."""
    spool = {"url": f"sqlite:{tmp_path / 'spool' / 'spool.db'}"}
    if shared:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        spool = {"url": server.database(), "state_dir": str(tmp_path / "state")}
    with sink(tmp_path / "second") as second:
        with sink(tmp_path / "first", delay=3) as first:
            upstreams = {
                name: {"host": "127.0.0.1", "port": one.port, "tls": "none", "sender": "nas@isp.example"}
                for name, one in (("first", first), ("second", second))
            }
            retry = {"delays": ["1s"], "rest": ["1s"]}
            config = {"upstreams": upstreams, "routes": [{"via": ["first", "second"]}], "retry": retry, "spool": spool}
            relay = RelayProcess(tmp_path, config).start()
            queue_id = send(relay, "once")
            relay.wait_for("accepted", 1)
            time.sleep(1)  # until the final dot is there
            relay.kill9()
            eventually(lambda: first.count() == 1, 20, relay.said)
        relay.start()
        try:
            eventually(lambda: any(one.get("queue_id") == queue_id for one in relay.events("deferred")), 20, relay.said)
            time.sleep(3)
            assert relay.show(queue_id)["recipients"][0]["state"] == "queued"
            with sink(tmp_path / "first", port=first.port):
                eventually(lambda: relay.events("relayed"), 30, relay.said)
        finally:
            relay.stop()
        assert second.count() == 0


@pytest.mark.timeout(60)
def test_sigterm_ends_a_relay_that_hangs(tmp_path: Path) -> None:
    """Python cannot hear the signal while the interpreter is held: the watchdog ends it all the same."""
    with sink(tmp_path / "sink") as upstream:
        relay = relay_to(tmp_path, upstream).start({"RELAY_TEST_HANG_SECONDS": "4"})
        send(relay, "guilty", "X-Deadly: hang")
        time.sleep(0.5)  # until it hangs
        began = time.monotonic()
        assert relay.stop(15) == -signal.SIGPROF
        assert time.monotonic() - began < 10


@pytest.mark.timeout(60)
def test_a_log_that_nobody_reads_keeps_no_hanging_relay_alive(tmp_path: Path) -> None:
    """The pipe is full, so that no traceback can be written: the process ends without it."""
    with sink(tmp_path / "sink") as upstream:
        relay = relay_to(tmp_path, upstream).start(QUICK)
        read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            while os.write(write, b"x" * 4096):
                pass
        except BlockingIOError:
            os.set_blocking(write, True)
        relay.stop()
        relay.stderr = write
        relay.start(QUICK)
        send(relay, "guilty", "X-Deadly: hang")
        assert relay.death(20) in (1, -signal.SIGPROF, -signal.SIGALRM)
        os.close(read)
        os.close(write)


@pytest.mark.timeout(60)
def test_who_was_stopped_for_a_while_did_not_hang(tmp_path: Path) -> None:
    """A debugger, Ctrl-Z, a container that is paused, a machine that sleeps: it goes on where it was."""
    with sink(tmp_path / "sink", delay=6) as upstream:
        relay = relay_to(tmp_path, upstream).start(QUICK)
        try:
            send(relay, "under way")
            os.kill(relay.pid, signal.SIGSTOP)
            time.sleep(5)  # QUICK counts 2 seconds
            os.kill(relay.pid, signal.SIGCONT)
            eventually(lambda: relay.events("relayed"), 20, relay.said)
            send(relay, "after")
        finally:
            assert relay.stop() == 0


@pytest.mark.timeout(60)
def test_an_ordered_end_makes_no_suspects(tmp_path: Path) -> None:
    """SIGTERM, and a kill because the upstream is too slow: nobody knows of a fault, so nobody is suspected."""
    with sink(tmp_path / "sink", delay=30) as upstream:
        relay = relay_to(tmp_path, upstream).start()
        send(relay, "slow")
        relay.wait_for("accepted", 1)
        time.sleep(0.5)  # until it is being sent
        os.kill(relay.pid, signal.SIGTERM)
        time.sleep(0.5)  # until it has heard
        relay.kill9()
    assert InHand.open(tmp_path / "spool").left == ()
