"""Logging in, the first steps and the viewer's time, in real Chromium, with JavaScript and without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.browser import Browser, chromium
from tests.support.running import RelayProcess, running
from tests.support.sink import Sink, sink

PASSWORD = "correct horse battery"


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Sink]:
    with sink(tmp_path / "behind") as one:
        yield one


@pytest.fixture
def relay(tmp_path: Path, behind: Sink) -> Iterator[RelayProcess]:
    """Fresh, with a password."""
    upstream = {"host": "127.0.0.1", "port": behind.port, "tls": "none", "sender": "taro@isp.example"}
    config = {"upstreams": {"isp": upstream}, "web": {"address": "127.0.0.1:0", "password": PASSWORD}}
    with running(tmp_path, config) as one:
        yield one


def page_of(relay: RelayProcess) -> str:
    return f"http://{relay.events('started')[-1]['web']}"


def log_in(browser: Browser, password: str) -> None:
    browser.find("#password").send_keys(password, Keys.ENTER)


def test_a_person_logs_in_sees_what_to_type_and_logs_out(relay: RelayProcess, browser: Browser) -> None:
    """By keyboard alone: the form has the focus, a wrong password is told, the right one leads to what was wanted."""
    browser.open(f"{page_of(relay)}/messages?state=failed")
    browser.shows("Log in", "h1")
    assert browser.find("#password").get_attribute("autofocus")
    log_in(browser, "wrong")
    browser.shows("This is not the password.", "[role=alert]")
    log_in(browser, PASSWORD)
    browser.shows("Messages", "h1")
    assert browser.url.endswith("/messages?state=failed")

    browser.click("nav a", "Overview")
    browser.shows(str(relay.port), "#begin-port")
    assert bool([one for one in browser.all("[data-copy]") if one.is_displayed()]) == browser.scripts
    relay.submit("nas@home.example", "taro@isp.example", b"Subject: Backup done\r\n\r\nok\r\n")
    relay.wait_for("relayed")
    if not browser.scripts:
        browser.open(page_of(relay))
    browser.shows("Backup done", "h3")
    assert not browser.all("#begin-port")

    browser.click(".logout button", "Log out")
    browser.shows("You are logged out.")
    browser.open(page_of(relay))
    browser.shows("Log in", "h1")


def test_an_open_page_asks_for_the_password_when_the_session_is_over(relay: RelayProcess, scripted: Browser) -> None:
    """It goes to the form by itself, the browser's own window for passwords does not come, and the log-in leads back."""
    scripted.open(page_of(relay))
    log_in(scripted, PASSWORD)
    scripted.click("nav a", "Messages")
    scripted.shows("Messages", "h1")
    relay.stop()
    scripted.shows("The relay does not answer", "#live")
    relay.configure({**relay.config, "web": {"address": page_of(relay).removeprefix("http://"), "password": PASSWORD}})
    relay.start()
    scripted.shows("Log in", "h1")
    log_in(scripted, PASSWORD)
    scripted.shows("Messages", "h1")


def test_copying_what_is_to_be_typed(relay: RelayProcess, scripted: Browser) -> None:
    """The button copies, and says so."""
    scripted.open(page_of(relay))
    log_in(scripted, PASSWORD)
    scripted.click("[data-copy=begin-port]")
    scripted.shows("Copied", "[data-copy=begin-port]")


def test_times_are_those_of_the_browsers_zone(relay: RelayProcess) -> None:
    """From the first look on, without a hand being moved."""
    relay.submit("nas@home.example", "taro@isp.example", b"Subject: Backup done\r\n\r\nok\r\n")
    relay.wait_for("relayed")
    with chromium() as browser:
        browser.in_zone("Asia/Tokyo")
        browser.open(page_of(relay))
        log_in(browser, PASSWORD)
        browser.shows("Times are those of Asia/Tokyo (UTC+09:00).", "#zone")
