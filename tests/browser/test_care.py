"""A person mends what ails the relay, in real Chromium, with JavaScript and without it.

browser ──> relay run ──> m365 (its consent has ended), isp (its port is wrong)
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import PICTURES
from tests.browser.test_accessible import looked_at
from tests.support.browser import Browser, chromium
from tests.support.care import by_token, ended_consent, served
from tests.support.oauth import Stub, provider
from tests.support.running import RelayProcess, running
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

PASSWORD = "page-pa55word"


@dataclass
class Ward:
    relay: RelayProcess
    page: str
    isp: Sink
    stub: Stub


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with ExitStack() as stack:
        isp, stub = stack.enter_context(sink(tmp_path / "isp")), stack.enter_context(provider())
        m365 = stack.enter_context(served(by_token(stub)))
        common = {"host": "127.0.0.1", "tls": "none"}
        oauth = {"provider": "microsoft", "client_id": "app", **stub.urls}
        config = {
            "hostname": "relay.home.example",
            "upstreams": {
                "isp": {**common, "port": 9, "username": "taro@isp.example", "password": "hunter2", "auth": "none"},
                "m365": {**common, "port": m365, "username": stub.user, "oauth": oauth},
            },
            "routes": [{"to": "*@office.example", "via": ["m365"]}, {"via": ["isp"]}],
            "notices": {"to": "me@isp.example"},
            "retry": {"delays": ["1h"], "rest": ["1h"], "rest_login": "1h"},
            "dns": {"nameservers": ["127.0.0.1:9"]},
            "web": {"address": "127.0.0.1:0", "password": PASSWORD},
        }
        (tmp_path / "spool").mkdir()
        ended_consent(tmp_path / "spool", "m365", stub.user)
        relay = stack.enter_context(running(tmp_path, config))
        yield Ward(relay, f"http://{relay.events('started')[-1]['web']}", isp, stub)


def enter(browser: Browser, address: str) -> None:
    browser.open(address)
    if browser.all("#login"):
        browser.log_in(PASSWORD)


def refresh(browser: Browser) -> None:
    """Without JavaScript a person follows the link; with it the page follows by itself."""
    if browser.all("#live a"):
        browser.click("#live a")


def until_shown(browser: Browser, text: str, css: str) -> None:
    def look() -> bool:
        refresh(browser)
        return any(text in one.text for one in browser.all(css))

    browser.until(look, f"{text!r} does not show in {css}")


def test_an_ended_consent_is_renewed(ward: Ward, browser: Browser) -> None:
    """Mail waits, the doctor says why, the person signs in by the code, and it is sent."""
    ward.relay.submit("taro@isp.example", "boss@office.example", b"Subject: A scan\r\n\r\nx\r\n")
    ward.relay.wait_for("deferred")
    enter(browser, ward.page)
    browser.click("nav a", "Maintenance")
    browser.click("button", "Examine now")
    until_shown(browser, "consent", "#examination .findings")
    browser.click(".states a", "Sign-in")
    browser.shows("The consent has ended.", "#account-m365")
    ward.stub.pending = ["authorization_pending"] * 3
    browser.click("#account-m365 button.main", "Sign in again")
    until_shown(browser, "GTHDDWXPL", "#account-m365")
    browser.picture(PICTURES / "sign-in.png")
    until_shown(browser, "The consent is here, and in force.", "#account-m365")
    ward.relay.wait_for("relayed")
    enter(browser, f"{ward.page}/messages")
    browser.shows("A scan")
    assert not [line for line in browser.log() if "Content Security Policy" in line]


def test_a_setting_is_mended(ward: Ward, browser: Browser) -> None:
    """A test does not arrive; the port is wrong in the file; it is mended with a mistake on the way, and the test arrives."""
    enter(browser, f"{ward.page}/test")
    browser.click("button", "Send the test")
    browser.shows("A test from the relay", "h1")
    ward.relay.wait_for("deferred")
    enter(browser, f"{ward.page}/settings")
    area = browser.find("textarea")
    text = str(area.get_attribute("value"))
    assert "hunter2" not in text and "(hidden-1)" in text
    for wrong in ("65536", str(ward.isp.port)):
        fresh = browser.find("textarea")
        fresh.clear()
        fresh.send_keys(text.replace('"port": 9', f'"port": {wrong}', 1))
        if browser.all("#live a"):
            browser.click("button", "Check")
            where = "#told" if wrong == "65536" else "#said"  # after the form was sent, mistakes stand at the top
        else:
            where = "#said"
        browser.shows("a port from 1 to 65535" if wrong == "65536" else "No mistakes.", where)
        if wrong == "65536":
            browser.shows('"port": 65536', f"{where} .line-said")
    browser.picture(PICTURES / "settings.png")
    browser.click("button.main", "Save and reload")
    browser.shows("The new settings are in force.", ".done")
    assert '"password": "hunter2"' in ward.relay.config_file.read_text()
    enter(browser, f"{ward.page}/test")
    browser.click("button", "Send the test")
    eventually(lambda: "A test from the relay" in [one.header("Subject") for one in ward.isp.taken()])


SAID = {
    "en": {
        "/doctor": "connects, logs in, sends nothing",
        "/test": "Sends a short message and follows it to its end",
        "/sign-in": "Upstreams that want a person's consent",
        "/settings": "All of it is in force.",
    },
    "ja": {
        "/doctor": "接続とログインだけを行い、メールは送りません。",
        "/test": "短いメールを送信し、次のページで最後まで経過を確認できます。",
        "/sign-in": "パスワードの代わりに本人の同意が必要な送信先です。",
        "/settings": "すべて有効です。",
    },
}
"""A sentence of each page."""


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_is_to_be_used_on_a_phone_by_keyboard_and_in_japanese(ward: Ward, language: str) -> None:
    """Tab and Return begin the examination.  Nothing sticks out, every field has a label, every button a name; axe agrees."""
    with chromium(languages=language) as browser:
        browser.sized(360, 740)
        enter(browser, f"{ward.page}/doctor")
        for _ in range(30):
            browser.press(Keys.TAB)
            if browser.run("return document.activeElement.matches('#examination button')"):
                break
        browser.press(Keys.RETURN)
        browser.until(lambda: browser.all("#fine") and not browser.all("#examination .progress"), "it does not end")
        assert browser.all("#examination .findings", "使えるOAuthトークンがありません" if language == "ja" else "The consent")
        for path, sentence in SAID[language].items():
            browser.open(ward.page + path)
            browser.shows(sentence, "main")
            assert browser.run("return document.documentElement.lang") == language
            unnamed = browser.run(
                "return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
                ".filter((one) => !one.labels.length).map((one) => one.outerHTML)"
            )
            assert unnamed == [], path
            nameless = "return [...document.querySelectorAll('button')].filter((one) => !one.textContent.trim()).length"
            assert browser.run(nameless) == 0, path
            assert looked_at(browser, path) == []
