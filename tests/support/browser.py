"""Debian's Chromium, driven through ChromeDriver by the W3C WebDriver protocol: what a person sees and does.

    with chromium(javascript=False) as browser:
        browser.open("http://127.0.0.1:8025/")
        browser.click("a", "Messages")

`find` looks by CSS selector and, if given, by text that the element shows.
"""

import base64
import contextlib
import http.client
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.support import tools

T = TypeVar("T")
PATIENCE = 15.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


class Browser:
    """One window.  Raises AssertionError when what a person would look for does not show within `PATIENCE` seconds."""

    def __init__(self, port: int, capabilities: dict[str, Any]) -> None:
        self._port = port
        self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise LookupError(f"{answer['error']}: {answer['message'].partition(chr(10))[0]}")
        return answer

    def _do(self, method: str, path: str, body: object = None) -> Any:
        return self._ask(method, f"/session/{self._session}{path}", {} if body is None and method == "POST" else body)

    def open(self, url: str) -> None:
        self._do("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._do("GET", "/url"))

    @property
    def text(self) -> str:
        """All that is to be read on the page."""
        return self.text_of(self.find("body"))

    def all(self, css: str, text: str = "") -> list[str]:
        found = [one[_ELEMENT] for one in self._do("POST", "/elements", {"using": "css selector", "value": css})]
        return [one for one in found if text in self.text_of(one)] if text else found

    def find(self, css: str, text: str = "") -> str:
        return self.until(lambda: next(iter(self.all(css, text)), None), f"no {css} with {text!r}")

    def text_of(self, element: str) -> str:
        return str(self._do("GET", f"/element/{element}/text"))

    def click(self, css: str, text: str = "") -> None:
        """What a person would click; looked for again if the page changes just then."""

        def clicked() -> bool | None:
            self._do("POST", f"/element/{self.all(css, text)[0]}/click")
            return True

        self.until(clicked, f"no {css} with {text!r} to click")

    def type(self, element: str, text: str) -> None:
        self._do("POST", f"/element/{element}/value", {"text": text})

    def press(self, key: str) -> None:
        """One key, to whatever has the focus."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def run(self, script: str, *arguments: object) -> Any:
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command: str, **parameters: object) -> Any:
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self) -> list[str]:
        """What the browser complained of since the last call."""
        return [str(line["message"]) for line in self._do("POST", "/se/log", {"type": "browser"})]

    def sized(self, width: int, height: int, *, dark: bool = False) -> None:
        """A window of that size in CSS pixels, with the person's wish for light or dark."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=scheme)

    def picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def until(self, look: Callable[[], T | None], complaint: str) -> T:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if (found := look()) is not None:
                    return found
            except LookupError:  # also IndexError: nothing is there yet
                pass  # the page changed under our eyes
            if time.monotonic() > deadline:
                raise AssertionError(f"{complaint} within {PATIENCE:g} s; the page says:\n{self.text}")
            time.sleep(0.05)

    def shows(self, text: str, css: str = "body") -> None:
        """Waits until that is to be read."""
        self.until(lambda: any(text in self.text_of(one) for one in self.all(css)) or None, f"{text!r} does not show in {css}")

    def quit(self) -> None:
        self._do("DELETE", "")


@contextmanager
def chromium(*, javascript: bool = True, languages: str = "en") -> Iterator[Browser]:
    """A new browser with an empty profile; skips with the reason where there is none."""
    driver, program = tools.chromium()
    options: dict[str, Any] = {"binary": program, "prefs": {"intl.accept_languages": languages}}
    if not javascript:
        options["prefs"]["profile.managed_default_content_settings.javascript"] = 2
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile, _driver(driver) as port:
        options["args"] = [*_FLAGS, f"--user-data-dir={profile}", f"--lang={languages.partition(',')[0]}"]
        logging = {"goog:loggingPrefs": {"browser": "ALL"}}
        browser = Browser(port, {"browserName": "chrome", "goog:chromeOptions": options, **logging})
        try:
            yield browser
        finally:
            with contextlib.suppress(OSError, LookupError):
                browser.quit()


@contextmanager
def _driver(program: str) -> Iterator[int]:
    """ChromeDriver on a port that it chooses itself."""
    process = subprocess.Popen(
        [program, "--port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "was started successfully on port" in line:
                port = int(line.rstrip(".\n").rpartition(" ")[2])
                break
        else:
            raise AssertionError("ChromeDriver did not start")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
