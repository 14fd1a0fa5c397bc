"""The queue through everything that happens to containers: stopped, killed, made anew, upgraded, misconfigured.

device ──▶ container ──▶ upstream (a sink on loopback, in a process of its own)
              │
           volume: queue, certificate; the one thing that outlives the container
"""

import hashlib
import json
import smtplib
import socket
import sqlite3
import subprocess
import threading
from email.message import EmailMessage

import pytest

from tests.support.containers import Container, built_image, folder_of, podman, volume
from tests.support.peers import free_port
from tests.support.push_services import JPEG, Ntfy, serving
from tests.support.sink import sink
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(2400)

SPOOL = "/var/lib/relay"
LETTER = b"From: nas@nas.local\r\nTo: me@example.jp\r\nSubject: %s\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def image() -> str:
    return built_image()[0]


@pytest.fixture
def spool():
    with volume() as name:
        yield name


@pytest.fixture
def port() -> int:
    """One that was free a moment ago; the container shares this machine's network."""
    return free_port()


def settings(port: int, upstream: int) -> dict[str, str]:
    return {
        "RELAY_HOST": "127.0.0.1",
        "RELAY_PORT": str(upstream),
        "RELAY_TLS": "none",
        "RELAY_SENDER": "nas@isp.example",
        "RELAY_NOTICES_TO": "me@example.jp",
        "RELAY_LISTEN": f"127.0.0.1:{port}",
        "RELAY_HOSTNAME": "relay.test",
    }


def send(port: int, subject: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
        device.sendmail("nas@nas.local", ["me@example.jp"], LETTER % subject)


def subjects(upstream) -> list[str]:
    return sorted(taken.header("Subject") for taken in upstream.taken())


def test_a_message_goes_through_and_health_keeps_quiet(image, spool, port, tmp_path) -> None:
    """Configured by the environment alone; commands work inside; ten health checks leave no line in the log."""
    with sink(tmp_path) as upstream:
        with Container(image, environment=settings(port, upstream.port), mounts={spool: SPOOL}) as relay:
            relay.wait_for("started")
            send(port, b"through")
            upstream.wait_for(1)
            relay.wait_for("relayed")
            before = relay.said()
            assert {relay.exec("relay", "health").returncode for _ in range(10)} == {0}
            assert relay.said() == before
            history = relay.exec("relay", "queue", "list", "--all", "--json")
            states = [one["recipients"][0]["state"] for one in json.loads(history.stdout)["messages"]]
            assert states == ["relayed"]
            sent = relay.exec("relay", "send", "--to", "me@example.jp", "--wait", "20")
            assert sent.returncode == 0, sent.stderr
            assert relay.stop() == 0
        assert len(upstream.taken()) == 2


def test_the_queue_and_the_certificate_survive_a_new_container(image, spool, port, tmp_path) -> None:
    """Accepted while the upstream is down, relayed once by the next container; devices see the same certificate."""
    state = folder_of(spool)
    with Container(image, environment=settings(port, free_port()), mounts={spool: SPOOL}) as relay:
        relay.wait_for("started")
        for number in range(5):
            send(port, b"kept %d" % number)
        relay.wait_for("deferred")
        assert relay.stop() == 0
    certificate = (state / "tls-cert.pem").read_bytes()
    with sink(tmp_path) as upstream:
        with Container(image, environment=settings(port, upstream.port), mounts={spool: SPOOL}) as relay:
            relay.wait_for("started")
            retried = relay.exec("relay", "queue", "retry", "--all")
            assert retried.returncode == 0, retried.stderr
            upstream.wait_for(5)
            relay.wait_for("relayed", 5)
            assert relay.stop() == 0
            relay.start()  # the same one once more: nothing is sent again
            relay.wait_for("started", 2)
            assert relay.stop() == 0
        letters = [subject for subject in subjects(upstream) if subject.startswith("kept")]  # the notice came too
        assert letters == [f"kept {number}" for number in range(5)]
    assert (state / "tls-cert.pem").read_bytes() == certificate
    assert {
        file.stat().st_mode & 0o077 for file in state.iterdir() if file.suffix in (".db", ".pem") and "cert" not in file.name
    } == {0}


def test_a_message_in_hand_is_finished_at_stop(image, spool, port, tmp_path) -> None:
    """SIGTERM in the middle of DATA: the device ends its message, hears 250, and it arrives once."""
    with sink(tmp_path) as upstream:
        with Container(image, environment=settings(port, upstream.port), mounts={spool: SPOOL}) as relay:
            relay.wait_for("started")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as device:
                device.ehlo("nas")
                device.mail("nas@nas.local")
                device.rcpt("me@example.jp")
                assert device.docmd("DATA")[0] == 354
                device.send(b"Subject: in hand\r\n\r\nfirst half\r\n")
                stopping = subprocess.Popen(["podman", "kill", "-s", "TERM", relay.name], stdout=subprocess.DEVNULL)
                assert stopping.wait(30) == 0
                refused = connects(port)
                device.send(b"second half\r\n.\r\n")
                code, words = device.getreply()
                assert code == 250, words
                device.close()
            assert relay.exit_code() == 0
            assert not refused or "421" in refused
            if not upstream.taken():
                relay.start()
                upstream.wait_for(1)
                assert relay.stop() == 0
        assert subjects(upstream) == ["in hand"]


def connects(port: int) -> str:
    """What a new client hears; "" if nobody listens any more."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as line:
            return line.recv(100).decode()
    except OSError:
        return ""


def test_kill_9_loses_nothing_that_was_promised(image, spool, port, tmp_path) -> None:
    """Killed while devices send: every message that heard its 250 arrives after the next start."""
    promised: list[bytes] = []

    def device(number: int) -> None:
        for count in range(200):
            subject = b"kill %d-%d" % (number, count)
            try:
                send(port, subject)
            except (OSError, smtplib.SMTPException):
                return
            promised.append(subject)

    with sink(tmp_path) as upstream:
        with Container(image, environment=settings(port, upstream.port), mounts={spool: SPOOL}) as relay:
            relay.wait_for("started")
            devices = [threading.Thread(target=device, args=(number,)) for number in range(3)]
            for one in devices:
                one.start()
            relay.wait_for("accepted", 20)
            relay.kill()
            for one in devices:
                one.join(60)
            relay.start()
            relay.wait_for("started", 2)
            eventually_there = {subject.decode() for subject in promised}
            assert len(eventually_there) >= 20
            upstream.wait_for(len(eventually_there), 60)
            relay.exec("relay", "queue", "retry", "--all")
            assert relay.stop(40) == 0
        assert eventually_there <= set(subjects(upstream))


def test_a_newer_spool_is_refused_and_left_alone(image, spool, port) -> None:
    """After a downgrade the relay says so and ends; not one octet of the file is changed."""
    with Container(image, environment=settings(port, free_port()), mounts={spool: SPOOL}) as relay:
        relay.wait_for("started")
        send(port, b"from the future")
        relay.wait_for("accepted")
        assert relay.stop() == 0
    database = folder_of(spool) / "spool.db"
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    with Container(image, environment=settings(port, free_port()), mounts={spool: SPOOL}) as relay:
        assert relay.exit_code() == 1
        assert "newer version" in relay.said()
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before


def test_a_spool_without_a_volume_is_loudly_told(image, spool, port) -> None:
    """In memory, or on the nameless volume that goes with its container: said at start; on a named one nothing is said."""
    where = settings(port, free_port())
    tmpfs = ("--network=host", f"--mount=type=tmpfs,destination={SPOOL},U=true")
    for mounts, options, words in (
        ({}, ("--network=host",), "volume without a name"),
        ({}, tmpfs, "in memory"),
        ({spool: SPOOL}, ("--network=host",), ""),
    ):
        with Container(image, environment=where, mounts=mounts, options=options) as relay:
            relay.wait_for("started")
            relay.exec("relay", "health")  # answered after the warnings are out
            warned = [line["text"] for line in relay.events("warned") if "lost" in line["text"]]
            assert len(warned) == bool(words), relay.said()
            assert all(words in text and "named volume" in text for text in warned)
            assert relay.stop() == 0


def test_a_secret_with_every_awkward_sign_comes_from_a_file(image, spool, port, tmp_path) -> None:
    """Dollars, quotes, hashes and spaces in a mounted file are taken as they are; an unreadable one is named with our user."""
    secret = tmp_path / "secret"
    secret.write_text("p$HOME'\"#: é% \\\n")
    where = {**settings(port, free_port()), "RELAY_USERNAME": "taro", "RELAY_PASSWORD_FILE": "/run/secrets/isp"}
    mounts = {spool: SPOOL, str(secret): "/run/secrets/isp:ro"}
    secret.chmod(0o644)
    with Container(image, environment=where, mounts=mounts) as relay:
        relay.wait_for("started")
        assert relay.stop() == 0
        assert "$HOME" not in relay.said()
    secret.chmod(0o600)
    with Container(image, environment=where, mounts=mounts) as relay:
        assert relay.exit_code() == 2
        assert "user 65532" in relay.said()


def test_a_folder_of_somebody_else_is_named_with_its_cure(image, port, tmp_path) -> None:
    """A bind mount that root owns, the commonest of all mistakes, is told with the user that needs it."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o755)
    with Container(image, environment=settings(port, free_port()), mounts={str(folder): SPOOL}) as relay:
        assert relay.exit_code() == 1
        assert "writable for user 65532" in relay.said()


def test_a_picture_goes_to_the_phone(image, spool, port, tmp_path) -> None:
    """The image has the library and all that it needs; its process works under a read-only root."""
    tmp_path.chmod(0o755)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "cam@home.example", "me@example.jp", "Motion"
    message.set_content("at the gate")
    message.add_attachment(JPEG, maintype="image", subtype="jpeg", filename="snap.jpg")
    with serving(Ntfy()) as ntfy:
        phone = {"push": f"ntfy://127.0.0.1:{ntfy.port}/alarms"}
        given = {"listen": [{"address": f"127.0.0.1:{port}"}], "hostname": "relay.test", "upstreams": {"phone": phone}}
        (tmp_path / "config.yaml").write_text(json.dumps({**given, "log": {"format": "json"}}))
        with Container(image, mounts={spool: SPOOL, str(tmp_path): "/etc/relay:ro"}) as relay:
            relay.wait_for("started")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as camera:
                camera.send_message(message)
            relay.wait_for("relayed")
            assert relay.stop() == 0
    assert [(one.title, one.files) for one in ntfy.pushed] == [("Motion", {"snap.jpg": JPEG})]


def test_an_idle_relay_stops_at_once(image, spool, port) -> None:
    """Far under ten seconds, and with status 0; also when it is told to stop while it starts."""
    with Container(image, environment=settings(port, free_port()), mounts={spool: SPOOL}) as relay:
        relay.wait_for("started")
        assert relay.stop(10) == 0
        relay.start()
        # The kernel keeps the first signals from a process 1 that has not said yet what to do with them.
        eventually(lambda: podman("kill", "-s", "TERM", relay.name).returncode, 10)
        assert relay.exit_code() == 0
