"""Draws the ledger's admin and saves its pages, once the shop's plan ran dry and then for real.

``docs.make_screenshots`` runs it, after the dry run, with ``docs.admin_settings``. What is saved in
``docs/demo/`` needs neither a server nor scripts: one file a page, with its styles, without links.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path
from socket import gethostname

import django
from django.core.management import call_command
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).resolve().parent
LEDGER = "/admin/confiture_history/"
FORECASTS = f"{LEDGER}forecast/accuracy/"
BASE = "0001_initial"

CREDIT = (
    "<!-- Drawn by Django's admin: its markup and style sheets are Django's, under the "
    "BSD 3-Clause License. -->"
)
STAND_ALONE = """() => {
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const style = document.createElement("style");
  style.textContent = rules.map((rule) => rule.cssText).join("\\n");
  const gone = "script, link, noscript, iframe, img, input[type=hidden]";
  document.querySelectorAll(gone).forEach((each) => each.remove());
  document.querySelectorAll("[href]").forEach((each) => each.removeAttribute("href"));
  document.querySelectorAll("[action]").forEach((each) => each.removeAttribute("action"));
  document.head.append(style);
}"""
"""Puts a page's styles into it, and takes out what leads to the server."""


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
    page.screenshot(path=DOCS / "pictures" / "admin-forecasts.png")
    _save(page, "admin-forecasts")
    page.goto(f"{address}{LEDGER}migrationexecution/")
    _save(page, "admin-executions")
    page.goto(f"{address}{LEDGER}dryrun/")
    page.click("#result_list tbody a")
    page.wait_for_load_state()
    _save(page, "admin-dry-run")


def _save(page: Page, name: str) -> None:
    """Write a page that stands alone into ``docs/demo/``, without who ran this and where."""
    page.evaluate(STAND_ALONE)
    text = "\n".join(line.rstrip() for line in page.content().splitlines() if line.strip())
    text = text.replace(f"{getuser()}@{gethostname()}", "deploy@runner")
    (DOCS / "demo" / f"{name}.html").write_text(f"{text}\n{CREDIT}\n")


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
