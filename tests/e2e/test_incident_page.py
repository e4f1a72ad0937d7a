"""The incident pages in a real browser, with text as an attacker would log it: nothing runs, everything is drawn.

Screenshots go to build/, light and dark, wide and narrow: they are there to be looked at.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import url_to_be
from selenium.webdriver.support.wait import WebDriverWait
from tests import incident_scene as scene

from forewarn.detector import HOUR
from forewarn.stores.sqlite import SqliteStore
from forewarn_datasource.app import create_app
from forewarn_datasource.serving import Server
from forewarn_datasource.settings import DatasourceSettings, Listen
from forewarn_datasource.wiring import Serving

BUILD = Path(__file__).resolve().parents[2] / "build"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
WIDE, NARROW = 1100, 390


@pytest.fixture(scope="module")
def store() -> Iterator[SqliteStore]:
    made = SqliteStore(":memory:")
    scene.fill(made, *scene.INCIDENTS, scene.NASTY)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(store: SqliteStore) -> Iterator[str]:
    app = create_app(store, DatasourceSettings(cache_for=0), clock=lambda: scene.NOW, predict=scene.predict)
    serving = Serving(Server(app, Listen("127.0.0.1", 0)))
    yield serving.url
    serving.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
    started.set_page_load_timeout(60)
    yield started
    started.quit()


def show(browser: webdriver.Chrome, address: str, *, width: int = WIDE, dark: bool = False) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    resize(browser, width, 900)
    browser.get(address)


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width == NARROW}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def value(browser: webdriver.Chrome, expression: str) -> Any:
    return browser.execute_script(f"return {expression}")  # type: ignore[no-untyped-call]  # selenium types its arguments only


def follow(browser: webdriver.Chrome, link: WebElement) -> None:
    """Clicks, and waits until the browser is where the link leads: a click may come back before it has set out."""
    address = link.get_attribute("href")
    assert address
    link.click()
    WebDriverWait(browser, 60).until(url_to_be(address))


def assert_nothing_ran(browser: webdriver.Chrome) -> None:
    assert value(browser, "typeof window.owned") == "undefined"
    assert value(browser, "document.title").endswith("· Forewarn")
    assert value(browser, "document.scripts.length") == 0
    assert value(browser, "document.images.length") == 0
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]  # as above


def keep(browser: webdriver.Chrome, name: str, most: int = 6_000) -> Path:
    """A screenshot of the page down to its end, or `most` pixels of it."""
    BUILD.mkdir(exist_ok=True)
    width = value(browser, "document.documentElement.clientWidth")
    resize(browser, width, min(most, value(browser, "document.documentElement.scrollHeight")))
    path = BUILD / f"incident-{name}.png"
    assert browser.save_screenshot(str(path))
    return path


@pytest.mark.parametrize(("name", "width", "dark"), [("light", WIDE, False), ("dark", WIDE, True), ("narrow", NARROW, False)])
def test_an_incident_is_drawn_as_it_is_stored(
    browser: webdriver.Chrome, url: str, store: SqliteStore, name: str, width: int, dark: bool
) -> None:
    show(browser, f"{url}/incidents/{scene.OPEN.id}", width=width, dark=dark)
    assert_nothing_ran(browser)
    window = scene.OPEN.start - 2 * HOUR, scene.OPEN.end + 2 * HOUR
    drawn = browser.find_elements(By.CSS_SELECTOR, "svg.drawing")
    keys = [scene.DISK, scene.FREE, scene.SLOW, scene.ERRORS, scene.LATENCY, scene.LINES]
    for key, svg in zip(keys, drawn, strict=True):
        (stored,) = store.scores([key.id], *window, 1_000)
        path = svg.find_element(By.CSS_SELECTOR, "path.actual").get_attribute("d") or ""
        assert len(re.findall("[ML]", path)) == int(np.isfinite(stored.actual).sum())
        assert len(svg.find_elements(By.CSS_SELECTOR, "circle.hit")) == int((stored.score >= 1).sum())
        assert svg.rect["width"] > 0.25 * width
        assert svg.rect["height"] > 100
    background = value(browser, "getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(16, 20, 26)") == dark, "the style was applied"
    assert value(browser, "document.documentElement.scrollWidth") <= width, "nothing reaches out of the page"
    assert keep(browser, name).stat().st_size > 20_000


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_list_and_an_incident_of_hostile_text_run_nothing(browser: webdriver.Chrome, url: str, width: int) -> None:
    show(browser, f"{url}/incidents", width=width, dark=width == NARROW)
    assert_nothing_ran(browser)
    assert "<script>" in browser.find_element(By.TAG_NAME, "main").text
    assert value(browser, "document.documentElement.scrollWidth") <= width
    keep(browser, f"list-{width}")
    follow(browser, browser.find_element(By.PARTIAL_LINK_TEXT, "<script>"))
    assert browser.current_url == f"{url}/incidents/{scene.NASTY.id}"
    assert_nothing_ran(browser)
    assert value(browser, "document.documentElement.scrollWidth") <= width
    times = browser.find_elements(By.CSS_SELECTOR, "td time")
    assert times
    assert all(one.rect["height"] < 30 for one in times), "a time is not broken"
    keep(browser, f"hostile-{width}")


def test_from_the_list_one_comes_to_an_incident_and_back(browser: webdriver.Chrome, url: str) -> None:
    show(browser, f"{url}/incidents?state=open")
    follow(browser, browser.find_element(By.LINK_TEXT, scene.OPEN.title))
    assert browser.find_element(By.TAG_NAME, "h1").text == scene.OPEN.title
    summary = browser.find_element(By.TAG_NAME, "summary")
    summary.click()
    assert "Connection timeouts" in summary.text
    follow(browser, browser.find_element(By.CSS_SELECTOR, "a.brand"))
    assert browser.current_url == f"{url}/incidents"
    follow(browser, browser.find_element(By.LINK_TEXT, "resolved"))
    titles = [link.text for link in browser.find_elements(By.CSS_SELECTOR, "a.title")]
    assert titles == [scene.OVER.title]
    assert_nothing_ran(browser)
