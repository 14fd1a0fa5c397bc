"""Debian's Chromium, driven by Selenium through Debian's ChromeDriver: what a person sees and does.

    with chromium(javascript=False) as browser:
        browser.open("http://127.0.0.1:8025/")
        browser.click("a", "Messages")

`find` looks by CSS selector and, if given, by text that the element shows.  Both programs are named by path, so
Selenium looks for none and downloads none.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support import tools

T = TypeVar("T")
PATIENCE = 15.0
_CHANGING = (WebDriverException, IndexError)  # the page changed under our eyes, or nothing is there yet
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

    def __init__(self, driver: Chrome, *, scripts: bool = True, language: str = "en") -> None:
        self._driver = driver
        self.scripts, self.language = scripts, language
        """Whether pages may run theirs, and what the person reads."""

    def open(self, url: str) -> None:
        self._driver.get(url)

    @property
    def url(self) -> str:
        """Where it is now."""
        return self._driver.current_url

    def in_zone(self, name: str) -> None:
        """Whoever looks lives there."""
        self._driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": name})

    @property
    def title(self) -> str:
        return self._driver.title

    @property
    def text(self) -> str:
        """All that is to be read on the page."""
        return self.find("body").text

    def all(self, css: str, text: str = "") -> list[WebElement]:
        found = self._driver.find_elements(By.CSS_SELECTOR, css)
        return [one for one in found if text in one.text] if text else found

    def find(self, css: str, text: str = "") -> WebElement:
        return self.until(lambda: self.all(css, text)[0], f"no {css} with {text!r}")

    def click(self, css: str, text: str = "") -> None:
        """What a person would click; looked for again if the page changes just then."""

        def clicked() -> bool:
            self.all(css, text)[0].click()
            return True

        self.until(clicked, f"no {css} with {text!r} to click")

    @contextmanager
    def inside(self, css: str) -> Iterator[None]:
        """Looks into a frame."""
        self._driver.switch_to.frame(self.find(css))
        try:
            yield
        finally:
            self._driver.switch_to.default_content()

    def press(self, *keys: str) -> None:
        """Keys, to whatever has the focus."""
        ActionChains(self._driver).send_keys(*keys).perform()

    def log_in(self, password: str) -> None:
        """Where the log-in page shows, with this password."""
        self.find("#password").send_keys(password, Keys.ENTER)
        self.until(lambda: not self.all("#login"), "still the log-in page")

    def run(self, script: str, *arguments: object) -> Any:
        return self._driver.execute_script(script, *arguments)

    def run_async(self, script: str, *arguments: object) -> Any:
        """The same for a script that calls its last argument with the result."""
        return self._driver.execute_async_script(script, *arguments)

    def log(self) -> list[str]:
        """What the browser complained of since the last call."""
        return [str(line["message"]) for line in self._driver.get_log("browser")]

    def sized(self, width: int, height: int, *, dark: bool = False) -> None:
        """A window of that size in CSS pixels, with the person's wish for light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def picture(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._driver.get_screenshot_as_png())

    def until(self, look: Callable[[], T | None], complaint: str) -> T:
        """Waits until `look` finds something."""
        waiting = WebDriverWait(self._driver, PATIENCE, poll_frequency=0.05, ignored_exceptions=_CHANGING)
        try:
            return waiting.until(lambda _: look())  # type: ignore[return-value]
        except TimeoutException:
            page = self._driver.find_element(By.CSS_SELECTOR, "body").text
            raise AssertionError(f"{complaint} within {PATIENCE:g} s; the page says:\n{page}") from None

    def shows(self, text: str, css: str = "body") -> None:
        """Waits until that is to be read."""
        self.until(lambda: any(text in one.text for one in self.all(css)), f"{text!r} does not show in {css}")


@contextmanager
def chromium(*, javascript: bool = True, languages: str = "en") -> Iterator[Browser]:
    """A new browser with an empty profile; skips with the reason where there is none."""
    driver, program = tools.chromium()
    options = ChromeOptions()
    options.binary_location = program
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    wishes: dict[str, Any] = {"intl.accept_languages": languages}
    if not javascript:
        wishes["profile.managed_default_content_settings.javascript"] = 2
    options.add_experimental_option("prefs", wishes)
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--lang={languages.partition(',')[0]}"):
            options.add_argument(flag)
        window = Chrome(options=options, service=ChromeService(executable_path=driver))
        try:
            yield Browser(window, scripts=javascript, language=languages.partition(",")[0])
        finally:
            with contextlib.suppress(OSError, WebDriverException):
                window.quit()
