"""What a proxy's path does to an answer: links, redirects and cookies get it, what mail says does not."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from relay.control.content_answers import FRAME_POLICY
from relay.control.path_prefix import below, prefix_of


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("/api/hassio_ingress/Kd3_x-9Zq", "/api/hassio_ingress/Kd3_x-9Zq"),
        ("/relay/", "/relay"),
        ("/", ""),
        ("", ""),
        ("relay", ""),
        ("//evil.example", ""),
        ("/../etc", ""),
        ('/a"><script>', ""),
        ("/a\nSet-Cookie: x", ""),
        ("https://evil.example/a", ""),
        ("/a" * 50, ""),
    ],
)
@pytest.mark.parametrize("name", ["X-Ingress-Path", "X-Forwarded-Prefix"])
def test_only_a_plain_path_is_a_prefix(name: str, said: str, believed: str) -> None:
    assert prefix_of(Headers({name: said})) == believed


async def sent(kind: str, *blocks: bytes, code: int = 200, **headers: str) -> tuple[dict[str, str], bytes]:
    """What comes out of an answer in these blocks."""
    out: list[Any] = []

    async def send(message: Any) -> None:
        out.append(message)

    pairs = {"content-type": kind, "content-length": str(sum(map(len, blocks))), **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in pairs.items()]
    prefixed = below("/ha/token", send)
    await prefixed({"type": "http.response.start", "status": code, "headers": raw})
    for number, block in enumerate(blocks, 1):
        await prefixed({"type": "http.response.body", "body": block, "more_body": number < len(blocks)})
    assert out[0]["type"] == "http.response.start"
    return {name.decode(): value.decode() for name, value in out[0]["headers"]}, b"".join(one["body"] for one in out[1:])


async def test_links_of_a_page_get_it_wherever_the_page_is_cut() -> None:
    """Also where an attribute is in two blocks; foreign links, hidden fields and text stay."""
    page = (
        b'<link href="/static/page.css"><a href="/">x</a><form action="/orders"><button formaction="/test">'
        b'<img src="/static/icon.svg"><i data-next="/x" data-check="/api/check"></i>'
        b'<meta http-equiv="refresh" content="3; url=/try"><a href="https://docs.example/a">y</a>'
        b'<a href="//evil.example/">z</a><a href="?page=2">2</a><input name="next" value="/doctor">'
        b"<p>Subject: href=&#34;/messages&#34; a; url=/b</p>"
    )
    whole = page.replace(b'="/', b'="/ha/token/').replace(b"3; url=/", b"3; url=/ha/token/")
    whole = whole.replace(b'"/ha/token//evil', b'"//evil').replace(b'value="/ha/token/', b'value="/')
    for cut in (len(page), 9, 60):
        headers, body = await sent("text/html; charset=utf-8", page[:cut], page[cut:])
        assert body == whole
        assert headers["content-length"] == str(len(whole))


async def test_redirects_and_cookies_get_it() -> None:
    headers, _ = await sent("text/plain", b"", code=303, location="/messages?x=/y", set_cookie="a=b; Path=/; HttpOnly")
    assert headers["location"] == "/ha/token/messages?x=/y"
    assert headers["set-cookie"] == "a=b; Path=/ha/token/; HttpOnly"
    headers, _ = await sent("text/plain", b"", code=303, location="https://login.example/a")
    assert headers["location"] == "https://login.example/a"


async def test_the_proxys_own_page_may_frame_it() -> None:
    """Every page, also one with a policy of its own; nobody else may."""
    policy = "default-src 'none'; frame-ancestors 'none'; frame-src 'self'"
    headers, _ = await sent("text/html", b"x", content_security_policy=policy, x_frame_options="DENY")
    assert headers["content-security-policy"] == policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
    assert headers["x-frame-options"] == "SAMEORIGIN"


async def test_what_a_stranger_wrote_stays_as_it_is() -> None:
    """The HTML of a mail in its frame: an address below the root of the page would lead to our pages."""
    html = b'<a href="/messages">x</a> <img src="/x">'
    headers, body = await sent("text/html", html, content_security_policy=FRAME_POLICY)
    assert (body, headers["content-length"]) == (html, str(len(html)))
    assert headers["content-security-policy"] == FRAME_POLICY


@pytest.mark.parametrize("kind", ["application/json", "text/css", "text/javascript", "message/rfc822"])
async def test_what_is_no_page_stays_as_it_is(kind: str) -> None:
    content = b'{"a": " href="/x"}'
    headers, body = await sent(kind, content[:5], content[5:])
    assert (body, headers["content-length"]) == (content, str(len(content)))
