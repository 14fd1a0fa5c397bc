"""A newcomer, from the first start to the first delivered message, in real Chromium, with JavaScript and without it.

browser ──> relay run --setup ──> ScriptedUpstream (AUTH), then a device's message
"""

import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import PICTURES
from tests.support.browser import Browser, chromium
from tests.support.setting_up import SetupProcess, in_a_thread, setting_up
from tests.support.upstream import ScriptedUpstream
from tests.support.waiting import eventually

USER, SECRET, PAGE = "taro@isp.example", "hunter2 hunter2", "correct horse"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[SetupProcess]:
    with setting_up(tmp_path) as running:
        yield running


@pytest.fixture
def isp() -> Iterator[ScriptedUpstream]:
    with in_a_thread(ScriptedUpstream(users={USER: SECRET}, require_auth=True)) as server:
        yield server


def complaints(browser: Browser) -> list[str]:
    """Without Chromium's hint that a form with two passwords could be two forms."""
    return [line for line in browser.log() if "[DOM]" not in line]


class Newcomer:
    """Types and clicks; counts both."""

    def __init__(self, browser: Browser) -> None:
        self.browser, self.clicks, self.fields, self.begun = browser, 0, 0, time.monotonic()

    def types(self, name: str, text: str) -> None:
        field = self.browser.find(f"[name={name}]")
        field.clear()
        field.send_keys(text)
        self.fields += 1

    def clicks_on(self, css: str, text: str = "") -> None:
        self.browser.click(css, text)
        self.clicks += 1


def test_a_newcomer_gets_to_the_first_delivered_message(relay: SetupProcess, isp: ScriptedUpstream, browser: Browser) -> None:
    """Seven clicks at most on the way to a relay that delivers; every page says what to do next."""
    one = Newcomer(browser)
    browser.open(f"http://{relay.place}/")
    browser.shows("Is this relay yours?", "h1")
    one.types("code", relay.code)
    one.clicks_on("button", "Continue")
    browser.shows("By which provider is mail sent?", "h1")
    one.types("host", "127.0.0.1")
    one.clicks_on("button", "Continue")
    browser.shows("Your account", "h1")
    for name, text in {"username": USER, "password": SECRET, "notices_to": USER, "web_password": PAGE}.items():
        one.types(name, text)
    if browser.scripts:
        typed = browser.find("#password")
        for kind in ("text", "password"):
            browser.click("[data-show=password]", "Show")
            assert typed.get_attribute("type") == kind
        assert typed.get_attribute("value") == SECRET
    else:
        assert not browser.find("[data-show=password]").is_displayed()
    one.clicks_on("#server-part summary")  # a provider of the list needs neither port nor TLS
    one.types("port", str(isp.port))
    browser.click("#tls option", "none")
    one.clicks_on("button.main", "Continue")
    browser.shows("Try it before it counts", "h1")
    one.clicks_on("#test button", "Send the test")
    browser.shows("isp has taken the message", "#test")
    assert len(isp.messages) == 1
    browser.shows("fine.", "#doctor")
    assert relay.files() == {"state/setup.json"}
    one.clicks_on("button", "Write the settings and start")
    browser.shows("Saved. The relay is starting", "h1")
    browser.shows("127.0.0.1", "#begin-address")
    browser.find("#password")  # by itself; nobody clicks
    assert browser.title.startswith("Log in")
    started = relay.wait_for("started")
    port = int(started["listening"][0].rpartition(":")[2])
    with smtplib.SMTP("127.0.0.1", port, "nas", timeout=30) as device:
        device.sendmail("root@nas", ["hanako@far.example"], b"Subject: backup done\r\n\r\nhi\r\n")
    eventually(lambda: len(isp.messages) == 2)
    took = time.monotonic() - one.begun
    assert one.clicks <= 7
    print(f"newcomer: {one.clicks} clicks, {one.fields} fields, {took:.1f} s")

    assert started["web"] == relay.place
    browser.log_in(PAGE)
    browser.shows("backup done")
    assert complaints(browser) == []


def test_it_is_done_by_keyboard(relay: SetupProcess) -> None:
    """Each page has its first field in focus or one Tab away, and Return goes on; what is wrong gets a name."""
    with chromium() as browser:
        browser.sized(1280, 900)
        browser.open(f"http://{relay.place}/")
        browser.shows("Is this relay yours?")
        browser.press(*relay.code, Keys.RETURN)
        browser.shows("By which provider")
        browser.press("Gm", Keys.TAB, Keys.TAB, Keys.RETURN)  # a list finds what is typed; the server's name; the button
        browser.shows("Gmail", "h1")
        browser.find("#username").send_keys("taro", Keys.RETURN)
        browser.shows("This is needed.", "#wrong-notices_to")
        described = browser.run("return document.getElementById('notices_to').getAttribute('aria-describedby')")
        assert "wrong-notices_to" in described
        unnamed = (
            "return [...document.querySelectorAll('input:not([type=hidden]),select')].filter(e => !e.labels.length).length"
        )
        assert browser.run(unnamed) == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_on_a_small_screen(relay: SetupProcess, isp: ScriptedUpstream, dark: bool, language: str) -> None:
    """At 360 pixels nothing is cut off or scrolls sideways; pictures for whoever wants to look."""
    with chromium(languages=language) as browser:
        browser.sized(360, 740, dark=dark)
        browser.open(f"http://{relay.place}/")
        name = f"setup-{language}-{'dark' if dark else 'light'}"

        def look(step: str) -> None:
            browser.picture(PICTURES / f"{name}-{step}.png")
            assert browser.run("return document.documentElement.scrollWidth") <= 360, step

        look("code")
        browser.find("#code").send_keys(relay.code)
        browser.click("button.main")
        browser.find("#provider")
        look("server")
        browser.click("#provider option", "Gmail")
        browser.click("button.main")
        browser.find("#username")
        look("account")
        browser.open(f"http://{relay.place}/")
        browser.find("#host").send_keys("127.0.0.1")
        browser.run("document.getElementById('provider').value = ''")
        browser.click("button.main")
        browser.find("#username").send_keys(USER)
        browser.find("#password").send_keys(SECRET)
        browser.find("#notices_to").clear()
        browser.find("#notices_to").send_keys(USER)
        browser.click("#server-part summary")
        browser.find("#port").send_keys(str(isp.port))
        browser.click("#tls option", "none")
        browser.click("button.main")
        browser.find("#finish-title")
        browser.until(lambda: browser.all("#doctor button"), "the doctor does not end")
        look("try")
        browser.click("button", "設定を保存して開始する" if language == "ja" else "Write the settings and start")
        browser.find("#written")
        look("written")
        browser.find("#login")
        assert complaints(browser) == []
