"""The page in a frame of Home Assistant, below a path of its ingress: everything that a person clicks stays there.

browser ──> a stand-in for the Supervisor ──> relay run (its page asks everybody else for a password)
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.ingress import PREFIX, USER, ingress
from tests.support.running import RelayProcess, running
from tests.support.setting_up import setting_up
from tests.support.waiting import eventually

OURS = {"address": "127.0.0.1:0", "user_header": USER, "proxies": ["127.0.0.1"]}


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    upstream = {"host": "127.0.0.1", "port": 9, "tls": "none"}
    with running(tmp_path, {"upstreams": {"isp": upstream}, "web": OURS, "retry": {"delays": ["1h"]}}) as one:
        yield one


@pytest.fixture
def page(relay: RelayProcess) -> str:
    return f"http://{relay.events('started')[-1]['web']}"


def test_a_message_is_found_held_and_looked_at_in_the_frame(relay: RelayProcess, page: str, browser: Browser) -> None:
    """Nobody logs in again; links, forms, redirects and what a script fetches keep the path."""
    relay.submit("cam@isp.example", "me@far.example", b'Subject: Motion href="/messages"\r\n\r\nframe\r\n')
    with ingress(page) as address:
        browser.open(address)
        with browser.inside("iframe"):
            browser.click("a", 'Motion href="/messages"')
            browser.shows("me@far.example")
            assert browser.find("h1, h2", 'Motion href="/messages"')
            browser.click("button", "Hold")
            browser.shows("held")
            eventually(lambda: relay.queue()[0]["recipients"][0]["state"] == "held", 10)
            browser.click("a", "Look at the message")
            browser.shows("frame")
            for place in ("/", "/doctor", "/settings", "/messages"):
                browser.click(f'a[href="{PREFIX}{place}"]')
                browser.until(lambda: browser.all("nav, header"), f"no page at {place}")
            links = {one.get_attribute("href") for one in browser.all("a[href], link[href]")}
            astray = {link for link in links if link and link.startswith(address) and PREFIX not in link}
            assert not astray
        assert not [line for line in browser.log() if (PREFIX in line and "404" in line) or "Refused" in line]


def test_set_up_is_done_there_too(tmp_path: Path, browser: Browser) -> None:
    """The code is asked for, and the next step follows, in the frame."""
    told = {"RELAY_WEB_USER_HEADER": USER, "RELAY_WEB_PROXIES": "127.0.0.1"}
    with setting_up(tmp_path, **told) as relay, ingress(f"http://{relay.place}") as address:
        browser.open(address)
        with browser.inside("iframe"):
            browser.shows("Is this relay yours?", "h1")
            browser.find("[name=code]").send_keys(relay.code)
            browser.click("button", "Continue")
            browser.shows("By which provider is mail sent?", "h1")
            browser.find("[name=host]").send_keys("mail.isp.example")
            browser.click("button", "Continue")
            browser.shows("Your account", "h1")


def test_who_comes_past_the_proxy_has_no_prefix_and_no_way_in(tmp_path: Path) -> None:
    """From an address that is no proxy's, the path is not believed, and who it names is nobody."""
    strange = {**OURS, "proxies": ["127.0.0.9"]}
    with running(tmp_path, {"upstreams": {"isp": {"host": "127.0.0.1", "port": 9, "tls": "none"}}, "web": strange}) as relay:
        headers = {"X-Ingress-Path": PREFIX, USER: "me", "Accept": "text/html"}
        asked = urllib.request.Request(f"http://{relay.events('started')[-1]['web']}/", headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=10)  # noqa: S310 - our own page
        refused.value.close()
        assert refused.value.code == 401
        assert "'none'" in refused.value.headers["Content-Security-Policy"].rpartition("frame-ancestors")[2]
