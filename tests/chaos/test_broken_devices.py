"""A camera gone mad, and secrets: what a person must be told, and what nobody must ever be shown.

camera (10,000 mails) ──> relay run ──> sink            NAS ──> relay run ──> upstreams that refuse the password
"""

import asyncio
import base64
import json
import os
import smtplib
import stat
import time
from contextlib import suppress
from pathlib import Path

from relay.spool.invariants import check_invariants
from tests.chaos.ledger import FULL, Ledger
from tests.support.aftermath import aftermath
from tests.support.running import RelayProcess
from tests.support.sink import sink
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually
from tests.support.webhook import pushes

SENDER = "nas@isp.example"
MAILS, A_MINUTE = (10_000, 300) if FULL else (600, 60)
PASSWORD, SECOND_PASSWORD = "corr3ct-Horse-b4ttery", "0ther-p4ss-Staple"


def test_a_camera_with_ten_thousand_mails_is_slowed_down(tmp_path: Path, ledger: Ledger) -> None:
    """450 beyond `messages_per_minute`: what was promised arrives, others are served, and the owner is told once."""
    with sink(tmp_path / "sink") as upstream, pushes() as push:
        config = {
            "upstreams": {"sink": {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": SENDER}},
            "limits": {"messages_per_minute": A_MINUTE},
            "notices": {"webhook": push.url, "digest": "1s"},
        }
        relay = RelayProcess(tmp_path, config).start()
        promised, slowed, began = 0, 0, time.monotonic()
        try:
            with smtplib.SMTP("127.0.0.1", relay.port, "camera", timeout=60, source_address=("127.0.0.7", 0)) as camera:
                for _ in range(MAILS):
                    code, _ = camera.mail("cam@isp.example")
                    if code == 250:
                        camera.rcpt("b@far.example")
                        code, _ = camera.data(b"Subject: motion\r\n\r\nx\r\n")
                        promised += code == 250
                        continue
                    assert code == 450
                    slowed += 1
                    if slowed % 500 == 0:  # a session of nothing but refusals is cut off one day; a camera connects again
                        camera.quit()
                        camera.connect("127.0.0.1", relay.port, source_address=("127.0.0.7", 0))
                        camera.helo("camera")
            minutes = 1 + int((time.monotonic() - began) / 60)
            with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=60) as nas:
                nas.sendmail(SENDER, "b@far.example", f"From: <{SENDER}>\r\nSubject: nas\r\n\r\nx\r\n")
            eventually(lambda: push.about("127.0.0.7"), 30, relay.said)
            eventually(lambda: not aftermath(relay.spool).queued, 120, relay.said)
            arrived = upstream.taken()
        finally:
            relay.stop()
    words = f"{slowed} x 450, told {len(push.about('127.0.0.7'))} x"
    ledger.enter(f"a camera with {MAILS} mails", promised=promised + 1, lost=promised + 1 - len(arrived), words=words)
    assert promised + slowed == MAILS
    assert A_MINUTE <= promised <= A_MINUTE * (minutes + 1)
    assert len(arrived) == promised + 1
    assert len(push.about("127.0.0.7")) == 1
    assert check_invariants(relay.spool) == []


def secrets_in(text: str, *secrets: str) -> list[str]:
    forms = [*secrets, *(base64.b64encode(one.encode()).decode().rstrip("=") for one in secrets)]
    forms += [base64.b64encode(f"\0taro\0{one}".encode()).decode().rstrip("=") for one in secrets]
    return [form for form in forms if form in text]


def failing_mail(relay: RelayProcess) -> str:
    with smtplib.SMTP("127.0.0.1", relay.port, "nas", timeout=60) as line:
        with suppress(smtplib.SMTPException):
            line.login("taro", SECOND_PASSWORD)  # what a device insists on saying is nobody's business either
        line.mail(SENDER)
        line.rcpt("b@far.example")
        return line.data(b"Subject: hi\r\n\r\nx\r\n")[1].decode().split()[-1]


async def test_secrets_are_shown_nowhere(tmp_path: Path, ledger: Ledger) -> None:
    """Refused logins, broken lines, garbage: neither log, trail, queue, API, check, doctor, explain nor core show a secret."""
    users = {"taro": "another password"}
    said: list[str] = []
    async with (
        ScriptedUpstream(users=users, require_auth=True) as wrong,
        ScriptedUpstream(users=users, script={"AUTH": "535 5.7.8 bad"}) as echo,
    ):
        account = {"host": "127.0.0.1", "tls": "none", "username": "taro", "password": PASSWORD, "sender": SENDER}
        upstreams = {
            "wrong": {**account, "port": wrong.port},
            "echo": {**account, "port": echo.port, "auth": "plain"},
            "nobody": {**account, "port": 1},
        }
        config = {
            "upstreams": upstreams,
            "routes": [{"via": ["wrong", "echo", "nobody"]}],
            "log": {"format": "json", "level": "debug"},
        }
        relay = RelayProcess(tmp_path, config)
        relay.config_file.chmod(0o644)
        await asyncio.to_thread(relay.start)
        try:
            queue_id = await asyncio.to_thread(failing_mail, relay)
            await asyncio.to_thread(relay.wait_for, "deferred", 1, 40)
            assert [auth for auth in (*wrong.auths, *echo.auths) if auth[2] is False]
            for words in (
                ("queue", "show", queue_id),
                ("queue", "show", queue_id, "--json"),
                ("queue", "list", "--json"),
                ("check",),
                ("explain", "--from", SENDER, "--to", "b@far.example"),
                ("health", "--json"),
            ):
                done = await asyncio.to_thread(relay.command, *words)
                said += [done.stdout, done.stderr]
            modes = {place.name: stat.S_IMODE(place.stat().st_mode) for place in relay.spool.parent.iterdir()}
        finally:
            await asyncio.to_thread(relay.stop)
    assert any(queue_id in one for one in said)
    everything = "\n".join([*said, *relay.lines])
    assert secrets_in(everything, PASSWORD, SECOND_PASSWORD) == []
    stored = b"".join(place.read_bytes() for place in relay.spool.parent.iterdir() if place.is_file())
    assert secrets_in(stored.decode("latin-1"), PASSWORD, SECOND_PASSWORD) == []
    readable = "readable by everyone" in everything or "others" in everything or "every user" in everything
    assert readable, "a literal password in a file that others may read is remarked on at the start"
    private = {name: oct(mode) for name, mode in modes.items() if mode & 0o077}
    assert private == {}, "files beside the spool are for their owner only"
    words = f"{len(everything) // 1000} kB of output and {len(stored) // 1000} kB of files searched"
    ledger.enter("secrets, after refused logins", words=words)


def test_a_crash_inside_shows_no_secret(tmp_path: Path) -> None:
    """An exception with the settings in its locals prints them as ***."""
    from relay import config

    file = tmp_path / "config.yaml"
    upstream = {"host": "127.0.0.1", "tls": "none", "username": "taro", "password": PASSWORD}
    listener = {"address": "127.0.0.1:0", "networks": ["private"], "auth": "required", "users": {"nas": SECOND_PASSWORD}}
    file.write_text(json.dumps({"upstreams": {"a": upstream}, "listen": [listener]}))
    loaded = config.load(config.find(str(file), os.environ), os.environ)
    assert loaded.config is not None
    assert secrets_in(f"{loaded!r} {loaded.config!r} {loaded.config}", PASSWORD, SECOND_PASSWORD) == []
    assert "***" in repr(loaded.config)
