"""A person and the status page, in real Chromium, with JavaScript and without it.

browser ──> relay run ──> isp (refuses far.example)
                     └──> gmail (takes it, when told to release there)
"""

import smtplib
import time

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import PICTURES, Scene
from tests.support.browser import Browser, chromium
from tests.support.running import RelayProcess

HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'


def submit(relay: RelayProcess, to: str, subject: str, helo: str = "ups") -> str:
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=20) as device:
        device.ehlo(helo)
        device.mail("taro@isp.example")
        device.rcpt(to)
        letter = f"From: taro@isp.example\nTo: {to}\nSubject: {subject}\n\nhi\n".encode()
        code, said = device.data(letter)
        assert code == 250, said
    return said.decode().rpartition(" ")[2]


def test_a_failed_message_is_read_released_and_delivered(scene: Scene, browser: Browser) -> None:
    """A person sees at a glance that one failed, reads why, releases it via another upstream, and sees it sent."""
    submit(scene.relay, "hanako@far.example", "Mains failed, on battery")
    scene.relay.wait_for("failed")
    browser.open(scene.page)
    browser.shows("Needs attention.", "h1")
    browser.click(".causes a", "1 recipient did not get their message.")
    browser.click("h3 a", "Mains failed, on battery")

    browser.shows("Mains failed, on battery", "h1")
    browser.shows("550 5.1.1 <nobody>: no such user here", "blockquote")
    browser.shows("There is no such recipient", ".callout")
    browser.click("select[name=via] option", "gmail")
    browser.click("button", "Send again")
    browser.shows("1 message will be sent again.", ".done")

    (taken,) = scene.second.wait_for(1)
    assert taken.forward_paths == ["hanako@far.example"]
    assert taken.header("Subject") == "Mains failed, on battery"
    scene.relay.wait_for("relayed")
    if not browser.all("#live a"):  # with JavaScript the page follows by itself; without it, the link reloads
        browser.shows("sent", ".title .badge")
    else:
        browser.click("#live a")
        browser.shows("sent", ".title .badge")
    browser.shows("an operator ordered it", ".trail")
    browser.open(scene.page)
    browser.shows("went out in the last 24 hours")
    assert "did not get their message" not in browser.text


def test_holding_and_removing_by_hand(scene: Scene, browser: Browser) -> None:
    """What failed can be removed; the page asks before, and then no page knows the message any more."""
    queue_id = submit(scene.relay, "hanako@far.example", "A mistake")
    scene.relay.wait_for("failed")
    browser.open(f"{scene.page}/messages/{queue_id}")
    assert not browser.all("button.danger", "Remove for good"), "the dangerous button is shown unasked"
    browser.click("#remove summary")
    browser.click("button.danger", "Remove for good")
    browser.shows("1 message was removed.", ".done")
    browser.open(scene.page)
    assert not browser.all(f"a[href='/messages/{queue_id}']")
    browser.open(f"{scene.page}/messages/{queue_id}")
    browser.shows("No message has this id.")


def test_many_are_chosen_at_once(scene: Scene, browser: Browser) -> None:
    """Failed messages are chosen in the list and released together."""
    ids = [submit(scene.relay, "hanako@far.example", f"Number {number}") for number in (1, 2)]
    scene.relay.wait_for("failed", 2)
    browser.open(f"{scene.page}/messages?state=failed")
    for one in ids:
        browser.click(f"#choose-{one}")
    browser.click(".bar-orders button", "Send again")
    browser.shows("2 messages will be sent again.", ".done")


def test_many_are_removed_at_once(scene: Scene, browser: Browser) -> None:
    """The list asks before it removes what was chosen, and leaves the others alone."""
    first, second = [submit(scene.relay, "hanako@far.example", f"Number {number}") for number in (1, 2)]
    scene.relay.wait_for("failed", 2)
    browser.open(f"{scene.page}/messages?state=failed")
    browser.click(f"#choose-{first}")
    browser.click("#remove summary")
    browser.click("button.danger", "Remove for good")
    browser.shows("1 message was removed.", ".done")
    assert not browser.all(f"#choose-{first}")
    assert browser.all(f"#choose-{second}")


def test_nothing_from_a_mail_runs(scene: Scene, browser: Browser) -> None:
    """Script in a subject, an address and a device's name shows as text; the browser met nothing to complain of."""
    queue_id = submit(scene.relay, '"<script>alert(3)</script>"@far.example', HOSTILE, helo="<b>camera</b>")
    scene.relay.wait_for("failed")
    for page in ("", "/messages", f"/messages/{queue_id}"):
        browser.open(scene.page + page)
        browser.shows(HOSTILE)
        browser.shows("camera")
    assert browser.title.startswith(HOSTILE)
    assert not [line for line in browser.log() if "Content Security Policy" in line or "alert" in line]


def test_an_injected_script_would_be_stopped(scene: Scene, scripted: Browser) -> None:
    """Were the escaping ever broken, the policy of the page stops inline script, foreign script and frames."""
    scripted.open(scene.page)
    scripted.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"owned\"'; document.body.append(s);"
        "const b = document.createElement('button'); b.setAttribute('onclick', 'document.title = \"owned\"');"
        "document.body.append(b); b.click();"
    )
    assert scripted.title != "owned"
    assert any("Content Security Policy" in line for line in scripted.log())


def test_news_come_without_reload(scene: Scene, scripted: Browser) -> None:
    """With JavaScript on, a message that comes in shows by itself, and what was opened stays open."""
    scripted.open(scene.page)
    first = submit(scene.relay, "taro@isp.example", "The first")
    scripted.shows("The first")
    scripted.click(f"#trail-{first} summary")
    submit(scene.relay, "taro@isp.example", "The second")
    scripted.shows("The second")
    assert scripted.run("return document.getElementById(arguments[0]).open", f"trail-{first}") is True


def test_the_page_says_when_the_relay_is_gone(scene: Scene, scripted: Browser) -> None:
    """An open page does not go on looking well when nobody answers any more."""
    scripted.open(scene.page)
    scripted.shows("Live", "#live")
    scene.relay.stop()
    scripted.shows("The relay does not answer", "#live")


FOCUS = "const e = document.activeElement; return [e.getAttribute('href') || e.tagName, getComputedStyle(e).outlineStyle]"


def test_everything_is_reached_by_keyboard(scene: Scene, scripted: Browser) -> None:
    """Tab leads from the skip link through navigation to the messages; what has the focus is marked."""
    scripted.open(scene.page)
    seen = []
    for _ in range(8):
        scripted.press(Keys.TAB)
        script = (
            "const e = document.activeElement; return [e.getAttribute('href') || e.tagName, getComputedStyle(e).outlineStyle]"
        )
        name, outline = scripted.run(script)
        assert outline != "none", f"{name} has the focus and does not show it"
        seen.append(name)
    assert seen[0] == "#main"
    assert {"/", "/messages"} <= set(seen)


CONTRAST = """
const light = (c) => { const p = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * p[0] + .7152 * p[1] + .0722 * p[2]; };
const rgba = (s) => s.match(/[\\d.]+/g).map(Number);
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
const poor = [];
for (const e of document.querySelectorAll("main *, header *, footer *")) {
  const speaks = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (e.closest("svg") || !speaks || !e.checkVisibility()) continue;
  const [a, b] = [light(rgba(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) poor.push(e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 30));
}
return poor;
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(scene: Scene, scripted: Browser, dark: bool) -> None:
    """All text has a contrast of 4.5 to 1 at least (WCAG 2.2, 1.4.3), in light and dark."""
    queue_id = submit(scene.relay, "hanako@far.example", "Mains failed")
    scene.relay.wait_for("failed")
    scripted.sized(1280, 900, dark=dark)
    for page in ("", "/messages", f"/messages/{queue_id}"):
        scripted.open(scene.page + page)
        assert scripted.run(CONTRAST) == []


@pytest.mark.parametrize("path", ["", "/messages", "/messages/ID"])
def test_a_phone_needs_no_sideways_scrolling(scene: Scene, scripted: Browser, path: str) -> None:
    """At 360 pixels nothing sticks out, whatever a device calls itself."""
    queue_id = submit(scene.relay, f"{'long' * 15}@far.example", "Word" * 60, helo="x" * 200)
    scene.relay.wait_for("failed")
    scripted.sized(360, 740)
    scripted.open(scene.page + path.replace("ID", queue_id))
    assert scripted.run("return document.documentElement.scrollWidth") <= 360


def test_japanese_for_who_reads_japanese(scene: Scene) -> None:
    """The browser's language decides: labels are Japanese, what servers said stays as it was said."""
    submit(scene.relay, "hanako@far.example", "停電しました")
    scene.relay.wait_for("failed")
    with chromium(languages="ja,en") as browser:
        browser.open(scene.page)
        browser.shows("確認が必要です。", "h1")
        browser.shows("停電しました")
        browser.shows("550 5.1.1")


def test_pictures_for_the_build(scene: Scene, scripted: Browser) -> None:
    """The main page on a desktop, on a phone and in the dark is kept in build/screenshots."""
    submit(scene.relay, "taro@isp.example", "ディスク障害の警告", helo="nas")
    submit(scene.relay, "hanako@far.example", "Mains failed, on battery")
    submit(scene.relay, "taro@isp.example", "Scan 0001 from the hallway printer", helo="scanner")
    scene.relay.wait_for("failed")
    scene.relay.wait_for("relayed", 2)
    for name, width, height, dark in (("desktop", 1200, 1560, False), ("phone", 390, 1500, False), ("dark", 1200, 1560, True)):
        scripted.sized(width, height, dark=dark)
        scripted.open(scene.page)
        scripted.shows("Mains failed")
        file = PICTURES / f"{name}.png"
        scripted.picture(file)
        assert file.read_bytes().startswith(b"\x89PNG")
        assert time.time() - file.stat().st_mtime < 60
