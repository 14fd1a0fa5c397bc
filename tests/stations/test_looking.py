"""Looking at a message that is kept: what is shown, what is told of it, and what a stranger's mail cannot do.

device ──SMTP──> relay run ──> upstream that is away          program ──HTTP──> relay run
"""

import base64
import http.client
import re
import smtplib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.stations.test_control_access import Page, basic
from tests.support.peers import free_port
from tests.support.running import RelayProcess, running

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
LETTER = (
    f"From: {SCRIPT} <a@isp.example>\r\nSubject: {SCRIPT}\r\nX-Odd: {SCRIPT}\r\nMIME-Version: 1.0\r\n"
    f'Content-Type: multipart/mixed; boundary="B"\r\n\r\n'
    f"--B\r\nContent-Type: text/plain\r\n\r\nhello {SCRIPT}\r\n"
    f"--B\r\nContent-Type: text/html\r\n\r\n<html><meta http-equiv=refresh content='0;url=http://evil.example/'>"
    f"<img src='http://evil.example/pixel.gif'>{SCRIPT}</html>\r\n"
    f'--B\r\nContent-Type: application/pdf; name="../../etc/{SCRIPT}.pdf"\r\n\r\nPDF\r\n--B--\r\n'
).encode()
TITLES = {
    "Backup done": "Backup done.eml",
    "../../etc/passwd": "-..-etc-passwd.eml",
    "..\\..\\boot.ini": "-..-boot.ini.eml",
    'a"; filename=evil.exe; x="': "a_; filename=evil.exe; x=_.eml",
    "=?utf-8?B?DQpTZXQtQ29va2llOiB4PXk=?=": "Set-Cookie_ x=y.eml",
    "=?utf-8?B?5YGc6Zu7?=": "停電.eml",
    "x" * 400: "",
    "CON": "_CON.eml",
    "": "",
}


def settings(**web: object) -> dict[str, object]:
    isp = {"host": "127.0.0.1", "port": free_port(), "tls": "none", "sender": "a@isp.example"}
    retry = {"delays": ["1h"], "rest": ["1h"]}
    return {"upstreams": {"isp": isp}, "retry": retry, "web": {"address": "127.0.0.1:0", **web}}


def submit(relay: RelayProcess, content: bytes, helo: str = "nas") -> str:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as device:
        device.ehlo(helo)
        device.mail("a@isp.example")
        device.rcpt("b@far.example")
        code, said = device.data(content)
    assert code == 250, said
    return said.decode().split()[-1]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with running(tmp_path_factory.mktemp("looking"), settings()) as relay:
        yield Page(relay)


@pytest.fixture(scope="module")
def hostile(page: Page) -> str:
    return submit(page.relay, LETTER)


def looks(relay: RelayProcess, queue_id: str) -> list[tuple[str, str]]:
    return [(line["how"], line["text"]) for line in relay.show(queue_id)["trail"] if line["event"] == "looked"]


def octets(page: Page, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(page.place, timeout=60)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_content_is_shown_as_text(page: Page, hostile: str) -> None:
    """Header, text and names of attachments: everything a stranger wrote is escaped, on each page that shows it."""
    for path in ("content", "changes"):
        code, headers, html = page.ask("GET", f"/messages/{hostile}/{path}")
        assert code == 200
        assert "<script>document" not in html
        assert "onerror=alert(1)>" not in html
        assert "&lt;script&gt;" in html
        assert "unsafe-inline" not in headers["content-security-policy"]
    html = page.ask("GET", f"/messages/{hostile}/content")[2]
    assert "hello" in html
    assert "application/pdf" in html
    assert 'sandbox=""' in html
    assert "frame-src 'self'" in page.ask("GET", f"/messages/{hostile}/content")[1]["content-security-policy"]


def test_html_is_locked_in(page: Page, hostile: str) -> None:
    """The frame's answer runs and fetches nothing by itself, also where it is opened without the frame."""
    code, headers, html = page.ask("GET", f"/messages/{hostile}/html")
    assert code == 200
    policy = headers["content-security-policy"].split("; ")
    assert policy[:3] == ["sandbox", "default-src 'none'", "img-src data:"]
    assert "allow" not in headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r"script-src|connect-src|\*|https?:", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["x-dns-prefetch-control"] == "off"
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "<meta http-equiv" not in html


@pytest.mark.parametrize("subject", TITLES)
def test_a_file_has_a_safe_name(page: Page, subject: str) -> None:
    """Whatever the subject says: one header, one name without a path, and the octets as they came."""
    content = b"Subject: " + subject.encode() + b"\r\n\r\nhi \xff\r\n"
    queue_id = submit(page.relay, content)
    code, headers, body = octets(page, f"/messages/{queue_id}/eml")
    assert (code, headers["content-type"]) == (200, "message/rfc822")
    assert body == content
    assert headers["content-length"] == str(len(content))
    assert headers["set-cookie"] is None
    said = headers.get_all("content-disposition")
    assert said is not None
    (disposition,) = said
    found = re.fullmatch(r'attachment; filename="([0-9A-Za-z]+)\.eml"; filename\*=UTF-8\'\'([A-Za-z0-9%._~-]+)', disposition)
    assert found, disposition
    assert found[1] == queue_id
    name = unquote(found[2])
    assert not re.search(r'[/\\\x00-\x1f"<>|:*?]', name)
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert name.endswith(".eml")
    if TITLES[subject]:
        assert name == TITLES[subject]


@pytest.mark.parametrize(
    "path",
    [
        "/messages/../../etc/passwd/eml",
        "/messages/..%2f..%2fetc%2fpasswd/eml",
        "/messages/%2e%2e/eml",
        "/messages/nosuchmessage0/eml",
        "/messages/nosuchmessage0/content",
        "/messages/nosuchmessage0/html",
        "/messages/%00/eml",
        "/api/queue/..%2f..%2fspool.db/eml",
        "/api/queue/nosuchmessage0/content",
    ],
)
def test_no_path_leads_out(page: Page, path: str) -> None:
    """An id is looked up, never opened."""
    assert page.code("GET", path) == 404


def test_each_look_is_in_the_trail_once(page: Page) -> None:
    """One line for a person and a way of looking, however often within some minutes; a download is another."""
    queue_id = submit(page.relay, b"Subject: once\r\n\r\nhi\r\n")
    for path in ("content", "content", "html", "changes", "eml", "eml"):
        page.ask("GET", f"/messages/{queue_id}/{path}")
    page.ask("GET", f"/api/queue/{queue_id}/content")
    assert looks(page.relay, queue_id) == [
        ("page", "looked at by somebody from 127.0.0.1"),
        ("file", "downloaded by somebody from 127.0.0.1"),
        ("api", "looked at by somebody from 127.0.0.1"),
    ]
    story = page.ask("GET", f"/messages/{queue_id}")[2]
    assert "downloaded by somebody from 127.0.0.1" in story
    assert len([line for line in page.relay.events("looked") if line["queue_id"] == queue_id]) == 3


def test_the_api_says_the_same(page: Page, hostile: str) -> None:
    """Fields, text, attachments; the id may be its beginning."""
    code, headers, body = octets(page, f"/api/queue/{hostile}/content")
    assert (code, headers["content-type"]) == (200, "application/json")
    for said in (b"hello", b"application/pdf", b'"name":"Subject"', b'"html":true', b'"whole":true'):
        assert said in body
    assert octets(page, f"/api/queue/{hostile}/eml")[2] == LETTER


def test_before_and_after(page: Page) -> None:
    """What was mended stands beside what it was: the header of a device that knows little of mail."""
    queue_id = submit(page.relay, b"subject: hi\nX-Broken : yes\n\nhello\n")
    html = page.ask("GET", f"/messages/{queue_id}/changes")[2]
    for words in ("As it came", "As it is sent", "X-Broken : yes", "X-Broken: yes", "Message-ID:", "Received:", "isp"):
        assert words in html, words
    assert 'class="pair-added"' in html
    assert 'class="pair-changed"' in html


def test_what_is_not_kept_is_not_shown(tmp_path: Path) -> None:
    """A message that was relayed has a trail and no content; the look is not told, since there was none."""
    from tests.support.sink import sink

    with sink(tmp_path / "sink") as upstream:
        config = settings()
        config["upstreams"] = {"isp": {"host": "127.0.0.1", "port": upstream.port, "tls": "none", "sender": "a@isp.example"}}
        with running(tmp_path, config) as relay:
            queue_id = submit(relay, b"Subject: gone\r\n\r\nhi\r\n")
            relay.wait_for("relayed")
            page = Page(relay)
            for path in ("content", "html", "changes", "eml"):
                code, _, html = page.ask("GET", f"/messages/{queue_id}/{path}")
                assert code == 410
                assert "no longer kept" in html
            assert page.code("GET", f"/api/queue/{queue_id}/content") == 410
            assert looks(relay, queue_id) == []


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """`web.content: false`: no page, no file, no API, no link; a reload switches it on again."""
    config = settings(content=False)
    with running(tmp_path, config) as relay:
        queue_id = submit(relay, b"Subject: secret\r\n\r\nthe safe is open\r\n")
        page = Page(relay)
        paths = [f"/messages/{queue_id}/{path}" for path in ("content", "html", "changes", "eml")]
        for path in (*paths, f"/api/queue/{queue_id}/content", f"/api/queue/{queue_id}/eml"):
            code, _, text = page.ask("GET", path)
            assert code == 403
            assert "the safe" not in text
        assert "/content" not in page.ask("GET", f"/messages/{queue_id}")[2]
        assert looks(relay, queue_id) == []
        relay.configure({**relay.config, "web": {"address": "127.0.0.1:0"}})
        relay.reload()
        assert Page(relay).code("GET", paths[0]) == 200


def test_who_looked_is_told_as_far_as_it_is_known(tmp_path: Path) -> None:
    """The name that the reverse proxy gave; nobody is let in without one, and a password stays a must."""
    with running(tmp_path, settings(user_header="Remote-User", proxies=["127.0.0.1"])) as relay:
        queue_id = submit(relay, b"Subject: who\r\n\r\nhi\r\n")
        page = Page(relay)
        for name in ("ann", "bob", "ann", "<b>\x01eve</b>"):
            assert page.code("GET", f"/messages/{queue_id}/content", Remote_User=name) == 200
        assert page.code("GET", f"/messages/{queue_id}/content") == 401
        assert [text for _, text in looks(relay, queue_id)] == [
            "looked at by ann, from 127.0.0.1",
            "looked at by bob, from 127.0.0.1",
            "looked at by <b>eve</b>, from 127.0.0.1",
        ]
        assert "<b>eve" not in page.ask("GET", f"/messages/{queue_id}", Remote_User="ann")[2]


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    """Nobody looks without it."""
    with running(tmp_path, settings(password="correct horse battery")) as relay:
        queue_id = submit(relay, b"Subject: x\r\n\r\nhi\r\n")
        page = Page(relay)
        for path in ("content", "html", "changes", "eml"):
            assert page.code("GET", f"/messages/{queue_id}/{path}") == 401
        assert page.code("GET", f"/messages/{queue_id}/content", Authorization=basic("correct horse battery")) == 200


def test_a_large_message_costs_little_memory(tmp_path: Path) -> None:
    """30 MB are shown and downloaded, others are answered meanwhile, and the relay does not grow by them."""
    attachment = base64.encodebytes(b"0123456789" * 2_200_000).replace(b"\n", b"\r\n")
    head = b'Subject: big\r\nContent-Type: multipart/mixed; boundary="B"\r\n\r\n--B\r\n\r\nsee the file\r\n--B\r\n'
    letter = (
        head
        + b"Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + attachment
        + b"--B--\r\n"
    )
    with running(tmp_path, settings()) as relay:
        queue_id = submit(relay, letter)
        page = Page(relay)
        small = submit(relay, b"Subject: small\r\n\r\nhi\r\n")
        page.ask("GET", f"/messages/{small}/content")  # what the first look loads
        page.ask("GET", f"/messages/{small}/changes")
        before = _resident(relay.pid)
        html = page.ask("GET", f"/messages/{queue_id}/content")[2]
        assert "see the file" in html
        assert "22.0 MB" in html
        assert octets(page, f"/messages/{queue_id}/eml")[2] == letter
        assert page.code("GET", f"/messages/{queue_id}/changes") == 200
        assert _resident(relay.pid) - before < 20


def _resident(pid: int) -> float:
    """MB at the most so far."""
    found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
