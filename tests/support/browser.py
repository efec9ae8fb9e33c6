"""Pages in a real Chromium, with what went wrong in them; skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

VARIABLE = "CONFITURE_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OF_THE_PAGE_ITSELF = ("data", "blob", "about", "file")


class Watched:
    """A page, and what it did that it should not have done."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        """Errors and warnings on the console, and uncaught exceptions."""
        self.requests: list[str] = []
        """The addresses that it asked for, but those of the page itself."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def hosts(self) -> set[str]:
        """Return the hosts that it has sent requests to."""
        return {urlsplit(each).netloc for each in self.requests}

    def violations(self, *selectors: str) -> list[str]:
        """Return what axe finds in the page, or in these parts of it."""
        context: Any = {"include": [[each] for each in selectors]} if selectors else None
        found = Axe().run(self.page, context).response["violations"]
        return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]

    def _said(self, message: ConsoleMessage) -> None:
        # A browser asks for it unasked.
        its_own = message.location.get("url", "").endswith("/favicon.ico")
        if message.type in ("error", "warning") and not its_own:
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in _OF_THE_PAGE_ITSELF:
            self.requests.append(request.url)


def chromium() -> str | None:
    """Return the program: that of the variable, or the first on the path."""
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start the browser.

    Playwright keeps an event loop in this thread, where Django refuses to use a database: what a
    test asks of one, it asks before.
    """
    program = chromium()
    if program is None:
        pytest.skip(f"needs a Chromium: apt-get install chromium, or say where it is in {VARIABLE}")
    with sync_playwright() as playwright:
        sandboxed = os.geteuid() != 0  # root, as in containers, may not use the sandbox
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=sandboxed)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watching() -> Iterator[Watched]:
    """Open an empty page in its own browser."""
    with launched() as browser:
        yield Watched(browser.new_page())
