"""A real headless browser, for tests of pages."""

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    "--headless",
    "--no-sandbox",  # root has no sandbox
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_SIZE = (1200, 900)
_PATIENCE_SECONDS = 30


def find() -> tuple[str, str] | None:
    """The paths of Chromium and its driver (Debian's chromium and chromium-driver), or None."""
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    return programs if all(programs) else None


class Browser:
    """A running Chromium with one page open at a time."""

    def __init__(self, chromium: str, driver: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in _FLAGS:
            options.add_argument(flag)
        self._driver = webdriver.Chrome(options, webdriver.ChromeService(driver))
        self._driver.set_window_size(*_SIZE)

    def open(self, path: Path | str) -> "Browser":
        self.errors()  # of the page before
        self._driver.get(Path(path).resolve().as_uri())
        return self

    def open_empty(self) -> "Browser":
        self._driver.get("about:blank")
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs a piece of JavaScript, and returns its result."""
        return self._driver.execute_script(script, *arguments)

    def text(self, element_id: str) -> str:
        """The visible text of an element."""
        return self._driver.find_element("id", element_id).text

    def errors(self) -> list[str]:
        """The console's warnings and errors since the last call."""
        return [line["message"] for line in self._driver.get_log("browser") if line["level"] != "INFO"]

    def press(self, *keys: str, held: str = "") -> None:
        """Presses keys, also of selenium's `Keys`, one after the other, while one is held down."""
        pressed = webdriver.ActionChains(self._driver)
        if held:
            pressed.key_down(held)
        for key in keys:
            pressed.send_keys(key)
        if held:
            pressed.key_up(held)
        pressed.perform()

    def click(self, selector: str) -> None:
        self._driver.find_element("css selector", selector).click()

    def downloaded(self, folder: Path, selector: str, name: str) -> Path:
        """Clicks on what saves a file of this name, into `folder`; returns its path once it is whole."""
        self._driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        self.click(selector)
        self.wait_until(lambda: (folder / name).exists() and not [*folder.glob("*.crdownload")])
        return folder / name

    def point_at(self, selector: str, across: float, down: float) -> None:
        """Moves the mouse over an element, to these shares of its width and height."""
        element = self._driver.find_element("css selector", selector)
        size = element.rect
        move = webdriver.ActionChains(self._driver).move_to_element_with_offset
        move(element, round((across - 0.5) * size["width"]), round((down - 0.5) * size["height"])).perform()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition, patiently: pages are slow on a busy machine."""
        WebDriverWait(self._driver, _PATIENCE_SECONDS).until(lambda _: condition())

    @contextmanager
    def width(self, pixels: int) -> Iterator[None]:
        """Shows the page on a screen of this width, which may be narrower than a window can be."""
        screen = {"width": pixels, "height": _SIZE[1], "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        time.sleep(0.5)  # until charts begin to be drawn again
        yield
        self._driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def printed(self) -> bytes:
        return base64.b64decode(self._driver.execute_cdp_cmd("Page.printToPDF", {})["data"])

    def close(self) -> None:
        self._driver.quit()
