"""Draws the forecasts in the ledger's admin, once the shop's plan was run dry and then for real.

``docs.make_screenshots`` runs it, after the dry run, with ``docs.admin_settings``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).resolve().parent / "pictures"
FORECASTS = "/admin/confiture_history/forecast/accuracy/"
BASE = "0001_initial"


def main(browser: str) -> None:
    """Migrate the shop, draw the page, and bring it back to its base."""
    django.setup()
    call_command("migrate", "shop", verbosity=0)
    call_command("migrate", "admin", verbosity=0)
    try:
        with _superuser() as cookie, _serving() as address, sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            context = chromium.new_context(viewport={"width": 1100, "height": 820})
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
            _draw(context.new_page(), address)
            chromium.close()
    finally:
        call_command("migrate", "admin", "zero", verbosity=0)
        call_command("migrate", "shop", BASE, verbosity=0)


def _draw(page: Page, address: str) -> None:
    page.goto(f"{address}{FORECASTS}")
    page.screenshot(path=PICTURES / "admin-forecasts.png")


@contextmanager
def _superuser() -> Iterator[str]:
    """Yield the session cookie of a user who may see everything."""
    from django.contrib.auth.models import User
    from django.test import Client

    user = User.objects.create_superuser("maintainer")
    client = Client()
    client.force_login(user)
    try:
        yield client.cookies["sessionid"].value
    finally:
        user.delete()


@contextmanager
def _serving() -> Iterator[str]:
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.test.testcases import LiveServerThread

    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error is not None:
        raise thread.error
    try:
        yield f"http://127.0.0.1:{thread.port}"
    finally:
        thread.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
