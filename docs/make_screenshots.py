"""Makes the demo page and the pictures of the documentation from a real dry run of the shop.

``python -m docs.make_screenshots`` runs ``testproject/demo.py``. It writes the report as it is into
``docs/demo/report.html``, its first screen in Chromium into ``docs/pictures/page.png``, and what
the terminal shows at 80 columns into ``docs/pictures/terminal.svg``. Then it migrates the shop for
real, and draws and saves the ledger's admin (:mod:`docs.draw_admin`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
PROJECT = DOCS.parent / "testproject"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_COMMAND = "python manage.py migrate_dryrun"


def main() -> None:
    """Run the demo, and write its page and the pictures."""
    browser = os.environ.get("CONFITURE_CHROMIUM") or next(
        filter(None, map(shutil.which, _BROWSERS)), None
    )
    if browser is None:
        sys.exit("Pictures need Chromium: apt-get install chromium, or set CONFITURE_CHROMIUM.")
    (DOCS / "demo").mkdir(exist_ok=True)
    (DOCS / "pictures").mkdir(exist_ok=True)
    empty_ledger()
    run("demo.py")
    page = DOCS / "demo" / "report.html"
    shutil.copy(PROJECT / "dryrun.html", page)
    draw_page(browser, page, DOCS / "pictures" / "page.png")
    said = run("manage.py", "migrate_dryrun", "--force-color")
    draw_terminal(said, DOCS / "pictures" / "terminal.svg")
    draw_admin(browser)


def run(*command: str) -> str:
    """Run a script of the shop at 80 columns; return what it prints."""
    script, *arguments = command
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, PROJECT / script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm-256color"},
    )
    if "Dry run of" not in done.stdout:
        sys.exit(f"{script} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def empty_ledger() -> None:
    """Drop what earlier runs left in the ledger; the demo creates its tables again."""
    command = [sys.executable, PROJECT / "manage.py", "migrate", "confiture_history", "zero"]
    subprocess.run([*command, "--verbosity", "0"], check=True)  # noqa: S603 - our own script


def draw_admin(browser: str) -> None:
    """Draw the admin in its own process, which has its own settings."""
    subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-m", "docs.draw_admin", browser],
        check=True,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "docs.admin_settings",
            "PYTHONPATH": f"{DOCS.parent}{os.pathsep}{PROJECT}",
        },
    )


def draw_page(browser: str, page: Path, picture: Path) -> None:
    """Take a picture of the first screen of a page."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = chromium.new_page(viewport={"width": 1100, "height": 1000})
        tab.goto(page.as_uri())
        tab.screenshot(path=picture)
        chromium.close()


def draw_terminal(said: str, picture: Path) -> None:
    """Draw the report at the end of what was printed, without fonts from elsewhere."""
    report = Text.from_ansi(said).split("\n")
    first = max(at for at, line in enumerate(report) if line.plain.startswith("Dry run of"))
    console = Console(record=True, width=80, file=StringIO(), force_terminal=True)
    for line in report[first:]:
        console.print(line)
    drawn = console.export_svg(title=_COMMAND)
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    main()
