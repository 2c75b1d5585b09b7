"""A real browser for tests: Debian's Chromium without a window, driven by Playwright.

`TOLLGATE_CHROMIUM` names another one. Where none is there and we may, Debian's package is installed.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

Theme = Literal["light", "dark"]

WIDE, NARROW = 1280, 400
"""Pixels: a desk's screen, and a telephone's."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def path_of_chromium() -> str:
    """Where the browser is. Skips the test where there is none and none can be installed."""
    if named := os.environ.get("TOLLGATE_CHROMIUM"):
        return named
    if (found := _installed()) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(
                ["apt-get", *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdout=subprocess.DEVNULL,
                check=False,
            )
        found = _installed()
    if found is None:
        pytest.skip("chromium is not there: install Debian's chromium, or name one by TOLLGATE_CHROMIUM")
    return found


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that runs."""
    with sync_playwright() as playwright:
        # A container's root has no sandbox to offer, and /dev/shm is small there.
        browser = playwright.chromium.launch(
            executable_path=path_of_chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Browser, base_url: str, *, width: int = WIDE, theme: Theme = "light") -> Iterator[Page]:
    """A page of its own, with cookies of its own. Raises AssertionError at the end for whatever its console was told:
    what the content security policy forbids, and what scripts broke at."""
    context = browser.new_context(base_url=base_url, viewport={"width": width, "height": 900}, color_scheme=theme)
    context.set_default_timeout(15_000)
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    # That a form was refused is an answer like others.
    assert not (wrong := [one for one in told if "Failed to load resource" not in one]), wrong


def barriers(page: Page) -> list[str]:
    """What keeps people out, by axe's rules: the serious and the critical, each with where it is."""
    found: Any = Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]


def sticks_out(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    found: int = page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
    return max(found, 0)
