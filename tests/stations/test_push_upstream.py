"""Push services as upstreams of a whole relay: camera, routes, notices, and what people see of it.

camera ──> relay run ──> push process ──> ntfy, Gotify on loopback
                    └──> an ISP that takes everything
"""

import urllib.request
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import free_port
from tests.support.push_services import JPEG, NEEDS_APPRISE, Gotify, Ntfy, serving
from tests.support.running import RelayProcess, running
from tests.support.sink import sink

pytestmark = NEEDS_APPRISE

TOPIC, TOKEN = "camera-alarms-x7", "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"


@pytest.fixture
def ntfy() -> Iterator[Ntfy]:
    with serving(Ntfy(token=TOKEN)) as service:
        yield service


def phone(tmp_path: Path, ntfy: Ntfy, **more: Any) -> dict[str, Any]:
    urls = tmp_path / "phone.urls"
    urls.write_text(f"ntfy://{TOKEN}@127.0.0.1:{ntfy.port}/{TOPIC}\n")
    urls.chmod(0o600)
    return {"push_file": str(urls), "timeout": "5s", **more}


def isp(port: int) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "tls": "none", "rewrite": "never"}


def snap(relay: RelayProcess, to: str = "me@isp.example", subject: str = "Motion at the gate") -> str:
    """What a camera sends: a few words in HTML, and a picture.  The queue id."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "cam@home.example", to, subject
    message.set_content("<p>Camera <b>gate</b>: motion.</p><p>2026-11-30 08:00</p>", subtype="html")
    message.add_attachment(JPEG, maintype="image", subtype="jpeg", filename="snap.jpg")
    return relay.submit("cam@home.example", to, message.as_bytes(), "camera")


def test_a_camera_s_jpeg_on_the_phone(tmp_path: Path, ntfy: Ntfy) -> None:
    """Title, text of the HTML, and the picture as it was; the trail tells it, and no secret is anywhere."""
    page = free_port()
    config = {
        "upstreams": {"phone": phone(tmp_path, ntfy, title="{device}: {subject}")},
        "devices": {"gate camera": {"client": "127.0.0.1"}},
        "log": {"format": "json", "level": "debug"},
        "web": {"address": f"127.0.0.1:{page}"},
    }
    with running(tmp_path, config) as relay:
        queue_id = snap(relay)
        relay.wait_for("relayed")
        (pushed,) = ntfy.pushed
        assert pushed.title == "gate camera: Motion at the gate"
        assert pushed.message == "Camera gate: motion.\n\n2026-11-30 08:00"
        assert pushed.files == {"snap.jpg": JPEG}
        shown = relay.command("queue", "show", queue_id).stdout
        assert "ntfy took it (HTTP 200)" in shown
        ntfy.refuse(403, {"code": 40301, "error": f"{TOKEN} may not write to {TOPIC}"}, times=5)
        other = snap(relay)
        relay.wait_for("deferred")
        everything = [shown, *relay.lines]
        for words in (
            ("queue", "show", other),
            ("queue", "show", other, "--json"),
            ("queue", "list"),
            ("explain", "--to", "me@isp.example"),
            ("doctor",),
            ("check",),
            ("health",),
        ):
            done = relay.command(*words)
            everything += [done.stdout, done.stderr]
        assert "refuses the token" in str(everything)
        ours = ("/", f"/messages/{other}", "/metrics", "/api/queue", f"/api/queue/{other}", "/api/upstreams", "/api/relay")
        for path in ours:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}{path}", timeout=20) as answer:
                everything.append(answer.read().decode())
        assert "relay_upstream" in str(everything)
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                everything.append(file.read_bytes().decode(errors="replace"))
            except OSError:
                continue
        for text in everything:
            assert TOPIC not in text
            assert TOKEN not in text
            assert TOKEN.removeprefix("tk_") not in text


def test_the_phone_fails_and_the_mail_goes(tmp_path: Path, ntfy: Ntfy) -> None:
    """`via: [phone, isp]`: trouble, a wrong token and a refusal of the message all lead to the next one."""
    with sink(tmp_path) as provider:
        config = {
            "upstreams": {"phone": phone(tmp_path, ntfy), "isp": isp(provider.port)},
            "routes": [{"via": ["phone", "isp"]}],
            "retry": {"rest": ["1s"], "rest_login": "1s"},
        }
        with running(tmp_path, config) as relay:
            for number, status in enumerate((503, 401, 422, 429), 1):
                ntfy.refuse(status, times=2)  # with the picture, and without it
                queue_id = snap(relay, subject=f"mail {number}")
                relay.wait_for("relayed", number)
                (row,) = relay.show(queue_id)["recipients"]
                assert (row["state"], row["upstream"]) == ("relayed", "isp")
                ntfy.fail.clear()
                relay.command("queue", "retry", "--all")
            assert [one.header("subject") for one in provider.taken()] == [f"mail {number}" for number in (1, 2, 3, 4)]
            snap(relay, subject="works again")
            relay.wait_for("relayed", 5)
            assert [one.title for one in ntfy.pushed] == ["works again"]


def test_a_failure_is_told_on_the_phone(tmp_path: Path, ntfy: Ntfy) -> None:
    """The ISP refuses a recipient; the notice to the person in charge goes by `notices.via`, with a title that says it."""
    with sink(tmp_path) as provider:
        config = {
            "upstreams": {"phone": phone(tmp_path, ntfy), "isp": isp(provider.port)},
            "routes": [{"via": ["isp"]}],
            "notices": {"to": "me@isp.example", "via": ["phone"], "digest": "1s"},
        }
        with running(tmp_path, config) as relay:
            letter = b"From: root@nas.local\r\nSubject: backup failed\r\n\r\nx\r\n"
            relay.submit("root@nas.local", "nobody@far.example", letter)
            relay.wait_for("failed")
            (pushed,) = ntfy.took()
            assert pushed.title.startswith("Not delivered: backup failed")
            assert "nobody@far.example" in pushed.message
            assert not any("no rule uses this upstream" in line for line in relay.lines)
            assert provider.count() == 0


def test_several_messages_wait_their_turn(tmp_path: Path, ntfy: Ntfy) -> None:
    """`limits.per_minute` holds for a push service as for any upstream."""
    with running(tmp_path, {"upstreams": {"phone": phone(tmp_path, ntfy, limits={"per_minute": 2})}}) as relay:
        for number in range(3):
            snap(relay, subject=f"alarm {number}")
        relay.wait_for("relayed", 2)
        assert len(ntfy.pushed) == 2
        assert [row["recipients"][0]["state"] for row in relay.queue()] == ["queued"]


def test_release_by_another_way(tmp_path: Path, ntfy: Ntfy) -> None:
    """`relay queue release --via phone` sends what waits for an ISP that is away."""
    config = {"upstreams": {"isp": isp(free_port()), "phone": phone(tmp_path, ntfy)}, "routes": [{"via": ["isp"]}]}
    with running(tmp_path, config) as relay:
        queue_id = snap(relay)
        relay.wait_for("deferred")
        assert relay.command("queue", "release", queue_id, "--via", "phone").returncode == 0
        relay.wait_for("relayed")
        assert len(ntfy.took()) == 1


def test_reload_takes_a_new_url(tmp_path: Path, ntfy: Ntfy) -> None:
    """The process that is kept gets the URLs with each message."""
    with serving(Gotify()) as gotify:
        with running(tmp_path, {"upstreams": {"phone": phone(tmp_path, ntfy)}}) as relay:
            snap(relay)
            relay.wait_for("relayed")
            (tmp_path / "phone.urls").write_text(f"gotify://127.0.0.1:{gotify.port}/{gotify.key}\n")
            relay.reload()
            snap(relay)
            relay.wait_for("relayed", 2)
            assert (len(ntfy.pushed), len(gotify.pushed)) == (1, 1)
            assert "picture was left out" in relay.command("queue", "show", relay.events("relayed")[1]["queue_id"]).stdout
