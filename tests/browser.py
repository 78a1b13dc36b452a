"""A page in headless Chromium, and what it asked for and complained about."""

import contextlib
import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Opened:
    """A page that is open; `page` is Playwright's."""

    page: object
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_page(html_path, *, width=1280, height=900, dark=False, javascript=True, before=""):
    """Opens an HTML file without a network; `before` is JavaScript that runs ahead of the page's own.

    Skips the test, saying why, where there is no browser or no Playwright to drive it.
    """
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: pip install playwright"
    )
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        pytest.skip(f"there is no browser: none of {', '.join(BROWSERS)} is on the PATH (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=FLAGS)
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
            offline=True,
        )
        opened = Opened(context.new_page())
        if before:
            opened.page.add_init_script(before)
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
        opened.page.goto(Path(html_path).resolve().as_uri())
        try:
            yield opened
        finally:
            browser.close()


def faults_of(html_path, **settings):
    """What is wrong with a page that has to stand on its own, in words; settings as in `open_page`.

    It must ask for nothing but itself, say nothing on the console, be no wider than the screen with every fold open,
    show and describe its images, and have headings that go down by one level at a time from a single first one.
    """
    with open_page(html_path, **settings) as opened:
        page, faults = opened.page, []
        page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        images = page.evaluate(
            """() => Promise.all([...document.images].map((image) => {
                 image.loading = "eager";
                 return image.decode().then(() => [true, image.alt], () => [false, image.alt]);
               }))"""
        )
        for number, (shown, alt) in enumerate(images, 1):
            faults += [] if shown else [f"image {number} is not shown"]
            faults += [] if alt else [f"image {number} has no words for who cannot see it"]
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > page.viewport_size["width"]:
            faults.append(f"{width} pixels wide or more on a screen of {page.viewport_size['width']}")
        names = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all("all => all.map((each) => each.tagName)")
        levels = [int(name[1]) for name in names]
        if levels[:1] != [1] or levels.count(1) > 1 or any(after > before + 1 for before, after in pairwise(levels)):
            faults.append(f"headings of levels {levels}")
        own = Path(html_path).resolve().as_uri()
        return faults + [f"asked for {each}" for each in opened.requests if each != own] + opened.complaints
