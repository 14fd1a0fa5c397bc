"""What a person needs who knows the page alone: who was refused, one way out, a mistake where it is seen.

device ──SMTP──> relay run ──> upstreams          browser ──HTTP──> relay run
"""

import re
import smtplib
from pathlib import Path
from typing import Any

import pytest

from tests.stations.test_page_first_look import words
from tests.support.care import Forms
from tests.support.peers import free_port
from tests.support.running import running
from tests.support.sink import sink

PASSWORD = "page-pa55word"


def settings(port: int, **more: Any) -> dict[str, Any]:
    isp = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "a@isp.example"}
    web = {"address": "127.0.0.1:0", "password": PASSWORD}
    return {"upstreams": {"isp": isp}, "retry": {"delays": ["1h"], "rest": ["1h"]}, "web": web, **more}


def test_who_was_refused_for_an_address_is_told_at_the_top(tmp_path: Path) -> None:
    """On overview and devices, with what to do; not any more once the address is let in."""
    listen = {"address": "127.0.0.1:0", "networks": ["192.168.0.0/16"]}
    with running(tmp_path, settings(9, listen=listen)) as relay:
        with pytest.raises(smtplib.SMTPException), smtplib.SMTP("127.0.0.1", relay.port, timeout=30):
            pass
        page = Forms(relay, PASSWORD)
        [seen] = page.api("GET", "/api/relay")[1]["devices"]
        assert seen["outside"] is True
        for path in ("/", "/devices"):
            told = words(page.page(path))
            assert 'networks: [private, "127.0.0.1"]' in told and "Leave private in the list" in told
        assert words(page.page("/")).index("1 device tried to send and was refused") < words(page.page("/")).index(
            "Refused for"
        )
        assert "拒否されました" in Forms(relay, PASSWORD, "ja").page("/")
        found = page.api("GET", "/api/settings")[1]
        text = found["text"].replace("192.168.0.0/16", "private")
        assert page.api("POST", "/api/settings", {"text": text, "stamp": found["stamp"]})[1]["saved"]
        relay.submit("a@isp.example", "b@far.example", b"Subject: x\r\n\r\nx\r\n")
        assert "was refused" not in words(page.page("/")) and "Leave private" not in words(page.page("/devices"))


def test_with_one_upstream_nobody_is_asked_by_which(tmp_path: Path) -> None:
    """`mx` is not offered where no route has it; who sends again as routed drops the earlier order."""
    dead = {"nameservers": ["127.0.0.1:9"]}
    with sink(tmp_path / "isp") as isp, running(tmp_path, settings(isp.port, dns=dead)) as relay:
        page = Forms(relay, PASSWORD)
        queue_id = page.api("POST", "/api/tests", {"to": "you@far.invalid", "via": "mx"})[1]["id"]
        assert relay.wait_for("deferred")[0]["queue_id"] == queue_id
        for path in ("/messages", f"/messages/{queue_id}", "/test"):
            assert 'name="via"' not in page.page(path), path
        for action in ("hold", "release"):
            assert page.api("POST", "/api/orders", {"action": action, "ids": [queue_id]})[1]["applied"] == 1
        assert relay.wait_for("relayed")[0]["upstream"] == "isp"


def test_an_order_in_vain_is_not_told_as_done(tmp_path: Path) -> None:
    """And the words for states are explained."""
    with running(tmp_path, settings(9)) as relay:
        page = Forms(relay, PASSWORD)
        assert re.search(r'class="done in-vain"[^>]*>Nothing was done', page.page("/messages?done=none&n=0"))
        assert re.search(r'class="done"[^>]*>1 message was removed', page.page("/messages?done=remove&n=1"))
        assert "given up It was tried for as long as the settings say" in words(page.page("/messages"))


def test_what_is_no_address_is_told_in_plain_words(tmp_path: Path) -> None:
    """Not in those of the parser."""
    with running(tmp_path, settings(9)) as relay:
        for typed in ("nobody@@", "taro", "a@b@c"):
            code, _, html = Forms(relay, PASSWORD).submit("/test", to=typed)
            assert (code, "This is not a mail address. Example: taro@example.jp." in html) == (400, True), typed


def test_a_relayed_message_says_that_its_content_is_gone(tmp_path: Path) -> None:
    """No links to what is no longer there."""
    with sink(tmp_path / "isp") as isp, running(tmp_path, settings(isp.port)) as relay:
        relay.submit("a@isp.example", "b@far.example", b"Subject: x\r\n\r\nx\r\n")
        queue_id = relay.wait_for("relayed")[-1]["queue_id"]
        html = Forms(relay, PASSWORD).page(f"/messages/{queue_id}")
        assert "The content is deleted after delivery." in html and "/content" not in html


def test_where_devices_are_pointed_stays_under_devices(tmp_path: Path) -> None:
    """Also after the first message."""
    with sink(tmp_path / "isp") as isp, running(tmp_path, settings(isp.port)) as relay:
        relay.submit("a@isp.example", "b@far.example", b"Subject: x\r\n\r\nx\r\n")
        page = Forms(relay, PASSWORD)
        assert 'href="/devices#begin-title"' in page.page("/")
        assert f"Port {relay.port} Copy Sender Any address." in words(page.page("/devices"))


def test_what_was_saved_is_told_once_and_mistakes_come_first(tmp_path: Path) -> None:
    """The line with the mistake is quoted above the box; nothing is said of secrets that are not there."""
    with running(tmp_path, settings(free_port())) as relay:
        page = Forms(relay, PASSWORD)
        found = page.api("GET", "/api/settings")[1]
        wrong = found["text"].replace("sender:", "sendr:").replace('"sender"', '"sendr"')
        assert page.api("POST", "/api/settings", {"text": found["text"] + "\n", "stamp": found["stamp"]})[1]["saved"]
        stamp = page.api("GET", "/api/settings")[1]["stamp"]
        code, _, html = page.submit("/settings", text=wrong, stamp=stamp, act="save")
        assert code == 409 and "Saved." not in html.replace("Nothing was saved", "")
        mistake = html.index("did you mean")
        assert html.index("Nothing was saved: there are mistakes.") < mistake < html.index("<textarea")
        assert re.search(r'<pre class="line-said">[^<]*sendr', html)
        code, _, html = page.submit("/settings", text=found["text"], stamp=stamp, act="save")
        assert code == 303, html
        assert "Saved. The old file" in page.page("/settings")
        assert "Saved. The old file" not in page.page("/settings")
